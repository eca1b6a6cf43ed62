//! `run_in_main_context`.

use std::cell::Cell;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use kapok::coroutine::Coroutine;
use kapok::fiber::Builder;
use kapok::sync::{Arc, Baton, Event, mpsc};
use kapok::{Engine, fiber, run_in_main_context};

use crate::support::{OnDrop, panics, run_on_one, run_with, says};
use crate::{FOREVER, SOON, on_all_numbers_of_workers};

kapok::fiber_local!(static LOCAL: Cell<u32> = const { Cell::new(0) });

/// Uses `kib` KiB of stack.
#[inline(never)]
fn deep(kib: u32) -> u32 {
    let frame = std::hint::black_box([kib; 256]);
    if frame[255] == 0 { 0 } else { deep(frame[0] - 1) + 1 }
}

#[test]
fn it_has_a_large_stack_on_every_engine() {
    for engine in Engine::available() {
        run_with(engine, || {
            let fiber = Builder::new().stack_size(32 * 1024);
            let fiber = fiber.spawn(|| {
                let borrowed = Cell::new(0);
                for _ in 0..300 {
                    run_in_main_context(|| borrowed.set(borrowed.get() + deep(150)));
                }
                borrowed.get()
            });
            assert_eq!(fiber.unwrap().join().unwrap(), 300 * 150);
        });
    }
}

#[test]
fn on_a_thread_and_within_itself_it_is_a_call() {
    assert_eq!(run_in_main_context(|| 1), 1);
    on_all_numbers_of_workers(|| {
        assert_eq!(run_in_main_context(|| run_in_main_context(|| deep(150)) + 1), 151);
        assert_eq!(kapok::blocking(|| run_in_main_context(|| 2)), 2);
    });
}

#[test]
fn a_panic_comes_back_to_the_fiber() {
    on_all_numbers_of_workers(|| {
        let text = panics(|| run_in_main_context(|| panic!("over there")));
        assert_eq!(text, "over there");
        let fiber = kapok::spawn(|| run_in_main_context(|| panic!("and through it")));
        assert!(fiber.join().is_err());
        assert_eq!(run_in_main_context(|| 3), 3);
    });
}

#[test]
fn it_is_still_the_same_fiber_and_no_other_runs() {
    run_on_one(|| {
        LOCAL.set(5);
        let id = fiber::current().id();
        run_in_main_context(|| {
            assert!(fiber::is_fiber());
            assert_eq!(fiber::current().id(), id);
            LOCAL.set(LOCAL.get() + 1);
        });
        assert_eq!(LOCAL.get(), 6);
        // Beside one that runs whenever it can.
        let rounds = std::rc::Rc::new(Cell::new(0));
        let theirs = std::rc::Rc::clone(&rounds);
        let busy = kapok::spawn_local(move || {
            loop {
                theirs.set(theirs.get() + 1);
                fiber::yield_now();
            }
        });
        fiber::yield_now();
        let before = rounds.get();
        for _ in 0..1000 {
            run_in_main_context(|| ());
        }
        assert_eq!(rounds.get(), before);
        busy.cancel();
    });
}

#[test]
fn what_would_have_to_wait_is_refused_and_leaves_the_fiber_well() {
    on_all_numbers_of_workers(|| {
        let (baton, gate) = (Baton::new(), Arc::new(Event::new()));
        let (sender, receiver) = mpsc::channel();
        let refused: [&dyn Fn(); 7] = [
            &|| baton.wait(),
            &fiber::yield_now,
            &|| fiber::sleep(FOREVER),
            &|| kapok::scope(|_| ()),
            &|| kapok::blocking(|| ()),
            &|| {
                let gate = Arc::clone(&gate);
                drop(kapok::spawn(move || gate.wait()).join());
            },
            &|| _ = receiver.recv(),
        ];
        for f in refused {
            says(
                &panics(|| run_in_main_context(f)),
                &["would suspend", "run_in_main_context"],
            );
        }
        gate.set();
        // What need not wait works.
        baton.post();
        sender.send(1).unwrap();
        run_in_main_context(|| {
            baton.wait();
            assert_eq!(receiver.recv(), Ok(1));
            kapok::spawn(|| ());
            drop(std::io::stderr().flush());
        });
        fiber::yield_now();
    });
}

#[test]
fn nothing_in_it_is_cancelled_and_what_is_around_it_is_afterwards() {
    run_on_one(|| {
        let reached = Cell::new(0);
        let outcome = kapok::deadline(std::time::Instant::now(), || {
            run_in_main_context(|| {
                let inner = kapok::timeout(Duration::ZERO, || kapok::shield(|| 4));
                reached.set(inner.expect("it returned"));
                kapok::cancel::checkpoint();
                reached.set(reached.get() + 1);
            });
            fiber::yield_now();
            unreachable!("it was cancelled");
        });
        assert!(outcome.is_err());
        assert_eq!(reached.get(), 5);
    });
}

#[test]
fn it_works_in_a_destructor_while_the_fiber_panics() {
    on_all_numbers_of_workers(|| {
        let depth = Cell::new(0);
        let text = panics(|| {
            let _on_drop = OnDrop(|| {
                depth.set(run_in_main_context(|| deep(150)));
                let inner = catch_unwind(AssertUnwindSafe(|| run_in_main_context(|| panic!("inside"))));
                assert!(inner.is_err());
            });
            panic!("outside");
        });
        assert_eq!((text.as_str(), depth.get()), ("outside", 150));
    });
}

#[test]
fn it_works_in_a_coroutine_of_a_fiber_and_in_a_runtime_in_a_fiber() {
    run_on_one(|| {
        let mut coroutine = Coroutine::new(|yielder, ()| {
            yielder.suspend(run_in_main_context(|| deep(150)));
            run_in_main_context(|| deep(140))
        })
        .unwrap();
        assert_eq!(coroutine.resume(()), kapok::coroutine::CoroutineState::Yielded(150));
        assert_eq!(coroutine.resume(()), kapok::coroutine::CoroutineState::Complete(140));
        let inner = kapok::run(|| run_in_main_context(|| deep(5))).unwrap();
        assert_eq!(inner, 5);
        let within = run_in_main_context(|| {
            kapok::run(|| {
                fiber::sleep(SOON);
                run_in_main_context(|| deep(150))
            })
        });
        assert_eq!(within.unwrap(), 150);
    });
}
