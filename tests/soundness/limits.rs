//! What is not promised, shown where that can be done with values that are wrong, or with locks that are not waited for.
//! Scoped thread-locals are in `tests/slots.rs`.

use std::cell::Cell;
use std::io::stdout;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, TryLockError};

use kapok::{fiber, no_suspend, spawn_local};

use crate::support::run;

#[test]
fn a_lock_of_threads_that_is_held_over_a_wait_is_held_against_the_own_thread() {
    run(|| {
        let mutex = Mutex::new(0);
        fiber::scope(|s| {
            let holder = s.spawn_local(|| {
                let mut guard = mutex.lock().unwrap();
                fiber::yield_now();
                *guard += 1;
            });
            let other = s.spawn_local(|| {
                // Here `lock` would block the thread that the holder needs to go on.
                assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)));
            });
            other.join().unwrap();
            holder.join().unwrap();
            // Within `no_suspend` nobody can be found holding it.
            for _ in 0..10 {
                s.spawn_local(|| {
                    for _ in 0..10 {
                        no_suspend(|| *mutex.try_lock().unwrap() += 1);
                        fiber::yield_now();
                    }
                });
            }
        });
        assert_eq!(mutex.into_inner().unwrap(), 101);
    });
}

#[test]
fn a_lock_that_knows_its_thread_lets_the_next_fiber_in() {
    run(|| {
        let inside = Cell::new(0);
        let most = Cell::new(0);
        fiber::scope(|s| {
            for _ in 0..2 {
                s.spawn_local(|| {
                    let _lock = stdout().lock();
                    inside.set(inside.get() + 1);
                    most.set(most.get().max(inside.get()));
                    fiber::yield_now();
                    inside.set(inside.get() - 1);
                });
            }
        });
        assert_eq!(most.get(), 2, "both at once");
    });
}

#[test]
fn a_thread_local_whose_initialiser_waits_is_made_twice_and_replaced() {
    thread_local! {
        static MADE: Cell<u32> = const { Cell::new(0) };
        static VALUE: u32 = {
            let mine = MADE.replace(MADE.get() + 1);
            // The second one to come is the first to be ready.
            (mine..2).for_each(|_| fiber::yield_now());
            mine
        };
    }
    run(|| {
        let first = spawn_local(|| VALUE.with(|value| *value));
        let second = spawn_local(|| {
            let before = VALUE.with(|value| *value);
            // A reference that was kept up to here would be to what has been dropped meanwhile.
            (0..4).for_each(|_| fiber::yield_now());
            (before, VALUE.with(|value| *value))
        });
        assert_eq!(first.join().unwrap(), 0);
        assert_eq!(second.join().unwrap(), (1, 0));
    });
}

#[test]
fn no_suspend_prevents_that() {
    thread_local! {
        static READY: Cell<bool> = const { Cell::new(false) };
        static VALUE: u32 = {
            if !READY.get() {
                fiber::yield_now();
            }
            5
        };
    }
    run(|| {
        let value = || no_suspend(|| VALUE.with(|value| *value));
        assert!(catch_unwind(AssertUnwindSafe(value)).is_err());
        READY.set(true);
        assert_eq!(value(), 5);
    });
}

#[test]
fn a_fiber_local_whose_initialiser_waits_is_made_once() {
    kapok::fiber_local! {
        static MADE: Cell<u32> = const { Cell::new(0) };
        static VALUE: u32 = {
            MADE.set(MADE.get() + 1);
            (0..3).for_each(|_| fiber::yield_now());
            MADE.get()
        };
    }
    run(|| {
        let fibers = [(); 3].map(|()| {
            spawn_local(|| {
                VALUE.with(|value| {
                    (0..4).for_each(|_| fiber::yield_now());
                    *value
                })
            })
        });
        assert_eq!(fibers.map(|fiber| fiber.join().unwrap()), [1, 1, 1]);
    });
}
