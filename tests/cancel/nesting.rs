//! Time-outs, tokens and shields, alone and within each other.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kapok::coroutine::Coroutine;
use kapok::{CancelToken, Cancelled, Elapsed, deadline, fiber, is_cancelled, shield, timeout};

use crate::support::{CountsDrops, child, panics, run_on_one, says};
use crate::{FOREVER, SOON};

#[test]
fn what_is_in_time_gives_its_value() {
    run_on_one(|| {
        assert_eq!(timeout(FOREVER, || 7), Ok(7));
        assert_eq!(timeout(Duration::MAX, fiber::yield_now), Ok(()));
        assert_eq!(deadline(Instant::now() + FOREVER, || "text"), Ok("text"));
        let token = CancelToken::new();
        assert_eq!(token.run(|| fiber::sleep(SOON)), Ok(()));
        assert_eq!(shield(|| 9), 9);
    });
}

#[test]
fn what_takes_too_long_is_unwound_and_not_early() {
    run_on_one(|| {
        let drops = AtomicUsize::new(0);
        let begin = Instant::now();
        let outcome = timeout(Duration::from_millis(5), || {
            let _counts = CountsDrops(&drops);
            fiber::sleep(FOREVER);
        });
        assert_eq!(outcome, Err(Elapsed));
        assert!(begin.elapsed() >= Duration::from_millis(5));
        assert_eq!(drops.load(Ordering::SeqCst), 1);
        let error: std::io::Error = Elapsed.into();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    });
}

#[test]
fn a_value_that_comes_late_is_given_all_the_same() {
    run_on_one(|| {
        assert_eq!(timeout(SOON, || shield(|| fiber::sleep(SOON * 5))), Ok(()));
        let computed = timeout(SOON, || std::thread::sleep(SOON * 5));
        assert_eq!(computed, Ok(()));
    });
}

#[test]
fn a_deadline_that_has_passed_ends_the_first_wait() {
    run_on_one(|| {
        for at in [Instant::now(), Instant::now() - SOON] {
            let reached = Cell::new(false);
            let outcome = deadline(at, || {
                assert!(is_cancelled());
                reached.set(true);
                fiber::yield_now();
                unreachable!("it is a suspension point");
            });
            assert_eq!(outcome, Err(Elapsed));
            assert!(reached.get());
        }
        assert_eq!(timeout(Duration::ZERO, || fiber::sleep(SOON)), Err(Elapsed));
        assert_eq!(timeout(Duration::ZERO, || 3), Ok(3));
        assert!(!is_cancelled());
        fiber::yield_now();
    });
}

#[test]
fn the_nearest_deadline_wins() {
    run_on_one(|| {
        // The inner one is earlier: the outer goes on.
        let outcome = timeout(FOREVER, || {
            assert_eq!(timeout(SOON, || fiber::sleep(FOREVER)), Err(Elapsed));
            assert!(!is_cancelled());
            fiber::sleep(SOON);
            5
        });
        assert_eq!(outcome, Ok(5));
        // The outer one is earlier: it goes through the inner.
        let (inner, after) = (Cell::new(None), Cell::new(false));
        let outcome = timeout(SOON, || {
            inner.set(Some(timeout(FOREVER, || fiber::sleep(FOREVER))));
            after.set(true);
        });
        assert_eq!((outcome, inner.get(), after.get()), (Err(Elapsed), None, false));
        // Both at once: each ends its own.
        let at = Instant::now() + SOON;
        let reached = Cell::new(0);
        let outcome = deadline(at, || {
            let inner = deadline(at, || fiber::sleep(FOREVER));
            assert_eq!(inner, Err(Elapsed));
            reached.set(1);
            // Where the time was over before the inner one began, nobody has looked at the outer one's yet.
            fiber::sleep(FOREVER);
            reached.set(2);
        });
        assert_eq!((outcome, reached.get()), (Err(Elapsed), 1));
        fiber::yield_now();
    });
}

#[test]
fn many_deep_the_right_one_ends() {
    fn nest(depth: usize, due: usize) -> Result<usize, Elapsed> {
        if depth == 0 {
            fiber::sleep(FOREVER);
            unreachable!("one of them is due");
        }
        let time = if depth == due { SOON } else { FOREVER };
        timeout(time, || nest(depth - 1, due))?.map_err(|_| Elapsed)?;
        Ok(depth)
    }
    run_on_one(|| {
        for due in [1, 2, 30, 59, 60] {
            // The function within the one that is due is unwound; that one's `?` goes on outwards as an error.
            assert_eq!(nest(60, due), Err(Elapsed));
            assert!(!is_cancelled());
        }
    });
}

#[test]
fn what_was_caught_comes_again_at_the_next_point() {
    run_on_one(|| {
        let count = Cell::new(0);
        let token = CancelToken::new();
        let outcome = token.run(|| {
            token.cancel();
            for _ in 0..10 {
                let payload = catch_unwind(fiber::yield_now).unwrap_err();
                assert!(payload.is::<Cancelled>());
                assert!(is_cancelled());
                count.set(count.get() + 1);
            }
            resume_unwind(catch_unwind(|| fiber::sleep(FOREVER)).unwrap_err());
        });
        assert_eq!((outcome, count.get()), (Err(Cancelled), 10));
        // One that is never let go is no harm either.
        let outcome = token.run(|| catch_unwind(fiber::yield_now).is_err());
        assert_eq!(outcome, Ok(true));
    });
}

