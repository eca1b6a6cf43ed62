//! How other threads wake the fibers of a worker: an inbox of wake-ups and a bell.
//!
//! ```text
//!   any thread                                  the worker
//!   ----------                                  ----------
//!   push(wake-up)                               asleep := true
//!   was it the first, and asleep?               anything in the inbox?   yes: do not sleep
//!      asleep := false; ring the bell           wait in the kernel (for I/O, a timer, the bell)
//!                                               asleep := false; take all that is in the inbox
//! ```
//!
//! No wake-up is lost: all four steps in the middle are sequentially consistent, so either the worker sees what was
//! pushed, or who pushed it sees that the worker is asleep. Only the first into an empty inbox has to look: whoever comes
//! second found the first's wake-up still there, so the first one's look comes after the worker's, or the worker's look
//! finds it.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use super::control::FiberRef;
use crate::reactor::Bell;

/// The end of a wake-up that a suspended fiber holds, on its own stack.
///
/// # Invariant
/// It lives until its fiber has been resumed, and it is given to [`Inbox::push`] at most once.
#[derive(Debug)]
pub(crate) struct WakeUp {
    pub(super) fiber: FiberRef,
    next: AtomicPtr<WakeUp>,
}

impl WakeUp {
    pub(super) fn new(fiber: FiberRef) -> WakeUp {
        WakeUp {
            fiber,
            next: AtomicPtr::new(ptr::null_mut()),
        }
    }
}

/// The wake-ups for one worker that came from elsewhere; many push, one takes.
#[derive(Debug)]
pub(crate) struct Inbox {
    newest: AtomicPtr<WakeUp>,
    asleep: AtomicBool,
    bell: Bell,
}

impl Inbox {
    pub(super) fn new(bell: Bell) -> Arc<Inbox> {
        Arc::new(Inbox {
            newest: AtomicPtr::new(ptr::null_mut()),
            asleep: AtomicBool::new(false),
            bell,
        })
    }

    /// Has the worker resume the fiber of `wake_up`.
    ///
    /// # Safety
    /// `wake_up` is alive, its fiber is suspended and waits for this push alone, and belongs to this inbox's worker. From
    /// the call on it may be gone.
    pub(super) unsafe fn push(&self, wake_up: *const WakeUp) {
        let new = wake_up.cast_mut();
        let mut old = self.newest.load(Ordering::Relaxed);
        loop {
            // SAFETY: alive until the worker has taken it, which it cannot before the exchange below.
            unsafe { &*new }.next.store(old, Ordering::Relaxed);
            match self
                .newest
                .compare_exchange_weak(old, new, Ordering::SeqCst, Ordering::Relaxed)
            {
                Ok(_) => break,
                Err(now) => old = now,
            }
        }
        if old.is_null() && self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst) {
            self.bell.ring();
        }
    }

    /// Announces that the worker is going to wait in the kernel; false when it must not, because something is here.
    pub(super) fn prepare_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        let empty = self.newest.load(Ordering::SeqCst).is_null();
        if !empty {
            self.wake();
        }
        empty
    }

    /// The worker is back.
    pub(super) fn wake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// Takes everything, and calls `each` with the fibers, oldest first.
    pub(super) fn drain(&self, mut each: impl FnMut(FiberRef)) {
        if self.newest.load(Ordering::Relaxed).is_null() {
            return;
        }
        let mut newest = self.newest.swap(ptr::null_mut(), Ordering::SeqCst);
        let mut oldest: *mut WakeUp = ptr::null_mut();
        while !newest.is_null() {
            // SAFETY: pushed and now ours alone; alive until its fiber is resumed, and none is while we are here.
            let older = unsafe { &*newest }.next.swap(oldest, Ordering::Relaxed);
            oldest = newest;
            newest = older;
        }
        while !oldest.is_null() {
            // SAFETY: as above.
            let wake_up = unsafe { &*oldest };
            oldest = wake_up.next.load(Ordering::Relaxed);
            each(wake_up.fiber);
        }
    }
}
