//! Coroutines: values in and out, panics, and the unwinding of those that are dropped early.

#[path = "../support/mod.rs"]
mod support;

mod dropping;
mod generator;
mod memory;
mod nesting;
mod on_top;

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::thread;

use CoroutineState::{Complete, Yielded};
use kapok::coroutine::{Coroutine, CoroutineState, Yielder};
use kapok::{Engine, stack};

use support::{OnDrop, child, panics, says};

/// Runs a test with each engine.
fn each_engine(test: impl Fn(Engine)) {
    Engine::available().into_iter().for_each(test);
}

fn make<I: 'static, Y: 'static, R: 'static>(
    engine: Engine,
    body: impl FnOnce(&Yielder<I, Y>, I) -> R + 'static,
) -> Coroutine<I, Y, R> {
    Coroutine::with(engine, stack::DEFAULT_SIZE, body).expect("there is room for a stack")
}

/// Notes `name` when it is dropped.
fn notes(log: &Rc<RefCell<Vec<&'static str>>>, name: &'static str) -> OnDrop<impl FnMut() + use<>> {
    let log = Rc::clone(log);
    OnDrop(move || log.borrow_mut().push(name))
}

// ---- values ----------------------------------------------------------------------------------------------------------

#[test]
fn values_go_in_and_out() {
    each_engine(|engine| {
        let mut coroutine = make(engine, |yielder, first: String| {
            let mut all = first;
            while all.len() < 6 {
                let next = yielder.suspend(all.len());
                all += &next;
            }
            all
        });
        assert!(!coroutine.is_done());
        assert_eq!(coroutine.resume("a".into()), Yielded(1));
        assert_eq!(coroutine.resume("bc".into()), Yielded(3));
        assert!(!coroutine.is_done());
        assert_eq!(coroutine.resume("def".into()), Complete("abcdef".to_owned()));
        assert!(coroutine.is_done());
    });
}

#[test]
fn values_may_be_nothing_or_large_or_not_send() {
    each_engine(|engine| {
        let mut nothing = make(engine, |yielder: &Yielder<(), ()>, ()| yielder.suspend(()));
        assert_eq!(nothing.resume(()), Yielded(()));
        assert_eq!(nothing.resume(()), Complete(()));

        let mut large = make(engine, |yielder, first: [u64; 500]| {
            let second = yielder.suspend(first);
            [first[0] + second[0]; 300]
        });
        assert_eq!(large.resume([3; 500]), Yielded([3; 500]));
        assert_eq!(large.resume([4; 500]), Complete([7; 300]));

        let shared = Rc::new(Cell::new(1));
        let theirs = Rc::clone(&shared);
        let mut local = make(engine, move |yielder, input: Rc<Cell<i32>>| {
            theirs.set(input.get() + 1);
            drop(input);
            let input = yielder.suspend(Rc::clone(&theirs));
            input.set(40);
            theirs
        });
        let Yielded(same) = local.resume(Rc::clone(&shared)) else {
            panic!("it suspends itself");
        };
        assert!(Rc::ptr_eq(&same, &shared) && shared.get() == 2);
        let Complete(same) = local.resume(same) else {
            panic!("it returns");
        };
        assert_eq!(same.get(), 40);
        drop(local);
        assert_eq!(Rc::strong_count(&shared), 2);
    });
}

#[test]
fn generator_of_many_values() {
    each_engine(|engine| {
        let mut numbers = make(engine, |yielder, ()| {
            for i in 0..100_000_u32 {
                yielder.suspend(i);
            }
        });
        for i in 0..100_000 {
            assert_eq!(numbers.resume(()), Yielded(i));
        }
        assert_eq!(numbers.resume(()), Complete(()));
    });
}

#[test]
fn default_constructor_takes_the_engine_of_the_environment() {
    let mut coroutine = Coroutine::new(|_: &Yielder<u8, ()>, input| input + 1).unwrap();
    let wanted = std::env::var("KAPOK_SWITCH").unwrap_or_default();
    if !wanted.is_empty() {
        says(&format!("{coroutine:?}"), &[&wanted]);
    }
    assert_eq!(coroutine.resume(1), Complete(2));
}

