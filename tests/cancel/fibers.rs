//! Cancelling whole fibers by their handles.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kapok::sync::Baton;
use kapok::{Cancelled, Elapsed, fiber, is_cancelled, spawn, spawn_local, timeout};

use crate::support::{OnDrop, run_on_one};
use crate::{FOREVER, SOON};

#[test]
fn a_fiber_that_has_not_begun_never_does() {
    run_on_one(|| {
        let (begun, dropped) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
        let theirs = Rc::clone(&begun);
        let captured = OnDrop({
            let dropped = Rc::clone(&dropped);
            move || dropped.set(true)
        });
        let fiber = spawn_local(move || {
            theirs.set(true);
            drop(captured);
        });
        fiber.cancel();
        fiber.cancel();
        assert!(fiber.join().unwrap_err().is::<Cancelled>());
        assert!(!begun.get() && dropped.get());
    });
}

#[test]
fn a_fiber_that_has_ended_is_none_the_wiser() {
    run_on_one(|| {
        let fiber = spawn(|| 3);
        fiber::yield_now();
        assert!(fiber.is_finished());
        fiber.cancel();
        assert_eq!(fiber.join().unwrap(), 3);
    });
}

#[test]
fn a_fiber_that_catches_it_may_end_as_it_likes() {
    run_on_one(|| {
        let fiber = spawn(|| std::panic::catch_unwind(fiber::park).is_err());
        fiber::yield_now();
        fiber.cancel();
        assert!(fiber.join().unwrap());
    });
}

#[test]
fn a_fiber_cancels_itself_and_others_that_are_ready() {
    run_on_one(|| {
        let own: Rc<Cell<Option<fiber::JoinHandle<()>>>> = Rc::default();
        let theirs = Rc::clone(&own);
        let reached = Rc::new(Cell::new(0));
        let count = Rc::clone(&reached);
        let fiber = spawn_local(move || {
            let handle = theirs.take().expect("it was left here");
            handle.cancel();
            assert!(is_cancelled());
            count.set(1);
            fiber::yield_now();
            count.set(2);
        });
        own.set(Some(fiber));
        // In the run queue at the moment.
        let ready = spawn(|| {
            loop {
                fiber::yield_now();
            }
        });
        fiber::yield_now();
        ready.cancel();
        assert!(ready.join().unwrap_err().is::<Cancelled>());
        assert_eq!(reached.get(), 1);
    });
}

#[test]
fn what_a_fiber_started_is_not_cancelled_with_it() {
    run_on_one(|| {
        let (go, ended) = (Arc::new(Baton::new()), Arc::new(Baton::new()));
        let (theirs, end) = (Arc::clone(&go), Arc::clone(&ended));
        let parent = spawn(move || {
            drop(spawn(move || {
                theirs.wait();
                end.post();
            }));
            fiber::park();
        });
        fiber::yield_now();
        parent.cancel();
        assert!(parent.join().unwrap_err().is::<Cancelled>());
        go.post();
        ended.wait();
        // Nor by what it was started in.
        let child = timeout(SOON, || spawn(|| fiber::sleep(SOON * 5))).unwrap();
        child.join().unwrap();
    });
}

#[test]
fn join_is_cancelled_and_the_fiber_goes_on() {
    run_on_one(|| {
        let (go, ended) = (Arc::new(Baton::new()), Arc::new(Baton::new()));
        let (theirs, end) = (Arc::clone(&go), Arc::clone(&ended));
        let fiber = spawn(move || {
            theirs.wait();
            end.post();
        });
        assert!(matches!(timeout(SOON, || fiber.join()), Err(Elapsed)));
        assert!(!ended.try_wait());
        go.post();
        ended.wait();
    });
}

#[test]
fn by_a_destructor() {
    run_on_one(|| {
        let other = spawn(|| fiber::sleep(FOREVER));
        let count = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&count);
        let fiber = spawn(move || {
            let _cancels = OnDrop(move || {
                other.cancel();
                theirs.fetch_add(1, Ordering::SeqCst);
            });
            fiber::park();
        });
        fiber::yield_now();
        fiber.cancel();
        assert!(fiber.join().unwrap_err().is::<Cancelled>());
        assert_eq!(count.load(Ordering::SeqCst), 1);
        // `other` has ended, or the runtime would not.
    });
}

#[test]
fn by_the_destructor_of_a_closure_that_never_ran() {
    run_on_one(|| {
        let waiter: Rc<Cell<Option<fiber::JoinHandle<()>>>> = Rc::default();
        let baton = Rc::new(Baton::new());
        let theirs = Rc::clone(&baton);
        let fiber = spawn_local(move || theirs.wait());
        let canceller = OnDrop({
            let waiter = Rc::clone(&waiter);
            move || waiter.take().iter().for_each(fiber::JoinHandle::cancel)
        });
        let second = spawn_local(move || drop(canceller));
        second.cancel();
        waiter.set(Some(fiber));
        assert!(second.join().unwrap_err().is::<Cancelled>());
        assert!(!baton.try_wait());
    });
}

#[test]
fn what_is_told_too_late_finds_nobody() {
    let (fiber, token) = run_on_one(|| {
        let token = kapok::CancelToken::new();
        let theirs = token.clone();
        let fiber = spawn(move || theirs.run(|| ()));
        fiber::yield_now();
        (fiber, token)
    });
    // Its worker is gone, too.
    fiber.cancel();
    token.cancel();
    fiber.join().unwrap().unwrap();
}
