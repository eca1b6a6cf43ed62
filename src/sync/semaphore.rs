//! Permits, taken and given back one or several at a time.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::queue::{Choice, Enlisted, Locked, Place, Queue, Waited, checkpoint};
use crate::sched::Worker;

/// A number of permits, which those who need some wait for.
///
/// ```
/// use kapok::sync::Semaphore;
/// use std::sync::Arc;
///
/// kapok::run(|| {
///     let at_most_two = Arc::new(Semaphore::new(2));
///     for _ in 0..10 {
///         let at_most_two = Arc::clone(&at_most_two);
///         kapok::spawn(move || {
///             let _permit = at_most_two.acquire().unwrap();
///             // two of them are here at a time
///         });
///     }
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Whoever comes while somebody waits goes to the end of the line, and the line is served in its order: one who waits for
/// many permits is not overtaken by those who need few, so nobody waits for ever. It is Folly's `BatchSemaphore`,
/// too: [`acquire_many`](Semaphore::acquire_many) and [`add`](Semaphore::add) are its `wait` and `signal`.
///
/// # Cancelling
/// Acquiring is a suspension point. Who is cancelled there has no permits.
pub struct Semaphore {
    line: Queue<State, Wants>,
}

pub(super) struct State {
    permits: usize,
    is_closed: bool,
}

/// What one that waits has in its token.
pub(super) struct Wants {
    permits: usize,
    /// It has them. It is called without, when the semaphore is closed.
    has: bool,
}

type Line<'a> = Locked<'a, State, Wants>;

/// Why a semaphore has given no permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcquireError {
    /// There are not enough, or have not been in time.
    NoPermits,
    /// It was [closed](Semaphore::close).
    Closed,
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AcquireError::NoPermits => "there are not enough permits",
            AcquireError::Closed => "the semaphore is closed",
        })
    }
}

impl Error for AcquireError {}

/// Permits that are given back when this is dropped.
#[derive(Debug)]
#[must_use = "if unused the permits are given back immediately"]
#[clippy::has_significant_drop]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    permits: usize,
}

impl Semaphore {
    /// A semaphore with that many permits.
    #[must_use]
    pub const fn new(permits: usize) -> Semaphore {
        Semaphore {
            line: Queue::new(State {
                permits,
                is_closed: false,
            }),
        }
    }

