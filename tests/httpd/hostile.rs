//! Clients that mean harm, or might as well: they are told so or cut off, and nobody else notices.

use std::io::Write;
use std::thread;
use std::time::Duration;

use crate::support::{Client, Httpd, Site, emulator};

/// Sends what must be refused, with a request behind it that must not be answered.
#[track_caller]
fn expect_refusal(server: &Httpd, request: &str, status: u16) {
    let mut client = server.connect();
    client.send(format!("{request}GET /plaintext HTTP/1.1\r\nHost: smuggled\r\n\r\n"));
    client.finish();
    let answer = client.answer();
    assert_eq!(answer.status, status, "{request:?} gets {:?}", answer.text());
    assert_eq!(answer.field("Connection"), Some("close"), "{request:?}");
    client.expect_end();
}

#[test]
fn malformed_requests_are_refused() {
    let server = Httpd::start(&[]);
    let requests = [
        "GET\r\n\r\n",
        "GET /plaintext\r\n\r\n",
        "GET  /plaintext HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /plaintext  HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /plain text HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /plaintext HTTP/1.1 \r\nHost: a\r\n\r\n",
        " GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n",
        "G\x00T /plaintext HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /plaintext HTTP/1.1\r\nHost: a\r\nNo colon\r\n\r\n",
        "GET /plaintext HTTP/1.1\r\nHost: a\r\nName : value\r\n\r\n",
        "GET /plaintext HTTP/1.1\r\nHost: a\r\n Folded: value\r\n\r\n",
        "GET /plaintext HTTP/1.1\r\nHost: a\r\nA: b\r\n folded\r\n\r\n",
        "GET /plaintext HTTP/1.1\r\nHost: a\r\nA: b\x00c\r\n\r\n",
        "GET /plaintext HTTP/1.1\r\nHost: a\r\n: nameless\r\n\r\n",
        "GET /plaintext HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n",
        "GET /plaintext HTTP/1.1\nHost: a\n\n",
        "GET /plaintext HTTP/1.1\r\nHost: a\nA: b\r\n\r\n",
        "GET /plaintext HTTP/1.1\r\nHost: a\r\nA: b\n\r\n",
        "GET /plaintext HTTP/1.1\r\nHost: a\r\n\n",
        "\r\n\r\n\r\nGET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    for request in requests {
        expect_refusal(&server, request, 400);
    }
    server.get("/plaintext").expect(200);
}

#[test]
fn what_is_not_http_is_refused_at_once() {
    let server = Httpd::start(&[]);
    for hello in [
        "\x16\x03\x01\x02\x00\x01\x00",
        "\x00\x00\x00\x00",
        "{\"json\": true}",
        "\x7fELF",
    ] {
        let mut client = server.connect();
        client.send(hello);
        client.answer().expect(400);
    }
}

