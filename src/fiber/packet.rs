//! The shared part of a fiber: its work, its result, and who it is, in one allocation.
//!
//! ```text
//!            scheduler (runs it)       JoinHandle (waits, takes the result)       Fiber (name, id, unpark)
//!                     \                          |                                   /
//!                      +------------->  PoolArc<Packet<F, T>> <-----------------------+
//!                                       identity | work | result | ended
//! ```
//!
//! Who may touch what is decided by `ended`, so that neither needs a lock: `work` belongs to the scheduler; `result` belongs to
//! the fiber until it has ended, and then to the `JoinHandle`. Only where the handle goes while the fiber ends is there a question
//! who of them comes second, and drops the result: a handle says that it goes, and then looks whether the fiber has ended; a
//! fiber says that it has ended, and then looks whether the handle has gone.

#![allow(unsafe_code, reason = "hands the result over by an atomic word instead of a lock")]

use std::any::Any;
use std::cell::UnsafeCell;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};

use super::handle::Identity;
use crate::baton::Baton;
use crate::local::{self, Context};
use crate::pool_arc::{Block, PoolArc, Thin};
use crate::sched::{Cancelled, Life, Task, TaskRef, Who};
use crate::stack::Description;

/// # Invariant
/// `contents` are touched by the owner of the scheduler's reference alone, until `ended` is posted: on the thread that made it, or,
/// where the work is `Send` and has not started, on the thread that owns that reference now; which is the fiber's own, once it
/// runs. When `ended` is posted they hold the result or nothing, and belong to the `JoinHandle`. Where that has said that it is going
/// (`is_detached`), they belong to whoever sets `is_claimed`.
pub(super) struct Packet<F, T> {
    identity: Identity,
    life: Life,
    contents: UnsafeCell<Contents<F, T>>,
    ended: Baton,
    is_detached: AtomicBool,
    is_claimed: AtomicBool,
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
            ended: Baton::new(),
            is_detached: AtomicBool::new(false),
            is_claimed: AtomicBool::new(false),
        }
    }

    /// Leaves the result, or drops it where nobody wants it, then ends the values of the fiber, if there is one, then lets the
    /// joiner go on.
    #[inline(always)]
    fn end_with(&self, result: super::Result<T>, in_fiber: bool) {
        // SAFETY: the fiber has not ended, so the contents are ours. There is nothing to drop in them.
        unsafe { *self.contents.get() = Contents::Result(result) };
        // Those that nobody joins were let go of long before, as a rule. A result that goes may use values of the fiber.
        if self.is_detached.load(Ordering::Acquire) && self.claim() {
            // SAFETY: claimed.
            unsafe { self.clear_contained() };
        }
        if in_fiber {
            local::end();
        }
        self.ended.post();
        if self.is_detached.load(Ordering::Acquire) && self.claim() {
            self.drop_late(in_fiber);
        }
    }

    /// The handle has gone while the fiber ended, which has no values any more: for this it has new ones.
    #[cold]
    #[inline(never)]
    fn drop_late(&self, in_fiber: bool) {
        if in_fiber {
            local::begin_again();
        }
        // SAFETY: claimed.
        unsafe { self.clear_contained() };
        if in_fiber {
            local::end();
        }
    }
}

impl<F, T> Packet<F, T> {
    /// True for one of those who ask.
    fn claim(&self) -> bool {
        !self.is_claimed.swap(true, Ordering::AcqRel)
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
        self.end_with(panic::catch_unwind(AssertUnwindSafe(work)), true);
    }

    fn fail(&self, error: io::Error) {
        // SAFETY: instead of `run`, on the same thread.
        unsafe { self.clear_contained() };
        self.end_with(Err(Box::new(error.to_string())), false);
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
        self.end_with(Err(Box::new(Cancelled)), true);
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

    fn identity(&self) -> &dyn Any {
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

    /// The reference as the scheduler has it.
    ///
    /// # Safety
    /// It is one to this.
    unsafe fn task(&self, this: Thin) -> TaskRef;
}

impl<F, T> Outcome<T> for Packet<F, T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    unsafe fn task(&self, this: Thin) -> TaskRef {
        // SAFETY: the caller's promise.
        as_task(unsafe { PoolArc::<Packet<F, T>>::from_thin(this) })
    }

    fn ended(&self) -> &Baton {
        &self.ended
    }

    unsafe fn take(&self) -> Option<super::Result<T>> {
        // SAFETY: it has ended, so the contents are the `JoinHandle`'s.
        match unsafe { self.take_contents() } {
            Contents::Result(result) => Some(result),
            _ => None,
        }
    }

    fn detach(&self) {
        // After a join that is the rule. Nobody else looks at the contents then, since we have not said that we go.
        if !self.ended.try_wait() {
            self.is_detached.store(true, Ordering::Relaxed);
            // The post comes after this, and the fiber sees that we go, or it has come before.
            if !self.ended.was_posted_before_now() || !self.claim() {
                return;
            }
        }
        // SAFETY: it has ended, and we are the handle; or claimed.
        unsafe { self.clear_contained() };
    }
}

/// Two references to a new packet: the scheduler's, and the handle's.
#[inline(always)]
pub(super) fn new_pair<F, T>(make: impl FnOnce() -> Packet<F, T>) -> (TaskRef, PoolArc<Packet<F, T>>)
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    let (task, packet) = PoolArc::new_pair(make);
    (as_task(task), packet)
}

#[inline(always)]
fn as_task<F, T>(packet: PoolArc<Packet<F, T>>) -> TaskRef
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    // SAFETY: the same pointer.
    unsafe { packet.unsize(|block| block as *mut Block<dyn Task>) }
}

/// The reference as a handle has it, which has forgotten what the fiber does.
#[inline(always)]
pub(super) fn as_outcome<F, T>(packet: PoolArc<Packet<F, T>>) -> PoolArc<dyn Outcome<T>>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    // SAFETY: the same pointer.
    unsafe { packet.unsize(|block| block as *mut Block<dyn Outcome<T>>) }
}
