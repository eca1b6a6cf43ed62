//! Lists of free blocks of memory, by size: a thread's own.

use std::alloc::{self, Layout};
use std::cell::Cell;
use std::ptr::{self, NonNull};

/// Blocks of up to so many bytes are kept, in lists by `STEP` bytes.
const MAX_SIZE: usize = 1024;
const STEP: usize = 16;
/// How many of a size a thread that runs fibers keeps at most: those of a thousand fibers that end together.
pub(super) const MAX_KEPT: u32 = 1024;

/// In a debug build the allocator gets everything back at once: what uses memory after its end is found by the tools then.
const KEEPS: bool = !cfg!(debug_assertions);

/// # Invariant
/// `heads[i]` is the first of a list of free blocks of `(i + 1) * STEP` bytes, each of which begins with the address of the
/// next; they are nobody else's.
pub(super) struct Lists {
    heads: [Cell<*mut u8>; MAX_SIZE / STEP],
    /// How many each list has.
    kept: [Cell<u32>; MAX_SIZE / STEP],
    /// How many it may have.
    limit: Cell<u32>,
}

thread_local! {
    static LISTS: Lists = const { Lists::new() };
}

/// Memory of this layout.
#[inline(always)]
pub(super) fn take(layout: Layout) -> NonNull<u8> {
    let size = rounded(layout);
    if KEEPS && is_kept(size, layout) {
        if let Ok(Some(block)) = LISTS.try_with(|lists| lists.take(size)) {
            return block;
        }
    }
    allocate(size, layout.align())
}

/// # Safety
/// It was taken with this layout, and is nobody's.
pub(super) unsafe fn give_back(block: NonNull<u8>, layout: Layout) {
    let size = rounded(layout);
    // SAFETY: the caller's promise.
    let kept = KEEPS && is_kept(size, layout) && LISTS.try_with(|lists| unsafe { lists.put(block, size) }) == Ok(true);
    if !kept {
        // SAFETY: allocated with this size and alignment.
        unsafe { alloc::dealloc(block.as_ptr(), layout_of(size, layout.align())) };
    }
}

#[inline(always)]
fn is_kept(size: usize, layout: Layout) -> bool {
    size <= MAX_SIZE && layout.align() <= STEP
}

#[inline(always)]
fn rounded(layout: Layout) -> usize {
    layout.size().max(1).next_multiple_of(STEP)
}

#[inline(always)]
fn layout_of(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align.max(STEP)).expect("a type's, a little larger")
}

#[cold]
#[inline(never)]
fn allocate(size: usize, align: usize) -> NonNull<u8> {
    let layout = layout_of(size, align);
    // SAFETY: not of size 0.
    let block = unsafe { alloc::alloc(layout) };
    NonNull::new(block).unwrap_or_else(|| alloc::handle_alloc_error(layout))
}

impl Lists {
    pub(super) const fn new() -> Lists {
        Lists {
            heads: [const { Cell::new(ptr::null_mut()) }; MAX_SIZE / STEP],
            kept: [const { Cell::new(0) }; MAX_SIZE / STEP],
            limit: Cell::new(0),
        }
    }

    /// The list of blocks of this size, and how many there are.
    #[inline(always)]
    fn list(&self, size: usize) -> (&Cell<*mut u8>, &Cell<u32>) {
        let index = size / STEP - 1;
        (&self.heads[index], &self.kept[index])
    }

    #[inline(always)]
    pub(super) fn take(&self, size: usize) -> Option<NonNull<u8>> {
        let (head, kept) = self.list(size);
        let block = NonNull::new(head.get())?;
        // SAFETY: the invariant.
        head.set(unsafe { block.cast::<*mut u8>().read() });
        kept.set(kept.get() - 1);
        Some(block)
    }

    /// False if it does not take the block.
    ///
    /// # Safety
    /// Of `size` bytes, of the allocator, and nobody's.
    #[inline(always)]
    pub(super) unsafe fn put(&self, block: NonNull<u8>, size: usize) -> bool {
        let (head, kept) = self.list(size);
        if kept.get() >= self.limit.get() {
            return false;
        }
        // SAFETY: large enough, aligned to `STEP`, and ours.
        unsafe { block.cast::<*mut u8>().write(head.get()) };
        head.set(block.as_ptr());
        kept.set(kept.get() + 1);
        true
    }

    /// Gives half of each list back to the allocator, rounded up.
    pub(super) fn trim(&self) {
        for size in (STEP..=MAX_SIZE).step_by(STEP) {
            let half = self.list(size).1.get().div_ceil(2);
            self.free(size, half);
        }
    }

    /// Keeps no more than `limit` of each size from now on; gives what it was before.
    pub(super) fn set_limit(&self, limit: u32) -> u32 {
        for size in (STEP..=MAX_SIZE).step_by(STEP) {
            self.free(size, self.list(size).1.get().saturating_sub(limit));
        }
        self.limit.replace(limit)
    }

    fn free(&self, size: usize, count: u32) {
        for _ in 0..count {
            let Some(block) = self.take(size) else { return };
            // SAFETY: of the allocator, with this size.
            unsafe { alloc::dealloc(block.as_ptr(), layout_of(size, STEP)) };
        }
    }

    #[cfg(test)]
    pub(super) fn kept(&self, size: usize) -> u32 {
        self.list(size).1.get()
    }
}

/// See [`Lists::set_limit`]; those of this thread.
pub(super) fn limit(limit: u32) -> u32 {
    // A thread that ends has none any more.
    LISTS.try_with(|lists| lists.set_limit(limit)).unwrap_or(0)
}

/// See [`Lists::trim`]; those of this thread.
pub(super) fn trim() {
    // A thread that ends has none any more.
    _ = LISTS.try_with(Lists::trim);
}

impl Drop for Lists {
    fn drop(&mut self) {
        self.set_limit(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_give_what_they_were_given_and_keep_no_more_than_they_may() {
        let lists = Lists::new();
        assert_eq!(lists.set_limit(MAX_KEPT), 0, "what runs no fibers keeps nothing");
        let layout = |size| Layout::from_size_align(size, 16).unwrap();
        // SAFETY: not of size 0.
        let block = |size| NonNull::new(unsafe { alloc::alloc(layout(size)) }).unwrap();
        let (small, large) = (block(32), block(1024));
        // SAFETY: ours, of that size.
        assert!(unsafe { lists.put(small, 32) });
        // SAFETY: as above.
        assert!(unsafe { lists.put(large, 1024) });
        assert_eq!((lists.kept(32), lists.kept(1024)), (1, 1));
        assert_eq!(lists.take(48), None);
        assert_eq!((lists.take(32), lists.take(32)), (Some(small), None));
        // SAFETY: ours again.
        assert!(unsafe { lists.put(small, 32) });
        let refused = (0..2000).map(|_| block(1024)).find(|block| {
            // SAFETY: as above.
            !unsafe { lists.put(*block, 1024) }
        });
        let refused = refused.expect("there is an end");
        // SAFETY: it was not taken. What the lists have, they free.
        unsafe { alloc::dealloc(refused.as_ptr(), layout(1024)) };
        // Others are not shut out by those, and all go when they are not wanted.
        assert_eq!((lists.kept(32), lists.kept(1024)), (1, MAX_KEPT));
        lists.trim();
        assert_eq!((lists.kept(32), lists.kept(1024)), (0, MAX_KEPT / 2));
        assert_eq!(lists.set_limit(0), MAX_KEPT);
        assert_eq!(lists.kept(1024), 0);
    }
}
