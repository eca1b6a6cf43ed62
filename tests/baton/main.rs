//! Batons: every order of wait and post, between fibers, threads and runtimes.

#[path = "../support/mod.rs"]
mod support;

mod games;
mod races;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use kapok::sync::Baton;
use kapok::{Engine, fiber, spawn};

use support::{Random, panics, run, run_on_one, run_on_one_with, run_with, says, watchdog};

fn shared() -> (Arc<Baton>, Arc<Baton>) {
    let baton = Arc::new(Baton::new());
    (Arc::clone(&baton), baton)
}

/// Posts when the fiber or thread that waits has had every chance to do so.
fn yield_often() {
    (0..10).for_each(|_| fiber::yield_now());
}

// ---- one wait, one post ----------------------------------------------------------------------------------------------

#[test]
fn post_before_wait_in_one_fiber() {
    for engine in Engine::available() {
        run_with(engine, || {
            let baton = Baton::new();
            baton.post();
            baton.wait();
            assert!(baton.wait_timeout(Duration::ZERO));
        });
    }
}

#[test]
fn post_before_wait_on_one_thread() {
    let _watchdog = watchdog();
    let baton = Baton::default();
    baton.post();
    baton.wait();
    assert!(baton.wait_deadline(Instant::now()));
}

#[test]
fn wait_before_post_between_fibers() {
    for engine in Engine::available() {
        run_with(engine, || {
            let (baton, theirs) = shared();
            let waiter = spawn(move || theirs.wait());
            yield_often();
            assert!(!waiter.is_finished());
            baton.post();
            waiter.join().unwrap();
        });
    }
}

#[test]
fn post_before_wait_between_fibers() {
    run(|| {
        let (baton, theirs) = shared();
        let poster = spawn(move || theirs.post());
        poster.join().unwrap();
        baton.wait();
        assert!(baton.try_wait());
    });
}

#[test]
fn thread_posts_and_fiber_waits() {
    for engine in Engine::available() {
        run_with(engine, || {
            for round in 0..300 {
                let (baton, theirs) = shared();
                let thread = thread::spawn(move || {
                    if round % 2 == 0 {
                        thread::yield_now();
                    }
                    theirs.post();
                });
                if round % 3 == 0 {
                    fiber::yield_now();
                }
                baton.wait();
                kapok::blocking(|| thread.join().unwrap());
            }
        });
    }
}

#[test]
fn fiber_posts_and_thread_waits() {
    for engine in Engine::available() {
        run_with(engine, || {
            for round in 0..300 {
                let (baton, theirs) = shared();
                let thread = thread::spawn(move || theirs.wait());
                if round % 2 == 0 {
                    yield_often();
                }
                baton.post();
                kapok::blocking(|| thread.join().unwrap());
            }
        });
    }
}

#[test]
fn thread_posts_and_thread_waits() {
    let _watchdog = watchdog();
    for round in 0..300 {
        let (baton, theirs) = shared();
        let thread = thread::spawn(move || theirs.post());
        if round % 2 == 0 {
            thread::yield_now();
        }
        baton.wait();
        thread.join().unwrap();
    }
}

#[test]
fn post_from_another_runtime() {
    run(|| {
        for _ in 0..50 {
            let (baton, theirs) = shared();
            let runtime = thread::spawn(move || run(move || theirs.post()));
            baton.wait();
            kapok::blocking(|| runtime.join().unwrap());
        }
    });
}

#[test]
fn wake_up_of_a_worker_that_has_nothing_else_to_do() {
    run(|| {
        // Long enough for the worker to wait in the kernel.
        let (baton, theirs) = shared();
        let thread = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            theirs.post();
        });
        baton.wait();
        kapok::blocking(|| thread.join().unwrap());
    });
}

#[test]
fn baton_may_be_a_static() {
    static BATON: Baton = Baton::new();
    run(|| {
        let thread = thread::spawn(|| BATON.wait());
        spawn(|| BATON.post()).join().unwrap();
        kapok::blocking(|| thread.join().unwrap());
    });
    assert!(BATON.try_wait());
}

