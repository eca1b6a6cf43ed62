//! Scopes: who ends with whom, and with what the scope ends.

use std::cell::Cell;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kapok::cancel::{Either, race_all, select};
use kapok::sync::Baton;
use kapok::{CancelToken, Cancelled, Elapsed, fiber, is_cancelled, race, shield, timeout};

use crate::support::{CountsDrops, OnDrop, panics, run, run_on_one, says};
use crate::{FOREVER, SOON};

#[test]
fn a_panic_ends_the_others_and_is_the_scopes() {
    run_on_one(|| {
        let drops = AtomicUsize::new(0);
        let sentence = panics(|| {
            fiber::scope(|s| {
                for _ in 0..10 {
                    s.spawn(|| {
                        let _counts = CountsDrops(&drops);
                        fiber::park();
                    });
                }
                s.spawn(|| panic!("the first"));
                s.spawn(|| {
                    let _later = OnDrop(|| ());
                    fiber::sleep(FOREVER);
                });
                // Nobody holds the handle of the one that panics, so this ends, too.
                fiber::sleep(FOREVER);
            });
        });
        assert_eq!(sentence, "the first");
        assert_eq!(drops.load(Ordering::SeqCst), 10);
        fiber::yield_now();
    });
}

#[test]
fn a_panic_that_is_joined_ends_the_others_and_not_the_function() {
    run_on_one(|| {
        let value = fiber::scope(|s| {
            let other = s.spawn(fiber::park);
            let panics = s.spawn(|| panic!("seen"));
            let payload = panics.join().unwrap_err();
            assert_eq!(payload.downcast_ref(), Some(&"seen"));
            assert!(other.join().unwrap_err().is::<Cancelled>());
            fiber::sleep(SOON);
            // What starts now does not begin.
            assert!(s.spawn(|| ()).join().unwrap_err().is::<Cancelled>());
            11
        });
        assert_eq!(value, 11);
    });
}

#[test]
fn a_handle_that_is_dropped_too_late_ends_the_function() {
    run_on_one(|| {
        let reached = Cell::new(false);
        let sentence = panics(|| {
            fiber::scope(|s| {
                let panics = s.spawn(|| panic!("unseen"));
                fiber::sleep(SOON);
                assert!(panics.is_finished());
                drop(panics);
                reached.set(true);
                fiber::sleep(FOREVER);
            });
        });
        assert_eq!(sentence, "unseen");
        assert!(reached.get());
    });
}

#[test]
fn the_first_of_many_panics_is_the_scopes() {
    run_on_one(|| {
        let sentence = panics(|| {
            fiber::scope(|s| {
                for i in 0..20 {
                    s.spawn(move || {
                        fiber::yield_now();
                        panic!("number {i}");
                    });
                }
            });
        });
        // The others were cancelled where they waited.
        assert_eq!(sentence, "number 0");
        let sentence = panics(|| {
            fiber::scope(|s| {
                s.spawn(|| {
                    let _second = OnDrop(|| assert!(std::thread::panicking()));
                    panic!("the first");
                });
                s.spawn(|| {
                    let outcome = catch_unwind(fiber::park);
                    assert!(outcome.is_ok(), "the second");
                });
            });
        });
        assert_eq!(sentence, "the first");
    });
}

#[test]
fn a_panic_of_the_function_ends_the_fibers() {
    run_on_one(|| {
        let sentence = panics(|| {
            fiber::scope(|s| {
                s.spawn(fiber::park);
                s.spawn(|| fiber::sleep(FOREVER));
                fiber::yield_now();
                panic!("the function's");
            })
        });
        assert_eq!(sentence, "the function's");
    });
}

