//! `epoll(7)`: Linux.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::bell::{Bell, EventFd};
use super::selector::{Event, Selector};
use crate::sys::{explain, milliseconds_rounded_up, syscall};

/// How many events one wait can bring. More that are ready come with the next one; the kernel keeps them in turn.
const BATCH: usize = 1024;

/// The token of the bell: no descriptor has this number. Its edge ends the wait, which is all it is for.
const BELL: u64 = u64::MAX;

/// Both directions at once, and what an edge-triggered watcher has to know besides.
const INTEREST: u32 =
    bit(libc::EPOLLIN) | bit(libc::EPOLLOUT) | bit(libc::EPOLLRDHUP) | bit(libc::EPOLLPRI) | bit(libc::EPOLLET);

/// The kernel's field is unsigned, libc's constants are not: EPOLLET is the sign bit.
#[expect(clippy::cast_sign_loss, reason = "the same bits are meant")]
const fn bit(flag: libc::c_int) -> u32 {
    flag as u32
}

/// An epoll instance.
#[derive(Debug)]
pub(crate) struct Epoll {
    fd: OwnedFd,
    bell: EventFd,
    buffer: Vec<libc::epoll_event>,
    /// `epoll_pwait2` (Linux 5.11) counts in nanoseconds. Where it is missing, `epoll_wait` counts in milliseconds.
    has_pwait2: bool,
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Epoll> {
        let fd = syscall!(epoll_create1(libc::EPOLL_CLOEXEC)).map_err(|error| explain("epoll_create1", &error))?;
        let mut epoll = Epoll {
            // SAFETY: a new descriptor that nobody else owns.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
            bell: EventFd::new()?,
            buffer: Vec::with_capacity(BATCH),
            has_pwait2: true,
        };
        epoll.register(epoll.bell.fd(), BELL).map_err(|error| {
            let advice = match error.raw_os_error() {
                Some(libc::ENOSPC) => {
                    "; the user watches too many descriptors, see the sysctl fs.epoll.max_user_watches"
                }
                _ => "",
            };
            let error = explain("epoll_ctl", &error);
            io::Error::new(error.kind(), format!("{error}{advice}"))
        })?;
        Ok(epoll)
    }

    /// Waits, and answers how many events lie in the buffer.
    fn wait_raw(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let (epfd, events) = (self.fd.as_raw_fd(), self.buffer.as_mut_ptr());
        let batch = libc::c_int::try_from(BATCH).expect("a small number");
        let sub_millisecond = timeout.filter(|t| !t.is_zero() && self.has_pwait2);
        let count = if let Some(timeout) = sub_millisecond {
            match epoll_pwait2(epfd, events, batch, timeout) {
                // Old seccomp filters say EPERM to what they do not know.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    self.has_pwait2 = false;
                    return self.wait_raw(Some(timeout));
                }
                result => result?,
            }
        } else {
            let timeout_ms = timeout.map_or(-1, milliseconds_rounded_up);
            // `events` has room for BATCH events.
            syscall!(epoll_wait(epfd, events, batch, timeout_ms))?
        };
        Ok(usize::try_from(count).expect("a count"))
    }
}

/// The raw call: libc has had a wrapper only for a short time. It takes the kernel's own 64-bit timespec, on 32-bit
/// machines, too.
fn epoll_pwait2(
    epfd: RawFd,
    events: *mut libc::epoll_event,
    max: libc::c_int,
    timeout: Duration,
) -> io::Result<libc::c_int> {
    #[repr(C)]
    struct KernelTimespec {
        seconds: i64,
        nanoseconds: i64,
    }
    let timeout = KernelTimespec {
        seconds: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: i64::from(timeout.subsec_nanos()),
    };
    let no_mask: *const libc::sigset_t = std::ptr::null();
    // `events` has room for `max` events, `timeout` lives until the call returns, no mask is given.
    let count = syscall!(syscall(
        libc::SYS_epoll_pwait2,
        epfd,
        events,
        max,
        &raw const timeout,
        no_mask,
        0
    ))?;
    Ok(libc::c_int::try_from(count).expect("at most `max`"))
}

impl Selector for Epoll {
    fn register(&mut self, fd: RawFd, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: INTEREST,
            u64: token,
        };
        // `event` lives until the call returns.
        syscall!(epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event))?;
        Ok(())
    }

    fn deregister(&mut self, fd: RawFd, still_open: bool) -> io::Result<()> {
        if !still_open {
            return Ok(()); // the kernel forgets a file when its last descriptor is closed
        }
        // Linux before 2.6.9 wanted an event here, nothing does now.
        syscall!(epoll_ctl(
            self.fd.as_raw_fd(),
            libc::EPOLL_CTL_DEL,
            fd,
            std::ptr::null_mut()
        ))?;
        Ok(())
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        let count = match self.wait_raw(timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            result => result.map_err(|error| explain("epoll_wait", &error))?,
        };
        // SAFETY: the kernel wrote `count` events, and there is room for BATCH.
        unsafe { self.buffer.set_len(count) };
        events.extend(self.buffer.iter().filter(|event| event.u64 != BELL).map(|event| {
            let flags = event.events;
            let has = |flag| flags & bit(flag) != 0;
            // An error ends both directions, whatever else is said: it is to be fetched by the next attempt.
            let broken = has(libc::EPOLLERR | libc::EPOLLHUP);
            Event {
                token: event.u64,
                readable: has(libc::EPOLLIN),
                writable: has(libc::EPOLLOUT),
                read_closed: broken || has(libc::EPOLLRDHUP),
                write_closed: broken,
                urgent: has(libc::EPOLLPRI),
                error: None,
            }
        }));
        Ok(())
    }

    fn bell(&self) -> Bell {
        Bell::EventFd(self.bell.clone())
    }
}
