//! epoll, and what else a socket needs that std does not have.

#![expect(unsafe_code, reason = "system calls that std does not have")]

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// How many events are fetched at once.
const BATCH: usize = 256;

// In the type that the struct has; libc's constants have another one.
const READABLE: u32 = bits(libc::EPOLLIN | libc::EPOLLRDHUP);
const WRITABLE: u32 = bits(libc::EPOLLOUT);
const ONCE_A_CHANGE: u32 = bits(libc::EPOLLET);

#[expect(clippy::cast_sign_loss, reason = "the same bits are meant")]
const fn bits(flags: libc::c_int) -> u32 {
    flags as u32
}

pub(super) struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

/// Something happened to a connection.
pub(super) struct Event {
    pub(super) number: usize,
    pub(super) readable: bool,
}

impl Epoll {
    pub(super) fn new() -> io::Result<Epoll> {
        // SAFETY: a plain system call.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        Ok(Epoll {
            // SAFETY: a new descriptor, which nobody else has.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
            events: vec![libc::epoll_event { events: 0, u64: 0 }; BATCH],
        })
    }

    /// Watches a connection, both directions, edge-triggered.
    pub(super) fn add(&mut self, stream: &TcpStream, number: usize) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: READABLE | WRITABLE | ONCE_A_CHANGE,
            u64: number as u64,
        };
        let (epoll, fd) = (self.fd.as_raw_fd(), stream.as_raw_fd());
        // SAFETY: both descriptors are open, and it reads the struct.
        check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) })?;
        Ok(())
    }

    /// Replaces `events` by what has happened; nothing if `timeout` has passed.
    pub(super) fn wait(&mut self, timeout: Duration, events: &mut Vec<Event>) -> io::Result<()> {
        let timeout = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        let room = i32::try_from(self.events.len()).expect("a small number");
        // SAFETY: there is room for as many events as it is told.
        let count = check(unsafe { libc::epoll_wait(self.fd.as_raw_fd(), self.events.as_mut_ptr(), room, timeout) })?;
        let count = usize::try_from(count).expect("errors are gone");
        events.clear();
        events.extend(self.events[..count].iter().map(|event| Event {
            number: usize::try_from(event.u64).expect("it was one"),
            readable: event.events & !WRITABLE != 0,
        }));
        Ok(())
    }
}

/// Has the connection reset when it is closed, so that thousands of them leave no `TIME_WAIT` behind.
pub(super) fn reset_on_close(stream: &TcpStream) -> io::Result<()> {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let length = libc::socklen_t::try_from(size_of_val(&linger)).expect("a small number");
    // SAFETY: it reads a struct of that length.
    check(unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            length,
        )
    })?;
    Ok(())
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