#[test]
fn what_cancels_the_scopes_fiber_cancels_its_fibers() {
    run_on_one(|| {
        let drops = AtomicUsize::new(0);
        let nested = || {
            fiber::scope(|s| {
                for _ in 0..3 {
                    s.spawn(|| {
                        timeout(FOREVER, || {
                            fiber::scope(|s| {
                                s.spawn(|| {
                                    let _counts = CountsDrops(&drops);
                                    fiber::park();
                                });
                                s.spawn(|| {
                                    shield(|| fiber::sleep(SOON * 4));
                                    let _counts = CountsDrops(&drops);
                                    fiber::park();
                                });
                            });
                        })
                    });
                }
            });
        };
        // The fiber waits for the scope's end, in which it cannot be interrupted itself.
        assert_eq!(timeout(SOON, nested), Err(Elapsed));
        assert_eq!(drops.swap(0, Ordering::SeqCst), 6);
        let outer = CancelToken::new();
        fiber::scope(|s| {
            s.spawn(|| assert_eq!(outer.run(nested), Err(Cancelled)));
            fiber::sleep(SOON);
            outer.cancel();
        });
        assert_eq!(drops.swap(0, Ordering::SeqCst), 6);
        fiber::scope(|s| {
            let one = s.spawn(nested);
            fiber::sleep(SOON);
            one.cancel();
            assert!(one.join().unwrap_err().is::<Cancelled>());
        });
        assert_eq!(drops.load(Ordering::SeqCst), 6);
    });
}

#[test]
fn a_shield_around_a_scope_keeps_its_fibers() {
    run_on_one(|| {
        let ended = AtomicUsize::new(0);
        let outcome = timeout(SOON, || {
            shield(|| {
                fiber::scope(|s| {
                    s.spawn(|| {
                        fiber::sleep(SOON * 5);
                        ended.fetch_add(1, Ordering::SeqCst);
                    });
                });
            });
            fiber::yield_now();
        });
        assert_eq!((outcome, ended.into_inner()), (Err(Elapsed), 1));
    });
}

#[test]
fn a_scope_that_is_cancelled_is_no_panic_and_its_function_goes_on() {
    run_on_one(|| {
        let value = fiber::scope(|s| {
            let one = s.spawn(fiber::park);
            s.spawn(|| s.spawn(|| fiber::sleep(FOREVER)).join().is_err());
            fiber::yield_now();
            s.cancel();
            s.cancel();
            assert!(!is_cancelled());
            fiber::yield_now();
            assert!(one.join().unwrap_err().is::<Cancelled>());
            let late = s.spawn(|| unreachable!("it never begins"));
            assert!(late.join().unwrap_err().is::<Cancelled>());
            s.spawn(|| ());
            5
        });
        assert_eq!(value, 5);
        // By one of its own, and by a thread that it was lent to.
        fiber::scope(|s| {
            s.spawn(|| fiber::sleep(FOREVER));
            s.spawn(|| s.cancel());
        });
        fiber::scope(|s| {
            s.spawn(|| fiber::sleep(FOREVER));
            kapok::blocking(|| s.cancel());
        });
    });
}

#[test]
fn one_of_a_scope_is_cancelled_alone() {
    run_on_one(|| {
        fiber::scope(|s| {
            let one = s.spawn(fiber::park);
            let other = s.spawn(|| fiber::sleep(SOON * 5));
            fiber::yield_now();
            one.cancel();
            assert!(one.join().unwrap_err().is::<Cancelled>());
            other.join().unwrap();
        });
    });
}

#[test]
fn a_scope_in_a_destructor_of_a_cancelled_fiber() {
    run_on_one(|| {
        let fiber = kapok::spawn(|| {
            let _scope = OnDrop(|| {
                // No fiber can run while the thread is panicking, so it must be empty.
                assert_eq!(fiber::scope(|_| 3), 3);
                assert_eq!(timeout(SOON, || 4), Ok(4));
                assert_eq!(shield(|| 5), 5);
            });
            fiber::park();
        });
        fiber::yield_now();
        fiber.cancel();
        assert!(fiber.join().unwrap_err().is::<Cancelled>());
    });
}

