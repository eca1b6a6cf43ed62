//! A bell of `pipe(2)`: any POSIX system.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use crate::sys::{self, explain, syscall};

/// A pipe whose reading end is watched. A pipe that is full has been rung already.
#[derive(Clone, Debug)]
pub(crate) struct Pipe(Arc<Ends>);

#[derive(Debug)]
struct Ends {
    reader: File,
    writer: File,
}

impl Pipe {
    pub(crate) fn new() -> io::Result<Pipe> {
        let mut fds = [0; 2];
        // `fds` has room for two.
        syscall!(pipe(fds.as_mut_ptr())).map_err(|error| explain("pipe", &error))?;
        // SAFETY: new descriptors that nobody else owns.
        let [reader, writer] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        for end in [&reader, &writer] {
            sys::set_nonblocking(end.as_fd(), true)
                .and_then(|_| sys::set_cloexec(end))
                .map_err(|error| explain("fcntl of a pipe", &error))?;
        }
        Ok(Pipe(Arc::new(Ends {
            reader: reader.into(),
            writer: writer.into(),
        })))
    }

    pub(super) fn ring(&self) {
        while let Err(error) = (&self.0.writer).write(&[1]) {
            match error.kind() {
                io::ErrorKind::WouldBlock => return,
                io::ErrorKind::Interrupted => {}
                _ => sys::fatal(format_args!("the bell cannot be rung: {}", explain("write", &error))),
            }
        }
    }

    /// Takes the rings out, so that a level-triggered wait does not hear them again.
    ///
    /// # Errors
    /// Those of `read(2)`, but for what only says that there is nothing left.
    pub(crate) fn hear(&self) -> io::Result<()> {
        let mut rings = [0; 256];
        loop {
            if let Err(error) = (&self.0.reader).read(&mut rings) {
                match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(()),
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(error),
                }
            }
        }
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.0.reader.as_raw_fd()
    }
}
