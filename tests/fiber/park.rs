//! Yielding, parking and unparking.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use kapok::fiber::{self, Fiber};
use kapok::{Engine, spawn, spawn_local};

use crate::support::{Random, run, run_on_one, run_with, watchdog};

/// Longer than any test may take: a wait with it that ends was ended by something else.
const FOR_EVER: Duration = Duration::from_secs(100_000);

#[test]
fn yielding_is_round_robin() {
    for engine in Engine::available() {
        run_with(engine, || {
            // More switches than the scheduler makes between two looks at the outside world.
            const FIBERS: usize = 7;
            const ROUNDS: usize = 100;
            let order = Rc::new(RefCell::new(Vec::new()));
            let fibers: Vec<_> = (0..FIBERS)
                .map(|i| {
                    let order = Rc::clone(&order);
                    spawn_local(move || {
                        for _ in 0..ROUNDS {
                            order.borrow_mut().push(i);
                            fiber::yield_now();
                        }
                    })
                })
                .collect();
            fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
            let expected: Vec<usize> = (0..ROUNDS).flat_map(|_| 0..FIBERS).collect();
            assert_eq!(*order.borrow(), expected);
        });
    }
}

#[test]
fn fibers_begin_in_the_order_of_their_spawns() {
    run(|| {
        let order = Rc::new(RefCell::new(Vec::new()));
        for i in 0..1_000 {
            let order = Rc::clone(&order);
            drop(spawn_local(move || order.borrow_mut().push(i)));
        }
        while order.borrow().len() < 1_000 {
            fiber::yield_now();
        }
        assert!(order.borrow().iter().copied().eq(0..1_000));
    });
}

#[test]
fn yielding_alone_comes_back() {
    fiber::yield_now();
    run(|| (0..10_000).for_each(|_| fiber::yield_now()));
}

#[test]
fn unpark_before_park() {
    for engine in Engine::available() {
        run_with(engine, || {
            fiber::current().unpark();
            fiber::park();
            // Two make one token, as with threads.
            fiber::current().unpark();
            fiber::current().unpark();
            fiber::park();
            let start = Instant::now();
            fiber::park_timeout(Duration::from_millis(5));
            assert!(start.elapsed() >= Duration::from_millis(5), "there was no second token");
        });
    }
}

#[test]
fn unpark_after_park() {
    for engine in Engine::available() {
        run_with(engine, || {
            let parked = Rc::new(RefCell::new(false));
            let theirs = Rc::clone(&parked);
            let fiber = spawn_local(move || {
                *theirs.borrow_mut() = true;
                fiber::park();
            });
            while !*parked.borrow() {
                fiber::yield_now();
            }
            fiber::yield_now();
            assert!(!fiber.is_finished());
            fiber.fiber().unpark();
            fiber.join().unwrap();
        });
    }
}

#[test]
fn unpark_before_the_fiber_begins() {
    run(|| {
        let fiber = spawn(fiber::park);
        fiber.fiber().unpark();
        fiber.join().unwrap();
    });
}

#[test]
fn unpark_after_the_end_does_nothing() {
    run(|| {
        let fiber = spawn(|| ());
        let it = fiber.fiber().clone();
        fiber.join().unwrap();
        it.unpark();
        // Its control block may serve another fiber by now.
        let other = spawn(|| {
            let start = Instant::now();
            fiber::park_timeout(Duration::from_millis(3));
            start.elapsed()
        });
        it.unpark();
        assert!(other.join().unwrap() >= Duration::from_millis(3));
        it.unpark();
    });
    let stale = run(fiber::current);
    stale.unpark();
}

#[test]
fn unpark_from_a_thread() {
    for engine in Engine::available() {
        run_with(engine, || {
            for _ in 0..500 {
                let me = fiber::current();
                let thread = thread::spawn(move || me.unpark());
                fiber::park();
                // It may have returned from `unpark` only just now.
                kapok::blocking(|| thread.join().unwrap());
            }
        });
    }
}

#[test]
fn park_comes_back_for_a_reason_only() {
    run(|| {
        let tokens = Arc::new(AtomicUsize::new(0));
        let me = fiber::current();
        let theirs = Arc::clone(&tokens);
        let (go, may_go) = mpsc::channel();
        let thread = thread::spawn(move || {
            for () in may_go {
                theirs.fetch_add(1, Ordering::SeqCst);
                me.unpark();
            }
        });
        // Others keep the worker busy, and share its control blocks and timers.
        let stop = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&stop);
        let noise = spawn(move || {
            while !theirs.load(Ordering::SeqCst) {
                spawn(|| fiber::sleep(Duration::from_micros(50))).join().unwrap();
            }
        });
        for round in 1..=1_000 {
            go.send(()).unwrap();
            fiber::park();
            assert_eq!(tokens.load(Ordering::SeqCst), round);
        }
        stop.store(true, Ordering::SeqCst);
        drop(go);
        noise.join().unwrap();
        kapok::blocking(|| thread.join().unwrap());
    });
}

