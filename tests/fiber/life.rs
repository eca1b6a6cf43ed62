//! From spawn to join.

use std::cell::{Cell, RefCell};
use std::panic::{panic_any, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use kapok::fiber::{self, JoinHandle};
use kapok::sync::Baton;
use kapok::{Engine, spawn, spawn_local};

use crate::support::{OnDrop, panics, run, run_on_one, run_with, says, sentence};

#[test]
fn values_come_back_from_join() {
    for engine in Engine::available() {
        run_with(engine, || {
            let number = spawn(|| 7_u8);
            let nothing = spawn(|| ());
            let text = spawn(|| "text".repeat(3));
            let large = spawn(|| [0x5a_u8; 20_000]);
            let nested = spawn(|| Some(Ok::<_, String>(vec![1, 2])));
            assert_eq!(nested.join().unwrap(), Some(Ok(vec![1, 2])));
            assert_eq!(number.join().unwrap(), 7);
            assert!(large.join().unwrap().iter().all(|&byte| byte == 0x5a));
            assert_eq!(text.join().unwrap(), "texttexttext");
            nothing.join().unwrap();
        });
    }
}

#[test]
fn fiber_begins_when_its_parent_waits() {
    run_on_one(|| {
        let begun = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&begun);
        let fiber = spawn(move || theirs.store(true, Ordering::SeqCst));
        assert!(!begun.load(Ordering::SeqCst) && !fiber.is_finished());
        fiber.join().unwrap();
        assert!(begun.load(Ordering::SeqCst));
    });
}

#[test]
fn panics_come_back_from_join_with_their_payloads() {
    #[derive(Debug, PartialEq)]
    struct Custom(u32);
    for engine in Engine::available() {
        run_with(engine, || {
            let fixed = spawn(|| panic!("fixed"));
            assert_eq!(fixed.join().unwrap_err().downcast_ref(), Some(&"fixed"));
            let formatted = spawn(|| panic!("formatted {}", std::hint::black_box(1)));
            assert_eq!(
                formatted.join().unwrap_err().downcast_ref(),
                Some(&"formatted 1".to_owned())
            );
            let custom = spawn(|| panic_any(Custom(3)));
            assert_eq!(custom.join().unwrap_err().downcast_ref(), Some(&Custom(3)));
            let silent = spawn(|| resume_unwind(Box::new(4_i64)));
            assert_eq!(silent.join().unwrap_err().downcast_ref(), Some(&4_i64));
            let handed_on = spawn(|| {
                let inner = spawn(|| -> u8 { panic!("inner") });
                inner.join().unwrap_or_else(|payload| resume_unwind(payload))
            });
            assert_eq!(sentence(handed_on.join().unwrap_err()), "inner");
        });
    }
}

#[test]
fn panic_runs_the_destructors_of_its_fiber_alone() {
    run(|| {
        let dropped = Rc::new(RefCell::new(Vec::new()));
        let fibers: Vec<_> = (0..3)
            .map(|i| {
                let dropped = Rc::clone(&dropped);
                spawn_local(move || {
                    let _outer = OnDrop(|| dropped.borrow_mut().push((i, "outer")));
                    fiber::yield_now();
                    let _inner = OnDrop(|| dropped.borrow_mut().push((i, "inner")));
                    fiber::yield_now();
                    assert_ne!(i, 1, "the one in the middle panics");
                    fiber::yield_now();
                    i
                })
            })
            .collect();
        let results: Vec<_> = fibers.into_iter().map(|fiber| fiber.join().ok()).collect();
        assert_eq!(results, [Some(0), None, Some(2)]);
        let dropped = dropped.borrow();
        assert_eq!(dropped[..2], [(1, "inner"), (1, "outer")]);
        assert_eq!(dropped.len(), 6);
    });
}

#[test]
fn many_panics_leave_the_runtime_whole() {
    run(|| {
        let fibers: Vec<_> = (0..2_000_u32)
            .map(|i| {
                spawn(move || {
                    fiber::yield_now();
                    if i % 2 == 0 {
                        resume_unwind(Box::new(i));
                    }
                    i
                })
            })
            .collect();
        for (i, fiber) in (0..).zip(fibers) {
            match fiber.join() {
                Ok(value) => assert!(value == i && i % 2 == 1),
                Err(payload) => assert_eq!(payload.downcast_ref(), Some(&i)),
            }
        }
        assert!(!thread::panicking());
    });
}

#[test]
fn runtime_waits_for_a_fiber_whose_handle_is_dropped() {
    let ended = Arc::new(AtomicUsize::new(0));
    let theirs = Arc::clone(&ended);
    run(move || {
        for _ in 0..100 {
            let ended = Arc::clone(&theirs);
            drop(spawn(move || {
                for _ in 0..10 {
                    fiber::yield_now();
                }
                ended.fetch_add(1, Ordering::SeqCst);
            }));
        }
    });
    assert_eq!(ended.load(Ordering::SeqCst), 100);
}

