//! The timers of one worker: a hierarchical wheel.
//!
//! Eight levels of 64 slots. A slot of level 0 is one tick wide (65.5 µs), a slot of level *n* is 64 times as wide as one
//! of level *n* - 1; the highest level ends where 64 bits of nanoseconds do.
//!
//! ```text
//!   level 2   |  4096 ticks |  4096 ticks | ...     a node lies in the lowest level at which its slot differs
//!   level 1        | 64 | 64 | 64 | ...             from the present one; when time reaches its slot, it moves
//!   level 0          |||||||||||||                  down, at most once a level, until it expires in level 0
//!                    ^ now
//! ```
//!
//! Inserting and cancelling are O(1): a slot is the head of a doubly linked list through nodes. A bit for each slot that is
//! in use finds the next one without looking at empty slots.
//!
//! The nodes lie densely in an array, and each points to its entry, which lies in the frame of the fiber that waits. So
//! whole slots are moved without looking at stacks, of which each would be a cache miss, and a page that no TLB knows.
//!
//! A deadline is rounded up to a tick and the present down, so nothing expires early, and at most one tick late.

use std::cell::Cell;
use std::marker::PhantomPinned;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use crate::sys::prefetch;

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 8;
const TICK_NS: u64 = 1 << 16;

/// A list that is not a slot's: what has expired.
const DUE: usize = LEVELS * SLOTS;

/// No node.
const NONE: u32 = u32::MAX;

/// How many entries of those that are due are fetched ahead, and how much of the frame around each.
const ENTRIES_AHEAD: usize = 4;
const ENTRY_BYTES: usize = 256;

/// An array of nodes that has more room than this gives it back when no timer is left.
const MAX_EMPTY: usize = 1024;

