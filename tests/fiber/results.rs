//! A result, or the payload of a panic, belongs to whoever is entitled to it, and is dropped once.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use kapok::fiber::{self, JoinHandle};
use kapok::sync::Baton;
use kapok::{Engine, spawn, spawn_local};

use crate::support::{CountsDrops, OnDrop, Random, panics, run, run_on_one, run_on_one_with};

type Counted = CountsDrops<'static>;

/// Runs one order of events with a fiber that returns, and one with a fiber that panics, on every engine; what either
/// ends with is to have been dropped once, and not before `order` is through with it.
fn in_every_way(counter: &'static AtomicUsize, order: impl Fn(fn(&'static AtomicUsize) -> Counted)) {
    fn returns(counter: &'static AtomicUsize) -> Counted {
        CountsDrops(counter)
    }
    fn panics(counter: &'static AtomicUsize) -> Counted {
        resume_unwind(Box::new(CountsDrops(counter)))
    }
    for engine in Engine::available() {
        for end in [returns, panics] {
            counter.store(0, Ordering::SeqCst);
            run_on_one_with(engine, || order(end));
            assert_eq!(counter.load(Ordering::SeqCst), 1, "{engine}");
        }
    }
}

fn wait_for_end<T>(fiber: &JoinHandle<T>) {
    while !fiber.is_finished() {
        fiber::yield_now();
    }
}

#[test]
fn fiber_ends_then_it_is_joined() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    in_every_way(&DROPS, |end| {
        let fiber = spawn(move || end(&DROPS));
        wait_for_end(&fiber);
        assert_eq!(DROPS.load(Ordering::SeqCst), 0);
        let result = fiber.join();
        assert_eq!(DROPS.load(Ordering::SeqCst), 0);
        drop(result);
        assert_eq!(DROPS.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn fiber_is_joined_then_it_ends() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    in_every_way(&DROPS, |end| {
        let fiber = spawn(move || {
            fiber::yield_now();
            end(&DROPS)
        });
        let result = fiber.join();
        assert_eq!(DROPS.load(Ordering::SeqCst), 0);
        drop(result);
    });
}

#[test]
fn fiber_ends_then_its_handle_is_dropped() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    in_every_way(&DROPS, |end| {
        let fiber = spawn(move || end(&DROPS));
        wait_for_end(&fiber);
        let identity = fiber.fiber().clone();
        drop(fiber);
        assert_eq!(
            DROPS.load(Ordering::SeqCst),
            1,
            "who only knows its name keeps no result"
        );
        drop(identity);
    });
}

#[test]
fn handle_is_dropped_before_the_fiber_begins() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    in_every_way(&DROPS, |end| {
        drop(spawn(move || end(&DROPS)));
        assert_eq!(DROPS.load(Ordering::SeqCst), 0);
        fiber::yield_now();
        assert_eq!(DROPS.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn handle_is_dropped_while_the_fiber_waits() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    in_every_way(&DROPS, |end| {
        let gate = Arc::new(Baton::new());
        let theirs = Arc::clone(&gate);
        let fiber = spawn(move || {
            theirs.wait();
            end(&DROPS)
        });
        fiber::yield_now();
        drop(fiber);
        assert_eq!(DROPS.load(Ordering::SeqCst), 0);
        gate.post();
    });
}

#[test]
fn handle_is_dropped_by_the_fiber_itself() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    in_every_way(&DROPS, |end| {
        let slot: Arc<std::sync::Mutex<Option<JoinHandle<Counted>>>> = Arc::default();
        let theirs = Arc::clone(&slot);
        let fiber = spawn(move || {
            drop(theirs.lock().unwrap().take());
            end(&DROPS)
        });
        *slot.lock().unwrap() = Some(fiber);
    });
}

#[test]
fn handle_is_dropped_by_a_panic() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    in_every_way(&DROPS, |end| {
        panics(|| {
            let _fiber = spawn(move || end(&DROPS));
            panic!("with a handle in its frame")
        });
        panics(|| {
            let fiber = spawn(|| ());
            wait_for_end(&fiber);
            panic!("the same, of a fiber that has ended")
        });
    });
}

/// The one race: the handle goes on another thread in the moment in which the fiber ends.
#[test]
fn handle_is_dropped_on_a_thread_while_the_fiber_ends() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    const ROUNDS: usize = 20_000;
    run(|| {
        let (sender, receiver) = std::sync::mpsc::channel::<(JoinHandle<Counted>, Arc<AtomicBool>, usize)>();
        let thread = thread::spawn(move || {
            for (handle, go, spins) in receiver {
                while !go.load(Ordering::Acquire) {
                    std::hint::spin_loop();
                }
                (0..spins).for_each(|_| std::hint::spin_loop());
                drop(handle);
            }
        });
        let mut random = Random::new(1);
        for round in 0..ROUNDS {
            let go = Arc::new(AtomicBool::new(false));
            let (theirs, spins) = (Arc::clone(&go), random.below(60));
            let fiber = spawn(move || {
                theirs.store(true, Ordering::Release);
                if round % 2 == 0 {
                    resume_unwind(Box::new(CountsDrops(&DROPS)));
                }
                CountsDrops(&DROPS)
            });
            sender.send((fiber, go, spins)).unwrap();
            fiber::yield_now();
        }
        drop(sender);
        kapok::blocking(|| thread.join().unwrap());
    });
    assert_eq!(DROPS.load(Ordering::SeqCst), ROUNDS);
}

