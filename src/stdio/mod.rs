//! Standard input, output and error with the names and signatures of [`std::io`]: a call that would block a thread there
//! suspends the fiber here.
//!
//! ```
//! use kapok::stdio::{stdin, stdout};
//! use std::io::Write;
//!
//! kapok::run(|| -> std::io::Result<()> {
//!     for line in stdin().lines() {
//!         writeln!(stdout(), "you said: {}", line?)?; // meanwhile other fibers run
//!     }
//!     Ok(())
//! })??;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # How it is done
//! The three streams are shared with other processes, a shell's for instance, and their mode with them: what puts them into
//! non-blocking mode makes the others fail. So the mode is left as it is.
//!
//! - **A terminal, a pipe, a socket**: the fiber waits, through the reactor, until there is something to read, or room to write.
//!   Then reading takes what is there without waiting (`RWF_NOWAIT`) where the kernel can do that, else on a thread of
//!   [`blocking`](crate::blocking()); writing is done there, in pieces of at most `PIPE_BUF` bytes, for which there is room.
//!   Should another process have been faster, that thread waits, and no worker.
//! - **A regular file**: on a thread of [`blocking`](crate::blocking()).
//! - On a plain thread: as in std.
//!
//! A read that is [cancelled](crate::cancel) while it waits has taken nothing.
//!
//! # Differences from std
//! - The buffers are not std's: who mixes these with `println!` has to [flush](std::io::Write::flush) in between, if a line is not
//!   complete, and what std has read ahead is not here. What is in the buffer is written when the process exits, as by std.
//! - Within [`no_suspend`](crate::no_suspend()) they panic in a fiber: use std's there.

mod lock;
mod raw;

use std::fmt;
use std::io::{self, BufRead, BufReader, IoSlice, IoSliceMut, IsTerminal, LineWriter, Lines, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{LazyLock, Mutex, MutexGuard, Once, PoisonError};

use crate::turn::{Turn, Turnstile};
use lock::{Held, Reentrant};
use raw::Raw;

static INPUT_TURN: LazyLock<Turnstile> = LazyLock::new(Turnstile::default);
static INPUT: LazyLock<Mutex<BufReader<Raw>>> = LazyLock::new(|| Mutex::new(BufReader::new(Raw(libc::STDIN_FILENO))));
static OUTPUT: LazyLock<Reentrant<LineWriter<Raw>>> =
    LazyLock::new(|| Reentrant::new(LineWriter::new(Raw(libc::STDOUT_FILENO))));
static ERROR: LazyLock<Reentrant<Raw>> = LazyLock::new(|| Reentrant::new(Raw(libc::STDERR_FILENO)));

/// A handle to the standard input. As [`std::io::stdin`].
#[must_use]
pub fn stdin() -> Stdin {
    Stdin(())
}

/// A handle to the standard output. As [`std::io::stdout`].
#[must_use]
pub fn stdout() -> Stdout {
    static AT_EXIT: Once = Once::new();
    AT_EXIT.call_once(|| raw::at_exit(flush_at_exit));
    Stdout(())
}

/// A handle to the standard error. As [`std::io::stderr`].
#[must_use]
pub fn stderr() -> Stderr {
    Stderr(())
}

/// What has not been written yet is, unless somebody is in the middle of writing.
fn flush_at_exit() {
    if let Some(mut output) = OUTPUT.try_value() {
        // Nobody is left to be told.
        drop(output.flush());
    }
}

/// The standard input, buffered. As [`std::io::Stdin`].
pub struct Stdin(());

/// The standard input, for one reader alone. As [`std::io::StdinLock`].
pub struct StdinLock<'a> {
    // The order in which they are dropped.
    input: MutexGuard<'a, BufReader<Raw>>,
    _turn: Turn<'a>,
}

