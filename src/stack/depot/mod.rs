//! The depot: all stacks of the process that nobody uses, in slabs, for all threads.
//!
//! ```text
//!   worker's pool          depot, one shelf for each size                 kernel
//!   -------------          ------------------------------                 ------
//!   carriers, warm  <----- used:   has a guard, and pages ------------->  emptied, when it was not wanted
//!                          clean:  has a guard, no memory                 for an interval
//!                          bare:   address space only  <----------------  mapped, a slab at a time;
//!                                                                         unmapped, when a slab idles
//! ```
//!
//! A stack is taken from the highest of these that has one, so memory that is there is used before new memory is. A guard is
//! installed when a slot is first handed out, and stays for as long as the slab does.
//!
//! **Trimming** goes by demand: what has not been wanted for an interval, even when most was, will not be missed. Shelves
//! note the least that lay idle since the last time; so many are emptied, oldest first, and slabs that are idle as a whole are
//! given back within the same bound. Workers call [`trim()`] when they have nothing to do. So that memory does not pile up until
//! then, no shelf keeps many more than [`MAX_USED`] stacks with pages.
//!
//! **Batches**: of a size of which many are in use, stacks that were never used get their guards, and memory for the page that a fiber
//! begins on, many with one call each, and so are they emptied: `process_madvise` on the process itself, which Linux 6.14 takes without
//! more ado. What nobody takes of a batch is trimmed like everything else.

mod fork;
mod shelves;
mod take;
#[cfg(test)]
mod tests;
mod trim;

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::slab::Slab;
use shelves::Depot;
pub(super) use take::take;
use trim::give_back_emptied;
pub(crate) use trim::{Counted, INTERVAL, trim};

/// How many idle stacks of one size keep their memory until the next trimming.
const MAX_USED: usize = 1024;

/// So many more may come, which are emptied together.
const EXCESS: usize = 64;
/// A place for a stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) slab: &'static Slab,
    /// The lowest byte of the guard.
    pub(super) base: NonNull<u8>,
}

// SAFETY: it is a place in a mapping, and belongs to whoever has it.
unsafe impl Send for Slot {}

static DEPOT: Mutex<Depot> = Mutex::new(Depot::new());

/// Whether there is anything that trimming could give back, now or later.
static TRIMMABLE: AtomicBool = AtomicBool::new(false);

fn lock() -> MutexGuard<'static, Depot> {
    // A panic for want of memory may leave a slot out of all lists, which is lost then.
    DEPOT.lock().unwrap_or_else(PoisonError::into_inner)
}
/// Takes a stack back that nobody uses any more.
pub(super) fn put(slot: Slot) {
    let mut depot = lock();
    depot.put_used(slot);
    TRIMMABLE.store(true, Ordering::Relaxed);
    let shelf = depot.contents[slot.slab.id].shelf;
    let excess = depot.shelves[shelf].used.len() >= MAX_USED + EXCESS;
    let oldest = if excess {
        depot.borrow_oldest(shelf, EXCESS)
    } else {
        Vec::new()
    };
    depot.returns = depot.returns.wrapping_add(1);
    let look = depot.returns % 256 == 0;
    drop(depot);
    give_back_emptied(oldest);
    if look {
        trim(Instant::now());
    }
}

/// What the depot has, in bytes and stacks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    pub(super) reserved: usize,
    pub(super) slabs: usize,
    pub(super) live: usize,
    pub(super) used: usize,
    pub(super) clean: usize,
}

pub(super) fn figures() -> Figures {
    let depot = lock();
    let mut figures = Figures::default();
    for content in depot.contents.iter().filter(|content| content.slots > 0) {
        figures.slabs += 1;
        figures.reserved += content.slab.bytes();
        figures.clean += content.clean.len();
    }
    for shelf in &depot.shelves {
        figures.live += shelf.live;
        figures.used += shelf.used.len();
    }
    figures
}

/// Calls `f` for each mapping; none is given back meanwhile.
pub(super) fn each_mapping(mut f: impl FnMut(NonNull<u8>, usize) -> io::Result<()>) -> io::Result<()> {
    let depot = lock();
    let mut mappings = depot.contents.iter().filter_map(|content| content.slab.mapping());
    mappings.try_for_each(|(base, bytes)| f(base, bytes))
}
