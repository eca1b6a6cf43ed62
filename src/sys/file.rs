//! What std has no call for: reading into memory that is not initialised, reading only what need not be waited for, and
//! whether a file ever waits.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::syscall;

/// The kernels' own limit, or below it; macOS refuses more than an `int` holds instead of reading less.
const MAX_LEN: usize = 0x7fff_f000;

/// `pread(2)`; where `at` is negative, `read(2)`. For memory that is not initialised, which std has no way for.
///
/// # Safety
/// `buf` has room for `len` bytes, which nobody else touches.
pub(crate) unsafe fn read(fd: impl AsFd, buf: *mut u8, len: usize, at: i64) -> io::Result<usize> {
    let (fd, buf, len) = (fd.as_fd().as_raw_fd(), buf.cast(), len.min(MAX_LEN));
    // `len` bytes may be written, by the caller's promise.
    let read = if at < 0 {
        syscall!(read(fd, buf, len))?
    } else {
        pread(fd, buf, len, at)?
    };
    Ok(usize::try_from(read).expect("a count is not negative"))
}

/// With 64 bits for the position, where a plain `pread` has fewer.
fn pread(fd: libc::c_int, buf: *mut libc::c_void, len: usize, at: i64) -> io::Result<isize> {
    // As for `read`.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return syscall!(pread64(fd, buf, len, at));
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    return syscall!(pread(fd, buf, len, at));
}

/// What came of reading without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(any(target_os = "linux", target_os = "android")),
    expect(dead_code, reason = "only Linux can read without waiting")
)]
pub(crate) enum Now {
    /// So many bytes; 0 at the end.
    Read(usize),
    /// It would have to wait, or failed. The ordinary call tells.
    Later,
    /// This file or this system cannot be read in that way.
    Never,
}

/// `preadv2(2)` with `RWF_NOWAIT`; where `at` is negative, at the file's own position. Linux 4.14 has it, and its file systems
/// for disks.
///
/// # Safety
/// `bufs` are `count` buffers whose bytes may be written.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) unsafe fn read_now(fd: impl AsFd, bufs: *const libc::iovec, count: usize, at: i64) -> Now {
    const RWF_NOWAIT: libc::c_int = 8;
    // The position travels as two longs, of which the kernel ignores the high one where a long holds it all.
    #[expect(
        clippy::allow_attributes,
        reason = "which of the two is needed depends on the width of a long"
    )]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::unnecessary_cast,
        reason = "the halves are what is meant"
    )]
    let (low, high) = (at as libc::c_long, (at >> 32) as libc::c_long);
    let fd = fd.as_fd().as_raw_fd();
    // The buffers are valid, by the caller's promise.
    match syscall!(syscall(libc::SYS_preadv2, fd, bufs, count, low, high, RWF_NOWAIT)) {
        Ok(read) => Now::Read(usize::try_from(read).expect("a count is not negative")),
        Err(error) => match error.raw_os_error() {
            Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EPERM) => Now::Never,
            _ => Now::Later,
        },
    }
}

/// No other system has it.
///
/// # Safety
/// None is needed.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) unsafe fn read_now(_fd: impl AsFd, _bufs: *const libc::iovec, _count: usize, _at: i64) -> Now {
    Now::Never
}

/// Whether the open file answers `EAGAIN` where it would block.
pub(crate) fn is_nonblocking(fd: impl AsFd) -> io::Result<bool> {
    let flags = syscall!(fcntl(fd.as_fd().as_raw_fd(), libc::F_GETFL))?;
    Ok(flags & libc::O_NONBLOCK != 0)
}
