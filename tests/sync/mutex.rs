//! `Mutex`: mutual exclusion, time-outs, poisoning, fairness, and being cancelled.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kapok::sync::{MappedMutexGuard, Mutex, MutexGuard, PoisonError, TryLockError};
use kapok::{Cancelled, fiber, spawn, timeout};

use crate::support::{Random, run, run_on_one};
use crate::{FOREVER, SOON, on_all_numbers_of_workers, on_threads, yield_often};

/// A number that is not counted rightly without a lock around it.
struct Counter {
    mutex: Mutex<Cell<usize>>,
    inside: AtomicBool,
}

impl Counter {
    fn new() -> Arc<Counter> {
        Arc::new(Counter {
            mutex: Mutex::new(Cell::new(0)),
            inside: AtomicBool::new(false),
        })
    }

    /// Counts one, with the lock held over whatever `meanwhile` does.
    fn count(&self, meanwhile: impl FnOnce()) {
        let number = self.mutex.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(!self.inside.swap(true, Ordering::Relaxed), "two are inside");
        let value = number.get();
        // Also when it is unwound from there.
        let _leave = crate::support::OnDrop(|| {
            number.set(value + 1);
            self.inside.store(false, Ordering::Relaxed);
        });
        meanwhile();
    }

    fn is(&self) -> usize {
        self.mutex.lock().unwrap_or_else(PoisonError::into_inner).get()
    }
}

#[test]
fn one_at_a_time_among_fibers_threads_and_workers() {
    on_all_numbers_of_workers(|_| {
        let counter = Counter::new();
        let fibers: Vec<_> = (0..20)
            .map(|i| {
                let counter = Arc::clone(&counter);
                spawn(move || {
                    for round in 0..100 {
                        counter.count(|| {
                            if (round + i) % 5 == 0 {
                                fiber::yield_now();
                            }
                        });
                    }
                })
            })
            .collect();
        on_threads(3, |_| (0..500).for_each(|_| counter.count(|| ())));
        fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
        assert_eq!(counter.is(), 20 * 100 + 3 * 500);
    });
}

#[test]
fn on_a_plain_thread_without_a_runtime() {
    let counter = Counter::new();
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| (0..1000).for_each(|_| counter.count(|| ())));
        }
    });
    assert_eq!(counter.is(), 4000);
}

