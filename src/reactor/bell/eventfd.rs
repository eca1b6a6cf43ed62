//! A bell of `eventfd(2)`: Linux.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::sync::Arc;

use crate::sys::{self, explain, syscall};

/// An eventfd, registered edge-triggered: each write is a new edge, so nobody has to read it, and ringing costs one system
/// call on either side.
#[derive(Clone, Debug)]
pub(crate) struct EventFd(Arc<File>);

impl EventFd {
    pub(crate) fn new() -> io::Result<EventFd> {
        let fd =
            syscall!(eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK)).map_err(|error| explain("eventfd", &error))?;
        // SAFETY: a new descriptor that nobody else owns.
        Ok(EventFd(Arc::new(unsafe { File::from_raw_fd(fd) })))
    }

    pub(super) fn ring(&self) {
        let one = 1_u64.to_ne_bytes();
        let mut file = &*self.0;
        // The counter holds 2^64 - 2 rings before a write would block; then it is emptied, which is an edge, too.
        while let Err(error) = file.write(&one) {
            match error.kind() {
                io::ErrorKind::WouldBlock => drop(file.read(&mut [0; 8])),
                io::ErrorKind::Interrupted => {}
                _ => sys::fatal(format_args!("the bell cannot be rung: {}", explain("write", &error))),
            }
        }
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
