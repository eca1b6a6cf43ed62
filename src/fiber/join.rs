//! Waiting for the end of a fiber.

#![allow(
    unsafe_code,
    reason = "takes the result, which its own ownership of the handle entitles it to"
)]

use std::fmt;
use std::sync::OnceLock;

use super::handle::Fiber;
use super::packet::Outcome;
use crate::baton::Baton;
use crate::pool_arc::PoolArc;
use crate::sched::{self, TaskRef, Worker};

/// The right to wait for a fiber's end and to have its result. As [`std::thread::JoinHandle`].
///
/// Dropping it lets the fiber run on by itself. In async code it may be awaited.
pub struct JoinHandle<T> {
    packet: PoolArc<dyn Outcome<T>>,
    /// Made when it is first asked for: most never are, and it counts a reference.
    fiber: OnceLock<Fiber>,
    /// Not `Send` where `T` is not: the result is dropped where the handle is.
    _result: std::marker::PhantomData<T>,
}

// SAFETY: behind a shared handle there are only the identity and a flag; `T` is reached by giving up the handle.
unsafe impl<T> Sync for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    #[inline]
    pub(super) fn new(packet: PoolArc<dyn Outcome<T>>) -> JoinHandle<T> {
        JoinHandle {
            packet,
            fiber: OnceLock::new(),
            _result: std::marker::PhantomData,
        }
    }

    /// The fiber that it is about.
    #[must_use]
    pub fn fiber(&self) -> &Fiber {
        self.fiber.get_or_init(|| Fiber::from_task(self.task()))
    }

    /// The same, by the name that [`std::thread::JoinHandle`] gives it.
    #[must_use]
    pub fn thread(&self) -> &Fiber {
        self.fiber()
    }

    /// Waits for the fiber's end, and gives its result. In a fiber this suspends, on a plain thread it blocks.
    ///
    /// # Errors
    /// What the fiber panicked with; a [`Cancelled`](crate::Cancelled) where it was cancelled. A fiber that could not get a stack ends with a `String` that says why.
    ///
    /// # Panics
    /// In the fiber itself: it would wait for ever.
    pub fn join(self) -> super::Result<T> {
        let packet = self.packet.address();
        let own = Worker::with(|worker| worker.is_some_and(|worker| worker.is_current_task(packet)));
        assert!(!own, "JoinHandle::join: a fiber cannot wait for its own end");
        self.packet.ended().wait_for_an_end();
        // SAFETY: it has ended, and we are the handle.
        unsafe { self.packet.take() }.expect("a fiber that has ended has a result, and it is taken once")
    }

    fn task(&self) -> TaskRef {
        let thin = self.packet.clone().into_thin();
        // SAFETY: it is one to this packet.
        unsafe { self.packet.task(thin) }
    }

    /// Posted when the fiber has ended.
    pub(super) fn ended(&self) -> &Baton {
        self.packet.ended()
    }

    /// The result of a fiber that has ended; `None` if it has not, or the result was taken.
    pub(super) fn take_result(&mut self) -> Option<super::Result<T>> {
        if !self.has_ended() {
            return None;
        }
        // SAFETY: it has ended, and we are the handle.
        unsafe { self.packet.take() }
    }

    /// Cancels the fiber, and what it waits for inside of scopes: it is unwound at its next suspension point, or does not begin at
    /// all if it has not yet. From any thread; does not wait for it. How that goes is told in [`cancel`](crate::cancel).
    ///
    /// Its [`join`](JoinHandle::join) then gives an error that is a [`Cancelled`](crate::Cancelled), unless it ends
    /// otherwise first.
    ///
    /// ```
    /// use kapok::Cancelled;
    ///
    /// kapok::run(|| {
    ///     let fiber = kapok::spawn(|| kapok::fiber::park());
    ///     fiber.cancel();
    ///     assert!(fiber.join().unwrap_err().is::<Cancelled>());
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn cancel(&self) {
        sched::cancel(self.task());
    }

    /// Whether the fiber has ended.
    ///
    /// A fiber that looks in vain 64 times in a row lets others run, but not within [`no_suspend`](crate::no_suspend()).
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.has_ended() || Worker::looked_in_vain()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.packet.ended().try_wait()
    }
}

impl<T: 'static> JoinHandle<T> {
    /// What waits until the fiber has ended, and leaves the result where it is.
    pub(crate) fn wait_for_its_end(&self) -> Box<dyn FnOnce()> {
        let packet = self.packet.clone();
        Box::new(move || packet.ended().wait())
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        self.packet.detach();
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("fiber", self.fiber())
            .finish_non_exhaustive()
    }
}
