//! Cancelling across workers: whoever is concerned is told, wherever it runs, and ends once.
//!
//! What is asserted holds in whatever order things happen. Several rounds, and several copies of this program at once,
//! see to it that there are many orders.

mod one_fiber;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use kapok::fiber::{self, JoinHandle, Scope, ScopedJoinHandle};
use kapok::runtime::{Builder, Handle};
use kapok::sync::Baton;
use kapok::{CancelToken, Cancelled, Elapsed, blocking, is_cancelled, race, shield, timeout};

use crate::FOREVER;
use crate::support::{OnDrop, Random, panics, watchdog};

const WORKERS: usize = 4;

const ROUNDS: usize = if cfg!(debug_assertions) { 30 } else { 100 };

#[track_caller]
fn run_on<T>(workers: usize, f: impl FnOnce() -> T) -> T {
    let _watchdog = watchdog();
    Builder::new().workers(workers).run(f).expect("a runtime can be had")
}

fn spawn_on<T: Send + 'static>(worker: usize, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let started = fiber::Builder::new().worker(worker % WORKERS).spawn(f);
    started.expect("there is such a worker")
}

fn scoped_on<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    worker: usize,
    f: impl FnOnce() -> T + Send + 'scope,
) -> ScopedJoinHandle<'scope, T> {
    let started = fiber::Builder::new().worker(worker % WORKERS).spawn_scoped(scope, f);
    started.expect("there is such a worker")
}

/// Counts the bodies of fibers that began, that returned, and that are over.
#[derive(Default)]
struct Tally {
    began: AtomicUsize,
    returned: AtomicUsize,
    over: AtomicUsize,
    /// Posted when as many have begun as were waited for.
    all_began: Baton,
}

impl Tally {
    /// Calls `f` as the body of one.
    fn body<T>(&self, expected: usize, f: impl FnOnce() -> T) -> T {
        let _over = OnDrop(|| _ = self.over.fetch_add(1, Ordering::SeqCst));
        if self.began.fetch_add(1, Ordering::SeqCst) + 1 == expected {
            self.all_began.post();
        }
        let value = f();
        self.returned.fetch_add(1, Ordering::SeqCst);
        value
    }

    /// How many began, of which each is over once, and how many of them were unwound.
    fn over(&self) -> (usize, usize) {
        let [began, returned, over] =
            [&self.began, &self.returned, &self.over].map(|count| count.load(Ordering::SeqCst));
        assert_eq!(began, over, "each body that began is over once");
        (began, began - returned)
    }

    /// As many began, and all of them were unwound.
    fn all_were_unwound(&self, expected: usize) {
        assert_eq!(self.over(), (expected, expected));
    }
}

/// Waits in one of several ways, for ever.
fn wait_somehow(way: usize) {
    match way % 5 {
        0 => Baton::new().wait(),
        1 => fiber::sleep(FOREVER),
        2 => fiber::park(),
        3 => race(|| fiber::sleep(FOREVER), fiber::park),
        _ => loop {
            fiber::yield_now();
        },
    }
}

fn dawdle(random: &mut Random) {
    for _ in 0..random.below(3) {
        fiber::yield_now();
    }
    for _ in 0..random.below(300) {
        std::hint::spin_loop();
    }
}

// ---- tokens ----------------------------------------------------------------------------------------------------------

#[test]
fn a_token_reaches_its_fibers_on_all_workers() {
    const FIBERS: usize = 40;
    run_on(WORKERS, || {
        for round in 0..ROUNDS {
            let (token, tally) = (CancelToken::new(), Arc::new(Tally::default()));
            let fibers: Vec<_> = (0..FIBERS)
                .map(|i| {
                    let (token, tally) = (token.clone(), Arc::clone(&tally));
                    spawn_on(i, move || {
                        let outcome = token.run(|| tally.body(FIBERS, || wait_somehow(i / WORKERS)));
                        assert_eq!(outcome, Err(Cancelled));
                        // The rest of the fiber is none of the token's business.
                        fiber::yield_now();
                        i
                    })
                })
                .collect();
            if round % 2 == 0 {
                tally.all_began.wait();
            }
            match round % 3 {
                0 => token.cancel(),
                1 => thread::scope(|s| drop(s.spawn(|| token.cancel()))),
                _ => {
                    let theirs = token.clone();
                    spawn_on(round, move || theirs.cancel()).join().unwrap();
                }
            }
            assert!(fibers.into_iter().map(|fiber| fiber.join().unwrap()).eq(0..FIBERS));
            tally.all_were_unwound(FIBERS);
        }
    });
}

