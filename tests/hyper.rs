//! The example of hyper from outside: its binary runs as a child process, and is spoken to in plain HTTP, and by curl.

#[path = "support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;

use kapok::ReactorKind;
use support::{Watchdog, emulator, skip, watchdog};

/// A running server. It is killed when this is dropped.
struct Server {
    child: Child,
    address: SocketAddr,
    output: BufReader<ChildStdout>,
    _watchdog: Watchdog,
}

impl Server {
    fn with(options: &[&str]) -> Server {
        let watchdog = watchdog();
        let own = std::env::current_exe().expect("the path of this test");
        let profile = own.parent().and_then(Path::parent).expect("target/<profile>/deps");
        let path = profile.join("examples/hyper");
        let hint = "is missing: run `cargo build --examples` first, with the options of this test";
        assert!(path.is_file(), "{} {hint}", path.display());
        let mut child = Command::new(path)
            .args(["--listen", "127.0.0.1:0"])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the server");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line of output");
        let address = line.strip_prefix("listening on ").and_then(|rest| rest.split_once(' '));
        let address = address.expect("the address").0.parse().expect("an address");
        Server {
            child,
            address,
            output,
            _watchdog: watchdog,
        }
    }

    fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).expect("connect");
        Client(BufReader::new(stream))
    }

    fn signal(&self) {
        let sent = Command::new("sh")
            .arg("-c")
            .arg(format!("kill -INT {}", self.child.id()))
            .status();
        assert!(sent.expect("sh").success());
    }

    fn wait(mut self) {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "stopped\n");
        assert!(self.child.wait().expect("wait for the server").success());
    }

    fn stop(self) {
        self.signal();
        self.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped_already = self.child.wait();
    }
}

/// A connection, kept alive.
struct Client(BufReader<TcpStream>);

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Client {
    fn send(&self, text: &str) {
        self.0.get_ref().write_all(text.as_bytes()).expect("send");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        line
    }

    fn head(&mut self) -> (u16, String) {
        let mut head = String::new();
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "the end, after {head:?}");
            if line == "\r\n" {
                break;
            }
            head += &line.to_ascii_lowercase();
        }
        let status = head.split_whitespace().nth(1).expect("a status").parse().unwrap();
        (status, head)
    }

    /// One chunk; none at the end.
    fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = usize::from_str_radix(self.line().trim(), 16).expect("a size");
        let mut chunk = vec![0; size];
        self.0.read_exact(&mut chunk).unwrap();
        assert_eq!(self.line(), "\r\n");
        (size > 0).then_some(chunk)
    }

    fn answer(&mut self) -> Answer {
        let (status, head) = self.head();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = Vec::new();
        if let Some(length) = length {
            body.resize(length.parse().unwrap(), 0);
            self.0.read_exact(&mut body).unwrap();
        } else {
            assert!(head.contains("transfer-encoding: chunked"), "{head}");
            while let Some(chunk) = self.chunk() {
                body.extend(chunk);
            }
        }
        Answer { status, head, body }
    }

    fn get(&mut self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: kapok\r\n\r\n"));
        self.answer()
    }

    /// Sends and receives at the same time.
    fn echo(&mut self, body: &[u8]) -> Vec<u8> {
        self.send(&format!(
            "POST /echo HTTP/1.1\r\nHost: kapok\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ));
        let mut sends = self.0.get_ref().try_clone().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || sends.write_all(body).unwrap());
            self.answer().body
        })
    }

    fn is_closed(&mut self) -> bool {
        self.0.read(&mut [0]).map_or(true, |n| n == 0)
    }
}

fn lines(last: u32) -> Vec<u8> {
    (1..=last).map(|i| format!("{i}\n")).collect::<String>().into_bytes()
}

/// Those that this machine has.
fn on_each_reactor(test: impl Fn(Server)) {
    for reactor in ReactorKind::available() {
        let works = kapok::runtime::Builder::new().reactor(reactor).run(|| ());
        match works {
            Ok(()) => test(Server::with(&["--reactor", reactor.name()])),
            Err(error) => skip(&format!("reactor {reactor}: {error}"), "KAPOK_REQUIRE_PROC"),
        }
    }
}

