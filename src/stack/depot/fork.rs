//! A child process gets the depot as no other thread is changing it.

use std::cell::UnsafeCell;
use std::sync::{MutexGuard, PoisonError};

use super::DEPOT;
use super::shelves::Depot;

/// The lock, while the process is forked.
///
/// # Invariant
/// Touched only by the thread that holds the lock.
struct Held(UnsafeCell<Option<MutexGuard<'static, Depot>>>);

// SAFETY: the invariant.
unsafe impl Sync for Held {}

static HELD: Held = Held(UnsafeCell::new(None));

pub(super) fn watch() {
    // SAFETY: the handlers do as they are asked to. For want of memory they are not registered: no fork is likely then.
    unsafe { libc::pthread_atfork(Some(before), Some(after), Some(after)) };
}

extern "C" fn before() {
    let guard = DEPOT.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: this thread has the lock.
    unsafe { *HELD.0.get() = Some(guard) };
}

/// In the parent and in the child: on the thread, or its copy, that has taken the lock.
extern "C" fn after() {
    // SAFETY: this thread has the lock.
    let guard = unsafe { (*HELD.0.get()).take() };
    drop(guard);
}