#[test]
fn several_cancel_at_once_and_again() {
    run_on(WORKERS, || {
        for round in 0..ROUNDS {
            let (token, tally) = (CancelToken::new(), Arc::new(Tally::default()));
            let (theirs, counts) = (token.clone(), Arc::clone(&tally));
            let fiber = Arc::new(spawn_on(round, move || {
                counts.body(1, || {
                    theirs.run(|| fiber::scope(|s| drop(scoped_on(s, round + 1, fiber::park))))
                })
            }));
            let cancellers: Vec<_> = (0..8)
                .map(|i| {
                    let (token, fiber) = (token.clone(), Arc::clone(&fiber));
                    spawn_on(i, move || {
                        dawdle(&mut Random::new((round * 8 + i) as u64));
                        if i % 2 == 0 {
                            token.cancel();
                        }
                        fiber.cancel();
                    })
                })
                .collect();
            cancellers.into_iter().for_each(|canceller| canceller.join().unwrap());
            let fiber = Arc::into_inner(fiber).expect("nobody else has it any more");
            match fiber.join() {
                Ok(outcome) => assert_eq!(outcome, Err(Cancelled)),
                Err(payload) => assert!(payload.is::<Cancelled>()),
            }
            assert!(tally.over().0 <= 1);
        }
    });
}

/// A token is cancelled when the runtime is over, and another one tells it.
#[test]
fn what_is_over_is_not_concerned() {
    let (token, tally) = (CancelToken::new(), Arc::new(Tally::default()));
    let fibers: Vec<_> = run_on(WORKERS, || {
        let fibers = (0..8).map(|i| {
            let (token, tally) = (token.clone(), Arc::clone(&tally));
            spawn_on(i, move || tally.body(8, || token.run(fiber::yield_now)))
        });
        fibers.collect()
    });
    assert_eq!(tally.over(), (8, 0));
    run_on(2, || {
        fibers.iter().for_each(JoinHandle::cancel);
        token.cancel();
        fiber::yield_now();
        assert_eq!(token.run(|| ()), Ok(()));
        assert_eq!(token.run(fiber::yield_now), Err(Cancelled));
    });
    fibers.iter().for_each(JoinHandle::cancel);
    for fiber in fibers {
        assert_eq!(fiber.join().unwrap(), Ok(()));
    }
}

// ---- scopes ----------------------------------------------------------------------------------------------------------

/// Fills a scope: some on each worker, of which some have a scope of their own, with one fiber elsewhere.
fn fill<'scope>(scope: &'scope Scope<'scope, '_>, tally: &'scope Tally) {
    for i in 0..FILLED / 2 {
        drop(scoped_on(scope, i, move || {
            tally.body(FILLED, || {
                fiber::scope(|inner| {
                    drop(scoped_on(inner, i + 1, move || {
                        tally.body(FILLED, || wait_somehow(i / WORKERS));
                    }));
                });
                fiber::park();
            });
        }));
    }
}

/// How many bodies that makes.
const FILLED: usize = 40;

#[test]
fn a_scope_on_all_workers_is_cancelled_by_whomever() {
    run_on(WORKERS, || {
        for round in 0..ROUNDS {
            let tally = Tally::default();
            // Where it is not waited for, some have not begun, and never do.
            let ready = || {
                if round % 2 == 0 {
                    tally.all_began.wait();
                }
            };
            match round % 8 {
                0 | 1 => fiber::scope(|s| {
                    fill(s, &tally);
                    ready();
                    s.cancel();
                }),
                2 | 3 => fiber::scope(|s| {
                    fill(s, &tally);
                    drop(scoped_on(s, round, || {
                        ready();
                        s.cancel();
                    }));
                }),
                4 | 5 => fiber::scope(|s| {
                    fill(s, &tally);
                    // A plain thread.
                    blocking(|| {
                        ready();
                        s.cancel();
                    });
                }),
                _ => fiber::scope(|s| {
                    fill(s, &tally);
                    ready();
                    // Its own worker's thread waits meanwhile.
                    thread::scope(|threads| drop(threads.spawn(|| s.cancel())));
                }),
            }
            let (began, unwound) = tally.over();
            assert_eq!(began, unwound);
            assert!(round % 2 != 0 || began == FILLED);
        }
    });
}

