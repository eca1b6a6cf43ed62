//! Moving bytes through a socket. None of these blocks, whatever mode the open file is in: somebody who has a duplicate of
//! it may have changed that.
//!
//! On Linux they are bare system calls. libc's functions are points of cancellation: in a process of several threads each
//! pays two atomic exchanges, a seventh of what the system call costs, so that `pthread_cancel` can end the thread in it,
//! which would be the end of all fibers of that thread.

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::RawFd;

use super::socket::transferred;
use super::{retry, syscall};

/// A transfer: by its number with the arguments that libc's function adds, or by that function.
macro_rules! call {
    ($function:ident ( $($arg:expr),* ) as $number:ident $(, $more:expr)*) => {{
        #[cfg(bare_syscalls)]
        let result = syscall!(syscall(libc::$number, $($arg,)* $($more),*));
        #[cfg(not(bare_syscalls))]
        let result = syscall!($function($($arg),*));
        result.map(|n| usize::try_from(n).expect("a count is not negative"))
    }};
}

/// `recv(2)`.
///
/// # Safety
/// `buf` has room for `len` bytes.
pub(crate) unsafe fn recv(fd: RawFd, buf: *mut u8, len: usize, flags: c_int) -> io::Result<usize> {
    let (buf, flags) = (buf.cast::<c_void>(), flags | libc::MSG_DONTWAIT);
    let result = retry(|| call!(recv(fd, buf, len, flags) as SYS_recvfrom, NOWHERE, NOWHERE));
    if len == 0 { result } else { transferred(fd, result) }
}

/// `send(2)`.
///
/// # Safety
/// `buf` is `len` readable bytes.
pub(crate) unsafe fn send(fd: RawFd, buf: *const u8, len: usize, flags: c_int) -> io::Result<usize> {
    let (buf, flags) = (buf.cast::<c_void>(), flags | libc::MSG_DONTWAIT);
    let result = retry(|| call!(send(fd, buf, len, flags) as SYS_sendto, NOWHERE, NOWHERE));
    if len == 0 { result } else { transferred(fd, result) }
}

/// `recvmsg(2)`.
///
/// # Safety
/// What `message` points to is valid.
pub(crate) unsafe fn recvmsg(fd: RawFd, message: *mut libc::msghdr, flags: c_int) -> io::Result<usize> {
    let result = retry(|| call!(recvmsg(fd, message, flags | libc::MSG_DONTWAIT) as SYS_recvmsg));
    transferred(fd, result)
}

/// `sendmsg(2)`.
///
/// # Safety
/// What `message` points to is valid.
pub(crate) unsafe fn sendmsg(fd: RawFd, message: *const libc::msghdr, flags: c_int) -> io::Result<usize> {
    let result = retry(|| call!(sendmsg(fd, message, flags | libc::MSG_DONTWAIT) as SYS_sendmsg));
    transferred(fd, result)
}

/// No address is given, or wanted, and it has no length.
#[cfg(bare_syscalls)]
const NOWHERE: usize = 0;
