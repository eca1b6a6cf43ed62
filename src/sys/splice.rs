//! Moving bytes between descriptors within the kernel.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use super::{socket, syscall};

/// A pipe: what comes out, and what goes in. Neither end blocks.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // There is room for two.
    syscall!(pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK))?;
    // SAFETY: new descriptors that nobody else owns.
    let [out, into] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    Ok((out, into))
}

/// `splice(2)`, which does not wait for the pipe. A socket that was set to block by somebody else is waited for by kernels before
/// Linux 6.5.
pub(crate) fn splice(from: impl AsFd, to: impl AsFd, len: usize) -> io::Result<usize> {
    let (from, to) = (from.as_fd().as_raw_fd(), to.as_fd().as_raw_fd());
    let (nowhere, flags) = (std::ptr::null_mut(), libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK);
    // No positions are given.
    let count = syscall!(splice(from, nowhere, to, nowhere, len, flags));
    let count = count.map(|count| usize::try_from(count).expect("a count is not negative"));
    // An end is one of where it comes from, and a broken connection where it goes to; the other one is a pipe.
    socket::transferred(to, socket::transferred(from, count))
}
