//! Stacks that are leaked, or exchanged, while others hold references into them: corosensei #27, #59 and #60, generator-rs #49
//! and #59.
//!
//! In those programs a coroutine borrows from its maker, lends that on to a thread by `std::thread::scope`, suspends itself
//! within, and is forgotten: the thread goes on with a reference to what its owner has taken back. Here a coroutine borrows
//! nothing, and a leaked stack stays as it is.

#![expect(clippy::mem_forget, reason = "that is what is tried")]

use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use kapok::coroutine::{Coroutine, CoroutineState};
use kapok::{Engine, fiber, spawn, stack};

use crate::support::{OnDrop, run, run_with, watchdog};

/// One that has a string in its frame, has lent it to a thread, and is suspended within the scope of that loan. The thread
/// sends a copy of the string each time that it is told to.
fn lender(engine: Engine, text: &'static str) -> (Coroutine<(), (), ()>, Sender<()>, Receiver<String>) {
    let (tell, told) = mpsc::channel();
    let (send, received) = mpsc::channel();
    let mut coroutine = Coroutine::with(engine, stack::DEFAULT_SIZE, move |yielder, ()| {
        let s = text.to_owned();
        let array = &[s.as_str(); 8];
        thread::scope(|scope| {
            scope.spawn(move || told.iter().for_each(|()| send.send(array.concat()).unwrap()));
            yielder.suspend(());
        });
    })
    .unwrap();
    assert_eq!(coroutine.resume(()), CoroutineState::Yielded(()));
    (coroutine, tell, received)
}

/// Takes and gives back stacks, and writes to them.
fn churn(engine: Engine) {
    for i in 0..50_u8 {
        let mut other = Coroutine::<(), u8, u8>::with(engine, stack::DEFAULT_SIZE, move |yielder, ()| {
            let fills = [i; 2_000];
            yielder.suspend(fills[1_999]);
            fills[0]
        })
        .unwrap();
        assert_eq!(other.resume(()), CoroutineState::Yielded(i));
    }
    run_with(engine, || {
        let fibers: Vec<_> = (0..50_u8)
            .map(|i| {
                spawn(move || {
                    let fills = [i; 2_000];
                    fiber::yield_now();
                    fills.iter().all(|&n| n == i)
                })
            })
            .collect();
        assert!(fibers.into_iter().all(|fiber| fiber.join().unwrap()));
    });
}

#[test]
fn what_a_forgotten_coroutine_has_lent_stays() {
    let _watchdog = watchdog();
    for engine in Engine::available() {
        for boxed in [false, true] {
            let (coroutine, tell, received) = lender(engine, "Happy");
            if boxed {
                mem::forget(Box::pin(coroutine));
            } else {
                mem::forget(coroutine);
            }
            for _ in 0..2 {
                churn(engine);
                tell.send(()).unwrap();
                assert_eq!(received.recv().unwrap(), "Happy".repeat(8));
            }
        }
    }
}

#[test]
fn a_coroutine_that_is_swapped_takes_its_loans_along() {
    let _watchdog = watchdog();
    for engine in Engine::available() {
        let (mut outer, outer_tell, outer_received) = lender(engine, "outer");
        {
            let (mut inner, tell, received) = lender(engine, "inner");
            mem::swap(&mut inner, &mut outer);
            // What was `outer` goes, which waits for its thread.
            drop(outer_tell);
            drop(inner);
            outer_received.recv().unwrap_err();
            churn(engine);
            tell.send(()).unwrap();
            assert_eq!(received.recv().unwrap(), "inner".repeat(8));
            drop(tell);
        }
        assert_eq!(outer.resume(()), CoroutineState::Complete(()));
    }
}

#[test]
fn dropping_a_lender_waits_for_what_it_has_lent_to() {
    let _watchdog = watchdog();
    for engine in Engine::available() {
        let (coroutine, tell, received) = lender(engine, "text");
        let others = thread::spawn(move || {
            for _ in 0..100 {
                tell.send(()).unwrap();
            }
            tell
        });
        let tell = others.join().unwrap();
        let ends = thread::spawn(move || drop(tell));
        drop(coroutine);
        ends.join().unwrap();
        assert_eq!(received.iter().filter(|text| *text == "text".repeat(8)).count(), 100);
    }
}

#[test]
fn a_scope_waits_for_fibers_whose_handles_were_forgotten() {
    run(|| {
        let mut numbers = vec![1, 2, 3];
        let ended = AtomicUsize::new(0);
        fiber::scope(|s| {
            for _ in 0..10 {
                mem::forget(s.spawn(|| {
                    fiber::yield_now();
                    assert_eq!(numbers.iter().sum::<i32>(), 6);
                    ended.fetch_add(1, Ordering::SeqCst);
                }));
            }
        });
        assert_eq!(ended.into_inner(), 10);
        numbers.clear();
    });
}

#[test]
fn a_coroutine_may_be_forgotten_within_a_scope_of_fibers() {
    run(|| {
        let (send, received) = mpsc::channel();
        let mut coroutine = Coroutine::<(), (), ()>::new(move |yielder, ()| {
            let text = "still there".to_owned();
            fiber::scope(|s| {
                s.spawn(|| {
                    for _ in 0..10 {
                        fiber::yield_now();
                        send.send(text.clone()).unwrap();
                    }
                });
                yielder.suspend(());
            });
        })
        .unwrap();
        coroutine.resume(());
        mem::forget(coroutine);
        let others = spawn(|| {
            for i in 0..50_u8 {
                let fills = [i; 2_000];
                spawn(fiber::yield_now).join().unwrap();
                assert!(fills.iter().all(|&n| n == i));
            }
        });
        others.join().unwrap();
        // The fiber of the scope may run on another worker, and be slower.
        let mut count = 0;
        while count < 10 {
            match received.try_recv() {
                Ok(text) => {
                    assert_eq!(text, "still there");
                    count += 1;
                }
                Err(_) => fiber::yield_now(),
            }
        }
    });
}

#[test]
fn a_runtime_does_not_end_while_frames_of_it_are_there() {
    let _watchdog = watchdog();
    let (mut ended, mut local) = (0, String::new());
    kapok::run(|| {
        let counted = OnDrop(|| ended += 1);
        // The root borrows from this test; it may not be left by way of another fiber that outlives it.
        drop(spawn(|| (0..100).for_each(|_| fiber::yield_now())));
        local.push('x');
        drop(counted);
    })
    .unwrap();
    assert_eq!((ended, local.as_str()), (1, "x"));
}
