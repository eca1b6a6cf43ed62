//! Coroutines in coroutines, and in fibers.

use std::cell::RefCell;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use kapok::coroutine::CoroutineState::{Complete, Yielded};
use kapok::coroutine::{Coroutine, Yielder};
use kapok::{Engine, fiber, spawn_local, stack};

use super::{each_engine, make, notes};
use crate::support::{OnDrop, Random, child, panics, run, run_with};

/// Yields the numbers up to `depth` and back, each from one coroutine deeper.
fn nested(engine: Engine, depth: u32) -> Coroutine<(), u32, u32> {
    make(engine, move |yielder, ()| {
        yielder.suspend(depth);
        if depth == 0 {
            return 0;
        }
        let mut inner = nested(engine, depth - 1);
        loop {
            match inner.resume(()) {
                Yielded(value) => yielder.suspend(value),
                Complete(sum) => return sum + depth,
            }
        }
    })
}

#[test]
fn coroutines_nest() {
    each_engine(|engine| {
        let mut outer = nested(engine, 20);
        for depth in (0..=20).rev() {
            assert_eq!(outer.resume(()), Yielded(depth));
        }
        assert_eq!(outer.resume(()), Complete((1..=20).sum()));
        // Dropped half-way, each unwinds the one within.
        let mut outer = nested(engine, 20);
        for _ in 0..10 {
            outer.resume(());
        }
        drop(outer);
        assert!(!thread::panicking());
    });
}

#[test]
fn panic_passes_through_all_levels() {
    fn deep(engine: Engine, depth: u32) -> Coroutine<(), (), ()> {
        make(engine, move |_, ()| match depth {
            0 => panic!("at the bottom"),
            _ => drop(deep(engine, depth - 1).resume(())),
        })
    }
    each_engine(|engine| assert_eq!(panics(|| deep(engine, 10).resume(())), "at the bottom"));
}

/// Each engine with each.
fn pairs() -> impl Iterator<Item = (Engine, Engine)> {
    let engines = Engine::available();
    let with_all = |one: Engine| Engine::available().into_iter().map(move |other| (one, other));
    engines.into_iter().flat_map(with_all)
}

#[test]
fn engines_nest_in_each_other() {
    for (outer, inner) in pairs() {
        let mut coroutine = make(outer, move |yielder, ()| {
            let mut within = nested(inner, 5);
            while let Yielded(value) = within.resume(()) {
                yielder.suspend(value);
            }
        });
        for depth in (0..=5).rev() {
            assert_eq!(coroutine.resume(()), Yielded(depth));
        }
        assert_eq!(coroutine.resume(()), Complete(()));
    }
}

#[test]
fn many_are_alive_at_once() {
    // In a process of its own, for each takes two mappings.
    child::undisturbed("nesting::many_are_alive_at_once", || {
        each_engine(|engine| {
            let body = |yielder: &Yielder<usize, usize>, first: usize| {
                let mut sum = first;
                for _ in 0..3 {
                    sum += yielder.suspend(sum);
                }
                sum
            };
            let mut all: Vec<_> = (0..10_000)
                .map(|_| Coroutine::with(engine, stack::MIN_SIZE, body).unwrap())
                .collect();
            for round in 1..=3 {
                for (i, coroutine) in all.iter_mut().enumerate() {
                    assert_eq!(coroutine.resume(i), Yielded(round * i));
                }
            }
            // Half of them end, in no order; the others are unwound.
            Random::new(1).shuffle(&mut all);
            let rest = all.split_off(5_000);
            for mut coroutine in all {
                let sum = coroutine.resume(0);
                assert!(matches!(sum, Complete(sum) if sum % 3 == 0));
            }
            drop(rest);
        });
    });
}

#[test]
fn fiber_that_sleeps_within_a_coroutine() {
    each_engine(|engine| {
        run_with(engine, || {
            let fibers: Vec<_> = (0..20_u64)
                .map(|i| {
                    spawn_local(move || {
                        let mut coroutine = make(engine, move |yielder, ()| {
                            for round in 0..5 {
                                fiber::sleep(Duration::from_micros(100 * (i % 3)));
                                fiber::yield_now();
                                kapok::blocking(|| ());
                                yielder.suspend(round);
                                fiber::sleep(Duration::from_micros(50));
                            }
                            i
                        });
                        for round in 0..5 {
                            assert_eq!(coroutine.resume(()), Yielded(round));
                            fiber::yield_now();
                        }
                        assert_eq!(coroutine.resume(()), Complete(i));
                    })
                })
                .collect();
            fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
        });
    });
}