/// One wait for a point in time.
///
/// # Invariant
/// While it has a node, it neither moves nor dies, and `action` is valid. Whoever inserts an entry removes it before its
/// frame ends.
pub(crate) struct Entry {
    tick: u64,
    /// Its node, or [`NONE`].
    node: Cell<u32>,
    /// Called on the worker's own stack when the time has come. Must not block.
    action: NonNull<dyn FnMut()>,
    _pinned: PhantomPinned,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("tick", &self.tick)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Entry {
    pub(crate) fn action(&self) -> NonNull<dyn FnMut()> {
        self.action
    }
}

/// An entry's place in a list: in which one follows from its tick.
#[derive(Debug)]
struct Node {
    tick: u64,
    entry: NonNull<Entry>,
    prev: u32,
    /// The next one of the list, or of those that are free.
    next: u32,
}

/// Nodes, the oldest first.
#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

const EMPTY: List = List {
    first: NONE,
    last: NONE,
};

/// All pending timers of one worker.
#[derive(Debug)]
pub(crate) struct Timers {
    origin: Instant,
    /// The tick up to which everything has been moved to [`DUE`].
    elapsed: u64,
    len: usize,
    nodes: Vec<Node>,
    /// The first of the nodes that are free.
    free: u32,
    /// For each level, which of its slots are in use.
    occupied: [u64; LEVELS],
    /// The slots, level by level, and what has expired, in the order of the ticks.
    lists: Box<[List]>,
}

impl Timers {
    pub(crate) fn new(now: Instant) -> Timers {
        Timers {
            origin: now,
            elapsed: 0,
            len: 0,
            nodes: Vec::new(),
            free: NONE,
            occupied: [0; LEVELS],
            lists: vec![EMPTY; LEVELS * SLOTS + 1].into_boxed_slice(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// An entry that is not inserted yet.
    ///
    /// # Safety
    /// While the entry is inserted, calling `action` from the worker's own stack is sound.
    pub(crate) unsafe fn entry(&self, deadline: Instant, action: NonNull<dyn FnMut()>) -> Entry {
        let ns = deadline.saturating_duration_since(self.origin).as_nanos();
        let ns = u64::try_from(ns).unwrap_or(u64::MAX);
        Entry {
            // The wheel has room for the ticks of 64 bits of nanoseconds, and one more would be its first again.
            tick: ns.div_ceil(TICK_NS).min(u64::MAX / TICK_NS),
            node: Cell::new(NONE),
            action,
            _pinned: PhantomPinned,
        }
    }

    /// # Safety
    /// The invariant of [`Entry`]: it stays where it is until it is removed or popped, and it is not inserted now.
    pub(crate) unsafe fn insert(&mut self, entry: NonNull<Entry>) {
        // SAFETY: alive, by the caller's promise.
        let e = unsafe { entry.as_ref() };
        let new = Node {
            tick: e.tick,
            entry,
            prev: NONE,
            next: NONE,
        };
        let node = self.free;
        if node == NONE {
            e.node
                .set(u32::try_from(self.nodes.len()).expect("fewer than 2^32 timers"));
            self.nodes.push(new);
        } else {
            e.node.set(node);
            self.free = self.nodes[node as usize].next;
            self.nodes[node as usize] = new;
        }
        self.len += 1;
        self.place(e.node.get());
    }

    /// Removes an entry; does nothing to one that is not inserted (any more).
    ///
    /// # Safety
    /// `entry` was inserted here, if anywhere.
    pub(crate) unsafe fn remove(&mut self, entry: NonNull<Entry>) {
        // SAFETY: the caller's entry.
        let node = unsafe { entry.as_ref() }.node.replace(NONE);
        if node != NONE {
            self.take_out(node);
        }
    }

    /// Lets time pass: what has expired stands in line for [`pop_expired`](Timers::pop_expired).
    pub(crate) fn advance(&mut self, now: Instant) {
        self.advance_to(self.tick_of(now));
    }

    /// Takes out one entry whose time has come.
    pub(crate) fn pop_expired(&mut self) -> Option<NonNull<Entry>> {
        let node = self.lists[DUE].first;
        let entry = self.nodes.get(node as usize)?.entry;
        self.take_out(node);
        // SAFETY: it had a node, so it is alive.
        unsafe { entry.as_ref() }.node.set(NONE);
        Some(entry)
    }

    /// Has the memory fetched of those that are taken out next.
    pub(crate) fn look_ahead(&self) {
        let mut node = self.lists[DUE].first;
        for _ in 0..ENTRIES_AHEAD {
            let Some(soon) = self.nodes.get(node as usize) else {
                return;
            };
            node = soon.next;
        }
        if let Some(soon) = self.nodes.get(node as usize) {
            prefetch(soon.entry.as_ptr(), ENTRY_BYTES);
        }
    }

    /// How long to wait until there may be something to do; `None` when there are no timers. Never longer than until the
    /// next deadline; shorter where an entry has to move down a level on the way.
    pub(crate) fn next_wait(&self, now: Instant) -> Option<Duration> {
        if self.lists[DUE].first != NONE {
            return Some(Duration::ZERO);
        }
        let (_, _, tick) = self.next_slot()?;
        let at = self
            .origin
            .checked_add(Duration::from_nanos(tick.saturating_mul(TICK_NS)))?;
        Some(at.saturating_duration_since(now))
    }

    fn tick_of(&self, now: Instant) -> u64 {
        let ns = now.saturating_duration_since(self.origin).as_nanos();
        u64::try_from(ns).unwrap_or(u64::MAX) / TICK_NS
    }

    /// The list for a tick, seen from `elapsed`. It stays the same one until time reaches it, and what is in it is moved: until then
    /// the slot is the highest in which the two differ.
    fn list_of(&self, tick: u64) -> usize {
        if tick <= self.elapsed {
            return DUE;
        }
        let differing = 63 - (tick ^ self.elapsed).leading_zeros();
        let level = (differing / SLOT_BITS).min(u32::try_from(LEVELS - 1).expect("8 levels"));
        let slot = (tick >> (SLOT_BITS * level)) & (SLOTS as u64 - 1);
        level as usize * SLOTS + usize::try_from(slot).expect("64 slots")
    }

    /// Puts a node, which is in no list, where its tick belongs.
    fn place(&mut self, node: u32) {
        let list = self.list_of(self.nodes[node as usize].tick);
        if list != DUE {
            self.occupied[list / SLOTS] |= 1 << (list % SLOTS);
        }
        let last = std::mem::replace(&mut self.lists[list].last, node);
        match self.nodes.get_mut(last as usize) {
            Some(last) => last.next = node,
            None => self.lists[list].first = node,
        }
        let placed = &mut self.nodes[node as usize];
        (placed.prev, placed.next) = (last, NONE);
    }

    /// Takes a node out of its list, and frees it.
    fn take_out(&mut self, node: u32) {
        let Node { tick, prev, next, .. } = self.nodes[node as usize];
        let list = self.list_of(tick);
        match self.nodes.get_mut(prev as usize) {
            Some(prev) => prev.next = next,
            None => self.lists[list].first = next,
        }
        match self.nodes.get_mut(next as usize) {
            Some(next) => next.prev = prev,
            None => self.lists[list].last = prev,
        }
        if list != DUE && self.lists[list].first == NONE {
            self.occupied[list / SLOTS] &= !(1 << (list % SLOTS));
        }
        self.nodes[node as usize].next = std::mem::replace(&mut self.free, node);
        self.len -= 1;
        if self.len == 0 && self.nodes.capacity() > MAX_EMPTY {
            self.free = NONE;
            self.nodes = Vec::new();
        }
    }

    /// The slot in use that time reaches first, and the tick at which it begins.
    ///
    /// What lies at a level lies within the present slot of the level above, so the lowest level in use has it.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let (level, occupied) = self.occupied.iter().enumerate().find(|(_, occupied)| **occupied != 0)?;
        let slot = occupied.trailing_zeros() as usize;
        let shift = SLOT_BITS * u32::try_from(level).expect("8 levels");
        let above = self.elapsed.checked_shr(shift + SLOT_BITS).unwrap_or(0);
        let start = above.checked_shl(shift + SLOT_BITS).unwrap_or(0) + ((slot as u64) << shift);
        Some((level, slot, start))
    }

    /// Moves everything with a tick of at most `now` to [`DUE`], and lets time pass up to there.
    fn advance_to(&mut self, now: u64) {
        while let Some((level, slot, start)) = self.next_slot().filter(|&(_, _, start)| start <= now) {
            self.elapsed = start;
            self.occupied[level] &= !(1 << slot);
            let mut cursor = std::mem::replace(&mut self.lists[level * SLOTS + slot], EMPTY).first;
            while let Some(node) = self.nodes.get(cursor as usize) {
                let next = node.next;
                self.place(cursor);
                cursor = next;
            }
        }
        self.elapsed = self.elapsed.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noop() -> NonNull<dyn FnMut()> {
        NonNull::from(Box::leak(Box::new(|| ())))
    }

    struct Fixture {
        timers: Timers,
        origin: Instant,
        #[expect(clippy::vec_box, reason = "the wheel holds their addresses")]
        entries: Vec<Box<Entry>>,
    }

    impl Fixture {
        fn new() -> Self {
            let origin = Instant::now();
            Fixture {
                timers: Timers::new(origin),
                origin,
                entries: Vec::new(),
            }
        }

        fn insert(&mut self, ns: u64) -> NonNull<Entry> {
            // SAFETY: the action does nothing.
            let entry = unsafe { self.timers.entry(self.origin + Duration::from_nanos(ns), noop()) };
            self.entries.push(Box::new(entry));
            let entry = NonNull::from(&**self.entries.last().unwrap());
            // SAFETY: boxed, and kept for as long as the wheel.
            unsafe { self.timers.insert(entry) };
            entry
        }

        fn expired(&mut self, ns: u64) -> usize {
            let now = self.origin + Duration::from_nanos(ns);
            self.timers.advance(now);
            std::iter::from_fn(|| self.timers.pop_expired()).count()
        }

        fn wait(&self, ns: u64) -> Option<Duration> {
            self.timers.next_wait(self.origin + Duration::from_nanos(ns))
        }
    }

    #[test]
    fn expires_never_early_and_at_most_a_tick_late() {
        for ns in [
            0,
            1,
            TICK_NS,
            TICK_NS + 1,
            63 * TICK_NS,
            64 * TICK_NS,
            1_000_000_007,
            86_400_000_000_000,
        ] {
            let mut f = Fixture::new();
            f.insert(ns);
            if ns > 0 {
                assert_eq!(f.expired(ns - 1), 0, "{ns} ns");
            }
            assert_eq!(f.expired(ns + TICK_NS), 1, "{ns} ns");
            assert!(f.timers.is_empty());
        }
    }

    #[test]
    fn wait_is_never_longer_than_to_the_next_deadline_and_gets_there() {
        for ns in [1, TICK_NS * 65, 1_000_000_007, 86_400_000_000_000, u64::MAX - TICK_NS] {
            let mut f = Fixture::new();
            f.insert(ns);
            let mut now = 0;
            let mut turns = 0;
            while f.expired(now) == 0 {
                let wait = u64::try_from(f.wait(now).unwrap().as_nanos()).unwrap();
                assert!(wait > 0 && now + wait <= ns.saturating_add(TICK_NS), "{ns} ns");
                now += wait;
                turns += 1;
            }
            assert!(turns <= LEVELS, "{ns} ns took {turns} turns");
            assert!(now >= ns);
        }
    }

    #[test]
    fn agrees_with_a_sorted_list_for_random_inserts_and_removals() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let mut f = Fixture::new();
        let mut model: Vec<(u64, NonNull<Entry>)> = Vec::new();
        let mut now = 0_u64;
        for _ in 0..20_000 {
            match random() % 4 {
                0 | 1 => {
                    let ns = now + random() % (1 << (random() % 44));
                    let entry = f.insert(ns);
                    model.push((ns.div_ceil(TICK_NS), entry));
                }
                2 if !model.is_empty() => {
                    let at = usize::try_from(random() % u64::try_from(model.len()).unwrap()).unwrap();
                    let (_, entry) = model.swap_remove(at);
                    // SAFETY: inserted above.
                    unsafe { f.timers.remove(entry) };
                }
                _ => {
                    now += random() % (1 << (random() % 40));
                    let before = model.len();
                    model.retain(|&(tick, _)| tick > now / TICK_NS);
                    assert_eq!(f.expired(now), before - model.len());
                }
            }
            assert_eq!(f.timers.len, model.len());
            assert_eq!(f.timers.is_empty(), model.is_empty());
            if let Some(&(tick, _)) = model.iter().min_by_key(|(tick, _)| *tick) {
                let wait = u64::try_from(f.wait(now).unwrap().as_nanos()).unwrap();
                assert!(now + wait <= (tick * TICK_NS).max(now));
            } else {
                assert_eq!(f.wait(now), None);
            }
        }
    }

    #[test]
    fn removing_twice_or_after_expiry_does_nothing() {
        let mut f = Fixture::new();
        let (a, b) = (f.insert(5), f.insert(1 << 40));
        assert_eq!(f.expired(1 << 20), 1);
        for entry in [a, b, b] {
            // SAFETY: both were inserted here.
            unsafe { f.timers.remove(entry) };
        }
        assert!(f.timers.is_empty());
    }

    #[test]
    fn what_a_burst_has_left_is_given_back() {
        let mut f = Fixture::new();
        let burst = 2 * MAX_EMPTY;
        for _ in 0..burst {
            f.insert(1);
        }
        assert!(f.timers.nodes.capacity() >= burst);
        assert_eq!(f.expired(TICK_NS), burst);
        assert_eq!(f.timers.nodes.capacity(), 0);
        // And it goes on from there.
        f.insert(1 << 20);
        assert_eq!(f.expired(1 << 21), 1);
    }
}
