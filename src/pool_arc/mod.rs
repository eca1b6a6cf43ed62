//! A counted reference to a value whose memory comes from lists of the thread's own: what a fiber's shared part lies in.
//!
//! ```text
//!   Lists of a thread, by size            PoolArc<Packet>        PoolArc<dyn Task>
//!   [16 bytes] -> free -> free                    \                /
//!   [32 bytes]                             Block: count | value, of any type
//!      ...
//! ```
//!
//! As `Arc`, with three things less that a spawn would pay for: there are no weak references, so the last one to go has one
//! count to look at; who has the only reference knows so by a load; and the memory of what has ended is the next one's without the
//! allocator, which for a thousand at a time costs more than all the rest of a spawn. A block goes to the lists of the thread
//! that drops it, if it runs fibers at the time. What these keep is bounded by size, goes back by halves while a worker idles, and
//! altogether when it ends.

#![allow(unsafe_code, reason = "memory of its own, and references that are counted by hand")]

mod lists;

use std::alloc::Layout;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::process;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering};

/// # Invariant
/// There is a reference to the block, which lives until the last is gone, for each of these.
pub(crate) struct PoolArc<T: ?Sized> {
    block: NonNull<Block<T>>,
    _owns: PhantomData<Block<T>>,
}

#[repr(C)]
pub(crate) struct Block<T: ?Sized> {
    count: AtomicUsize,
    value: T,
}

// SAFETY: as `Arc`: it gives shared references, on any thread, and the last one drops the value.
unsafe impl<T: ?Sized + Send + Sync> Send for PoolArc<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send + Sync> Sync for PoolArc<T> {}

// The value never moves, whatever becomes of a reference.
impl<T: ?Sized> Unpin for PoolArc<T> {}

impl<T> PoolArc<T> {
    /// Two references to what `make` gives, which is written where it stays.
    #[inline(always)]
    pub(crate) fn new_pair(make: impl FnOnce() -> T) -> (PoolArc<T>, PoolArc<T>) {
        let block: NonNull<Block<T>> = lists::take(Layout::new::<Block<T>>()).cast();
        let value = Block {
            count: AtomicUsize::new(2),
            value: make(),
        };
        // SAFETY: of that layout, and ours.
        unsafe { block.write(value) };
        (PoolArc::of(block), PoolArc::of(block))
    }

    /// The same reference as one to something that the value can be seen as: `as_other` does nothing but that.
    ///
    /// # Safety
    /// `as_other` gives the pointer that it is given.
    #[inline(always)]
    pub(crate) unsafe fn unsize<U: ?Sized>(self, as_other: impl FnOnce(*mut Block<T>) -> *mut Block<U>) -> PoolArc<U> {
        let block = self.into_block();
        // SAFETY: the same pointer, and so not null.
        PoolArc::of(unsafe { NonNull::new_unchecked(as_other(block.as_ptr())) })
    }

    /// The reference that [`into_thin`](PoolArc::into_thin) has made this of.
    ///
    /// # Safety
    /// It was one to a `T`.
    pub(crate) unsafe fn from_thin(thin: Thin) -> PoolArc<T> {
        PoolArc::of(thin.0.cast())
    }
}

/// While it lives, the lists of this thread keep what is dropped.
pub(crate) struct Keeping {
    /// What they have kept before, of each size.
    before: u32,
}

impl Keeping {
    pub(crate) fn begin() -> Keeping {
        Keeping {
            before: lists::limit(lists::MAX_KEPT),
        }
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        lists::limit(self.before);
    }
}

/// Has the thread's lists give back half of what they keep: for one that has nothing to do.
pub(crate) fn trim() {
    lists::trim();
}

/// A reference that does not know to what. Not to be dropped: nobody would count it.
#[must_use]
pub(crate) struct Thin(NonNull<()>);

impl<T: ?Sized> PoolArc<T> {
    #[inline(always)]
    fn of(block: NonNull<Block<T>>) -> PoolArc<T> {
        PoolArc {
            block,
            _owns: PhantomData,
        }
    }

    #[inline(always)]
    #[expect(clippy::mem_forget, reason = "the reference goes on in another form")]
    fn into_block(self) -> NonNull<Block<T>> {
        let block = self.block;
        std::mem::forget(self);
        block
    }

    pub(crate) fn into_thin(self) -> Thin {
        Thin(self.into_block().cast())
    }

    /// For comparing: two to the same value give the same.
    #[inline]
    pub(crate) fn address(&self) -> *const () {
        self.block.as_ptr().cast_const().cast()
    }

