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
//! given back within the same bound. Workers call [`trim`] when they have nothing to do. So that memory does not pile up until
//! then, no shelf keeps more than [`MAX_USED`] stacks with pages.

use std::cell::UnsafeCell;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use super::cgroup;
use super::guard::GuardKind;
use super::limit::{Step, explain, most_guards};
use super::map;
use super::slab::Slab;
use crate::sys::page_size;

/// How many idle stacks of one size keep their memory until the next trimming.
const MAX_USED: usize = 1024;

/// How long something has to idle before it is given back, at least.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

/// The slots of a shelf's first slab. Each further slab has as many as the shelf has already, so there are few of them.
const FIRST_SLOTS: usize = 32;

/// The most address space that is asked for at a time.
const MAX_SLAB: usize = if usize::BITS >= 64 { 1 << 30 } else { 8 << 20 };

/// A place for a stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) slab: &'static Slab,
    /// The lowest byte of the guard.
    pub(super) base: NonNull<u8>,
}

// SAFETY: it is a place in a mapping, and belongs to whoever has it.
unsafe impl Send for Slot {}

/// What a slot has that is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A guard, and pages.
    Used,
    /// A guard.
    Clean,
    Bare,
}

/// What lies idle in one slab; the slots that have pages are in the shelf's list.
#[derive(Debug)]
struct Content {
    slab: &'static Slab,
    shelf: usize,
    slots: usize,
    /// In use.
    live: usize,
    clean: Vec<u32>,
    bare: Vec<u32>,
    /// Those below were never handed out: the highest goes first, so that what comes later lies below.
    untouched: usize,
}

/// The slabs of one size.
#[derive(Debug)]
struct Shelf {
    usable: usize,
    slots: usize,
    live: usize,
    /// Slabs that have clean or bare slots, or untouched ones.
    open: BTreeSet<usize>,
    used: VecDeque<Slot>,
    /// The least that there were since the last trimming, of `used` and of all that are not live.
    least_used: usize,
    least_idle: usize,
}

#[derive(Debug)]
struct Depot {
    /// By the slab's id. `slots` is 0 where it is not mapped.
    contents: Vec<Content>,
    unmapped: Vec<usize>,
    shelves: Vec<Shelf>,
    trimmed: Option<Instant>,
    returns: u32,
}

static DEPOT: Mutex<Depot> = Mutex::new(Depot {
    contents: Vec::new(),
    unmapped: Vec::new(),
    shelves: Vec::new(),
    trimmed: None,
    returns: 0,
});

/// Whether there is anything that trimming could give back, now or later.
static TRIMMABLE: AtomicBool = AtomicBool::new(false);

fn lock() -> MutexGuard<'static, Depot> {
    // A panic for want of memory may leave a slot out of all lists, which is lost then.
    DEPOT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a stack of that many usable bytes, a whole size class, with its guard.
pub(super) fn take(usable: usize) -> io::Result<Slot> {
    static WATCHES_FORKS: Once = Once::new();
    WATCHES_FORKS.call_once(fork::watch);
    let kind = GuardKind::chosen()?;
    match try_take(usable, kind) {
        // What lies idle may be what is missing.
        Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && give_back_idle_slabs() => try_take(usable, kind),
        Err(refused) if refused.step == Step::Memory => {
            give_back_all_but(0);
            try_take(usable, kind)
        }
        result => result,
    }
    .map_err(|refused| explain(&refused.error, page_size() + usable, refused.step))
}

struct Refused {
    error: io::Error,
    step: Step,
}

impl Refused {
    fn raw_os_error(&self) -> Option<i32> {
        self.error.raw_os_error()
    }
}

fn try_take(usable: usize, kind: GuardKind) -> Result<Slot, Refused> {
    let (slot, state) = lock()
        .take(usable)
        .map_err(|error| Refused { error, step: Step::Map })?;
    if state != State::Used {
        if let Err(exhausted) = cgroup::check() {
            let mut depot = lock();
            match state {
                State::Bare => depot.put_bare(slot),
                State::Clean | State::Used => depot.put_clean(slot),
            }
            return Err(Refused {
                error: io::Error::new(io::ErrorKind::OutOfMemory, exhausted.to_string()),
                step: Step::Memory,
            });
        }
    }
    if state == State::Bare {
        // Without the lock: it is a system call. Nobody else knows of the slot.
        // SAFETY: a page of a slot that was just handed to us.
        let installed = count_guard(kind).and_then(|()| unsafe { kind.install(slot.base) });
        if let Err(error) = installed {
            uncount_guards(kind, 1);
            lock().put_bare(slot);
            return Err(Refused {
                error,
                step: Step::Guard(kind),
            });
        }
    }
    Ok(slot)
}

