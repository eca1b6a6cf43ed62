//! `block_on`: wakers of every provenance, cancelling, panics.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn, ready};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use kapok::block_on;
use kapok::sync::{Baton, oneshot};

use crate::support::{OnDrop, panics, run, run_on_one, says, watchdog};

#[test]
fn gives_the_output_in_a_fiber_and_on_a_thread() {
    let _watchdog = watchdog();
    assert_eq!(block_on(ready(1)), 1);
    assert_eq!(block_on(async { 2 }), 2);
    run(|| assert_eq!(block_on(async { 3 }), 3));
    let not_send = Rc::new(4); // and borrowed
    assert_eq!(block_on(async { *not_send }), 4);
}

/// Pending for `times` polls, woken as `wake` does it.
fn woken_by(times: usize, wake: impl Fn(Waker)) -> impl Future<Output = usize> {
    let mut polls = 0;
    poll_fn(move |context| {
        polls += 1;
        if polls > times {
            return Poll::Ready(polls);
        }
        wake(context.waker().clone());
        Poll::Pending
    })
}

#[test]
fn each_poll_follows_a_wake() {
    let test = || {
        let by_itself = woken_by(1000, |waker| waker.wake());
        assert_eq!(block_on(by_itself), 1001);
        let by_threads = woken_by(20, |waker| drop(thread::spawn(move || waker.wake())));
        assert_eq!(block_on(by_threads), 21);
        let many_times = woken_by(20, |waker| {
            waker.wake_by_ref();
            let clone = waker.clone();
            clone.wake_by_ref();
            waker.wake();
        });
        assert_eq!(block_on(many_times), 21);
    };
    run(test);
    test();
}

#[test]
fn fibers_of_any_worker_wake() {
    run(|| {
        let by_fibers = woken_by(200, |waker| drop(kapok::spawn(move || waker.wake())));
        assert_eq!(block_on(by_fibers), 201);
        let by_a_neighbour = woken_by(200, |waker| drop(kapok::spawn_local(move || waker.wake())));
        assert_eq!(block_on(by_a_neighbour), 201);
    });
}

#[test]
fn others_run_while_it_waits_and_while_it_wakes_itself() {
    run_on_one(|| {
        let others = Rc::new(Cell::new(0));
        let theirs = Rc::clone(&others);
        let other = kapok::spawn_local(move || {
            for _ in 0..10 {
                theirs.set(theirs.get() + 1);
                kapok::fiber::yield_now();
            }
        });
        let seen = Rc::clone(&others);
        block_on(poll_fn(|context| {
            if seen.get() == 10 {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        }));
        assert!(others.get() == 10);
        other.join().unwrap();
    });
}

#[test]
fn a_wake_that_comes_late_does_nothing() {
    run(|| {
        let mut kept = None;
        let future = woken_by(1, |waker| waker.wake());
        block_on(async {
            future.await;
            poll_fn(|context| {
                kept = Some(context.waker().clone());
                Poll::Ready(())
            })
            .await;
        });
        let kept = kept.unwrap();
        kept.wake_by_ref();
        let polls = Cell::new(0);
        let (sender, receiver) = mpsc::channel();
        // Of another call, which must not take it for its own.
        let count = block_on(poll_fn(|context| {
            polls.set(polls.get() + 1);
            if polls.get() == 2 {
                return Poll::Ready(polls.get());
            }
            kept.wake_by_ref();
            sender.send(context.waker().clone()).unwrap();
            let waker = receiver.recv().unwrap();
            drop(kapok::spawn(move || waker.wake()));
            Poll::Pending
        }));
        assert_eq!(count, 2);
        thread::spawn(move || kept.wake()).join().unwrap();
    });
}

#[test]
fn calls_within_each_other_have_wakers_of_their_own() {
    run(|| {
        let outer = woken_by(3, |waker| {
            let inner = woken_by(3, |waker| drop(kapok::spawn(move || waker.wake())));
            assert_eq!(block_on(inner), 4);
            drop(kapok::spawn(move || waker.wake()));
        });
        assert_eq!(block_on(outer), 4);
    });
}

#[test]
fn a_cancelled_fiber_drops_the_future_on_its_stack() {
    run(|| {
        let (tell, told) = oneshot::channel();
        let begun = Arc::new(Baton::new());
        let theirs = Arc::clone(&begun);
        let fiber = kapok::spawn(move || {
            let id = kapok::fiber::current().id();
            let mut tell = Some(tell);
            let mine = OnDrop(move || {
                let same = kapok::fiber::current().id() == id && thread::panicking();
                tell.take().unwrap().send(same).unwrap();
            });
            block_on(async move {
                let _mine = mine;
                theirs.post();
                pending::<()>().await;
            });
        });
        begun.wait();
        fiber.cancel();
        assert!(fiber.join().unwrap_err().is::<kapok::Cancelled>());
        assert!(told.recv().unwrap(), "elsewhere, or not unwound");
        let outcome = kapok::timeout(Duration::from_millis(1), || block_on(pending::<()>()));
        assert!(outcome.is_err());
    });
}

#[test]
fn one_that_never_waits_is_cancelled_too() {
    run(|| {
        let polls = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&polls);
        let outcome = kapok::timeout(Duration::from_millis(5), || {
            block_on(poll_fn(|context| {
                theirs.fetch_add(1, Ordering::Relaxed);
                context.waker().wake_by_ref();
                Poll::<()>::Pending
            }));
        });
        assert!(outcome.is_err() && polls.load(Ordering::Relaxed) > 0);
    });
}

#[test]
fn panics_come_out() {
    run(|| {
        let said = panics(|| block_on(async { panic!("on purpose") }));
        assert_eq!(said, "on purpose");
        let said = panics(|| {
            block_on(async {
                woken_by(1, |waker| drop(kapok::spawn(move || waker.wake()))).await;
                panic!("later")
            })
        });
        assert_eq!(said, "later");
        assert_eq!(block_on(ready(1)), 1);
    });
}

#[test]
fn no_suspend_allows_what_need_not_wait() {
    run(|| {
        assert_eq!(kapok::no_suspend(|| block_on(ready(1))), 1);
        let woken = kapok::no_suspend(|| block_on(woken_by(100, |waker| waker.wake())));
        assert_eq!(woken, 101);
        let said = panics(|| kapok::no_suspend(|| block_on(pending::<()>())));
        says(&said, &["no_suspend"]);
    });
}

/// A wake-up that is lost hangs, which the watchdog ends.
#[test]
fn no_wake_is_lost_between_threads() {
    const ROUNDS: usize = 20_000;
    for in_fiber in [true, false] {
        let (sender, wakers) = mpsc::channel::<Waker>();
        let waking = thread::spawn(move || wakers.into_iter().for_each(Waker::wake));
        let test = move || {
            let rounds = woken_by(ROUNDS, move |waker| sender.send(waker).unwrap());
            assert_eq!(block_on(rounds), ROUNDS + 1);
        };
        if in_fiber {
            run(test);
        } else {
            let _watchdog = watchdog();
            test();
        }
        waking.join().unwrap();
    }
}
