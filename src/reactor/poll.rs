//! `poll(2)`: any POSIX system, where there is nothing better.
//!
//! The kernel keeps no state here: the whole list crosses over with each wait, and what is ready is reported for as long as
//! it is. An edge is made of that by asking once: a direction is watched from the moment when an operation begins to wait
//! in it until it was reported. A descriptor that nobody waits for is hidden from the kernel by a negative number, because
//! it would report an error or a hang-up of it again and again, asked or not.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use super::bell::{Bell, Pipe};
use super::selector::{Event, Selector};
use crate::sys::{self, Direction, explain, milliseconds_rounded_up};

/// The list of descriptors, and where each is in it.
#[derive(Debug)]
pub(crate) struct Poll {
    /// The bell first, then what was registered, in any order.
    watched: Vec<libc::pollfd>,
    /// What each was registered with; in step with `watched`.
    tokens: Vec<u64>,
    /// For each descriptor number its place in `watched`, if any.
    places: Vec<Option<usize>>,
    bell: Pipe,
}

impl Poll {
    pub(crate) fn new() -> io::Result<Poll> {
        let bell = Pipe::new()?;
        Ok(Poll {
            watched: vec![libc::pollfd {
                fd: bell.fd(),
                events: libc::POLLIN,
                revents: 0,
            }],
            tokens: vec![0],
            places: Vec::new(),
            bell,
        })
    }

    fn place(&self, fd: RawFd) -> Option<usize> {
        *self.places.get(index_of(fd))?
    }
}

impl Selector for Poll {
    fn register(&mut self, fd: RawFd, token: u64) -> io::Result<()> {
        if self.place(fd).is_some() {
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        let index = index_of(fd);
        if index >= self.places.len() {
            self.places.resize(index + 1, None);
        }
        self.places[index] = Some(self.watched.len());
        self.watched.push(libc::pollfd {
            fd: hidden(fd),
            events: 0,
            revents: 0,
        });
        self.tokens.push(token);
        Ok(())
    }

    fn deregister(&mut self, fd: RawFd, _still_open: bool) -> io::Result<()> {
        let place = self
            .place(fd)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;
        self.places[index_of(fd)] = None;
        self.watched.swap_remove(place);
        self.tokens.swap_remove(place);
        if let Some(moved) = self.watched.get(place) {
            self.places[index_of(shown(moved.fd))] = Some(place);
        }
        Ok(())
    }

    fn arm(&mut self, fd: RawFd, direction: Direction) -> io::Result<()> {
        let place = self
            .place(fd)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;
        let entry = &mut self.watched[place];
        entry.fd = fd;
        entry.events |= match direction {
            Direction::Read => libc::POLLIN,
            Direction::Write => libc::POLLOUT,
        };
        Ok(())
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        let timeout_ms = timeout.map_or(-1, milliseconds_rounded_up);
        let mut left = sys::poll(&mut self.watched, timeout_ms).map_err(|error| {
            let advice = match error.raw_os_error() {
                Some(libc::EINVAL) => "; more descriptors are watched than RLIMIT_NOFILE allows for by now",
                _ => "",
            };
            io::Error::new(error.kind(), format!("poll: {error}{advice}"))
        })?;
        if left > 0 && self.watched[0].revents != 0 {
            // What cannot be taken out would be heard again and again.
            self.bell
                .hear()
                .map_err(|error| explain("the bell cannot be heard: read", &error))?;
            left -= 1;
        }
        for (entry, &token) in self.watched.iter_mut().zip(&self.tokens).skip(1) {
            if left == 0 {
                break;
            }
            if entry.revents == 0 {
                continue;
            }
            left -= 1;
            let has = |flags| entry.revents & flags != 0;
            // A hang-up ends both directions of a socket; a descriptor that is not open is found out by the attempt.
            let broken = has(libc::POLLERR | libc::POLLHUP | libc::POLLNVAL);
            events.push(Event {
                token,
                readable: has(libc::POLLIN),
                writable: has(libc::POLLOUT),
                read_closed: broken,
                write_closed: broken,
                urgent: false,
                error: None,
            });
            entry.events &= !entry.revents;
            if broken || entry.events == 0 {
                entry.events = 0;
                entry.fd = hidden(entry.fd);
            }
            entry.revents = 0;
        }
        Ok(())
    }

    fn bell(&self) -> Bell {
        Bell::Pipe(self.bell.clone())
    }
}

fn index_of(fd: RawFd) -> usize {
    usize::try_from(fd).expect("an open descriptor is not negative")
}

/// A number that `poll` skips, and that the descriptor's can be told from.
fn hidden(fd: RawFd) -> RawFd {
    if fd < 0 { fd } else { -1 - fd }
}

fn shown(fd: RawFd) -> RawFd {
    if fd < 0 { -1 - fd } else { fd }
}
