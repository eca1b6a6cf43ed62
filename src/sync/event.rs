//! Something that is the case or not, and those who wait until it is.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::queue::{Choice, Enlisted, Place, Queue, Waited, checkpoint};
use crate::sched::Worker;

/// A flag that any number of fibers and threads can wait for. It stays set until [`reset`](Event::reset).
///
/// ```
/// use kapok::sync::Event;
/// use std::sync::Arc;
///
/// kapok::run(|| {
///     let ready = Arc::new(Event::new());
///     for _ in 0..3 {
///         let ready = Arc::clone(&ready);
///         kapok::spawn(move || ready.wait());
///     }
///     ready.set();
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// What was done before `set` is visible after `wait`. Whoever waits when it is set goes on, even if it is reset at once.
pub struct Event {
    is_set: AtomicBool,
    line: Queue<(), ()>,
}

impl Event {
    /// An event that is not set.
    #[must_use]
    pub const fn new() -> Event {
        Event {
            is_set: AtomicBool::new(false),
            line: Queue::new(()),
        }
    }

    /// Sets it: all who wait go on, and who comes need not wait.
    pub fn set(&self) {
        let mut line = self.line.lock();
        self.is_set.store(true, Ordering::Release);
        line.call_all(0);
    }

    /// Has those who come wait again.
    pub fn reset(&self) {
        self.is_set.store(false, Ordering::Release);
    }

    /// Whether it is set.
    ///
    /// A fiber that looks in vain 64 times in a row lets others run, but not within [`no_suspend`](crate::no_suspend()).
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.has_come() || Worker::looked_in_vain()
    }

    pub(super) fn has_come(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    /// Waits until it is set.
    ///
    /// # Panics
    /// Where it would have to wait in a section of [`no_suspend`](crate::no_suspend()).
    pub fn wait(&self) {
        checkpoint();
        self.wait_until(None);
    }

    /// Waits until it is set, at most for `timeout`; false if it was not.
    ///
    /// # Panics
    /// As [`wait`](Event::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        checkpoint();
        // Further away than the clock can tell is for ever.
        self.wait_until(Instant::now().checked_add(timeout))
    }

    fn wait_until(&self, deadline: Option<Instant>) -> bool {
        if self.has_come() {
            return true;
        }
        let line = self.line.lock();
        if self.has_come() {
            return true;
        }
        // All are called, so there is nothing to pass on.
        match line.wait(0, Place::Back, (), deadline, || (), |_| ()) {
            Waited::Called(()) => true,
            Waited::TimedOut(..) => false,
        }
    }

    /// Joins the line as one of several; `None` if it is set.
    pub(super) fn enlist(&self, choice: &Arc<Choice>, which: usize) -> Option<Waiting<'_>> {
        let line = self.line.lock();
        (!self.has_come()).then(|| line.enlist(0, (), choice, which))
    }
}

/// Who waits as one of several.
pub(super) type Waiting<'a> = Enlisted<'a, (), (), 1>;

impl Default for Event {
    fn default() -> Event {
        Event::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("is_set", &self.has_come()).finish()
    }
}
