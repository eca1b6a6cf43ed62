//! What lies in the thread, but is to be each fiber's own: taken out when a fiber is suspended, and put back when it goes on.
//!
//! What was taken out waits in the frame of the suspended fiber. So there is nothing to be kept for fibers that run, and no
//! allocation; and while no slot is registered, a suspension costs one look at [`NEWEST`].

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::abort::AbortOnUnwind;
use crate::no_suspend::no_suspend;

/// Calls `suspended` between taking out and putting back.
trait Slot: Sync {
    fn around(&self, suspended: &mut dyn FnMut());

    /// Takes out and drops.
    fn clear(&self);
}

struct Pair<L, E> {
    leave: L,
    enter: E,
}

impl<S, L, E> Slot for Pair<L, E>
where
    L: Fn() -> S + Sync,
    E: Fn(S) + Sync,
{
    fn around(&self, suspended: &mut dyn FnMut()) {
        let value = alone(&self.leave);
        suspended();
        alone(|| (self.enter)(value));
    }

    fn clear(&self) {
        drop(alone(&self.leave));
    }
}

/// Calls what is not ours in the middle of a suspension, which can neither be begun again nor be abandoned.
fn alone<R>(f: impl FnOnce() -> R) -> R {
    let abort = AbortOnUnwind::arm();
    let result = no_suspend(f);
    abort.disarm();
    result
}

/// A list, of which nothing is ever removed.
struct Registered {
    slot: Box<dyn Slot + Send>,
    older: *const Registered,
}

static NEWEST: AtomicPtr<Registered> = AtomicPtr::new(ptr::null_mut());

/// Registers a slot for the rest of the process.
pub(crate) fn register<S, L, E>(leave: L, enter: E)
where
    S: 'static,
    L: Fn() -> S + Send + Sync + 'static,
    E: Fn(S) + Send + Sync + 'static,
{
    let new = Box::into_raw(Box::new(Registered {
        slot: Box::new(Pair { leave, enter }),
        older: ptr::null(),
    }));
    let mut older = NEWEST.load(Ordering::Relaxed);
    loop {
        // SAFETY: not in the list yet, so ours alone.
        unsafe { (*new).older = older };
        match NEWEST.compare_exchange_weak(older, new, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => older = now,
        }
    }
}

/// Whether there is any.
#[inline]
pub(crate) fn any() -> bool {
    !NEWEST.load(Ordering::Relaxed).is_null()
}

fn newest() -> Option<&'static Registered> {
    // SAFETY: null, or leaked by `register`, whose exchange made visible what it points to.
    unsafe { NEWEST.load(Ordering::Acquire).as_ref() }
}

impl Registered {
    fn older(&self) -> Option<&'static Registered> {
        // SAFETY: null, or leaked by `register`.
        unsafe { self.older.as_ref() }
    }
}

/// Takes everything out, calls `suspended`, and puts it back.
pub(super) fn around(suspended: &mut dyn FnMut()) {
    fn one_of(registered: Option<&'static Registered>, suspended: &mut dyn FnMut()) {
        match registered {
            Some(this) => this.slot.around(&mut || one_of(this.older(), suspended)),
            None => suspended(),
        }
    }
    one_of(newest(), suspended);
}

/// Takes everything out of a fiber that ends.
pub(crate) fn clear() {
    let mut next = newest();
    while let Some(this) = next {
        this.slot.clear();
        next = this.older();
    }
}
