//! Listeners that are closed under those who wait for connections.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use kapok::net::{TcpListener, TcpStream};
use kapok::sync::Baton;
use kapok::{fiber, spawn};

use crate::support::{run, watchdog};

fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn connect(listener: &TcpListener) -> TcpStream {
    TcpStream::connect(listener.local_addr().unwrap()).unwrap()
}

fn accept_kind(listener: &TcpListener) -> ErrorKind {
    listener.accept().unwrap_err().kind()
}

#[test]
fn close_ends_all_who_wait() {
    run(|| {
        let listener = Arc::new(listen());
        let acceptors: Vec<_> = (0..10)
            .map(|_| {
                let listener = Arc::clone(&listener);
                spawn(move || accept_kind(&listener))
            })
            .collect();
        fiber::yield_now();
        assert!(!acceptors.iter().any(|acceptor| acceptor.is_finished()));
        listener.close();
        for acceptor in acceptors {
            assert_eq!(acceptor.join().unwrap(), ErrorKind::NotConnected);
        }
        assert_eq!(accept_kind(&listener), ErrorKind::NotConnected);
        listener.close();
        assert_eq!(accept_kind(&listener), ErrorKind::NotConnected);
    });
}

#[test]
fn who_has_connected_is_served_before_the_end() {
    run(|| {
        let listener = listen();
        let mut clients: Vec<_> = (0..20).map(|_| connect(&listener)).collect();
        listener.close();
        for client in &clients {
            assert_eq!(listener.accept().unwrap().1, client.local_addr().unwrap());
        }
        assert_eq!(accept_kind(&listener), ErrorKind::NotConnected);
        // The same for iterators, one of which has waited.
        clients.clear();
        let listener = Arc::new(listen());
        let theirs = Arc::clone(&listener);
        let server = spawn(move || {
            let mut served = 0;
            for stream in theirs.incoming() {
                stream.unwrap().write_all(b"hello").unwrap();
                served += 1;
                fiber::yield_now();
            }
            served
        });
        fiber::yield_now();
        clients.extend((0..20).map(|_| connect(&listener)));
        listener.close();
        for mut client in clients {
            let mut text = String::new();
            client.read_to_string(&mut text).unwrap();
            assert_eq!(text, "hello");
        }
        assert_eq!(server.join().unwrap(), 20);
    });
}

#[test]
fn iterators_end_and_stay_ended() {
    run(|| {
        let listener = listen();
        let _client = connect(&listener);
        listener.close();
        let mut incoming = listener.incoming();
        incoming.next().expect("one has connected").unwrap();
        for _ in 0..3 {
            assert!(incoming.next().is_none());
        }
        let mut owned = listener.into_incoming();
        assert!(owned.next().is_none());
        let listener = Arc::new(listen());
        let waiting = Arc::clone(&listener);
        let server = spawn(move || waiting.incoming().count());
        fiber::yield_now();
        listener.close();
        assert_eq!(server.join().unwrap(), 0);
    });
}

