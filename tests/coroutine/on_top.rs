//! Functions that run on top of a suspended coroutine.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use kapok::coroutine::CoroutineState::{Complete, Yielded};
use kapok::coroutine::{Coroutine, Yielder};

use super::{each_engine, make, notes};
use crate::support::{panics, run, says};

fn address_here() -> usize {
    let here = 0_u8;
    (&raw const here).addr()
}

#[test]
fn makes_the_input_on_the_coroutines_stack() {
    each_engine(|engine| {
        let mut coroutine = make(engine, |yielder, mut input: usize| {
            loop {
                assert!(input.abs_diff(address_here()) < 64 * 1024, "another stack");
                input = yielder.suspend(input);
            }
        });
        let outside = address_here();
        for _ in 0..3 {
            let calls = Cell::new(0); // borrowed
            let state: kapok::coroutine::CoroutineState<usize, ()> = coroutine.resume_with(|| {
                calls.set(calls.get() + 1);
                address_here()
            });
            let Yielded(at) = state else { panic!("it goes on") };
            assert!(at.abs_diff(outside) > 64 * 1024);
            assert_eq!(calls.get(), 1);
            assert!(matches!(coroutine.resume(at), Yielded(again) if again == at));
        }
    });
}

#[test]
fn its_panic_comes_out_of_suspend() {
    each_engine(|engine| {
        let log = Rc::new(RefCell::new(Vec::new()));
        let theirs = Rc::clone(&log);
        let mut coroutine = make(engine, move |yielder: &Yielder<(), u8>, ()| {
            let _frame = notes(&theirs, "frame");
            let caught = catch_unwind(AssertUnwindSafe(|| yielder.suspend(1)));
            theirs
                .borrow_mut()
                .push(if caught.is_err() { "caught" } else { "resumed" });
            yielder.suspend(2);
        });
        assert_eq!(coroutine.resume(()), Yielded(1));
        assert_eq!(coroutine.resume_with(|| panic!("on purpose")), Yielded(2));
        assert_eq!(*log.borrow(), ["caught"]);
        // And where nobody catches it, out of the coroutine.
        assert_eq!(panics(|| coroutine.resume_with(|| panic!("once more"))), "once more");
        assert_eq!(*log.borrow(), ["caught", "frame"]);
        assert!(coroutine.is_done());
        says(
            &panics(|| coroutine.resume_with(|| unreachable!("it is over"))),
            &["resume", "over"],
        );
    });
}

#[test]
fn before_the_start_it_comes_first() {
    each_engine(|engine| {
        let mut coroutine = make(engine, |_: &Yielder<u8, ()>, input| input);
        assert_eq!(coroutine.resume_with(|| 7), Complete(7));
        let log = Rc::new(RefCell::new(Vec::new()));
        let captured = notes(&log, "captured");
        let mut coroutine = make(engine, move |_: &Yielder<(), ()>, ()| {
            let _captured = captured;
            unreachable!("it does not begin");
        });
        assert_eq!(panics(|| coroutine.resume_with(|| panic!("on purpose"))), "on purpose");
        assert_eq!(*log.borrow(), ["captured"]);
        assert!(coroutine.is_done());
    });
}

/// A scope in the body lends the yielder to a fiber, which lends it to what runs on top. To suspend the coroutine there would
/// leave frames on its stack that borrow from a call that has returned.
#[test]
fn cannot_suspend_the_coroutine_in_the_middle() {
    each_engine(|engine| {
        run(move || {
            type Shared = Rc<RefCell<Option<Coroutine<(), (), ()>>>>;
            let shared = Shared::default();
            let (theirs, said) = (Rc::clone(&shared), Rc::new(RefCell::new(String::new())));
            let says = Rc::clone(&said);
            let coroutine = make(engine, move |yielder, ()| {
                kapok::scope(|scope| {
                    scope.spawn_local(|| {
                        let mut coroutine = theirs.borrow_mut().take().expect("it is suspended");
                        assert_eq!(coroutine.resume_with(|| yielder.suspend(())), Yielded(()));
                        *theirs.borrow_mut() = Some(coroutine);
                    });
                    let raised = panics(|| yielder.suspend(()));
                    *says.borrow_mut() = raised;
                    yielder.suspend(());
                });
            });
            *shared.borrow_mut() = Some(coroutine);
            let mut coroutine = shared.borrow_mut().take().unwrap();
            assert_eq!(coroutine.resume(()), Yielded(()));
            *shared.borrow_mut() = Some(coroutine);
            while said.borrow().is_empty() {
                kapok::fiber::yield_now();
            }
            assert!(said.borrow().contains("resume_with"), "{}", said.borrow());
            let mut coroutine = shared.borrow_mut().take().unwrap();
            assert_eq!(coroutine.resume(()), Complete(()));
        });
    });
}
