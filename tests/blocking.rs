//! Work on other threads, while the fiber that asked for it waits.

mod support;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use kapok::blocking::{max_threads, set_keep_alive, set_max_threads, stats};
use kapok::sync::Baton;
use kapok::{Engine, blocking, fiber, spawn};

use support::{CountsDrops, OnDrop, child, panics, run, run_on_one, run_with, says, sentence, show, watchdog};

/// At most so many threads work at once, where nothing else is said.
const BOUND: usize = blocking::DEFAULT_MAX_THREADS;

/// Waits for what other threads are about to bring about; the watchdog ends a wait that is in vain.
fn until(condition: impl Fn() -> bool) {
    while !condition() {
        thread::sleep(Duration::from_micros(100));
    }
}

#[test]
fn value_comes_back() {
    for engine in Engine::available() {
        run_with(engine, || {
            assert_eq!(blocking(|| 6 * 7), 42);
            blocking(|| ());
            assert_eq!(blocking(|| vec![1_u8; 100_000]).len(), 100_000);
            assert_eq!(blocking(|| [7_u64; 2_000])[1_999], 7);
        });
    }
}

#[test]
fn work_is_done_on_another_thread() {
    run(|| {
        let here = thread::current().id();
        let there = blocking(|| thread::current().id());
        assert_ne!(here, there);
        assert!(!blocking(fiber::is_fiber));
    });
}

#[test]
fn on_a_plain_thread_the_work_is_done_right_there() {
    let _watchdog = watchdog();
    let here = thread::current().id();
    // It need not wait for the pool, and so it may be called from the pool.
    assert_eq!(blocking(|| thread::current().id()), here);
    run(|| {
        let (outer, inner) = blocking(|| (thread::current().id(), blocking(|| thread::current().id())));
        assert_eq!(outer, inner);
    });
    assert_eq!(panics(|| blocking(|| panic!("as it is"))), "as it is");
}

#[test]
fn work_may_borrow_from_its_caller() {
    run(|| {
        let text = String::from("borrowed");
        let mut list = vec![1, 2, 3];
        let total: usize = blocking(|| {
            list.push(4);
            thread::yield_now();
            list.iter().sum::<usize>() + text.len()
        });
        assert_eq!((total, list.len()), (18, 4));
        let slice: &str = blocking(|| &text[..3]);
        assert_eq!(slice, "bor");
        // Frames of many fibers at once.
        let fibers: Vec<_> = (0..100_usize)
            .map(|i| {
                spawn(move || {
                    let mut array = [i; 64];
                    for _ in 0..10 {
                        blocking(|| array.iter_mut().for_each(|n| *n += 1));
                    }
                    array.iter().all(|&n| n == i + 10)
                })
            })
            .collect();
        assert!(fibers.into_iter().all(|fiber| fiber.join().unwrap()));
    });
}

#[test]
fn what_the_fiber_wrote_is_seen_and_what_the_work_wrote_as_well() {
    run(|| {
        let cells: [AtomicUsize; 16] = Default::default();
        for round in 0..2_000 {
            cells.iter().for_each(|cell| cell.store(round, Ordering::Relaxed));
            blocking(|| {
                for cell in &cells {
                    assert_eq!(cell.load(Ordering::Relaxed), round);
                    cell.store(round + 1, Ordering::Relaxed);
                }
            });
            assert!(cells.iter().all(|cell| cell.load(Ordering::Relaxed) == round + 1));
        }
    });
}

#[test]
fn panic_comes_back() {
    for engine in Engine::available() {
        run_with(engine, || {
            assert_eq!(panics(|| blocking(|| panic!("over there"))), "over there");
            let payload = catch_unwind(AssertUnwindSafe(|| blocking(|| panic_any(9_u8)))).unwrap_err();
            assert_eq!(payload.downcast_ref(), Some(&9_u8));
            assert!(!thread::panicking());
            // The pool is not the worse for it.
            for i in 0..100 {
                let result = catch_unwind(AssertUnwindSafe(|| blocking(|| assert_ne!(i % 2, 0))));
                assert_eq!(result.is_err(), i % 2 == 0);
            }
            let unwound = spawn(|| blocking(|| panic!("and to the joiner")));
            assert_eq!(sentence(unwound.join().unwrap_err()), "and to the joiner");
        });
    }
}

