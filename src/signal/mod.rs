//! Signals: waiting for them, in any number of places.
//!
//! ```
//! use kapok::signal::{SIGINT, SIGTERM, Signals};
//!
//! kapok::run(|| -> std::io::Result<()> {
//!     let signals = Signals::new([SIGINT, SIGTERM])?;
//!     let stopping = kapok::spawn(move || signals.recv());
//!     // The server runs until somebody says: kill -TERM
//!     # let process = std::process::id().to_string();
//!     # std::process::Command::new("kill").args(["-TERM", &process]).status()?;
//!     assert_eq!(stopping.join().unwrap()?, SIGTERM);
//!     Ok(())
//! })??;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # How it is done
//! The first [`Signals`] for a signal installs a handler, which notes the signal for each that listens to it, writes a byte into
//! its pipe, and calls the handler that was there before. While anybody listens, the signal's default (to end the process, in
//! most cases) does not happen. When the last listener is dropped, what was there before is put back; but where somebody has
//! installed another handler meanwhile, that stays, and ours below it, which then only passes on. A handler of somebody else's
//! that does not pass signals on keeps them from all who came before it, here too.
//!
//! `signalfd(2)` would need the signals blocked in every thread of the process, those of other libraries included, and in what
//! the process starts; a handler needs nothing of anybody.
//!
//! Several listeners of one signal hear of it each. Several signals of one number that come before they are received are one,
//! as they are in the kernel. After a `fork` without `exec`, the child's signals wake the parent's listeners in vain, and
//! nobody in the child: make new ones there.

mod registry;

use std::io;
use std::os::fd::OwnedFd;

#[doc(no_inline)]
pub use libc::{
    SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGIO, SIGPIPE, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1,
    SIGUSR2, SIGWINCH,
};

use crate::pipe::Pipe;
use crate::sys::signal;
use registry::Listener;

/// A stream of signals.
///
/// See [the module](self) for an example. Fibers and plain threads may receive; each signal goes to one of those that receive
/// from the same `Signals`. As an iterator it gives signals without end, and panics where receiving fails.
#[derive(Debug)]
pub struct Signals {
    listener: Listener,
    pipe: PipeEnd,
}

struct PipeEnd(Pipe);

impl std::fmt::Debug for PipeEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&self.0.raw(), f)
    }
}

impl Signals {
    /// Begins to listen to these signals. None is missed from here on.
    ///
    /// # Errors
    /// `InvalidInput` for what is no signal, cannot be caught (`SIGKILL`, `SIGSTOP`), or is about the instruction that was
    /// interrupted (`SIGSEGV`, `SIGBUS`, `SIGFPE`, `SIGILL`); those of `sigaction(2)`; where no descriptor is left.
    pub fn new<I: IntoIterator<Item = libc::c_int>>(signals: I) -> io::Result<Signals> {
        let (out, into): (OwnedFd, OwnedFd) = signal::pipe()?;
        let pipe = PipeEnd(Pipe::new(out));
        let listener = Listener::new(into, signals)?;
        Ok(Signals { listener, pipe })
    }

    /// Waits for one of the signals, and gives its number. Where several have come, the lowest number is first.
    ///
    /// A call that is [cancelled](crate::cancel) has taken no signal.
    ///
    /// # Errors
    /// Only what leaves the pipe unusable, which a program has to do to itself.
    pub fn recv(&self) -> io::Result<libc::c_int> {
        loop {
            if let Some(signal) = self.try_recv() {
                return Ok(signal);
            }
            self.pipe.0.read(&mut [0; 64])?;
            // One who waits has taken the bytes of all; there may be signals for others.
            if self.listener.has_several() {
                self.listener.wake_another();
            }
        }
    }

    /// A signal that has come already.
    #[must_use]
    pub fn try_recv(&self) -> Option<libc::c_int> {
        self.listener.take()
    }
}

impl Iterator for &Signals {
    type Item = libc::c_int;

    fn next(&mut self) -> Option<libc::c_int> {
        Some(self.recv().unwrap_or_else(|error| panic!("kapok::signal: {error}")))
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.listener.close();
    }
}

/// Waits for the next `SIGINT`, which the terminal sends for ctrl-C.
///
/// While it waits, ctrl-C does not end the process; afterwards it does again. Who wants to hear of a second one keeps
/// a [`Signals`].
///
/// ```no_run
/// kapok::run(|| -> std::io::Result<()> {
///     kapok::spawn(|| { /* serves */ });
///     kapok::signal::ctrl_c()?;
///     println!("good-bye");
///     std::process::exit(0)
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// As [`Signals::new`].
pub fn ctrl_c() -> io::Result<()> {
    Signals::new([SIGINT])?.recv().map(drop)
}
