//! `RwLock`, `Semaphore` and `Event`.

use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::time::Duration;

use kapok::sync::{
    AcquireError, Event, MappedRwLockReadGuard, MappedRwLockWriteGuard, PoisonError, RwLock, RwLockReadGuard,
    RwLockWriteGuard, Semaphore, TryLockError,
};
use kapok::{Cancelled, fiber, no_suspend, spawn, timeout};

use crate::support::{OnDrop, Random, panics, run, run_on_one, says};
use crate::{FOREVER, SOON, on_all_numbers_of_workers, on_threads, yield_often};

/// Readers are counted upwards, a writer is -1.
#[derive(Default)]
struct Room {
    lock: RwLock<()>,
    inside: AtomicIsize,
}

impl Room {
    fn read(&self, meanwhile: impl FnOnce()) {
        let _guard = self.lock.read().unwrap_or_else(PoisonError::into_inner);
        assert!(self.inside.fetch_add(1, Ordering::SeqCst) >= 0, "somebody writes");
        let _leave = OnDrop(|| _ = self.inside.fetch_sub(1, Ordering::SeqCst));
        meanwhile();
    }

    fn write(&self, meanwhile: impl FnOnce()) {
        let _guard = self.lock.write().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(self.inside.swap(-1, Ordering::SeqCst), 0, "somebody is inside");
        let _leave = OnDrop(|| self.inside.store(0, Ordering::SeqCst));
        meanwhile();
    }

    fn downgrade(&self) {
        let guard = self.lock.write().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(self.inside.swap(1, Ordering::SeqCst), 0, "somebody is inside");
        let _guard = RwLockWriteGuard::downgrade(guard);
        let _leave = OnDrop(|| _ = self.inside.fetch_sub(1, Ordering::SeqCst));
        fiber::yield_now();
    }

    fn is_free(&self) {
        self.lock.clear_poison();
        assert!(self.lock.try_write().is_ok(), "nobody has it");
    }
}

fn visit(room: &Room, random: &mut Random) {
    let nap = random.micros_below(60);
    match random.below(6) {
        0 => room.write(|| fiber::sleep(nap)),
        1 => room.write(|| ()),
        2 => room.downgrade(),
        3 => room.read(|| fiber::sleep(nap)),
        _ => room.read(fiber::yield_now),
    }
}

#[test]
fn readers_together_or_one_writer() {
    on_all_numbers_of_workers(|workers| {
        let room = Room::default();
        fiber::scope(|s| {
            for seed in 0..20 {
                let room = &room;
                s.spawn(move || {
                    let mut random = Random::new(seed ^ (workers as u64) << 32);
                    (0..60).for_each(|_| visit(room, &mut random));
                });
            }
            on_threads(3, |i| {
                for round in 0..200 {
                    if (round + i) % 3 == 0 {
                        room.write(|| ());
                    } else {
                        room.read(|| ());
                    }
                }
            });
        });
        room.is_free();
    });
}

#[test]
fn cancelling_loses_no_turn() {
    on_all_numbers_of_workers(|workers| {
        let room = Room::default();
        fiber::scope(|s| {
            for seed in 0..30 {
                let room = &room;
                s.spawn(move || {
                    let mut random = Random::new(seed ^ (workers as u64) << 32);
                    for _ in 0..50 {
                        let patience = random.micros_below(300);
                        _ = timeout(patience, || visit(room, &mut random));
                    }
                });
            }
        });
        room.is_free();
    });
}

/// Readers come all the time and overlap; a writer waits. It has its turn before those who came after it.
#[test]
fn neither_side_starves() {
    run_on_one(|| {
        let lock = Arc::new(RwLock::new(0));
        let (one, two) = (lock.read().unwrap(), lock.read().unwrap());
        let theirs = Arc::clone(&lock);
        let writer = spawn(move || *theirs.write().unwrap() += 1);
        fiber::yield_now();
        assert!(matches!(lock.try_read(), Err(TryLockError::WouldBlock)));
        let theirs = Arc::clone(&lock);
        let late = spawn(move || *theirs.read().unwrap());
        let theirs = Arc::clone(&lock);
        let later = spawn(move || *theirs.write().unwrap() += 10);
        let theirs = Arc::clone(&lock);
        let last = spawn(move || *theirs.read().unwrap());
        fiber::yield_now();
        drop((one, two));
        writer.join().unwrap();
        assert_eq!(late.join().unwrap(), 1);
        later.join().unwrap();
        assert_eq!(last.join().unwrap(), 11);
    });
}

#[test]
fn a_writer_that_gives_up_lets_the_readers_behind_it_in() {
    run_on_one(|| {
        let lock = Arc::new(RwLock::new(0));
        let guard = lock.read().unwrap();
        let theirs = Arc::clone(&lock);
        let writer = spawn(move || drop(theirs.write()));
        fiber::yield_now();
        let theirs = Arc::clone(&lock);
        let reader = spawn(move || *theirs.read().unwrap());
        fiber::yield_now();
        writer.cancel();
        assert_eq!(reader.join().unwrap(), 0);
        assert!(writer.join().unwrap_err().is::<Cancelled>());
        let theirs = Arc::clone(&lock);
        let patient = spawn(move || theirs.try_write_for(SOON).is_err());
        fiber::yield_now();
        assert_eq!(*lock.try_read_for(FOREVER).unwrap(), 0);
        assert!(patient.join().unwrap());
        drop(guard);
        assert!(lock.try_write_until(std::time::Instant::now()).is_ok());
    });
}

