//! Fibers that borrow: `fiber::scope` does what `std::thread::scope` does.

mod support;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kapok::fiber;
use support::{run, run_on_one};

#[test]
fn fibers_borrow_and_change_what_the_caller_owns() {
    run(|| {
        let mut numbers = [1, 2, 3, 4];
        let (left, right) = numbers.split_at_mut(2);
        fiber::scope(|s| {
            s.spawn(|| left.iter_mut().for_each(|n| *n *= 10));
            s.spawn(|| right.iter_mut().for_each(|n| *n += 100));
        });
        assert_eq!(numbers, [10, 20, 103, 104]);
    });
}

#[test]
fn results_may_borrow() {
    run(|| {
        let text = String::from("a borrowed text");
        let word = fiber::scope(|s| s.spawn(|| text.split(' ').nth(1).unwrap()).join().unwrap());
        assert_eq!(word, "borrowed");
    });
}

#[test]
fn scope_waits_for_those_that_nobody_joins() {
    run(|| {
        let done = AtomicUsize::new(0);
        fiber::scope(|s| {
            for i in 0..100 {
                let done = &done;
                s.spawn(move || {
                    fiber::sleep(Duration::from_millis(i % 7));
                    done.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(done.load(Ordering::Relaxed), 100);
    });
}

#[test]
fn scope_waits_also_when_its_function_panics() {
    run(|| {
        let done = Cell::new(false);
        let panic = catch_unwind(AssertUnwindSafe(|| {
            fiber::scope(|s| {
                s.spawn_local(|| {
                    kapok::shield(|| fiber::sleep(Duration::from_millis(20)));
                    done.set(true);
                });
                fiber::yield_now(); // it begins
                panic!("the scope's own");
            })
        }))
        .unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"the scope's own"));
        assert!(done.get());
    });
}

#[test]
fn a_panic_that_nobody_joins_is_the_scopes() {
    run(|| {
        let panic = catch_unwind(|| {
            fiber::scope(|s| {
                s.spawn(|| panic!("not seen"));
            });
        })
        .unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"not seen"));
        // One that was joined has been dealt with.
        fiber::scope(|s| assert!(s.spawn(|| panic!("seen")).join().is_err()));
    });
}

#[test]
fn fibers_of_a_scope_start_others_in_it() {
    run(|| {
        let count = AtomicUsize::new(0);
        fiber::scope(|s| {
            s.spawn(|| {
                s.spawn(|| {
                    s.spawn(|| count.fetch_add(1, Ordering::Relaxed));
                    count.fetch_add(1, Ordering::Relaxed)
                });
                count.fetch_add(1, Ordering::Relaxed)
            });
        });
        assert_eq!(count.load(Ordering::Relaxed), 3);
    });
}

#[test]
fn scopes_nest_and_handles_tell_who_and_whether() {
    run_on_one(|| {
        let outer = String::from("outer");
        fiber::scope(|a| {
            let handle = a.spawn(|| {
                let inner = String::from("inner");
                fiber::scope(|b| b.spawn(|| format!("{outer} {inner}")).join().unwrap())
            });
            assert!(!handle.is_finished());
            let named = fiber::Builder::new()
                .name("of a scope".to_owned())
                .spawn_scoped(a, || fiber::current().id())
                .unwrap();
            assert_eq!(named.thread().name(), Some("of a scope"));
            let id = named.fiber().id();
            assert_eq!(named.join().unwrap(), id);
            assert_eq!(handle.join().unwrap(), "outer inner");
        });
    });
}

#[test]
fn a_handle_that_is_leaked_holds_nothing_up() {
    run(|| {
        let text = String::from("borrowed");
        fiber::scope(|s| {
            #[expect(clippy::mem_forget, reason = "leaking it is what is tested")]
            std::mem::forget(s.spawn(|| text.as_str()));
        });
        drop(text);
    });
}

#[test]
fn the_last_of_many_ends_the_scope_in_every_order() {
    run_on_one(|| {
        for round in 0..200_usize {
            let ended = AtomicUsize::new(0);
            fiber::scope(|s| {
                for i in 0..round % 10 {
                    let ended = &ended;
                    s.spawn(move || {
                        (0..(i * round) % 5).for_each(|_| fiber::yield_now());
                        ended.fetch_add(1, Ordering::Relaxed)
                    });
                }
                (0..round % 4).for_each(|_| fiber::yield_now());
            });
            assert_eq!(ended.load(Ordering::Relaxed), round % 10);
        }
    });
}

#[test]
fn a_fiber_that_gets_no_stack_is_no_success() {
    if support::emulator::lacks("RLIMIT_AS") {
        return;
    }
    // Stacks of 1 GiB, more than the address space of the child has room for; the root has its own already.
    let ended = support::child::alone(
        "a_fiber_that_gets_no_stack_is_no_success",
        |_| (),
        || {
            run(|| {
                let limit = 512 * 1024 * 1024;
                rlimit::setrlimit(rlimit::Resource::AS, limit, limit).unwrap();
                let big = || fiber::Builder::new().stack_size(kapok::stack::MAX_SIZE);
                let panic = catch_unwind(|| {
                    fiber::scope(|s| drop(big().spawn_scoped(s, || ())));
                })
                .unwrap_err();
                assert_eq!(panic.downcast_ref(), Some(&"a scoped fiber could not start"));
                fiber::scope(|s| {
                    let reason = big().spawn_scoped(s, || ()).unwrap().join().unwrap_err();
                    assert!(reason.downcast_ref::<String>().unwrap().contains("ulimit -v"));
                });
            });
        },
    );
    if let Some(ended) = ended {
        ended.success();
    }
}