#[test]
fn a_panic_on_another_worker_ends_the_scope() {
    run_on(WORKERS, || {
        for round in 0..ROUNDS {
            let tally = Tally::default();
            let sentence = panics(|| {
                fiber::scope(|s| {
                    fill(s, &tally);
                    drop(scoped_on(s, round, || {
                        if round % 2 == 0 {
                            tally.all_began.wait();
                        }
                        std::panic::resume_unwind(Box::new("one of them"));
                    }));
                    // Nobody can join it any more, so this ends, too.
                    wait_somehow(round);
                });
            });
            assert_eq!(sentence, "one of them");
            let (began, unwound) = tally.over();
            assert_eq!(began, unwound);
        }
    });
}

#[test]
fn a_time_out_around_a_scope_on_all_workers() {
    run_on(WORKERS, || {
        for round in 0..ROUNDS {
            let tally = Tally::default();
            let mut random = Random::new(round as u64);
            let outcome = timeout(random.micros_below(1000), || {
                fiber::scope(|s| {
                    fill(s, &tally);
                    if round % 3 == 0 {
                        wait_somehow(round);
                    }
                });
            });
            assert_eq!(outcome, Err(Elapsed));
            let (began, unwound) = tally.over();
            assert_eq!(began, unwound);
        }
    });
}

#[test]
fn a_thread_cancels_the_fiber_of_a_scope() {
    run_on(WORKERS, || {
        for round in 0..ROUNDS {
            let tally = Arc::new(Tally::default());
            let theirs = Arc::clone(&tally);
            let fiber = spawn_on(round, move || {
                fiber::scope(|s| {
                    fill(s, &theirs);
                    if round % 3 == 0 {
                        wait_somehow(round);
                    }
                });
            });
            if round % 2 == 0 {
                tally.all_began.wait();
            }
            thread::scope(|s| drop(s.spawn(|| fiber.cancel())));
            assert!(fiber.join().unwrap_err().is::<Cancelled>());
            let (began, unwound) = tally.over();
            assert_eq!(began, unwound);
        }
    });
}

/// A tree of scopes, each fiber of which is on another worker than its parent. The leaves wait, or end when `go` says so.
fn tree(at: usize, depth: usize, leaves: &Leaves<'_>) {
    leaves.tally.body(0, || {
        if depth == 0 {
            if leaves.begun.fetch_add(1, Ordering::SeqCst) + 1 == leaves.expected {
                leaves.all.post();
            }
            return fiber::park();
        }
        fiber::scope(|s| {
            for i in 1..WORKERS {
                drop(scoped_on(s, at + i, move || tree(at + i, depth - 1, leaves)));
            }
        });
    });
}

struct Leaves<'a> {
    tally: &'a Tally,
    begun: AtomicUsize,
    expected: usize,
    all: Baton,
}

#[test]
fn nested_scopes_over_workers_end_by_branches_and_as_a_whole() {
    // Each root with 3 + 9 + 27 below it.
    const BRANCH: usize = 1 + 3 + 9 + 27;
    run_on(WORKERS, || {
        for round in 0..ROUNDS {
            let (first, second) = (Tally::default(), Tally::default());
            let leaves = |tally| Leaves {
                tally,
                begun: AtomicUsize::new(0),
                expected: 27,
                all: Baton::new(),
            };
            let [one, other] = [leaves(&first), leaves(&second)];
            let token = CancelToken::new();
            let outcome = token.run(|| {
                fiber::scope(|s| {
                    let one_branch = scoped_on(s, round, || tree(round, 3, &one));
                    let other_branch = scoped_on(s, round + 1, || tree(round + 1, 3, &other));
                    one.all.wait();
                    other.all.wait();
                    one_branch.cancel();
                    assert!(one_branch.join().unwrap_err().is::<Cancelled>());
                    first.all_were_unwound(BRANCH);
                    assert!(!other_branch.is_finished() && second.over.load(Ordering::SeqCst) == 0);
                    if round % 2 == 0 {
                        token.cancel();
                    } else {
                        thread::scope(|s| drop(s.spawn(|| token.cancel())));
                    }
                    drop(other_branch.join());
                });
            });
            assert_eq!(outcome, Err(Cancelled));
            second.all_were_unwound(BRANCH);
        }
    });
}

