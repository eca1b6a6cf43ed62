//! The end of the server: nobody who was promised an answer goes without, and nobody else holds it up.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::support::{Client, Httpd, Site, blob};

const LARGE: usize = 64 << 20;

/// A server with a download that has begun and is not being read.
fn with_stalled_download(options: &[&str]) -> (Site, Httpd, Client) {
    let site = Site::new().with_blob("blob", LARGE);
    let server = Httpd::serving(&site.root(), options);
    let mut download = server.connect();
    download.send("GET /blob HTTP/1.1\r\nHost: a\r\n\r\n");
    download.stream.peek(&mut [0]).expect("the start of the answer");
    (site, server, download)
}

#[test]
fn answer_in_progress_is_finished() {
    for signal in ["TERM", "INT"] {
        let (_site, server, mut download) = with_stalled_download(&[]);
        let mut idle = server.connect();
        idle.get("/plaintext").expect(200);
        let mut untouched = server.connect();
        server.signal(signal);
        // These two end while the download still waits for its reader.
        idle.expect_end();
        untouched.expect_end();
        server.wait_for_output(|line| line.starts_with("stopping: "));
        assert!(
            TcpStream::connect(server.address).is_err(),
            "a new connection is let in after SIG{signal}"
        );

        assert!(
            download.answer().expect(200).body == blob(LARGE),
            "the download differs"
        );
        download.expect_end();
        assert!(server.wait().success());
    }
}

#[test]
fn request_that_has_begun_to_arrive_is_answered() {
    let (_site, server, mut download) = with_stalled_download(&[]);
    let mut beginning = server.connect();
    beginning.get("/plaintext").expect(200);
    beginning.send("GET /plaintext HTTP/1.1\r\nHo");
    let mut with_body = server.connect();
    with_body.send("GET /plaintext HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n");
    with_body.answer().expect(100);
    // When this has been answered, the halves above have been read.
    server.get("/plaintext").expect(200);
    server.signal("TERM");
    server.wait_for_output(|line| line.starts_with("stopping: "));
    beginning.send("st: a\r\n\r\n");
    beginning
        .answer()
        .expect(200)
        .expect_field("Connection", "close")
        .expect_body("Hello, World!");
    beginning.finish();
    beginning.expect_end();
    with_body.send("0123456789");
    with_body.answer().expect(200).expect_field("Connection", "close");
    with_body.finish();
    with_body.expect_end();
    download.answer().expect(200);
    assert!(server.wait().success());
}

#[test]
fn connections_that_stand_in_line_are_served() {
    let server = Httpd::start(&[]);
    let mut clients: Vec<Client> = (0..100)
        .map(|_| {
            let mut client = server.connect();
            client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
            client
        })
        .collect();
    server.signal("TERM");
    for client in &mut clients {
        client.answer().expect(200).expect_body("Hello, World!");
        client.finish();
        client.expect_end();
    }
    assert!(server.wait().success());
}

#[test]
fn pipelined_requests_are_all_answered_and_the_last_one_says_close() {
    const COUNT: usize = 1000;
    let site = Site::new();
    let server = Httpd::serving(&site.root(), &[]);
    let mut client = server.connect();
    client.get("/plaintext").expect(200);
    // Of a size that fills read buffers without a rest: an empty buffer does not mean that there is no more.
    let request = format!("GET /hello.txt HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(29));
    assert_eq!(request.len(), 64);
    client.send(request.repeat(COUNT));
    server.signal("TERM");
    for _ in 0..COUNT {
        client.answer().expect(200).expect_body("hello, file\n");
    }
    client.finish();
    client.expect_end();
    assert!(server.wait().success());
}

/// Requests that were sent before the signal was are answered in full, whatever else goes on.
#[test]
fn no_request_is_lost_under_load() {
    const CLIENTS: usize = 32;
    let site = Site::new().with_blob("blob", 300_000);
    let server = Httpd::serving(&site.root(), &[]);
    let address = server.address;
    let signalled = AtomicBool::new(false);
    let (answered, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for n in 0..CLIENTS {
            let (signalled, answered, refused) = (&signalled, &answered, &refused);
            scope.spawn(move || {
                let target = if n % 4 == 0 { "/blob" } else { "/plaintext" };
                let mut stream = TcpStream::connect(address).expect("connect");
                loop {
                    let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
                    let sent = stream.write_all(request.as_bytes());
                    let sent_in_time = !signalled.load(Ordering::SeqCst);
                    match sent.and_then(|()| whole_answer(&mut stream)) {
                        Ok(says_close) => {
                            answered.fetch_add(1, Ordering::Relaxed);
                            if says_close {
                                return;
                            }
                        }
                        Err(error) => {
                            assert!(
                                !sent_in_time,
                                "a request that was sent before the signal is lost: {error}"
                            );
                            refused.fetch_add(1, Ordering::Relaxed);
                            return;
                        }
                    }
                }
            });
        }
        while answered.load(Ordering::Relaxed) < 20 * CLIENTS {
            thread::yield_now();
        }
        signalled.store(true, Ordering::SeqCst);
        server.signal("TERM");
    });
    println!("{answered:?} requests answered, {refused:?} sent after the signal and refused");
    assert!(server.wait().success());
}

/// Reads one answer to its last byte and tells whether it says that it is the last one.
fn whole_answer(stream: &mut TcpStream) -> std::io::Result<bool> {
    let mut received = Vec::new();
    let mut room = vec![0; 64 * 1024];
    loop {
        if let Some(at) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&received[..at]).into_owned();
            let length = head
                .split("Content-Length: ")
                .nth(1)
                .and_then(|rest| rest.lines().next())
                .expect("a length");
            if received.len() == at + 4 + length.parse::<usize>().expect("a number") {
                return Ok(head.contains("Connection: close"));
            }
        }
        match stream.read(&mut room)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => received.extend_from_slice(&room[..count]),
        }
    }
}

#[test]
fn second_signal_ends_the_server_at_once() {
    let (_site, server, _download) = with_stalled_download(&[]);
    server.signal("TERM");
    server.wait_for_output(|line| line.starts_with("stopping: "));
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(130));
}

#[test]
fn grace_has_an_end() {
    let (_site, server, download) = with_stalled_download(&["--grace", "0.3"]);
    server.signal("TERM");
    server.wait_for_complaint(|line| line.contains("did not finish in time"));
    assert!(download.rest().len() < LARGE);
    assert!(server.wait().success());
}