    #[inline(always)]
    fn block(&self) -> &Block<T> {
        // SAFETY: the invariant.
        unsafe { self.block.as_ref() }
    }

    /// # Safety
    /// The last reference is gone, but for this, which is not used again.
    #[inline(never)]
    unsafe fn free(block: NonNull<Block<T>>) {
        // SAFETY: alive up to here.
        let layout = Layout::for_value(unsafe { block.as_ref() });
        let block = block.as_ptr();
        /// Also where the value's destructor panics.
        struct GiveBack(NonNull<u8>, Layout);
        impl Drop for GiveBack {
            fn drop(&mut self) {
                // SAFETY: taken with this layout, and nobody's.
                unsafe { lists::give_back(self.0, self.1) };
            }
        }
        // SAFETY: it came from a `NonNull`.
        let _memory = GiveBack(unsafe { NonNull::new_unchecked(block.cast()) }, layout);
        // SAFETY: alive up to here.
        let value = unsafe { &raw mut (*block).value };
        // SAFETY: nobody else has it.
        unsafe { ptr::drop_in_place(value) };
    }
}

impl<T: ?Sized> Deref for PoolArc<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.block().value
    }
}

impl<T: ?Sized> Clone for PoolArc<T> {
    #[inline]
    fn clone(&self) -> PoolArc<T> {
        // Whoever has one can make another without looking at what others do.
        if self.block().count.fetch_add(1, Ordering::Relaxed) > usize::MAX / 2 {
            // As `Arc`: so many can only have been forgotten, and the count must not come round.
            process::abort();
        }
        PoolArc::of(self.block)
    }
}

impl<T: ?Sized> Drop for PoolArc<T> {
    #[inline]
    fn drop(&mut self) {
        let count = &self.block().count;
        // Who has the only one is the only one who could make another, so it stays the only one.
        if count.load(Ordering::Acquire) != 1 {
            if count.fetch_sub(1, Ordering::Release) != 1 {
                return;
            }
            // What the others did with the value comes before its end.
            count.load(Ordering::Acquire);
        }
        // SAFETY: the last one.
        unsafe { PoolArc::free(self.block) };
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for PoolArc<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::any::Any;
    use std::sync::Arc;
    use std::thread;

    use super::*;

    /// Counts how many of them have gone.
    struct Noted(Arc<AtomicUsize>, [u64; 9]);

    impl Drop for Noted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn noted(gone: &Arc<AtomicUsize>) -> (PoolArc<Noted>, PoolArc<Noted>) {
        PoolArc::new_pair(|| Noted(Arc::clone(gone), [7; 9]))
    }

    #[test]
    fn the_value_goes_with_the_last_reference() {
        let gone = Arc::new(AtomicUsize::new(0));
        let (first, second) = noted(&gone);
        let third = first.clone();
        assert_eq!(first.address(), third.address());
        drop(first);
        drop(second);
        assert_eq!((gone.load(Ordering::Relaxed), third.1), (0, [7; 9]));
        drop(third);
        assert_eq!(gone.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn it_can_be_seen_as_something_else_and_be_thin() {
        let gone = Arc::new(AtomicUsize::new(0));
        let (first, second) = noted(&gone);
        // SAFETY: the same pointer.
        let any: PoolArc<dyn Any> = unsafe { first.unsize(|block| block as *mut Block<dyn Any>) };
        assert!(any.is::<Noted>());
        let thin = any.into_thin();
        // SAFETY: it is one.
        let first: PoolArc<Noted> = unsafe { PoolArc::from_thin(thin) };
        assert_eq!(first.address(), second.address());
        drop(second);
        drop(first);
        assert_eq!(gone.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn references_go_on_many_threads() {
        let gone = Arc::new(AtomicUsize::new(0));
        for _ in 0..200 {
            let (first, second) = noted(&gone);
            thread::scope(|s| {
                for reference in [first.clone(), first, second] {
                    s.spawn(move || assert_eq!(reference.clone().1, [7; 9]));
                }
            });
        }
        assert_eq!(gone.load(Ordering::Relaxed), 200);
    }

    #[test]
    fn a_destructor_that_panics_frees_the_memory() {
        struct Panics(#[expect(dead_code, reason = "dropped after the panic")] Arc<AtomicUsize>);
        impl Drop for Panics {
            fn drop(&mut self) {
                panic!("on the way out");
            }
        }
        let shared = Arc::new(AtomicUsize::new(0));
        let (first, second) = PoolArc::new_pair(|| Panics(Arc::clone(&shared)));
        drop(first);
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(second))).is_err());
        assert_eq!(Arc::strong_count(&shared), 1);
    }
}