#[test]
fn result_is_dropped_once_by_the_fiber() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    run(|| {
        let captured = CountsDrops(&DROPS);
        let result = blocking(move || captured);
        assert_eq!(DROPS.load(Ordering::SeqCst), 0);
        drop(result);
        assert_eq!(DROPS.load(Ordering::SeqCst), 1);
        let (used, unused) = (CountsDrops(&DROPS), CountsDrops(&DROPS));
        let payload = catch_unwind(AssertUnwindSafe(|| {
            blocking(move || {
                let _dropped_there = unused;
                panic_any(used);
            });
        }))
        .unwrap_err();
        assert_eq!(DROPS.load(Ordering::SeqCst), 2);
        drop(payload);
        assert_eq!(DROPS.load(Ordering::SeqCst), 3);
    });
}

#[test]
fn others_run_meanwhile() {
    run_on_one(|| {
        // The work ends when another fiber of the same thread lets it.
        let (sender, receiver) = mpsc::channel();
        let helper = spawn(move || {
            for i in 0..10 {
                fiber::yield_now();
                fiber::sleep(Duration::from_micros(100));
                sender.send(i).unwrap();
            }
        });
        let sum: u32 = blocking(move || receiver.iter().sum());
        assert_eq!(sum, 45);
        helper.join().unwrap();
    });
}

#[test]
fn work_and_fiber_can_use_one_baton() {
    run(|| {
        let (there, back) = (Arc::new(Baton::new()), Arc::new(Baton::new()));
        let fiber = spawn({
            let (there, back) = (Arc::clone(&there), Arc::clone(&back));
            move || {
                there.wait();
                back.post();
            }
        });
        blocking(|| {
            there.post();
            back.wait();
        });
        fiber.join().unwrap();
    });
}