#[test]
fn fibers_hand_a_token_around() {
    run(|| {
        const FIBERS: usize = 10;
        const ROUNDS: usize = 1_000;
        let turns = Rc::new(RefCell::new(Vec::new()));
        let ring: Rc<RefCell<Vec<Fiber>>> = Rc::default();
        let fibers: Vec<_> = (0..FIBERS)
            .map(|i| {
                let (turns, ring) = (Rc::clone(&turns), Rc::clone(&ring));
                spawn_local(move || {
                    for _ in 0..ROUNDS {
                        fiber::park();
                        turns.borrow_mut().push(i);
                        ring.borrow()[(i + 1) % FIBERS].unpark();
                    }
                })
            })
            .collect();
        *ring.borrow_mut() = fibers.iter().map(|fiber| fiber.fiber().clone()).collect();
        ring.borrow()[0].unpark();
        fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
        let expected: Vec<usize> = (0..ROUNDS).flat_map(|_| 0..FIBERS).collect();
        assert_eq!(*turns.borrow(), expected);
    });
}

#[test]
fn park_timeout_is_never_early_without_a_token() {
    run(|| {
        let mut random = Random::new(2);
        for _ in 0..200 {
            let timeout = random.micros_below(1_000);
            let start = Instant::now();
            fiber::park_timeout(timeout);
            assert!(start.elapsed() >= timeout);
        }
        fiber::park_timeout(Duration::ZERO);
    });
}

#[test]
fn park_timeout_takes_the_token() {
    run(|| {
        for timeout in [Duration::ZERO, Duration::from_micros(1), FOR_EVER, Duration::MAX] {
            fiber::current().unpark();
            fiber::park_timeout(timeout);
            let start = Instant::now();
            fiber::park_timeout(Duration::from_millis(1));
            assert!(start.elapsed() >= Duration::from_millis(1), "the token was left behind");
        }
    });
}

#[test]
fn park_timeout_ends_with_an_unpark() {
    run_on_one(|| {
        for timeout in [FOR_EVER, Duration::MAX] {
            let fiber = spawn(move || fiber::park_timeout(timeout));
            fiber::yield_now();
            fiber.fiber().unpark();
            fiber.join().unwrap();
            let me = fiber::current();
            let thread = thread::spawn(move || me.unpark());
            fiber::park_timeout(timeout);
            kapok::blocking(|| thread.join().unwrap());
        }
    });
}

#[test]
fn token_that_comes_after_the_timeout_is_kept() {
    run(|| {
        for _ in 0..100 {
            let me = fiber::current();
            let (sender, go) = mpsc::channel();
            let thread = thread::spawn(move || {
                let () = go.recv().unwrap();
                me.unpark();
            });
            fiber::park_timeout(Duration::from_micros(10));
            sender.send(()).unwrap();
            fiber::park();
            kapok::blocking(|| thread.join().unwrap());
        }
    });
}

#[test]
fn unpark_races_with_the_timeout() {
    run(|| {
        const ROUNDS: usize = 5_000;
        let me = fiber::current();
        let (sender, go) = mpsc::channel();
        let thread = thread::spawn(move || {
            for spins in go {
                (0..spins).for_each(|_| std::hint::spin_loop());
                me.unpark();
            }
        });
        let mut random = Random::new(3);
        let sent = Arc::new(AtomicUsize::new(0));
        for _ in 0..ROUNDS {
            sender.send(random.below(2_000)).unwrap();
            sent.fetch_add(1, Ordering::SeqCst);
            fiber::park_timeout(random.micros_below(100));
        }
        drop(sender);
        kapok::blocking(|| thread.join().unwrap());
        // The last tokens are one now, or none; and then nothing is left.
        fiber::park_timeout(Duration::ZERO);
        let start = Instant::now();
        fiber::park_timeout(Duration::from_millis(2));
        assert!(start.elapsed() >= Duration::from_millis(2));
    });
}

#[test]
fn many_threads_unpark_one_fiber() {
    run(|| {
        const THREADS: usize = 8;
        let arrived = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (me, arrived) = (fiber::current(), Arc::clone(&arrived));
                thread::spawn(move || {
                    for _ in 0..1_000 {
                        arrived.fetch_add(1, Ordering::SeqCst);
                        me.unpark();
                    }
                })
            })
            .collect();
        // Each token that is taken shows at least one arrival since; none of the last ones may be lost.
        while arrived.load(Ordering::SeqCst) < THREADS * 1_000 {
            fiber::park();
        }
        kapok::blocking(|| threads.into_iter().for_each(|thread| thread.join().unwrap()));
    });
}

#[test]
fn plain_threads_park_by_the_same_names() {
    let _watchdog = watchdog();
    fiber::current().unpark();
    fiber::park();
    let start = Instant::now();
    fiber::park_timeout(Duration::from_millis(5));
    assert!(start.elapsed() >= Duration::from_millis(5));
    let me = fiber::current();
    let thread = thread::spawn(move || me.unpark());
    fiber::park();
    thread.join().unwrap();
    // A fiber wakes a thread, and the thread wakes the fiber.
    let me = fiber::current();
    let (sender, receiver) = mpsc::channel();
    let runtime = thread::spawn(move || {
        run(move || {
            sender.send(fiber::current()).unwrap();
            for _ in 0..1_000 {
                fiber::park();
                me.unpark();
            }
        });
    });
    let it = receiver.recv().unwrap();
    for _ in 0..1_000 {
        it.unpark();
        fiber::park();
    }
    runtime.join().unwrap();
}
