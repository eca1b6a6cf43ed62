//! What cancelling leaves of buffers, connections and files.

use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, Shutdown};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kapok::net::{TcpListener, TcpStream};
use kapok::{CancelToken, Cancelled, Elapsed, fiber, fs, is_cancelled, spawn, timeout};

use crate::points::{alone_in, connection, fill};
use crate::support::{OnDrop, Random, run_on_one};
use crate::{FOREVER, SOON};

#[test]
fn a_buffer_is_the_callers_again() {
    run_on_one(|| {
        let (mut stream, mut peer) = connection();
        for round in 0..50_u8 {
            let mut buf = [round; 256];
            assert_eq!(timeout(SOON / 10, || drop(stream.read(&mut buf))), Err(Elapsed));
            // Nothing that comes later goes there.
            peer.write_all(&[255; 256]).unwrap();
            assert_eq!(buf, [round; 256]);
            let mut later = [0; 256];
            stream.read_exact(&mut later).unwrap();
            assert_eq!((buf, later), ([round; 256], [255; 256]));
        }
    });
}

/// The memory is somebody else's as soon as the time is up. `ci/asan.sh` looks on.
#[test]
fn a_buffer_may_be_freed_when_the_time_is_up() {
    run_on_one(|| {
        let (mut stream, mut peer) = connection();
        for round in 0..50_u8 {
            let mut buf = vec![round; 4096];
            let outcome = timeout(SOON / 10, || stream.read(&mut buf).map(drop));
            assert!(matches!(outcome, Err(Elapsed)));
            drop(buf);
            let others: Vec<_> = (0..20).map(|_| vec![round; 4096]).collect();
            peer.write_all(&[255; 4096]).unwrap();
            let mut later = [0; 4096];
            stream.read_exact(&mut later).unwrap();
            assert!(later == [255; 4096] && others.iter().all(|other| *other == [round; 4096]));
        }
    });
}

#[test]
fn no_byte_is_lost_by_reading_in_time_or_not() {
    run_on_one(|| {
        let (mut stream, mut peer) = connection();
        let sent = Random::new(5).bytes(4000);
        let bytes = sent.clone();
        let writer = spawn(move || {
            let mut random = Random::new(6);
            for chunk in bytes.chunks(10) {
                peer.write_all(chunk).unwrap();
                fiber::sleep(random.micros_below(300));
            }
        });
        let (mut got, mut random, mut late) = (Vec::new(), Random::new(7), 0);
        loop {
            let mut buf = [0; 7];
            let mut n = None;
            let outcome = timeout(random.micros_below(200), || n = Some(stream.read(&mut buf).unwrap()));
            late += usize::from(outcome.is_err());
            match n {
                Some(0) => break,
                Some(n) => got.extend_from_slice(&buf[..n]),
                None => assert!(outcome.is_err()),
            }
        }
        writer.join().unwrap();
        assert_eq!(got, sent);
        assert!(late > 0);
    });
}

