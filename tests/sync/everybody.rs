//! `broadcast` and `watch`.

use std::time::Duration;

use kapok::sync::broadcast::{self, RecvError};
use kapok::sync::watch::{self, ChangedError};
use kapok::{fiber, no_suspend, spawn, timeout};

use crate::support::{Random, panics, run, says};
use crate::{FOREVER, SOON, on_all_numbers_of_workers, on_threads, yield_often};

#[test]
fn everybody_gets_every_message_in_order() {
    on_all_numbers_of_workers(|workers| {
        let (sender, receiver) = broadcast::channel(4096);
        let fibers: Vec<_> = (0..10)
            .map(|seed| {
                let mut receiver = receiver.clone();
                spawn(move || {
                    let mut random = Random::new(seed ^ (workers as u64) << 32);
                    let mut got = Vec::new();
                    loop {
                        // Being cancelled loses nothing.
                        match timeout(random.micros_below(200), || receiver.recv()) {
                            Ok(Ok(n)) => got.push(n),
                            Ok(Err(error)) => {
                                assert_eq!(error, RecvError::Closed);
                                return got;
                            }
                            Err(_) => {}
                        }
                    }
                })
            })
            .collect();
        drop(receiver);
        yield_often();
        let theirs = sender.clone();
        let other = spawn(move || (0..500).for_each(|n| _ = theirs.send(2 * n).unwrap()));
        on_threads(1, |_| (0..500).for_each(|n| _ = sender.send(2 * n + 1).unwrap()));
        other.join().unwrap();
        assert_eq!(sender.receiver_count(), 10);
        drop(sender);
        let all: Vec<_> = fibers.into_iter().map(|fiber| fiber.join().unwrap()).collect();
        assert_eq!(all[0].len(), 1000);
        assert!(all.iter().all(|got| *got == all[0]), "the same order for all");
        assert!(all[0].iter().filter(|n| *n % 2 == 0).is_sorted());
    });
}

#[test]
fn who_is_too_slow_is_told() {
    run(|| {
        let (sender, mut receiver) = broadcast::channel(2);
        assert_eq!(receiver.try_recv(), Err(RecvError::Empty));
        assert_eq!(receiver.recv_timeout(SOON), Err(RecvError::Empty));
        (0..5).for_each(|n| assert_eq!(sender.send(n), Ok(1)));
        assert_eq!(receiver.recv(), Err(RecvError::Lagged(3)));
        let mut late = sender.subscribe();
        assert_eq!((receiver.recv(), receiver.recv()), (Ok(3), Ok(4)));
        assert_eq!(late.try_recv(), Err(RecvError::Empty));
        says(&panics(|| no_suspend(|| late.recv())), &["no_suspend"]);
        drop((receiver, late));
        assert!(sender.send(9).is_err());
        says(&panics(|| broadcast::channel::<i32>(0)), &["broadcast"]);
    });
}

#[test]
fn the_last_value_is_seen() {
    on_all_numbers_of_workers(|workers| {
        let (sender, receiver) = watch::channel(0);
        let fibers: Vec<_> = (0..10)
            .map(|seed| {
                let mut receiver = receiver.clone();
                spawn(move || {
                    let mut random = Random::new(seed ^ (workers as u64) << 32);
                    let mut last = 0;
                    while last < 1000 {
                        if let Ok(changed) = timeout(random.micros_below(200), || receiver.changed()) {
                            changed.unwrap();
                            let now = *receiver.borrow_and_update();
                            assert!(now > last, "a change that is none");
                            last = now;
                        }
                    }
                    receiver.changed()
                })
            })
            .collect();
        for n in 1..=1000 {
            sender.send(n).unwrap();
            if n % 50 == 0 {
                fiber::sleep(Duration::from_micros(30));
            }
        }
        drop(sender);
        fibers
            .into_iter()
            .for_each(|fiber| assert_eq!(fiber.join().unwrap(), Err(ChangedError::Closed)));
    });
}

#[test]
fn waiting_for_a_value() {
    run(|| {
        let (sender, mut receiver) = watch::channel(1);
        assert!(!receiver.has_changed());
        assert_eq!(receiver.changed_timeout(SOON), Err(ChangedError::Timeout));
        says(&panics(|| no_suspend(|| receiver.changed())), &["no_suspend"]);
        assert_eq!(*receiver.wait_for(|n| *n == 1).unwrap(), 1);
        let mut theirs = sender.subscribe();
        let fiber = spawn(move || *theirs.wait_for(|n| *n > 2).unwrap());
        (2..=3).for_each(|n| sender.send(n).unwrap());
        assert_eq!(fiber.join().unwrap(), 3);
        assert!(receiver.has_changed());
        assert_eq!(receiver.changed_timeout(FOREVER), Ok(()));
        assert_eq!((*receiver.borrow(), *sender.borrow()), (3, 3));
        drop(receiver);
        assert!(sender.send(4).is_err());
    });
}
