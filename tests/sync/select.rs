//! `select!`: the first of several, fairly, with nothing lost.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kapok::net::{Async, TcpListener, UdpSocket, UnixStream};
use kapok::sync::{Event, mpmc, mpsc, oneshot};
use kapok::{fiber, no_suspend, select, spawn, timeout};

use crate::support::{Random, panics, run, run_on_one, says, watchdog};
use crate::{FOREVER, SOON, on_all_numbers_of_workers, on_threads};

#[test]
fn what_is_ready_is_chosen() {
    run(|| {
        let (sender, receiver) = mpsc::channel();
        let (other, silent) = mpsc::channel::<i32>();
        sender.send(7).unwrap();
        let got = select! {
            recv(receiver) -> n => n.unwrap(),
            recv(silent) -> _ => unreachable!(),
        };
        assert_eq!(got, 7);
        let nothing = select! {
            recv(receiver) -> _ => false,
            recv(&silent) -> _ => false,
            default => true,
        };
        assert!(nothing);
        drop(other);
        select! {
            recv(receiver) -> _ => unreachable!(),
            recv(silent) -> gone => assert_eq!(gone, Err(mpsc::RecvError)),
            after(FOREVER) => unreachable!(),
        }
        let begin = Instant::now();
        select! {
            recv(receiver) -> _ => unreachable!(),
            after(SOON) => assert!(begin.elapsed() >= SOON),
            at(begin + FOREVER) => unreachable!(),
        }
        let (bounded, taker) = mpsc::sync_channel(1);
        for round in 0..4 {
            select! {
                send(bounded, round) -> sent => sent.unwrap(),
                recv(taker) -> got => assert!(got.unwrap() < round),
            }
        }
        drop(taker);
        select! { send(bounded, 9) -> sent => assert_eq!(sent, Err(mpsc::SendError(9))) }
    });
}

#[test]
fn it_waits_for_whoever_comes_first() {
    on_all_numbers_of_workers(|_| {
        for i in 0..60 {
            let (one, first) = mpsc::channel();
            let (two, second) = mpmc::sync_channel(0);
            let (three, third) = oneshot::channel();
            let (give, taken) = mpmc::sync_channel(0);
            let fiber = spawn(move || {
                select! {
                    recv(first) -> n => n.unwrap(),
                    recv(second) -> n => n.unwrap(),
                    recv(third) -> n => n.unwrap(),
                    send(give, 3) -> sent => { sent.unwrap(); 3 },
                }
            });
            if i % 2 == 0 {
                crate::yield_often();
            }
            match i % 4 {
                0 => one.send(0).unwrap(),
                1 => on_threads(1, |_| two.send(1).unwrap()),
                2 => three.send(2).unwrap(),
                _ => assert_eq!(taken.recv(), Ok(3)),
            }
            assert_eq!(fiber.join().unwrap(), i % 4);
        }
    });
}

#[test]
fn all_that_are_ready_have_their_turn() {
    run_on_one(|| {
        let channels: Vec<_> = (0..3).map(|_| mpsc::channel()).collect();
        channels
            .iter()
            .for_each(|(sender, _)| (0..3000).for_each(|n| sender.send(n).unwrap()));
        let mut counts = [0; 3];
        for _ in 0..3000 {
            let which = select! {
                recv(channels[0].1) -> _ => 0,
                recv(channels[1].1) -> _ => 1,
                recv(channels[2].1) -> _ => 2,
            };
            counts[which] += 1;
        }
        // A thousand each, give or take. The odds of being 300 off are one in 10 to the 30.
        assert!(counts.iter().all(|n| (700..=1300).contains(n)), "{counts:?}");
    });
}

#[test]
fn fibers_that_end_and_functions_that_return() {
    run(|| {
        let event = Rc::new(Event::new());
        let calls = Rc::new(Cell::new(0));
        let (sender, receiver) = mpsc::channel::<i32>();
        let fiber = spawn(|| {
            fiber::sleep(SOON);
            5
        });
        let slow = spawn(fiber::park);
        let (theirs, count) = (Rc::clone(&event), Rc::clone(&calls));
        let waits = move || {
            theirs.wait();
            count.set(count.get() + 1);
        };
        select! {
            join(slow) => unreachable!(),
            recv(receiver) -> _ => unreachable!(),
            when(waits.clone()) => unreachable!(),
            join(fiber) => {},
        }
        assert_eq!(fiber.join().unwrap(), 5);
        assert_eq!(calls.get(), 0);
        let set = Rc::clone(&event);
        let setter = fiber::spawn_local(move || set.set());
        select! {
            join(slow) => unreachable!(),
            when(waits) => assert_eq!(calls.get(), 1),
        }
        setter.join().unwrap();
        slow.cancel();
        select! { join(slow) => {} }
        assert!(slow.join().is_err());
        drop(sender);
    });
}