/// Guards that have mappings of their own, those that are being made included.
static GUARDS_WITH_MAPPINGS: AtomicUsize = AtomicUsize::new(0);

/// Refuses a guard as the system would, but while there are mappings left for others.
fn count_guard(kind: GuardKind) -> io::Result<()> {
    if kind == GuardKind::Mprotect {
        let count = GUARDS_WITH_MAPPINGS.fetch_add(1, Ordering::Relaxed);
        if most_guards().is_some_and(|most| count >= most) {
            return Err(io::Error::from_raw_os_error(libc::ENOMEM));
        }
    }
    Ok(())
}

fn uncount_guards(kind: GuardKind, count: usize) {
    if kind == GuardKind::Mprotect {
        GUARDS_WITH_MAPPINGS.fetch_sub(count, Ordering::Relaxed);
    }
}

/// Takes a stack back that nobody uses any more.
pub(super) fn put(slot: Slot) {
    let mut depot = lock();
    depot.put_used(slot);
    TRIMMABLE.store(true, Ordering::Relaxed);
    let shelf = depot.contents[slot.slab.id].shelf;
    let excess = depot.shelves[shelf].used.len() > MAX_USED;
    let oldest = if excess {
        depot.borrow_oldest(shelf, 1)
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

/// Gives back what has not been wanted for an interval. Says when to come again, if there may be more.
pub(crate) fn trim(now: Instant) -> Option<Duration> {
    if !TRIMMABLE.load(Ordering::Relaxed) {
        return None;
    }
    let mut depot = lock();
    let since = *depot.trimmed.get_or_insert(now);
    let left = INTERVAL.saturating_sub(now.saturating_duration_since(since));
    if !left.is_zero() {
        return Some(left);
    }
    depot.trimmed = Some(now);
    let emptied = depot.trim();
    let more = depot.is_trimmable();
    if !more {
        depot.trimmed = None;
        TRIMMABLE.store(false, Ordering::Relaxed);
    }
    drop(depot);
    give_back_emptied(emptied);
    more.then_some(INTERVAL)
}

/// How many stacks of a size keep their memory when there is no worker left.
const KEPT: usize = 32;

/// Counts the workers of the process: where the last one leaves, nobody will trim any more.
#[derive(Debug)]
pub(crate) struct Counted(());

static WORKERS: AtomicUsize = AtomicUsize::new(0);

impl Counted {
    pub(crate) fn new() -> Counted {
        WORKERS.fetch_add(1, Ordering::Relaxed);
        Counted(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // Each has put its stacks back before; the depot's lock orders that.
        if WORKERS.fetch_sub(1, Ordering::AcqRel) == 1 {
            give_back_all_but(KEPT);
        }
    }
}

/// Empties idle stacks, of each size all but so many.
fn give_back_all_but(kept: usize) {
    let mut depot = lock();
    let mut emptied = Vec::new();
    for index in 0..depot.shelves.len() {
        let count = depot.shelves[index].used.len().saturating_sub(kept);
        emptied.extend(depot.borrow_oldest(index, count));
    }
    drop(depot);
    give_back_emptied(emptied);
}

/// Empties slots that were borrowed for it, and makes them clean.
fn give_back_emptied(borrowed: Vec<Slot>) {
    if borrowed.is_empty() {
        return;
    }
    for slot in &borrowed {
        // SAFETY: above the guard within the slot.
        let stack = unsafe { slot.base.add(page_size()) };
        // SAFETY: a stack that nobody uses, and that nobody can take meanwhile, because it counts as live.
        unsafe { map::empty(stack, slot.slab.usable()) };
    }
    let mut depot = lock();
    for slot in borrowed {
        depot.put_clean(slot);
    }
}

/// Unmaps slabs of which nothing is used; whether there were any.
fn give_back_idle_slabs() -> bool {
    lock().unmap_idle(|_| usize::MAX)
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

impl Shelf {
    fn taken(&mut self) {
        self.live += 1;
        self.least_used = self.least_used.min(self.used.len());
        self.least_idle = self.least_idle.min(self.slots - self.live);
    }
}

impl Depot {
    fn shelf(&mut self, usable: usize) -> usize {
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

    /// A slot, and what it has.
    fn take(&mut self, usable: usize) -> io::Result<(Slot, State)> {
        let index = self.shelf(usable);
        if let Some(slot) = self.shelves[index].used.pop_back() {
            self.contents[slot.slab.id].live += 1;
            self.shelves[index].taken();
            return Ok((slot, State::Used));
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
        content.live += 1;
        if content.clean.is_empty() && content.bare.is_empty() && content.untouched == 0 {
            self.shelves[index].open.remove(&id);
        }
        self.shelves[index].taken();
        let base = slab.at(place);
        Ok((Slot { slab, base }, state))
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

    fn put_used(&mut self, slot: Slot) {
        let content = &mut self.contents[slot.slab.id];
        content.live -= 1;
        let shelf = &mut self.shelves[content.shelf];
        shelf.live -= 1;
        shelf.used.push_back(slot);
    }

    fn put_clean(&mut self, slot: Slot) {
        self.put_back(slot, |content| &mut content.clean);
    }

    fn put_bare(&mut self, slot: Slot) {
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
    fn borrow_oldest(&mut self, shelf: usize, count: usize) -> Vec<Slot> {
        let oldest: Vec<Slot> = self.shelves[shelf].used.drain(..count).collect();
        for slot in &oldest {
            self.contents[slot.slab.id].live += 1;
        }
        self.shelves[shelf].live += oldest.len();
        oldest
    }

    /// Unmaps what was not wanted since the last time; what is to be emptied is taken out.
    fn trim(&mut self) -> Vec<Slot> {
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
    fn unmap_idle(&mut self, bound: impl Fn(&Shelf) -> usize) -> bool {
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

    fn is_trimmable(&self) -> bool {
        let has_used = self.shelves.iter().any(|shelf| !shelf.used.is_empty());
        has_used
            || self
                .contents
                .iter()
                .any(|content| content.slots > 0 && content.live == 0)
    }
}

/// A child process gets the depot as no other thread is changing it.
mod fork {
    use super::{DEPOT, Depot, MutexGuard, PoisonError, UnsafeCell};

    /// The lock, while the process is forked.
    ///
    /// # Invariant
    /// Touched only by the thread that holds the lock.
    struct Held(UnsafeCell<Option<MutexGuard<'static, Depot>>>);

    // SAFETY: the invariant.
    unsafe impl Sync for Held {}

    static HELD: Held = Held(UnsafeCell::new(None));

    pub(super) fn watch() {
        // SAFETY: the handlers do as they are asked to. For want of memory they are not registered: no fork is likely then.
        unsafe { libc::pthread_atfork(Some(before), Some(after), Some(after)) };
    }

    extern "C" fn before() {
        let guard = DEPOT.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: this thread has the lock.
        unsafe { *HELD.0.get() = Some(guard) };
    }

    /// In the parent and in the child: on the thread, or its copy, that has taken the lock.
    extern "C" fn after() {
        // SAFETY: this thread has the lock.
        let guard = unsafe { (*HELD.0.get()).take() };
        drop(guard);
    }
}

#[cfg(test)]
mod tests {
    use super::super::guard::cannot_be_read;
    use super::*;

    /// Trims as if so many intervals had passed since `begin`.
    fn trim_after(begin: Instant, intervals: u32) {
        _ = trim(begin + 2 * INTERVAL * intervals);
    }

    fn shelf_has(usable: usize) -> (usize, usize, usize) {
        let mut depot = lock();
        let index = depot.shelf(usable);
        let shelf = &depot.shelves[index];
        (shelf.slots, shelf.live, shelf.used.len())
    }

    fn last_byte(slot: &Slot) -> NonNull<u8> {
        // SAFETY: within the slot.
        unsafe { slot.base.add(page_size() + slot.slab.usable() - 1) }
    }

    fn touch(slot: &Slot) {
        // SAFETY: the slot is ours, and so writable.
        unsafe { last_byte(slot).write(1) };
    }

    // Each test has sizes of its own, for the depot is everybody's.
    #[test]
    fn last_one_that_came_back_goes_first() {
        let usable = 1021 * page_size();
        let (first, second) = (take(usable).unwrap(), take(usable).unwrap());
        assert!(first.base > second.base, "what comes later lies below");
        assert_ne!(first.base, second.base);
        put(first);
        put(second);
        assert_eq!(take(usable).unwrap().base, second.base);
        assert_eq!(take(usable).unwrap().base, first.base);
        put(first);
        put(second);
    }

    #[test]
    fn thousands_share_a_few_slabs_and_each_has_its_guard() {
        let usable = 5 * page_size();
        let slots: Vec<Slot> = (0..5_000).map(|_| take(usable).unwrap()).collect();
        let slabs: BTreeSet<usize> = slots.iter().map(|slot| slot.slab.id).collect();
        assert!(slabs.len() < 12, "{slabs:?}");
        for slot in &slots {
            assert!(cannot_be_read(slot.base));
            touch(slot);
            let above = super::super::slab::guard_at(slot.base.addr().get() + page_size());
            assert_eq!(above, None, "only the lowest page is the guard");
            let hit = super::super::slab::guard_at(slot.base.addr().get() + 1).unwrap();
            assert_eq!((hit.guard, hit.usable), (slot.base.addr().get(), usable));
        }
        let mut bases: Vec<usize> = slots.iter().map(|slot| slot.base.addr().get()).collect();
        bases.sort_unstable();
        assert!(bases.windows(2).all(|pair| pair[1] - pair[0] >= usable + page_size()));
        slots.into_iter().for_each(put);
        assert!(shelf_has(usable).2 <= MAX_USED);
    }

    #[test]
    fn what_idles_is_given_back_and_what_is_in_use_is_not() {
        let usable = 1019 * page_size();
        let slots: Vec<Slot> = (0..200).map(|_| take(usable).unwrap()).collect();
        slots.iter().for_each(touch);
        let (kept, idle) = slots.split_first().unwrap();
        idle.iter().copied().for_each(put);
        let begin = Instant::now();
        let mut intervals = 0;
        // Others trim, too, and each time begins an interval.
        while shelf_has(usable).2 > 0 || shelf_has(usable).0 > 64 {
            intervals += 1;
            assert!(intervals < 100, "{:?}", shelf_has(usable));
            trim_after(begin, intervals);
        }
        assert_eq!(shelf_has(usable).1, 1);
        // SAFETY: of a slot that is in use, and was written.
        let byte = unsafe { last_byte(kept).read() };
        assert_eq!(byte, 1, "nobody touched it");
        // What was emptied still has its guard.
        let again: Vec<Slot> = (0..100).map(|_| take(usable).unwrap()).collect();
        assert!(again.iter().all(|slot| cannot_be_read(slot.base)));
        again.into_iter().for_each(put);
        put(*kept);
    }

    #[test]
    fn child_process_finds_the_depot_usable() {
        let usable = 1013 * page_size();
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let churns = {
            let stop = std::sync::Arc::clone(&stop);
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    put(take(usable).unwrap());
                }
            })
        };
        let ours = take(usable).unwrap();
        for _ in 0..50 {
            let _forking = crate::sys::forks::forking();
            // SAFETY: the child calls nothing that another thread's lock could hold up, and ends without unwinding.
            let child = unsafe { libc::fork() };
            assert_ne!(child, -1);
            if child == 0 {
                // SAFETY: a call without pointers; should the lock be held by a thread that is gone, it ends the child.
                unsafe { libc::alarm(60) };
                let slot = take(usable);
                let works = slot.is_ok_and(|slot| {
                    touch(&slot);
                    let guarded = cannot_be_read(slot.base) && cannot_be_read(ours.base);
                    put(slot);
                    guarded
                });
                // SAFETY: ends the child.
                unsafe { libc::_exit(i32::from(!works)) };
            }
            let mut status = 0;
            // SAFETY: our child, and a place for its status.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 0);
        }
        stop.store(true, Ordering::Relaxed);
        churns.join().unwrap();
        put(ours);
    }
}