#[test]
fn what_a_closure_captured_is_dropped_when_the_fiber_ends() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    run_on_one(|| {
        let captured = CountsDrops(&DROPS);
        let fiber = spawn(move || {
            let _used = &captured;
            fiber::yield_now();
            assert_eq!(DROPS.load(Ordering::SeqCst), 0);
        });
        let identity = fiber.fiber().clone();
        fiber.join().unwrap();
        assert_eq!(DROPS.load(Ordering::SeqCst), 1);
        drop(identity);
    });
}

/// Panics when it is dropped.
struct Bomb(&'static AtomicUsize);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        resume_unwind(Box::new("a destructor that panics"));
    }
}

/// Panics when it is dropped, with something that panics when it is dropped.
struct DoubleBomb(&'static AtomicUsize);

impl Drop for DoubleBomb {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        resume_unwind(Box::new(Bomb(self.0)));
    }
}

#[test]
fn destructor_of_a_result_that_nobody_wants_may_panic() {
    static EXPLODED: AtomicUsize = AtomicUsize::new(0);
    for engine in Engine::available() {
        EXPLODED.store(0, Ordering::SeqCst);
        run_on_one_with(engine, || {
            // The fiber comes second.
            drop(spawn(|| Bomb(&EXPLODED)));
            drop(spawn(|| DoubleBomb(&EXPLODED)));
            drop(spawn(|| panic_any(Bomb(&EXPLODED))));
            fiber::yield_now();
            assert_eq!(EXPLODED.load(Ordering::SeqCst), 4);
            // The handle comes second: its drop is no place for a panic.
            let ended = [spawn(|| DoubleBomb(&EXPLODED)), spawn(|| DoubleBomb(&EXPLODED))];
            ended.iter().for_each(wait_for_end);
            drop(ended);
            assert_eq!(EXPLODED.load(Ordering::SeqCst), 8);
            assert!(!thread::panicking());
            assert_eq!(spawn(|| 1).join().unwrap(), 1);
        });
    }
}

#[test]
fn destructor_of_a_joined_result_panics_where_it_is_dropped() {
    static EXPLODED: AtomicUsize = AtomicUsize::new(0);
    run(|| {
        let result = spawn(|| Bomb(&EXPLODED)).join();
        assert_eq!(EXPLODED.load(Ordering::SeqCst), 0);
        assert!(catch_unwind(AssertUnwindSafe(|| drop(result))).is_err());
        assert_eq!(EXPLODED.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn destructor_of_a_closure_that_panics_is_the_fibers_panic() {
    run_on_one(|| {
        let captured = OnDrop(|| resume_unwind(Box::new(5_u8)));
        let fiber = spawn_local(move || {
            let _used = &captured;
            fiber::yield_now();
        });
        assert_eq!(fiber.join().unwrap_err().downcast_ref(), Some(&5_u8));
    });
}

#[test]
fn destructor_of_a_detached_result_may_wait() {
    let waited = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&waited);
    run_on_one(move || {
        let gate = Arc::new(Baton::new());
        let result = {
            let gate = Arc::clone(&gate);
            OnDrop(move || {
                gate.wait();
                theirs.store(true, Ordering::SeqCst);
            })
        };
        drop(spawn(move || result));
        fiber::yield_now();
        gate.post();
    });
    assert!(waited.load(Ordering::SeqCst));
}

/// The handle goes when the values of the fiber are going, and the result's destructor uses one.
#[test]
fn a_result_that_is_let_go_of_late_is_dropped_in_a_fiber_that_has_values() {
    type Last = OnDrop<Box<dyn FnMut()>>;
    kapok::fiber_local! {
        static FIRST: RefCell<Option<Last>> = const { RefCell::new(None) };
        static SECOND: usize = const { 7 };
    }
    let seen = Arc::new(AtomicUsize::new(0));
    let theirs = Arc::clone(&seen);
    run_on_one(move || {
        let gate = Arc::new(Baton::new());
        let fiber = {
            let gate = Arc::clone(&gate);
            spawn(move || {
                let wait: Box<dyn FnMut()> = Box::new(move || gate.wait());
                FIRST.set(Some(OnDrop(wait)));
                OnDrop(move || {
                    let value = SECOND.try_with(|value| *value).unwrap_or(0);
                    theirs.fetch_add(value, Ordering::SeqCst);
                })
            })
        };
        fiber::yield_now();
        assert!(!fiber.is_finished(), "it waits in a destructor");
        drop(fiber);
        gate.post();
    });
    assert_eq!(seen.load(Ordering::SeqCst), 7);
}
