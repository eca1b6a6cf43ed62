//! Memory to run on: how large stacks may be, how they are guarded, and what they take.
//!
//! ```text
//!   low                                                                     high
//!   +-------------+---------------------------------------------------------+
//!   | guard page  |  not touched yet: no memory behind it  <- grows | in use |
//!   | faults      |                                                         |
//!   +-------------+---------------------------------------------------------+
//!                 ^ usable from here                        initial_sp ^  (staggered)
//! ```
//!
//! The kernel gives a page memory when it is first touched, so a stack costs what it was used, not its size. 256 KiB
//! is the default because it is address space only: twice what a TLS handshake, a panic with a backtrace or a regular expression that is
//! compiled take in a debug build (docs/performance.md; [`usage()`] tells of your own), small enough that 100,000 of them are 25 GiB of 128 TiB.
//!
//! Many stacks lie in one mapping, a slab, each above a guard that ends the process when the stack overflows. Where the
//! system has guards that need no mapping of their own (Linux 6.13), a million stacks are a few hundred mappings, and the
//! limit of mappings, `vm.max_map_count`, does not matter; elsewhere each takes two. There is no stack without a guard: where none
//! can be had, there is no stack.
//!
//! Before the process dies of an overflow, it says whose stack it was, in one line on standard error:
//!
//! ```text
//! kapok: fiber 'parser' (id 7), spawned at src/main.rs:12:9, has overflowed its stack of 262144 bytes; for a larger one see ...
//! ```
//!
//! `KAPOK_OVERFLOW_BACKTRACE=1` has the frames of that stack shown after it.
//!
//! For that the first runtime or coroutine installs handlers for `SIGSEGV` and `SIGBUS`. What is no overflow of a stack of
//! Kapok's they leave to the handlers that were there before. A program that installs its own later should hand on to these what
//! it does not know.

#![allow(unsafe_code, reason = "maps and unmaps memory")]

mod backtrace;
mod cgroup;
mod depot;
mod guard;
mod limit;
mod map;
mod overflow;
mod pool;
mod shrink;
mod slab;
mod stats;
mod touched;
mod usage;

use std::io;
use std::panic::Location;
use std::ptr::{self, NonNull};

pub(crate) use backtrace::show_backtraces;
pub(crate) use depot::{Counted, INTERVAL, trim};
pub use guard::GuardKind;
pub(crate) use overflow::{Description, Watch, watch_thread};
pub(crate) use pool::Pool;
pub use shrink::shrink;
pub(crate) use shrink::shrink_here;
pub use stats::{Stats, resident, stats};
pub(crate) use usage::Measuring;
pub use usage::{Measure, SiteUsage, Usage, usage};

use crate::sys::page_size;
use depot::Slot;

/// The stack of a fiber where nobody asked for another size, in bytes of address space.
pub const DEFAULT_SIZE: usize = 256 * 1024;

/// The smallest stack that a fiber may be given, in bytes: room for the runtime's own frames, a signal handler and a
/// panic that is caught. It is 16 KiB, and on arm64 32 KiB: there a `ucontext_t` takes over 4 KiB, of which a stack holds two, and
/// what the kernel puts below a signal handler has about that size.
pub const MIN_SIZE: usize = if cfg!(target_arch = "aarch64") {
    32 * 1024
} else {
    16 * 1024
};

/// The largest stack that a fiber may be given, in bytes. What is larger is a slip in the unit.
pub const MAX_SIZE: usize = 1 << 30;

/// Checks a size that a user asked for; the size class to take.
///
/// # Errors
/// `InvalidInput`, naming the bounds, where it is outside [`MIN_SIZE`]..=[`MAX_SIZE`].
pub(crate) fn check_size(bytes: usize) -> io::Result<usize> {
    if (MIN_SIZE..=MAX_SIZE).contains(&bytes) {
        Ok(size_class(bytes))
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "a fiber's stack of {bytes} bytes: it has to be between {MIN_SIZE} ({} KiB) and {MAX_SIZE} (1 GiB)",
                MIN_SIZE / 1024
            ),
        ))
    }
}

/// What a size is rounded up to: whole pages, and of larger ones four sizes for each power of two. So a program that asks for
/// many different sizes can still use a stack again.
fn size_class(bytes: usize) -> usize {
    let pages = bytes.div_ceil(page_size());
    let step = (pages.next_power_of_two() / 8).max(1);
    pages.next_multiple_of(step) * page_size()
}

/// One stack: usable bytes above a guard.
///
/// # Invariant
/// The slot is this value's own. Its lowest page cannot be accessed, the rest can be read and written.
#[derive(Debug)]
pub(crate) struct Stack(Slot);

/// How far below the high end of a stack the first frame begins. Stack tops that all lie at the same offset of a page compete
/// for the same few cache sets when many fibers take turns, so neighbours differ. It stays under a quarter of a page, so
/// that a fiber with small frames still touches one page only. The highest line is never the frames': it has the label.
#[inline]
fn stagger(base: usize) -> usize {
    const LINE: usize = 64;
    const STEPS: usize = 15;
    /// 2^32 divided by the golden ratio: its multiples are spread evenly, whatever the distance of the stacks.
    const SPREAD: u32 = 0x9e37_79b9;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the lower bits of the page's number are the ones that differ"
    )]
    let page = (base / page_size()) as u32;
    // The highest bits of the product are the ones that are spread.
    (1 + (((page.wrapping_mul(SPREAD) >> 16) as usize * STEPS) >> 16)) * LINE
}

