//! How values end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use kapok::coroutine::Coroutine;
use kapok::local::LocalKey;
use kapok::{Engine, fiber, spawn};

use crate::support::{CountsDrops, OnDrop, child, panics, run, run_with, sentence, watchdog};

static DROPS: AtomicUsize = AtomicUsize::new(0);

kapok::fiber_local!(static COUNTED: CountsDrops<'static> = CountsDrops(&DROPS));

#[test]
fn values_are_dropped_before_the_fiber_can_be_joined() {
    child::undisturbed("destructors::values_are_dropped_before_the_fiber_can_be_joined", || {
        for engine in Engine::available() {
            run_with(engine, || {
                let before = DROPS.load(Ordering::SeqCst);
                let fiber = spawn(|| {
                    COUNTED.with(|_| ());
                    DROPS.load(Ordering::SeqCst)
                });
                assert_eq!(fiber.join().unwrap(), before);
                assert_eq!(DROPS.load(Ordering::SeqCst), before + 1);
                let fiber = spawn(|| {
                    COUNTED.with(|_| ());
                    panic!("on purpose");
                });
                assert_eq!(sentence(fiber.join().unwrap_err()), "on purpose");
                assert_eq!(DROPS.load(Ordering::SeqCst), before + 2);
            });
        }
        let before = DROPS.load(Ordering::SeqCst);
        run(|| COUNTED.with(|_| ()));
        assert_eq!(DROPS.load(Ordering::SeqCst), before + 1, "the root fiber's");
    });
}

/// Notes on which thread and fiber it is dropped.
struct Notes(Arc<Mutex<Vec<(ThreadId, fiber::FiberId)>>>);

impl Drop for Notes {
    fn drop(&mut self) {
        let here = (thread::current().id(), fiber::current().id());
        self.0.lock().unwrap().push(here);
    }
}

#[test]
fn values_are_dropped_in_their_fiber_on_its_thread() {
    kapok::fiber_local!(static NOTES: RefCell<Option<Notes>> = RefCell::default());
    run(|| {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&seen);
        let (thread, id) = spawn(move || {
            NOTES.set(Some(Notes(theirs)));
            fiber::yield_now();
            (thread::current().id(), fiber::current().id())
        })
        .join()
        .unwrap();
        assert_eq!(*seen.lock().unwrap(), [(thread, id)]);
    });
}

/// Calls a function when it is dropped.
type Calls = RefCell<Option<OnDrop<Box<dyn FnMut()>>>>;

fn at_end_of(key: &'static LocalKey<Calls>, call: impl FnMut() + 'static) {
    key.set(Some(OnDrop(Box::new(call))));
}

#[test]
fn destructors_may_use_other_values_until_these_are_gone() {
    kapok::fiber_local! {
        static FIRST: Calls = Calls::default();
        static SECOND: Calls = Calls::default();
        static LATE: Calls = Calls::default();
    }
    run(|| {
        // Who was dropped, and whether it found itself, the other one, and the late one.
        let notes = Rc::new(RefCell::new(Vec::new()));
        let theirs = Rc::clone(&notes);
        let fiber = kapok::spawn_local(move || {
            // Each tells of the other, and of one that only comes into being now.
            for (key, other, name) in [(&FIRST, &SECOND, "first"), (&SECOND, &FIRST, "second")] {
                let notes = Rc::clone(&theirs);
                at_end_of(key, move || {
                    let [itself, other, late] = [key, other, &LATE].map(|key| key.try_with(|_| ()).is_ok());
                    if late {
                        let notes = Rc::clone(&notes);
                        at_end_of(&LATE, move || notes.borrow_mut().push(("late", [false; 3])));
                    }
                    notes.borrow_mut().push((name, [itself, other, late]));
                });
            }
        });
        fiber.join().unwrap();
        let expected = [
            ("second", [false, true, true]),
            ("late", [false; 3]),
            ("first", [false; 3]),
        ];
        assert_eq!(*notes.borrow(), expected);
    });
}

#[test]
fn access_after_destruction_is_an_error_as_std_has_it() {
    kapok::fiber_local!(static VALUE: Calls = Calls::default());
    run(|| {
        let sentences = Rc::new(RefCell::new(Vec::new()));
        let theirs = Rc::clone(&sentences);
        let fiber = kapok::spawn_local(move || {
            at_end_of(&VALUE, move || {
                let error = VALUE.try_with(|_| ()).unwrap_err();
                theirs.borrow_mut().push(error.to_string());
                theirs.borrow_mut().push(panics(|| VALUE.with(|_| ())));
            });
        });
        fiber.join().unwrap();
        assert_eq!(sentences.borrow()[0], "already destroyed");
        assert!(sentences.borrow()[1].contains("during or after its destruction: already destroyed"));
    });
}