#[test]
fn connections_outlive_their_listener() {
    run(|| {
        let listener = listen();
        let mut client = connect(&listener);
        let (mut server, _) = listener.accept().unwrap();
        listener.close();
        client.write_all(b"still").unwrap();
        let mut text = [0; 5];
        server.read_exact(&mut text).unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        server.write_all(&text).unwrap();
        client.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"still");
        let error = TcpStream::connect(address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn listener_that_does_not_wait_can_be_closed() {
    run(|| {
        let listener = listen();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(accept_kind(&listener), ErrorKind::WouldBlock);
        let client = connect(&listener);
        listener.close();
        assert_eq!(listener.accept().unwrap().1, client.local_addr().unwrap());
        assert_eq!(accept_kind(&listener), ErrorKind::NotConnected);
    });
}

#[test]
fn clones_are_closed_together() {
    run(|| {
        let listener = listen();
        let clone = listener.try_clone().unwrap();
        listener.close();
        assert_eq!(accept_kind(&clone), ErrorKind::NotConnected);
        assert_eq!(accept_kind(&clone.try_clone().unwrap()), ErrorKind::NotConnected);
    });
}

#[test]
fn close_of_a_clone_ends_those_who_wait_on_the_other() {
    run(|| {
        let listener = listen();
        let clone = listener.try_clone().unwrap();
        let acceptor = spawn(move || accept_kind(&listener));
        fiber::yield_now();
        clone.close();
        assert_eq!(acceptor.join().unwrap(), ErrorKind::NotConnected);
    });
}

#[test]
fn plain_thread_closes_under_a_fiber() {
    run(|| {
        for _ in 0..50 {
            let listener = Arc::new(listen());
            let (theirs, waiting) = (Arc::clone(&listener), Arc::new(Baton::new()));
            let go = Arc::clone(&waiting);
            let closer = thread::spawn(move || {
                go.wait();
                theirs.close();
            });
            let acceptor = spawn(move || accept_kind(&listener));
            fiber::yield_now();
            waiting.post();
            assert_eq!(acceptor.join().unwrap(), ErrorKind::NotConnected);
            kapok::blocking(|| closer.join().unwrap());
        }
    });
}

#[test]
fn plain_thread_closes_under_a_plain_thread() {
    let _watchdog = watchdog();
    for _ in 0..50 {
        let listener = Arc::new(listen());
        let theirs = Arc::clone(&listener);
        let acceptor = thread::spawn(move || accept_kind(&theirs));
        thread::sleep(Duration::from_millis(2));
        listener.close();
        assert_eq!(acceptor.join().unwrap(), ErrorKind::NotConnected);
        assert_eq!(accept_kind(&listener), ErrorKind::NotConnected);
    }
}

#[test]
fn fiber_closes_under_a_plain_thread() {
    run(|| {
        for _ in 0..50 {
            let listener = Arc::new(listen());
            let theirs = Arc::clone(&listener);
            let acceptor = thread::spawn(move || accept_kind(&theirs));
            // Nothing tells that it waits. It does after this time, as a rule, and the outcome is the same where it does not.
            thread::sleep(Duration::from_millis(2));
            listener.close();
            assert_eq!(kapok::blocking(|| acceptor.join().unwrap()), ErrorKind::NotConnected);
        }
    });
}

#[test]
fn fiber_of_another_runtime_closes_under_a_fiber() {
    let listener = Arc::new(listen());
    let (theirs, waiting) = (Arc::clone(&listener), Arc::new(Baton::new()));
    let go = Arc::clone(&waiting);
    let other = thread::spawn(move || {
        run(move || {
            let acceptor = spawn(move || accept_kind(&theirs));
            fiber::yield_now();
            go.post();
            acceptor.join().unwrap()
        })
    });
    run(|| {
        waiting.wait();
        listener.close();
    });
    let _watchdog = watchdog();
    assert_eq!(other.join().unwrap(), ErrorKind::NotConnected);
}

/// A server as it is meant to be stopped.
#[test]
fn server_stops_when_its_clients_are_served() {
    run(|| {
        let listener = Arc::new(listen());
        let address = listener.local_addr().unwrap();
        let theirs = Arc::clone(&listener);
        let server = spawn(move || {
            let mut sessions = Vec::new();
            for stream in theirs.incoming() {
                let mut stream = stream.unwrap();
                sessions.push(spawn(move || {
                    let mut text = String::new();
                    stream.read_to_string(&mut text).unwrap();
                    stream.write_all(text.as_bytes()).unwrap();
                }));
            }
            let served = sessions.len();
            sessions.into_iter().for_each(|session| session.join().unwrap());
            served
        });
        let clients: Vec<_> = (0..100)
            .map(|i| {
                spawn(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    let text = format!("client {i}");
                    stream.write_all(text.as_bytes()).unwrap();
                    stream.shutdown(std::net::Shutdown::Write).unwrap();
                    let mut answer = String::new();
                    stream.read_to_string(&mut answer).unwrap();
                    assert_eq!(answer, text);
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        listener.close();
        assert_eq!(server.join().unwrap(), 100);
    });
}
