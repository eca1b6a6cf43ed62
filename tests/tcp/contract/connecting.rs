//! From an address to a connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::net::{TcpListener, TcpStream};
use super::pair::{let_others_wait, listen};
use super::{run, thread};
use crate::support::{child, skip};

/// Nobody listens there.
const REFUSED: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(127, 7, 7, 7), 1));

#[test]
fn both_ends_agree_on_their_addresses() {
    run(|| {
        let (listener, address) = listen();
        assert_ne!(address.port(), 0);
        let client = TcpStream::connect(address).unwrap();
        let (server, peer) = listener.accept().unwrap();
        assert_eq!(client.peer_addr().unwrap(), address);
        assert_eq!(server.local_addr().unwrap(), address);
        assert_eq!(client.local_addr().unwrap(), peer);
        assert_eq!(server.peer_addr().unwrap(), peer);
        assert!(peer.ip().is_loopback());
    });
}

#[test]
fn bind_takes_the_first_address_that_is_free() {
    run(|| {
        let (_taken, used) = listen();
        let error = TcpListener::bind(used).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = TcpListener::bind(&[used, used, free][..]).unwrap();
        assert_ne!(listener.local_addr().unwrap(), used);
        let error = TcpListener::bind(&[used, used][..]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    });
}

#[test]
fn bind_to_an_address_of_another_host_fails() {
    run(|| {
        // From the block that is for documentation only.
        let error = TcpListener::bind("192.0.2.1:0").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    });
}

#[test]
fn connect_takes_the_first_address_that_answers() {
    run(|| {
        let (listener, address) = listen();
        let client = TcpStream::connect(&[REFUSED, REFUSED, address][..]).unwrap();
        assert_eq!(client.peer_addr().unwrap(), address);
        let (server, _) = listener.accept().unwrap();
        assert_eq!(server.peer_addr().unwrap(), client.local_addr().unwrap());
    });
}

#[test]
fn no_address_at_all_is_invalid() {
    run(|| {
        let none: &[SocketAddr] = &[];
        assert_eq!(TcpStream::connect(none).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(TcpListener::bind(none).unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn refusal_is_told() {
    run(|| {
        for _ in 0..10 {
            let error = TcpStream::connect(REFUSED).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            let error = TcpStream::connect_timeout(&REFUSED, Duration::from_secs(60)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            let error = TcpStream::connect(&[REFUSED, REFUSED][..]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        }
    });
}

#[test]
fn connect_with_a_time_limit() {
    run(|| {
        // A listener of its own: std has begun to connect by the time it looks at the limit.
        let error = TcpStream::connect_timeout(&listen().1, Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let (listener, address) = listen();
        for timeout in [Duration::from_secs(60), Duration::MAX] {
            let mut client = TcpStream::connect_timeout(&address, timeout).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            // The limit is for the connect alone, and the mode is the usual one.
            assert_eq!(client.read_timeout().unwrap(), None);
            client.write_all(b"x").unwrap();
            let mut byte = [0];
            server.read_exact(&mut byte).unwrap();
            let reader = thread::spawn(move || client.read(&mut [0; 8]).unwrap());
            let_others_wait();
            server.write_all(b"late").unwrap();
            assert_eq!(reader.join().unwrap(), 4);
        }
    });
}

#[test]
fn connect_that_takes_too_long_is_told() {
    // In a process of its own, for it takes descriptors that others want, too.
    let test = child::path(module_path!(), "connect_that_takes_too_long_is_told");
    child::undisturbed(&test, || {
        const ENOUGH: u64 = 6_000;
        let limit = rlimit::increase_nofile_limit(ENOUGH).unwrap_or(0);
        if limit < ENOUGH {
            return skip(
                &format!("{limit} descriptors do not fill a backlog"),
                "KAPOK_REQUIRE_NOFILE",
            );
        }
        run(|| {
            // Nobody accepts, and in the end the kernel does not answer any more.
            let (_listener, address) = listen();
            let timeout = Duration::from_millis(300);
            let mut connected = Vec::new();
            let error = loop {
                let start = Instant::now();
                match TcpStream::connect_timeout(&address, timeout) {
                    Ok(stream) => connected.push(stream),
                    Err(error) => {
                        assert!(start.elapsed() >= timeout, "{error}");
                        break error;
                    }
                }
            };
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        });
    });
}

#[test]
fn ipv6() {
    run(|| {
        let listener = match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
            Ok(listener) => listener,
            Err(error) => return skip(&format!("there is no IPv6 here: {error}"), "KAPOK_REQUIRE_IPV6"),
        };
        let address = listener.local_addr().unwrap();
        assert!(address.is_ipv6());
        let mut client = TcpStream::connect(address).unwrap();
        let (mut server, peer) = listener.accept().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        assert_eq!(peer.ip(), IpAddr::V6(Ipv6Addr::LOCALHOST));
        client.write_all(b"six").unwrap();
        drop(client);
        let mut text = String::new();
        server.read_to_string(&mut text).unwrap();
        assert_eq!(text, "six");
    });
}

#[test]
fn names_and_texts_are_addresses() {
    run(|| {
        let (listener, address) = listen();
        let port = address.port();
        let ip = Ipv4Addr::LOCALHOST;
        let connect: [&dyn Fn() -> std::io::Result<TcpStream>; 9] = [
            &|| TcpStream::connect(("localhost", port)),
            &|| TcpStream::connect((String::from("localhost"), port)),
            &|| TcpStream::connect(format!("localhost:{port}")),
            &|| TcpStream::connect(&*format!("127.0.0.1:{port}")),
            &|| TcpStream::connect((ip, port)),
            &|| TcpStream::connect((IpAddr::V4(ip), port)),
            &|| TcpStream::connect(SocketAddrV4::new(ip, port)),
            &|| TcpStream::connect(address),
            &|| TcpStream::connect(&[address][..]),
        ];
        for connect in connect {
            let client = connect().unwrap();
            assert_eq!(client.peer_addr().unwrap(), address);
            listener.accept().unwrap();
        }
    });
}

#[test]
fn incoming_gives_one_connection_after_the_other() {
    run(|| {
        let (listener, address) = listen();
        let clients = thread::spawn(move || {
            for i in 0..20 {
                TcpStream::connect(address).unwrap().write_all(&[i]).unwrap();
            }
        });
        for (i, stream) in (0..20).zip(listener.incoming()) {
            let mut bytes = Vec::new();
            stream.unwrap().read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, [i]);
        }
        clients.join().unwrap();
        for i in 0..3 {
            TcpStream::connect(address).unwrap().write_all(&[i]).unwrap();
        }
        let taken: Vec<_> = listener.incoming().take(3).collect();
        assert!(taken.iter().all(Result::is_ok));
    });
}

#[test]
fn two_wait_for_connections_and_each_gets_one() {
    run(|| {
        let (listener, address) = listen();
        let listener = Arc::new(listener);
        let acceptors = [0; 5].map(|_| {
            let listener = Arc::clone(&listener);
            thread::spawn(move || listener.accept().unwrap().1)
        });
        let_others_wait();
        let clients = [0; 5].map(|_| TcpStream::connect(address).unwrap());
        let mut peers = acceptors.map(|acceptor| acceptor.join().unwrap());
        let mut locals = clients.map(|client| client.local_addr().unwrap());
        peers.sort_unstable();
        locals.sort_unstable();
        assert_eq!(peers, locals);
    });
}

#[test]
fn accept_waits_for_a_connection() {
    run(|| {
        let (listener, address) = listen();
        let acceptor = thread::spawn(move || listener.accept().unwrap().1);
        let_others_wait();
        assert!(!acceptor.is_finished());
        let client = TcpStream::connect(address).unwrap();
        assert_eq!(acceptor.join().unwrap(), client.local_addr().unwrap());
    });
}

#[test]
fn clone_of_a_listener_is_the_same_listener() {
    run(|| {
        let (listener, address) = listen();
        let clone = listener.try_clone().unwrap();
        assert_eq!(clone.local_addr().unwrap(), address);
        let first = TcpStream::connect(address).unwrap();
        assert_eq!(clone.accept().unwrap().1, first.local_addr().unwrap());
        drop(listener);
        let waiting = thread::spawn(move || clone.accept().unwrap().1);
        let_others_wait();
        let second = TcpStream::connect(address).unwrap();
        assert_eq!(waiting.join().unwrap(), second.local_addr().unwrap());
    });
}

#[test]
fn listener_that_goes_resets_whom_it_has_not_accepted() {
    run(|| {
        let (listener, address) = listen();
        let mut client = TcpStream::connect(address).unwrap();
        drop(listener);
        let error = client.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(
            TcpStream::connect(address).unwrap_err().kind(),
            ErrorKind::ConnectionRefused
        );
    });
}

#[test]
fn options_of_a_listener() {
    run(|| {
        let (listener, address) = listen();
        assert!(listener.take_error().unwrap().is_none());
        listener.set_ttl(42).unwrap();
        assert_eq!(listener.ttl().unwrap(), 42);
        let _client = TcpStream::connect(address).unwrap();
        let (server, _) = listener.accept().unwrap();
        assert_eq!(server.ttl().unwrap(), 42);
        listener.set_ttl(0).unwrap_err();
        listener.set_ttl(1_000).unwrap_err();
    });
}

#[test]
fn listener_that_does_not_wait() {
    run(|| {
        let (listener, address) = listen();
        listener.set_nonblocking(true).unwrap();
        for _ in 0..3 {
            assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
            let first = listener.incoming().next().expect("it does not end");
            assert_eq!(first.unwrap_err().kind(), ErrorKind::WouldBlock);
        }
        let client = TcpStream::connect(address).unwrap();
        let (mut server, peer) = loop {
            match listener.accept() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
                result => break result.unwrap(),
            }
        };
        assert_eq!(peer, client.local_addr().unwrap());
        // The mode is the listener's own: the connection waits.
        let reader = thread::spawn(move || server.read(&mut [0; 8]).unwrap());
        let_others_wait();
        assert!(!reader.is_finished());
        drop(client);
        assert_eq!(reader.join().unwrap(), 0);
        listener.set_nonblocking(false).unwrap();
        let acceptor = thread::spawn(move || listener.accept().unwrap().1);
        let_others_wait();
        let client = TcpStream::connect(address).unwrap();
        assert_eq!(acceptor.join().unwrap(), client.local_addr().unwrap());
    });
}
