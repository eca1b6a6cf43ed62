//! The arms of `select!` that are about sockets.

use std::io;
use std::sync::Arc;
use std::task::{Wake, Waker};

use super::{Case, Ticket};
use crate::reactor::Outcome;
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
            // Ready by now. Where another thread has found that out, it chooses this case, or is about to.
            Ok((Some(outcome), _)) => self.found = Some(found(outcome)),
            Err(error) => self.found = Some(Err(error)),
        }
        self.interest.is_some()
    }

    fn leave(&mut self, was_chosen: bool) {
        // Without an interest it was over when it was to join the line, and what was found then stays.
        let Some(interest) = self.interest.take() else { return };
        if was_chosen {
            self.found = interest.outcome().map(found);
        }
    }
}

fn found(outcome: Outcome) -> io::Result<()> {
    match outcome {
        // Nobody watches any more, because the listener was closed: a call will say so.
        Ok(_) | Err(libc::ECANCELED) => Ok(()),
        Err(errno) => Err(io::Error::from_raw_os_error(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another thread may find it ready, and choose it, before it has looked how that ended.
    #[test]
    fn what_is_ready_when_it_joins_the_line_may_be_chosen_all_the_same() {
        let listener = crate::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut case = readable(&listener);
        let choice = Arc::new(Choice::new());
        // On this thread nobody watches: it looks once, and the kernel says that it is ready.
        assert!(!case.enlist(&Ticket(&choice, 0)));
        assert!(choice.choose(0));
        case.leave(choice.chosen() == Some(0));
        case.take().unwrap();
    }
}
