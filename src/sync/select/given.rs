//! The arms of `select!` that are about events and permits.

use super::{Case, Ticket};
use crate::sync::event::{self, Event};
use crate::sync::semaphore::{self, AcquireError, Permit, Semaphore};

#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "nobody sees it")]
pub struct IsSet<'a> {
    event: &'a Event,
    enlisted: Option<event::Waiting<'a>>,
}

#[doc(hidden)]
#[must_use]
pub fn wait(event: &Event) -> IsSet<'_> {
    IsSet { event, enlisted: None }
}

impl IsSet<'_> {
    pub fn take(&mut self) {}
}

impl Case for IsSet<'_> {
    fn try_now(&mut self) -> bool {
        self.event.has_come()
    }

    fn enlist(&mut self, ticket: &Ticket<'_>) -> bool {
        self.enlisted = self.event.enlist(ticket.0, ticket.1);
        self.enlisted.is_some()
    }

    fn leave(&mut self, _: bool) {
        drop(self.enlisted.take());
    }
}

#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "nobody sees it")]
pub struct Acquire<'a> {
    semaphore: &'a Semaphore,
    permits: usize,
    enlisted: Option<semaphore::Waiting<'a>>,
    acquired: Option<Result<Permit<'a>, AcquireError>>,
}

#[doc(hidden)]
#[must_use]
pub fn acquire(semaphore: &Semaphore, permits: usize) -> Acquire<'_> {
    Acquire {
        semaphore,
        permits,
        enlisted: None,
        acquired: None,
    }
}

impl<'a> Acquire<'a> {
    pub fn take(&mut self) -> Result<Permit<'a>, AcquireError> {
        self.acquired.take().expect("it was chosen")
    }
}

impl Case for Acquire<'_> {
    fn try_now(&mut self) -> bool {
        self.acquired = match self.semaphore.acquire_now(self.permits) {
            Err(AcquireError::NoPermits) => None,
            acquired => Some(acquired),
        };
        self.acquired.is_some()
    }

    fn enlist(&mut self, ticket: &Ticket<'_>) -> bool {
        self.enlisted = self.semaphore.enlist(self.permits, ticket.0, ticket.1);
        self.enlisted.is_some()
    }

    fn leave(&mut self, was_chosen: bool) {
        if let Some(acquired) = self.enlisted.take().map(|it| it.leave()) {
            self.acquired = was_chosen.then_some(acquired);
        }
    }
}
