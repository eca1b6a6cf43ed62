//! From and to the standard library's sockets and descriptors.

use std::io::{ErrorKind, Read, Write};
use std::net;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::thread;

use kapok::net::{TcpListener, TcpStream};
use kapok::{fiber, spawn};

use crate::support::{run, skip, watchdog};

/// A connection of two of the standard library's sockets.
fn std_pair() -> (net::TcpStream, net::TcpStream) {
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

fn pair() -> (TcpStream, TcpStream) {
    let (client, server) = std_pair();
    (client.into(), server.into())
}

/// The flags of a descriptor's open file, as the kernel tells them.
fn flags(fd: &impl AsRawFd) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("flags:"))?;
    u32::from_str_radix(line.trim(), 8).ok()
}

const NONBLOCK: u32 = 0o4000;
const CLOEXEC: u32 = 0o2_000_000;

#[test]
fn streams_of_std_become_ours() {
    run(|| {
        let (client, server) = std_pair();
        client.set_nodelay(true).unwrap();
        let (mut client, mut server) = (TcpStream::from(client), TcpStream::from(server));
        assert!(client.nodelay().unwrap());
        let reader = spawn(move || {
            let mut text = String::new();
            server.read_to_string(&mut text).unwrap();
            text
        });
        fiber::yield_now();
        assert!(!reader.is_finished(), "it waits without holding up this fiber");
        client.write_all(b"to a fiber").unwrap();
        drop(client);
        assert_eq!(reader.join().unwrap(), "to a fiber");
    });
}

#[test]
fn streams_of_ours_become_stds() {
    run(|| {
        let (mut client, mut server) = pair();
        // It has waited here, so that the reactor knows it.
        let reader = spawn(move || {
            server.read_exact(&mut [0; 1]).unwrap();
            server
        });
        fiber::yield_now();
        client.write_all(b"xrest").unwrap();
        let server = reader.join().unwrap();
        let number = server.as_raw_fd();
        let mut server = net::TcpStream::from(server);
        assert_eq!(server.as_raw_fd(), number);
        // In blocking mode again: a plain thread can wait for what is not there yet.
        let thread = thread::spawn(move || {
            let mut text = String::new();
            server.read_to_string(&mut text).unwrap();
            text
        });
        (0..10).for_each(|_| thread::yield_now());
        client.write_all(b" and more").unwrap();
        drop(client);
        assert_eq!(kapok::blocking(|| thread.join().unwrap()), "rest and more");
    });
}

#[test]
fn mode_that_the_user_set_goes_along() {
    run(|| {
        let (client, server) = pair();
        client.set_nonblocking(true).unwrap();
        let mut client = net::TcpStream::from(client);
        assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        // Time-outs are ours, and stay here.
        server
            .set_read_timeout(Some(std::time::Duration::from_millis(1)))
            .unwrap();
        assert_eq!(net::TcpStream::from(server).read_timeout().unwrap(), None);
    });
}

#[test]
fn listeners_of_std_become_ours_and_back() {
    run(|| {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let listener = TcpListener::from(listener);
        let acceptor = spawn(move || {
            let (_, peer) = listener.accept().unwrap();
            (listener, peer)
        });
        fiber::yield_now();
        let client = TcpStream::connect(address).unwrap();
        let (listener, peer) = acceptor.join().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        let listener = net::TcpListener::from(listener);
        let thread = thread::spawn(move || listener.accept().unwrap().1);
        (0..10).for_each(|_| thread::yield_now());
        let client = TcpStream::connect(address).unwrap();
        assert_eq!(kapok::blocking(|| thread.join().unwrap()), client.local_addr().unwrap());
    });
}

#[test]
fn back_and_forth_many_times() {
    run(|| {
        let (mut client, mut server) = pair();
        for round in 0..100_u8 {
            // The same number, the same open file, and each time another socket of ours.
            let reader = spawn(move || {
                let mut byte = [0];
                server.read_exact(&mut byte).unwrap();
                (server, byte[0])
            });
            fiber::yield_now();
            client.write_all(&[round]).unwrap();
            let (returned, byte) = reader.join().unwrap();
            assert_eq!(byte, round);
            server = if round % 2 == 0 {
                net::TcpStream::from(returned).into()
            } else {
                OwnedFd::from(returned).into()
            };
        }
    });
}

#[test]
fn conversions_on_a_plain_thread_of_what_a_reactor_knows() {
    run(|| {
        let (mut client, mut server) = pair();
        for round in 0..50_u8 {
            let reader = spawn(move || {
                let mut byte = [0];
                server.read_exact(&mut byte).unwrap();
                (server, byte[0])
            });
            fiber::yield_now();
            client.write_all(&[round]).unwrap();
            let (returned, byte) = reader.join().unwrap();
            assert_eq!(byte, round);
            // The reactor is not told, and meets the same open file under the same number again.
            let thread = thread::spawn(move || TcpStream::from(net::TcpStream::from(returned)));
            server = kapok::blocking(|| thread.join().unwrap());
        }
    });
}

