//! The shared part of a fiber: its work, its result, and who it is, in one allocation.
//!
//! ```text
//!            scheduler (runs it)       JoinHandle (waits, takes the result)       Fiber (name, id, unpark)
//!                     \                          |                                   /
//!                      +------------->  Arc<Packet<F, T>>  <------------------------+
//!                                       identity | work | result | state
//! ```
//!
//! Who may touch what is decided by `state`, so that neither needs a lock: `work` belongs to the scheduler; `result`
//! belongs to the fiber until it has ended, and then to the `JoinHandle`, or to nobody if that is gone.

#![allow(unsafe_code, reason = "hands the result over by an atomic state instead of a lock")]

use std::any::Any;
use std::cell::UnsafeCell;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::handle::{Fiber, Identified, Identity};
use crate::baton::Baton;
use crate::local::{self, Context};
use crate::sched::{Cancelled, Life, Task, Who};
use crate::stack::Description;

/// The fiber has not ended, and somebody may join it.
const RUNNING: u8 = 0;
/// The fiber has ended; the result belongs to the `JoinHandle`.
const ENDED: u8 = 1;
/// The `JoinHandle` is gone; the result belongs to whoever comes second.
const DETACHED: u8 = 2;

/// # Invariant
/// `contents` are touched by the owner of the scheduler's reference alone, while the state is not `ENDED`: on the thread that made
/// it, or, where the work is `Send` and has not started, on the thread that owns that reference now; which is the fiber's own, once
/// it runs. Once the state is `ENDED` they hold the result or nothing, and are touched by the `JoinHandle`; the one of the two that
/// finds the other gone drops the result.
pub(super) struct Packet<F, T> {
    identity: Identity,
    life: Life,
    contents: UnsafeCell<Contents<F, T>>,
    state: AtomicU8,
    ended: Baton,
}

/// First the one, then the other: a fiber's work has been taken out when there is a result.
enum Contents<F, T> {
    /// With what the fiber has inherited from the one that starts it.
    Work(F, Context),
    Result(super::Result<T>),
    Nothing,
}

// SAFETY: `F` and `T` are reached as the invariant says: `F` only by the thread that starts the fiber, which drops it there, and
// which is another one only if it came through `Builder::spawn` or `spawn_in`, where it is `Send`;
// `T` by the fiber's thread and the `JoinHandle`'s, which is `Send` only where `T` is. The rest is `Sync` by itself.
unsafe impl<F, T> Send for Packet<F, T> {}
// SAFETY: as above.
unsafe impl<F, T> Sync for Packet<F, T> {}

impl<F, T> Packet<F, T>
where
    F: FnOnce() -> T,
{
    #[inline(always)]
    pub(super) fn new(identity: Identity, work: F) -> Packet<F, T> {
        Packet {
            identity,
            life: Life::new(),
            contents: UnsafeCell::new(Contents::Work(work, Context::current())),
            state: AtomicU8::new(RUNNING),
            ended: Baton::new(),
        }
    }

    /// Leaves the result, or drops it where nobody wants it, then calls `last`, then lets the joiner go on.
    #[inline(always)]
    fn end_with(&self, result: super::Result<T>, last: impl FnOnce()) {
        // SAFETY: the fiber has not ended, so the contents are ours. There is nothing to drop in them.
        unsafe { *self.contents.get() = Contents::Result(result) };
        if self.state.swap(ENDED, Ordering::AcqRel) == DETACHED {
            self.drop_result();
        }
        last();
        self.ended.post();
    }
}

impl<F, T> Packet<F, T> {
    /// For the second of the two that had a claim to it.
    fn drop_result(&self) {
        // SAFETY: the other is gone, so the result is ours.
        unsafe { self.clear_contained() };
    }

