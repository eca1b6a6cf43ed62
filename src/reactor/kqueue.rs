//! `kqueue(2)`: the BSDs and Apple's systems.
//!
//! One call hands over changes and waits, so registering costs no system call of its own: changes are collected, and the
//! next wait takes them along. A descriptor has two filters, one for each direction, each registered once with `EV_CLEAR`,
//! which makes it report edges. What systems do not agree on is not used:
//!
//! - An edge is a hint. Some report one again without need, so nothing is concluded from it but that an attempt is worth
//!   while; `data`, the number of bytes or connections, is not looked at.
//! - Nothing is registered again to have a pending edge repeated, and `EV_DISPATCH` is not used: what is left over from
//!   before is reported again on one system, and not on the other.
//! - A descriptor is deleted before it is closed. The BSDs would do it by themselves; what stands in for them may not.
//!
//! Of the other filters none has a user here. `EVFILT_TIMER` would cost a system call for each fiber that sleeps, where
//! the wheel (`sched/timers.rs`) costs none, and the wait takes its time-out along. For signals, child processes and files
//! that change this library has no interface.

use std::io;
use std::os::fd::RawFd;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::bell::{Bell, Pipe, User};
use super::selector::{Event, Selector};
use crate::sys::kqueue::{
    self, EV_ADD, EV_CLEAR, EV_DELETE, EV_EOF, EV_ERROR, EVFILT_READ, EVFILT_WRITE, Filter, Flags, Kevent, Queue,
};
use crate::sys::{Direction, explain};

/// How many events one wait can bring, at least. More that are ready come with the next one.
const BATCH: usize = 1024;

/// When the kernel hears of a registration. `KAPOK_KQUEUE_CHANGES` chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Changes {
    /// With the next wait, in the same call. An error comes back among the events.
    #[default]
    Batched,
    /// At once, by a call for each filter. An error is the registration's own.
    Immediate,
}

impl Changes {
    fn from_env() -> io::Result<Changes> {
        match std::env::var_os("KAPOK_KQUEUE_CHANGES") {
            Some(name) if !name.is_empty() => name.to_string_lossy().parse(),
            _ => Ok(Changes::default()),
        }
    }
}

impl FromStr for Changes {
    type Err = io::Error;

    fn from_str(name: &str) -> io::Result<Changes> {
        match name {
            "batched" => Ok(Changes::Batched),
            "immediate" => Ok(Changes::Immediate),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("KAPOK_KQUEUE_CHANGES: {name:?} is neither batched nor immediate"),
            )),
        }
    }
}

/// A kqueue.
#[derive(Debug)]
pub(crate) struct Kqueue {
    queue: Arc<Queue>,
    bell: Bell,
    changes: Changes,
    /// Registrations that the kernel has not heard of yet: of each descriptor both filters, or none.
    pending: Vec<Kevent>,
    buffer: Vec<Kevent>,
}

impl Kqueue {
    pub(crate) fn new() -> io::Result<Kqueue> {
        Kqueue::with_changes(Changes::from_env()?)
    }

    pub(super) fn with_changes(changes: Changes) -> io::Result<Kqueue> {
        match Kqueue::with_user_bell(changes) {
            // A kernel without EVFILT_USER: NetBSD before 10, OpenBSD before 7.8.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Kqueue::with_pipe_bell(changes),
            result => result,
        }
        .map_err(|error| match error.raw_os_error() {
            Some(_) => explain("kevent", &error),
            None => error, // it says whose it is
        })
    }

    fn with_user_bell(changes: Changes) -> io::Result<Kqueue> {
        let queue = Arc::new(Queue::new()?);
        let bell = Bell::User(User::new(Arc::clone(&queue))?);
        Ok(Kqueue::with_bell(queue, bell, changes))
    }

    pub(super) fn with_pipe_bell(changes: Changes) -> io::Result<Kqueue> {
        let queue = Arc::new(Queue::new()?);
        let bell = Pipe::new()?;
        queue.apply(&mut [kqueue::change(
            ident_of(bell.fd()),
            EVFILT_READ,
            EV_ADD | EV_CLEAR,
            0,
            0,
        )])?;
        Ok(Kqueue::with_bell(queue, Bell::Pipe(bell), changes))
    }

