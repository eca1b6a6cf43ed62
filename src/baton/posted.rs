//! A future of a baton's wait.
//!
//! The waiter of a future cannot lie in the future: that may be dropped while a poster is on the way from the word to the
//! waiter. So it lies in an `Arc`, and its address in the word is a reference of its own, which goes to whoever takes the
//! address out.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::{Baton, Ended, Waiter};
use crate::sched::wake_task;

/// The future of a [`Baton`]'s wait; see [`Baton::posted`].
///
/// Dropping it withdraws the waiter, so that somebody else may wait.
#[must_use = "a future does nothing unless it is polled"]
pub struct Posted<'a> {
    baton: &'a Baton,
    registration: Registration,
}

impl Baton {
    /// A future that is ready when it has been posted: for async code, whichever executor runs that. As for
    /// [`wait`](Baton::wait), there is one waiter, from the first poll until it is ready or dropped.
    ///
    /// ```
    /// use kapok::sync::Baton;
    ///
    /// kapok::run(|| {
    ///     let baton = Baton::new();
    ///     kapok::scope(|scope| {
    ///         scope.spawn(|| baton.post());
    ///         kapok::block_on(async {
    ///             baton.posted().await;
    ///             (&baton).await; // the same, and it stays posted
    ///         });
    ///     });
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// A [`post`](Baton::post) wakes the task from where it is called. A waker that panics there has printed its message; the
    /// panic goes no further.
    ///
    /// # Panics
    /// When it is polled, if somebody else is waiting on this baton.
    pub fn posted(&self) -> Posted<'_> {
        Posted {
            baton: self,
            registration: Registration::default(),
        }
    }
}

impl<'a> IntoFuture for &'a Baton {
    type Output = ();
    type IntoFuture = Posted<'a>;

    fn into_future(self) -> Posted<'a> {
        self.posted()
    }
}

impl Future for Posted<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.registration.poll(this.baton, context.waker())
    }
}

impl Drop for Posted<'_> {
    fn drop(&mut self) {
        self.registration.withdraw(self.baton);
    }
}

impl fmt::Debug for Posted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Posted").field(self.baton).finish()
    }
}

/// A [`Waiter::Task`], at the same address.
#[repr(transparent)]
struct Shared(Waiter);

// SAFETY: it is a `Task`, which is a mutex around a waker.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// That a task waits for a baton, or does not.
#[derive(Default)]
pub(crate) struct Registration(Option<Arc<Shared>>);

impl Registration {
    /// Ready when `baton`, which is the same each time, has been posted.
    pub(crate) fn poll(&mut self, baton: &Baton, waker: &Waker) -> Poll<()> {
        if let Some(waiter) = &self.0 {
            if !exchange(waiter, waker) {
                return Poll::Pending;
            }
            self.0 = None;
            return Poll::Ready(());
        }
        if baton.try_wait() {
            return Poll::Ready(());
        }
        let waiter = Arc::new(Shared(Waiter::Task(Mutex::new(Some(waker.clone())))));
        // The word's own reference, for whoever takes the address out.
        let words = Arc::into_raw(Arc::clone(&waiter));
        let Some(ended) = baton.register(&waiter.0) else {
            self.0 = Some(waiter);
            return Poll::Pending;
        };
        // SAFETY: it has not come into the word.
        drop(unsafe { Arc::from_raw(words) });
        match ended {
            Ended::Posted => Poll::Ready(()),
            _ => panic!("Baton::posted: somebody else is waiting on it; a baton has one waiter"),
        }
    }

    /// Nobody waits any more. A poster that was faster may wake the task all the same.
    pub(crate) fn withdraw(&mut self, baton: &Baton) {
        let Some(waiter) = self.0.take() else { return };
        if baton.unregister(&waiter.0) {
            // SAFETY: the word's reference, which was just taken out of it.
            drop(unsafe { Arc::from_raw(Arc::as_ptr(&waiter)) });
        }
    }
}

/// Has `waker` woken from now on; true if the waiter has been called, and nobody will be woken.
fn exchange(waiter: &Shared, waker: &Waker) -> bool {
    let same = |slot: &Option<Waker>| slot.as_ref().is_none_or(|old| old.will_wake(waker));
    {
        let slot = slot_of(waiter);
        if same(&slot) {
            return slot.is_none();
        }
    }
    // Cloning and dropping one runs its executor's code, which must not find the lock taken.
    let new = waker.clone();
    let mut slot = slot_of(waiter);
    let old = slot.as_mut().map(|slot| std::mem::replace(slot, new));
    drop(slot);
    old.is_none()
}

fn slot_of(waiter: &Shared) -> MutexGuard<'_, Option<Waker>> {
    let Waiter::Task(slot) = &waiter.0 else {
        unreachable!("a future's waiter")
    };
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes the task of a waiter that was taken out of the word.
///
/// # Safety
/// It is a `Task`, and its address was the word's reference.
pub(super) unsafe fn call(waiter: *const Waiter) {
    // SAFETY: the caller's promise.
    let waiter = unsafe { Arc::from_raw(waiter.cast::<Shared>()) };
    let waker = slot_of(&waiter).take();
    drop(waiter);
    waker.into_iter().for_each(wake_task);
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registration").field(&self.0.is_some()).finish()
    }
}
