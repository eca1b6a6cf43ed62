//! Nobody is starved by a fiber that never waits for long.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kapok::net::{TcpListener, TcpStream};
use kapok::sync::Baton;
use kapok::{Engine, fiber, spawn, spawn_local};

use crate::support::{run, run_with};

/// Runs `body` beside fibers that do nothing but yield until it is done.
fn beside_yielders(count: usize, body: impl FnOnce()) {
    let stop = Rc::new(Cell::new(false));
    let yielders: Vec<_> = (0..count)
        .map(|_| {
            let stop = Rc::clone(&stop);
            spawn_local(move || {
                while !stop.get() {
                    fiber::yield_now();
                }
            })
        })
        .collect();
    body();
    stop.set(true);
    yielders.into_iter().for_each(|fiber| fiber.join().unwrap());
}

#[test]
fn yielders_do_not_starve_timers() {
    for engine in Engine::available() {
        for count in [1, 2, 300] {
            run_with(engine, || {
                beside_yielders(count, || fiber::sleep(Duration::from_millis(10)));
            });
        }
    }
}

/// More than are woken between two looks at the timers.
#[test]
fn yielders_do_not_starve_many_timers_of_one_time() {
    run(|| {
        beside_yielders(300, || {
            let until = Instant::now() + Duration::from_millis(10);
            let sleep = || {
                spawn_local(move || {
                    fiber::sleep_until(until);
                    assert!(Instant::now() >= until);
                })
            };
            let sleepers: Vec<_> = (0..2_000).map(|_| sleep()).collect();
            sleepers.into_iter().for_each(|fiber| fiber.join().unwrap());
        });
    });
}

/// As many as are woken between two looks at the timers, and more, whose time is up whenever they wait.
#[test]
fn waits_that_are_over_at_once_do_not_starve_other_timers() {
    run(|| {
        for count in [1, 128, 200] {
            let ended = Arc::new(AtomicBool::new(false));
            let past = Instant::now();
            let late = || {
                let ended = Arc::clone(&ended);
                spawn_local(move || {
                    while !ended.load(Ordering::Relaxed) {
                        fiber::sleep_until(past);
                    }
                })
            };
            let late: Vec<_> = (0..count).map(|_| late()).collect();
            fiber::sleep(Duration::from_millis(10));
            ended.store(true, Ordering::Relaxed);
            late.into_iter().for_each(|fiber| fiber.join().unwrap());
        }
    });
}

#[test]
fn yielders_do_not_starve_wake_ups_from_threads() {
    run(|| {
        beside_yielders(2, || {
            for _ in 0..200 {
                let baton = Arc::new(Baton::new());
                let theirs = Arc::clone(&baton);
                let thread = thread::spawn(move || theirs.post());
                baton.wait();
                kapok::blocking(|| thread.join().unwrap());
            }
        });
    });
}

#[test]
fn yielders_do_not_starve_sockets() {
    run(|| {
        beside_yielders(2, || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let client = thread::spawn(move || {
                let mut stream = std::net::TcpStream::connect(address).unwrap();
                let mut byte = [0];
                for i in 0..100 {
                    stream.write_all(&[i]).unwrap();
                    stream.read_exact(&mut byte).unwrap();
                    assert_eq!(byte, [i]);
                }
            });
            let (mut stream, _) = listener.accept().unwrap();
            let mut byte = [0];
            while stream.read(&mut byte).unwrap() == 1 {
                stream.write_all(&byte).unwrap();
            }
            kapok::blocking(|| client.join().unwrap());
        });
    });
}

#[test]
fn sleepers_do_not_starve_others() {
    run(|| {
        // There is always a timer that has just expired.
        let stop = Rc::new(Cell::new(false));
        let fibers: Vec<_> = (0..100)
            .map(|_| {
                let stop = Rc::clone(&stop);
                spawn_local(move || {
                    while !stop.get() {
                        fiber::sleep(Duration::from_nanos(1));
                    }
                })
            })
            .collect();
        (0..1_000).for_each(|_| fiber::yield_now());
        fiber::sleep(Duration::from_millis(10));
        stop.set(true);
        fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
    });
}

#[test]
fn fibers_that_spawn_for_ever_do_not_starve_timers() {
    run(|| {
        let stop = Rc::new(Cell::new(false));
        fn respawn(stop: &Rc<Cell<bool>>) {
            if !stop.get() {
                let stop = Rc::clone(stop);
                drop(spawn_local(move || respawn(&stop)));
            }
        }
        respawn(&stop);
        fiber::sleep(Duration::from_millis(10));
        stop.set(true);
    });
}

/// A thread that sends to whoever connects until the connection ends.
fn endless_sender() -> (std::net::SocketAddr, thread::JoinHandle<()>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let bytes = vec![1; 1 << 16];
        while stream.write_all(&bytes).is_ok() {}
    });
    (address, thread)
}

#[test]
fn reader_of_an_endless_stream_does_not_starve_timers() {
    run(|| {
        let (address, sender) = endless_sender();
        let stop = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&stop);
        let reader = spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            // One byte at a time, the sender is always ahead, so that a read never has to wait.
            let mut byte = [0];
            while !theirs.load(Ordering::SeqCst) {
                stream.read_exact(&mut byte).unwrap();
            }
        });
        for _ in 0..10 {
            fiber::sleep(Duration::from_millis(1));
        }
        stop.store(true, Ordering::SeqCst);
        reader.join().unwrap();
        kapok::blocking(|| sender.join().unwrap());
    });
}

#[test]
fn writer_whose_peer_keeps_up_does_not_starve_others() {
    run(|| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let peer = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buf = vec![0; 1 << 16];
            while stream.read(&mut buf).is_ok_and(|n| n > 0) {}
        });
        let stop = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&stop);
        let writer = spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            while !theirs.load(Ordering::SeqCst) {
                stream.write_all(&[1]).unwrap();
            }
        });
        for _ in 0..100 {
            fiber::yield_now();
        }
        stop.store(true, Ordering::SeqCst);
        writer.join().unwrap();
        kapok::blocking(|| peer.join().unwrap());
    });
}

#[test]
fn non_blocking_poller_that_yields_lets_the_data_come() {
    run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        let fiber = spawn(move || {
            fiber::sleep(Duration::from_millis(5));
            client.write_all(b"x").unwrap();
        });
        let mut buf = [0; 8];
        let n = loop {
            match server.read(&mut buf) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => fiber::yield_now(),
                result => break result.unwrap(),
            }
        };
        assert_eq!(buf[..n], *b"x");
        fiber.join().unwrap();
    });
}