    /// Drops what is the user's where the scheduler is at work. In its place: it may be large, and the stack small.
    ///
    /// # Safety
    /// The contents are the caller's alone.
    unsafe fn clear_contained(&self) {
        let contents = self.contents.get();
        // SAFETY: the caller's promise.
        if matches!(unsafe { &*contents }, Contents::Nothing) {
            return;
        }
        // SAFETY: the caller's promise.
        let clear = AssertUnwindSafe(|| unsafe { *contents = Contents::Nothing });
        // A destructor that panics has printed its message; it must not take the scheduler along.
        if let Err(second) = panic::catch_unwind(clear) {
            // Nor the destructor of that panic's payload.
            drop(panic::catch_unwind(AssertUnwindSafe(|| drop(second))));
        }
    }

    /// Takes the contents out.
    ///
    /// # Safety
    /// They are the caller's alone.
    unsafe fn take_contents(&self) -> Contents<F, T> {
        // SAFETY: the caller's promise.
        unsafe { self.contents.get().replace(Contents::Nothing) }
    }
}

impl<F, T> Task for Packet<F, T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    fn run(&self) {
        // SAFETY: the scheduler calls this once, on the thread that owns the work.
        let Contents::Work(work, inherited) = (unsafe { self.take_contents() }) else {
            unreachable!("a fiber runs once");
        };
        local::begin(inherited);
        self.end_with(panic::catch_unwind(AssertUnwindSafe(work)), local::end);
    }

    fn fail(&self, error: io::Error) {
        // SAFETY: instead of `run`, on the same thread.
        unsafe { self.clear_contained() };
        self.end_with(Err(Box::new(error.to_string())), || ());
    }

    #[cold]
    fn cancel(&self) {
        // SAFETY: instead of `run`, on the same thread.
        let contents = unsafe { &mut *self.contents.get() };
        // What is dropped may use values of this fiber.
        local::begin(match contents {
            Contents::Work(_, inherited) => std::mem::take(inherited),
            _ => Context::default(),
        });
        // SAFETY: as above.
        unsafe { self.clear_contained() };
        self.end_with(Err(Box::new(Cancelled)), local::end);
    }

    fn life(&self) -> &Life {
        &self.life
    }

    fn who(&self) -> Who {
        self.identity.who()
    }

    fn has_ended(&self) -> bool {
        self.ended.try_wait()
    }

    fn describe(&self) -> Description<'_> {
        self.identity.describe()
    }

    fn provide(self: Arc<Self>, slot: &mut dyn Any) {
        if let Some(slot) = slot.downcast_mut::<Option<Fiber>>() {
            *slot = Some(Fiber::from_identified(self));
        }
    }
}

impl<F, T> Identified for Packet<F, T> {
    fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// A packet, to the one who waits for its result.
pub(super) trait Outcome<T>: Send + Sync {
    /// Posted when the fiber has ended.
    fn ended(&self) -> &Baton;

    /// Takes the result.
    ///
    /// # Safety
    /// `ended` was posted, and the caller is the `JoinHandle`.
    unsafe fn take(&self) -> Option<super::Result<T>>;

    /// The `JoinHandle` is going.
    fn detach(&self);

    /// The fiber, as the scheduler knows it.
    fn into_task(self: Arc<Self>) -> Arc<dyn Task>;

    /// The fiber, as everybody may know it.
    fn into_fiber(self: Arc<Self>) -> Fiber;
}

impl<F, T> Outcome<T> for Packet<F, T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    fn into_task(self: Arc<Self>) -> Arc<dyn Task> {
        self
    }

    fn into_fiber(self: Arc<Self>) -> Fiber {
        Fiber::from_identified(self)
    }

    fn ended(&self) -> &Baton {
        &self.ended
    }

    unsafe fn take(&self) -> Option<super::Result<T>> {
        // SAFETY: the state is `ENDED`, so the contents are the `JoinHandle`'s.
        match unsafe { self.take_contents() } {
            Contents::Result(result) => Some(result),
            _ => None,
        }
    }

    fn detach(&self) {
        // Once it has ended that is final, and after a join the rule.
        let state = self.state.load(Ordering::Acquire);
        if state == ENDED || self.state.swap(DETACHED, Ordering::AcqRel) == ENDED {
            self.drop_result();
        }
    }
}
