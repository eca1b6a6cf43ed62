//! Coroutines that are dropped, in every state.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use kapok::coroutine::CoroutineState::{Complete, Yielded};
use kapok::coroutine::Yielder;

use super::{each_engine, make, notes};
use crate::support::{CountsDrops, OnDrop, child, panics};

#[test]
fn drop_of_a_suspended_one_unwinds_its_frames_from_the_top() {
    each_engine(|engine| {
        let log = Rc::new(RefCell::new(Vec::new()));
        let (theirs, captured) = (Rc::clone(&log), notes(&log, "captured"));
        let mut coroutine = make(engine, move |yielder: &Yielder<(), ()>, ()| {
            let _captured = captured;
            let _first = notes(&theirs, "first");
            let _second = notes(&theirs, "second");
            let deeper = || {
                let _third = notes(&theirs, "third");
                yielder.suspend(());
                unreachable!("it is dropped there");
            };
            deeper();
        });
        coroutine.resume(());
        assert!(log.borrow().is_empty());
        drop(coroutine);
        assert_eq!(*log.borrow(), ["third", "second", "first", "captured"]);
        assert!(!thread::panicking());
    });
}

#[test]
fn drop_before_the_start_drops_the_closure() {
    each_engine(|engine| {
        let log = Rc::new(RefCell::new(Vec::new()));
        let captured = notes(&log, "captured");
        let coroutine = make(engine, move |_: &Yielder<(), ()>, ()| drop(captured));
        drop(coroutine);
        assert_eq!(*log.borrow(), ["captured"]);
    });
}

