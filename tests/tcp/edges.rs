//! Edges: the reactor is told once when something changes, and skips what it knows to be in vain. These tests try hard to
//! make it miss something: then a read would wait for ever, or come back without what was sent.

use std::io::{ErrorKind, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use kapok::net::{TcpListener, TcpStream};
use kapok::{fiber, spawn};

use crate::support::{Random, run, run_on_one, skip};

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_nodelay(true).unwrap();
    let (server, _) = listener.accept().unwrap();
    server.set_nodelay(true).unwrap();
    (client, server)
}

/// What follows from a seed: the sizes of pieces, and what happens between them.
fn send_in_pieces(mut stream: impl Write, bytes: &[u8], seed: u64, pause: impl Fn(&mut Random)) {
    let mut random = Random::new(seed);
    let mut rest = bytes;
    while !rest.is_empty() {
        // Sizes around those of the reader's buffers, so that reads are filled, not filled, and just filled.
        let size = [1, 2, 63, 64, 65, 1_000][random.below(6)].min(rest.len());
        stream.write_all(&rest[..size]).unwrap();
        rest = &rest[size..];
        if random.below(3) == 0 {
            pause(&mut random);
        }
    }
}

/// Reads to the end in every way that there is.
fn receive_in_pieces(stream: &TcpStream, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut received = Vec::new();
    let mut buf = [0; 2_000];
    loop {
        let size = [1, 64, 64, 128, 2_000][random.below(5)];
        let result = match random.below(8) {
            0 => {
                let mut peeked = [0; 64];
                match stream.peek(&mut peeked) {
                    Ok(n) if n > 0 => {
                        { stream }.read_exact(&mut buf[..n]).unwrap();
                        assert_eq!(buf[..n], peeked[..n]);
                        Ok(n)
                    }
                    result => result,
                }
            }
            1 => {
                let (a, b) = buf.split_at_mut(32);
                let mut parts = [IoSliceMut::new(a), IoSliceMut::new(&mut b[..32])];
                { stream }.read_vectored(&mut parts)
            }
            2 => {
                stream.set_nonblocking(true).unwrap();
                let result = { stream }.read(&mut buf[..size]);
                stream.set_nonblocking(false).unwrap();
                result
            }
            3 => {
                stream.set_read_timeout(Some(Duration::from_micros(50))).unwrap();
                let result = { stream }.read(&mut buf[..size]);
                stream.set_read_timeout(None).unwrap();
                result
            }
            _ => { stream }.read(&mut buf[..size]),
        };
        match result {
            Ok(0) => return received,
            Ok(n) => received.extend_from_slice(&buf[..n]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        if random.below(4) == 0 {
            fiber::yield_now();
        }
    }
}

#[test]
fn pieces_from_a_fiber() {
    run(|| {
        let connections: Vec<_> = (0..60)
            .map(|seed| {
                let (client, server) = pair();
                let bytes = Random::new(seed).bytes(20_000);
                let sent = bytes.clone();
                let writer = spawn(move || {
                    send_in_pieces(&client, &sent, seed, |random| match random.below(4) {
                        0 => fiber::sleep(random.micros_below(200)),
                        n => (0..n).for_each(|_| fiber::yield_now()),
                    });
                });
                let reader = spawn(move || assert!(receive_in_pieces(&server, seed) == bytes));
                (writer, reader)
            })
            .collect();
        for (writer, reader) in connections {
            writer.join().unwrap();
            reader.join().unwrap();
        }
    });
}

#[test]
fn pieces_from_threads() {
    run(|| {
        // The sender is never where the reader's thread can know of it.
        let connections: Vec<_> = (0..8)
            .map(|seed| {
                let (client, server) = pair();
                let bytes = Random::new(seed).bytes(100_000);
                let sent = bytes.clone();
                let writer = thread::spawn(move || {
                    send_in_pieces(&client, &sent, seed, |random| match random.below(20) {
                        0 => thread::sleep(random.micros_below(100)),
                        n => (0..n * 50).for_each(|_| std::hint::spin_loop()),
                    });
                });
                let reader = spawn(move || assert!(receive_in_pieces(&server, seed) == bytes));
                (writer, reader)
            })
            .collect();
        for (writer, reader) in connections {
            reader.join().unwrap();
            kapok::blocking(|| writer.join().unwrap());
        }
    });
}

#[test]
fn pieces_in_both_directions_at_once() {
    run(|| {
        let tasks: Vec<_> = (0..20)
            .flat_map(|seed| {
                let (client, server) = pair();
                let there = Arc::new(Random::new(seed).bytes(20_000));
                let back = Arc::new(Random::new(seed + 1_000).bytes(20_000));
                [(client, &there, &back), (server, &back, &there)].map(|(stream, sent, expected)| {
                    let (stream, sent, expected) = (Arc::new(stream), Arc::clone(sent), Arc::clone(expected));
                    let same = Arc::clone(&stream);
                    let writer = spawn(move || {
                        send_in_pieces(&*same, &sent, seed, |_| fiber::yield_now());
                        same.shutdown(Shutdown::Write).unwrap();
                    });
                    let mut random = Random::new(seed);
                    let reader = spawn(move || {
                        // No modes here: they are the other direction's as well.
                        let (mut received, mut buf) = (Vec::new(), [0; 128]);
                        loop {
                            let size = 1 + random.below(128);
                            match (&*stream).read(&mut buf[..size]).unwrap() {
                                0 => break,
                                n => received.extend_from_slice(&buf[..n]),
                            }
                        }
                        assert!(received == *expected);
                    });
                    (writer, reader)
                })
            })
            .collect();
        for (writer, reader) in tasks {
            writer.join().unwrap();
            reader.join().unwrap();
        }
    });
}

/// Data and the end may come in one segment, or the end right behind a read that came up short.
#[test]
fn end_behind_a_short_read() {
    run_on_one(|| {
        let mut random = Random::new(1);
        for round in 0..2_000 {
            let (mut client, mut server) = pair();
            let size = 1 + random.below(100);
            // Sometimes it has waited before, so that the reactor watches it already.
            let reader = spawn(move || {
                let mut buf = [0; 100];
                let mut total = 0;
                loop {
                    match server.read(&mut buf).unwrap() {
                        0 => return total,
                        n => total += n,
                    }
                }
            });
            if round % 2 == 0 {
                fiber::yield_now();
            }
            client.set_nodelay(round % 3 == 0).unwrap();
            client.write_all(&[1; 100][..size]).unwrap();
            match round % 5 {
                0 => fiber::yield_now(),
                1 => client.shutdown(Shutdown::Write).unwrap(),
                2 => (0..300).for_each(|_| fiber::yield_now()),
                _ => {}
            }
            drop(client);
            assert_eq!(reader.join().unwrap(), size);
        }
    });
}

#[test]
fn end_behind_a_short_read_from_a_thread() {
    run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let clients = thread::spawn(move || {
            let mut random = Random::new(2);
            for _ in 0..2_000 {
                let mut stream = std::net::TcpStream::connect(address).unwrap();
                stream.set_nodelay(random.below(2) == 0).unwrap();
                (0..random.below(2_000)).for_each(|_| std::hint::spin_loop());
                stream.write_all(&[1; 50]).unwrap();
                (0..random.below(2_000)).for_each(|_| std::hint::spin_loop());
                stream.write_all(&[1; 50]).unwrap();
                (0..random.below(2_000)).for_each(|_| std::hint::spin_loop());
            }
        });
        for stream in listener.incoming().take(2_000) {
            let mut stream = stream.unwrap();
            drop(spawn(move || {
                let mut total = 0;
                let mut buf = [0; 60];
                loop {
                    match stream.read(&mut buf).unwrap() {
                        0 => break,
                        n => total += n,
                    }
                }
                assert_eq!(total, 100);
            }));
        }
        kapok::blocking(|| clients.join().unwrap());
    });
}