#[test]
fn the_first_wins_and_the_others_have_ended() {
    run_on_one(|| {
        let drops = AtomicUsize::new(0);
        for _ in 0..20 {
            let first = race(
                || {
                    let _counts = CountsDrops(&drops);
                    fiber::sleep(FOREVER);
                    "slow"
                },
                || {
                    fiber::yield_now();
                    "fast"
                },
            );
            assert_eq!(first, "fast");
        }
        assert_eq!(drops.load(Ordering::SeqCst), 20);
        // Of those that return at once the first one begins first.
        assert_eq!(race(|| 1, || 2), 1);
        let text = String::from("borrowed");
        let never = Baton::new();
        let outcome = select(|| text.as_str(), || never.wait());
        assert_eq!(outcome, Either::Left("borrowed"));
        let slow = (0..50).map(|i| {
            move || {
                if i != 33 {
                    fiber::sleep(FOREVER);
                }
                i
            }
        });
        assert_eq!(race_all(slow), 33);
    });
}

#[test]
fn a_race_panics_with_one_that_panics_and_is_cancelled_as_a_whole() {
    run_on_one(|| {
        assert_eq!(panics(|| race(fiber::park, || panic!("it fell"))), "it fell");
        says(&panics(|| race_all(Vec::<fn()>::new())), &["nobody"]);
        assert_eq!(timeout(SOON, || race(fiber::park, fiber::park)), Err(Elapsed));
        let token = CancelToken::new();
        token.cancel();
        assert_eq!(token.run(|| race(|| 1, || 2)), Err(Cancelled));
        race(
            || race(|| fiber::sleep(FOREVER), fiber::park),
            || race(|| fiber::sleep(SOON), fiber::park),
        );
        assert_eq!((), ());
    });
}

#[test]
fn deeply_nested_scopes_are_cancelled_at_once() {
    fn nest(depth: usize, ended: &AtomicUsize, token: &CancelToken) {
        let _counts = CountsDrops(ended);
        if depth == 0 {
            token.cancel();
            fiber::park();
        }
        fiber::scope(|s| drop(s.spawn(move || nest(depth - 1, ended, token))));
    }
    run(|| {
        let (ended, token) = (AtomicUsize::new(0), CancelToken::new());
        let outcome = token.run(|| fiber::scope(|s| drop(s.spawn(|| nest(500, &ended, &token)))));
        assert_eq!(outcome, Err(Cancelled));
        assert_eq!(ended.load(Ordering::SeqCst), 501);
    });
}

kapok::fiber_local!(static LAST: Cell<Option<Waits>> = Cell::new(None));

/// Waits when it is dropped.
struct Waits {
    go: Arc<Baton>,
    dropped: Arc<AtomicBool>,
}

impl Drop for Waits {
    fn drop(&mut self) {
        shield(|| self.go.wait());
        self.dropped.store(true, Ordering::SeqCst);
    }
}

/// Writes all over the stack below the caller.
#[inline(never)]
fn scribble() {
    std::hint::black_box(&mut [0xa5_u8; 64 * 1024]);
}

/// A fiber that does not begin has let go of its scope before its own values are dropped.
#[test]
fn a_fiber_that_never_began_outlives_its_scope() {
    let _watchdog = crate::support::watchdog();
    let builder = kapok::runtime::Builder::new().workers(2);
    let ended = builder.run(|| {
        for _ in 0..20 {
            let (go, dropped) = (Arc::new(Baton::new()), Arc::new(AtomicBool::new(false)));
            let last = Waits {
                go: Arc::clone(&go),
                dropped: Arc::clone(&dropped),
            };
            let token = CancelToken::new();
            let outcome = token.run(|| {
                fiber::scope(|s| {
                    token.cancel();
                    let mut last = Some(last);
                    let captured = OnDrop(move || LAST.with(|place| place.set(last.take())));
                    let builder = fiber::Builder::new().worker(1);
                    drop(builder.spawn_scoped(s, move || drop(captured)).unwrap());
                });
            });
            assert_eq!(outcome, Err(Cancelled));
            scribble();
            assert!(!dropped.load(Ordering::SeqCst));
            go.post();
            while !dropped.load(Ordering::SeqCst) {
                fiber::yield_now();
            }
        }
    });
    ended.unwrap();
}
