//! What is left of a runtime: memory, stacks, descriptors.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering};

use crate::support::{all_is_closed_since, open_descriptors, show, skip};

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

/// How many stacks of fibers that have ended a worker keeps for the next ones.
pub(crate) const IDLE_STACKS: usize = 1024;

/// How many bytes may be in use more than before: threads of the pool for blocking work live on for a while, and so do the
/// bells that they have rung.
const BYTES: isize = 16 * 1024;

/// How many stacks there may be more than expected: one that is in use, and those of threads that are just ending.
const STACKS: usize = 16;

/// What a process has at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left {
    bytes: isize,
    descriptors: Option<usize>,
    /// Of fibers.
    stacks: Option<usize>,
    /// Kilobytes of address space.
    mapped: Option<u64>,
}

impl Left {
    pub(crate) fn now() -> Left {
        let bytes = IN_USE.load(Ordering::Relaxed);
        let descriptors = open_descriptors();
        let stacks = stacks();
        if stacks.is_none() {
            skip("stacks are not counted: no /proc/self/maps", "KAPOK_REQUIRE_PROC");
        }
        Left {
            bytes,
            descriptors,
            stacks,
            mapped: mapped(),
        }
    }

    /// Asserts that there are no more stacks than `limit`.
    #[track_caller]
    pub(crate) fn assert_stacks_at_most(&self, limit: usize) {
        let Some(stacks) = self.stacks else { return };
        show(&format!(
            "{stacks} stacks when all fibers have ended, {} KiB mapped",
            self.mapped.unwrap_or(0)
        ));
        assert!(stacks <= limit + STACKS, "{stacks} stacks, and {limit} may be kept");
    }

    /// Asserts that nothing has come to what there was `before`.
    #[track_caller]
    pub(crate) fn assert_no_more_than(&self, before: &Left) {
        let more = self.bytes - before.bytes;
        show(&format!(
            "left over: {more} bytes; stacks {:?}, then {:?}; KiB mapped {:?}, then {:?}",
            before.stacks, self.stacks, before.mapped, self.mapped
        ));
        assert!(more <= BYTES, "{more} bytes are left over");
        assert!(
            self.stacks <= before.stacks.map(|stacks| stacks + STACKS),
            "stacks are left over"
        );
        all_is_closed_since(before.descriptors);
    }
}

/// How many stacks of fibers are mapped: as many as there are guard pages that are not a thread's, which has two, one of them
/// below the stack for its signals.
fn stacks() -> Option<usize> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let threads = std::fs::read_dir("/proc/self/task").ok()?.count();
    let guards = maps.lines().filter(|line| {
        let mut words = line.split_ascii_whitespace();
        let range = words.next().and_then(|range| range.split_once('-'));
        let (Some((low, high)), Some("---p")) = (range, words.next()) else {
            return false;
        };
        let number = |text| u64::from_str_radix(text, 16).expect("an address");
        number(high) - number(low) <= 64 * 1024
    });
    Some(guards.count().saturating_sub(2 * threads))
}

fn mapped() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"))?;
    size.trim().trim_end_matches(" kB").parse().ok()
}