#[test]
fn a_write_is_told_or_has_not_been() {
    run_on_one(|| {
        let (stream, mut peer) = connection();
        let told = AtomicUsize::new(0);
        // One that stops in the middle: each of its writes was told.
        let outcome = timeout(SOON * 5, || {
            loop {
                let n = (&stream).write(&[1; 100_000]).unwrap();
                told.fetch_add(n, Ordering::Relaxed);
            }
        });
        assert_eq!(outcome, Err::<(), _>(Elapsed));
        let reader = spawn(move || std::io::copy(&mut peer, &mut std::io::sink()).unwrap());
        (&stream).write_all(&[2; 1000]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let told = u64::try_from(told.into_inner()).unwrap();
        assert_eq!(reader.join().unwrap(), told + 1000);
    });
}

#[test]
fn who_stands_in_line_leaves_it() {
    run_on_one(|| {
        let (stream, mut peer) = connection();
        let stream = Arc::new(stream);
        let readers: Vec<_> = (0..5)
            .map(|_| {
                let stream = Arc::clone(&stream);
                let reader = spawn(move || {
                    let mut byte = [0];
                    (&*stream).read_exact(&mut byte).unwrap();
                    byte[0]
                });
                fiber::yield_now();
                reader
            })
            .collect();
        let [a, b, c, d, e] = readers.try_into().unwrap();
        for cancelled in [a, c, e] {
            cancelled.cancel();
            assert!(cancelled.join().unwrap_err().is::<Cancelled>());
        }
        peer.write_all(&[1, 3]).unwrap();
        // On several workers either may have been the first in line.
        let mut got = [b, d].map(|reader| reader.join().unwrap());
        got.sort_unstable();
        assert_eq!(got, [1, 3]);
    });
}

#[test]
fn reader_and_writer_of_one_socket_are_two() {
    run_on_one(|| {
        let (stream, peer) = connection();
        let stream = Arc::new(stream);
        let theirs = Arc::clone(&stream);
        let reader = spawn(move || (&*theirs).read(&mut [0; 1]).unwrap());
        let theirs = Arc::clone(&stream);
        let writer = spawn(move || fill(&theirs));
        fiber::sleep(SOON);
        writer.cancel();
        assert!(writer.join().unwrap_err().is::<Cancelled>());
        assert!(!reader.is_finished());
        drop(peer);
        drop(reader.join()); // its end, or that it was reset
    });
}

#[test]
fn no_connection_is_lost_by_accepting_in_time_or_not() {
    alone_in(
        module_path!(),
        "no_connection_is_lost_by_accepting_in_time_or_not",
        || {
            let before = crate::support::open_descriptors();
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = listener.local_addr().unwrap();
            let clients = spawn(move || {
                let mut random = Random::new(8);
                for _ in 0..50 {
                    fiber::sleep(random.micros_below(400));
                    drop(TcpStream::connect(address).unwrap());
                }
            });
            let (mut accepted, mut late, mut random) = (0, 0, Random::new(9));
            while accepted < 50 {
                let mut one = None;
                let outcome = timeout(random.micros_below(200), || one = Some(listener.accept().unwrap()));
                accepted += usize::from(one.is_some());
                late += usize::from(outcome.is_err());
            }
            clients.join().unwrap();
            assert!(late > 0);
            drop(listener);
            crate::support::all_is_closed_since(before);
        },
    );
}

#[test]
fn a_listener_serves_the_next_one() {
    run_on_one(|| {
        let listener = Arc::new(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let acceptors: Vec<_> = (0..3)
            .map(|_| {
                let listener = Arc::clone(&listener);
                spawn(move || listener.accept().map(drop))
            })
            .collect();
        fiber::yield_now();
        let [a, b, c] = acceptors.try_into().unwrap();
        for cancelled in [a, b] {
            cancelled.cancel();
            // On another worker it hears of that when it hears of it, perhaps after the connection has come.
            assert!(cancelled.join().unwrap_err().is::<Cancelled>());
        }
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        c.join().unwrap().unwrap();
        drop(stream);
        listener.close();
    });
}

#[test]
fn a_read_that_was_done_is_told_before_the_fiber_ends() {
    run_on_one(|| {
        let (mut stream, mut peer) = connection();
        let token = CancelToken::new();
        let theirs = token.clone();
        let reader = spawn(move || {
            let mut got = Vec::new();
            let outcome = theirs.run(|| {
                loop {
                    let mut buf = [0; 3];
                    let n = stream.read(&mut buf).unwrap();
                    got.extend_from_slice(&buf[..n]);
                }
            });
            assert_eq!(outcome, Err::<(), _>(Cancelled));
            // What was not told is still there.
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).unwrap();
            (got, rest)
        });
        fiber::sleep(SOON);
        peer.write_all(b"abcdef").unwrap();
        token.cancel();
        peer.write_all(b"ghi").unwrap();
        drop(peer);
        let (got, rest) = reader.join().unwrap();
        assert_eq!([got, rest].concat(), b"abcdefghi");
    });
}

#[test]
fn a_file_is_everybodys_again() {
    run_on_one(|| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let file = Arc::new(
            fs::File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .open(&path)
                .unwrap(),
        );
        let line = [b'x'; 8 * 1024];
        // Many take turns with the position, some are cancelled while they wait for theirs.
        let fibers: Vec<_> = (0..40)
            .map(|_| {
                let file = Arc::clone(&file);
                spawn(move || (&*file).write(&line).unwrap())
            })
            .collect();
        fiber::yield_now();
        for fiber in fibers.iter().skip(1).step_by(3) {
            fiber.cancel();
        }
        let written: usize = fibers.into_iter().map(|fiber| fiber.join().unwrap_or(0)).sum();
        assert!(written >= line.len() * 20);
        assert_eq!(file.metadata().unwrap().len(), u64::try_from(written).unwrap());
        (&*file).seek(SeekFrom::Start(0)).unwrap();
        let mut content = Vec::new();
        (&*file).read_to_end(&mut content).unwrap();
        assert_eq!(content.len(), written);
    });
}

#[test]
fn turns_with_a_file_go_on_whatever_is_cancelled() {
    run_on_one(|| {
        let file = Arc::new(fs::File::from(tempfile::tempfile().unwrap()));
        let mut random = Random::new(11);
        let fibers: Vec<_> = (0..200)
            .map(|i| {
                let file = Arc::clone(&file);
                let time = random.micros_below(400);
                spawn(move || {
                    for _ in 0..5 {
                        let outcome = timeout(time, || (&*file).write(&[1; 5000]));
                        if i % 2 == 0 && outcome.is_err() {
                            break;
                        }
                    }
                })
            })
            .collect();
        fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
        (&*file).write_all(b"the end").unwrap();
    });
}

#[test]
fn a_destructor_does_not_keep_the_thread_waiting_for_the_peer() {
    run_on_one(|| {
        let (stream, peer) = connection();
        let fiber = spawn(move || {
            let failed = std::cell::Cell::new(None);
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let _flushes = OnDrop(|| {
                    assert!(std::thread::panicking() && is_cancelled());
                    // The peer takes nothing, so this would wait for ever. Much, for a full socket may have room for a little.
                    failed.set(
                        (&stream)
                            .write_all(&vec![0; 16 << 20])
                            .err()
                            .and_then(|error| error.raw_os_error()),
                    );
                    fiber::sleep(FOREVER);
                });
                fill(&stream);
            }));
            assert_eq!(failed.get(), Some(libc::ECANCELED));
            resume_unwind(outcome.unwrap_err());
        });
        fiber::sleep(SOON * 5);
        fiber.cancel();
        assert!(fiber.join().unwrap_err().is::<Cancelled>());
        drop(peer);
    });
}