// ---- sticky, reset, one waiter ---------------------------------------------------------------------------------------

#[test]
fn posted_stays_posted_until_reset() {
    run(|| {
        let baton = Baton::new();
        assert!(!baton.try_wait());
        baton.reset();
        assert!(!baton.try_wait());
        baton.post();
        for _ in 0..3 {
            assert!(baton.try_wait());
            baton.wait();
            assert!(baton.wait_timeout(Duration::ZERO));
        }
        baton.post();
        baton.post();
        baton.reset();
        assert!(!baton.try_wait(), "three posts are one");
        assert!(!baton.wait_timeout(Duration::from_micros(10)));
        baton.post();
        baton.wait();
    });
}

#[test]
fn one_baton_serves_many_rounds() {
    run(|| {
        let (there, back) = (Arc::new(Baton::new()), Arc::new(Baton::new()));
        let (theirs, their_answer) = (Arc::clone(&there), Arc::clone(&back));
        let other = spawn(move || {
            for _ in 0..1_000 {
                theirs.wait();
                theirs.reset();
                their_answer.post();
            }
        });
        for _ in 0..1_000 {
            there.post();
            back.wait();
            back.reset();
        }
        other.join().unwrap();
        assert!(!there.try_wait() && !back.try_wait());
    });
}

#[test]
fn second_waiter_panics_and_the_first_is_served() {
    for engine in Engine::available() {
        run_on_one_with(engine, || {
            let (baton, theirs) = shared();
            let waiter = spawn(move || theirs.wait());
            fiber::yield_now();
            says(&panics(|| baton.wait()), &["Baton::wait", "one waiter"]);
            says(
                &panics(|| baton.wait_timeout(Duration::from_millis(1))),
                &["Baton::wait", "one waiter"],
            );
            let plain = Arc::clone(&baton);
            let thread = thread::spawn(move || panics(|| plain.wait()));
            says(&kapok::blocking(|| thread.join().unwrap()), &["one waiter"]);
            assert!(!baton.try_wait() && !baton.wait_timeout(Duration::ZERO));
            assert!(!waiter.is_finished());
            baton.post();
            waiter.join().unwrap();
        });
    }
}

/// Both find the baton empty, and then both want to be its waiter.
#[test]
fn of_two_that_come_at_once_one_waits_and_one_panics() {
    run(|| {
        for _ in 0..2_000 {
            let (baton, theirs) = shared();
            let panicked = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&panicked);
            let thread = thread::spawn(move || {
                let result = catch_unwind(AssertUnwindSafe(|| theirs.wait_timeout(Duration::MAX)));
                count.fetch_add(usize::from(result.is_err()), Ordering::SeqCst);
            });
            let posters = [Arc::clone(&baton), Arc::clone(&baton)];
            let count = Arc::clone(&panicked);
            let fiber = spawn(move || {
                let result = catch_unwind(AssertUnwindSafe(|| baton.wait()));
                count.fetch_add(usize::from(result.is_err()), Ordering::SeqCst);
            });
            fiber::yield_now();
            posters.iter().for_each(|baton| baton.post());
            fiber.join().unwrap();
            kapok::blocking(|| thread.join().unwrap());
            assert!(panicked.load(Ordering::SeqCst) <= 1);
        }
    });
}

#[test]
fn reset_under_a_waiter_panics_and_the_waiter_is_served() {
    run_on_one(|| {
        let (baton, theirs) = shared();
        let waiter = spawn(move || theirs.wait());
        fiber::yield_now();
        says(&panics(|| baton.reset()), &["Baton::reset", "waiting"]);
        fiber::yield_now();
        assert!(!waiter.is_finished());
        baton.post();
        waiter.join().unwrap();
    });
}