#[test]
fn cancelling_those_who_wait_loses_no_wake_up() {
    on_all_numbers_of_workers(|workers| {
        let counter = Counter::new();
        let (began, counted) = (AtomicUsize::new(0), AtomicUsize::new(0));
        fiber::scope(|s| {
            for seed in 0..40 {
                let (counter, began, counted) = (&counter, &began, &counted);
                s.spawn(move || {
                    let mut random = Random::new(seed ^ (workers as u64) << 32);
                    for _ in 0..60 {
                        let (patience, nap) = (random.micros_below(300), random.micros_below(100));
                        let kind = random.below(4);
                        let outcome = timeout(patience, || {
                            counter.count(|| {
                                began.fetch_add(1, Ordering::Relaxed);
                                match kind {
                                    0 => fiber::sleep(nap),
                                    1 => fiber::yield_now(),
                                    _ => {}
                                }
                            });
                        });
                        counted.fetch_add(usize::from(outcome.is_ok()), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(counter.is(), began.load(Ordering::Relaxed));
        assert!(counted.load(Ordering::Relaxed) > 0);
        assert!(counter.mutex.try_lock().is_ok() || counter.mutex.is_poisoned());
        counter.mutex.clear_poison();
        assert!(counter.mutex.try_lock().is_ok(), "nobody has it");
    });
}

#[test]
fn cancelling_by_handles_and_threads_loses_no_wake_up() {
    on_all_numbers_of_workers(|workers| {
        for seed in 0..20 {
            let counter = Counter::new();
            let mut random = Random::new(seed ^ (workers as u64) << 32);
            let mut fibers: Vec<_> = (0..30)
                .map(|_| {
                    let (counter, nap) = (Arc::clone(&counter), random.micros_below(50));
                    spawn(move || counter.count(|| fiber::sleep(nap)))
                })
                .collect();
            random.shuffle(&mut fibers);
            fiber::sleep(random.micros_below(300));
            for (i, fiber) in fibers.iter().enumerate() {
                match i % 3 {
                    0 => fiber.cancel(),
                    1 if i < 6 => on_threads(1, |_| fiber.cancel()),
                    _ => {}
                }
            }
            for (i, fiber) in fibers.into_iter().enumerate() {
                match fiber.join() {
                    Ok(()) => {}
                    Err(payload) => assert!(payload.is::<Cancelled>() && (i % 3 == 0 || i < 6)),
                }
            }
            counter.mutex.clear_poison();
            assert!(counter.mutex.try_lock().is_ok(), "nobody has it");
        }
    });
}

#[test]
fn who_was_passed_over_once_is_next() {
    run_on_one(|| {
        let mutex = Arc::new(Mutex::new(()));
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let guard = mutex.lock().unwrap();
        let waiter = {
            let (mutex, order) = (Arc::clone(&mutex), Arc::clone(&order));
            spawn(move || {
                let _guard = mutex.lock().unwrap();
                order.lock().unwrap().push("waiter");
            })
        };
        fiber::yield_now(); // it waits
        drop(guard); // it is called
        let guard = mutex.lock().unwrap(); // and passed over
        order.lock().unwrap().push("overtakes");
        fiber::yield_now(); // it finds that
        drop(guard); // and has it now
        assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)));
        let _guard = mutex.lock().unwrap();
        order.lock().unwrap().push("the same again");
        assert_eq!(*order.lock().unwrap(), ["overtakes", "waiter", "the same again"]);
        waiter.join().unwrap();
    });
}

/// One holds the lock over each wait and takes it again at once: the others come to it all the same.
#[test]
fn nobody_starves() {
    on_all_numbers_of_workers(|workers| {
        let mutex = Arc::new(Mutex::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let _stop = crate::support::OnDrop(|| stop.store(true, Ordering::Relaxed));
        let greedy: Vec<_> = (0..4)
            .map(|_| {
                let (mutex, stop) = (Arc::clone(&mutex), Arc::clone(&stop));
                spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let mut rounds = mutex.lock().unwrap();
                        *rounds += 1;
                        fiber::yield_now();
                    }
                })
            })
            .collect();
        for _ in 0..100 {
            let before = *mutex.lock().unwrap();
            let after = *mutex.lock().unwrap();
            // Between two turns of the same one each of the others has at most the one that comes in between, and
            // the one that it was handed. On several workers this thread may stand still in between.
            let overtaken = after - before;
            assert!(workers > 1 || overtaken <= 2 * 5, "{overtaken} others came first");
            fiber::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        greedy.into_iter().for_each(|fiber| fiber.join().unwrap());
    });
}

#[test]
fn a_timed_lock_gives_up() {
    run(|| {
        let mutex = Mutex::new(1);
        let guard = mutex.lock().unwrap();
        let begin = Instant::now();
        assert!(matches!(mutex.try_lock_for(SOON), Err(TryLockError::WouldBlock)));
        assert!(begin.elapsed() >= SOON);
        let passed = mutex.try_lock_until(begin);
        assert!(matches!(passed, Err(TryLockError::WouldBlock)));
        drop(guard);
        assert_eq!(*mutex.try_lock_for(Duration::ZERO).unwrap(), 1);
        assert_eq!(*mutex.try_lock_until(begin).unwrap(), 1);
        assert_eq!(*mutex.try_lock_for(Duration::MAX).unwrap(), 1);
    });
}

#[test]
fn a_timed_lock_gets_it_in_time() {
    run(|| {
        let mutex = Arc::new(Mutex::new(1));
        let guard = mutex.lock().unwrap();
        let theirs = Arc::clone(&mutex);
        let waiter = spawn(move || *theirs.try_lock_for(FOREVER).unwrap());
        yield_often();
        drop(guard);
        assert_eq!(waiter.join().unwrap(), 1);
    });
}

#[test]
fn a_panic_poisons_and_what_std_says_of_it() {
    run(|| {
        let mutex = Arc::new(Mutex::new(1));
        assert_eq!(format!("{mutex:?}"), "Mutex { data: 1, poisoned: false, .. }");
        let theirs = Arc::clone(&mutex);
        let fiber = spawn(move || {
            let mut guard = theirs.lock().unwrap();
            *guard = 2;
            panic!("while it is held");
        });
        assert!(fiber.join().is_err());
        assert!(mutex.is_poisoned());
        assert_eq!(format!("{mutex:?}"), "Mutex { data: 2, poisoned: true, .. }");
        assert_eq!(**mutex.lock().unwrap_err().get_ref(), 2);
        assert!(matches!(mutex.try_lock(), Err(TryLockError::Poisoned(_))));
        assert!(mutex.get_cloned().is_err());
        assert_eq!(mutex.set(5).unwrap_err().into_inner(), 5);
        mutex.clear_poison();
        let guard = mutex.lock().unwrap();
        assert_eq!(
            format!("{mutex:?} {guard:?} {guard}"),
            "Mutex { data: <locked>, poisoned: false, .. } 2 2"
        );
        drop(guard);
        assert_eq!(mutex.replace(3).unwrap(), 2);
        assert_eq!(Arc::into_inner(mutex).unwrap().into_inner().unwrap(), 3);
    });
}

#[test]
fn a_cancelled_holder_poisons() {
    run_on_one(|| {
        let mutex = Arc::new(Mutex::new(1));
        let theirs = Arc::clone(&mutex);
        let fiber = spawn(move || {
            let _guard = theirs.lock().unwrap();
            fiber::park();
        });
        fiber::yield_now();
        fiber.cancel();
        assert!(fiber.join().unwrap_err().is::<Cancelled>());
        assert!(mutex.is_poisoned());
    });
}

/// A destructor takes a lock that a fiber of this thread does not have, and leaves it unpoisoned.
#[test]
fn taken_and_left_while_panicking_is_not_poisoned() {
    run(|| {
        let mutex = Mutex::new(0);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let _on_drop = crate::support::OnDrop(|| *mutex.lock().unwrap() += 1);
            panic!("and now the destructor");
        }));
        assert!(outcome.is_err());
        assert_eq!(*mutex.lock().unwrap(), 1);
    });
}

