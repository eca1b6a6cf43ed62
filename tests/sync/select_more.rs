//! `select!` over what is no queue of messages: broadcasts, values that change, events and permits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kapok::sync::broadcast::RecvError;
use kapok::sync::watch::ChangedError;
use kapok::sync::{AcquireError, Event, OnceLock, Semaphore, broadcast, mpsc, watch};
use kapok::{fiber, select, spawn, timeout};

use crate::support::{Random, run, run_on_one};
use crate::{FOREVER, on_all_numbers_of_workers, on_threads, yield_often};

#[test]
fn broadcasts_that_are_there_are_received() {
    run(|| {
        let (sender, mut receiver) = broadcast::channel(2);
        let nothing = select! { recv(receiver) -> _ => false, default => true };
        assert!(nothing);
        (0..3).for_each(|n| assert_eq!(sender.send(n), Ok(1)));
        for expected in [Err(RecvError::Lagged(1)), Ok(1), Ok(2)] {
            select! { recv(receiver) -> got => assert_eq!(got, expected) }
        }
        sender.send(3).unwrap();
        // A reference does, too, and the receiver itself goes on from there.
        let borrowed = &mut receiver;
        select! { recv(borrowed) -> got => assert_eq!(got, Ok(3)), after(FOREVER) => unreachable!() }
        assert_eq!(receiver.try_recv(), Err(RecvError::Empty));
        drop(sender);
        select! { recv(receiver) -> got => assert_eq!(got, Err(RecvError::Closed)) }
    });
}

#[test]
fn every_receiver_gets_every_broadcast() {
    on_all_numbers_of_workers(|workers| {
        const MESSAGES: usize = 300;
        let (sender, receiver) = broadcast::channel(MESSAGES);
        fiber::scope(|s| {
            for seed in 0..6 {
                let mut receiver = receiver.clone();
                let (quiet, silent) = mpsc::channel::<()>();
                s.spawn(move || {
                    let _quiet = quiet;
                    let mut random = Random::new(seed ^ (workers as u64) << 32);
                    let mut next = 0;
                    loop {
                        let nap = random.micros_below(200);
                        let got = match random.below(3) {
                            0 => receiver.recv(),
                            1 => select! {
                                recv(receiver) -> got => got,
                                recv(silent) -> _ => unreachable!("nobody sends there"),
                                after(nap) => Err(RecvError::Empty),
                            },
                            // Cancelled, it has received nothing.
                            _ => timeout(nap, || select! { recv(receiver) -> got => got })
                                .unwrap_or(Err(RecvError::Empty)),
                        };
                        match got {
                            Ok(n) => {
                                assert_eq!(n, next);
                                next += 1;
                            }
                            Err(RecvError::Empty) => {}
                            Err(error) => {
                                assert_eq!((error, next), (RecvError::Closed, MESSAGES));
                                break;
                            }
                        }
                    }
                });
            }
            drop(receiver);
            for n in 0..MESSAGES {
                sender.send(n).unwrap();
                if n % 16 == 0 {
                    yield_often();
                }
            }
            drop(sender);
        });
    });
}

#[test]
fn a_broadcast_wakes_one_that_waits_for_several() {
    on_all_numbers_of_workers(|_| {
        for round in 0..40 {
            let (here, receiver) = broadcast::channel(4);
            let (there, other) = mpsc::channel();
            let fiber = spawn(move || {
                select! {
                    recv(receiver) -> n => n.unwrap(),
                    recv(other) -> n => n.unwrap(),
                }
            });
            yield_often();
            match round % 4 {
                0 => assert_eq!(here.send(round), Ok(1)),
                1 => on_threads(1, |_| assert_eq!(here.send(round), Ok(1))),
                2 => there.send(round).unwrap(),
                _ => {
                    drop(here);
                    assert!(fiber.join().is_err());
                    continue;
                }
            }
            assert_eq!(fiber.join().unwrap(), round);
        }
    });
}

#[test]
fn two_that_share_a_receiver_get_each_message_once() {
    on_all_numbers_of_workers(|_| {
        const MESSAGES: usize = 200;
        let (sender, receiver) = broadcast::channel(MESSAGES);
        let sum = AtomicUsize::new(0);
        fiber::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| {
                    while let Ok(n) = select! { recv(receiver) -> n => n } {
                        sum.fetch_add(n, Ordering::Relaxed);
                    }
                });
            }
            for n in 0..MESSAGES {
                sender.send(n).unwrap();
                fiber::yield_now();
            }
            drop(sender);
        });
        assert_eq!(sum.into_inner(), (0..MESSAGES).sum());
    });
}

#[test]
fn changes_are_seen_once() {
    run(|| {
        let (sender, mut receiver) = watch::channel(0);
        select! { changed(receiver) -> _ => unreachable!("it has not changed"), default => {} }
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        select! { changed(receiver) -> seen => assert_eq!(seen, Ok(())) }
        assert!(!receiver.has_changed());
        assert_eq!(*receiver.borrow_and_update(), 2);
        let fiber = spawn(move || {
            let seen = select! { changed(receiver) -> seen => seen, after(FOREVER) => unreachable!() };
            (seen, receiver.get(), select! { changed(receiver) -> seen => seen })
        });
        yield_often();
        sender.send(3).unwrap();
        drop(sender);
        assert_eq!(fiber.join().unwrap(), (Ok(()), 3, Err(ChangedError::Closed)));

        let (sender, receiver) = watch::channel(());
        drop(sender);
        select! { changed(receiver) -> seen => assert_eq!(seen, Err(ChangedError::Closed)) }
    });
}