    /// Takes one permit; waits until there is one.
    ///
    /// # Errors
    /// [`AcquireError::Closed`].
    ///
    /// # Panics
    /// Where it would have to wait in a section of [`no_suspend`](crate::no_suspend()).
    pub fn acquire(&self) -> Result<Permit<'_>, AcquireError> {
        self.acquire_many(1)
    }

    /// Takes `n` permits at once; waits until there are as many.
    ///
    /// # Errors
    /// [`AcquireError::Closed`].
    ///
    /// # Panics
    /// As [`acquire`](Semaphore::acquire).
    pub fn acquire_many(&self, n: usize) -> Result<Permit<'_>, AcquireError> {
        checkpoint();
        self.acquire_until(n, None)
    }

    /// Takes `n` permits if there are as many, and nobody waits.
    ///
    /// A fiber that looks in vain 64 times in a row lets others run, but not within [`no_suspend`](crate::no_suspend()).
    ///
    /// # Errors
    /// [`AcquireError::NoPermits`], [`AcquireError::Closed`].
    pub fn try_acquire(&self, n: usize) -> Result<Permit<'_>, AcquireError> {
        let acquired = self.acquire_now(n);
        if matches!(acquired, Err(AcquireError::NoPermits)) {
            Worker::looked_in_vain();
        }
        acquired
    }

    pub(super) fn acquire_now(&self, n: usize) -> Result<Permit<'_>, AcquireError> {
        self.take(&mut self.line.lock(), n)?;
        Ok(self.permit(n))
    }

    /// As [`acquire_many`](Semaphore::acquire_many), but waits no longer than `timeout`.
    ///
    /// # Errors
    /// [`AcquireError::NoPermits`] when the time is up; [`AcquireError::Closed`].
    ///
    /// # Panics
    /// As [`acquire`](Semaphore::acquire).
    pub fn try_acquire_for(&self, n: usize, timeout: Duration) -> Result<Permit<'_>, AcquireError> {
        checkpoint();
        // Further away than the clock can tell is for ever.
        self.acquire_until(n, Instant::now().checked_add(timeout))
    }

    fn acquire_until(&self, n: usize, deadline: Option<Instant>) -> Result<Permit<'_>, AcquireError> {
        let mut line = self.line.lock();
        match self.take(&mut line, n) {
            Err(AcquireError::NoPermits) => {}
            Err(AcquireError::Closed) => return Err(AcquireError::Closed),
            Ok(()) => return Ok(self.permit(n)),
        }
        let wants = Wants { permits: n, has: false };
        match line.wait(0, Place::Back, wants, deadline, || (), settle) {
            Waited::Called(wants) if wants.has => Ok(self.permit(n)),
            Waited::Called(_) => Err(AcquireError::Closed),
            Waited::TimedOut(mut line, _) => {
                settle(&mut line);
                Err(AcquireError::NoPermits)
            }
        }
    }

    /// Joins the line as one of several; `None` if it need not wait.
    pub(super) fn enlist(&self, n: usize, choice: &Arc<Choice>, which: usize) -> Option<Waiting<'_>> {
        let line = self.line.lock();
        let waits = !line.is_closed && (!line.is_empty(0) || line.permits < n);
        waits.then(|| Waiting {
            semaphore: self,
            enlisted: Some(line.enlist(0, Wants { permits: n, has: false }, choice, which)),
        })
    }

    fn take(&self, line: &mut Line<'_>, n: usize) -> Result<(), AcquireError> {
        if line.is_closed {
            return Err(AcquireError::Closed);
        }
        if !line.is_empty(0) || line.permits < n {
            return Err(AcquireError::NoPermits);
        }
        line.permits -= n;
        Ok(())
    }

    fn permit(&self, permits: usize) -> Permit<'_> {
        Permit {
            semaphore: self,
            permits,
        }
    }

    /// Adds permits. Never waits.
    ///
    /// # Panics
    /// If there are more than a `usize` can tell then.
    pub fn add(&self, n: usize) {
        let mut line = self.line.lock();
        let Some(permits) = line.permits.checked_add(n) else {
            // The program's hook may want this lock.
            drop(line);
            panic!("a semaphore has no more permits than a usize can tell");
        };
        line.permits = permits;
        settle(&mut line);
    }

    /// How many permits are there now.
    #[must_use]
    pub fn available(&self) -> usize {
        self.line.lock().permits
    }

    /// Has it give no permits any more: who waits, and who comes, gets an error.
    pub fn close(&self) {
        let mut line = self.line.lock();
        line.is_closed = true;
        line.call_all(0);
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.line.lock().is_closed
    }
}

/// Gives those at the front what they want, as long as there is enough.
fn settle(line: &mut Line<'_>) {
    while let Some(wants) = line.call_if(0, |state, wants| wants.permits <= state.permits) {
        wants.has = true;
        let permits = wants.permits;
        line.permits -= permits;
    }
}

/// Who waits as one of several.
pub(super) struct Waiting<'a> {
    semaphore: &'a Semaphore,
    enlisted: Option<Enlisted<'a, State, Wants, 1>>,
}

impl<'a> Waiting<'a> {
    /// Leaves the line; what it gives counts if it was called.
    pub(super) fn leave(mut self) -> Result<Permit<'a>, AcquireError> {
        let enlisted = self.enlisted.take().expect("it is left once");
        let wants = enlisted.leave();
        if wants.has {
            return Ok(self.semaphore.permit(wants.permits));
        }
        // It may have stood in the way of those who want fewer.
        settle(&mut self.semaphore.line.lock());
        Err(AcquireError::Closed)
    }
}

impl Permit<'_> {
    /// Keeps the permits for good: they are not given back.
    pub fn forget(mut self) {
        self.permits = 0;
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.permits > 0 {
            self.semaphore.add(self.permits);
        }
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("available", &self.available())
            .finish_non_exhaustive()
    }
}
