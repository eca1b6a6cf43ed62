//! What works on one worker works on each, and between them.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kapok::fiber;
use kapok::sync::Baton;

use crate::support::sentence;
use crate::{here, run_on, spawn_on};

#[test]
fn files_and_blocking_work() {
    run_on(3, || {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        kapok::fs::write(&path, b"begin").unwrap();
        for round in 0..20 {
            for worker in 0..3 {
                let path = path.clone();
                let read = spawn_on(worker, move || {
                    let text = format!("{round} of {worker}");
                    kapok::fs::write(&path, &text).unwrap();
                    assert_eq!(kapok::fs::read_to_string(&path).unwrap(), text);
                    // Borrowed, by another thread.
                    kapok::blocking(|| text.len())
                });
                assert!(read.join().unwrap() >= 6);
            }
        }
    });
}

/// One open file, and its position, for fibers of several workers.
#[test]
fn one_file_is_read_from_all_sides() {
    run_on(3, || {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let blocks: Vec<u8> = (0..=255).flat_map(|byte| [byte; 512]).collect();
        kapok::fs::write(&path, &blocks).unwrap();
        let file = Arc::new(kapok::fs::File::open(&path).unwrap());
        let readers: Vec<_> = (0..9)
            .map(|i| {
                let file = Arc::clone(&file);
                spawn_on(i % 3, move || {
                    let mut seen = Vec::new();
                    let mut block = [0; 512];
                    while (&*file).read(&mut block).unwrap() == 512 {
                        assert!(block.iter().all(|byte| *byte == block[0]));
                        seen.push(block[0]);
                    }
                    seen
                })
            })
            .collect();
        let mut all: Vec<u8> = readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..=255));
    });
}

#[test]
fn scopes_lend_to_other_workers() {
    run_on(3, || {
        for round in 0..200 {
            let mut numbers = [0_usize; 12];
            let (total, text) = (AtomicUsize::new(0), format!("round {round}"));
            fiber::scope(|scope| {
                for (i, number) in numbers.iter_mut().enumerate() {
                    let (total, text) = (&total, &text);
                    let builder = fiber::Builder::new().worker(i % 3);
                    let lent = builder.spawn_scoped(scope, move || {
                        if i % 4 == 0 {
                            fiber::yield_now();
                        }
                        *number = here() + text.len();
                        total.fetch_add(1, Ordering::Relaxed);
                    });
                    drop(lent.unwrap());
                }
                for _ in 0..4 {
                    scope.spawn(|| total.fetch_add(1, Ordering::Relaxed));
                }
            });
            assert_eq!(total.into_inner(), 16);
            let expected = (0..12).map(|i| i % 3 + text.len());
            assert!(numbers.iter().copied().eq(expected));
        }
    });
}

#[test]
fn panics_of_scoped_fibers_come_from_other_workers() {
    run_on(2, || {
        let name = String::from("borrowed");
        let joined = fiber::scope(|scope| {
            let builder = fiber::Builder::new().worker(1);
            let lent = builder.spawn_scoped(scope, || panic!("{name} and gone")).unwrap();
            sentence(lent.join().map(|never: ()| never).unwrap_err())
        });
        assert_eq!(joined, "borrowed and gone");
    });
}

#[test]
fn names_and_numbers_are_unique() {
    run_on(4, || {
        let fibers: Vec<_> = (0..400)
            .map(|i| {
                let builder = fiber::Builder::new().name(format!("fiber {i}")).worker(i % 4);
                builder
                    .spawn(|| (fiber::current().id(), fiber::current().name().map(str::to_owned)))
                    .unwrap()
            })
            .collect();
        let mut ids = HashSet::new();
        for (i, fiber) in fibers.into_iter().enumerate() {
            let id = fiber.fiber().id();
            let (told, name) = fiber.join().unwrap();
            assert_eq!((told, name), (id, Some(format!("fiber {i}"))));
            assert!(ids.insert(id));
        }
    });
}

#[test]
fn time_passes_on_every_worker() {
    run_on(3, || {
        let fibers: Vec<_> = (0..30)
            .map(|i| {
                spawn_on(i % 3, move || {
                    let (begin, nap) = (Instant::now(), Duration::from_millis(i as u64 % 7));
                    fiber::sleep(nap);
                    assert!(begin.elapsed() >= nap);
                    assert!(!Baton::new().wait_timeout(nap));
                    assert!(begin.elapsed() >= 2 * nap);
                })
            })
            .collect();
        fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
    });
}

/// Pipes of the standard library would block; those of a socket pair go through each worker's reactor.
#[test]
fn connections_cross_workers() {
    run_on(4, || {
        let listener = kapok::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let servers: Vec<_> = (0..40)
            .map(|i| {
                let client = spawn_on(i % 4, move || {
                    let mut stream = kapok::net::TcpStream::connect(address).unwrap();
                    let sent = vec![u8::try_from(i).unwrap(); 100_000];
                    stream.write_all(&sent).unwrap();
                    let mut back = vec![0; sent.len()];
                    stream.read_exact(&mut back).unwrap();
                    assert!(back == sent);
                });
                let (mut stream, _) = listener.accept().unwrap();
                let server = spawn_on((i + 1 + i / 4) % 4, move || {
                    let mut received = vec![0; 100_000];
                    stream.read_exact(&mut received).unwrap();
                    stream.write_all(&received).unwrap();
                });
                (client, server)
            })
            .collect();
        for (client, server) in servers {
            server.join().unwrap();
            client.join().unwrap();
        }
    });
}