#[test]
fn events_that_are_set() {
    on_all_numbers_of_workers(|_| {
        let event = Arc::new(Event::new());
        select! { wait(event) => unreachable!("it is not set"), default => {} }
        let fibers: Vec<_> = (0..4)
            .map(|_| {
                let event = Arc::clone(&event);
                let (quiet, silent) = mpsc::channel::<()>();
                spawn(move || {
                    let _quiet = quiet;
                    select! {
                        wait(event) => true,
                        recv(silent) -> _ => unreachable!("nobody sends there"),
                    }
                })
            })
            .collect();
        yield_often();
        on_threads(1, |_| event.set());
        select! { wait(event) => {} }
        assert!(fibers.into_iter().all(|fiber| fiber.join().unwrap()));
    });
}

#[test]
fn permits_are_acquired_in_turn_and_come_back() {
    run_on_one(|| {
        let semaphore = Arc::new(Semaphore::new(2));
        let one = select! { acquire(semaphore) -> permit => permit.unwrap() };
        select! { acquire(semaphore, 2) -> _ => unreachable!("there is one"), default => {} }
        // One that wants many stands in front, and gives up: the one behind it is served then.
        let (stop, stopped) = mpsc::channel::<()>();
        let wants = Arc::clone(&semaphore);
        let many = spawn(move || {
            select! {
                acquire(wants, 2) -> _ => unreachable!("there are not as many"),
                recv(stopped) -> _ => {},
            }
        });
        yield_often();
        let wants = Arc::clone(&semaphore);
        let few = spawn(move || drop(wants.acquire().unwrap()));
        yield_often();
        assert!(!few.is_finished());
        drop(stop);
        many.join().unwrap();
        few.join().unwrap();
        assert_eq!(semaphore.available(), 1);
        // One that waits is given what comes back; one that is cancelled is given nothing.
        let wants = Arc::clone(&semaphore);
        let waits = spawn(
            move || select! { acquire(wants, 2) -> permit => permit.map(drop), after(FOREVER) => unreachable!() },
        );
        yield_often();
        assert!(
            timeout(
                crate::SOON,
                || select! { acquire(semaphore, 2) -> permit => drop(permit) }
            )
            .is_err()
        );
        drop(one);
        assert_eq!(waits.join().unwrap(), Ok(()));
        assert_eq!(semaphore.available(), 2);
        semaphore.close();
        select! { acquire(semaphore) -> permit => assert_eq!(permit.unwrap_err(), AcquireError::Closed) }
    });
}

#[test]
fn no_permit_is_lost_or_doubled() {
    on_all_numbers_of_workers(|workers| {
        let semaphore = Semaphore::new(3);
        let inside = AtomicUsize::new(0);
        fiber::scope(|s| {
            for seed in 0..8 {
                let (semaphore, inside) = (&semaphore, &inside);
                let (quiet, silent) = mpsc::channel::<()>();
                s.spawn(move || {
                    let _quiet = quiet;
                    let mut random = Random::new(seed ^ (workers as u64) << 32);
                    for _ in 0..80 {
                        let n = 1 + random.below(3);
                        let nap = random.micros_below(200);
                        let permit = match random.below(3) {
                            0 => semaphore.acquire_many(n).ok(),
                            1 => select! {
                                acquire(semaphore, n) -> permit => permit.ok(),
                                recv(silent) -> _ => unreachable!("nobody sends there"),
                                after(nap) => None,
                            },
                            _ => timeout(nap, || select! { acquire(semaphore, n) -> permit => permit.ok() })
                                .ok()
                                .flatten(),
                        };
                        if permit.is_some() {
                            assert!(inside.fetch_add(n, Ordering::SeqCst) + n <= 3);
                            fiber::yield_now();
                            inside.fetch_sub(n, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        assert_eq!((semaphore.available(), inside.into_inner()), (3, 0));
    });
}

/// As code that was written for threads does.
#[test]
fn who_looks_again_and_again_lets_others_run() {
    run_on_one(|| {
        let value = Arc::new(OnceLock::new());
        let theirs = Arc::clone(&value);
        let sets = spawn(move || theirs.set(7).unwrap());
        while value.get().is_none() {}
        let lock = Arc::new(kapok::sync::Mutex::new(()));
        let theirs = Arc::clone(&lock);
        let holds = spawn(move || {
            let guard = theirs.lock().unwrap();
            yield_often();
            drop(guard);
        });
        fiber::yield_now();
        while lock.try_lock().is_err() {}
        while !(sets.is_finished() && holds.is_finished()) {}
        assert_eq!((sets.join().is_ok(), holds.join().is_ok()), (true, true));
    });
}