    fn with_bell(queue: Arc<Queue>, bell: Bell, changes: Changes) -> Kqueue {
        Kqueue {
            queue,
            bell,
            changes,
            pending: Vec::new(),
            buffer: Vec::with_capacity(BATCH),
        }
    }

    /// Takes back registrations that the kernel has not heard of; false where there were none.
    fn take_back(&mut self, fd: RawFd) -> bool {
        // The list is short: no more than what began to wait since the worker last turned the reactor.
        let before = self.pending.len();
        self.pending.retain(|change| change.ident != ident_of(fd));
        self.pending.len() < before
    }

    /// What an entry of the buffer says; `None` for what concerns nobody.
    fn event_of(&self, entry: &Kevent) -> Option<Event> {
        let direction = match entry.filter {
            EVFILT_READ => Direction::Read,
            EVFILT_WRITE => Direction::Write,
            _ => return None, // the bell: its edge ended the wait, which is all it is for
        };
        if let Bell::Pipe(bell) = &self.bell {
            if entry.ident == ident_of(bell.fd()) {
                // A full pipe would not make another edge.
                if let Err(error) = bell.hear() {
                    log::debug!("read from the bell: {error}"); // its next ring is an edge all the same
                }
                return None;
            }
        }
        let ended = entry.flags & EV_EOF != 0;
        let error = if entry.flags & EV_ERROR != 0 {
            Some(kqueue::errno(entry)?) // of a registration: nothing else is handed over without a receipt
        } else {
            i32::try_from(entry.fflags).ok().filter(|&errno| ended && errno != 0)
        };
        // With its end comes the error of the socket, which concerns both directions, whichever reports it.
        let broken = ended && error.is_some();
        let (read, write) = (direction == Direction::Read, direction == Direction::Write);
        Some(Event {
            token: token_of(entry),
            readable: read || broken,
            writable: write || broken,
            read_closed: (read && ended) || broken,
            write_closed: (write && ended) || broken,
            urgent: false,
            error,
        })
    }
}

impl Selector for Kqueue {
    const SEES_URGENT: bool = false;