#[test]
fn more_jobs_than_threads_all_finish() {
    run(|| {
        let (working, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let fibers: Vec<_> = (0..200_usize)
            .map(|i| {
                let (working, most) = (Arc::clone(&working), Arc::clone(&most));
                spawn(move || {
                    blocking(|| {
                        let now = working.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        thread::sleep(Duration::from_millis(5));
                        working.fetch_sub(1, Ordering::SeqCst);
                        i
                    })
                })
            })
            .collect();
        for (i, fiber) in fibers.into_iter().enumerate() {
            assert_eq!(fiber.join().unwrap(), i);
        }
        let most = most.load(Ordering::SeqCst);
        assert!((1..=BOUND).contains(&most), "{most} threads at once");
    });
}

#[test]
fn as_many_threads_work_at_once_as_the_bound_says() {
    // In a process of its own: somebody else's job would keep a thread from them.
    child::undisturbed("as_many_threads_work_at_once_as_the_bound_says", || {
        run(|| {
            for _ in 0..3 {
                let barrier = Arc::new(Barrier::new(BOUND));
                let fibers: Vec<_> = (0..BOUND)
                    .map(|_| {
                        let barrier = Arc::clone(&barrier);
                        spawn(move || blocking(|| barrier.wait().is_leader()))
                    })
                    .collect();
                let leaders = fibers.into_iter().filter(|_| true).map(|fiber| fiber.join().unwrap());
                assert_eq!(leaders.filter(|&leader| leader).count(), 1);
            }
        });
    });
}

#[test]
fn threads_are_used_again() {
    child::undisturbed("threads_are_used_again", || {
        let threads = run(|| {
            let mut threads = HashSet::new();
            for _ in 0..500 {
                threads.insert(blocking(|| thread::current().id()));
            }
            threads.len()
        });
        // One that has just done a job may not be idle again when the next comes.
        assert!(threads <= BOUND, "{threads} threads for one job at a time");
    });
}

#[test]
fn several_runtimes_share_the_pool() {
    let _watchdog = watchdog();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            thread::spawn(|| {
                run(|| {
                    let fibers: Vec<_> = (0..50_u32)
                        .map(|i| spawn(move || (0..20).map(|n| blocking(|| n * i)).sum::<u32>()))
                        .collect();
                    for (i, fiber) in (0..).zip(fibers) {
                        assert_eq!(fiber.join().unwrap(), 190 * i);
                    }
                });
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn during_a_panic_the_work_is_done_right_there() {
    run(|| {
        let here = thread::current().id();
        let mut there = None;
        panics(|| {
            let _works = OnDrop(|| there = Some(blocking(|| thread::current().id())));
            panic!("on purpose");
        });
        assert_eq!(there, Some(here));
    });
}

#[test]
fn fiber_keeps_what_is_not_send() {
    run(|| {
        let local = Rc::new(5);
        let number = blocking(|| 1) + *local;
        assert_eq!(number, 6);
        assert_eq!(Rc::strong_count(&local), 1);
    });
}

#[test]
#[cfg_attr(
    target_env = "musl",
    ignore = "its allocator keeps nothing for when there is no more address space"
)]
fn where_no_thread_can_be_had_the_fiber_does_the_work() {
    if support::emulator::lacks("RLIMIT_AS") {
        return;
    }
    child::undisturbed("where_no_thread_can_be_had_the_fiber_does_the_work", || {
        run(|| {
            let here = thread::current().id();
            let (soft, hard) = rlimit::getrlimit(rlimit::Resource::AS).expect("there is always a limit");
            // Small things come from what the allocator has; a thread's stack would have to be mapped.
            drop(std::hint::black_box(vec![0_u8; 100_000]));
            rlimit::setrlimit(rlimit::Resource::AS, 4096, hard).expect("one may have less");
            let there = blocking(|| thread::current().id());
            rlimit::setrlimit(rlimit::Resource::AS, soft, hard).expect("as before");
            assert_eq!(there, here);
            assert_ne!(blocking(|| thread::current().id()), here, "now there is room");
        });
    });
}

#[test]
fn line_is_seen_and_moves_when_the_bound_is_raised() {
    child::undisturbed("line_is_seen_and_moves_when_the_bound_is_raised", || {
        assert_eq!((stats().threads, stats().completed, stats().max_threads), (0, 0, BOUND));
        run(|| {
            set_max_threads(2);
            let (working, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(4)));
            let fibers: Vec<_> = (0..4)
                .map(|_| {
                    let (working, gate) = (Arc::clone(&working), Arc::clone(&gate));
                    spawn(move || {
                        blocking(|| {
                            working.fetch_add(1, Ordering::SeqCst);
                            gate.wait();
                        });
                    })
                })
                .collect();
            fiber::yield_now();
            // Another worker may have taken some of them, and be about to run them.
            until(|| working.load(Ordering::SeqCst) == 2 && stats().queued == 2);
            let now = stats();
            assert_eq!((now.threads, now.idle, now.max_threads), (2, 0, 2));
            assert_eq!((now.completed, now.peak_threads), (0, 2));
            set_max_threads(3);
            until(|| working.load(Ordering::SeqCst) == 3);
            assert_eq!((stats().threads, stats().queued), (3, 1));
            set_max_threads(100);
            for fiber in fibers {
                fiber.join().unwrap();
            }
            until(|| stats().idle == 4);
            let then = stats();
            assert_eq!((then.threads, then.queued, then.completed), (4, 0, 4));
            assert!(
                then.peak_threads == 4 && (2..=4).contains(&then.peak_queued),
                "{then:?}"
            );
        });
    });
}

#[test]
fn threads_go_when_they_are_idle_or_too_many() {
    child::undisturbed("threads_go_when_they_are_idle_or_too_many", || {
        let all_at_once = |n| {
            let gate = Barrier::new(n);
            fiber::scope(|s| {
                (0..n).for_each(|_| drop(s.spawn(|| blocking(|| gate.wait()))));
            });
        };
        run(|| {
            all_at_once(8);
            until(|| stats().idle == 8);
            set_max_threads(3);
            until(|| stats().threads == 3);
            all_at_once(3);
            set_max_threads(1);
            until(|| stats().threads == 1);
            set_keep_alive(Duration::from_millis(1));
            // The one that waits knows of the time that was.
            all_at_once(1);
            until(|| stats().threads == 0);
            set_max_threads(5);
            all_at_once(5);
            until(|| (stats().threads, stats().idle, stats().queued) == (0, 0, 0));
        });
    });
}

#[test]
fn bounds_that_come_and_go_lose_no_work() {
    child::undisturbed("bounds_that_come_and_go_lose_no_work", || {
        run(|| {
            set_keep_alive(Duration::ZERO);
            let fibers: Vec<_> = (0..20_usize)
                .map(|i| spawn(move || (0..200).map(|n| blocking(|| n * i)).sum::<usize>()))
                .collect();
            for max in (1..8).cycle().take(500) {
                set_max_threads(max);
                fiber::yield_now();
            }
            for (i, fiber) in fibers.into_iter().enumerate() {
                assert_eq!(fiber.join().unwrap(), 19_900 * i);
            }
            assert_eq!((stats().queued, stats().completed), (0, 4_000));
        });
    });
}

#[test]
fn work_that_waits_for_work_needs_a_thread_for_each() {
    child::undisturbed("work_that_waits_for_work_needs_a_thread_for_each", || {
        run(|| {
            // The one waits for what the other brings about, which is begun when the first one has its thread.
            let game = |patience: Duration| {
                let (began, baton) = (Arc::new(Baton::new()), Arc::new(Baton::new()));
                let (begins, poster) = (Arc::clone(&began), Arc::clone(&baton));
                let waits = spawn(move || {
                    blocking(|| {
                        begins.post();
                        baton.wait_timeout(patience)
                    })
                });
                began.wait();
                let posts = spawn(move || blocking(|| poster.post()));
                posts.join().unwrap();
                waits.join().unwrap()
            };
            set_max_threads(1);
            assert!(!game(Duration::from_millis(1)));
            set_max_threads(2);
            assert!(game(Duration::MAX));
            // Not so within one: that is done in its place.
            set_max_threads(1);
            assert_eq!(blocking(|| blocking(|| blocking(|| 5))), 5);
        });
    });
}

#[test]
fn environment_sets_the_bound() {
    for (value, expected) in [
        ("3", Some(3)),
        ("", Some(BOUND)),
        ("0", None),
        ("-1", None),
        ("many", None),
    ] {
        let ended = child::alone(
            "environment_sets_the_bound",
            |command| _ = command.env("KAPOK_BLOCKING_THREADS", value),
            || {
                let _watchdog = watchdog();
                match kapok::run(max_threads) {
                    Ok(max) => show(&format!("at most {max} threads")),
                    Err(error) => show(&format!("{:?}: {error}", error.kind())),
                }
                set_max_threads(7);
                assert_eq!(max_threads(), 7, "what is said in code goes first");
            },
        );
        let Some(ended) = ended else { return };
        let output = ended.success();
        match expected {
            Some(max) => says(&output, &[&format!("at most {max} threads")]),
            None => says(&output, &["InvalidInput: KAPOK_BLOCKING_THREADS: ", value]),
        }
    }
    assert_eq!(
        panics(|| set_max_threads(0)),
        "kapok::blocking::set_max_threads: there has to be one"
    );
}

#[test]
fn threads_have_names() {
    run(|| {
        let name = blocking(|| thread::current().name().unwrap().to_owned());
        assert!(
            name.strip_prefix("kapok-block-")
                .is_some_and(|n| n.parse::<u32>().is_ok()),
            "{name}"
        );
    });
}

#[test]
#[expect(unsafe_code, reason = "fork")]
fn a_forked_child_has_a_pool_of_its_own() {
    child::undisturbed("a_forked_child_has_a_pool_of_its_own", || {
        let _watchdog = watchdog();
        // Threads that are idle, and one that is in the middle of something.
        let (begun, begins) = mpsc::channel();
        let (end, ends) = mpsc::channel::<()>();
        let busy = thread::spawn(move || {
            kapok::run(|| {
                blocking(move || {
                    begun.send(()).unwrap();
                    ends.recv().unwrap_err();
                });
            })
        });
        begins.recv().unwrap();
        assert_eq!(run(|| blocking(|| 1)), 1);
        until(|| stats().idle == 1);
        // SAFETY: the child does what a child of a process with threads may count on with this libc: it allocates, and starts
        // threads. It does not return from here.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            let none = stats().threads;
            let sum: Result<i32, _> = kapok::run(|| (0..10).map(|n| blocking(|| n)).sum());
            let good = none == 0 && sum.is_ok_and(|sum| sum == 45) && stats().completed == 10;
            // SAFETY: ends the child, and runs nothing of the parent's.
            unsafe { libc::_exit(if good { 42 } else { 1 }) };
        }
        let mut status = 0;
        // SAFETY: our child, and a place for its status.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert!(
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 42,
            "{status:#x}"
        );
        // The parent's is as it was.
        assert_eq!(stats().completed, 1);
        drop(end);
        busy.join().unwrap().unwrap();
        assert_eq!(stats().completed, 2);
    });
}
