//! The example echo server from outside: its binary runs as a child process and is spoken to over 127.0.0.1.

#[path = "support/emulator.rs"]
mod emulator;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

/// How long one read may wait before the test fails, and how long a server lives.
fn deadline() -> Duration {
    emulator::patience(Duration::from_secs(60))
}

/// A running echo server. It is killed when this is dropped.
struct Echo {
    child: Child,
    address: SocketAddr,
    _watchdog: Sender<()>,
}

impl Echo {
    fn start() -> Self {
        Self::with(&[])
    }

    fn with(options: &[&str]) -> Self {
        let own = std::env::current_exe().expect("the path of this test");
        let profile = own.parent().and_then(Path::parent).expect("target/<profile>/deps");
        let path = profile.join("examples/echo");
        assert!(
            path.is_file(),
            "{} is missing: run `cargo build --examples` first, with the options of this test",
            path.display()
        );
        let mut child = Command::new(path)
            .args(["--listen", "127.0.0.1:0"])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the server");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("a line of output");
        let address = line
            .strip_prefix("listening on ")
            .and_then(|rest| rest.split_once(' '))
            .expect("the address")
            .0;
        let address = address.parse().expect("an address");
        Self {
            address,
            _watchdog: watch(child.id()),
            child,
        }
    }

    fn connect(&self) -> TcpStream {
        // No time-out, with which a read could be interrupted: the watchdog kills the server.
        TcpStream::connect(self.address).expect("connect")
    }

    fn stop(mut self) {
        signal("TERM", self.child.id());
        let status = self.child.wait().expect("wait for the server");
        assert!(status.success(), "the server ended with {status}");
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped_already = self.child.wait();
    }
}

fn signal(name: &str, pid: u32) {
    let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")).status();
    assert!(status.expect("run sh").success(), "send SIG{name}");
}

/// Kills the server unless the returned sender is dropped in time: every wait ends with it.
fn watch(pid: u32) -> Sender<()> {
    let (alive, dropped) = mpsc::channel();
    thread::spawn(move || {
        if dropped.recv_timeout(deadline()) == Err(RecvTimeoutError::Timeout) {
            signal("KILL", pid);
        }
    });
    alive
}

/// Sends and receives at the same time, then checks that both are equal.
fn round_trip(mut stream: TcpStream, sent: Vec<u8>) {
    let mut received = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            (&stream).write_all(&sent).expect("send");
            stream.shutdown(Shutdown::Write).expect("shut down");
        });
        (&stream).read_to_end(&mut received).expect("receive");
    });
    assert!(
        received == sent,
        "{} bytes came back for {}",
        received.len(),
        sent.len()
    );
    let _gone = stream.flush();
}

#[test]
fn everything_comes_back() {
    let server = Echo::start();
    for length in [0, 1, 4095, 4096, 4097, 8 << 20] {
        round_trip(server.connect(), (0..=250).cycle().take(length).collect());
    }
    server.stop();
}

#[test]
fn clients_do_not_wait_for_each_other() {
    let server = Echo::start();
    let mut quiet = server.connect();
    thread::scope(|scope| {
        for n in 0..50_u8 {
            let stream = server.connect();
            scope.spawn(move || round_trip(stream, vec![n; 100_000]));
        }
    });
    quiet.write_all(b"still here").unwrap();
    quiet.read_exact(&mut [0; 10]).unwrap();
    drop(quiet);
    server.stop();
}

#[test]
fn stop_waits_for_the_last_client() {
    let server = Echo::start();
    let mut client = server.connect();
    client.write_all(b"before").unwrap();
    client.read_exact(&mut [0; 6]).unwrap();
    let address = server.address;
    let stopping = thread::spawn(move || server.stop());
    // The listener is closed soon, the connection is not.
    while TcpStream::connect(address).is_ok() {
        thread::yield_now();
    }
    client.write_all(b"after").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    drop(client);
    stopping.join().expect("a clean end");
}

#[test]
fn several_workers_serve() {
    for workers in ["1", "2", "5"] {
        let server = Echo::with(&["--workers", workers]);
        thread::scope(|scope| {
            for n in 0..20_u8 {
                let stream = server.connect();
                scope.spawn(move || round_trip(stream, vec![n; 200_000]));
            }
        });
        server.stop();
    }
}