#[test]
fn unknown_engine_of_the_environment_is_an_error() {
    let test = "unknown_engine_of_the_environment_is_an_error";
    let ended = child::alone(
        test,
        |command| {
            command.env("KAPOK_SWITCH", "teleport");
        },
        || {
            let error = Coroutine::new(|_: &Yielder<(), ()>, ()| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            says(
                &error.to_string(),
                &["KAPOK_SWITCH", "teleport", Engine::default().name()],
            );
        },
    );
    if let Some(ended) = ended {
        ended.success();
    }
}

#[test]
fn stack_sizes_out_of_bounds_are_refused() {
    each_engine(|engine| {
        for bytes in [
            0,
            1,
            stack::MIN_SIZE - 1,
            stack::MAX_SIZE + 1,
            usize::MAX / 2,
            usize::MAX,
        ] {
            let error = Coroutine::with(engine, bytes, |_: &Yielder<(), ()>, ()| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
        for bytes in [stack::MIN_SIZE, stack::MIN_SIZE + 1, stack::MAX_SIZE] {
            let mut coroutine = Coroutine::with(engine, bytes, |_: &Yielder<(), ()>, ()| 1).unwrap();
            assert_eq!(coroutine.resume(()), Complete(1));
        }
    });
}

// ---- the end ---------------------------------------------------------------------------------------------------------

#[test]
fn resume_after_the_end_panics() {
    each_engine(|engine| {
        let mut coroutine = make(engine, |_: &Yielder<(), ()>, ()| ());
        assert_eq!(coroutine.resume(()), Complete(()));
        for _ in 0..2 {
            says(&panics(|| coroutine.resume(())), &["resume", "over"]);
            assert!(coroutine.is_done());
        }
    });
}

#[test]
fn panic_comes_out_of_resume() {
    each_engine(|engine| {
        let log = Rc::new(RefCell::new(Vec::new()));
        let theirs = Rc::clone(&log);
        let mut coroutine = make(engine, move |yielder, input: u32| {
            let _noted = notes(&theirs, "frame");
            let input = yielder.suspend(input);
            panic!("no more of {input}");
        });
        assert_eq!(coroutine.resume(1), Yielded::<u32, ()>(1));
        assert_eq!(panics(|| coroutine.resume(2)), "no more of 2");
        assert_eq!(*log.borrow(), ["frame"]);
        assert!(coroutine.is_done() && !thread::panicking());
        says(&panics(|| coroutine.resume(3)), &["over"]);

        let mut custom = make(engine, |_: &Yielder<(), ()>, ()| resume_unwind(Box::new(7_u16)));
        let payload = catch_unwind(AssertUnwindSafe(|| custom.resume(()))).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&7_u16));
    });
}

#[test]
fn panic_that_the_body_catches_is_its_own() {
    each_engine(|engine| {
        let mut coroutine = make(engine, |yielder, ()| {
            for round in 0..10_u32 {
                let caught = catch_unwind(AssertUnwindSafe(|| {
                    yielder.suspend(round);
                    resume_unwind(Box::new(round));
                }));
                assert_eq!(caught.unwrap_err().downcast_ref(), Some(&round));
            }
        });
        for round in 0..10 {
            assert_eq!(coroutine.resume(()), Yielded(round));
            assert!(!thread::panicking());
        }
        assert_eq!(coroutine.resume(()), Complete(()));
    });
}

#[test]
fn debug_output_tells_engine_and_end() {
    each_engine(|engine| {
        let mut coroutine = make(engine, |_: &Yielder<(), ()>, ()| ());
        says(&format!("{coroutine:?}"), &["Coroutine", engine.name(), "false"]);
        coroutine.resume(());
        says(&format!("{coroutine:?}"), &["true"]);
    });
}
