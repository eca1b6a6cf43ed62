//! When what lies idle is given back to the system, and how.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::super::map;
use super::{Slot, TRIMMABLE, lock};
use crate::sys::page_size;

/// How long something has to idle before it is given back, at least.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);
/// Gives back what has not been wanted for an interval. Says when to come again, if there may be more.
pub(crate) fn trim(now: Instant) -> Option<Duration> {
    if !TRIMMABLE.load(Ordering::Relaxed) {
        return None;
    }
    let mut depot = lock();
    let since = *depot.trimmed.get_or_insert(now);
    let left = INTERVAL.saturating_sub(now.saturating_duration_since(since));
    if !left.is_zero() {
        return Some(left);
    }
    depot.trimmed = Some(now);
    let emptied = depot.trim();
    let more = depot.is_trimmable();
    if !more {
        depot.trimmed = None;
        TRIMMABLE.store(false, Ordering::Relaxed);
    }
    drop(depot);
    give_back_emptied(emptied);
    more.then_some(INTERVAL)
}

/// How many stacks of a size keep their memory when there is no worker left.
const KEPT: usize = 32;

/// Counts the workers of the process: where the last one leaves, nobody will trim any more.
#[derive(Debug)]
pub(crate) struct Counted(());

static WORKERS: AtomicUsize = AtomicUsize::new(0);

impl Counted {
    pub(crate) fn new() -> Counted {
        WORKERS.fetch_add(1, Ordering::Relaxed);
        Counted(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // Each has put its stacks back before; the depot's lock orders that.
        if WORKERS.fetch_sub(1, Ordering::AcqRel) == 1 {
            give_back_all_but(KEPT);
        }
    }
}

/// Empties idle stacks, of each size all but so many.
pub(super) fn give_back_all_but(kept: usize) {
    let mut depot = lock();
    let mut emptied = Vec::new();
    for index in 0..depot.shelves.len() {
        let count = depot.shelves[index].used.len().saturating_sub(kept);
        emptied.extend(depot.borrow_oldest(index, count));
    }
    drop(depot);
    give_back_emptied(emptied);
}

/// Empties slots that were borrowed for it, and makes them clean.
pub(super) fn give_back_emptied(borrowed: Vec<Slot>) {
    if borrowed.is_empty() {
        return;
    }
    let mut stacks: Vec<(NonNull<u8>, usize)> = borrowed
        .iter()
        .map(|slot| {
            // SAFETY: above the guard within the slot.
            let stack = unsafe { slot.base.add(page_size()) };
            (stack, slot.slab.usable())
        })
        .collect();
    // Neighbours are emptied together, with the guard between them, which stays.
    stacks.sort_unstable();
    stacks.dedup_by(|stack, before| {
        let is_next = before.0.addr().get() + before.1 + page_size() == stack.0.addr().get();
        if is_next {
            before.1 += page_size() + stack.1;
        }
        is_next
    });
    // SAFETY: stacks that nobody uses, and that nobody can take meanwhile, because they count as live.
    unsafe { map::empty_all(&stacks) };
    let mut depot = lock();
    for slot in borrowed {
        depot.put_clean(slot);
    }
}

/// Unmaps slabs of which nothing is used; whether there were any.
pub(super) fn give_back_idle_slabs() -> bool {
    lock().unmap_idle(|_| usize::MAX)
}
