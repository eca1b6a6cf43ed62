//! Request bodies: read, thrown away, and never mistaken for the next request.

use crate::support::{Client, Httpd};

#[track_caller]
fn in_step(client: &mut Client) {
    client.get("/plaintext").expect(200).expect_body("Hello, World!");
}

#[test]
fn body_with_a_length_is_passed_over() {
    let server = Httpd::start(&[]);
    let mut client = server.connect();
    for length in [0, 1, 4095, 4096, 4097, 300_000, 1 << 20] {
        client.send(format!(
            "GET /plaintext HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n"
        ));
        client.send(vec![b'\n'; length]);
        client.answer().expect(200);
        in_step(&mut client);
    }
}

#[test]
fn chunked_body_is_passed_over() {
    let server = Httpd::start(&[]);
    let mut client = server.connect();
    let bodies = [
        "0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "5;name=value\r\nhello\r\n6 ; x=\"y;z\"\r\n world\r\n000\r\nTrailer: 1\r\nAnother: 2\r\n\r\n",
        "A\r\n0123456789\r\nb\r\n0123456789a\r\n0\r\n\r\n",
    ];
    for body in bodies {
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
        ));
        client.answer().expect(405);
        in_step(&mut client);
        for byte in format!("GET /plaintext HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: Chunked\r\n\r\n{body}").bytes()
        {
            client.send([byte]);
        }
        client.answer().expect(200);
        in_step(&mut client);
    }
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
        chunk.repeat(16)
    ));
    client.answer().expect(405);
    in_step(&mut client);
}

#[test]
fn malformed_chunks_end_the_connection() {
    let server = Httpd::start(&[]);
    let bodies = [
        "x\r\n",
        "\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-1\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "11111111111111111\r\n",
        ";x\r\nhello\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
    ];
    for body in bodies {
        let mut client = server.connect();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
        ));
        client.answer().expect(400).expect_field("Connection", "close");
        client.finish();
        client.expect_end();
    }
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5;");
    client.send("x".repeat(10_000));
    client.answer().expect(400);
}

#[test]
fn body_over_the_limit_is_refused_before_it_is_read() {
    let server = Httpd::start(&["--max-body", "1000"]);
    let mut client = server.connect();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\n{}",
        "x".repeat(1000)
    ));
    client.answer().expect(405);
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1001\r\n\r\n");
    client.answer().expect(413).expect_field("Connection", "close");
    client.finish();
    client.expect_end();

    for framing in [
        "Content-Length: 99999999999999999999999999",
        "Transfer-Encoding: chunked",
    ] {
        let mut client = server.connect();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\nFFFFFFFFFFFFFFFF\r\n"
        ));
        client.answer().expect(413);
    }

    // A client that sends all of it before it looks gets the answer too, and no reset in its place.
    let mut client = server.connect();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n",
        4 << 20
    ));
    client.send(vec![b'x'; 4 << 20]);
    client.answer().expect(413);
    client.finish();
    client.expect_end();
}

#[test]
fn expectation_is_met_or_refused() {
    let server = Httpd::start(&["--max-body", "1000"]);
    let mut client = server.connect();
    client.send("GET /plaintext HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    client.answer().expect(100);
    client.send("hello");
    client.answer().expect(200);
    in_step(&mut client);
    // The body is not worth sending if the answer is known to be no.
    for (method, length, status) in [("POST", 5, 405), ("BREW", 5, 501), ("GET", 5000, 413)] {
        let mut client = server.connect();
        client.send(format!(
            "{method} / HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\nExpect: 100-Continue\r\n\r\n"
        ));
        client.answer().expect(status).expect_field("Connection", "close");
        client.finish();
        client.expect_end();
    }
    let mut client = server.connect();
    client.get_with("/plaintext", "Expect: a miracle\r\n").expect(417);
}