#[test]
fn a_writer_poisons_and_a_reader_does_not() {
    run(|| {
        let mut lock = RwLock::new(1);
        panics(|| {
            let _guard = lock.read().unwrap();
            panic!("while reading");
        });
        assert_eq!(format!("{lock:?}"), "RwLock { data: 1, poisoned: false, .. }");
        panics(|| {
            let _guard = lock.write().unwrap();
            panic!("while writing");
        });
        assert!(lock.read().is_err() && lock.write().is_err() && lock.get_mut().is_err());
        lock.clear_poison();
        let guard = lock.write().unwrap();
        assert_eq!(
            format!("{lock:?} {guard:?}"),
            "RwLock { data: <locked>, poisoned: false, .. } 1"
        );
        says(&panics(|| no_suspend(|| drop(lock.read()))), &["no_suspend"]);
        drop(guard);
        assert_eq!(*lock.try_write().unwrap(), 1, "the refused one has left nothing");
        assert_eq!(no_suspend(|| lock.replace(2).unwrap()), 1);
    });
}

#[test]
fn mapped_guards() {
    let lock = RwLock::new((1, [2, 3]));
    let guard = RwLockReadGuard::map(lock.read().unwrap(), |pair| &pair.1);
    let guard = MappedRwLockReadGuard::map(guard, |array| &array[0]);
    assert!(*guard == 2 && lock.try_read().is_ok() && lock.try_write().is_err());
    drop(guard);
    let guard = RwLockWriteGuard::map(lock.write().unwrap(), |pair| &mut pair.1);
    let mut guard = MappedRwLockWriteGuard::filter_map(guard, |array| array.get_mut(1)).unwrap();
    *guard = 9;
    assert!(lock.try_read().is_err());
    drop(guard);
    assert_eq!(lock.into_inner().unwrap(), (1, [2, 9]));
}

#[test]
fn no_more_than_there_are_permits() {
    on_all_numbers_of_workers(|workers| {
        const PERMITS: usize = 5;
        let (semaphore, out) = (Semaphore::new(PERMITS), AtomicUsize::new(0));
        let hold = |n: usize, meanwhile: &dyn Fn()| {
            let _permit = semaphore.acquire_many(n).unwrap();
            assert!(out.fetch_add(n, Ordering::SeqCst) + n <= PERMITS);
            let _leave = OnDrop(|| _ = out.fetch_sub(n, Ordering::SeqCst));
            meanwhile();
        };
        fiber::scope(|s| {
            for seed in 0..30 {
                let hold = &hold;
                s.spawn(move || {
                    let mut random = Random::new(seed ^ (workers as u64) << 32);
                    for _ in 0..50 {
                        let (n, nap) = (1 + random.below(PERMITS), random.micros_below(50));
                        _ = timeout(random.micros_below(400), || hold(n, &|| fiber::sleep(nap)));
                    }
                });
            }
            on_threads(2, |i| (0..100).for_each(|_| hold(1 + i, &|| ())));
        });
        assert_eq!(semaphore.available(), PERMITS, "none is lost, and none is new");
    });
}

#[test]
fn permits_go_in_order_and_end() {
    run_on_one(|| {
        let semaphore = Arc::new(Semaphore::new(3));
        let one = semaphore.acquire().unwrap();
        let theirs = Arc::clone(&semaphore);
        let many = spawn(move || theirs.acquire_many(3).map(|permit| permit.forget()));
        fiber::yield_now();
        assert_eq!(
            semaphore.try_acquire(1).unwrap_err(),
            AcquireError::NoPermits,
            "somebody waits"
        );
        assert_eq!(semaphore.try_acquire_for(1, SOON).unwrap_err(), AcquireError::NoPermits);
        says(&panics(|| no_suspend(|| drop(semaphore.acquire()))), &["no_suspend"]);
        drop(one);
        assert_eq!(many.join().unwrap(), Ok(()));
        assert_eq!(semaphore.available(), 0);
        semaphore.add(2);
        assert_eq!(format!("{semaphore:?}"), "Semaphore { available: 2, .. }");
        drop(semaphore.try_acquire(2).unwrap());
        let theirs = Arc::clone(&semaphore);
        let waits = spawn(move || theirs.acquire_many(9).map(drop));
        fiber::yield_now();
        semaphore.close();
        assert_eq!(waits.join().unwrap(), Err(AcquireError::Closed));
        assert_eq!(semaphore.acquire().unwrap_err(), AcquireError::Closed);
        assert!(semaphore.is_closed());
        says(&panics(|| semaphore.add(usize::MAX)), &["usize"]);
    });
}

#[test]
fn an_event_lets_all_go() {
    on_all_numbers_of_workers(|_| {
        let (event, after) = (Event::new(), AtomicUsize::new(0));
        assert!(!event.wait_timeout(SOON) && !event.wait_timeout(Duration::ZERO));
        fiber::scope(|s| {
            for _ in 0..10 {
                s.spawn(|| {
                    event.wait();
                    assert_eq!(after.load(Ordering::Relaxed), 1);
                });
                s.spawn(|| _ = timeout(SOON / 10, || event.wait()));
            }
            s.spawn(|| on_threads(2, |_| event.wait()));
            yield_often();
            after.store(1, Ordering::Relaxed);
            on_threads(1, |_| event.set());
        });
        assert!(event.wait_timeout(Duration::ZERO));
        no_suspend(|| event.wait());
        event.reset();
        assert!(!event.is_set());
        says(&panics(|| no_suspend(|| event.wait())), &["no_suspend"]);
    });
}
