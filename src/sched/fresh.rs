//! Fibers that have not started, in queues that all workers may take from.
//!
//! A queue is a `VecDeque` under a lock, and not one of the lock-free deques that exist: those reclaim memory through
//! thread-locals and frames of kilobytes, while a worker takes its next fiber on the stack of the one before, which may
//! have 16 KiB in all. The owner's lock is nearly always free, since thieves take many at a time, so it costs what the fences of a
//! lock-free deque do.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::task::TaskRef;
use crate::stack::Room;

/// A queue that is empty gives its memory back if it has more room than this.
const MAX_EMPTY: usize = 1024;

/// A fiber that has not started.
pub(super) struct Fresh {
    pub(super) task: TaskRef,
    pub(super) room: Room,
    /// Whose post it came by, and who counts it among its own until it starts.
    pub(super) handed_to: Option<u16>,
}

/// First in, first out, for any number of threads.
#[derive(Default)]
#[repr(align(128))] // so that the owners of two of them are not in each other's way
pub(super) struct Queue {
    /// Written under the lock, read without it.
    len: AtomicUsize,
    items: Mutex<VecDeque<Fresh>>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Fresh>> {
        // Nothing panics under the lock.
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there was nothing in it. A fence orders this against what others put down.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Acquire) == 0
    }

    pub(super) fn push(&self, fresh: Fresh) {
        let mut items = self.lock();
        items.push_back(fresh);
        self.len.store(items.len(), Ordering::Release);
    }

    pub(super) fn extend(&self, fresh: impl Iterator<Item = Fresh>) {
        let mut items = self.lock();
        items.extend(fresh);
        self.len.store(items.len(), Ordering::Release);
    }

    pub(super) fn pop(&self) -> Option<Fresh> {
        if self.is_empty() {
            return None;
        }
        let mut items = self.lock();
        let fresh = items.pop_front();
        self.taken(&mut items);
        fresh
    }

    /// Takes half of what is there, rounded up, but at most `limit`, and says how many.
    pub(super) fn take_half(&self, limit: usize, into: &mut Vec<Fresh>) -> usize {
        if self.is_empty() {
            return 0;
        }
        let mut items = self.lock();
        let count = items.len().div_ceil(2).min(limit);
        into.extend(items.drain(..count));
        self.taken(&mut items);
        count
    }

    fn taken(&self, items: &mut VecDeque<Fresh>) {
        self.len.store(items.len(), Ordering::Release);
        if items.is_empty() && items.capacity() > MAX_EMPTY {
            *items = VecDeque::new();
        }
    }
}
