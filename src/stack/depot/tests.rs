use std::collections::BTreeSet;

use super::super::guard::cannot_be_read;
use super::*;
use crate::sys::page_size;

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
    // Where addresses have 32 bits slabs are smaller.
    let few = if usize::BITS >= 64 { 12 } else { 30 };
    assert!(slabs.len() < few, "{slabs:?}");
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
    assert!(shelf_has(usable).2 <= MAX_USED + EXCESS);
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