#[test]
fn what_is_not_send_stays_on_its_thread() {
    run(|| {
        let log = Rc::new(RefCell::new(Vec::new()));
        let here = thread::current().id();
        let fibers: Vec<JoinHandle<Rc<u32>>> = (0..10)
            .map(|i| {
                let log = Rc::clone(&log);
                spawn_local(move || {
                    for _ in 0..10 {
                        log.borrow_mut().push(i);
                        fiber::yield_now();
                        assert_eq!(thread::current().id(), here);
                    }
                    Rc::new(i)
                })
            })
            .collect();
        for (i, fiber) in (0..).zip(fibers) {
            assert_eq!(*fiber.join().unwrap(), i);
        }
        assert_eq!(log.borrow().len(), 100);
        assert_eq!(Rc::strong_count(&log), 1, "the closures are gone");
    });
}

#[test]
fn thread_locals_are_those_of_the_thread() {
    thread_local! {
        static COUNTER: Cell<u32> = const { Cell::new(0) };
    }
    run_on_one(|| {
        let fibers: Vec<_> = (0..10)
            .map(|_| {
                spawn(|| {
                    for _ in 0..10 {
                        COUNTER.set(COUNTER.get() + 1);
                        fiber::yield_now();
                    }
                })
            })
            .collect();
        fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
        assert_eq!(COUNTER.get(), 100);
    });
}

#[test]
fn handles_are_joined_from_other_fibers_and_threads() {
    run(|| {
        let worker = spawn(|| {
            fiber::yield_now();
            5
        });
        let by_fiber = spawn(move || worker.join().unwrap() + 1);
        let by_thread = spawn(move || {
            fiber::yield_now();
            7
        });
        let (sender, done) = (Arc::new(Baton::new()), Arc::new(Baton::new()));
        let thread = thread::spawn({
            let (sender, done) = (Arc::clone(&sender), Arc::clone(&done));
            move || {
                sender.post();
                let value = by_thread.join().unwrap();
                done.post();
                value
            }
        });
        sender.wait();
        done.wait();
        assert_eq!(thread.join().unwrap(), 7);
        assert_eq!(by_fiber.join().unwrap(), 6);
    });
}

#[test]
fn handles_can_be_joined_in_any_order() {
    run(|| {
        let mut fibers: Vec<_> = (0..100_u32)
            .map(|i| {
                spawn(move || {
                    for _ in 0..i % 7 {
                        fiber::yield_now();
                    }
                    i
                })
            })
            .collect();
        while let Some(fiber) = fibers.pop() {
            assert_eq!(fiber.join().unwrap() as usize, fibers.len());
        }
    });
}

#[test]
fn end_is_seen_without_waiting() {
    run_on_one(|| {
        let gate = Arc::new(Baton::new());
        let theirs = Arc::clone(&gate);
        let fiber = spawn(move || theirs.wait());
        assert!(!fiber.is_finished());
        fiber::yield_now();
        assert!(!fiber.is_finished());
        gate.post();
        assert!(!fiber.is_finished(), "it cannot run before this fiber waits");
        while !fiber.is_finished() {
            fiber::yield_now();
        }
        fiber.join().unwrap();

        let panicked = spawn(|| panic!("ends, too"));
        while !panicked.is_finished() {
            fiber::yield_now();
        }
        panicked.join().unwrap_err();
    });
}

#[test]
fn fiber_that_joins_itself_panics() {
    run_on_one(|| {
        let own: Arc<Mutex<Option<JoinHandle<String>>>> = Arc::default();
        let theirs = Arc::clone(&own);
        let told = Arc::new(Mutex::new(String::new()));
        let theirs_told = Arc::clone(&told);
        let handle = spawn(move || {
            let handle = theirs.lock().unwrap().take().expect("it was left here");
            let sentence = panics(|| handle.join());
            theirs_told.lock().unwrap().clone_from(&sentence);
            sentence
        });
        *own.lock().unwrap() = Some(handle);
        while told.lock().unwrap().is_empty() {
            fiber::yield_now();
        }
        says(&told.lock().unwrap(), &["join", "its own end"]);
    });
}

#[test]
fn what_a_fiber_shares_with_a_joiner_is_visible() {
    // Relaxed on both sides: the join alone orders them.
    run(|| {
        for _ in 0..1_000 {
            let cells: Arc<[AtomicUsize; 8]> = Arc::default();
            let theirs = Arc::clone(&cells);
            let fiber = spawn(move || {
                for (i, cell) in theirs.iter().enumerate() {
                    cell.store(i + 1, Ordering::Relaxed);
                }
            });
            let thread = thread::spawn({
                let cells = Arc::clone(&cells);
                move || {
                    fiber.join().unwrap();
                    cells
                        .iter()
                        .enumerate()
                        .all(|(i, cell)| cell.load(Ordering::Relaxed) == i + 1)
                }
            });
            assert!(kapok::blocking(|| thread.join().unwrap()));
        }
    });
}
