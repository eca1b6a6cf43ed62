//! What well-behaved clients of HTTP/1.1 and 1.0 get.

use std::io::Write;
use std::thread;

use crate::support::{Httpd, Site};

#[test]
fn plaintext_is_what_the_benchmarks_ask_for() {
    let server = Httpd::start(&[]);
    let mut client = server.connect();
    client.send("GET /plaintext HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let bytes = String::from_utf8(client.rest()).unwrap();
    let (before_date, rest) = bytes.split_once("Date: ").expect("a Date");
    let (date, after_date) = rest.split_once("\r\n").expect("a line end");
    assert_eq!(before_date, "HTTP/1.1 200 OK\r\nServer: kapok\r\n");
    assert!(httpdate::parse_http_date(date).is_ok(), "{date}");
    assert_eq!(
        after_date,
        "Connection: close\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!"
    );
    server.stop();
}

#[test]
fn connection_serves_request_after_request() {
    let server = Httpd::start(&[]);
    let mut client = server.connect();
    for _ in 0..100 {
        let answer = client
            .get("/plaintext?whatever")
            .expect(200)
            .expect_body("Hello, World!");
        assert_eq!(answer.field("Connection"), None);
    }
    server.stop();
}

#[test]
fn http_1_0_closes_unless_keep_alive_is_said() {
    let server = Httpd::start(&[]);
    let mut client = server.connect();
    for _ in 0..3 {
        client.send("GET /plaintext HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
        client
            .answer()
            .expect(200)
            .expect_field("Connection", "keep-alive")
            .expect_body("Hello, World!");
    }
    client.send("GET /plaintext HTTP/1.0\r\n\r\n");
    client
        .answer()
        .expect(200)
        .expect_field("Connection", "close")
        .expect_body("Hello, World!");
    client.expect_end();
}

#[test]
fn connection_close_is_honoured_in_any_spelling() {
    let server = Httpd::start(&[]);
    for fields in [
        "Connection: close\r\n",
        "connection: x-y , CLOSE\r\n",
        "Connection: keep-alive\r\nConnection: close\r\n",
    ] {
        let mut client = server.connect();
        client
            .get_with("/plaintext", fields)
            .expect(200)
            .expect_field("Connection", "close");
        client.expect_end();
    }
}

#[test]
fn head_gets_the_fields_of_get_and_no_body() {
    let site = Site::new();
    let server = Httpd::serving(&site.root(), &[]);
    let mut client = server.connect();
    for (target, status, length) in [("/plaintext", 200, "13"), ("/hello.txt", 200, "12"), ("/", 200, "")] {
        let head = client.head(target, "").expect(status);
        let get = client.get(target).expect(status);
        assert_eq!(head.field("Content-Length"), get.field("Content-Length"), "{target}");
        assert_eq!(head.field("Content-Type"), get.field("Content-Type"), "{target}");
        assert!(length.is_empty() || head.field("Content-Length") == Some(length));
    }
    // An error has no body either, and the connection stays usable after it.
    client.head("/missing", "").expect(404);
    client.get("/plaintext").expect(200);
}

#[test]
fn pipelined_requests_are_answered_in_order_however_they_are_cut() {
    let site = (0..100).fold(Site::new(), |site, n| {
        site.with(&format!("{n}.txt"), format!("file {n}"))
    });
    let server = Httpd::serving(&site.root(), &[]);
    let requests: String = (0..100)
        .map(|n| match n % 4 {
            0 => format!("GET /plaintext?{n} HTTP/1.1\r\nHost: test\r\n\r\n"),
            1 => format!("GET /{n}.txt HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", "x".repeat(n)),
            2 => format!(
                "POST /{n} HTTP/1.1\r\nHost: test\r\nContent-Length: {n}\r\n\r\n{}",
                "GET / ".repeat(n)[..n].to_owned()
            ),
            _ => format!("GET /missing-{n} HTTP/1.1\r\nHost: test\r\n\r\n"),
        })
        .collect();
    for step in [1, 2, 3, 7, 61, 509, 4096, 4099, usize::MAX] {
        let mut client = server.connect();
        let mut sending = client.stream.try_clone().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                for piece in requests.as_bytes().chunks(step) {
                    sending.write_all(piece).expect("send");
                }
            });
            for n in 0..100 {
                let answer = client.answer();
                match n % 4 {
                    0 => answer.expect(200).expect_body("Hello, World!"),
                    1 => answer.expect(200).expect_body(format!("file {n}")),
                    2 => answer.expect(405),
                    _ => answer.expect(404),
                };
            }
        });
        client.finish();
        client.expect_end();
    }
}

