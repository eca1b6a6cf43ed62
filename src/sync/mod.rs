//! Waiting for each other: between fibers, between threads, and between the two.
//!
//! What the standard library has is here with its names and signatures, and does the same: a program moves over by changing
//! `use std::sync::...` to `use kapok::sync::...`. The errors are std's own types. All of it works on fibers, where waiting
//! suspends the fiber, and on plain threads, where it blocks the thread, and between the two.
//!
//! # What all have in common
//! - **Waiting is a suspension point**: a fiber that is cancelled while it waits is unwound, and is as if it had never
//!   come. One that was given something at that moment, a lock, a message or a permit, has it, and goes on to its next
//!   suspension point.
//!   Taking a lock that is free is no suspension point; all else is, whether or not it has to wait.
//! - [`no_suspend`](crate::no_suspend()) refuses what would have to wait, before anything has changed.
//! - While the thread is panicking, waiting blocks the thread.
//! - Those who wait are served in the order in which they came; where something else may come in between, its page says how
//!   often.
//! - Waiting allocates nothing, but in `select!`.

mod barrier;
pub mod broadcast;
mod channel;
mod channel_errors;
mod condvar;
mod event;
mod lazy_lock;
pub mod mpmc;
pub mod mpsc;
mod mutex;
mod once;
mod once_lock;
pub mod oneshot;
mod poison;
mod queue;
mod raw_mutex;
mod raw_rwlock;
mod rwlock;
mod rwlock_guards;
#[doc(hidden)]
pub mod select;
mod semaphore;
mod spin;
pub mod watch;

pub use std::sync::{Arc, LockResult, PoisonError, TryLockError, TryLockResult, Weak, atomic};

pub use crate::baton::Baton;
pub use barrier::{Barrier, BarrierWaitResult};
pub use condvar::{Condvar, WaitTimeoutResult};
pub use event::Event;
pub use lazy_lock::LazyLock;
pub use mutex::{MappedMutexGuard, Mutex, MutexGuard};
#[expect(deprecated, reason = "as std has it")]
pub use once::ONCE_INIT;
pub use once::{Once, OnceState};
pub use once_lock::OnceLock;
pub use rwlock::{MappedRwLockReadGuard, MappedRwLockWriteGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{AcquireError, Permit, Semaphore};