#[test]
fn nothing_is_smuggled_behind_an_ambiguous_length() {
    let server = Httpd::start(&[]);
    let cases = [
        (400, "Content-Length: 5\r\nTransfer-Encoding: chunked"),
        (400, "Transfer-Encoding: chunked\r\nContent-Length: 5"),
        (400, "Content-Length: 5\r\nContent-Length: 6"),
        (400, "Content-Length: 5\r\nContent-Length: 5"),
        (400, "Content-Length: 5, 5"),
        (400, "Content-Length: +5"),
        (400, "Content-Length: -5"),
        (400, "Content-Length: 0x5"),
        (400, "Content-Length: 5 5"),
        (400, "Content-Length: "),
        (400, "Content-Length : 5"),
        (400, "Content-Length\t: 5"),
        (400, "Content-Length: 5\u{a0}"),
        (400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        (400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        (400, "Transfer-Encoding : chunked"),
        (400, "Transfer-Encoding\x0b: chunked"),
        (400, "X: y\rTransfer-Encoding: chunked"),
        (400, "X: y\nTransfer-Encoding: chunked"),
        (501, "Transfer-Encoding: xchunked"),
        (501, "Transfer-Encoding: chunked, chunked"),
        (501, "Transfer-Encoding: gzip, chunked"),
        (501, "Transfer-Encoding: chunked, identity"),
        (501, "Transfer-Encoding: \x22chunked\x22"),
    ];
    for (status, framing) in cases {
        expect_refusal(
            &server,
            &format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n0\r\n\r\n"),
            status,
        );
    }
    expect_refusal(
        &server,
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    );
}

#[test]
fn heads_beyond_the_limits_are_refused() {
    let server = Httpd::start(&[]);
    let get = |target: &str, fields: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    // Within the limits.
    server.get(&format!("/plaintext?{}", "x".repeat(8000))).expect(200);
    server
        .connect()
        .get_with("/plaintext", &format!("X: {}\r\n", "x".repeat(16_000)))
        .expect(200);
    server
        .connect()
        .get_with("/plaintext", &"X: y\r\n".repeat(63))
        .expect(200);
    // Beyond them, once with their end in sight and once without.
    expect_refusal(&server, &get(&format!("/plaintext?{}", "x".repeat(8200)), ""), 414);
    expect_refusal(
        &server,
        &get("/plaintext", &format!("X: {}\r\n", "x".repeat(16_400))),
        431,
    );
    expect_refusal(&server, &get("/plaintext", &"X: y\r\n".repeat(64)), 431);
    expect_refusal(&server, &get("/plaintext", &"X: y\r\n".repeat(10_000)), 431);
    expect_refusal(
        &server,
        &get("/plaintext", &format!("X: {}\r\n", "x".repeat(1 << 20))),
        431,
    );
}

#[test]
fn request_line_of_a_mebibyte_is_refused() {
    let server = Httpd::start(&[]);
    for line in [format!("GET /{} HTTP/1.1", "x".repeat(1 << 20)), "G".repeat(1 << 20)] {
        expect_refusal(&server, &format!("{line}\r\nHost: a\r\n\r\n"), 414);
    }
    server.get("/plaintext").expect(200);
}

/// Sends byte after byte with pauses, until the server has had enough.
fn drip(client: &Client, bytes: &'static [u8]) {
    let mut stream = client.stream.try_clone().unwrap();
    thread::spawn(move || {
        for byte in bytes.iter().cycle() {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    });
}

#[test]
fn slow_head_is_given_up() {
    let server = Httpd::start(&["--request-timeout", "0.4"]);
    let mut silent = server.connect();
    silent.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n");
    let mut dripping = server.connect();
    dripping.send("GET /plaintext HTTP/1.1\r\nHost: a\r\nX: ");
    drip(&dripping, b"x");
    for mut client in [silent, dripping] {
        server.get("/plaintext").expect(200);
        client.answer().expect(408).expect_field("Connection", "close");
        client.expect_end();
    }
}

#[test]
fn slow_body_is_given_up() {
    let server = Httpd::start(&["--request-timeout", "0.4"]);
    let mut by_length = server.connect();
    by_length.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    drip(&by_length, b"x");
    let mut by_chunks = server.connect();
    by_chunks.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    drip(&by_chunks, b"1\r\nx\r\n");
    for mut client in [by_length, by_chunks] {
        client.answer().expect(408).expect_field("Connection", "close");
        client.expect_end();
    }
}

#[test]
fn idle_connection_is_closed_without_a_word() {
    let server = Httpd::start(&["--idle-timeout", "0.3"]);
    let mut fresh = server.connect();
    let mut used = server.connect();
    used.get("/plaintext").expect(200);
    fresh.expect_end();
    used.expect_end();
}

#[test]
fn client_that_never_reads_is_given_up_and_others_are_served() {
    const CLIENTS: usize = 40;
    let site = Site::new().with_blob("blob", 64 << 20);
    let server = Httpd::serving(&site.root(), &["--write-timeout", "1", "--access-log", "-"]);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send("GET /blob HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    server.get("/plaintext").expect(200);
    server.get("/hello.txt").expect(200);
    for _ in 0..CLIENTS {
        // The log tells when the server has given up, and how far it had come.
        let line = server.wait_for_output(|line| line.contains("GET /blob"));
        let sent: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(sent < 64 << 20, "{line}");
    }
    let memory = server.resident_memory();
    assert!(memory < 128 << 20, "{CLIENTS} stalled downloads cost {memory} bytes");
    server.get("/plaintext").expect(200);
    for client in clients {
        assert!(client.rest().len() < 64 << 20);
    }
}

#[test]
fn client_that_pipelines_and_never_reads_is_given_up() {
    let server = Httpd::start(&["--write-timeout", "0.4"]);
    let mut client = server.connect();
    let requests = "GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
    // Sending ends with an error when the server has closed, and only then.
    while client.stream.write_all(requests.as_bytes()).is_ok() {}
    let memory = server.resident_memory();
    assert!(memory < 64 << 20, "a pipelining client cost {memory} bytes");
    server.get("/plaintext").expect(200);
}

#[test]
fn pipelined_requests_for_much_do_not_pile_up_in_memory() {
    const CLIENTS: usize = 30;
    const REQUESTS: usize = 100;
    let site = Site::new().with_blob("blob", 60_000);
    // The last client does not read before all the others have.
    let server = Httpd::serving(&site.root(), &["--write-timeout", "3600"]);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    for client in &mut clients {
        // All of them fit into one read of the server, their answers are six megabytes.
        client.send("GET /blob HTTP/1.1\r\nHost: a\r\n\r\n".repeat(REQUESTS));
    }
    for client in &mut clients {
        for _ in 0..REQUESTS {
            assert_eq!(client.answer().expect(200).body.len(), 60_000);
        }
    }
    if emulator::lacks("memory of a process that is not its own as well") {
        return;
    }
    let memory = server.peak_memory();
    assert!(memory < 64 << 20, "{CLIENTS} pipelining clients cost {memory} bytes");
}