#[test]
fn a_shield_on_another_worker_finishes() {
    run_on(WORKERS, || {
        for round in 0..ROUNDS {
            let (inside, go, tally) = (Baton::new(), Arc::new(Baton::new()), Tally::default());
            let finished = AtomicUsize::new(0);
            let token = CancelToken::new();
            let outcome = token.run(|| {
                fiber::scope(|s| {
                    drop(scoped_on(s, round, || {
                        tally.body(1, || {
                            shield(|| {
                                inside.post();
                                go.wait();
                                // It keeps out what is around a scope within it, too.
                                fiber::scope(|s| drop(scoped_on(s, round + 1, fiber::yield_now)));
                                assert!(!is_cancelled());
                                finished.fetch_add(1, Ordering::SeqCst);
                            });
                            assert!(is_cancelled());
                            fiber::yield_now();
                        });
                    }));
                    inside.wait();
                    token.cancel();
                    let go = Arc::clone(&go);
                    drop(spawn_on(round + 2, move || go.post()));
                    fiber::park();
                });
            });
            assert_eq!((outcome, finished.into_inner()), (Err(Cancelled), 1));
            tally.all_were_unwound(1);
        }
    });
}

/// The loser of a race has fibers elsewhere, which have ended before the race has.
#[test]
fn who_loses_a_race_has_fibers_on_other_workers() {
    run_on(WORKERS, || {
        for round in 0..ROUNDS {
            let tally = Tally::default();
            let winner = race(
                || {
                    fiber::scope(|s| fill(s, &tally));
                    "all of them"
                },
                || {
                    dawdle(&mut Random::new(round as u64));
                    "alone"
                },
            );
            assert_eq!(winner, "alone");
            let (began, unwound) = tally.over();
            assert_eq!(began, unwound);
        }
    });
}

// ---- runtimes --------------------------------------------------------------------------------------------------------

#[test]
fn fibers_of_a_runtime_within_a_fiber() {
    run_on(WORKERS, || {
        for round in 0..ROUNDS / 3 {
            let (token, tally) = (CancelToken::new(), Arc::new(Tally::default()));
            let (theirs, counts) = (token.clone(), Arc::clone(&tally));
            let outer = spawn_on(1 + round % 3, move || {
                let inner = || {
                    let fibers: Vec<_> = (0..8)
                        .map(|i| {
                            let (token, tally) = (theirs.clone(), Arc::clone(&counts));
                            let builder = fiber::Builder::new().worker(i % 2);
                            let body = move || token.run(|| tally.body(8, || wait_somehow(i / 2)));
                            builder.spawn(body).unwrap()
                        })
                        .collect();
                    for fiber in fibers {
                        assert_eq!(fiber.join().unwrap(), Err(Cancelled));
                    }
                    assert!(!is_cancelled(), "nothing comes in from around a runtime");
                    Handle::current().workers()
                };
                let workers = Builder::new().workers(2).run(inner).unwrap();
                assert_eq!(workers, 2);
                if round % 2 == 0 {
                    fiber::park();
                }
            });
            tally.all_began.wait();
            if round % 2 == 0 {
                // It is not reached while its thread is at work for the other runtime.
                outer.cancel();
            }
            token.cancel();
            match outer.join() {
                Ok(()) => assert!(round % 2 == 1),
                Err(payload) => assert!(payload.is::<Cancelled>() && round % 2 == 0),
            }
            tally.all_were_unwound(8);
        }
    });
}

/// Fibers of two runtimes in the hands of one token, and in each other's.
#[test]
fn fibers_of_two_runtimes_side_by_side() {
    let _watchdog = watchdog();
    let runtimes = [(); 2].map(|()| Builder::new().workers(2).build().unwrap());
    for round in 0..ROUNDS {
        let (token, tally) = (CancelToken::new(), Arc::new(Tally::default()));
        let fibers: Vec<_> = (0..12)
            .map(|i| {
                let (token, tally) = (token.clone(), Arc::clone(&tally));
                let body = move || token.run(|| tally.body(12, || wait_somehow(i / 2)));
                runtimes[i % 2].handle().spawn(body).unwrap()
            })
            .collect();
        if round % 2 == 0 {
            tally.all_began.wait();
        }
        let canceller = runtimes[round % 2].handle().spawn(move || token.cancel()).unwrap();
        for fiber in fibers {
            assert_eq!(fiber.join().unwrap(), Err(Cancelled));
        }
        canceller.join().unwrap();
        let (began, unwound) = tally.over();
        assert_eq!(began, unwound);
    }
}
