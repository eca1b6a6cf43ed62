//! The timers of one worker: a hierarchical wheel of entries that lie on the stacks of the fibers that wait.
//!
//! Eight levels of 64 slots. A slot of level 0 is one tick wide (65.5 µs), a slot of level *n* is 64 times as wide as one
//! of level *n* - 1; the highest level ends where 64 bits of nanoseconds do.
//!
//! ```text
//!   level 2   |  4096 ticks |  4096 ticks | ...     an entry lies in the lowest level at which its slot differs
//!   level 1        | 64 | 64 | 64 | ...             from the present one; when time reaches its slot, it moves
//!   level 0          |||||||||||||                  down, at most once a level, until it expires in level 0
//!                    ^ now
//! ```
//!
//! Inserting and cancelling are O(1) and allocate nothing: a slot is the head of a doubly linked list through the
//! entries. A bit for each slot that is in use finds the next one without looking at empty slots.
//!
//! A deadline is rounded up to a tick and the present down, so nothing expires early, and at most one tick late.

use std::cell::Cell;
use std::marker::PhantomPinned;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 8;
const TICK_NS: u64 = 1 << 16;

/// Where an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Nowhere,
    Slot { level: u8, slot: u8 },
    Due,
}

/// One wait for a point in time.
///
/// # Invariant
/// While its place is not `Nowhere`, it neither moves nor dies, and `action` is valid. Whoever inserts an entry removes
/// it before its frame ends.
pub(crate) struct Entry {
    tick: u64,
    place: Cell<Place>,
    prev: Cell<Option<NonNull<Entry>>>,
    next: Cell<Option<NonNull<Entry>>>,
    /// Called on the worker's own stack when the time has come. Must not block.
    action: NonNull<dyn FnMut()>,
    _pinned: PhantomPinned,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("tick", &self.tick)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Entry {
    pub(crate) fn action(&self) -> NonNull<dyn FnMut()> {
        self.action
    }
}

/// Entries, the oldest first.
#[derive(Clone, Copy, Debug, Default)]
struct List {
    first: Option<NonNull<Entry>>,
    last: Option<NonNull<Entry>>,
}

impl List {
    /// # Safety
    /// Alive, in no list, and it stays where it is while it is in this one.
    unsafe fn push_back(&mut self, entry: NonNull<Entry>) {
        // SAFETY: the caller's promise.
        let new = unsafe { entry.as_ref() };
        new.prev.set(self.last);
        new.next.set(None);
        match self.last {
            // SAFETY: in the list, so alive.
            Some(last) => unsafe { last.as_ref() }.next.set(Some(entry)),
            None => self.first = Some(entry),
        }
        self.last = Some(entry);
    }

    /// # Safety
    /// In this list.
    unsafe fn remove(&mut self, entry: NonNull<Entry>) {
        // SAFETY: in a list, so alive.
        let old = unsafe { entry.as_ref() };
        let (prev, next) = (old.prev.take(), old.next.take());
        match prev {
            // SAFETY: in the list, so alive.
            Some(prev) => unsafe { prev.as_ref() }.next.set(next),
            None => self.first = next,
        }
        match next {
            // SAFETY: in the list, so alive.
            Some(next) => unsafe { next.as_ref() }.prev.set(prev),
            None => self.last = prev,
        }
    }
}

#[derive(Debug)]
struct Level {
    occupied: u64,
    slots: [List; SLOTS],
}

/// All pending timers of one worker.
#[derive(Debug)]
pub(crate) struct Timers {
    origin: Instant,
    /// The tick up to which everything has been moved to `due`.
    elapsed: u64,
    len: usize,
    levels: Box<[Level; LEVELS]>,
    /// What has expired, in the order of the ticks.
    due: List,
}

impl Timers {
    pub(crate) fn new(now: Instant) -> Timers {
        let level = || Level {
            occupied: 0,
            slots: [List::default(); SLOTS],
        };
        Timers {
            origin: now,
            elapsed: 0,
            len: 0,
            levels: Box::new(std::array::from_fn(|_| level())),
            due: List::default(),
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
            place: Cell::new(Place::Nowhere),
            prev: Cell::new(None),
            next: Cell::new(None),
            action,
            _pinned: PhantomPinned,
        }
    }

    /// # Safety
    /// The invariant of [`Entry`]: it stays where it is until it is removed or popped, and it is not inserted now.
    pub(crate) unsafe fn insert(&mut self, entry: NonNull<Entry>) {
        self.len += 1;
        // SAFETY: alive, by the caller's promise.
        unsafe { self.place(entry) };
    }

