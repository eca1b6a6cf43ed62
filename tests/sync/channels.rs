//! `mpsc`, `mpmc` and `oneshot`: no message is lost, doubled, or out of order, whoever is cancelled.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kapok::sync::{mpmc, mpsc, oneshot};
use kapok::{Cancelled, fiber, is_cancelled, no_suspend, spawn, timeout};

use crate::support::{CountsDrops, Random, panics, run, run_on_one, says};
use crate::{FOREVER, SOON, on_all_numbers_of_workers, on_threads, yield_often};

/// The bounds to test with; `None` is without.
const BOUNDS: [Option<usize>; 4] = [None, Some(0), Some(1), Some(5)];

fn mpmc_with<T>(bound: Option<usize>) -> (mpmc::Sender<T>, mpmc::Receiver<T>) {
    bound.map_or_else(mpmc::channel, mpmc::sync_channel)
}

#[test]
fn messages_of_one_sender_keep_their_order() {
    on_all_numbers_of_workers(|_| {
        for bound in BOUNDS {
            let (sender, receiver) = mpmc_with(bound);
            let fibers: Vec<_> = (0..5_usize)
                .map(|i| {
                    let sender = sender.clone();
                    spawn(move || (0..200_usize).for_each(|n| sender.send((i, n)).unwrap()))
                })
                .collect();
            let reader = spawn(move || {
                let mut next = [0; 7];
                for (i, n) in receiver {
                    assert_eq!(n, next[i]);
                    next[i] += 1;
                }
                assert_eq!(next, [200; 7]);
            });
            on_threads(2, |i| (0..200).for_each(|n| sender.send((5 + i, n)).unwrap()));
            drop(sender);
            fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
            reader.join().unwrap();
        }
    });
}

/// What was sent successfully, and what could not be sent: a number is in one of them.
#[derive(Default)]
struct Ledger {
    sent: Mutex<BTreeSet<usize>>,
    received: Mutex<BTreeSet<usize>>,
}

#[test]
fn cancelling_either_side_loses_and_doubles_no_message() {
    on_all_numbers_of_workers(|workers| {
        for bound in BOUNDS {
            let (sender, receiver) = mpmc_with(bound);
            let (ledger, next) = (Ledger::default(), AtomicUsize::new(0));
            fiber::scope(|s| {
                for seed in 0..10 {
                    let (ledger, next, sender) = (&ledger, &next, sender.clone());
                    s.spawn(move || {
                        let mut random = Random::new(seed ^ (workers as u64) << 32);
                        for _ in 0..60 {
                            let n = next.fetch_add(1, Ordering::Relaxed);
                            if let Ok(sent) = timeout(random.micros_below(200), || sender.send(n)) {
                                sent.unwrap();
                                ledger.sent.lock().unwrap().insert(n);
                            }
                        }
                    });
                    let receiver = receiver.clone();
                    s.spawn(move || {
                        let mut random = Random::new(seed ^ (workers as u64) << 40);
                        for _ in 0..60 {
                            let nap = random.micros_below(200);
                            let n = match random.below(3) {
                                0 => receiver.recv_timeout(nap).ok(),
                                _ => timeout(nap, || receiver.recv().unwrap()).ok(),
                            };
                            let mut received = ledger.received.lock().unwrap();
                            n.into_iter()
                                .for_each(|n| assert!(received.insert(n), "{n} came twice"));
                        }
                    });
                }
            });
            drop(sender);
            let mut received = ledger.received.into_inner().unwrap();
            for n in receiver {
                assert!(received.insert(n), "{n} came twice");
            }
            assert_eq!(received, ledger.sent.into_inner().unwrap(), "bound {bound:?}");
        }
    });
}

/// A receiver that was given a message, and cancelled before it could run, has it; one that was not has none.
#[test]
fn a_message_in_the_hand_of_a_cancelled_receiver_is_received() {
    run(|| {
        for bound in BOUNDS {
            let (sender, receiver) = mpmc_with(bound);
            let got = Arc::new(Mutex::new(Vec::new()));
            for round in 0..100 {
                let (theirs, list) = (receiver.clone(), Arc::clone(&got));
                let waits = spawn(move || list.lock().unwrap().push(theirs.recv().unwrap()));
                yield_often();
                _ = sender.send_timeout(2 * round, SOON);
                waits.cancel();
                drop(waits.join());
                if bound != Some(0) {
                    sender
                        .try_send(2 * round + 1)
                        .or_else(|_| sender.try_send(2 * round + 1))
                        .ok();
                }
                got.lock().unwrap().extend(receiver.try_iter());
            }
            let got = got.lock().unwrap();
            assert!(got.is_sorted(), "bound {bound:?}: {got:?}");
            assert!(got.len() >= 100 || bound == Some(0));
        }
    });
}

#[test]
fn a_cancelled_sender_has_sent_nothing() {
    run_on_one(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        struct Message(#[expect(dead_code, reason = "counts")] CountsDrops<'static>);
        let counter: &'static AtomicUsize = Box::leak(Box::new(AtomicUsize::new(0)));
        for bound in [0, 1] {
            let (sender, receiver) = mpsc::sync_channel(bound);
            (0..bound).for_each(|_| sender.send(Message(CountsDrops(counter))).unwrap());
            let fiber = spawn(move || sender.send(Message(CountsDrops(counter))).is_ok());
            fiber::yield_now();
            fiber.cancel();
            assert!(fiber.join().unwrap_err().is::<Cancelled>());
            assert_eq!(counter.swap(0, Ordering::SeqCst), 1);
            assert_eq!(receiver.iter().count(), bound);
            assert_eq!(counter.swap(0, Ordering::SeqCst), bound);
        }
        drop(drops);
    });
}