#[test]
fn coroutine_of_another_engine_within_a_fiber() {
    for (runtime, inner) in pairs() {
        run_with(runtime, move || {
            let mut coroutine = make(inner, |yielder, ()| {
                fiber::yield_now();
                yielder.suspend(1);
                fiber::sleep(Duration::from_micros(10));
                2
            });
            assert_eq!(coroutine.resume(()), Yielded(1));
            assert_eq!(coroutine.resume(()), Complete(2));
        });
    }
}

#[test]
fn fiber_that_drops_a_coroutine_may_wait_in_its_destructors() {
    each_engine(|engine| {
        run_with(engine, || {
            let log = Rc::new(RefCell::new(Vec::new()));
            let theirs = Rc::clone(&log);
            let mut coroutine = make(engine, move |yielder: &Yielder<(), ()>, ()| {
                let _noted = notes(&theirs, "noted");
                let _waits = OnDrop(|| {
                    fiber::yield_now();
                    fiber::sleep(Duration::from_micros(10));
                });
                yielder.suspend(());
            });
            coroutine.resume(());
            drop(coroutine);
            assert_eq!(*log.borrow(), ["noted"]);
        });
    });
}

#[test]
fn coroutine_goes_from_fiber_to_fiber() {
    each_engine(|engine| {
        run_with(engine, || {
            let log = Rc::new(RefCell::new(Vec::new()));
            let theirs = Rc::clone(&log);
            // Made and begun in one fiber, resumed in a second, dropped in a third.
            let begun = spawn_local(move || {
                let mut coroutine = make(engine, move |yielder, ()| {
                    let _noted = notes(&theirs, "unwound");
                    loop {
                        let mine = fiber::current().id();
                        fiber::yield_now();
                        assert_eq!(fiber::current().id(), mine);
                        yielder.suspend(mine);
                    }
                });
                let Yielded::<_, ()>(id) = coroutine.resume(()) else {
                    panic!("it suspends itself");
                };
                (coroutine, id)
            });
            let (mut coroutine, first) = begun.join().unwrap();
            let resumed = spawn_local(move || {
                let Yielded(id) = coroutine.resume(()) else {
                    panic!("it suspends itself");
                };
                assert_eq!(id, fiber::current().id());
                (coroutine, id)
            });
            let (coroutine, second) = resumed.join().unwrap();
            assert_ne!(first, second);
            assert!(log.borrow().is_empty());
            spawn_local(move || drop(coroutine)).join().unwrap();
            assert_eq!(*log.borrow(), ["unwound"]);
        });
    });
}

#[test]
fn coroutine_outlives_the_runtime_that_it_was_begun_in() {
    let mut coroutine = run(|| {
        let mut coroutine = make(Engine::default(), |yielder, ()| {
            assert!(fiber::is_fiber());
            yielder.suspend(());
            assert!(!fiber::is_fiber());
        });
        assert_eq!(coroutine.resume(()), Yielded(()));
        coroutine
    });
    assert_eq!(coroutine.resume(()), Complete(()));
}

#[test]
fn runtime_within_a_coroutine() {
    each_engine(|engine| {
        let mut coroutine = make(engine, move |yielder, ()| {
            let first = run_with(engine, || spawn_local(|| 1).join().unwrap());
            yielder.suspend(first);
            run_with(engine, || 2)
        });
        assert_eq!(coroutine.resume(()), Yielded(1));
        assert_eq!(coroutine.resume(()), Complete(2));
    });
}

#[test]
fn suspending_on_another_stack_is_refused() {
    run(|| {
        let mut coroutine = Coroutine::<(), u32, ()>::new(|yielder, ()| {
            // A scope may lend the yielder to a fiber, which has a stack of its own.
            let refused = kapok::scope(|s| s.spawn_local(|| yielder.suspend(1)).join());
            let sentence = refused.unwrap_err().downcast::<&str>().unwrap();
            assert!(sentence.contains("another stack"), "{sentence}");
            yielder.suspend(2);
        })
        .unwrap();
        assert_eq!(coroutine.resume(()), Yielded(2));
        assert_eq!(coroutine.resume(()), Complete(()));
    });
}