impl Stdin {
    /// Waits until nobody else reads, and keeps it so.
    ///
    /// One that is asked for again by the fiber that has it waits for ever, as in std.
    #[must_use]
    pub fn lock(&self) -> StdinLock<'static> {
        let turn = INPUT_TURN.wait();
        // Free, since it is our turn.
        let input = INPUT.lock().unwrap_or_else(PoisonError::into_inner);
        StdinLock { input, _turn: turn }
    }

    /// Appends a line to `buf`, with its end; gives the number of bytes, 0 at the end of the input.
    ///
    /// # Errors
    /// Those of `read(2)`; `InvalidData` for what is not UTF-8.
    pub fn read_line(&self, buf: &mut String) -> io::Result<usize> {
        self.lock().read_line(buf)
    }

    /// The lines, without their ends.
    #[must_use]
    pub fn lines(self) -> Lines<StdinLock<'static>> {
        self.lock().lines()
    }
}

impl Read for Stdin {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.lock().read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.lock().read_vectored(bufs)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        self.lock().read_to_end(buf)
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        self.lock().read_to_string(buf)
    }

    fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.lock().read_exact(buf)
    }
}

impl Read for &Stdin {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.lock().read(buf)
    }
}

impl Read for StdinLock<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.input.read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.input.read_vectored(bufs)
    }
}

impl BufRead for StdinLock<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.input.consume(amount);
    }
}

/// The standard output, buffered by lines. As [`std::io::Stdout`].
pub struct Stdout(());

/// The standard output, for one writer alone. As [`std::io::StdoutLock`].
pub struct StdoutLock<'a>(Held<'a, LineWriter<Raw>>);

/// The standard error, which has no buffer. As [`std::io::Stderr`].
pub struct Stderr(());

/// The standard error, for one writer alone. As [`std::io::StderrLock`].
pub struct StderrLock<'a>(Held<'a, Raw>);

impl Stdout {
    /// Waits until nobody else writes, and keeps it so. A fiber that has it may ask again.
    #[must_use]
    pub fn lock(&self) -> StdoutLock<'static> {
        StdoutLock(OUTPUT.hold())
    }
}

impl Stderr {
    /// Waits until nobody else writes, and keeps it so. A fiber that has it may ask again.
    #[must_use]
    pub fn lock(&self) -> StderrLock<'static> {
        StderrLock(ERROR.hold())
    }
}

/// Writing, through a handle and through its lock.
macro_rules! output {
    ($handle:ident, $lock:ident) => {
        impl Write for $handle {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                (&*self).write(buf)
            }

            fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                (&*self).write_vectored(bufs)
            }

            fn flush(&mut self) -> io::Result<()> {
                (&*self).flush()
            }

            fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
                (&*self).write_all(buf)
            }

            fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> io::Result<()> {
                (&*self).write_fmt(args)
            }
        }

        /// What one call writes is not mixed with what others write.
        impl Write for &$handle {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                self.lock().write(buf)
            }

            fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                self.lock().write_vectored(bufs)
            }

            fn flush(&mut self) -> io::Result<()> {
                self.lock().flush()
            }

            fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
                self.lock().write_all(buf)
            }

            fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> io::Result<()> {
                self.lock().write_fmt(args)
            }
        }

        impl Write for $lock<'_> {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                self.0.value().write(buf)
            }

            fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                self.0.value().write_vectored(bufs)
            }

            fn flush(&mut self) -> io::Result<()> {
                self.0.value().flush()
            }

            fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
                self.0.value().write_all(buf)
            }
        }
    };
}

output!(Stdout, StdoutLock);
output!(Stderr, StderrLock);

/// What std's handles and locks are, too.
macro_rules! stream {
    ($fd:ident: $($name:ident $(<$life:lifetime>)?),*) => {$(
        impl fmt::Debug for $name $(<$life>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }

        impl AsFd for $name $(<$life>)? {
            fn as_fd(&self) -> BorrowedFd<'_> {
                raw::standard(libc::$fd)
            }
        }

        impl AsRawFd for $name $(<$life>)? {
            fn as_raw_fd(&self) -> RawFd {
                libc::$fd
            }
        }

        impl $name $(<$life>)? {
            /// Whether it is a terminal. std has this in a trait that only it can implement, [`std::io::IsTerminal`].
            #[must_use]
            pub fn is_terminal(&self) -> bool {
                self.as_fd().is_terminal()
            }
        }
    )*};
}

stream!(STDIN_FILENO: Stdin, StdinLock<'_>);
stream!(STDOUT_FILENO: Stdout, StdoutLock<'_>);
stream!(STDERR_FILENO: Stderr, StderrLock<'_>);
