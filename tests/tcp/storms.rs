//! Many connections.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use kapok::net::{TcpListener, TcpStream};
use kapok::{fiber, spawn};

use crate::support::{Random, all_is_closed_since, child, open_descriptors, run, skip};

/// A fiber that echoes whatever comes over each of `count` connections.
fn echo_server(listener: TcpListener, count: usize) -> fiber::JoinHandle<()> {
    spawn(move || {
        for stream in listener.incoming().take(count) {
            let mut stream = stream.unwrap();
            drop(spawn(move || {
                let mut buf = [0; 1_000];
                loop {
                    match stream.read(&mut buf) {
                        Ok(0) => return,
                        Ok(n) => stream.write_all(&buf[..n]).unwrap(),
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                            return;
                        }
                    }
                }
            }));
        }
    })
}

fn listen() -> (TcpListener, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The same few numbers, again and again.
#[test]
fn ten_thousand_short_connections() {
    child::undisturbed("storms::ten_thousand_short_connections", || {
        let before = open_descriptors();
        run(|| {
            const COUNT: usize = 10_000;
            let (listener, address) = listen();
            let server = echo_server(listener, COUNT);
            let clients: Vec<_> = (0..10_usize)
                .map(|worker| {
                    spawn(move || {
                        for i in 0..COUNT / 10 {
                            let mut stream = TcpStream::connect(address).unwrap();
                            let text = format!("{worker}-{i}");
                            stream.write_all(text.as_bytes()).unwrap();
                            // Who closes first is not always the same.
                            if i % 2 == 0 {
                                stream.shutdown(Shutdown::Write).unwrap();
                            }
                            let mut answer = vec![0; text.len()];
                            stream.read_exact(&mut answer).unwrap();
                            assert_eq!(answer, text.as_bytes());
                        }
                    })
                })
                .collect();
            clients.into_iter().for_each(|client| client.join().unwrap());
            server.join().unwrap();
        });
        all_is_closed_since(before);
    });
}

#[test]
fn a_thousand_connections_at_once() {
    child::undisturbed("storms::a_thousand_connections_at_once", || {
        const COUNT: usize = 1_000;
        match rlimit::increase_nofile_limit(3_000) {
            Ok(limit) if limit >= 3_000 => {}
            limit => {
                return skip(
                    &format!("a thousand connections take 2000 descriptors: {limit:?}"),
                    "KAPOK_REQUIRE_NOFILE",
                );
            }
        }
        let before = open_descriptors();
        run(|| {
            let (listener, address) = listen();
            let server = echo_server(listener, COUNT);
            let connected = Arc::new(AtomicUsize::new(0));
            let clients: Vec<_> = (0..COUNT)
                .map(|i| {
                    let connected = Arc::clone(&connected);
                    spawn(move || {
                        let mut stream = TcpStream::connect(address).unwrap();
                        connected.fetch_add(1, Ordering::SeqCst);
                        while connected.load(Ordering::SeqCst) < COUNT {
                            fiber::yield_now();
                        }
                        for round in 0..5 {
                            let text = format!("{i}.{round}");
                            stream.write_all(text.as_bytes()).unwrap();
                            let mut answer = vec![0; text.len()];
                            stream.read_exact(&mut answer).unwrap();
                            assert_eq!(answer, text.as_bytes());
                        }
                    })
                })
                .collect();
            clients.into_iter().for_each(|client| client.join().unwrap());
            server.join().unwrap();
        });
        all_is_closed_since(before);
    });
}

#[test]
fn clients_of_another_runtime() {
    let (listener, address) = listen();
    let clients = thread::spawn(move || {
        run(move || {
            let clients: Vec<_> = (0..300)
                .map(|i| {
                    spawn(move || {
                        let mut stream = TcpStream::connect(address).unwrap();
                        for round in 0..10 {
                            let text = format!("{i}.{round}");
                            stream.write_all(text.as_bytes()).unwrap();
                            let mut answer = vec![0; text.len()];
                            stream.read_exact(&mut answer).unwrap();
                            assert_eq!(answer, text.as_bytes());
                        }
                    })
                })
                .collect();
            clients.into_iter().for_each(|client| client.join().unwrap());
        });
    });
    run(|| echo_server(listener, 300).join().unwrap());
    clients.join().unwrap();
}

/// Clients that do at random what clients do: send, wait, give up, go away in the middle.
#[test]
fn unreliable_clients() {
    run(|| {
        const CLIENTS: u64 = 200;
        const VISITS: usize = 5;
        let (listener, address) = listen();
        let server = echo_server(listener, usize::try_from(CLIENTS).unwrap() * VISITS);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|seed| {
                spawn(move || {
                    let mut random = Random::new(seed);
                    for _ in 0..VISITS {
                        let mut stream = TcpStream::connect(address).unwrap();
                        stream.set_read_timeout(Some(Duration::from_micros(200))).unwrap();
                        for _ in 0..random.below(10) {
                            match random.below(6) {
                                0 => drop(stream.write(&[1; 300])),
                                1 => match stream.read(&mut [0; 200]) {
                                    Ok(_) => {}
                                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                                },
                                2 => fiber::yield_now(),
                                3 => fiber::sleep(random.micros_below(300)),
                                4 => drop(stream.shutdown(Shutdown::Write)),
                                _ => stream = stream.try_clone().unwrap(),
                            }
                        }
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        server.join().unwrap();
    });
}

#[test]
fn lack_of_descriptors_passes() {
    child::undisturbed("storms::lack_of_descriptors_passes", || {
        const EMFILE: i32 = 24;
        const LIMIT: u64 = 128;
        run(|| {
            let (listener, address) = listen();
            rlimit::setrlimit(rlimit::Resource::NOFILE, LIMIT, LIMIT).expect("one may have less");
            let mut streams = Vec::new();
            let error = loop {
                match TcpStream::connect(address) {
                    Ok(stream) => streams.push(stream),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.raw_os_error(), Some(EMFILE));
            assert_eq!(listener.accept().unwrap_err().raw_os_error(), Some(EMFILE));
            assert_eq!(streams[0].try_clone().unwrap_err().raw_os_error(), Some(EMFILE));
            assert_eq!(
                TcpListener::bind("127.0.0.1:0").unwrap_err().raw_os_error(),
                Some(EMFILE)
            );
            // The connection that could not be taken is still there when there is a number for it.
            let first = streams[0].local_addr().unwrap();
            drop(streams.pop());
            assert_eq!(listener.accept().unwrap().1, first);
        });
    });
}

#[test]
fn everything_is_closed_when_fibers_panic() {
    child::undisturbed("storms::everything_is_closed_when_fibers_panic", || {
        let before = open_descriptors();
        run(|| {
            let (listener, address) = listen();
            for _ in 0..100 {
                let client = spawn(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    std::panic::resume_unwind(Box::new(stream));
                });
                let (mut server, _) = listener.accept().unwrap();
                server.write_all(b"x").unwrap();
                let payload = client.join().map(|(): ()| ()).unwrap_err();
                drop(payload.downcast::<TcpStream>().unwrap());
                assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
            }
        });
        all_is_closed_since(before);
    });
}
