//! `promise` and `await_callback`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use kapok::fan_out::{BrokenPromise, Future, await_callback, promise};
use kapok::fiber;
use kapok::sync::oneshot;

use crate::support::{CountsDrops, panics, run_on_one, says, watchdog};
use crate::{FOREVER, SOON, on_all_numbers_of_workers};

#[test]
fn a_value_comes_from_a_fiber_from_a_thread_and_from_oneself() {
    let check = || {
        assert_eq!(await_callback(|promise| promise.set(1)), Ok(1));
        let from_a_thread = await_callback(|promise| drop(thread::spawn(move || promise.set(2))));
        assert_eq!(from_a_thread, Ok(2));
        let text = String::from("borrowed");
        assert_eq!(await_callback(|promise| promise.set(text.as_str())), Ok("borrowed"));
    };
    check();
    on_all_numbers_of_workers(|| {
        check();
        let from_a_fiber = await_callback(|promise| drop(kapok::spawn(move || promise.set(3))));
        assert_eq!(from_a_fiber, Ok(3));
    });
}

#[test]
fn a_fiber_keeps_the_promise_that_a_thread_waits_for() {
    on_all_numbers_of_workers(|| {
        let (promise, future) = promise();
        let thread = thread::spawn(|| future.wait());
        kapok::spawn(|| promise.set("here")).join().unwrap();
        assert_eq!(kapok::blocking(|| thread.join()).unwrap(), Ok("here"));
    });
}

#[test]
fn a_promise_that_is_dropped_is_an_error_and_no_hang() {
    let check = || {
        assert_eq!(await_callback::<u8>(drop), Err(BrokenPromise));
        let on_a_thread = await_callback::<u8>(|promise| drop(thread::spawn(move || drop(promise))));
        assert_eq!(on_a_thread, Err(BrokenPromise));
    };
    check();
    on_all_numbers_of_workers(|| {
        check();
        let fiber = kapok::spawn(|| panics(|| await_callback::<u8>(|_promise| panic!("in the callback"))));
        assert_eq!(fiber.join().unwrap(), "in the callback");
        let panicked = await_callback::<u8>(|promise| {
            drop(kapok::spawn(move || {
                let _held = promise;
                panic!("with the promise in hand");
            }));
        });
        assert_eq!(panicked, Err(BrokenPromise));
    });
    says(&BrokenPromise.to_string(), &["dropped", "value"]);
}

#[test]
fn what_has_become_of_it_can_be_asked() {
    let check = || {
        let (promise, future) = promise::<u32>();
        let future = future.try_wait().expect_err("nothing is known");
        let future = future.wait_timeout(SOON).expect_err("nothing has come");
        promise.set(5);
        assert_eq!(future.wait_timeout(FOREVER).unwrap(), Ok(5));
        let broken = || kapok::fan_out::promise::<u32>().1;
        assert_eq!(broken().try_wait().unwrap(), Err(BrokenPromise));
        assert_eq!(broken().wait_timeout(SOON).unwrap(), Err(BrokenPromise));
    };
    check();
    run_on_one(check);
}

#[test]
fn a_value_that_nobody_wants_is_given_back_or_dropped() {
    let dropped = AtomicUsize::new(0);
    let (promise, future) = promise();
    drop(future);
    promise.set(CountsDrops(&dropped));
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    let (promise, future): (_, Future<u8>) = kapok::fan_out::promise();
    drop(future);
    assert_eq!(promise.set_if_wanted(7), Err(7));
}

#[test]
fn who_is_cancelled_while_it_waits_is_unwound_and_the_promise_can_be_kept() {
    on_all_numbers_of_workers(|| {
        let (sender, receiver) = mpsc::channel();
        let outcome = kapok::timeout(SOON, || await_callback::<u8>(|promise| sender.send(promise).unwrap()));
        assert!(outcome.is_err());
        assert_eq!(receiver.recv().unwrap().set_if_wanted(1), Err(1));
    });
}

#[test]
fn a_future_can_be_selected() {
    let _watchdog = watchdog();
    let (promise, future) = promise();
    promise.set(3);
    assert_eq!(oneshot::Receiver::from(future).recv(), Ok(3));
}

#[test]
fn it_is_refused_where_nothing_may_wait() {
    run_on_one(|| {
        let (promise, future) = promise::<u8>();
        says(&panics(|| kapok::no_suspend(|| future.wait())), &["would suspend"]);
        drop(promise);
        assert_eq!(kapok::no_suspend(|| await_callback(|promise| promise.set(1))), Ok(1));
        fiber::yield_now();
    });
}
