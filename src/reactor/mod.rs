//! The reactor: operations in, completions out.
//!
//! Start at [`backend`], which states the contract; then [`readiness`], which implements it for every kernel that reports
//! readiness; then [`epoll`], which is such a kernel, and `uring`, which implements the contract itself. [`op`] is what passes between the scheduler and a backend.

#![allow(
    unsafe_code,
    reason = "operations lie on the stacks of suspended fibers and are reached by pointer"
)]

mod backend;
mod bell;
mod checked;
#[cfg(test)]
mod differential;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod epoll;
mod file;
#[cfg(kqueue)]
mod kqueue;
#[cfg(debug_assertions)]
mod ledger;
mod op;
mod poll;
mod readiness;
mod selector;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(kapok_io_uring)]
mod uring;

use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::str::FromStr;
use std::time::Duration;

pub(crate) use backend::{Backend, Submitted};
pub(crate) use bell::Bell;
pub(crate) use file::{FileOp, FileVerb, OWN_POSITION};
pub(crate) use op::{Kind, Op, Outcome, Source};
#[cfg(all(test, kapok_io_uring))]
pub(crate) use uring::files_given;

use checked::Checked;
#[cfg(any(target_os = "linux", target_os = "android"))]
use epoll::Epoll;
#[cfg(kqueue)]
use kqueue::Kqueue;
use poll::Poll;
use readiness::Readiness;
#[cfg(kapok_io_uring)]
use uring::Uring;

/// An I/O interface of a kernel.
///
/// The environment variable `KAPOK_REACTOR` chooses one for a whole program, [`Builder::reactor`] for one runtime; unset,
/// the best that works is taken. One that is asked for and cannot be had is an error, never silently another.
///
/// ```
/// let kind: kapok::ReactorKind = "poll".parse()?;
/// assert_eq!(kind.to_string(), "poll");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// [`Builder::reactor`]: crate::runtime::Builder::reactor
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReactorKind {
    /// `io_uring(7)`, Linux 5.13 and newer, at its best from 6.1 on.
    IoUring,
    /// `epoll(7)`, Linux.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    Epoll,
    /// `kqueue(2)`, the BSDs and Apple's systems.
    #[cfg(kqueue)]
    Kqueue,
    /// `poll(2)`, any POSIX system; slow with many descriptors.
    Poll,
}

/// What this build has, best first.
const AVAILABLE: &[ReactorKind] = &[
    #[cfg(any(target_os = "linux", target_os = "android"))]
    ReactorKind::Epoll,
    #[cfg(kapok_io_uring)]
    ReactorKind::IoUring,
    #[cfg(kqueue)]
    ReactorKind::Kqueue,
    ReactorKind::Poll,
];

impl ReactorKind {
    /// The reactors of this build, best first.
    #[must_use]
    pub fn available() -> Vec<ReactorKind> {
        AVAILABLE.to_vec()
    }

    /// The name by which `KAPOK_REACTOR` and [`str::parse`] know it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ReactorKind::IoUring => "io_uring",
            #[cfg(any(target_os = "linux", target_os = "android"))]
            ReactorKind::Epoll => "epoll",
            #[cfg(kqueue)]
            ReactorKind::Kqueue => "kqueue",
            ReactorKind::Poll => "poll",
        }
    }

    /// The one that `KAPOK_REACTOR` names; `None` where it is unset or empty.
    pub(crate) fn from_env() -> io::Result<Option<ReactorKind>> {
        match std::env::var_os("KAPOK_REACTOR") {
            Some(name) if !name.is_empty() => name
                .to_string_lossy()
                .parse()
                .map(Some)
                .map_err(|error: io::Error| io::Error::new(error.kind(), format!("KAPOK_REACTOR: {error}"))),
            _ => Ok(None),
        }
    }
}

impl fmt::Display for ReactorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ReactorKind {
    type Err = io::Error;

    fn from_str(name: &str) -> io::Result<ReactorKind> {
        AVAILABLE
            .iter()
            .copied()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| {
                let names: Vec<_> = AVAILABLE.iter().map(|kind| kind.name()).collect();
                io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!(
                        "there is no reactor {name:?} in this build; it has: {}",
                        names.join(", ")
                    ),
                )
            })
    }
}

/// The backend of a worker.
pub(crate) type Reactor = Checked<AnyBackend>;

