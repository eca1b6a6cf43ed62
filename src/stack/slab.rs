//! A slab: one mapping with room for many stacks of one size; and the list of all of them, for signal handlers.
//!
//! ```text
//!   low                                                                                         high
//!   +-------+-----------------------+-------+-----------------------+-- ... --+-------+-----------------------+
//!   | guard | stack of slot 0       | guard | stack of slot 1       |         | guard | stack of slot n - 1   |
//!   +-------+-----------------------+-------+-----------------------+-- ... --+-------+-----------------------+
//! ```
//!
//! So a guard shares its page of the page table with the top of the stack below it, which is the part that is used.

use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use super::map;
use crate::sys::page_size;

/// Where one slab lies. These are never freed, so that a signal handler may go through them at any time; a slab that is given
/// back leaves its place to another.
///
/// # Invariant
/// While `base` is not 0 it begins a mapping of `bytes` that belongs to this slab. `usable` changes only while `base` is 0.
#[derive(Debug)]
pub(super) struct Slab {
    /// Its number among all.
    pub(super) id: usize,
    base: AtomicUsize,
    bytes: AtomicUsize,
    /// The size of its stacks, guards not counted.
    usable: AtomicUsize,
    older: *const Slab,
}

// SAFETY: `older` is set before others see it, and points to a slab that is never freed.
unsafe impl Sync for Slab {}
// SAFETY: as above.
unsafe impl Send for Slab {}

static NEWEST: AtomicPtr<Slab> = AtomicPtr::new(ptr::null_mut());

impl Slab {
    /// A place for a slab, in the list for good. To be called by one thread at a time.
    pub(super) fn place(id: usize) -> &'static Slab {
        let new = Box::leak(Box::new(Slab {
            id,
            base: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            usable: AtomicUsize::new(0),
            older: NEWEST.load(Ordering::Relaxed),
        }));
        NEWEST.store(new, Ordering::Release);
        new
    }

    /// Maps it: `slots` stacks of `usable` bytes each.
    pub(super) fn map(&self, usable: usize, slots: usize) -> io::Result<()> {
        let slot = page_size() + usable;
        let base = map::reserve(slot * slots)?;
        self.usable.store(usable, Ordering::Relaxed);
        self.bytes.store(slot * slots, Ordering::Relaxed);
        self.base.store(base.as_ptr().expose_provenance(), Ordering::Release);
        Ok(())
    }

    /// Gives it back. False where the system did not take it.
    ///
    /// # Safety
    /// Nobody uses a stack of it.
    pub(super) unsafe fn unmap(&self) -> bool {
        // First out of the list: from the call on, the addresses may be somebody else's.
        let address = self.base.swap(0, Ordering::AcqRel);
        let base = NonNull::new(ptr::with_exposed_provenance_mut(address)).expect("it is mapped");
        // SAFETY: our own mapping by the invariant, and the caller's promise.
        let released = unsafe { map::release(base, self.bytes()) }.is_ok();
        if !released {
            self.base.store(address, Ordering::Release);
        }
        released
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The size of its stacks, guards not counted.
    #[inline]
    pub(super) fn usable(&self) -> usize {
        self.usable.load(Ordering::Relaxed)
    }

    /// The lowest byte of a slot, which is its guard's.
    pub(super) fn at(&self, index: usize) -> NonNull<u8> {
        let address = self.base.load(Ordering::Relaxed) + index * (page_size() + self.usable());
        NonNull::new(ptr::with_exposed_provenance_mut(address)).expect("it is mapped")
    }

    pub(super) fn index_of(&self, base: NonNull<u8>) -> usize {
        (base.addr().get() - self.base.load(Ordering::Relaxed)) / (page_size() + self.usable())
    }

    /// The mapping, if there is one.
    pub(super) fn mapping(&self) -> Option<(NonNull<u8>, usize)> {
        let base = ptr::with_exposed_provenance_mut(self.base.load(Ordering::Acquire));
        Some((NonNull::new(base)?, self.bytes()))
    }
}

/// The stack whose guard an address lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    /// The lowest address of the guard.
    pub(super) guard: usize,
    /// The size of the stack above it.
    pub(super) usable: usize,
}

/// Whose guard that address lies in. For signal handlers: no lock, no memory, nothing but loads.
pub(super) fn guard_at(address: usize) -> Option<Hit> {
    let mut next: *const Slab = NEWEST.load(Ordering::Acquire);
    // SAFETY: null, or leaked by `place`.
    while let Some(slab) = unsafe { next.as_ref() } {
        next = slab.older;
        let base = slab.base.load(Ordering::Acquire);
        let (slot, bytes) = (page_size() + slab.usable(), slab.bytes());
        // One that is unmapped and mapped anew meanwhile has no stack in use that could overflow.
        if base == 0 || !(base..base.saturating_add(bytes)).contains(&address) {
            continue;
        }
        let offset = (address - base) % slot;
        return (offset < page_size()).then(|| Hit {
            guard: address - offset,
            usable: slot - page_size(),
        });
    }
    None
}