#[test]
fn somebody_elses_payload_is_not_mistaken() {
    run_on_one(|| {
        let fiber = kapok::spawn(fiber::park);
        fiber.cancel();
        let payload = fiber.join().unwrap_err();
        let caught = catch_unwind(AssertUnwindSafe(|| {
            timeout(FOREVER, || resume_unwind(payload)).map(|()| unreachable!("it was resumed"))
        }));
        assert!(caught.unwrap_err().is::<Cancelled>());
    });
}

#[test]
fn a_panic_goes_through_what_was_cancelled() {
    run_on_one(|| {
        let sentence = panics(|| timeout(Duration::ZERO, || panic!("by itself")));
        says(&sentence, &["by itself"]);
        let token = CancelToken::new();
        token.cancel();
        says(&panics(|| token.run(|| panic!("another"))), &["another"]);
    });
}

#[test]
fn a_token_cancels_whoever_is_inside_and_whoever_comes() {
    run_on_one(|| {
        let token = CancelToken::new();
        let fibers: Vec<_> = (0..10)
            .map(|i| {
                let token = token.clone();
                kapok::spawn(move || {
                    let first = token.run(|| fiber::sleep(if i < 5 { FOREVER } else { Duration::ZERO }));
                    fiber::yield_now(); // outside it does not matter
                    first
                })
            })
            .collect();
        fiber::yield_now();
        assert!(!token.is_cancelled());
        token.cancel();
        token.cancel();
        assert!(token.is_cancelled());
        let outcomes: Vec<_> = fibers.into_iter().map(|fiber| fiber.join().unwrap().is_err()).collect();
        assert_eq!(outcomes, [[true; 5], [false; 5]].concat());
        assert_eq!(token.run(fiber::yield_now), Err(Cancelled));
        assert_eq!(token.run(|| 1), Ok(1));
    });
}

#[test]
fn a_token_in_itself_ends_at_the_innermost() {
    run_on_one(|| {
        let token = CancelToken::new();
        let outcome = token.run(|| {
            token.cancel();
            token.run(fiber::yield_now)
        });
        assert_eq!(outcome, Ok(Err(Cancelled)));
    });
}

#[test]
fn a_shield_keeps_out_what_is_around_and_not_what_is_inside() {
    run_on_one(|| {
        let steps = Cell::new(0);
        let outcome = timeout(SOON, || {
            shield(|| {
                fiber::sleep(SOON * 10);
                assert!(!is_cancelled());
                assert_eq!(timeout(SOON, || fiber::sleep(FOREVER)), Err(Elapsed));
                assert_eq!(timeout(FOREVER, || fiber::sleep(SOON)), Ok(()));
                steps.set(1);
            });
            assert!(is_cancelled());
            steps.set(2);
            fiber::yield_now();
            steps.set(3);
        });
        assert_eq!((outcome, steps.get()), (Err(Elapsed), 2));
    });
}

#[test]
fn a_shield_opened_when_it_is_too_late_already() {
    run_on_one(|| {
        let said_goodbye = Cell::new(false);
        let outcome = timeout(Duration::ZERO, || {
            let payload = catch_unwind(|| fiber::sleep(FOREVER)).unwrap_err();
            shield(|| {
                fiber::sleep(SOON);
                shield(|| fiber::sleep(SOON));
                fiber::sleep(SOON);
                said_goodbye.set(true);
            });
            resume_unwind(payload)
        });
        assert_eq!(outcome, Err::<(), _>(Elapsed));
        assert!(said_goodbye.get());
    });
}

#[test]
fn a_panic_leaves_a_shield_in_order() {
    run_on_one(|| {
        let token = CancelToken::new();
        let outcome = token.run(|| {
            token.cancel();
            says(&panics(|| shield(|| panic!("within"))), &["within"]);
            assert!(is_cancelled());
            fiber::yield_now();
        });
        assert_eq!(outcome, Err(Cancelled));
        assert!(!is_cancelled());
    });
}

#[test]
fn on_plain_threads() {
    assert!(!is_cancelled());
    kapok::cancel::checkpoint();
    assert_eq!(shield(|| 1), 1);
    says(&panics(|| timeout(FOREVER, || ())), &["no fiber", "kapok::run"]);
    says(&panics(|| CancelToken::new().run(|| ())), &["no fiber", "kapok::run"]);
}

#[test]
fn a_coroutine_in_a_fiber_cannot_hold_a_frame_open() {
    run_on_one(|| {
        let mut within = Coroutine::<(), (), String>::new(|_, ()| panics(|| timeout(FOREVER, || ()))).unwrap();
        let kapok::coroutine::CoroutineState::Complete(sentence) = within.resume(()) else {
            unreachable!("it does not suspend itself")
        };
        says(&sentence, &["coroutine"]);
        // But one is unwound like anything else, and may have a scope.
        let mut waits = Coroutine::<(), (), ()>::new(|_, ()| {
            fiber::scope(|s| drop(s.spawn(|| ())));
            fiber::sleep(FOREVER);
        })
        .unwrap();
        assert_eq!(timeout(SOON, || waits.resume(())).err(), Some(Elapsed));
        assert!(waits.is_done());
    });
}

#[test]
fn nothing_is_printed() {
    let ended = child::alone(
        &child::path(module_path!(), "nothing_is_printed"),
        |_| (),
        || {
            run_on_one(|| {
                timeout(SOON, || fiber::sleep(FOREVER)).unwrap_err();
                let fiber = kapok::spawn(fiber::park);
                fiber.cancel();
                drop(fiber.join());
            });
        },
    );
    if let Some(ended) = ended {
        let output = ended.success();
        assert!(!output.contains("panicked at"), "{output}");
    }
}
