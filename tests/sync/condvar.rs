//! `Condvar` and `Barrier`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kapok::sync::{Barrier, Condvar, Mutex, PoisonError};
use kapok::{Cancelled, fiber, spawn, timeout};

use crate::support::{Random, run, run_on_one};
use crate::{FOREVER, SOON, on_all_numbers_of_workers, on_threads, yield_often};

/// What is handed from one side to the other under a lock.
#[derive(Default)]
struct Shelf {
    items: Mutex<VecDeque<usize>>,
    filled: Condvar,
}

impl Shelf {
    fn put(&self, item: usize) {
        self.items
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(item);
        self.filled.notify_one();
    }

    fn take(&self) -> usize {
        let items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        let mut items = self
            .filled
            .wait_while(items, |items| items.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        items.pop_front().expect("it is not empty")
    }
}

#[test]
fn one_notification_for_each_item_is_enough() {
    on_all_numbers_of_workers(|_| {
        let shelf = Arc::new(Shelf::default());
        let takers: Vec<_> = (0..10)
            .map(|_| {
                let shelf = Arc::clone(&shelf);
                spawn(move || (0..60).map(|_| shelf.take()).sum::<usize>())
            })
            .collect();
        on_threads(3, |_| (0..100).for_each(|item| shelf.put(item)));
        for item in 0..300 {
            shelf.put(item);
        }
        let sum: usize = takers.into_iter().map(|taker| taker.join().unwrap()).sum();
        assert_eq!(sum, 3 * (99 * 100 / 2) + 299 * 300 / 2);
    });
}

/// One notification for each item, and those who wait give up at random: whoever stays gets the rest.
#[test]
fn cancelling_loses_no_notification() {
    on_all_numbers_of_workers(|workers| {
        const ITEMS: usize = 600;
        let shelf = Shelf::default();
        let taken = AtomicUsize::new(0);
        fiber::scope(|s| {
            for seed in 0..20 {
                let (shelf, taken) = (&shelf, &taken);
                s.spawn(move || {
                    let mut random = Random::new(seed ^ (workers as u64) << 32);
                    for _ in 0..40 {
                        if timeout(random.micros_below(200), || shelf.take()).is_ok() {
                            taken.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
            s.spawn(|| {
                for item in 0..ITEMS {
                    shelf.put(item);
                    if item % 7 == 0 {
                        fiber::sleep(Duration::from_micros(50));
                    }
                }
            });
        });
        // A value may come late, and is dropped with the time-out then: only what was not taken is still there.
        let left = shelf.items.lock().unwrap_or_else(PoisonError::into_inner).len();
        assert_eq!(taken.load(Ordering::Relaxed) + left, ITEMS);
        // Nobody who is not there any more is notified in the place of somebody who is.
        fiber::scope(|s| {
            let fibers: Vec<_> = (0..left + 5).map(|_| s.spawn(|| shelf.take())).collect();
            yield_often();
            (0..5).for_each(|item| shelf.put(item));
            fibers.into_iter().for_each(|fiber| _ = fiber.join().unwrap());
        });
    });
}

#[test]
fn who_is_cancelled_while_it_takes_the_lock_again_passes_it_on() {
    run_on_one(|| {
        let shelf = Arc::new(Shelf::default());
        let take = || {
            let shelf = Arc::clone(&shelf);
            let fiber = spawn(move || shelf.take());
            fiber::yield_now();
            fiber
        };
        let (first, second) = (take(), take());
        shelf.put(3);
        let guard = shelf.items.lock().unwrap();
        fiber::yield_now(); // the first waits for the lock now
        first.cancel();
        fiber::yield_now();
        drop(guard);
        assert_eq!(second.join().unwrap(), 3);
        assert!(first.join().unwrap_err().is::<Cancelled>());
        assert!(!shelf.items.is_poisoned(), "it did not have the lock");
    });
}

#[test]
fn notify_all_reaches_all() {
    on_all_numbers_of_workers(|_| {
        let (go, changed) = (Mutex::new(false), Condvar::new());
        fiber::scope(|s| {
            for _ in 0..50 {
                s.spawn(|| drop(changed.wait_while(go.lock().unwrap(), |go| !*go).unwrap()));
            }
            yield_often();
            *go.lock().unwrap() = true;
            changed.notify_all();
        });
    });
}

#[test]
fn time_outs() {
    run(|| {
        let (mutex, condvar) = (Mutex::new(0), Condvar::new());
        let begin = Instant::now();
        let (guard, result) = condvar.wait_timeout(mutex.lock().unwrap(), SOON).unwrap();
        assert!(result.timed_out() && begin.elapsed() >= SOON);
        let (guard, result) = condvar.wait_timeout(guard, Duration::ZERO).unwrap();
        assert!(result.timed_out());
        let (guard, result) = condvar.wait_timeout_while(guard, SOON, |_| true).unwrap();
        assert!(result.timed_out());
        let (guard, result) = condvar.wait_timeout_while(guard, FOREVER, |_| false).unwrap();
        assert!(!result.timed_out());
        drop(guard);
        fiber::scope(|s| {
            s.spawn(|| {
                let guard = mutex.lock().unwrap();
                let (_guard, result) = condvar.wait_timeout_while(guard, FOREVER, |n| *n == 0).unwrap();
                assert!(!result.timed_out());
            });
            yield_often();
            *mutex.lock().unwrap() = 1;
            condvar.notify_one();
        });
    });
}

#[test]
fn a_barrier_lets_all_go_and_has_one_leader() {
    on_all_numbers_of_workers(|_| {
        let (barrier, leaders, arrived) = (Barrier::new(8), AtomicUsize::new(0), AtomicUsize::new(0));
        let round = |n: usize| {
            arrived.fetch_add(1, Ordering::Relaxed);
            let result = barrier.wait();
            assert!(arrived.load(Ordering::Relaxed) >= 8 * n);
            leaders.fetch_add(usize::from(result.is_leader()), Ordering::Relaxed);
        };
        fiber::scope(|s| {
            for _ in 0..6 {
                s.spawn(|| (1..=100).for_each(round));
            }
            on_threads(2, |_| (1..=100).for_each(round));
        });
        assert_eq!(leaders.load(Ordering::Relaxed), 100);
        assert_eq!(format!("{barrier:?}"), "Barrier { .. }");
    });
}

#[test]
fn who_is_cancelled_at_a_barrier_does_not_count() {
    run_on_one(|| {
        let barrier = Arc::new(Barrier::new(2));
        assert!(timeout(SOON, || barrier.wait()).is_err());
        let theirs = Arc::clone(&barrier);
        let fiber = spawn(move || theirs.wait().is_leader());
        yield_often();
        assert!(!fiber.is_finished());
        assert!(barrier.wait().is_leader());
        assert!(!fiber.join().unwrap());
        assert!(Barrier::new(0).wait().is_leader());
    });
}

/// The others come before the one that was cancelled has run again.
#[test]
fn who_was_just_cancelled_at_a_barrier_does_not_count() {
    run_on_one(|| {
        let barrier = Arc::new(Barrier::new(3));
        let wait = || {
            let barrier = Arc::clone(&barrier);
            let fiber = spawn(move || barrier.wait().is_leader());
            yield_often();
            fiber
        };
        let (cancelled, waiting) = (wait(), wait());
        cancelled.cancel();
        let third = wait();
        assert!(cancelled.join().is_err());
        assert!(!waiting.is_finished() && !third.is_finished(), "two of three are there");
        assert!(barrier.wait().is_leader());
        assert!(!waiting.join().unwrap() && !third.join().unwrap());
    });
}