#[test]
fn answers_on_one_connection() {
    on_each_reactor(|server| {
        let mut client = server.client();
        for round in 0..20 {
            let answer = client.get("/");
            assert_eq!(
                (answer.status, &*answer.body),
                (200, &b"hello from hyper on kapok\n"[..])
            );
            assert_eq!(client.get("/count/0").body, b"");
            assert_eq!(client.get("/count/30").body, lines(30));
            assert_eq!(client.get("/nothing").status, 404);
            assert_eq!(client.get("/count/-1").status, 404);
            let refused = client.get("/echo");
            assert_eq!(refused.status, 405);
            assert!(refused.head.contains("allow: post"));
            let body: Vec<u8> = (0..=250).cycle().take(round * 1000).collect();
            assert_eq!(client.echo(&body), body);
        }
        drop(client);
        server.stop();
    });
}

#[test]
fn an_echo_is_of_any_length() {
    on_each_reactor(|server| {
        let body: Vec<u8> = (0..=250).cycle().take(8 << 20).collect();
        let mut client = server.client();
        assert!(client.echo(&body) == body);
        assert!(client.echo(&body) == body);
        drop(client);
        server.stop();
    });
}

/// Each line comes by itself: nobody asks for the next before the last was read.
#[test]
fn an_answer_is_streamed() {
    let server = Server::with(&[]);
    let mut client = server.client();
    client.send("GET /count/1000000 HTTP/1.1\r\nHost: kapok\r\n\r\n");
    assert_eq!(client.head().0, 200);
    let mut text = Vec::new();
    while text.len() < 100 {
        text.extend(client.chunk().expect("it goes on"));
    }
    assert!(lines(200).starts_with(&text));
    // A client that leaves in the middle harms nobody.
    drop(client);
    assert_eq!(server.client().get("/").status, 200);
    server.stop();
}

#[test]
fn many_clients_at_once() {
    for workers in ["1", "2", "4"] {
        let server = Server::with(&["--workers", workers]);
        thread::scope(|scope| {
            for n in 0..30_u8 {
                let mut client = server.client();
                scope.spawn(move || {
                    for _ in 0..10 {
                        assert_eq!(client.get("/count/5").body, lines(5));
                        assert_eq!(client.echo(&[n; 20_000]), [n; 20_000]);
                    }
                });
            }
        });
        server.stop();
    }
}

#[test]
fn what_is_begun_is_finished_after_a_signal() {
    let server = Server::with(&["--grace", "60"]);
    let (mut idle, mut busy) = (server.client(), server.client());
    assert_eq!(idle.get("/").status, 200);
    busy.send("POST /echo HTTP/1.1\r\nHost: kapok\r\nContent-Length: 6\r\n\r\nbef");
    assert_eq!(busy.head().0, 200);
    server.signal();
    assert!(idle.is_closed(), "there was nothing to finish");
    busy.send("ore");
    let mut body = [0; 6];
    busy.0.read_exact(&mut body).unwrap();
    assert_eq!(&body, b"before");
    assert!(busy.is_closed());
    server.wait();
}

#[test]
fn those_that_take_too_long_are_cut_off() {
    let server = Server::with(&["--grace", "0.1"]);
    let mut endless = server.client();
    endless.send("POST /echo HTTP/1.1\r\nHost: kapok\r\nContent-Length: 6\r\n\r\nbef");
    assert_eq!(endless.head().0, 200);
    server.signal();
    server.wait();
    let server = Server::with(&["--head-timeout", "0.1"]);
    let mut silent = server.client();
    silent.send("GET / HTTP/1.1\r\n");
    let mut rest = String::new();
    silent.0.read_to_string(&mut rest).unwrap();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 408"), "{rest}");
    server.stop();
}

#[test]
fn curl_is_answered() {
    if !emulator::is_installed("curl", "--version") {
        return skip("curl is not installed", "KAPOK_REQUIRE_CLIENTS");
    }
    on_each_reactor(|server| {
        let curl = |arguments: &[&str], path: &str| {
            let output = Command::new("curl")
                .args(["--silent", "--show-error", "--max-time", "60", "--noproxy", "*"])
                .args(arguments)
                .arg(format!("http://{}{path}", server.address))
                .output()
                .expect("run curl");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        assert_eq!(curl(&[], "/"), b"hello from hyper on kapok\n");
        assert_eq!(curl(&["--no-buffer"], "/count/100"), lines(100));
        assert_eq!(curl(&["--data-binary", "kapok"], "/echo"), b"kapok");
        assert_eq!(
            curl(&["--write-out", "%{http_code}", "--output", "/dev/null"], "/nothing"),
            b"404"
        );
        server.stop();
    });
}