/// While the thread is panicking a wait blocks it, until somebody on another thread unlocks.
#[test]
fn a_wait_while_panicking_blocks_the_thread() {
    run_on_one(|| {
        let mutex = Arc::new(Mutex::new(0));
        let (locked, is_locked) = std::sync::mpsc::channel();
        let theirs = Arc::clone(&mutex);
        let holder = std::thread::spawn(move || {
            let mut guard = theirs.lock().unwrap();
            locked.send(()).unwrap();
            std::thread::sleep(Duration::from_millis(20));
            *guard = 1;
        });
        is_locked.recv().unwrap();
        let other = spawn(|| ());
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let _on_drop = crate::support::OnDrop(|| assert_eq!(*mutex.lock().unwrap(), 1));
            panic!("and now the destructor");
        }));
        assert!(outcome.is_err());
        assert!(!other.is_finished(), "no other fiber has run");
        holder.join().unwrap();
    });
}

#[test]
fn mapped_guards() {
    let mutex = Mutex::new((1, [2, 3]));
    let guard = MutexGuard::map(mutex.lock().unwrap(), |pair| &mut pair.1);
    let guard = MappedMutexGuard::filter_map(guard, |array| array.get_mut(5)).unwrap_err();
    let mut guard = MappedMutexGuard::map(guard, |array| &mut array[0]);
    *guard = 7;
    assert!(mutex.try_lock().is_err());
    drop(guard);
    let guard = MutexGuard::filter_map(mutex.lock().unwrap(), |_| None::<&mut i32>).unwrap_err();
    assert_eq!(*guard, (1, [7, 3]));
}

#[test]
fn what_is_not_sized() {
    let mutex: Arc<Mutex<[i32]>> = Arc::new(Mutex::new([1, 2, 3]));
    mutex.lock().unwrap()[1] = 5;
    assert_eq!(&*mutex.lock().unwrap(), &[1, 5, 3]);
}
