//! The example proxy from outside: its binary runs as a child process, between real clients and servers that behave in various
//! ways.

#[path = "support/mod.rs"]
mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use support::Random;
use support::server::Server;

/// A proxy to that server.
fn proxy_to(upstream: SocketAddr, options: &[&str]) -> Server {
    let upstream = upstream.to_string();
    let own = ["--verbose", "--upstream", &upstream];
    Server::start("proxy", own.iter().chain(options))
}

/// A server that does the same with each of its connections.
fn upstream(serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream.expect("a connection")));
        }
    });
    address
}

fn echo(mut stream: TcpStream) {
    let mut reader = stream.try_clone().expect("clone");
    std::io::copy(&mut reader, &mut stream).expect("echo");
    stream.shutdown(Shutdown::Write).expect("shutdown");
}

#[test]
fn many_clients_get_back_what_they_sent() {
    let proxy = proxy_to(upstream(echo), &[]);
    let clients: Vec<_> = (0..16)
        .map(|seed| {
            let mut stream = proxy.connect();
            thread::spawn(move || {
                let sent = Random::new(seed).bytes(300_000);
                let mut writer = stream.try_clone().unwrap();
                let theirs = sent.clone();
                let writing = thread::spawn(move || {
                    writer.write_all(&theirs).unwrap();
                    writer.shutdown(Shutdown::Write).unwrap();
                });
                let mut got = Vec::new();
                stream.read_to_end(&mut got).unwrap();
                writing.join().unwrap();
                assert!(got == sent);
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    for _ in 0..16 {
        assert_eq!(proxy.complains(), "300000 bytes there, 300000 back: done");
    }
    proxy.signal();
    assert_eq!(proxy.says(), "16 connections served, 0 failed");
    proxy.ends();
}

#[test]
fn a_slow_upstream_holds_up_nobody_else() {
    let (sender, receiver) = mpsc::channel();
    let sender = Arc::new(Mutex::new(sender));
    // It reads nothing from those who begin with an s, until they are let go.
    let address = upstream(move |stream| {
        let mut first = [0];
        stream.peek(&mut first).unwrap();
        if first == *b"s" {
            sender.lock().unwrap().send(stream).unwrap();
        } else {
            echo(stream);
        }
    });
    let proxy = proxy_to(address, &["--workers", "1"]);
    let mut slow = proxy.connect();
    let mut writer = slow.try_clone().unwrap();
    let sent = vec![b's'; 20_000_000];
    let length = sent.len();
    let writing = thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let server = receiver.recv().unwrap();
    for _ in 0..20 {
        let mut quick = proxy.connect();
        quick.write_all(b"quick").unwrap();
        quick.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        quick.read_to_string(&mut text).unwrap();
        assert_eq!(text, "quick");
    }
    assert!(!writing.is_finished(), "more than all buffers hold");
    let serving = thread::spawn(move || echo(server));
    let mut got = Vec::new();
    slow.read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), length);
    writing.join().unwrap();
    serving.join().unwrap();
}

#[test]
fn an_upstream_that_dies_is_told_of_and_others_go_on() {
    // It leaves in the middle, with something unread: that resets the connection.
    let address = upstream(|mut stream| {
        let mut first = [0];
        stream.read_exact(&mut first).unwrap();
        match &first {
            b"d" => {
                stream.write_all(b"half of an ans").unwrap();
                stream.peek(&mut first).unwrap();
            }
            _ => echo(stream),
        }
    });
    let proxy = proxy_to(address, &[]);
    let mut other = proxy.connect();
    other.write_all(b"xhere").unwrap();
    let mut buf = [0; 4];
    other.read_exact(&mut buf).unwrap();
    let mut client = proxy.connect();
    client.write_all(b"die, please").unwrap();
    let mut got = Vec::new();
    // What had come before the end, or nothing: a reset overtakes it.
    match client.read_to_end(&mut got) {
        Ok(_) => assert!(b"half of an ans".starts_with(&got)),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    let told = proxy.complains();
    assert!(!told.contains("done"), "{told}");
    other.write_all(b"still").unwrap();
    other.read_exact(&mut buf).unwrap();
    assert_eq!(&buf, b"stil");
}

#[test]
fn nobody_there_and_nobody_who_answers() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = proxy_to(nobody, &[]);
    assert_eq!(proxy.connect().read(&mut [0]).unwrap(), 0);
    let told = proxy.complains();
    assert!(
        told.starts_with("0 bytes there, 0 back: ") && told.contains("refused"),
        "{told}"
    );

    let silent = upstream(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let proxy = proxy_to(silent, &["--max-time", "0.05"]);
    let mut client = proxy.connect();
    client.write_all(b"hello?").unwrap();
    // The end, or a reset.
    assert!(client.read(&mut [0]).unwrap_or(0) == 0);
    assert_eq!(proxy.complains(), "6 bytes there, 0 back: the deadline has passed");
    proxy.signal();
    assert_eq!(proxy.says(), "0 connections served, 1 failed");
    proxy.ends();
}

#[test]
fn after_a_signal_connections_may_end_and_must() {
    let proxy = proxy_to(upstream(echo), &["--grace", "600"]);
    let mut client = proxy.connect();
    client.write_all(b"a").unwrap();
    client.read_exact(&mut [0]).unwrap();
    proxy.signal();
    // It goes on, and ends when this does.
    client.write_all(b"b").unwrap();
    client.read_exact(&mut [0]).unwrap();
    drop(client);
    assert_eq!(proxy.says(), "1 connections served, 0 failed");
    proxy.ends();

    let proxy = proxy_to(upstream(echo), &["--grace", "0.01"]);
    let mut client = proxy.connect();
    client.write_all(b"a").unwrap();
    client.read_exact(&mut [0]).unwrap();
    proxy.signal();
    assert!(proxy.says().ends_with(" failed"));
    proxy.ends();
    assert!(client.read(&mut [0]).unwrap_or(0) == 0);
}
