//! Very many connections, and fewer resources than they would need.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::support::{Client, Httpd, emulator};

/// Sockets that this process may hold, less what the other tests need.
fn sockets_to_spare() -> usize {
    let limit = rlimit::increase_nofile_limit(u64::MAX).expect("raise the descriptor limit");
    usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(1000)
}

#[test]
fn connections_beyond_the_limit_are_turned_away_politely() {
    let server = Httpd::start(&["--max-connections", "3"]);
    let mut seated: Vec<Client> = (0..3).map(|_| server.connect()).collect();
    for client in &mut seated {
        client.get("/plaintext").expect(200);
    }
    for _ in 0..10 {
        // Whether or not the client has sent something already, it gets to see the answer.
        let mut eager = server.connect();
        eager.get("/plaintext").expect(503).expect_field("Connection", "close");
        eager.finish();
        eager.expect_end();
        let mut quiet = server.connect();
        quiet.answer().expect(503);
    }
    for client in &mut seated {
        client.get("/plaintext").expect(200);
    }
    let mut leaving = seated.pop().unwrap();
    leaving.finish();
    leaving.expect_end();
    // The seat is free when the server has noticed; until then the answer is the polite one.
    while server.connect().get("/plaintext").status == 503 {}
    server.stop();
}

#[test]
fn ten_thousand_idle_connections_stay_open() {
    // poll(2) looks at every descriptor in every turn: there, ten thousand of them cost a hundred million looks.
    let is_poll = std::env::var("KAPOK_REACTOR").is_ok_and(|name| name == "poll");
    let count = sockets_to_spare().min(if is_poll { 1000 } else { emulator::rounds(10_000) });
    let server = Httpd::start(&["--idle-timeout", "3600"]);
    let mut clients: Vec<Client> = (0..count).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.get("/plaintext").expect(200);
    }
    let memory = server.resident_memory();
    for client in &mut clients {
        client.get("/plaintext").expect(200);
    }
    println!("{count} idle connections: {} bytes each", memory / count as u64);
    server.signal("TERM");
    for client in &mut clients {
        client.expect_end();
    }
    assert!(server.wait().success());
}

#[test]
fn thousands_of_connections_reset_at_once_leave_nothing_behind() {
    let count = sockets_to_spare().min(emulator::rounds(3000));
    let server = Httpd::start(&[]);
    server.get("/plaintext").expect(200);
    let baseline = descriptors(&server);
    for round in 0..3 {
        let mut clients: Vec<Client> = (0..count).map(|_| server.connect()).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            match (n + round) % 3 {
                // A close with an unread answer in the socket sends a reset.
                0 => {
                    client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
                    // A signal, of whatever kind, may interrupt it.
                    while client
                        .stream
                        .peek(&mut [0])
                        .is_err_and(|error| error.kind() == ErrorKind::Interrupted)
                    {}
                }
                1 => client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n"),
                _ => {}
            }
        }
        drop(clients);
        server.get("/plaintext").expect(200);
    }
    while descriptors(&server) > baseline {
        thread::yield_now();
    }
    server.stop();
}

fn descriptors(server: &Httpd) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.pid()))
        .expect("list the descriptors")
        .count()
}

#[test]
fn lack_of_descriptors_is_waited_out() {
    let server = Httpd::with_descriptors(40, &[]);
    let mut clients: Vec<Client> = (0..80).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    server.wait_for_complaint(|line| line.contains("cannot accept connections for now"));
    while clients.iter().filter(|client| has_been_answered(client)).count() < 20 {
        thread::yield_now();
    }
    let (served, waiting): (Vec<Client>, Vec<Client>) = clients.into_iter().partition(has_been_answered);
    assert!(!waiting.is_empty());

    // A spinning server would use about a hundred ticks here.
    let before = server.cpu_ticks();
    thread::sleep(Duration::from_secs(1));
    let used = server.cpu_ticks() - before;
    assert!(used <= 30, "{used} ticks used while there was nothing to do");

    // Those who go make room for those who wait.
    let mut clients = served;
    clients.extend(waiting);
    while !clients.is_empty() {
        for mut client in clients.drain(..clients.len().min(10)) {
            client.answer().expect(200).expect_body("Hello, World!");
        }
    }
    server.get("/plaintext").expect(200);
    server.stop();
}

#[test]
fn stop_serves_also_those_who_wait_for_a_descriptor() {
    let server = Httpd::with_descriptors(40, &[]);
    let mut clients: Vec<Client> = (0..80).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    server.wait_for_complaint(|line| line.contains("cannot accept connections for now"));
    server.signal("TERM");
    for client in &mut clients {
        client.answer().expect(200);
        client.finish();
    }
    assert!(server.wait().success());
}

/// Whether an answer, or the end, has come.
fn has_been_answered(client: &Client) -> bool {
    let stream: &TcpStream = &client.stream;
    stream.set_nonblocking(true).unwrap();
    let answered = stream.peek(&mut [0]).is_ok();
    stream.set_nonblocking(false).unwrap();
    answered
}