#[test]
fn reset_behind_a_short_read() {
    run_on_one(|| {
        for round in 0..500 {
            let (mut client, mut server) = pair();
            server.write_all(b"never read").unwrap();
            client.peek(&mut [0; 1]).unwrap();
            let reader = spawn(move || {
                let mut buf = [0; 100];
                loop {
                    match server.read(&mut buf) {
                        Ok(n) => assert_ne!(n, 0, "a reset is no end"),
                        Err(error) => return error.kind(),
                    }
                }
            });
            fiber::yield_now();
            client.write_all(b"some").unwrap();
            (0..round % 4).for_each(|_| fiber::yield_now());
            drop(client);
            assert_eq!(reader.join().unwrap(), ErrorKind::ConnectionReset);
        }
    });
}

/// The reader takes all but the last byte, which is just what a full read and a short read differ in.
#[test]
fn buffers_of_just_the_size_and_one_more_and_one_less() {
    run(|| {
        for size in 1..200_usize {
            for room in [size - 1, size, size + 1] {
                let (mut client, mut server) = pair();
                let reader = spawn(move || {
                    let mut buf = vec![0; room.max(1)];
                    let mut total = 0;
                    while total < 3 * size {
                        total += server.read(&mut buf).unwrap();
                    }
                    total
                });
                for _ in 0..3 {
                    fiber::yield_now();
                    client.write_all(&vec![1; size]).unwrap();
                }
                assert_eq!(reader.join().unwrap(), 3 * size);
            }
        }
    });
}

