//! The arms of `select!` that are about time, and about fibers that end.

use std::time::{Duration, Instant};

use super::Case;
use crate::fiber::JoinHandle;

#[doc(hidden)]
#[derive(Debug)]
pub struct Time(Option<Instant>);

/// `None` is never.
#[doc(hidden)]
#[must_use]
pub fn after(duration: Duration) -> Time {
    Time(Instant::now().checked_add(duration))
}

#[doc(hidden)]
#[must_use]
pub fn at(instant: Instant) -> Time {
    Time(Some(instant))
}

impl Time {
    pub fn take(&mut self) {}
}

impl Case for Time {
    fn try_now(&mut self) -> bool {
        self.0.is_some_and(|at| at <= Instant::now())
    }

    fn deadline(&self) -> Option<Instant> {
        self.0
    }
}

#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "nobody sees it")]
pub struct Join<'a, T>(&'a JoinHandle<T>);

#[doc(hidden)]
pub fn join<T: 'static>(handle: &JoinHandle<T>) -> Join<'_, T> {
    Join(handle)
}

impl<T> Join<'_, T> {
    pub fn take(&mut self) {}
}

impl<T: 'static> Case for Join<'_, T> {
    fn try_now(&mut self) -> bool {
        self.0.has_ended()
    }

    fn helper(&mut self) -> Option<Box<dyn FnOnce()>> {
        Some(self.0.wait_for_its_end())
    }
}

#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "nobody sees it")]
pub struct When<F>(Option<F>, bool);

#[doc(hidden)]
pub fn when<F: FnOnce() + Clone + 'static>(function: F) -> When<F> {
    When(Some(function), false)
}

impl<F> When<F> {
    pub fn take(&mut self) {}
}

impl<F: FnOnce() + Clone + 'static> Case for When<F> {
    fn try_now(&mut self) -> bool {
        self.1
    }

    fn leave(&mut self, was_chosen: bool) {
        self.1 = was_chosen;
    }

    fn helper(&mut self) -> Option<Box<dyn FnOnce()>> {
        let function = self.0.clone()?;
        Some(Box::new(function))
    }
}
