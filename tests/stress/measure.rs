//! What is left of a runtime: memory, stacks, descriptors.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering};

use kapok::stack::{self, Stats};

use crate::support::{all_is_closed_since, open_descriptors, show};

/// Counts the bytes that are in use.
struct Counting;

static IN_USE: AtomicIsize = AtomicIsize::new(0);

fn signed(size: usize) -> isize {
    isize::try_from(size).expect("no allocation is that large")
}

#[expect(unsafe_code, reason = "passes everything on to the system's allocator")]
// SAFETY: all is the system allocator's doing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(signed(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(signed(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many stacks of one size that nobody uses keep their memory with each worker, at most.
const IDLE_STACKS: usize = 1024;

/// And how many in the process besides: as many, and those that are emptied together when there are more.
const IDLE_IN_PROCESS: usize = 1024 + 64;

/// How many there may be of other sizes than the default: those for signals.
const OTHER_SIZES: usize = 16;

/// How many bytes may be in use more than before: threads of the pool for blocking work live on for a while, and so do the
/// bells that they have rung.
const BYTES: isize = 16 * 1024;

/// What it takes to keep account of a place for a stack, whose mapping may be kept for a while, and of one that has memory.
const BYTES_FOR_PLACE: usize = 16;
const BYTES_FOR_IDLE: usize = 32;

/// What a process has at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left {
    bytes: isize,
    descriptors: Option<usize>,
    stacks: Stats,
    /// Kilobytes of address space.
    mapped: Option<u64>,
}

impl Left {
    pub(crate) fn now() -> Left {
        let bytes = IN_USE.load(Ordering::Relaxed);
        let descriptors = open_descriptors();
        Left {
            bytes,
            descriptors,
            stacks: stack::stats(),
            mapped: mapped(),
        }
    }

    /// To be called by the only fiber that is left: asserts that the stacks of the others were given back.
    #[track_caller]
    pub(crate) fn assert_others_are_idle(&self, workers: usize) {
        let Stats { in_use, pooled, .. } = self.stacks;
        show(&format!(
            "{pooled} stacks have memory when all fibers have ended, {in_use} are in use"
        ));
        // Each worker has one for signals; it may still be on that of the fiber that has ended last, and have yet to give
        // back those that its pool had no room for, of as many fibers as end between two looks at the outside world.
        const BETWEEN_TURNS: usize = 128;
        assert!(
            in_use <= 1 + (2 + BETWEEN_TURNS) * workers,
            "{in_use} stacks are in use"
        );
        let limit = IDLE_IN_PROCESS + workers * IDLE_STACKS + OTHER_SIZES;
        assert!(pooled <= limit, "{pooled} stacks, and {limit} may be kept");
    }

    /// Asserts that nothing has come to what there was `before`, but stacks that lie idle.
    #[track_caller]
    pub(crate) fn assert_no_more_than(&self, before: &Left) {
        let more = self.bytes - before.bytes;
        show(&format!(
            "left over: {more} bytes; {:?}; KiB mapped {:?}, then {:?}",
            self.stacks, before.mapped, self.mapped
        ));
        let Stats {
            in_use,
            pooled,
            reserved,
            ..
        } = self.stacks;
        assert_eq!(in_use, 0, "stacks are left over");
        assert!(pooled <= IDLE_IN_PROCESS + OTHER_SIZES, "{pooled} stacks are kept");
        let account = reserved / stack::DEFAULT_SIZE * BYTES_FOR_PLACE + IDLE_IN_PROCESS * BYTES_FOR_IDLE;
        assert!(more <= BYTES + signed(account), "{more} bytes are left over");
        all_is_closed_since(before.descriptors);
    }
}

fn mapped() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"))?;
    size.trim().trim_end_matches(" kB").parse().ok()
}
