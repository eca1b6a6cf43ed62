//! Panics, and what must not come of them.

use std::cell::Cell;
use std::io::{Read, Write};
use std::panic::catch_unwind;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use kapok::{CancelToken, Cancelled, fiber, spawn, spawn_local};

use crate::points::connection;
use crate::support::{OnDrop, run_on_one};

#[test]
fn a_catch_within_a_destructor_does_not_let_others_run() {
    run_on_one(|| {
        let panicking = Rc::new(Cell::new(false));
        let theirs = Rc::clone(&panicking);
        let watcher = spawn_local(move || {
            while !theirs.get() {
                assert!(!std::thread::panicking());
                fiber::yield_now();
            }
        });
        let fiber = spawn(|| {
            let _catches = OnDrop(|| {
                let inner = catch_unwind(|| {
                    fiber::yield_now();
                    panic!("within");
                });
                assert!(inner.is_err() && std::thread::panicking());
                fiber::yield_now();
            });
            fiber::yield_now();
            panic!("around");
        });
        assert_eq!(fiber.join().unwrap_err().downcast_ref(), Some(&"around"));
        panicking.set(true);
        watcher.join().unwrap();
    });
}

#[test]
fn a_destructor_talks_to_a_peer_on_another_thread() {
    run_on_one(|| {
        let (mut stream, peer) = connection();
        let mut peer = std::net::TcpStream::from(peer);
        let echo = std::thread::spawn(move || {
            let mut question = [0; 3];
            peer.read_exact(&mut question).unwrap();
            peer.write_all(&question).unwrap();
        });
        let fiber = spawn(move || {
            let _asks = OnDrop(move || {
                stream.write_all(b"bye").unwrap();
                let mut answer = [0; 3];
                stream.read_exact(&mut answer).unwrap();
                assert_eq!(&answer, b"bye");
            });
            panic!("on purpose");
        });
        assert_eq!(fiber.join().unwrap_err().downcast_ref(), Some(&"on purpose"));
        echo.join().unwrap();
    });
}

/// Runs a fiber that ends by `end` while a neighbour holds, and lets go of, a lock.
fn neighbour_of(end: impl FnOnce() + Send + 'static) {
    let lock = Arc::new(Mutex::new(0));
    let theirs = Arc::clone(&lock);
    let neighbour = spawn(move || {
        for _ in 0..50 {
            let mut guard = theirs.lock().unwrap();
            *guard += 1;
            drop(guard);
            fiber::yield_now();
        }
    });
    let fiber = spawn(move || {
        let _waits = OnDrop(fiber::yield_now);
        fiber::yield_now();
        end();
    });
    fiber.join().unwrap_err();
    neighbour.join().unwrap();
    assert!(!lock.is_poisoned());
    assert_eq!(*lock.lock().unwrap(), 50);
}

#[test]
fn a_neighbours_lock_is_not_poisoned() {
    run_on_one(|| {
        neighbour_of(|| panic!("on purpose"));
        let token = CancelToken::new();
        neighbour_of(move || {
            token.cancel();
            token.run(|| token.run(fiber::yield_now).unwrap_err()).unwrap();
            std::panic::resume_unwind(Box::new(Cancelled));
        });
    });
}

#[test]
fn a_lock_that_is_held_is_poisoned_as_by_a_panic() {
    run_on_one(|| {
        let lock = Arc::new(Mutex::new(()));
        let theirs = Arc::clone(&lock);
        let fiber = spawn(move || {
            let _guard = theirs.lock().unwrap();
            fiber::park();
        });
        fiber::yield_now();
        fiber.cancel();
        assert!(fiber.join().unwrap_err().is::<Cancelled>());
        assert!(lock.is_poisoned());
    });
}

#[test]
fn a_destructor_that_panics_while_it_is_cancelled_ends_like_any_other() {
    run_on_one(|| {
        // The one that unwinds is caught within, so the second panic is the first.
        let fiber = spawn(|| {
            drop(catch_unwind(fiber::park));
            let _waits = OnDrop(|| assert!(catch_unwind(fiber::yield_now).is_ok(), "not while panicking"));
            panic!("after that");
        });
        fiber::yield_now();
        fiber.cancel();
        assert_eq!(fiber.join().unwrap_err().downcast_ref(), Some(&"after that"));
    });
}
