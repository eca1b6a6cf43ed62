//! What lies idle where: the lists of the depot, and how they change. No system call but to map and unmap a slab.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::time::Instant;

use super::super::guard::GuardKind;
use super::super::slab::Slab;
use super::Slot;
use super::take::uncount_guards;
use crate::sys::page_size;

/// How many stacks get their guards, and their first pages, with one call: so many at most, and at most this part of those that are in
/// use.
const MAX_BATCH: usize = 64;
const BATCH_SHARE: usize = 8;

/// The slots of a shelf's first slab. Each further slab has as many as the shelf has already, so there are few of them.
const FIRST_SLOTS: usize = 32;

/// The most address space that is asked for at a time.
const MAX_SLAB: usize = if usize::BITS >= 64 { 1 << 30 } else { 8 << 20 };
/// What a slot has that is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// A guard, and pages.
    Used,
    /// A guard.
    Clean,
    Bare,
}

/// What lies idle in one slab; the slots that have pages are in the shelf's list.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) slab: &'static Slab,
    pub(super) shelf: usize,
    pub(super) slots: usize,
    /// In use.
    pub(super) live: usize,
    pub(super) clean: Vec<u32>,
    pub(super) bare: Vec<u32>,
    /// Those below were never handed out: the highest goes first, so that what comes later lies below.
    pub(super) untouched: usize,
}

/// The slabs of one size.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) usable: usize,
    pub(super) slots: usize,
    pub(super) live: usize,
    /// Slabs that have clean or bare slots, or untouched ones.
    pub(super) open: BTreeSet<usize>,
    pub(super) used: VecDeque<Slot>,
    /// The least that there were since the last trimming, of `used` and of all that are not live.
    pub(super) least_used: usize,
    pub(super) least_idle: usize,
}

#[derive(Debug)]
pub(super) struct Depot {
    /// By the slab's id. `slots` is 0 where it is not mapped.
    pub(super) contents: Vec<Content>,
    pub(super) unmapped: Vec<usize>,
    pub(super) shelves: Vec<Shelf>,
    pub(super) trimmed: Option<Instant>,
    pub(super) returns: u32,
}
impl Depot {
    pub(super) const fn new() -> Depot {
        Depot {
            contents: Vec::new(),
            unmapped: Vec::new(),
            shelves: Vec::new(),
            trimmed: None,
            returns: 0,
        }
    }
}

impl Shelf {
    fn taken(&mut self) {
        self.live += 1;
        self.least_used = self.least_used.min(self.used.len());
        self.least_idle = self.least_idle.min(self.slots - self.live);
    }
}

impl Depot {
    pub(super) fn shelf(&mut self, usable: usize) -> usize {
        // Programs use few sizes.
        if let Some(index) = self.shelves.iter().position(|shelf| shelf.usable == usable) {
            return index;
        }
        self.shelves.push(Shelf {
            usable,
            slots: 0,
            live: 0,
            open: BTreeSet::new(),
            used: VecDeque::new(),
            least_used: 0,
            least_idle: 0,
        });
        self.shelves.len() - 1
    }

    /// A slot, and what it has. If it is one that was never handed out, and guards come in batches, others of the kind come along, which
    /// are to be put back when they have theirs.
    pub(super) fn take(&mut self, usable: usize, in_batches: bool) -> io::Result<(Slot, State, Vec<Slot>)> {
        let index = self.shelf(usable);
        if let Some(slot) = self.shelves[index].used.pop_back() {
            self.contents[slot.slab.id].live += 1;
            self.shelves[index].taken();
            return Ok((slot, State::Used, Vec::new()));
        }
        let id = match self.shelves[index].open.first() {
            Some(&id) => id,
            None => self.grow(index)?,
        };
        let content = &mut self.contents[id];
        let clean = content.clean.pop();
        let state = if clean.is_some() { State::Clean } else { State::Bare };
        let place = clean.or_else(|| content.bare.pop()).map_or_else(
            || {
                content.untouched -= 1;
                content.untouched
            },
            |place| place as usize,
        );
        let slab = content.slab;
        let batch = (self.shelves[index].live / BATCH_SHARE).min(MAX_BATCH);
        let along = if in_batches && state == State::Bare && place == content.untouched {
            batch.min(content.untouched)
        } else {
            0
        };
        content.untouched -= along;
        content.live += 1 + along;
        if content.clean.is_empty() && content.bare.is_empty() && content.untouched == 0 {
            self.shelves[index].open.remove(&id);
        }
        self.shelves[index].live += along;
        self.shelves[index].taken();
        let slot = |place| Slot {
            slab,
            base: slab.at(place),
        };
        let along = (place - along..place).rev().map(slot).collect();
        Ok((slot(place), state, along))
    }

