//! One socket, and fibers of several workers, on every reactor.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use kapok::ReactorKind;
use kapok::net::{TcpListener, TcpStream};
use kapok::runtime::{Builder, Handle};
use kapok::sync::Baton;

use crate::spawn_on;
use crate::support::{skip, watchdog};

/// Runs `body` on each reactor that the environment allows for and that works here, with three workers.
fn on_each_reactor(body: impl Fn()) {
    let _watchdog = watchdog();
    let forced = std::env::var("KAPOK_REACTOR").ok().filter(|name| !name.is_empty());
    for kind in ReactorKind::available() {
        if forced.as_ref().is_some_and(|name| name != kind.name()) {
            continue;
        }
        match Builder::new().reactor(kind).workers(3).run(&body) {
            Ok(()) => {}
            Err(error) => {
                let required = std::env::var("KAPOK_REQUIRE_REACTORS").unwrap_or_default();
                assert!(!required.split(',').any(|name| name == kind.name()), "{error}");
                skip(&format!("{kind}: {error}"), "KAPOK_REQUIRE_ALL_REACTORS");
            }
        }
    }
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// Fibers of each worker that wait in `accept`, and are known to wait.
fn acceptors(listener: &Arc<TcpListener>) -> Vec<kapok::fiber::JoinHandle<ErrorKind>> {
    let fibers = (0..9).map(|i| {
        let (begun, listener) = (Arc::new(Baton::new()), Arc::clone(listener));
        let theirs = Arc::clone(&begun);
        let fiber = spawn_on(i % 3, move || {
            theirs.post();
            listener.accept().map(drop).unwrap_err().kind()
        });
        begun.wait();
        fiber
    });
    let fibers = fibers.collect();
    // Whoever comes behind them on each worker finds them waiting.
    (0..3).for_each(|worker| spawn_on(worker, kapok::fiber::yield_now).join().unwrap());
    fibers
}

#[test]
fn close_ends_the_waits_on_all_workers() {
    on_each_reactor(|| {
        for round in 0..10 {
            let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
            let waiting = acceptors(&listener);
            assert!(!waiting.iter().any(|fiber| fiber.is_finished()));
            let closes = Arc::clone(&listener);
            match round % 4 {
                3 => kapok::blocking(move || thread::spawn(move || closes.close()).join().unwrap()),
                worker => spawn_on(worker, move || closes.close()).join().unwrap(),
            }
            for fiber in waiting {
                assert_eq!(fiber.join().unwrap(), ErrorKind::NotConnected);
            }
        }
    });
}

/// Closing does not disturb whoever connects meanwhile: the kernel has the connection, and it is served.
#[test]
fn close_on_another_worker_resets_nobody() {
    on_each_reactor(|| {
        for _ in 0..20 {
            let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
            let address = listener.local_addr().unwrap();
            let accepting = Arc::clone(&listener);
            let server = spawn_on(1, move || {
                for stream in accepting.incoming() {
                    stream.unwrap().write_all(b"served").unwrap();
                }
            });
            let connecting = spawn_on(2, move || TcpStream::connect(address).unwrap());
            let mut client = connecting.join().unwrap();
            listener.close();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).unwrap();
            assert_eq!(answer, b"served");
            server.join().unwrap();
        }
    });
}

#[test]
fn reader_and_writer_on_different_workers() {
    const BYTES: usize = 1 << 20;
    on_each_reactor(|| {
        let (ours, theirs) = pair();
        let ends = [Arc::new(ours), Arc::new(theirs)];
        let mut fibers = Vec::new();
        for (side, end) in ends.iter().enumerate() {
            let (out, back) = (Arc::clone(end), Arc::clone(end));
            fibers.push(spawn_on(side, move || {
                let bytes: Vec<u8> = (0..=250).cycle().take(BYTES).collect();
                (&*out).write_all(&bytes).unwrap();
                out.shutdown(Shutdown::Write).unwrap();
            }));
            fibers.push(spawn_on(2 - side, move || {
                let mut bytes = Vec::new();
                (&*back).read_to_end(&mut bytes).unwrap();
                assert!(bytes.into_iter().eq((0..=250).cycle().take(BYTES)));
            }));
        }
        fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
    });
}

/// A stream that is used by one worker after the other, each of which has known it before.
#[test]
fn connection_wanders() {
    on_each_reactor(|| {
        let (ours, theirs) = pair();
        let (ours, theirs) = (Arc::new(ours), Arc::new(theirs));
        for round in 0..60 {
            let (ours, theirs) = (Arc::clone(&ours), Arc::clone(&theirs));
            let reader = spawn_on(round % 3, move || {
                let mut byte = [0; 8];
                // Short, so that the socket is known to be empty here.
                let n = (&*ours).read(&mut byte).unwrap();
                (n, byte[0])
            });
            let byte = u8::try_from(round).unwrap();
            let writer = spawn_on((round / 3) % 3, move || (&*theirs).write_all(&[byte]).unwrap());
            writer.join().unwrap();
            assert_eq!(reader.join().unwrap(), (1, byte));
        }
    });
}

/// Many readers of one stream on all workers: each byte goes to one of them, and the end to all.
#[test]
fn readers_on_all_workers_share_a_stream() {
    on_each_reactor(|| {
        let (mut ours, theirs) = pair();
        let theirs = Arc::new(theirs);
        let readers: Vec<_> = (0..6)
            .map(|i| {
                let stream = Arc::clone(&theirs);
                spawn_on(i % 3, move || {
                    let (mut total, mut buf) = (0, [0; 100]);
                    loop {
                        match (&*stream).read(&mut buf).unwrap() {
                            0 => return total,
                            n => total += n,
                        }
                    }
                })
            })
            .collect();
        for _ in 0..200 {
            ours.write_all(&[7; 333]).unwrap();
            kapok::fiber::yield_now();
        }
        drop(ours);
        let total: usize = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        assert_eq!(total, 200 * 333);
    });
}

/// Descriptors come and go on one worker while their numbers are known on the others.
#[test]
fn numbers_come_back_on_other_workers() {
    on_each_reactor(|| {
        for round in 0..60 {
            let (made, used, dropped) = (round % 3, (round + 1) % 3, (round / 3) % 3);
            let (mut ours, theirs) = spawn_on(made, pair).join().unwrap();
            ours.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
            let (ours, theirs) = spawn_on(used, move || {
                // It waits in vain, so that this worker's reactor knows it from now on.
                assert_eq!(ours.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
                ours.set_read_timeout(None).unwrap();
                (ours, theirs)
            })
            .join()
            .unwrap();
            let (mut a, mut b) = (ours, theirs);
            let reader = spawn_on(made, move || {
                let mut byte = [0];
                a.read_exact(&mut byte).unwrap();
                (a, byte[0])
            });
            b.write_all(&[9]).unwrap();
            let (a, byte) = reader.join().unwrap();
            assert_eq!(byte, 9);
            spawn_on(dropped, move || drop((a, b))).join().unwrap();
        }
        assert!(Handle::current().live_fibers() >= 1);
    });
}
