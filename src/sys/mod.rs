//! System calls: the one place where `-1` becomes an [`io::Error`].

#![allow(unsafe_code, reason = "the boundary to libc")]

pub(crate) mod file;
#[cfg(test)]
pub(crate) mod forks;
#[cfg(kqueue)]
pub(crate) mod kqueue;
mod prefetch;
pub(crate) mod signal;
pub(crate) mod socket;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) mod splice;
pub(crate) mod transfer;
pub(crate) mod unix;

pub(crate) use prefetch::prefetch;

use std::fmt;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

/// Calls a libc function that answers `-1` for failure; the value, or the errno as it was right after the call.
macro_rules! syscall {
    ($name:ident ( $($arg:expr),* $(,)? )) => {{
        // SAFETY: the arguments are what the function's man page asks for; where a pointer is among them, the caller
        // of this macro says why it is valid.
        let result = unsafe { libc::$name($($arg),*) };
        if result == -1 { Err(std::io::Error::last_os_error()) } else { Ok(result) }
    }};
}
pub(crate) use syscall;

/// Calls `f` until it ends with something else than `EINTR`.
pub(crate) fn retry<T>(mut f: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match f() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Ends the process with a sentence on standard error. For what cannot be told to any caller, and after which somebody would
/// wait for ever, or the kernel would write to memory that it was lent and that is gone.
pub(crate) fn fatal(what: fmt::Arguments<'_>) -> ! {
    // No logger need be there, and a panic could be caught. Nothing can be done about a closed standard error.
    drop(io::stderr().lock().write_all(format!("kapok: {what}\n").as_bytes()));
    std::process::abort();
}

/// An error of a system call, with the name of the call, and what it usually means.
pub(crate) fn explain(call: &str, error: &io::Error) -> io::Error {
    let advice = match error.raw_os_error() {
        Some(libc::EMFILE) => "; the process has too many descriptors open, see ulimit -n",
        Some(libc::ENFILE) => "; the system has too many files open, see the sysctl fs.file-max (kern.maxfiles)",
        Some(libc::EBADF) => "; something in this process has closed a descriptor that is not its own",
        _ => "",
    };
    io::Error::new(error.kind(), format!("{call}: {error}{advice}"))
}

/// The size of a page of memory in bytes.
pub(crate) fn page_size() -> usize {
    static PAGE: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *PAGE.get_or_init(|| {
        // SAFETY: sysconf reads a number.
        let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        usize::try_from(bytes).expect("POSIX demands a page size")
    })
}

/// Which of the two ways of data a wait is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// Leaves the kernel alone for a moment, when it has no memory.
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(1));
}

/// `poll(2)`: how many of `watched` have something to report; 0 also early, when a signal came, or for want of memory.
pub(crate) fn poll(watched: &mut [libc::pollfd], timeout_ms: libc::c_int) -> io::Result<usize> {
    let count = libc::nfds_t::try_from(watched.len()).expect("as many as there are descriptors");
    // `watched` has `count` elements.
    match syscall!(poll(watched.as_mut_ptr(), count, timeout_ms)) {
        Ok(count) => Ok(usize::try_from(count).expect("a count")),
        Err(error) => match error.raw_os_error() {
            Some(libc::EINTR) => Ok(0),
            // Linux says the one, others the other.
            Some(libc::ENOMEM | libc::EAGAIN) => {
                pause();
                Ok(0)
            }
            _ => Err(error),
        },
    }
}

impl Direction {
    /// What `poll(2)` calls it.
    fn events(self) -> libc::c_short {
        match self {
            Direction::Read => libc::POLLIN,
            Direction::Write => libc::POLLOUT,
        }
    }
}

