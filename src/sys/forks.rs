//! Tests that fork, beside tests that must not be forked.
//!
//! A child has a copy of every descriptor of its parent. Until it ends, or closes them, what a test has closed is open: a pipe
//! whose reader is gone can be written to.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static FORKS: RwLock<()> = RwLock::new(());

/// To be held from before a fork until the child has ended.
pub(crate) fn forking() -> RwLockWriteGuard<'static, ()> {
    FORKS.write().unwrap_or_else(PoisonError::into_inner)
}

/// To be held while what is closed has to be gone.
pub(crate) fn not_forked() -> RwLockReadGuard<'static, ()> {
    FORKS.read().unwrap_or_else(PoisonError::into_inner)
}
