//! The condition variable.

use std::fmt;
use std::sync::LockResult;
use std::time::{Duration, Instant};

use super::mutex::{Mutex, MutexGuard};
use super::poison;
use super::queue::{Place, Queue, Waited};

/// As [`std::sync::Condvar`], for fibers and threads, with a [`Mutex`] of this module.
///
/// ```
/// use std::sync::Arc;
/// use kapok::sync::{Condvar, Mutex};
///
/// kapok::run(|| {
///     let pair = Arc::new((Mutex::new(false), Condvar::new()));
///     let theirs = Arc::clone(&pair);
///     kapok::spawn(move || {
///         *theirs.0.lock().unwrap() = true;
///         theirs.1.notify_one();
///     });
///     let (lock, condvar) = &*pair;
///     let started = condvar.wait_while(lock.lock().unwrap(), |started| !*started).unwrap();
///     assert!(*started);
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Those who wait are notified in the order in which they came.
///
/// # Cancelling
/// A fiber that is cancelled while it waits is unwound **without** the lock, which is not poisoned. If it had been notified, and
/// is cancelled while it waits for the lock, somebody else is notified in its place, so no notification gets lost.
pub struct Condvar {
    line: Queue<(), ()>,
}

/// As [`std::sync::WaitTimeoutResult`]: whether the time was up.
#[derive(Debug, PartialEq, Eq, Copy, Clone)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// True if the wait ended because the time was up.
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

/// A lock that is held. Where the wait is refused, or cancelled at its beginning, it is let go of just as if it had been
/// waited: who waits has left the data in order.
struct Held<'a, T>(&'a Mutex<T>);

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        self.0.unlock();
    }
}

/// Gives a notification to somebody else when this is unwound.
struct PassOn<'a>(Option<&'a Condvar>);

impl Drop for PassOn<'_> {
    fn drop(&mut self) {
        if let Some(condvar) = self.0 {
            condvar.notify_one();
        }
    }
}

impl Condvar {
    /// A condition variable that nobody waits for.
    #[must_use]
    pub const fn new() -> Condvar {
        Condvar { line: Queue::new(()) }
    }

    /// Unlocks the mutex, waits until it is notified, and takes the lock again. It may return without a notification, too.
    ///
    /// # Errors
    /// With the guard, if the mutex is poisoned.
    ///
    /// # Panics
    /// In a section of [`no_suspend`](crate::no_suspend()).
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.wait_until(guard, None).0
    }

    /// Waits while `condition` is true. It is called with the mutex locked.
    ///
    /// # Errors
    /// As [`wait`](Condvar::wait).
    ///
    /// # Panics
    /// As [`wait`](Condvar::wait).
    pub fn wait_while<'a, T, F>(&self, mut guard: MutexGuard<'a, T>, mut condition: F) -> LockResult<MutexGuard<'a, T>>
    where
        F: FnMut(&mut T) -> bool,
    {
        while condition(&mut *guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`wait`](Condvar::wait), for at most `dur`; then it takes the lock again, however long that takes.
    ///
    /// # Errors
    /// As [`wait`](Condvar::wait).
    ///
    /// # Panics
    /// As [`wait`](Condvar::wait).
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        dur: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        // Further away than the clock can tell is for ever.
        let (guard, notified) = self.wait_until(guard, Instant::now().checked_add(dur));
        poison::map(guard, |guard| (guard, WaitTimeoutResult(!notified)))
    }

    /// As [`wait_timeout`](Condvar::wait_timeout), in milliseconds; false if the time was up.
    ///
    /// # Errors
    /// As [`wait`](Condvar::wait).
    ///
    /// # Panics
    /// As [`wait`](Condvar::wait).
    #[deprecated(note = "replaced by `Condvar::wait_timeout`")]
    pub fn wait_timeout_ms<'a, T>(&self, guard: MutexGuard<'a, T>, ms: u32) -> LockResult<(MutexGuard<'a, T>, bool)> {
        let result = self.wait_timeout(guard, Duration::from_millis(u64::from(ms)));
        poison::map(result, |(guard, result)| (guard, !result.timed_out()))
    }

    /// Waits while `condition` is true, for at most `dur`. It has timed out if the condition is still true then.
    ///
    /// # Errors
    /// As [`wait`](Condvar::wait).
    ///
    /// # Panics
    /// As [`wait`](Condvar::wait).
    pub fn wait_timeout_while<'a, T, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        dur: Duration,
        mut condition: F,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)>
    where
        F: FnMut(&mut T) -> bool,
    {
        let start = Instant::now();
        loop {
            if !condition(&mut *guard) {
                return Ok((guard, WaitTimeoutResult(false)));
            }
            let Some(timeout) = dur.checked_sub(start.elapsed()) else {
                return Ok((guard, WaitTimeoutResult(true)));
            };
            guard = self.wait_timeout(guard, timeout)?.0;
        }
    }

    /// Has one of those who wait go on, if any does.
    pub fn notify_one(&self) {
        self.line.lock().call(0);
    }

    /// Has all of those who wait go on.
    pub fn notify_all(&self) {
        self.line.lock().call_all(0);
    }

    /// The lock, taken again, and whether there was a notification.
    fn wait_until<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Option<Instant>,
    ) -> (LockResult<MutexGuard<'a, T>>, bool) {
        let mutex = guard.into_lock();
        let held = Held(mutex);
        // In the line before the mutex is free: whoever changes the condition then finds somebody to notify.
        let unlock = || drop(held);
        let waited = self.line.lock().wait(0, Place::Back, (), deadline, unlock, |_| ());
        match waited {
            Waited::Called(()) => {
                let mut pass_on = PassOn(Some(self));
                let guard = mutex.lock();
                pass_on.0 = None;
                (guard, true)
            }
            Waited::TimedOut(line, ()) => {
                drop(line);
                (mutex.lock(), false)
            }
        }
    }
}

impl Default for Condvar {
    fn default() -> Condvar {
        Condvar::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}
