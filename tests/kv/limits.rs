//! Pipelines, what is too large, and the end.

use std::io::Write;
use std::thread;

use crate::{Client, start};

#[test]
fn answers_to_a_pipeline_are_in_order() {
    let server = start(&[]);
    let mut client = Client::of(&server);
    let count = 20_000;
    let mut writer = client.0.get_ref().try_clone().unwrap();
    let writing = thread::spawn(move || {
        let requests: String = (0..count)
            .map(|n| format!("SET key {n}\r\n*2\r\n$3\r\nGET\r\n$3\r\nkey\r\nINCR count\r\n"))
            .collect();
        writer.write_all(requests.as_bytes()).unwrap();
    });
    for n in 0..count {
        assert_eq!(client.answer(), "+OK\r\n");
        let text = n.to_string();
        assert_eq!(client.answer(), format!("${}\r\n{text}\r\n", text.len()));
        assert_eq!(client.answer(), format!(":{}\r\n", n + 1));
    }
    writing.join().unwrap();
    drop(client);
    server.stop();
}

#[test]
fn large_values_and_larger_ones() {
    let server = start(&["--max-value", "1000000", "--max-request", "1500000"]);
    let mut client = Client::of(&server);
    let large = "x".repeat(1_000_000);
    assert_eq!(client.ask_with(&["SET", "large", &large]), "+OK\r\n");
    assert_eq!(client.ask("GET large"), format!("$1000000\r\n{large}\r\n"));
    client.expect(&[(
        "APPEND large y",
        "-ERR string exceeds maximum allowed size (proto-max-bulk-len)",
    )]);
    let refused = [
        (
            "*2\r\n$4\r\nECHO\r\n$1000001\r\n",
            "invalid bulk length: 1000001 bytes, 1000000 are allowed",
        ),
        ("*2\r\n$4\r\nECHO\r\n$-5\r\n", "invalid bulk length"),
        ("*3000000\r\n", "invalid multibulk length"),
        ("*1\r\n:1\r\n", "expected '$', got ':'"),
        ("GET \"a\r\n", "unbalanced quotes in request"),
    ];
    for (bytes, reason) in refused {
        let mut client = Client::of(&server);
        client.send(b"PING\r\n");
        client.send(bytes.as_bytes());
        assert_eq!(client.answer(), "+PONG\r\n");
        assert_eq!(client.answer(), format!("-ERR Protocol error: {reason}\r\n"));
        drop(client.0.get_ref().shutdown(std::net::Shutdown::Write));
        assert!(client.is_closed());
    }
    let mut other = Client::of(&server);
    let both = format!("*3\r\n$4\r\nMGET\r\n$1000000\r\n{large}\r\n$1000000\r\n");
    other.send(both.as_bytes());
    assert_eq!(
        other.answer(),
        "-ERR Protocol error: too big request, 1500000 bytes are allowed\r\n"
    );
    drop(other);
    client.expect(&[("PING", "+PONG")]);
    drop(client);
    server.stop();
}

#[test]
fn too_many_and_too_quiet() {
    let server = start(&["--max-connections", "1"]);
    let mut client = Client::of(&server);
    client.expect(&[("PING", "+PONG")]);
    assert!(Client::of(&server).is_closed());
    drop(client);
    server.stop();

    let server = start(&["--idle-timeout", "0.1"]);
    assert!(Client::of(&server).is_closed());
    server.stop();
}

#[test]
fn who_waits_is_closed_at_the_end_and_nothing_is_left() {
    let server = start(&[]);
    let before = server.descriptors();
    let mut clients: Vec<_> = (0..50).map(|_| Client::of(&server)).collect();
    for client in &mut clients {
        assert_eq!(client.ask("PING"), "+PONG\r\n");
    }
    clients.truncate(3);
    // The server hears of it in a moment.
    while server.descriptors() > before.map(|count| count + 3) {
        thread::yield_now();
    }
    server.signal();
    for mut client in clients {
        assert!(client.is_closed());
    }
    server.ends();
}