#[test]
fn each_message_goes_to_one_receiver() {
    on_all_numbers_of_workers(|_| {
        for bound in BOUNDS {
            let (sender, receiver) = mpmc_with::<usize>(bound);
            let sum = AtomicUsize::new(0);
            fiber::scope(|s| {
                for _ in 0..5 {
                    let (receiver, sum) = (receiver.clone(), &sum);
                    s.spawn(move || sum.fetch_add(receiver.iter().sum::<usize>(), Ordering::Relaxed));
                }
                let (theirs, sum) = (receiver, &sum);
                s.spawn(move || {
                    on_threads(2, |_| {
                        _ = sum.fetch_add(theirs.iter().sum::<usize>(), Ordering::Relaxed);
                    });
                });
                s.spawn(move || (1..=500).for_each(|n| sender.send(n).unwrap()));
            });
            assert_eq!(sum.load(Ordering::Relaxed), 500 * 501 / 2);
        }
    });
}

#[test]
fn hanging_up_ends_the_waits_of_the_other_side() {
    on_all_numbers_of_workers(|_| {
        let (sender, receiver) = mpmc::channel::<i32>();
        let receivers: Vec<_> = (0..5)
            .map(|_| {
                let receiver = receiver.clone();
                spawn(move || receiver.recv())
            })
            .collect();
        yield_often();
        drop(sender);
        receivers
            .into_iter()
            .for_each(|fiber| assert!(fiber.join().unwrap().is_err()));
        let (sender, receiver) = mpsc::sync_channel(0);
        let senders: Vec<_> = (0..5)
            .map(|i| {
                let sender = sender.clone();
                spawn(move || sender.send(i))
            })
            .collect();
        yield_often();
        drop(receiver);
        for (i, fiber) in senders.into_iter().enumerate() {
            assert_eq!(fiber.join().unwrap(), Err(mpsc::SendError(i)));
        }
    });
}

#[test]
fn what_need_not_wait_works_without_suspending_and_the_rest_is_refused() {
    run(|| {
        let (sender, receiver) = mpsc::sync_channel(1);
        no_suspend(|| {
            sender.send(1).unwrap();
            assert_eq!(sender.try_send(2), Err(mpsc::TrySendError::Full(2)));
            assert!(sender.send_timeout(2, Duration::ZERO).is_err());
        });
        says(&panics(|| no_suspend(|| sender.send(2))), &["no_suspend"]);
        no_suspend(|| {
            assert_eq!(receiver.recv(), Ok(1));
            assert_eq!(
                receiver.recv_timeout(Duration::ZERO),
                Err(mpsc::RecvTimeoutError::Timeout)
            );
        });
        says(&panics(|| no_suspend(|| receiver.recv())), &["no_suspend"]);
        sender.send(3).unwrap();
        assert_eq!(receiver.try_recv(), Ok(3), "nobody waited for it");
    });
}

#[test]
fn receiving_is_a_suspension_point_even_if_there_is_something() {
    run(|| {
        let (sender, receiver) = mpsc::channel();
        (0..1000).for_each(|n| sender.send(n).unwrap());
        let mut got = 0;
        let outcome = timeout(Duration::ZERO, || {
            for _ in &receiver {
                got += 1;
            }
        });
        assert!(outcome.is_err());
        assert_eq!((got, receiver.try_iter().count()), (0, 1000));
    });
}

/// One that always finds something lets others run all the same.
#[test]
fn a_full_channel_does_not_keep_the_thread() {
    run_on_one(|| {
        let (sender, receiver) = mpsc::channel();
        (0..10_000).for_each(|n| sender.send(n).unwrap());
        let other = spawn(|| ());
        let found = receiver.iter().position(|_| other.is_finished());
        assert!(found.is_some_and(|n| n < 1000), "{found:?}");
    });
}

#[test]
fn one_message() {
    on_all_numbers_of_workers(|_| {
        for i in 0..100 {
            let (sender, receiver) = oneshot::channel();
            let fiber = spawn(move || receiver.recv());
            if i % 2 == 0 {
                yield_often();
            }
            sender.send(i).unwrap();
            assert_eq!(fiber.join().unwrap(), Ok(i));
        }
        let (sender, receiver) = oneshot::channel::<i32>();
        let Err(oneshot::TryRecvError::Empty(receiver)) = receiver.try_recv() else {
            panic!("nothing was sent")
        };
        let Err(oneshot::RecvTimeoutError::Timeout(receiver)) = receiver.recv_timeout(SOON) else {
            panic!("nothing was sent")
        };
        on_threads(1, |_| ());
        drop(sender);
        assert!(matches!(
            receiver.recv_timeout(FOREVER),
            Err(oneshot::RecvTimeoutError::Disconnected)
        ));
    });
}

#[test]
fn a_cancelled_fiber_can_send_its_one_message() {
    on_all_numbers_of_workers(|_| {
        let (sender, receiver) = oneshot::channel();
        let fiber = spawn(move || {
            // Cancelled there, or before: then it does not begin, and there is nothing to see.
            let unwound = std::panic::catch_unwind(fiber::park).is_err();
            assert!(unwound && is_cancelled());
            sender.send("good-bye")
        });
        yield_often();
        fiber.cancel();
        match fiber.join() {
            Ok(sent) => assert_eq!((sent, receiver.recv()), (Ok(()), Ok("good-bye"))),
            Err(payload) => assert!(payload.is::<Cancelled>()),
        }
    });
}
