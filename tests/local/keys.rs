//! What keys give: the syntax and the names of std, and a value for each fiber.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use kapok::coroutine::{Coroutine, CoroutineState};
use kapok::{Engine, fiber, spawn};

use crate::support::{panics, run, run_with, watchdog};

kapok::fiber_local! {
    /// With documentation, an attribute, and an initialiser that is evaluated each time.
    #[allow(dead_code)]
    static NAME: RefCell<String> = RefCell::new(format!("{}", 1 + 1));
    pub(crate) static COUNT: Cell<u32> = const { Cell::new(5) };
    static ONCE: OnceCell<Rc<str>> = const { OnceCell::new() }
}
kapok::fiber_local!(static SINGLE: Cell<Option<u8>> = Cell::default());
kapok::fiber_local!();
kapok::fiber_local!(
    static CLOSURE: fn(u8) -> u8 = |n| n + 1;
);

mod inner {
    kapok::fiber_local!(pub(super) static VISIBLE: u8 = const { 9 });
}

#[test]
fn each_fiber_has_a_value_of_its_own_across_switches() {
    for engine in Engine::available() {
        run_with(engine, || {
            let fibers: Vec<_> = (0..100)
                .map(|i| {
                    spawn(move || {
                        assert_eq!(COUNT.get(), 5);
                        COUNT.set(i);
                        NAME.set(i.to_string());
                        for _ in 0..10 {
                            fiber::yield_now();
                            assert_eq!(COUNT.get(), i);
                            assert!(NAME.with_borrow(|name| *name == i.to_string()));
                        }
                    })
                })
                .collect();
            fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
            assert_eq!(COUNT.get(), 5);
            assert_eq!(NAME.take(), "2");
        });
    }
}

#[test]
fn macro_takes_what_stds_takes() {
    let _watchdog = watchdog();
    let check = || {
        assert_eq!(inner::VISIBLE.with(|n| *n), 9);
        assert_eq!(CLOSURE.with(|f| f(1)), 2);
        assert_eq!(SINGLE.get(), None);
        ONCE.with(|once| once.set("a".into()).unwrap());
        assert_eq!(ONCE.with(|once| once.get().cloned()).as_deref(), Some("a"));
    };
    thread::spawn(check).join().unwrap();
    run(check);
}

#[test]
fn methods_for_cells_are_stds() {
    fn check() {
        kapok::fiber_local! {
            static CELL: Cell<u32> = panic!("evaluated");
            static REF: RefCell<Vec<u8>> = panic!("evaluated");
            static FIRST: Cell<u32> = Cell::new(1);
        }
        // To set is not to evaluate, on the first and on later times.
        for i in 0..3 {
            CELL.set(i);
            REF.set(vec![1]);
        }
        assert_eq!((CELL.get(), CELL.replace(7), CELL.take(), CELL.get()), (2, 2, 7, 0));
        REF.with_borrow_mut(|list| list.push(2));
        assert_eq!(REF.with_borrow(Vec::len), 2);
        assert_eq!(
            (REF.replace(vec![3]), REF.take(), REF.take()),
            (vec![1, 2], vec![3], vec![])
        );
        assert_eq!((FIRST.replace(4), FIRST.take(), FIRST.take()), (1, 4, 0));
        let twice = panics(|| REF.with_borrow_mut(|_| REF.with_borrow(|_| ())));
        assert!(twice.contains("already mutably borrowed"), "{twice}");
        REF.with_borrow_mut(|list| list.push(1));
    }
    let _watchdog = watchdog();
    thread::spawn(check).join().unwrap();
    run(check);
}