#[test]
fn client_that_has_finished_sending_is_still_answered() {
    let server = Httpd::start(&[]);
    let mut client = server.connect();
    client.send("GET /plaintext HTTP/1.1\r\nHost: test\r\n\r\nGET /plaintext HTTP/1.1\r\nHost: test\r\n\r\n");
    client.finish();
    client.answer().expect(200);
    client.answer().expect(200);
    client.expect_end();
}

#[test]
fn one_blank_line_before_a_request_is_passed_over() {
    let server = Httpd::start(&[]);
    let mut client = server.connect();
    client.send("\r\nGET /plaintext HTTP/1.1\r\nHost: test\r\n\r\n\r\nGET /plaintext HTTP/1.1\r\nHost: test\r\n\r\n");
    client.answer().expect(200);
    client.answer().expect(200);
}

#[test]
fn target_in_absolute_form_is_taken() {
    let site = Site::new();
    let server = Httpd::serving(&site.root(), &[]);
    let mut client = server.connect();
    client
        .get("http://elsewhere.example:99/hello.txt?q")
        .expect(200)
        .expect_body("hello, file\n");
    client.get("HTTP://elsewhere.example").expect(200);
    client.get("ftp://elsewhere.example/hello.txt").expect(400);
    client.get("*").expect(400);
    client.get("/hello.txt#part").expect(400);
    client.get("/plaintext").expect(200);
}

#[test]
fn host_is_required_by_1_1_and_only_there() {
    let server = Httpd::start(&[]);
    for fields in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: user@a\r\n",
    ] {
        let mut client = server.connect();
        client.send(format!("GET /plaintext HTTP/1.1\r\n{fields}\r\n"));
        client.answer().expect(400).expect_field("Connection", "close");
        client.expect_end();
    }
    for host in ["", "a", "a:80", "[::1]:80"] {
        let mut client = server.connect();
        client.send(format!("GET /plaintext HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client.answer().expect(200);
    }
}

#[test]
fn other_methods_are_refused_and_the_connection_lives_on() {
    let server = Httpd::start(&[]);
    let mut client = server.connect();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"] {
        client.send(format!("{method} /plaintext HTTP/1.1\r\nHost: test\r\n\r\n"));
        let answer = client.answer().expect(405).expect_field("Allow", "GET, HEAD");
        assert!(
            answer.text().starts_with("405 Method Not Allowed: "),
            "{}",
            answer.text()
        );
    }
    for method in ["BREW", "get", "Head"] {
        client.send(format!("{method} /plaintext HTTP/1.1\r\nHost: test\r\n\r\n"));
        client.answer().expect(501);
    }
    client.get("/plaintext").expect(200);
}

#[test]
fn other_versions_are_refused() {
    let server = Httpd::start(&[]);
    for (version, status) in [
        ("HTTP/2.0", 505),
        ("HTTP/1.2", 505),
        ("HTTP/0.9", 505),
        ("HTTP/3", 505),
        ("HTTX/1.1", 400),
        ("1.1", 400),
    ] {
        let mut client = server.connect();
        client.send(format!("GET /plaintext {version}\r\nHost: test\r\n\r\n"));
        client.answer().expect(status).expect_field("Connection", "close");
        client.expect_end();
    }
}

#[test]
fn access_log_has_the_common_format_and_cannot_be_forged() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let server = Httpd::start(&["--access-log", log.path().to_str().unwrap()]);
    let mut client = server.connect();
    client.get("/plaintext").expect(200);
    client.get("/a\"b").expect(404);
    client.send("BREW\x01 / HTTP/1.1\r\n\r\n");
    client.answer().expect(400);
    client.expect_end();
    server.stop();
    let text = std::fs::read_to_string(log.path()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    for line in &lines {
        let (client, rest) = line.split_once(" - - [").expect("a date");
        assert_eq!(client, "127.0.0.1");
        assert_eq!(rest.find("] \""), Some("06/Nov/1994:08:49:37 +0000".len()), "{line}");
    }
    assert!(lines[0].ends_with("\"GET /plaintext HTTP/1.1\" 200 13"), "{}", lines[0]);
    assert!(lines[1].contains("\"GET /a\\\"b HTTP/1.1\" 404 "), "{}", lines[1]);
    assert!(lines[2].contains("\"BREW\\x01 / HTTP/1.1\" 400 "), "{}", lines[2]);
}