    /// Removes an entry; does nothing to one that is not inserted (any more).
    ///
    /// # Safety
    /// `entry` was inserted here, if anywhere.
    pub(crate) unsafe fn remove(&mut self, entry: NonNull<Entry>) {
        // SAFETY: the caller's entry.
        if unsafe { entry.as_ref() }.place.get() != Place::Nowhere {
            self.len -= 1;
            // SAFETY: inserted, so in one of our lists.
            unsafe { self.unlink(entry) };
        }
    }

    /// Takes out one entry whose time has come.
    pub(crate) fn pop_expired(&mut self, now: Instant) -> Option<NonNull<Entry>> {
        if self.due.first.is_none() {
            self.advance(self.tick_of(now));
        }
        let entry = self.due.first?;
        self.len -= 1;
        // SAFETY: in the list of what is due.
        unsafe { self.unlink(entry) };
        Some(entry)
    }

    /// How long to wait until there may be something to do; `None` when there are no timers. Never longer than until the
    /// next deadline; shorter where an entry has to move down a level on the way.
    pub(crate) fn next_wait(&self, now: Instant) -> Option<Duration> {
        if self.due.first.is_some() {
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

    /// Puts an entry where its tick belongs, seen from `elapsed`.
    ///
    /// # Safety
    /// Alive, and in no list.
    unsafe fn place(&mut self, entry: NonNull<Entry>) {
        // SAFETY: the caller's promise.
        let e = unsafe { entry.as_ref() };
        if e.tick <= self.elapsed {
            e.place.set(Place::Due);
            // SAFETY: the caller's promise, and the invariant of `Entry`.
            unsafe { self.due.push_back(entry) };
            return;
        }
        let differing = 63 - (e.tick ^ self.elapsed).leading_zeros();
        let level = (differing / SLOT_BITS).min(u32::try_from(LEVELS - 1).expect("8 levels"));
        let slot = (e.tick >> (SLOT_BITS * level)) & (SLOTS as u64 - 1);
        let wheel = &mut self.levels[level as usize];
        wheel.occupied |= 1 << slot;
        let slot = u8::try_from(slot).expect("64 slots");
        let level = u8::try_from(level).expect("8 levels");
        e.place.set(Place::Slot { level, slot });
        // SAFETY: the caller's promise, and the invariant of `Entry`.
        unsafe { wheel.slots[usize::from(slot)].push_back(entry) };
    }

    /// # Safety
    /// In one of our lists.
    unsafe fn unlink(&mut self, entry: NonNull<Entry>) {
        // SAFETY: in a list, so alive.
        match unsafe { entry.as_ref() }.place.replace(Place::Nowhere) {
            Place::Slot { level, slot } => {
                let level = &mut self.levels[usize::from(level)];
                let list = &mut level.slots[usize::from(slot)];
                // SAFETY: its place says that it is in this list.
                unsafe { list.remove(entry) };
                if list.first.is_none() {
                    level.occupied &= !(1 << slot);
                }
            }
            // SAFETY: as above.
            Place::Due => unsafe { self.due.remove(entry) },
            Place::Nowhere => unreachable!("an entry in a list has a place"),
        }
    }

    /// The slot in use that time reaches first, and the tick at which it begins.
    ///
    /// What lies at a level lies within the present slot of the level above, so the lowest level in use has it.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let (level, wheel) = self.levels.iter().enumerate().find(|(_, wheel)| wheel.occupied != 0)?;
        let slot = wheel.occupied.trailing_zeros() as usize;
        let shift = SLOT_BITS * u32::try_from(level).expect("8 levels");
        let above = self.elapsed.checked_shr(shift + SLOT_BITS).unwrap_or(0);
        let start = above.checked_shl(shift + SLOT_BITS).unwrap_or(0) + ((slot as u64) << shift);
        Some((level, slot, start))
    }

    /// Moves everything with a tick of at most `now` to `due`, and lets time pass up to there.
    fn advance(&mut self, now: u64) {
        while let Some((level, slot, start)) = self.next_slot().filter(|&(_, _, start)| start <= now) {
            self.elapsed = start;
            self.levels[level].occupied &= !(1 << slot);
            let mut cursor = std::mem::take(&mut self.levels[level].slots[slot]).first;
            while let Some(entry) = cursor {
                // SAFETY: it was in the slot's list, so alive.
                cursor = unsafe { entry.as_ref() }.next.get();
                // SAFETY: alive, and in no list any more.
                unsafe { self.place(entry) };
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
            std::iter::from_fn(|| self.timers.pop_expired(now)).count()
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
                    let at = usize::try_from(random()).unwrap() % model.len();
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
}
