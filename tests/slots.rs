//! Thread-locals of code that does not know of fibers, swapped when fibers are.
//!
//! [`Scoped`] is what crates such as `scoped-tls` and `tracing` do, with values in place of pointers, so that going wrong is only
//! wrong.

mod support;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::thread::LocalKey;

use kapok::coroutine::Coroutine;
use kapok::local::{on_switch, per_fiber};
use kapok::{Engine, blocking, fiber, no_suspend, spawn, spawn_local};

use support::{child, run, run_with, watchdog};

/// Sets a thread-local for the time of a call, and puts back what was there before.
struct Scoped(&'static LocalKey<Cell<u32>>);

impl Scoped {
    fn with<R>(&self, value: u32, f: impl FnOnce() -> R) -> R {
        struct Reset(&'static LocalKey<Cell<u32>>, u32);
        impl Drop for Reset {
            fn drop(&mut self) {
                self.0.set(self.1);
            }
        }
        let _reset = Reset(self.0, self.0.replace(value));
        f()
    }

    fn get(&self) -> u32 {
        self.0.get()
    }
}

/// Two fibers whose scopes overlap: the first to enter is the first to leave. Gives what each saw after it had waited
/// within, and what the thread is left with.
fn overlap(scoped: &'static Scoped) -> (u32, u32, u32) {
    let fibers = [1, 2].map(|value| {
        spawn_local(move || {
            scoped.with(value, || {
                fiber::yield_now();
                let seen = scoped.get();
                fiber::yield_now();
                seen
            })
        })
    });
    let [first, second] = fibers.map(|fiber| fiber.join().unwrap());
    (first, second, scoped.get())
}

#[test]
fn scopes_of_fibers_that_wait_within_them_get_mixed_up() {
    thread_local!(static KEY: Cell<u32> = const { Cell::new(0) });
    static SCOPED: Scoped = Scoped(&KEY);
    for engine in Engine::available() {
        run_with(engine, || {
            // The first sees the second's; and the second puts back the first's, which has ended. With pointers in place
            // of values that one would dangle.
            assert_eq!(overlap(&SCOPED), (2, 2, 1));
            KEY.set(0);
        });
    }
}

#[test]
fn per_fiber_mends_it() {
    thread_local!(static KEY: Cell<u32> = const { Cell::new(0) });
    static SCOPED: Scoped = Scoped(&KEY);
    per_fiber(&KEY);
    for engine in Engine::available() {
        run_with(engine, || {
            assert_eq!(overlap(&SCOPED), (1, 2, 0));
            SCOPED.with(7, || {
                assert_eq!(overlap(&SCOPED), (1, 2, 7));
                assert_eq!(
                    fiber::scope(|s| s.spawn(|| SCOPED.get()).join().unwrap()),
                    0,
                    "it is not inherited"
                );
                blocking(|| ());
                assert_eq!(SCOPED.get(), 7);
            });
        });
    }
}

#[test]
fn no_suspend_prevents_it() {
    thread_local!(static KEY: Cell<u32> = const { Cell::new(0) });
    static SCOPED: Scoped = Scoped(&KEY);
    run(|| {
        let fibers = [1, 2].map(|value| {
            spawn(move || {
                let waits = || no_suspend(|| SCOPED.with(value, fiber::yield_now));
                let refused = catch_unwind(AssertUnwindSafe(waits)).is_err();
                fiber::yield_now();
                (refused, no_suspend(|| SCOPED.with(value, || SCOPED.get())))
            })
        });
        let [first, second] = fibers.map(|fiber| fiber.join().unwrap());
        assert_eq!((first, second, SCOPED.get()), ((true, 1), (true, 2), 0));
    });
}

#[test]
fn threads_own_value_is_there_again_after_the_runtime() {
    thread_local!(static KEY: Cell<u32> = const { Cell::new(0) });
    let _watchdog = watchdog();
    per_fiber(&KEY);
    KEY.set(5);
    run(|| {
        assert_eq!(KEY.replace(6), 0);
        spawn(|| assert_eq!(KEY.replace(7), 0)).join().unwrap();
        // What an ended fiber has left does not go to the next one, which runs on its stack.
        spawn(|| assert_eq!(KEY.get(), 0)).join().unwrap();
        assert_eq!(KEY.get(), 6);
    });
    assert_eq!(KEY.get(), 5);
}

#[test]
fn several_slots_of_any_type() {
    thread_local! {
        static LIST: RefCell<Vec<Rc<u32>>> = RefCell::default();
        static TEXT: Cell<String> = Cell::default();
    }
    on_switch(|| LIST.take(), |list| LIST.set(list));
    per_fiber(&TEXT);
    for engine in Engine::available() {
        run_with(engine, || {
            let fibers: Vec<_> = (0..50)
                .map(|i| {
                    spawn_local(move || {
                        let mine = Rc::new(i);
                        for round in 1..10 {
                            LIST.with_borrow_mut(|list| list.push(Rc::clone(&mine)));
                            TEXT.set(format!("{i} {round}"));
                            if round % 3 == 0 {
                                blocking(|| ());
                            } else {
                                fiber::yield_now();
                            }
                            LIST.with_borrow(|list| assert!(list.iter().all(|n| Rc::ptr_eq(n, &mine))));
                            assert_eq!(TEXT.take(), format!("{i} {round}"));
                            assert_eq!(Rc::strong_count(&mine), 1 + round);
                        }
                        mine
                    })
                })
                .collect();
            for fiber in fibers {
                // What was left in the slot is gone with the fiber.
                assert_eq!(Rc::strong_count(&fiber.join().unwrap()), 1);
            }
        });
    }
}

#[test]
fn what_a_fiber_leaves_may_have_any_destructor() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    thread_local!(static KEY: Cell<Option<Panics>> = const { Cell::new(None) });
    per_fiber(&KEY);
    run(|| {
        spawn(|| KEY.set(Some(Panics))).join().unwrap();
        spawn(|| assert!(KEY.take().is_none())).join().unwrap();
    });
}

#[test]
fn slots_go_with_the_fiber_and_not_with_its_coroutines() {
    thread_local!(static KEY: Cell<u32> = const { Cell::new(0) });
    per_fiber(&KEY);
    run(|| {
        let mut coroutine = Coroutine::<(), u32, ()>::new(|yielder, ()| {
            KEY.set(1);
            yielder.suspend(KEY.get());
            fiber::yield_now(); // which suspends the fiber, in the coroutine
            yielder.suspend(KEY.get());
        })
        .unwrap();
        coroutine.resume(());
        assert_eq!(KEY.replace(2), 1);
        spawn(|| KEY.set(3)).join().unwrap();
        coroutine.resume(());
        assert_eq!(KEY.get(), 2);
    });
}

#[test]
fn hook_that_panics_or_waits_ends_the_process() {
    for waits in [false, true] {
        let test = "hook_that_panics_or_waits_ends_the_process";
        let which = if waits { "waits" } else { "panics" };
        let ended = child::alone(
            test,
            |command| _ = command.env("KAPOK_TEST_HOOK", which),
            || {
                let waits = std::env::var("KAPOK_TEST_HOOK").unwrap() == "waits";
                on_switch(
                    move || {
                        if fiber::is_fiber() {
                            assert!(waits, "on purpose");
                            fiber::yield_now();
                        }
                    },
                    |()| (),
                );
                run(fiber::yield_now);
            },
        );
        let Some(ended) = ended else { return };
        let output = ended.killed_by(&[libc::SIGABRT]);
        support::says(&output, &[if waits { "no_suspend" } else { "on purpose" }]);
    }
}