/// Which one is decided at run time, and every case is seen here.
#[derive(Debug)]
pub(crate) enum AnyBackend {
    #[cfg(kapok_io_uring)]
    IoUring(Box<Uring>),
    #[cfg(any(target_os = "linux", target_os = "android"))]
    Epoll(Readiness<Epoll>),
    #[cfg(kqueue)]
    Kqueue(Readiness<Kqueue>),
    Poll(Readiness<Poll>),
}

macro_rules! each {
    ($self:expr, $backend:ident => $body:expr) => {
        match $self {
            #[cfg(kapok_io_uring)]
            AnyBackend::IoUring($backend) => $body,
            #[cfg(any(target_os = "linux", target_os = "android"))]
            AnyBackend::Epoll($backend) => $body,
            #[cfg(kqueue)]
            AnyBackend::Kqueue($backend) => $body,
            AnyBackend::Poll($backend) => $body,
        }
    };
}

impl Reactor {
    /// Opens the one that was asked for, or the best that works.
    ///
    /// # Errors
    /// That of the one that was asked for; or, where none works, that of the last.
    pub(crate) fn open(wanted: Option<ReactorKind>) -> io::Result<Reactor> {
        if let Some(kind) = wanted {
            return Reactor::open_kind(kind)
                .map_err(|error| io::Error::new(error.kind(), format!("the reactor {kind} cannot start: {error}")));
        }
        let mut last = None;
        for &kind in AVAILABLE {
            match Reactor::open_kind(kind) {
                Ok(reactor) => return Ok(reactor),
                Err(error) => {
                    log::warn!("the reactor {kind} cannot start: {error}");
                    last = Some(error);
                }
            }
        }
        Err(last.expect("a build has a reactor"))
    }

    fn open_kind(kind: ReactorKind) -> io::Result<Reactor> {
        Ok(Checked::new(match kind {
            #[cfg(kapok_io_uring)]
            ReactorKind::IoUring => AnyBackend::IoUring(Box::new(Uring::new()?)),
            #[cfg(not(kapok_io_uring))]
            ReactorKind::IoUring => return Err(io::Error::new(io::ErrorKind::Unsupported, "it is not in this build")),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            ReactorKind::Epoll => AnyBackend::Epoll(Readiness::new(Epoll::new()?)),
            #[cfg(kqueue)]
            ReactorKind::Kqueue => AnyBackend::Kqueue(Readiness::new(Kqueue::new()?)),
            ReactorKind::Poll => AnyBackend::Poll(Readiness::new(Poll::new()?)),
        }))
    }

    pub(crate) fn kind(&self) -> ReactorKind {
        match &self.backend {
            #[cfg(kapok_io_uring)]
            AnyBackend::IoUring(_) => ReactorKind::IoUring,
            #[cfg(any(target_os = "linux", target_os = "android"))]
            AnyBackend::Epoll(_) => ReactorKind::Epoll,
            #[cfg(kqueue)]
            AnyBackend::Kqueue(_) => ReactorKind::Kqueue,
            AnyBackend::Poll(_) => ReactorKind::Poll,
        }
    }
}

impl Backend for AnyBackend {
    fn takes(&self, verb: FileVerb) -> bool {
        each!(self, backend => backend.takes(verb))
    }

    #[inline]
    fn send_at_once(&mut self, source: Source, bytes: &[u8], flags: libc::c_int) -> Option<Outcome> {
        each!(self, backend => backend.send_at_once(source, bytes, flags))
    }

    #[inline]
    unsafe fn submit(&mut self, op: NonNull<Op>) -> Submitted {
        // SAFETY: the caller's promise is passed on.
        each!(self, backend => unsafe { backend.submit(op) })
    }

    unsafe fn cancel(&mut self, op: NonNull<Op>) {
        // SAFETY: the caller's promise is passed on.
        each!(self, backend => unsafe { backend.cancel(op) });
    }

    fn cancel_all(&mut self, source: Source) {
        each!(self, backend => backend.cancel_all(source));
    }

    fn forget(&mut self, source: Source, still_open: bool) {
        each!(self, backend => backend.forget(source, still_open));
    }

    fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        each!(self, backend => backend.turn(timeout))
    }

    #[inline]
    fn next_completed(&mut self) -> Option<NonNull<Op>> {
        each!(self, backend => backend.next_completed())
    }

    #[inline]
    fn pending(&self) -> usize {
        each!(self, backend => backend.pending())
    }

    fn bell(&self) -> Bell {
        each!(self, backend => backend.bell())
    }
}
