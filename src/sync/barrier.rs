//! Several that wait until all of them are there.

use std::fmt;
use std::panic::RefUnwindSafe;

use super::queue::{Place, Queue, Waited, checkpoint};

/// As [`std::sync::Barrier`], for fibers and threads.
///
/// ```
/// use std::sync::Arc;
/// use kapok::sync::Barrier;
///
/// kapok::run(|| {
///     let barrier = Arc::new(Barrier::new(3));
///     let fibers: Vec<_> = (0..3)
///         .map(|_| {
///             let barrier = Arc::clone(&barrier);
///             kapok::spawn(move || barrier.wait().is_leader())
///         })
///         .collect();
///     let leaders = fibers.into_iter().filter(|_| true).map(|fiber| fiber.join().unwrap());
///     assert_eq!(leaders.filter(|&leader| leader).count(), 1);
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Cancelling
/// One that is cancelled while it waits is not counted any more: another one has to come in its place.
pub struct Barrier {
    line: Queue<(), ()>,
    size: usize,
}

impl RefUnwindSafe for Barrier {}

/// As [`std::sync::BarrierWaitResult`]: whether it was the last to come.
pub struct BarrierWaitResult(bool);

impl Barrier {
    /// A barrier for `n`.
    #[must_use]
    pub const fn new(n: usize) -> Barrier {
        Barrier {
            line: Queue::new(()),
            size: n,
        }
    }

    /// Waits until `n` are there, and may be used by the next `n` then. One of them is the leader.
    ///
    /// # Panics
    /// Where it would have to wait in a section of [`no_suspend`](crate::no_suspend()).
    pub fn wait(&self) -> BarrierWaitResult {
        checkpoint();
        let mut line = self.line.lock();
        if line.len(0) + 1 >= self.size {
            line.call_all(0);
            return BarrierWaitResult(true);
        }
        match line.wait(0, Place::Back, (), None, || (), |_| ()) {
            Waited::Called(()) | Waited::TimedOut(..) => BarrierWaitResult(false),
        }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").finish_non_exhaustive()
    }
}

impl BarrierWaitResult {
    /// Whether it was the leader.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.0
    }
}

impl fmt::Debug for BarrierWaitResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BarrierWaitResult")
            .field("is_leader", &self.is_leader())
            .finish()
    }
}