    /// Maps another slab; its id. Where there is no room for a large one, it is a smaller one.
    #[cold]
    fn grow(&mut self, shelf: usize) -> io::Result<usize> {
        let usable = self.shelves[shelf].usable;
        let most = (MAX_SLAB / (page_size() + usable)).max(1);
        let mut slots = self.shelves[shelf].slots.max(FIRST_SLOTS).min(most);
        let id = self.unmapped.pop().unwrap_or_else(|| {
            let id = self.contents.len();
            self.contents.push(Content {
                slab: Slab::place(id),
                shelf,
                slots: 0,
                live: 0,
                clean: Vec::new(),
                bare: Vec::new(),
                untouched: 0,
            });
            id
        });
        let content = &mut self.contents[id];
        while let Err(error) = content.slab.map(usable, slots) {
            if error.raw_os_error() != Some(libc::ENOMEM) || slots == 1 {
                self.unmapped.push(id);
                return Err(error);
            }
            slots /= 2;
        }
        (content.shelf, content.slots, content.untouched) = (shelf, slots, slots);
        self.shelves[shelf].slots += slots;
        self.shelves[shelf].open.insert(id);
        Ok(id)
    }

    pub(super) fn put_used(&mut self, slot: Slot) {
        let content = &mut self.contents[slot.slab.id];
        content.live -= 1;
        let shelf = &mut self.shelves[content.shelf];
        shelf.live -= 1;
        shelf.used.push_back(slot);
    }

    pub(super) fn put_clean(&mut self, slot: Slot) {
        self.put_back(slot, |content| &mut content.clean);
    }

    pub(super) fn put_bare(&mut self, slot: Slot) {
        self.put_back(slot, |content| &mut content.bare);
    }

    fn put_back(&mut self, slot: Slot, list: impl FnOnce(&mut Content) -> &mut Vec<u32>) {
        let content = &mut self.contents[slot.slab.id];
        content.live -= 1;
        let place = u32::try_from(slot.slab.index_of(slot.base)).expect("a slab has fewer slots");
        list(content).push(place);
        let shelf = &mut self.shelves[content.shelf];
        shelf.live -= 1;
        shelf.open.insert(slot.slab.id);
    }

    /// Takes the stacks out that have been idle for longest, as if they were in use.
    pub(super) fn borrow_oldest(&mut self, shelf: usize, count: usize) -> Vec<Slot> {
        let oldest: Vec<Slot> = self.shelves[shelf].used.drain(..count).collect();
        for slot in &oldest {
            self.contents[slot.slab.id].live += 1;
        }
        self.shelves[shelf].live += oldest.len();
        oldest
    }

    /// Unmaps what was not wanted since the last time; what is to be emptied is taken out.
    pub(super) fn trim(&mut self) -> Vec<Slot> {
        self.unmap_idle(|shelf| shelf.least_idle);
        let mut emptied = Vec::new();
        for index in 0..self.shelves.len() {
            let shelf = &self.shelves[index];
            let count = shelf.least_used.min(shelf.used.len());
            emptied.extend(self.borrow_oldest(index, count));
            let shelf = &mut self.shelves[index];
            shelf.least_used = shelf.used.len();
            // Those that were taken out come back.
            shelf.least_idle = shelf.slots - shelf.live + count;
        }
        emptied
    }

    /// Unmaps slabs of which nothing is in use, of each shelf no more slots than `bound` says; whether there were any.
    pub(super) fn unmap_idle(&mut self, bound: impl Fn(&Shelf) -> usize) -> bool {
        let mut left: Vec<usize> = self.shelves.iter().map(bound).collect();
        let mut any = false;
        for id in 0..self.contents.len() {
            let content = &mut self.contents[id];
            if content.slots == 0 || content.live > 0 || left[content.shelf] < content.slots {
                continue;
            }
            // SAFETY: none of its stacks is in use, and those on the shelf are taken off below, under the lock.
            if !unsafe { content.slab.unmap() } {
                continue;
            }
            any = true;
            if let Ok(kind) = GuardKind::chosen() {
                uncount_guards(kind, content.slots - content.untouched - content.bare.len());
            }
            left[content.shelf] -= content.slots;
            let shelf = &mut self.shelves[content.shelf];
            shelf.used.retain(|slot| slot.slab.id != id);
            shelf.open.remove(&id);
            shelf.slots -= content.slots;
            shelf.least_idle = shelf.least_idle.min(shelf.slots - shelf.live);
            shelf.least_used = shelf.least_used.min(shelf.used.len());
            (content.slots, content.untouched) = (0, 0);
            (content.clean, content.bare) = (Vec::new(), Vec::new());
            self.unmapped.push(id);
        }
        any
    }

    pub(super) fn is_trimmable(&self) -> bool {
        let has_used = self.shelves.iter().any(|shelf| !shelf.used.is_empty());
        has_used
            || self
                .contents
                .iter()
                .any(|content| content.slots > 0 && content.live == 0)
    }
}