#[test]
fn on_plain_threads() {
    let _watchdog = watchdog();
    let (sender, receiver) = mpsc::channel();
    let (_other, silent) = mpsc::channel::<i32>();
    std::thread::scope(|s| {
        s.spawn(move || {
            for n in 0..1000 {
                select! {
                    recv(receiver) -> got => assert_eq!(got, Ok(n)),
                    recv(silent) -> _ => unreachable!(),
                }
            }
            select! { recv(silent) -> _ => unreachable!(), after(SOON) => {} }
        });
        (0..1000).for_each(|n| sender.send(n).unwrap());
    });
}

#[test]
fn it_is_a_suspension_point_and_may_be_refused() {
    run(|| {
        let (sender, receiver) = mpsc::channel();
        let wait = || select! { recv(receiver) -> n => n.unwrap(), after(FOREVER) => unreachable!() };
        assert!(timeout(SOON, wait).is_err());
        says(&panics(|| no_suspend(wait)), &["no_suspend"]);
        sender.send(1).unwrap();
        assert!(timeout(Duration::ZERO, wait).is_err());
        assert_eq!(no_suspend(wait), 1);
    });
}

/// Both sides of two channels by `select!`, with time-outs: every message that was sent is received once.
#[test]
fn no_message_is_lost_or_doubled() {
    on_all_numbers_of_workers(|workers| {
        for bound in [0, 1, 3] {
            let (a, b) = (mpmc::sync_channel(bound), mpmc::sync_channel(bound));
            let next = AtomicUsize::new(0);
            let (sent, received) = (Mutex::new(BTreeSet::new()), Mutex::new(BTreeSet::new()));
            let take = |n: usize| assert!(received.lock().unwrap().insert(n), "{n} came twice");
            fiber::scope(|s| {
                for seed in 0..8 {
                    let (a, b, next, sent, take) = (&a, &b, &next, &sent, &take);
                    s.spawn(move || {
                        let mut random = Random::new(seed ^ (workers as u64) << 32);
                        for _ in 0..60 {
                            let n = next.fetch_add(2, Ordering::Relaxed);
                            let by_select = random.below(2) == 0;
                            let done = timeout(random.micros_below(300), || {
                                if !by_select {
                                    return a.0.send(n).map(|()| n).ok();
                                }
                                select! {
                                    send(a.0, n) -> ok => ok.map(|()| n).ok(),
                                    send(b.0, n + 1) -> ok => ok.map(|()| n + 1).ok(),
                                }
                            });
                            let done = done.ok().flatten();
                            sent.lock().unwrap().extend(done);
                        }
                    });
                    s.spawn(move || {
                        let mut random = Random::new(seed ^ (workers as u64) << 40);
                        for _ in 0..60 {
                            let nap = random.micros_below(300);
                            let got = match random.below(3) {
                                0 => b.1.recv_timeout(nap).ok(),
                                1 => select! {
                                    recv(a.1) -> n => n.ok(),
                                    recv(b.1) -> n => n.ok(),
                                    after(nap) => None,
                                },
                                _ => timeout(nap, || {
                                    select! {
                                        recv(a.1) -> n => n.unwrap(),
                                        recv(b.1) -> n => n.unwrap(),
                                    }
                                })
                                .ok(),
                            };
                            got.into_iter().for_each(take);
                        }
                    });
                }
            });
            a.1.try_iter().chain(b.1.try_iter()).for_each(take);
            assert_eq!(*received.lock().unwrap(), *sent.lock().unwrap(), "bound {bound}");
        }
    });
}

/// A byte for `n`, and the other end.
fn with_bytes(n: usize) -> (UnixStream, UnixStream) {
    let (here, mut there) = UnixStream::pair().unwrap();
    there.write_all(&vec![7; n]).unwrap();
    (here, there)
}

#[test]
fn sockets_are_waited_for_beside_channels() {
    on_all_numbers_of_workers(|_| {
        let (here, mut there) = with_bytes(0);
        let (sender, receiver) = mpsc::channel::<u8>();
        // What is ready is chosen at once.
        let first = select! {
            readable(here) -> _ => "readable",
            writable(here) -> ready => { ready.unwrap(); "writable" },
            recv(receiver) -> _ => "received",
        };
        assert_eq!(first, "writable");
        for round in 0..20 {
            let by_socket = round % 2 == 0;
            let (sender, mut theirs) = (sender.clone(), there.try_clone().unwrap());
            let other = spawn(move || match by_socket {
                true => theirs.write_all(&[1]).unwrap(),
                false => sender.send(1).unwrap(),
            });
            let got = select! {
                readable(here) -> ready => { ready.unwrap(); assert_eq!((&here).read(&mut [0; 8]).unwrap(), 1); true },
                recv(receiver) -> message => { message.unwrap(); false },
                at(Instant::now() + FOREVER) => unreachable!(),
            };
            assert_eq!(got, by_socket);
            other.join().unwrap();
        }
        there.write_all(&[1]).unwrap();
        select! { readable(here) -> ready => ready.unwrap() }
        select! { readable(here) -> ready => ready.unwrap(), default => panic!("it is there") }
        (&here).read_exact(&mut [0]).unwrap();
        select! { readable(here) -> _ => panic!("it was taken"), default => {} }
        drop(there);
        select! { readable(&here) -> ready => ready.unwrap() }
    });
}