#[test]
fn debug_output_tells_the_state() {
    run_on_one(|| {
        let (baton, theirs) = shared();
        assert_eq!(format!("{baton:?}"), "Baton(empty)");
        let waiter = spawn(move || theirs.wait());
        fiber::yield_now();
        assert_eq!(format!("{baton:?}"), "Baton(waited for)");
        baton.post();
        assert_eq!(format!("{baton:?}"), "Baton(posted)");
        waiter.join().unwrap();
    });
}

// ---- time-outs -------------------------------------------------------------------------------------------------------

#[test]
fn time_out_is_never_early() {
    fn check() {
        let baton = Baton::new();
        let mut random = Random::new(1);
        for _ in 0..100 {
            let timeout = random.micros_below(2_000);
            let start = Instant::now();
            assert!(!baton.wait_timeout(timeout));
            assert!(start.elapsed() >= timeout);
            let deadline = Instant::now() + timeout;
            assert!(!baton.wait_deadline(deadline));
            assert!(Instant::now() >= deadline);
        }
    }
    run(check);
    let _watchdog = watchdog();
    check();
}

#[test]
fn time_that_is_up_already_does_not_wait() {
    fn check() {
        let baton = Baton::new();
        assert!(!baton.wait_timeout(Duration::ZERO));
        assert!(!baton.wait_deadline(Instant::now()));
        baton.post();
        assert!(baton.wait_timeout(Duration::ZERO));
        assert!(baton.wait_deadline(Instant::now()));
    }
    run(check);
    check();
}

#[test]
fn longest_time_out_is_no_limit() {
    run(|| {
        let (baton, theirs) = shared();
        let waiter = spawn(move || theirs.wait_timeout(Duration::MAX));
        yield_often();
        baton.post();
        assert!(waiter.join().unwrap());

        let (baton, theirs) = shared();
        let (started, begin) = mpsc::channel();
        let waiter = thread::spawn(move || {
            started.send(()).unwrap();
            theirs.wait_timeout(Duration::MAX)
        });
        kapok::blocking(move || begin.recv().unwrap());
        baton.post();
        assert!(kapok::blocking(|| waiter.join().unwrap()));
    });
}

#[test]
fn post_in_time_ends_the_wait() {
    run(|| {
        // Hours, more than 31 bits of milliseconds, and more than 64 bits of nanoseconds.
        for seconds in [10_000, 50 * 86_400, 10_000_000_000, 100_000_000_000] {
            let long = Duration::from_secs(seconds);
            let (baton, theirs) = shared();
            let waiter = spawn(move || theirs.wait_timeout(long));
            yield_often();
            baton.post();
            assert!(waiter.join().unwrap());
            let (baton, theirs) = shared();
            let waiter = spawn(move || theirs.wait_deadline(Instant::now() + long));
            yield_often();
            let thread = thread::spawn(move || baton.post());
            assert!(waiter.join().unwrap());
            kapok::blocking(|| thread.join().unwrap());
            let (baton, theirs) = shared();
            let waiter = thread::spawn(move || theirs.wait_timeout(long));
            baton.post();
            assert!(kapok::blocking(|| waiter.join().unwrap()));
        }
    });
}

#[test]
fn post_after_the_waiter_left_is_kept() {
    run(|| {
        let (baton, theirs) = shared();
        let (sender, go) = mpsc::channel();
        let thread = thread::spawn(move || {
            let () = go.recv().unwrap();
            theirs.post();
        });
        for _ in 0..10 {
            assert!(!baton.wait_timeout(Duration::from_micros(100)));
        }
        sender.send(()).unwrap();
        baton.wait();
        kapok::blocking(|| thread.join().unwrap());

        // And where the waiter is gone for good, its frame and its stack with it.
        let (baton, theirs) = shared();
        assert!(
            !spawn(move || theirs.wait_timeout(Duration::from_micros(10)))
                .join()
                .unwrap()
        );
        (0..3).for_each(|_| spawn(|| ()).join().unwrap());
        baton.post();
        assert!(baton.try_wait());
    });
}
