//! `Once`, `OnceLock` and `LazyLock`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kapok::sync::{LazyLock, Once, OnceLock};
use kapok::{Cancelled, fiber, spawn, timeout};

use crate::support::{Random, panics, run, run_on_one};
use crate::{SOON, on_all_numbers_of_workers, on_threads, yield_often};

#[test]
fn one_is_first_and_all_wait_for_it() {
    on_all_numbers_of_workers(|_| {
        let (once, calls, done) = (Once::new(), AtomicUsize::new(0), AtomicUsize::new(0));
        let call = |_| {
            once.call_once(|| {
                calls.fetch_add(1, Ordering::SeqCst);
                if fiber::is_fiber() {
                    yield_often();
                }
                done.store(1, Ordering::Relaxed);
            });
            assert_eq!(done.load(Ordering::Relaxed), 1);
        };
        fiber::scope(|s| {
            for i in 0..20 {
                s.spawn(move || call(i));
            }
            s.spawn(|| once.wait());
            s.spawn(|| once.wait_force());
            on_threads(3, call);
        });
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        assert!(once.is_completed());
    });
}

#[test]
fn a_panic_poisons_and_force_goes_on() {
    run(|| {
        let once = Once::new();
        panics(|| once.call_once(|| panic!("the first")));
        let sentence = panics(|| once.call_once(|| ()));
        assert_eq!(sentence, "Once instance has previously been poisoned");
        assert_eq!(panics(|| once.wait()), sentence);
        once.call_once_force(|state| {
            assert!(state.is_poisoned());
            assert_eq!(format!("{state:?}"), "OnceState { poisoned: true }");
        });
        once.call_once(|| unreachable!());
        assert_eq!(format!("{once:?}"), "Once { .. }");
    });
}

#[test]
fn what_is_called_once_is_not_cancelled_in_the_middle() {
    run_on_one(|| {
        static VALUE: LazyLock<i32> = LazyLock::new(|| {
            fiber::sleep(SOON * 5);
            7
        });
        let once = Once::new();
        let outcome = timeout(SOON, || {
            once.call_once(|| fiber::sleep(SOON * 5));
            fiber::yield_now();
        });
        assert!(outcome.is_err());
        assert!(once.is_completed());
        let outcome = timeout(SOON, || {
            assert_eq!(*VALUE, 7);
            fiber::yield_now();
        });
        assert!(outcome.is_err());
        assert_eq!(LazyLock::get(&VALUE), Some(&7));
    });
}

#[test]
fn a_cancelled_initialiser_leaves_it_to_the_next() {
    on_all_numbers_of_workers(|workers| {
        for seed in 0..50 {
            let (cell, made) = (OnceLock::new(), AtomicUsize::new(0));
            fiber::scope(|s| {
                for i in 0..10 {
                    let (cell, made) = (&cell, &made);
                    s.spawn(move || {
                        let mut random = Random::new(seed ^ i << 16 ^ (workers as u64) << 32);
                        let nap = random.micros_below(100);
                        let make = || {
                            fiber::sleep(nap);
                            made.fetch_add(1, Ordering::Relaxed) + 1
                        };
                        _ = timeout(random.micros_below(150), || cell.get_or_init(make));
                    });
                }
            });
            assert_eq!(*cell.get_or_init(|| 1), 1);
            assert!(made.load(Ordering::Relaxed) <= 1);
        }
    });
}

#[test]
fn once_lock_as_std_has_it() {
    run(|| {
        let mut cell = OnceLock::new();
        assert_eq!(format!("{cell:?}"), "OnceLock(<uninit>)");
        assert_eq!(cell.get_or_try_init(|| Err::<i32, _>("no")), Err("no"));
        assert_eq!(cell.set(1), Ok(()));
        assert_eq!((cell.set(2), cell.try_insert(3)), (Err(2), Err((&1, 3))));
        assert_eq!(format!("{cell:?}"), "OnceLock(1)");
        assert_eq!((cell.clone(), OnceLock::from(1)), (OnceLock::from(1), cell.clone()));
        assert_eq!((cell.take(), cell.get()), (Some(1), None));
        *cell.get_mut_or_init(|| 4) += 1;
        assert_eq!(*cell.wait(), 5);
        assert_eq!(cell.into_inner(), Some(5));
    });
}

#[test]
fn waiting_for_a_value() {
    run(|| {
        let cell = Arc::new(OnceLock::new());
        let theirs = Arc::clone(&cell);
        let waiter = spawn(move || *theirs.wait());
        yield_often();
        assert!(timeout(SOON, || *cell.wait()).is_err());
        on_threads(1, |_| cell.set(3).unwrap());
        assert_eq!(waiter.join().unwrap(), 3);
        let empty = Arc::new(OnceLock::<i32>::new());
        let theirs = Arc::clone(&empty);
        let waiter = spawn(move || *theirs.wait());
        yield_often();
        waiter.cancel();
        assert!(waiter.join().unwrap_err().is::<Cancelled>());
    });
}

#[test]
fn a_lazy_value_is_made_once_or_poisoned() {
    run(|| {
        let mut lazy = LazyLock::new(|| 1);
        assert_eq!(format!("{lazy:?}"), "LazyLock(<uninit>)");
        assert_eq!(LazyLock::get(&lazy), None);
        assert_eq!(LazyLock::get_mut(&mut lazy), None);
        *lazy += 1;
        assert_eq!((*lazy, format!("{lazy:?}")), (2, "LazyLock(2)".to_owned()));
        assert!(LazyLock::into_inner(LazyLock::<i32, _>::new(|| 1)).is_err());
        let lazy: LazyLock<i32> = LazyLock::new(|| panic!("made"));
        panics(|| *lazy);
        assert_eq!(panics(|| *lazy), "LazyLock instance has previously been poisoned");
        assert_eq!(
            panics(|| LazyLock::into_inner(lazy)),
            "LazyLock instance has previously been poisoned"
        );
    });
}
