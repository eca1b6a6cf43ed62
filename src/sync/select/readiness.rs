//! The arms of `select!` that are about sockets.

use std::io;
use std::sync::Arc;
use std::task::{Wake, Waker};

use super::{Case, Ticket};
use crate::sched::Interest;
use crate::sync::queue::Choice;
use crate::sys::{self, Direction};
use crate::watcher::{self, Watchable, Watched};

#[doc(hidden)]
#[derive(Debug)]
pub struct Readiness<'a> {
    watched: Watched<'a>,
    direction: Direction,
    interest: Option<Interest>,
    found: Option<io::Result<()>>,
}

#[doc(hidden)]
#[must_use]
pub fn readable<W: Watchable + ?Sized>(socket: &W) -> Readiness<'_> {
    Readiness::new(socket.watched(), Direction::Read)
}

#[doc(hidden)]
#[must_use]
pub fn writable<W: Watchable + ?Sized>(socket: &W) -> Readiness<'_> {
    Readiness::new(socket.watched(), Direction::Write)
}

/// What the reactor wakes for one of several.
struct Chooses(Arc<Choice>, usize);

impl Wake for Chooses {
    fn wake(self: Arc<Self>) {
        if self.0.choose(self.1) {
            self.0.baton.post();
        }
    }
}

impl<'a> Readiness<'a> {
    fn new(watched: Watched<'a>, direction: Direction) -> Readiness<'a> {
        Readiness {
            watched,
            direction,
            interest: None,
            found: None,
        }
    }

    pub fn take(&mut self) -> io::Result<()> {
        self.found.take().expect("it was chosen")
    }
}

impl Case for Readiness<'_> {
    fn try_now(&mut self) -> bool {
        if self.found.is_none() {
            self.found = match sys::is_ready(self.watched.0.fd, self.direction) {
                Ok(is_ready) => is_ready.then_some(Ok(())),
                Err(error) => Some(Err(error)),
            };
        }
        self.found.is_some()
    }

    fn enlist(&mut self, ticket: &Ticket<'_>) -> bool {
        let waker = Waker::from(Arc::new(Chooses(Arc::clone(ticket.0), ticket.1)));
        match watcher::watch(self.watched.0, self.direction, &waker).map(|it| (it.outcome(), it)) {
            Ok((None, interest)) => self.interest = Some(interest),
            Ok((Some(Ok(_)), _)) => {} // ready by now
            Ok((Some(Err(errno)), _)) => self.found = Some(Err(io::Error::from_raw_os_error(errno))),
            Err(error) => self.found = Some(Err(error)),
        }
        self.interest.is_some()
    }

    fn leave(&mut self, was_chosen: bool) {
        let outcome = self.interest.take().and_then(|interest| interest.outcome());
        if was_chosen {
            self.found = outcome.map(|outcome| match outcome {
                // Nobody watches any more, because the listener was closed: a call will say so.
                Ok(_) | Err(libc::ECANCELED) => Ok(()),
                Err(errno) => Err(io::Error::from_raw_os_error(errno)),
            });
        }
    }
}
