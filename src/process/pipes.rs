//! The pipes to a process.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::process::{self, Stdio};

use crate::pipe::Pipe;

/// What the pipes have in common.
macro_rules! pipe {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub struct $name(Pipe);

        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.as_fd()
            }
        }

        impl AsRawFd for $name {
            fn as_raw_fd(&self) -> RawFd {
                self.0.raw()
            }
        }

        impl IntoRawFd for $name {
            fn into_raw_fd(self) -> RawFd {
                OwnedFd::from(self).into_raw_fd()
            }
        }

        impl From<OwnedFd> for $name {
            /// Puts the descriptor into non-blocking mode, also for others who have the same open file.
            fn from(fd: OwnedFd) -> $name {
                $name(Pipe::new(fd))
            }
        }

        impl From<$name> for OwnedFd {
            /// Puts the descriptor back into blocking mode.
            fn from(pipe: $name) -> OwnedFd {
                pipe.0.into_fd()
            }
        }

        impl From<process::$name> for $name {
            fn from(pipe: process::$name) -> $name {
                OwnedFd::from(pipe).into()
            }
        }

        impl From<$name> for process::$name {
            fn from(pipe: $name) -> process::$name {
                OwnedFd::from(pipe).into()
            }
        }

        impl From<$name> for Stdio {
            /// For another process, in blocking mode.
            fn from(pipe: $name) -> Stdio {
                OwnedFd::from(pipe).into()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

pipe!(
    /// Writes to the standard input of a process. As [`std::process::ChildStdin`]. Dropping it closes the pipe.
    ChildStdin
);

pipe!(
    /// Reads the standard output of a process. As [`std::process::ChildStdout`].
    ChildStdout
);

pipe!(
    /// Reads the standard error of a process. As [`std::process::ChildStderr`].
    ChildStderr
);

impl Write for ChildStdin {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    /// There is no buffer here.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for &ChildStdin {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    /// There is no buffer here.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for ChildStdout {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Read for ChildStderr {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}