/// A writer that fills the buffers, is held up, and goes on when there is room: many times, with a slow reader.
#[test]
fn writer_is_held_up_and_let_go() {
    run(|| {
        let connections: Vec<_> = (0..5)
            .map(|seed| {
                let (mut client, mut server) = pair();
                let block = Random::new(seed).bytes(100_000);
                let expected = block.clone();
                let writer = spawn(move || {
                    for _ in 0..100 {
                        client.write_all(&block).unwrap();
                    }
                });
                let reader = spawn(move || {
                    let mut received = vec![0; expected.len()];
                    for round in 0..100 {
                        if round % 10 == 0 {
                            fiber::sleep(Duration::from_millis(1));
                        }
                        server.read_exact(&mut received).unwrap();
                        assert!(received == expected);
                        fiber::yield_now();
                    }
                    assert_eq!(server.read(&mut received).unwrap(), 0);
                });
                (writer, reader)
            })
            .collect();
        for (writer, reader) in connections {
            writer.join().unwrap();
            reader.join().unwrap();
        }
    });
}

#[test]
fn one_of_several_who_wait_gives_up() {
    run_on_one(|| {
        for gives_up in 0..4_usize {
            let (mut client, server) = pair();
            let server = Arc::new(server);
            let mut waiters: Vec<_> = (0..4)
                .map(|i| {
                    let timeout = (i == gives_up).then_some(Duration::from_millis(5));
                    server.set_read_timeout(timeout).unwrap();
                    let server = Arc::clone(&server);
                    let waiter = spawn(move || {
                        let mut buf = [0; 4];
                        (&*server).read(&mut buf).map(|n| (n, buf))
                    });
                    fiber::yield_now();
                    waiter
                })
                .collect();
            let first = waiters.remove(gives_up).join().unwrap();
            assert_eq!(first.unwrap_err().kind(), ErrorKind::WouldBlock);
            assert!(!waiters.iter().any(|waiter| waiter.is_finished()));
            // The others are served in the order in which they came.
            client.write_all(b"1111222233").unwrap();
            let pieces = waiters.into_iter().map(|waiter| waiter.join().unwrap().unwrap());
            assert!(pieces.eq([(4, *b"1111"), (4, *b"2222"), (2, *b"33\0\0")]));
        }
    });
}

/// Sends a batch with a byte of urgent data in the middle, which is not part of the stream, and then nothing more until it
/// is answered: no later segment can make up for what was overlooked.
const URGENT_CLIENT: &str = r#"
import random, socket, sys
random.seed(1)
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for batch in range(int(sys.argv[2])):
    s.sendall(b"a" * random.randrange(0, 40))
    s.send(b"!", socket.MSG_OOB)
    s.sendall(b"b" * random.randrange(0, 40) + b".")
    assert s.recv(1) == b"y"
"#;

/// A read stops short at urgent data, although there is more behind it: the one case in which that does not mean that the
/// socket is empty.
#[test]
fn urgent_data_does_not_hide_what_follows() {
    run(|| {
        const BATCHES: usize = 200;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = Command::new("python3")
            .args(["-c", URGENT_CLIENT, &port.to_string(), &BATCHES.to_string()])
            .stdin(Stdio::null())
            .spawn();
        let mut client = match client {
            Ok(client) => client,
            Err(error) => {
                return skip(
                    &format!("no python3 to send urgent data: {error}"),
                    "KAPOK_REQUIRE_PYTHON",
                );
            }
        };
        let (mut stream, _) = listener.accept().unwrap();
        for batch in 0..BATCHES {
            // In every other batch the worker's thread is busy while it comes, so that all of it is there for the first
            // read, as a rule.
            let (mut received, mut buf) = (Vec::new(), [0; 500]);
            while received.last() != Some(&b'.') {
                if batch % 2 == 0 {
                    thread::sleep(Duration::from_millis(2));
                }
                let n = stream.read(&mut buf).unwrap();
                assert_ne!(n, 0, "the client waits for an answer");
                received.extend_from_slice(&buf[..n]);
            }
            assert!(received.iter().all(|byte| b"ab.".contains(byte)), "{received:?}");
            stream.write_all(b"y").unwrap();
        }
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
        assert!(kapok::blocking(|| client.wait()).unwrap().success());
    });
}