#[test]
fn drop_after_the_end_has_nothing_left_to_do() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    each_engine(|engine| {
        DROPS.store(0, Ordering::SeqCst);
        let captured = CountsDrops(&DROPS);
        let mut coroutine = make(engine, move |_: &Yielder<(), ()>, ()| captured);
        let Complete(captured) = coroutine.resume(()) else {
            panic!("it returns");
        };
        drop(coroutine);
        assert_eq!(DROPS.load(Ordering::SeqCst), 0);
        drop(captured);
        assert_eq!(DROPS.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn yielded_values_belong_to_the_one_who_resumed() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    each_engine(|engine| {
        DROPS.store(0, Ordering::SeqCst);
        let mut coroutine = make(engine, |yielder, ()| {
            yielder.suspend(CountsDrops(&DROPS));
        });
        let yielded = coroutine.resume(());
        drop(coroutine);
        assert_eq!(DROPS.load(Ordering::SeqCst), 0);
        drop(yielded);
        assert_eq!(DROPS.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn body_that_catches_the_unwinding_may_return() {
    each_engine(|engine| {
        let log = Rc::new(RefCell::new(Vec::new()));
        let theirs = Rc::clone(&log);
        let mut coroutine = make(engine, move |yielder: &Yielder<(), ()>, ()| {
            let caught = catch_unwind(AssertUnwindSafe(|| yielder.suspend(())));
            theirs
                .borrow_mut()
                .push(if caught.is_err() { "caught" } else { "resumed" });
            notes(&theirs, "result")
        });
        drop(coroutine.resume(()));
        drop(coroutine);
        assert_eq!(*log.borrow(), ["caught", "result"]);
    });
}

#[test]
fn body_that_catches_the_unwinding_and_yields_is_unwound_again() {
    each_engine(|engine| {
        let log = Rc::new(RefCell::new(Vec::new()));
        let theirs = Rc::clone(&log);
        let mut coroutine = make(engine, move |yielder, ()| {
            let _frame = notes(&theirs, "frame");
            for _ in 0..5 {
                let caught = catch_unwind(AssertUnwindSafe(|| yielder.suspend(notes(&theirs, "yielded"))));
                theirs
                    .borrow_mut()
                    .push(if caught.is_err() { "caught" } else { "resumed" });
            }
        });
        drop(coroutine.resume(()));
        log.borrow_mut().clear();
        drop(coroutine);
        let log = log.borrow();
        assert_eq!(log.iter().filter(|&&name| name == "caught").count(), 5);
        assert_eq!(
            log.iter().filter(|&&name| name == "yielded").count(),
            4,
            "nobody wants them"
        );
        assert_eq!(log.last(), Some(&"frame"));
    });
}

#[test]
fn body_that_will_not_be_unwound_is_leaked() {
    each_engine(|engine| {
        let mut coroutine = make(engine, |yielder, ()| {
            loop {
                drop(catch_unwind(AssertUnwindSafe(|| yielder.suspend(()))));
            }
        });
        assert_eq!(coroutine.resume(()), Yielded::<(), ()>(()));
        drop(coroutine);
        assert!(!thread::panicking());
    });
}

#[test]
fn body_that_answers_the_unwinding_with_a_panic_is_over() {
    each_engine(|engine| {
        let log = Rc::new(RefCell::new(Vec::new()));
        let theirs = Rc::clone(&log);
        let mut coroutine = make(engine, move |yielder: &Yielder<(), ()>, ()| {
            let _frame = notes(&theirs, "frame");
            if catch_unwind(AssertUnwindSafe(|| yielder.suspend(()))).is_err() {
                resume_unwind(Box::new("another one"));
            }
        });
        coroutine.resume(());
        drop(coroutine);
        assert_eq!(*log.borrow(), ["frame"]);
        assert!(!thread::panicking());
    });
}

#[test]
fn leaking_one_is_harmless() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    each_engine(|engine| {
        for started in [false, true] {
            let captured = CountsDrops(&DROPS);
            let mut coroutine = make(engine, move |yielder: &Yielder<(), ()>, ()| {
                yielder.suspend(());
                drop(captured);
            });
            if started {
                coroutine.resume(());
            }
            #[expect(clippy::mem_forget, reason = "what is tested")]
            std::mem::forget(coroutine);
        }
    });
    assert_eq!(DROPS.load(Ordering::SeqCst), 0);
}

#[test]
fn drop_during_a_panic_unwinds_all_the_same() {
    each_engine(|engine| {
        let log = Rc::new(RefCell::new(Vec::new()));
        let theirs = Rc::clone(&log);
        let said = panics(|| {
            let mut coroutine = make(engine, move |yielder: &Yielder<(), ()>, ()| {
                let _first = notes(&theirs, "first");
                let _second = notes(&theirs, "second");
                yielder.suspend(());
            });
            coroutine.resume(());
            panic!("on purpose");
        });
        assert_eq!(said, "on purpose");
        assert_eq!(*log.borrow(), ["second", "first"]);
        assert!(!thread::panicking());
    });
}

#[test]
fn resume_during_a_panic_works() {
    each_engine(|engine| {
        let mut results = Vec::new();
        let mut coroutine = make(engine, |yielder, input: u32| {
            let caught = catch_unwind(AssertUnwindSafe(|| resume_unwind(Box::new(()))));
            assert!(caught.is_err());
            yielder.suspend(input + 1);
        });
        let said = panics(|| {
            let _resumes = OnDrop(|| {
                results.push(coroutine.resume(1));
                results.push(coroutine.resume(2));
            });
            panic!("on purpose");
        });
        assert_eq!(said, "on purpose");
        assert_eq!(results, [Yielded(2), Complete(())]);
        assert!(!thread::panicking());
    });
}

/// A coroutine that panics and suspends itself in a destructor on the way out.
fn suspends_while_it_panics(engine: kapok::Engine) -> kapok::coroutine::Coroutine<(), (), ()> {
    make(engine, |yielder, ()| {
        let _suspends = OnDrop(|| yielder.suspend(()));
        panic!("on purpose");
    })
}

/// A limit that is known: the standard library counts panics for each thread, and a coroutine has no thread to block.
#[test]
fn suspension_during_a_panic_shows_the_panic_outside() {
    each_engine(|engine| {
        let mut coroutine = suspends_while_it_panics(engine);
        assert_eq!(coroutine.resume(()), Yielded(()));
        assert!(thread::panicking());
        assert_eq!(panics(|| coroutine.resume(())), "on purpose");
        assert!(!thread::panicking());
    });
}

/// Nor can it be unwound there: a second panic would leave a destructor that the first one runs.
#[test]
fn drop_of_one_that_is_suspended_during_its_panic_aborts() {
    let test = "dropping::drop_of_one_that_is_suspended_during_its_panic_aborts";
    let ended = child::alone(
        test,
        |_| (),
        || {
            let mut coroutine = suspends_while_it_panics(kapok::Engine::default());
            assert_eq!(coroutine.resume(()), Yielded(()));
            drop(coroutine);
        },
    );
    if let Some(ended) = ended {
        ended.killed_by(&[signal_hook::consts::SIGABRT]);
    }
}