#[test]
fn value_is_made_once_and_stays_at_its_place() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    kapok::fiber_local!(static VALUE: usize = MADE.fetch_add(1, Ordering::SeqCst));
    kapok::fiber_local! {
        static A: u8 = 1; static B: u8 = 2; static C: u8 = 3; static D: u8 = 4; static E: u8 = 5; static F: u8 = 6;
    }
    run(|| {
        spawn(|| ()).join().unwrap();
        assert_eq!(MADE.load(Ordering::SeqCst), 0, "nobody has used it");
        VALUE.with(|value| {
            // The table grows meanwhile.
            let sum: u8 = [&A, &B, &C, &D, &E, &F].iter().map(|key| key.with(|n| *n)).sum();
            fiber::yield_now();
            VALUE.with(|again| assert!(std::ptr::eq(value, again)));
            assert_eq!((*value, sum), (0, 21));
        });
        assert_eq!(spawn(|| VALUE.with(|value| *value)).join().unwrap(), 1);
        assert_eq!(MADE.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn values_need_not_be_send() {
    kapok::fiber_local!(static LIST: RefCell<Vec<Rc<u8>>> = RefCell::default());
    run(|| {
        let mine = Rc::new(1);
        let theirs = Rc::clone(&mine);
        let other = kapok::spawn_local(move || {
            LIST.with_borrow_mut(|list| list.push(Rc::clone(&theirs)));
            fiber::yield_now();
            Rc::strong_count(&theirs)
        });
        LIST.with_borrow_mut(|list| list.push(Rc::clone(&mine)));
        assert_eq!(other.join().unwrap(), 4);
        assert_eq!(Rc::strong_count(&mine), 2);
    });
}

#[test]
fn on_a_plain_thread_it_is_the_threads() {
    run(|| {
        COUNT.set(1);
        // The threads of the pool are plain threads.
        kapok::blocking(|| {
            assert_eq!(COUNT.get(), 5);
            COUNT.set(5);
        });
        assert_eq!(COUNT.get(), 1);
    });
    assert_eq!(
        COUNT.get(),
        5,
        "a fiber's value is not that of the thread that it runs on"
    );
}

#[test]
fn keys_are_told_apart_when_threads_use_them_first_at_the_same_time() {
    macro_rules! keys {
        ($($name:ident),*) => {
            kapok::fiber_local! { $(static $name: Cell<usize> = const { Cell::new(0) };)* }
            const KEYS: &[&kapok::local::LocalKey<Cell<usize>>] = &[$(&$name),*];
        };
    }
    keys!(A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P);
    let _watchdog = watchdog();
    let barrier = Arc::new(Barrier::new(4));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || {
                run(|| {
                    barrier.wait();
                    KEYS.iter().zip(1..).for_each(|(key, i)| key.set(i));
                    KEYS.iter().zip(1..).for_each(|(key, i)| assert_eq!(key.get(), i));
                });
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn initialiser_that_panics_leaves_nothing() {
    kapok::fiber_local! {
        static AGAIN: Cell<bool> = const { Cell::new(false) };
        static VALUE: u8 = if AGAIN.get() { 7 } else { panic!("not yet") };
    }
    run(|| {
        assert_eq!(panics(|| VALUE.with(|_| ())), "not yet");
        AGAIN.set(true);
        assert_eq!(VALUE.with(|value| *value), 7);
    });
}

#[test]
fn initialiser_may_wait_and_may_use_other_keys() {
    kapok::fiber_local! {
        static OTHER: Cell<u32> = Cell::new(3);
        static VALUE: u32 = {
            fiber::yield_now();
            kapok::blocking(thread::yield_now);
            OTHER.get() + 1
        };
    }
    run(|| {
        let fibers: Vec<_> = (0..20)
            .map(|i| {
                spawn(move || {
                    OTHER.set(i);
                    assert_eq!(VALUE.with(|value| *value), i + 1);
                })
            })
            .collect();
        fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
    });
}

#[test]
fn initialiser_that_makes_its_own_value_panics() {
    kapok::fiber_local! {
        static DEPTH: Cell<u32> = const { Cell::new(0) };
        static VALUE: u32 = match DEPTH.replace(DEPTH.get() + 1) {
            0 => VALUE.with(|value| *value) + 1,
            depth => depth,
        };
    }
    run(|| {
        assert!(panics(|| VALUE.with(|_| ())).contains("while it is being made"));
        assert_eq!(VALUE.with(|value| *value), 1, "the inner one");
    });
}

#[test]
fn value_that_a_coroutine_holds_on_to_outlives_its_fiber() {
    kapok::fiber_local!(static VALUE: String = "still here".to_owned());
    run(|| {
        // Suspended within `with`, and handed to another fiber.
        let coroutine = kapok::spawn_local(|| {
            let mut coroutine = Coroutine::<(), usize, String>::new(|yielder, ()| {
                VALUE.with(|value| {
                    yielder.suspend(value.len());
                    value.clone()
                })
            })
            .unwrap();
            assert_eq!(coroutine.resume(()), CoroutineState::Yielded(10));
            coroutine
        });
        let mut coroutine = coroutine.join().unwrap();
        // Others come and go where the first one was.
        for _ in 0..10 {
            spawn(|| VALUE.with(|value| assert_eq!(value, "still here")))
                .join()
                .unwrap();
        }
        assert_eq!(coroutine.resume(()), CoroutineState::Complete("still here".to_owned()));
    });
}