/// The loser is withdrawn, on each reactor, so that it neither takes anything nor keeps who comes after it from reading.
#[test]
fn sockets_that_were_not_chosen_are_withdrawn() {
    on_all_numbers_of_workers(|_| {
        let (mut here, mut there) = with_bytes(0);
        for _ in 0..100 {
            select! { readable(here) -> _ => panic!("nothing has come"), after(Duration::from_micros(50)) => {} }
            let outcome = timeout(Duration::from_micros(50), || {
                select! { readable(here) -> _ => panic!("nothing has come") }
            });
            assert!(outcome.is_err());
            there.write_all(&[1, 2]).unwrap();
            here.read_exact(&mut [0; 2]).unwrap();
        }
        // Closed right afterwards, and the number is the next one's.
        for _ in 0..100 {
            let (here, mut there) = with_bytes(0);
            select! { readable(here) -> _ => panic!("nothing has come"), after(Duration::ZERO) => {} }
            select! { readable(here) -> _ => panic!("nothing has come"), after(Duration::from_micros(1)) => {} }
            drop(here);
            assert!(there.write_all(&[1]).is_err(), "it is closed");
        }
    });
}

#[test]
fn sockets_on_a_plain_thread_and_of_every_kind() {
    let _watchdog = watchdog();
    let test = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (a, b) = (
            UdpSocket::bind("127.0.0.1:0").unwrap(),
            UdpSocket::bind("127.0.0.1:0").unwrap(),
        );
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let ours = Async::new(ours).unwrap();
        for wanted in 0..3 {
            let address = (listener.local_addr().unwrap(), b.local_addr().unwrap());
            let (a, mut theirs) = (a.try_clone().unwrap(), theirs.try_clone().unwrap());
            let other = std::thread::spawn(move || match wanted {
                0 => drop(std::net::TcpStream::connect(address.0).unwrap()),
                1 => drop(a.send_to(b"!", address.1).unwrap()),
                _ => theirs.write_all(b"!").unwrap(),
            });
            let got = select! {
                readable(listener) -> ready => { ready.unwrap(); drop(listener.accept().unwrap()); 0 },
                readable(b) -> ready => { ready.unwrap(); b.recv(&mut [0; 8]).unwrap(); 1 },
                readable(ours) -> ready => { ready.unwrap(); (&ours).read_exact(&mut [0]).unwrap(); 2 },
                after(FOREVER) => unreachable!(),
            };
            assert_eq!(got, wanted);
            other.join().unwrap();
        }
    };
    test();
    kapok::run(test).unwrap();
}

/// Many fibers, each on its own socket and one channel; all bytes come, and all messages.
#[test]
fn sockets_and_messages_are_neither_lost_nor_doubled() {
    on_all_numbers_of_workers(|_| {
        let (sender, receiver) = mpmc::channel::<usize>();
        let (bytes, messages) = (AtomicUsize::new(0), AtomicUsize::new(0));
        fiber::scope(|s| {
            for _ in 0..8 {
                let (here, mut there) = with_bytes(0);
                let (sender, receiver) = (sender.clone(), receiver.clone());
                s.spawn(move || {
                    for i in 0..100 {
                        if i % 2 == 0 {
                            there.write_all(&[1]).unwrap();
                        } else {
                            sender.send(i).unwrap();
                        }
                        fiber::yield_now();
                    }
                });
                let (bytes, messages) = (&bytes, &messages);
                s.spawn(move || {
                    loop {
                        select! {
                            readable(here) -> ready => {
                                ready.unwrap();
                                let n = (&here).read(&mut [0; 4]).unwrap();
                                bytes.fetch_add(n, Ordering::Relaxed);
                                if n == 0 {
                                    return;
                                }
                            },
                            recv(receiver) -> _ => { messages.fetch_add(1, Ordering::Relaxed); },
                        }
                    }
                });
            }
        });
        let left = receiver.try_iter().count();
        assert_eq!((bytes.into_inner(), messages.into_inner() + left), (400, 400));
    });
}