/// Whether `fd` is ready in that direction, or will never be: an attempt would say at once how it is.
pub(crate) fn is_ready(fd: RawFd, direction: Direction) -> io::Result<bool> {
    loop {
        let mut watched = libc::pollfd {
            fd,
            events: direction.events(),
            revents: 0,
        };
        // One element. A call that was interrupted has not looked: its answer must not be taken for a no.
        match syscall!(poll(&raw mut watched, 1, 0)) {
            Ok(_) if watched.revents & libc::POLLNVAL != 0 => return Err(io::Error::from_raw_os_error(libc::EBADF)),
            Ok(ready) => return Ok(ready > 0),
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::ENOMEM | libc::EAGAIN) => pause(),
                _ => return Err(error),
            },
        }
    }
}

/// Blocks the calling *thread* until `fd` is ready in that direction; false when the deadline passed first.
pub(crate) fn wait_ready(fd: RawFd, direction: Direction, deadline: Option<Instant>) -> io::Result<bool> {
    let events = direction.events();
    loop {
        let timeout_ms = deadline.map_or(-1, |d| {
            milliseconds_rounded_up(d.saturating_duration_since(Instant::now()))
        });
        let mut watched = [libc::pollfd { fd, events, revents: 0 }];
        match poll(&mut watched, timeout_ms)? {
            0 if deadline.is_some_and(|d| Instant::now() >= d) => return Ok(false),
            0 => {}
            _ => return Ok(true),
        }
    }
}

/// `read(2)`.
///
/// # Safety
/// `buf` has room for `len` bytes.
pub(crate) unsafe fn read(fd: RawFd, buf: *mut u8, len: usize) -> io::Result<usize> {
    retry(|| syscall!(read(fd, buf.cast(), len)).map(count))
}

/// `write(2)`.
///
/// # Safety
/// `buf` is `len` readable bytes.
pub(crate) unsafe fn write(fd: RawFd, buf: *const u8, len: usize) -> io::Result<usize> {
    retry(|| syscall!(write(fd, buf.cast(), len)).map(count))
}

/// `pidfd_open(2)`, closed on exec: a descriptor that is readable when the process has ended.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn pidfd_open(process: u32) -> io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::FromRawFd;
    let fd = syscall!(syscall(libc::SYS_pidfd_open, process, 0))?;
    let fd = RawFd::try_from(fd).expect("a descriptor fits");
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) })
}

fn count(n: isize) -> usize {
    usize::try_from(n).expect("a count is not negative")
}

/// For calls that count in milliseconds: never early, never more than the type holds (the caller waits again).
pub(crate) fn milliseconds_rounded_up(duration: Duration) -> libc::c_int {
    let ms = duration.as_nanos().div_ceil(1_000_000);
    libc::c_int::try_from(ms).unwrap_or(libc::c_int::MAX)
}

/// Has `fd` closed on exec.
pub(crate) fn set_cloexec(fd: impl AsFd) -> io::Result<()> {
    syscall!(fcntl(fd.as_fd().as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC)).map(drop)
}

/// Makes `fd` answer `EAGAIN` where it would block, or no longer; whether it did before.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>, nonblocking: bool) -> io::Result<bool> {
    let fd = fd.as_raw_fd();
    let old = syscall!(fcntl(fd, libc::F_GETFL))?;
    let new = if nonblocking {
        old | libc::O_NONBLOCK
    } else {
        old & !libc::O_NONBLOCK
    };
    if new != old {
        syscall!(fcntl(fd, libc::F_SETFL, new))?;
    }
    Ok(old & libc::O_NONBLOCK != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_round_up_and_saturate() {
        assert_eq!(milliseconds_rounded_up(Duration::ZERO), 0);
        assert_eq!(milliseconds_rounded_up(Duration::from_nanos(1)), 1);
        assert_eq!(milliseconds_rounded_up(Duration::from_millis(3)), 3);
        assert_eq!(milliseconds_rounded_up(Duration::from_micros(3_001)), 4);
        assert_eq!(milliseconds_rounded_up(Duration::MAX), libc::c_int::MAX);
    }
}
