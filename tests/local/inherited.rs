//! Values that fibers hand on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use kapok::local::{Context, Inherited};
use kapok::{Engine, blocking, fiber, spawn, spawn_local};

use crate::support::{CountsDrops, run, run_with, watchdog};

static NUMBER: Inherited<u32> = Inherited::new();
static NAME: Inherited<String> = Inherited::new();

#[test]
fn children_have_what_their_parent_had_when_it_started_them() {
    for engine in Engine::available() {
        run_with(engine, || {
            assert_eq!(NUMBER.get(), None);
            let fibers = NUMBER.with_value(1, || {
                let early = spawn(|| (NUMBER.get(), NAME.get()));
                let (late, nested) = NAME.with_value("x".to_owned(), || {
                    let nested = spawn(|| spawn(|| (NUMBER.get(), NAME.get())).join().unwrap());
                    (spawn_local(|| (NUMBER.get(), NAME.get())), nested)
                });
                [early, late, nested]
            });
            assert_eq!(NUMBER.get(), None);
            let x = Some("x".to_owned());
            let results = fibers.map(|fiber| fiber.join().unwrap());
            assert_eq!(results, [(Some(1), None), (Some(1), x.clone()), (Some(1), x)]);
        });
    }
}

#[test]
fn what_a_fiber_sets_is_its_own_across_switches() {
    run(|| {
        let fibers: Vec<_> = (0..100)
            .map(|i| {
                spawn(move || {
                    NUMBER.with_value(i, || {
                        for _ in 0..10 {
                            fiber::yield_now();
                            assert_eq!(NUMBER.get(), Some(i));
                        }
                        NUMBER.with_value(i + 1, || {
                            fiber::yield_now();
                            assert_eq!(NUMBER.get(), Some(i + 1));
                        });
                        NUMBER.without_value(|| {
                            fiber::yield_now();
                            assert_eq!(NUMBER.get(), None);
                            assert_eq!(spawn(|| NUMBER.get()).join().unwrap(), None);
                        });
                        assert_eq!(NUMBER.get(), Some(i));
                    });
                    assert_eq!(NUMBER.get(), None);
                })
            })
            .collect();
        fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
    });
}

#[test]
fn scopes_and_blocking_work_and_runtimes_inherit() {
    let _watchdog = watchdog();
    NUMBER.with_value(1, || {
        run(|| {
            assert_eq!(NUMBER.get(), Some(1), "the root, from the thread");
            NUMBER.with_value(2, || {
                assert_eq!(fiber::scope(|s| s.spawn(|| NUMBER.get()).join().unwrap()), Some(2));
                assert_eq!(blocking(|| NUMBER.get()), Some(2));
                assert_eq!(blocking(|| NUMBER.with_value(3, || NUMBER.get())), Some(3));
            });
            // The same thread of the pool, or another: what it had for the last job is not left behind.
            NUMBER.without_value(|| assert_eq!(blocking(|| NUMBER.get()), None));
        });
        assert_eq!(NUMBER.get(), Some(1));
    });
    assert_eq!(NUMBER.get(), None);
}

#[test]
fn unwinding_puts_back_what_was() {
    run(|| {
        NUMBER.with_value(1, || {
            let unwound = catch_unwind(AssertUnwindSafe(|| NUMBER.with_value(2, || panic!("on purpose"))));
            assert!(unwound.is_err());
            assert_eq!(NUMBER.get(), Some(1));
            // On a thread of the pool as well.
            let unwound = catch_unwind(AssertUnwindSafe(|| blocking(|| panic!("on purpose"))));
            assert!(unwound.is_err());
        });
        assert_eq!(blocking(|| NUMBER.get()), None);
    });
}

#[test]
fn reference_stays_good_whatever_is_done_to_the_context() {
    run(|| {
        NAME.with_value("kept".to_owned(), || {
            NAME.with(|name| {
                let name = name.unwrap();
                Context::default().within(|| {
                    assert_eq!(NAME.get(), None);
                    fiber::yield_now();
                    assert_eq!(name, "kept");
                });
                NAME.with_value("other".to_owned(), || assert_eq!(name, "kept"));
            });
        });
    });
}

#[test]
fn context_goes_where_it_is_carried() {
    run(|| {
        let context = NUMBER.with_value(4, || NAME.with_value("y".to_owned(), Context::current));
        let thread = {
            let context = context.clone();
            thread::spawn(move || {
                let within = context.within(|| (NUMBER.get(), NAME.get()));
                (within, NUMBER.get())
            })
        };
        // Not by a wait of the fiber: the thread is to be a plain one.
        let (within, after) = blocking(|| thread.join().unwrap());
        assert_eq!((within, after), ((Some(4), Some("y".to_owned())), None));
        assert_eq!(spawn(move || context.within(|| NUMBER.get())).join().unwrap(), Some(4));
    });
}

#[test]
fn value_is_dropped_with_the_last_that_has_it() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    static COUNTED: Inherited<CountsDrops<'static>> = Inherited::new();
    run(|| {
        let gate = Arc::new(kapok::sync::Baton::new());
        let waits = Arc::clone(&gate);
        let child = COUNTED.with_value(CountsDrops(&DROPS), || spawn(move || waits.wait()));
        fiber::yield_now();
        assert_eq!(DROPS.load(Ordering::SeqCst), 0, "the child has it");
        gate.post();
        child.join().unwrap();
        assert_eq!(DROPS.load(Ordering::SeqCst), 1, "gone before it can be joined");
        // A chain of fibers, each with a value of its own, keeps none but the last.
        fn chain(left: usize) {
            if left > 0 {
                drop(COUNTED.with_value(CountsDrops(&DROPS), || spawn(move || chain(left - 1))));
            }
        }
        chain(1_000);
        while DROPS.load(Ordering::SeqCst) < 1_001 {
            fiber::yield_now();
        }
    });
}

struct PanicsAtTheEnd;

impl Drop for PanicsAtTheEnd {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

#[test]
fn destructor_that_panics_harms_nobody() {
    static BAD: Inherited<PanicsAtTheEnd> = Inherited::new();
    for engine in Engine::available() {
        run_with(engine, || {
            let child = BAD.with_value(PanicsAtTheEnd, || spawn(fiber::yield_now));
            child.join().unwrap();
            BAD.with_value(PanicsAtTheEnd, || ());
            assert!(!thread::panicking());
        });
    }
}
