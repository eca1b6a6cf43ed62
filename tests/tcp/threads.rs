//! Sockets on plain threads, between threads, and between runtimes.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use kapok::net::{TcpListener, TcpStream};
use kapok::sync::Baton;
use kapok::{fiber, spawn};

use crate::support::{Random, run, watchdog};

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

#[test]
fn plain_threads_use_them_as_stds() {
    let _watchdog = watchdog();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        for stream in listener.incoming().take(20) {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut buf = [0; 100];
                loop {
                    match stream.read(&mut buf).unwrap() {
                        0 => return,
                        n => stream.write_all(&buf[..n]).unwrap(),
                    }
                }
            });
        }
    });
    let bytes = Random::new(1).bytes(200_000);
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let bytes = bytes.clone();
            thread::spawn(move || {
                let stream = Arc::new(TcpStream::connect(address).unwrap());
                let (theirs, sent) = (Arc::clone(&stream), bytes.clone());
                let writer = thread::spawn(move || {
                    (&*theirs).write_all(&sent).unwrap();
                    theirs.shutdown(Shutdown::Write).unwrap();
                });
                let mut received = Vec::new();
                (&*stream).read_to_end(&mut received).unwrap();
                assert!(received == bytes);
                writer.join().unwrap();
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    server.join().unwrap();
}

#[test]
fn time_outs_hold_on_plain_threads_and_are_never_early() {
    let _watchdog = watchdog();
    let (_client, mut server) = pair();
    for micros in [1, 900, 5_000] {
        let timeout = Duration::from_micros(micros);
        server.set_read_timeout(Some(timeout)).unwrap();
        let start = Instant::now();
        assert_eq!(server.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(start.elapsed() >= timeout);
    }
    server.set_write_timeout(Some(Duration::from_millis(5))).unwrap();
    let kind = loop {
        if let Err(error) = server.write(&[0; 100_000]) {
            break error.kind();
        }
    };
    assert_eq!(kind, ErrorKind::WouldBlock);
}

#[test]
fn time_outs_in_fibers_are_never_early() {
    run(|| {
        let (_client, mut server) = pair();
        let mut random = Random::new(2);
        for _ in 0..100 {
            let timeout = random.micros_below(2_000) + Duration::from_nanos(1);
            server.set_read_timeout(Some(timeout)).unwrap();
            let start = Instant::now();
            assert_eq!(server.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
            assert!(start.elapsed() >= timeout);
        }
    });
}

/// Longer than the kernel, or 64 bits of nanoseconds, can count.
#[test]
fn longest_time_outs_are_no_limit() {
    let check = || {
        let (mut client, mut server) = pair();
        for seconds in [50 * 86_400, 10_000_000_000, 100_000_000_000, u64::MAX] {
            let timeout = Duration::from_secs(seconds);
            server.set_read_timeout(Some(timeout)).unwrap();
            server.set_write_timeout(Some(timeout)).unwrap();
            assert!(server.read_timeout().unwrap().is_some());
            let mut same = server.try_clone().unwrap();
            let (started, go) = mpsc::channel();
            let sender = thread::spawn(move || {
                let () = go.recv().unwrap();
                same.write_all(b"back").unwrap();
                client.write_all(b"x").unwrap();
                client
            });
            started.send(()).unwrap();
            assert_eq!(server.read(&mut [0; 8]).unwrap(), 1);
            client = kapok::blocking(|| sender.join().unwrap());
            client.read_exact(&mut [0; 4]).unwrap();
        }
    };
    run(check);
    let _watchdog = watchdog();
    check();
}

#[test]
fn made_outside_used_inside() {
    let (mut client, mut server) = pair();
    client.write_all(b"before").unwrap();
    run(|| {
        // Borrowed by the root, and read by a fiber that has to wait.
        let mut buf = [0; 6];
        server.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"before");
        let clone = server.try_clone().unwrap();
        let reader = spawn(move || (&clone).read(&mut [0; 8]).unwrap());
        fiber::yield_now();
        client.write_all(b"x").unwrap();
        assert_eq!(reader.join().unwrap(), 1);
    });
    client.write_all(b"after").unwrap();
    drop(client);
    let mut text = String::new();
    server.read_to_string(&mut text).unwrap();
    assert_eq!(text, "after");
}

#[test]
fn made_inside_used_outside() {
    let (mut client, mut server) = run(|| {
        let (mut client, server) = pair();
        let reader = spawn(move || {
            (&server).read_exact(&mut [0; 1]).unwrap();
            server
        });
        fiber::yield_now();
        client.write_all(b"x").unwrap();
        (client, reader.join().unwrap())
    });
    let _watchdog = watchdog();
    let reader = thread::spawn(move || {
        let mut text = String::new();
        server.read_to_string(&mut text).unwrap();
        text
    });
    client.write_all(b"outside").unwrap();
    drop(client);
    assert_eq!(reader.join().unwrap(), "outside");
}

#[test]
fn connection_outlives_the_runtime_that_watched_it() {
    let (mut client, mut server) = pair();
    for round in 0..20_u8 {
        (client, server) = run(move || {
            let reader = spawn(move || {
                let mut byte = [0];
                server.read_exact(&mut byte).unwrap();
                (server, byte[0])
            });
            fiber::yield_now();
            client.write_all(&[round]).unwrap();
            let (server, byte) = reader.join().unwrap();
            assert_eq!(byte, round);
            (client, server)
        });
    }
}

/// Takes a connection in, reads one byte from it, answers, and hands it on; until the connection ends, or nobody has it
/// any more.
fn relay(from: mpsc::Receiver<TcpStream>, to: mpsc::Sender<TcpStream>) {
    run(move || {
        let next = || from.recv().ok();
        while let Some(mut stream) = next() {
            // A fiber of its own waits for the byte, whose worker has nothing else to do.
            let turn = spawn(move || {
                let mut byte = [0];
                if stream.read(&mut byte).unwrap() == 0 {
                    return None;
                }
                stream.write_all(&byte).unwrap();
                Some(stream)
            });
            let Some(stream) = turn.join().unwrap() else { return };
            if to.send(stream).is_err() {
                return;
            }
        }
    });
}

#[test]
fn connection_wanders_between_runtimes() {
    let (mut client, server) = pair();
    let ((to_a, at_a), (to_b, at_b)) = (mpsc::channel(), mpsc::channel());
    to_a.send(server).unwrap();
    let a = thread::spawn(move || relay(at_a, to_b));
    let b = thread::spawn(move || relay(at_b, to_a));
    let _watchdog = watchdog();
    let mut random = Random::new(3);
    for i in 0..2_000_u32 {
        let sent = [i.to_le_bytes()[0]];
        // Sometimes it is there before anybody waits for it.
        if random.below(2) == 0 {
            thread::yield_now();
        }
        client.write_all(&sent).unwrap();
        let mut answer = [0];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer, sent);
    }
    drop(client);
    a.join().unwrap();
    b.join().unwrap();
}

#[test]
fn two_runtimes_use_one_connection_at_once() {
    let (client, server) = pair();
    let (client, server) = (Arc::new(client), Arc::new(server));
    let bytes: Arc<[u8]> = Random::new(4).bytes(1_000_000).into();
    // One runtime writes at one end, another reads at the other and at the first.
    let (writer, sent) = (Arc::clone(&client), Arc::clone(&bytes));
    let writing = thread::spawn(move || {
        run(move || {
            for piece in sent.chunks(3_000) {
                (&*writer).write_all(piece).unwrap();
            }
            writer.shutdown(Shutdown::Write).unwrap();
        });
    });
    run(move || {
        let echo = spawn(move || {
            let mut buf = [0; 10_000];
            loop {
                match (&*server).read(&mut buf).unwrap() {
                    0 => return server.shutdown(Shutdown::Write).unwrap(),
                    n => (&*server).write_all(&buf[..n]).unwrap(),
                }
            }
        });
        let mut received = Vec::new();
        (&*client).read_to_end(&mut received).unwrap();
        assert!(received[..] == bytes[..]);
        echo.join().unwrap();
    });
    writing.join().unwrap();
}

#[test]
fn fibers_and_threads_read_one_connection() {
    run(|| {
        const EACH: usize = 3;
        let (mut client, server) = pair();
        let server = Arc::new(server);
        fn count(stream: &TcpStream) -> usize {
            let (mut total, mut buf) = (0, [0; 64]);
            loop {
                match { stream }.read(&mut buf).unwrap() {
                    0 => return total,
                    n => total += n,
                }
            }
        }
        let fibers: Vec<_> = (0..EACH)
            .map(|_| {
                let server = Arc::clone(&server);
                spawn(move || count(&server))
            })
            .collect();
        let threads: Vec<_> = (0..EACH)
            .map(|_| {
                let server = Arc::clone(&server);
                thread::spawn(move || count(&server))
            })
            .collect();
        for _ in 0..2_000 {
            client.write_all(&[7; 100]).unwrap();
            fiber::yield_now();
        }
        drop(client);
        let by_fibers: usize = fibers.into_iter().map(|fiber| fiber.join().unwrap()).sum();
        let by_threads: usize = kapok::blocking(|| threads.into_iter().map(|thread| thread.join().unwrap()).sum());
        assert_eq!(by_fibers + by_threads, 200_000);
    });
}

#[test]
fn shutdown_from_a_thread_ends_the_wait_of_a_fiber() {
    run(|| {
        let (_client, server) = pair();
        let server = Arc::new(server);
        let (theirs, waiting) = (Arc::clone(&server), Arc::new(Baton::new()));
        let go = Arc::clone(&waiting);
        let thread = thread::spawn(move || {
            go.wait();
            theirs.shutdown(Shutdown::Read).unwrap();
        });
        let reader = spawn(move || (&*server).read(&mut [0; 8]).unwrap());
        fiber::yield_now();
        waiting.post();
        assert_eq!(reader.join().unwrap(), 0);
        kapok::blocking(|| thread.join().unwrap());
    });
}

/// A plain thread closes what a reactor watches, and the number comes back as something else.
#[test]
fn number_comes_back_after_a_drop_on_a_thread() {
    run(|| {
        for round in 0..200 {
            let (mut client, server) = pair();
            let reader = spawn(move || {
                (&server).read_exact(&mut [0; 1]).unwrap();
                server
            });
            fiber::yield_now();
            client.write_all(b"xleft over").unwrap();
            let server = reader.join().unwrap();
            // Sometimes another handle keeps the connection, and with it the kernel's watch, alive.
            let kept = (round % 2 == 0).then(|| server.try_clone().unwrap());
            let dropper = thread::spawn(move || drop(server));
            kapok::blocking(|| dropper.join().unwrap());
            let (mut next_client, mut next_server) = pair();
            let next = spawn(move || {
                let mut text = [0; 4];
                next_server.read_exact(&mut text).unwrap();
                text
            });
            fiber::yield_now();
            drop(client);
            fiber::yield_now();
            next_client.write_all(b"mine").unwrap();
            assert_eq!(&next.join().unwrap(), b"mine");
            if let Some(mut kept) = kept {
                let mut text = String::new();
                kept.read_to_string(&mut text).unwrap();
                assert_eq!(text, "left over");
            }
        }
    });
}

#[test]
fn runtimes_on_many_threads_open_and_close_at_once() {
    const THREADS: usize = 4;
    let start = Arc::new(Barrier::new(THREADS));
    let threads: Vec<_> = (0..THREADS)
        .map(|i| {
            let start = Arc::clone(&start);
            thread::spawn(move || {
                start.wait();
                // All of them draw from the same numbers.
                run(move || {
                    for round in 0..300 {
                        let (mut client, mut server) = pair();
                        let reader = spawn(move || {
                            let mut text = String::new();
                            server.read_to_string(&mut text).unwrap();
                            text
                        });
                        if round % 3 == 0 {
                            fiber::yield_now();
                        }
                        let text = format!("{i} {round}");
                        client.write_all(text.as_bytes()).unwrap();
                        drop(client);
                        assert_eq!(reader.join().unwrap(), text);
                    }
                });
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}
