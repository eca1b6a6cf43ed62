//! An end of a pipe, or whatever else is read and written like one, that belongs to this process alone.

#![allow(unsafe_code, reason = "lends buffers to operations by address")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::NonNull;

use crate::perform::{Patience, perform};
use crate::reactor::{Kind, Source};
use crate::sched::Worker;
use crate::sys;

/// # Invariant
/// `fd` is open; `source` is its number and belongs to this value alone. The reactor is told before it is closed.
pub(crate) struct Pipe {
    /// `None` only while it is being taken apart.
    fd: Option<OwnedFd>,
    source: Source,
}

impl Pipe {
    /// Puts the descriptor into non-blocking mode. The mode is that of the open file, which is why nobody else may have it:
    /// the other end of a pipe is another open file.
    pub(crate) fn new(fd: OwnedFd) -> Pipe {
        // It fails for what is not open, which cannot block either.
        if let Err(error) = sys::set_nonblocking(fd.as_fd(), true) {
            log::warn!("descriptor {} stays in blocking mode: {error}", fd.as_raw_fd());
        }
        let source = Source::new(fd.as_raw_fd());
        Pipe { fd: Some(fd), source }
    }

    /// Waits for something to read, or the end.
    pub(crate) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let kind = Kind::Read {
            len: buf.len(),
            buf: NonNull::from(buf).cast(),
        };
        // SAFETY: `buf` is borrowed until this returns.
        unsafe { perform(self.source, kind, Patience::Unlimited) }
    }

    /// Waits for room.
    pub(crate) fn write(&self, buf: &[u8]) -> io::Result<usize> {
        let kind = Kind::Write {
            buf: NonNull::from(buf).cast(),
            len: buf.len(),
        };
        // SAFETY: `buf` is borrowed until this returns.
        unsafe { perform(self.source, kind, Patience::Unlimited) }
    }

    /// Gives the descriptor away, blocking again.
    pub(crate) fn into_fd(mut self) -> OwnedFd {
        self.forget();
        let fd = self.fd.take().expect("a pipe has a descriptor until it is dropped");
        if let Err(error) = sys::set_nonblocking(fd.as_fd(), false) {
            log::warn!("descriptor {} stays in non-blocking mode: {error}", fd.as_raw_fd());
        }
        fd
    }

    pub(crate) fn raw(&self) -> RawFd {
        self.source.fd
    }

    fn forget(&self) {
        // It may have been duplicated before it came here.
        Worker::with(|worker| worker.into_iter().for_each(|worker| worker.forget(self.source, true)));
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        if self.fd.is_some() {
            self.forget();
        }
    }
}

impl AsFd for Pipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd
            .as_ref()
            .expect("a pipe has a descriptor until it is dropped")
            .as_fd()
    }
}