impl Stack {
    /// A stack with at least `bytes` usable, and a guard below them.
    ///
    /// # Errors
    /// What the system says, with the limit that is the likely cause.
    pub(crate) fn new(bytes: usize) -> io::Result<Stack> {
        depot::take(size_class(bytes)).map(Stack)
    }

    /// Where the first frame begins; the stack grows down from here.
    pub(crate) fn initial_sp(&self) -> NonNull<u8> {
        let below_high = stagger(self.0.base.addr().get());
        // SAFETY: one past the end of the slot, or less: within the mapping or one past it.
        unsafe { self.0.base.add(page_size() + self.size() - below_high) }
    }

    /// The bytes between the guard and [`initial_sp`](Stack::initial_sp).
    pub(crate) fn usable_bytes(&self) -> usize {
        self.size() - stagger(self.0.base.addr().get())
    }

    /// The addresses that frames on it have.
    pub(crate) fn addresses(&self) -> std::ops::Range<usize> {
        let high = self.initial_sp().addr().get();
        high - self.usable_bytes()..high
    }

    /// The lowest address of its guard.
    pub(crate) fn guard(&self) -> usize {
        self.0.base.addr().get()
    }

    /// Notes for the report of an overflow where the stack's user was made; to be taken back when it is gone.
    pub(crate) fn set_label(&self, place: Option<&'static Location<'static>>) {
        let label = label(self.guard(), self.size());
        // SAFETY: the highest line of the stack is aligned, writable, and the label's alone.
        unsafe { label.write(place.map_or(ptr::null(), ptr::from_ref)) };
    }

    /// Its size, guard not counted: the shelf of the pool that it goes back to.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.0.slab.usable()
    }
}

/// What a fiber that has not started brings along of its stack.
#[derive(Debug)]
pub(crate) enum Room {
    /// The size that it is to have.
    OfSize(usize),
    /// One that was taken for it already, so that it cannot fail for want of one.
    Taken(Stack),
}

impl Room {
    pub(crate) fn size(&self) -> usize {
        match self {
            Room::OfSize(size) => *size,
            Room::Taken(stack) => stack.size(),
        }
    }

    pub(crate) fn into_stack(self) -> Option<Stack> {
        match self {
            Room::OfSize(_) => None,
            Room::Taken(stack) => Some(stack),
        }
    }
}

/// Where a stack has its label.
fn label(guard: usize, usable: usize) -> *mut *const Location<'static> {
    ptr::with_exposed_provenance_mut(guard + page_size() + usable - size_of::<*const Location<'static>>())
}

/// Where the user of the stack above that guard was made, if it said so.
///
/// # Safety
/// There is such a stack, and it is in use.
unsafe fn label_above(guard: usize, usable: usize) -> Option<&'static Location<'static>> {
    // SAFETY: the caller's promise; what was never written is null.
    let place = unsafe { label(guard, usable).read() };
    // SAFETY: null, or written by `set_label`.
    unsafe { place.as_ref() }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // Whoever drops a stack has made sure that no frame on it will run again.
        depot::put(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::syscall;

    #[test]
    fn sizes_outside_the_bounds_are_refused_with_both_bounds_named() {
        for bytes in [0, 1, MIN_SIZE - 1, MAX_SIZE + 1, usize::MAX] {
            let error = check_size(bytes).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            let text = error.to_string();
            assert!(
                text.contains(&MIN_SIZE.to_string()) && text.contains(&MAX_SIZE.to_string()),
                "{text}"
            );
        }
        assert_eq!(check_size(MIN_SIZE).unwrap() % page_size(), 0);
        assert_eq!(check_size(MAX_SIZE).unwrap(), MAX_SIZE);
        assert_eq!(check_size(MIN_SIZE + 1).unwrap() % page_size(), 0);
    }

    #[test]
    fn size_classes_are_few_and_waste_little() {
        let mut classes = std::collections::BTreeSet::new();
        for pages in 1..20_000 {
            let (asked, class) = (pages * page_size(), size_class(pages * page_size()));
            assert!(
                class >= asked && class < asked + asked.div_ceil(4).max(page_size()),
                "{pages}"
            );
            assert_eq!(size_class(class), class);
            classes.insert(class);
        }
        assert!(classes.len() < 60, "{}", classes.len());
        assert_eq!(size_class(DEFAULT_SIZE), DEFAULT_SIZE);
    }

    #[test]
    fn stacks_of_all_sizes_begin_at_different_lines() {
        for pages in [5, 9, 17, 65, 64, 128] {
            let lines: std::collections::BTreeSet<_> = (0..64).map(|i| stagger(i * pages * page_size())).collect();
            assert!(
                lines.len() >= 12 && lines.last() < Some(&(page_size() / 4)),
                "{pages}: {lines:?}"
            );
        }
    }

    #[test]
    fn whole_usable_part_can_be_written() {
        let stack = Stack::new(MIN_SIZE).unwrap();
        let high = stack.initial_sp().as_ptr();
        for offset in (1..=stack.usable_bytes()).step_by(512) {
            // SAFETY: between the guard and the initial stack pointer.
            let byte = unsafe { high.sub(offset) };
            // SAFETY: writable, and nobody else knows this mapping.
            unsafe { byte.write(0xa5) };
        }
        assert!(stack.usable_bytes() <= stack.size() && stack.size() - stack.usable_bytes() < page_size() / 4);
    }

    #[test]
    fn guard_page_cannot_be_read_by_the_kernel_either() {
        let stack = Stack::new(MIN_SIZE).unwrap();
        let (_reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        use std::os::fd::AsRawFd;
        // write(2) from the guard page answers EFAULT and touches nothing.
        let error = syscall!(write(writer.as_raw_fd(), stack.0.base.as_ptr().cast(), 1)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EFAULT));
    }
}