#[test]
fn on_threads_too() {
    kapok::fiber_local!(static VALUE: Calls = Calls::default());
    let _watchdog = watchdog();
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || at_end_of(&VALUE, move || sender.send(VALUE.try_with(|_| ())).unwrap()))
        .join()
        .unwrap();
    assert_eq!(receiver.recv().unwrap().unwrap_err().to_string(), "already destroyed");
}

/// Panics when it is dropped, with a payload that does the same.
struct Nested(u32);

impl Drop for Nested {
    fn drop(&mut self) {
        if self.0 > 0 {
            std::panic::panic_any(Nested(self.0 - 1));
        }
    }
}

#[test]
fn destructor_that_panics_harms_nobody() {
    kapok::fiber_local! {
        static BEFORE: Calls = Calls::default();
        static BAD: RefCell<Option<Nested>> = RefCell::default();
        static AFTER: Calls = Calls::default();
    }
    for engine in Engine::available() {
        run_with(engine, || {
            let dropped = Rc::new(Cell::new(0));
            for panics_in_a_row in 1..5 {
                let theirs = Rc::clone(&dropped);
                let fiber = kapok::spawn_local(move || {
                    let again = Rc::clone(&theirs);
                    at_end_of(&BEFORE, move || theirs.set(theirs.get() + 1));
                    BAD.set(Some(Nested(panics_in_a_row)));
                    at_end_of(&AFTER, move || again.set(again.get() + 1));
                    fiber::yield_now();
                    panics_in_a_row
                });
                assert_eq!(fiber.join().unwrap(), panics_in_a_row);
                assert!(!thread::panicking());
            }
            assert_eq!(dropped.get(), 8);
        });
    }
}

#[test]
fn destructors_may_wait() {
    kapok::fiber_local!(static VALUE: Calls = Calls::default());
    run(|| {
        let ended = Rc::new(Cell::new(0));
        let fibers: Vec<_> = (0..50)
            .map(|_| {
                let ended = Rc::clone(&ended);
                kapok::spawn_local(move || {
                    at_end_of(&VALUE, move || {
                        fiber::yield_now();
                        assert_eq!(kapok::blocking(|| 1), 1);
                        spawn(fiber::yield_now).join().unwrap();
                        ended.set(ended.get() + 1);
                    });
                })
            })
            .collect();
        fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
        assert_eq!(ended.get(), 50);
    });
}

#[test]
fn result_that_nobody_wants_may_still_use_them() {
    kapok::fiber_local!(static VALUE: Cell<u32> = const { Cell::new(0) });
    run(|| {
        let seen = Rc::new(Cell::new(0));
        let theirs = Rc::clone(&seen);
        drop(kapok::spawn_local(move || {
            VALUE.set(3);
            OnDrop(move || theirs.set(VALUE.get()))
        }));
        while seen.get() == 0 {
            fiber::yield_now();
        }
        assert_eq!(seen.get(), 3);
    });
}

#[test]
fn coroutine_in_a_value_is_unwound_before_the_value_that_it_uses_is_dropped() {
    kapok::fiber_local! {
        static HOLDER: RefCell<Option<Coroutine<(), (), ()>>> = RefCell::default();
        static USED: RefCell<String> = RefCell::new("used".to_owned());
    }
    run(|| {
        let seen = Rc::new(RefCell::new(Vec::new()));
        // Whichever of the two is made first.
        for first in [false, true] {
            let theirs = Rc::clone(&seen);
            kapok::spawn_local(move || {
                if first {
                    USED.with(|_| ());
                }
                HOLDER.set(None);
                let mut coroutine = Coroutine::new(move |yielder, ()| {
                    USED.with(|used| {
                        let _at_the_end = OnDrop(|| theirs.borrow_mut().push(used.borrow().clone()));
                        yielder.suspend(());
                    });
                })
                .unwrap();
                coroutine.resume(());
                HOLDER.set(Some(coroutine));
            })
            .join()
            .unwrap();
        }
        assert_eq!(*seen.borrow(), ["used", "used"]);
    });
}
