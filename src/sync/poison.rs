//! Whether a lock was held when its holder panicked. As in the standard library, whose errors say so.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LockResult, PoisonError};
use std::thread;

/// Set when somebody panics while holding the lock.
#[derive(Debug)]
pub(super) struct Flag(AtomicBool);

/// What a guard knows of the time when it was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    was_panicking: bool,
}

impl Flag {
    pub(super) const fn new() -> Flag {
        Flag(AtomicBool::new(false))
    }

    /// For a guard, to be made by `f`, that can poison.
    #[inline]
    pub(super) fn guard<G>(&self, f: impl FnOnce(Held) -> G) -> LockResult<G> {
        let was_panicking = thread::panicking();
        self.wrap(f(Held { was_panicking }))
    }

    /// A fiber keeps its thread, and nobody else runs there while it panics: so what the thread says is true of the fiber.
    #[inline]
    pub(super) fn done(&self, held: Held) {
        if !held.was_panicking && thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// `value`, as an error where the lock is poisoned.
    #[inline]
    pub(super) fn wrap<T>(&self, value: T) -> LockResult<T> {
        if self.get() {
            Err(PoisonError::new(value))
        } else {
            Ok(value)
        }
    }
}

/// The result with another value, poisoned as before.
pub(super) fn map<T, U>(result: LockResult<T>, f: impl FnOnce(T) -> U) -> LockResult<U> {
    match result {
        Ok(value) => Ok(f(value)),
        Err(error) => Err(PoisonError::new(f(error.into_inner()))),
    }
}