    fn register(&mut self, fd: RawFd, token: u64) -> io::Result<()> {
        let mut both = both_filters(fd, EV_ADD | EV_CLEAR, udata_of(token));
        match self.changes {
            Changes::Batched => self.pending.extend(both),
            Changes::Immediate => {
                for change in &mut both {
                    if let Err(error) = self.queue.apply(std::slice::from_mut(change)) {
                        // Not by half: whoever asks again finds it as it was.
                        drop(self.deregister(fd, true));
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    fn deregister(&mut self, fd: RawFd, _still_open: bool) -> io::Result<()> {
        // At once, not with the next wait: until then the number may have come back as another one's.
        if self.take_back(fd) {
            return Ok(());
        }
        match self.queue.apply(&mut both_filters(fd, EV_DELETE, 0)) {
            // One of them was not accepted; the other is deleted all the same.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            result => result,
        }
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.buffer.clear();
        // Each change may come back as an error, and a kernel without room for that gives up half-way.
        self.buffer.reserve(self.pending.len().max(BATCH));
        let result = self.queue.kevent(&self.pending, &mut self.buffer, timeout);
        // An interrupted wait has applied them, too.
        self.pending.clear();
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result.map_err(|error| explain("kevent", &error))?,
        }
        events.extend(self.buffer.iter().filter_map(|entry| self.event_of(entry)));
        Ok(())
    }

    fn bell(&self) -> Bell {
        self.bell.clone()
    }
}

fn both_filters(fd: RawFd, flags: Flags, udata: usize) -> [Kevent; 2] {
    // Nothing depends on the order, except with libkqueue, which loses the interest in the end of what there is to read when
    // writing is added later.
    [EVFILT_WRITE, EVFILT_READ].map(|filter: Filter| kqueue::change(ident_of(fd), filter, flags, 0, udata))
}

fn ident_of(fd: RawFd) -> usize {
    usize::try_from(fd).expect("an open descriptor is not negative")
}

// A token has the descriptor in its low half, which comes back as `ident` anyway; so only the high half travels as `udata`,
// which has 32 bits on some systems.

fn udata_of(token: u64) -> usize {
    usize::try_from(token >> 32).expect("32 bits")
}

fn token_of(entry: &Kevent) -> u64 {
    let generation = u64::try_from(entry.udata.addr()).expect("no pointer is wider");
    let fd = u64::try_from(entry.ident).expect("no descriptor is wider");
    (generation << 32) | fd
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    const TOKEN: u64 = 5 << 32;

    fn token(fd: &UnixStream) -> u64 {
        TOKEN | u64::try_from(fd.as_raw_fd()).unwrap()
    }

    fn events(kqueue: &mut Kqueue) -> Vec<Event> {
        let mut events = Vec::new();
        kqueue.wait(Some(Duration::ZERO), &mut events).unwrap();
        events
    }

    /// A descriptor number that is not open.
    fn closed() -> RawFd {
        RawFd::MAX
    }

    #[test]
    fn edges_say_which_direction_and_carry_the_token() {
        for changes in [Changes::Batched, Changes::Immediate] {
            let mut kqueue = Kqueue::with_changes(changes).unwrap();
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            kqueue.register(ours.as_raw_fd(), token(&ours)).unwrap();
            theirs.write_all(b"x").unwrap();
            let of_both = events(&mut kqueue);
            assert!(of_both.iter().all(|event| event.token == token(&ours)));
            let mut directions: Vec<_> = of_both.iter().map(|event| (event.readable, event.writable)).collect();
            directions.sort_unstable();
            assert_eq!(directions, [(false, true), (true, false)]);
            drop(theirs);
            assert!(events(&mut kqueue).iter().any(|event| event.read_closed));
        }
    }

    #[test]
    fn a_batched_registration_costs_no_call_and_can_be_taken_back() {
        let mut kqueue = Kqueue::with_changes(Changes::Batched).unwrap();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (kept, _peer) = UnixStream::pair().unwrap();
        kqueue.register(ours.as_raw_fd(), token(&ours)).unwrap();
        kqueue.register(kept.as_raw_fd(), token(&kept)).unwrap();
        assert_eq!(kqueue.pending.len(), 4);
        kqueue.deregister(ours.as_raw_fd(), true).unwrap();
        let tokens: Vec<_> = events(&mut kqueue).iter().map(|event| event.token).collect();
        assert_eq!(tokens, [token(&kept)]); // it is writable
        assert!(kqueue.pending.is_empty());
    }

    #[test]
    fn a_deregistered_descriptor_is_deleted_at_once() {
        for changes in [Changes::Batched, Changes::Immediate] {
            let mut kqueue = Kqueue::with_changes(changes).unwrap();
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            kqueue.register(ours.as_raw_fd(), token(&ours)).unwrap();
            events(&mut kqueue);
            theirs.write_all(b"an edge that nobody has fetched").unwrap();
            kqueue.deregister(ours.as_raw_fd(), false).unwrap();
            assert_eq!(events(&mut kqueue), []);
            kqueue.deregister(ours.as_raw_fd(), false).unwrap(); // there is nothing left, which is no error
        }
    }

    #[test]
    fn a_refused_registration_is_an_error_now_or_among_the_events() {
        let mut kqueue = Kqueue::with_changes(Changes::Immediate).unwrap();
        let refused = kqueue.register(closed(), TOKEN).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EBADF));

        let mut kqueue = Kqueue::with_changes(Changes::Batched).unwrap();
        kqueue.register(closed(), TOKEN).unwrap();
        let mut refused = Vec::new();
        kqueue.wait(None, &mut refused).unwrap(); // does not wait for anything else
        let errors: Vec<_> = refused
            .iter()
            .map(|event| (event.readable, event.writable, event.error))
            .collect();
        assert_eq!(
            errors,
            [(false, true, Some(libc::EBADF)), (true, false, Some(libc::EBADF))]
        );
    }

    #[test]
    fn the_ways_to_hand_over_changes_have_names() {
        assert_eq!("batched".parse::<Changes>().unwrap(), Changes::Batched);
        assert_eq!("immediate".parse::<Changes>().unwrap(), Changes::Immediate);
        let error = "lazy".parse::<Changes>().unwrap_err().to_string();
        assert!(
            error.contains("KAPOK_KQUEUE_CHANGES") && error.contains("lazy"),
            "{error}"
        );
    }
}