#[test]
fn duplicate_of_std_stays_usable_when_ours_is_gone() {
    run(|| {
        let (client, server) = std_pair();
        let duplicate = server.try_clone().unwrap();
        let mut server = TcpStream::from(server);
        let mut client = TcpStream::from(client);
        let reader = spawn(move || server.read(&mut [0; 8]).unwrap());
        fiber::yield_now();
        client.write_all(b"x").unwrap();
        assert_eq!(reader.join().unwrap(), 1);
        // Its number is free, its open file is not; another connection gets the number, and waits on it.
        let (mut other_client, mut other_server) = pair();
        let other = spawn(move || other_server.read(&mut [0; 8]).unwrap());
        fiber::yield_now();
        client.write_all(b"yy").unwrap();
        (0..100).for_each(|_| fiber::yield_now());
        assert!(!other.is_finished());
        let mut duplicate = TcpStream::from(duplicate);
        assert_eq!(duplicate.read(&mut [0; 8]).unwrap(), 2);
        other_client.write_all(b"zzz").unwrap();
        assert_eq!(other.join().unwrap(), 3);
    });
}

#[test]
fn descriptors_can_be_borrowed() {
    run(|| {
        let (client, mut server) = pair();
        assert_eq!(client.as_fd().as_raw_fd(), client.as_raw_fd());
        let duplicate = client.as_fd().try_clone_to_owned().unwrap();
        assert_ne!(duplicate.as_raw_fd(), client.as_raw_fd());
        drop(client);
        let mut client = TcpStream::from(duplicate);
        client.write_all(b"the same").unwrap();
        drop(client);
        let mut text = String::new();
        server.read_to_string(&mut text).unwrap();
        assert_eq!(text, "the same");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(listener.as_fd().as_raw_fd(), listener.as_raw_fd());
    });
}

#[test]
#[expect(unsafe_code, reason = "what is tested is unsafe")]
fn raw_descriptors_can_be_taken_and_given() {
    run(|| {
        let (client, mut server) = pair();
        let number = client.as_raw_fd();
        let raw = client.into_raw_fd();
        assert_eq!(raw, number);
        // SAFETY: just given away by its owner.
        let mut client = unsafe { TcpStream::from_raw_fd(raw) };
        client.write_all(b"x").unwrap();
        assert_eq!(server.read(&mut [0; 8]).unwrap(), 1);

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // SAFETY: just given away by its owner.
        let listener = unsafe { TcpListener::from_raw_fd(listener.into_raw_fd()) };
        assert_eq!(listener.local_addr().unwrap(), address);
    });
}

#[test]
fn debug_output_is_that_of_std() {
    run(|| {
        let (client, _server) = pair();
        let ours = format!("{client:?} {client:#?}");
        let client = net::TcpStream::from(client);
        assert_eq!(ours, format!("{client:?} {client:#?}"));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = format!("{listener:?}");
        let listener = net::TcpListener::from(listener);
        assert_eq!(ours, format!("{listener:?}"));
    });
}

#[test]
fn descriptors_are_closed_on_exec() {
    run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let (a, b) = (client.try_clone().unwrap(), listener.try_clone().unwrap());
        let sockets: [&dyn AsRawFd; 5] = [&listener, &client, &server, &a, &b];
        for socket in sockets {
            let Some(flags) = flags(&socket.as_raw_fd()) else {
                return skip("no /proc/self/fdinfo tells the flags", "KAPOK_REQUIRE_PROC");
            };
            assert_eq!(flags & CLOEXEC, CLOEXEC);
            assert_eq!(flags & NONBLOCK, NONBLOCK);
        }
        drop((a, b)); // they have a say in the mode
        let client = net::TcpStream::from(client);
        assert_eq!(flags(&client.as_raw_fd()).map(|flags| flags & NONBLOCK), Some(0));
    });
}

#[test]
fn conversions_need_no_runtime() {
    let _watchdog = watchdog();
    let (client, server) = std_pair();
    let (mut client, mut server) = (TcpStream::from(client), TcpStream::from(server));
    client.write_all(b"here").unwrap();
    let mut text = [0; 4];
    server.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"here");
    let (client, mut server) = (net::TcpStream::from(client), net::TcpStream::from(server));
    let thread = thread::spawn(move || server.read(&mut [0; 8]).unwrap());
    drop(client);
    assert_eq!(thread.join().unwrap(), 0);
}

#[test]
fn a_clone_that_goes_to_std_leaves_the_other_non_blocking() {
    run(|| {
        let (client, mut server) = pair();
        drop(net::TcpStream::from(server.try_clone().unwrap()));
        let reader = spawn(move || server.read(&mut [0; 1]).unwrap());
        fiber::yield_now();
        // Had it blocked the thread, nobody would be here.
        drop(client);
        assert_eq!(reader.join().unwrap(), 0);
    });
}

#[test]
fn a_duplicate_that_is_made_to_block_does_not_block_the_worker() {
    run(|| {
        let (client, server) = std_pair();
        let duplicate = server.try_clone().unwrap();
        let mut server = TcpStream::from(server);
        duplicate.set_nonblocking(false).unwrap();
        let reader = spawn(move || server.read(&mut [0; 1]).unwrap());
        fiber::yield_now();
        drop(client);
        assert_eq!(reader.join().unwrap(), 0);
    });
}

#[test]
fn non_blocking_mode_of_std_goes_along() {
    run(|| {
        let (_client, server) = std_pair();
        server.set_nonblocking(true).unwrap();
        let mut server = TcpStream::from(server);
        assert_eq!(server.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let mut server = net::TcpStream::from(server);
        assert_eq!(server.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn empty_buffers_ask_the_socket_nothing() {
    run(|| {
        let (mut client, _server) = pair();
        client.shutdown(net::Shutdown::Write).unwrap();
        assert_eq!(client.write_vectored(&[]).unwrap(), 0);
        assert_eq!(client.write_vectored(&[std::io::IoSlice::new(&[])]).unwrap(), 0);
        assert_eq!(client.read_vectored(&mut []).unwrap(), 0);
    });
}
