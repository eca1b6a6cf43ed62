//! What an idle connection costs a server in memory: `cargo run --release --manifest-path benches/idle/Cargo.toml [CONNECTIONS]`.
//!
//! `httpd` of Kapok's examples, and one small loop for each of Kapok, tokio, may and Go: an HTTP server that reads into a kilobyte and
//! answers with a few bytes. Each server has two threads and is a process of its own. All connections are made, each has one request
//! answered, and stays open. The figure is what the server's resident memory has grown by, for each; the kernel's part of a
//! socket is not in it. What cannot be had is told, and left out.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

fn main() -> io::Result<()> {
    let count = std::env::args().nth(1).map_or(Ok(10_000), |text| text.parse());
    let count: usize = count.map_err(io::Error::other)?;
    rlimit::increase_nofile_limit(u64::try_from(count).map_err(io::Error::other)? + 1_000)?;
    println!(
        "{:<12} {:>16} {:>16} {:>10}",
        "server", "bytes each", "before, KiB", "threads"
    );
    for (name, command) in servers() {
        match command.and_then(|command| measure(command, count)) {
            Ok(figures) => println!(
                "{name:<12} {:>16} {:>16} {:>10}",
                figures.each,
                figures.before >> 10,
                figures.threads
            ),
            Err(error) => println!("{name:<12} SKIP {error}"),
        }
    }
    Ok(())
}

struct Figures {
    each: usize,
    before: usize,
    threads: usize,
}

/// A server that is ended when this is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn servers() -> Vec<(&'static str, io::Result<Command>)> {
    let own = std::env::current_exe().map(|path| path.with_file_name(""));
    let beside = |name: &str| {
        own.as_ref()
            .map(|path| Command::new(path.join(name)))
            .map_err(|error| io::Error::other(error.to_string()))
    };
    vec![
        ("httpd", httpd()),
        ("kapok", beside("idle_kapok")),
        ("tokio", beside("idle_tokio")),
        ("may", beside("idle_may")),
        ("go", go()),
    ]
}

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn built(mut command: Command, program: &Path) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() && program.is_file() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
}

fn httpd() -> io::Result<Command> {
    let root = here().join("../..").canonicalize()?;
    let program = root.join("target/release/examples/httpd");
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--release", "--example", "httpd"])
        .current_dir(&root);
    built(cargo, &program)?;
    let mut command = Command::new(program);
    command.args(["--listen", "127.0.0.1:0"]);
    Ok(command)
}

fn go() -> io::Result<Command> {
    let program = here().join("target/idle_go");
    let mut go = Command::new("go");
    go.arg("build")
        .arg("-o")
        .arg(&program)
        .arg("idle.go")
        .current_dir(here())
        .env("GOFLAGS", "-mod=mod");
    built(go, &program)?;
    Ok(Command::new(program))
}

fn measure(mut command: Command, count: usize) -> io::Result<Figures> {
    command
        .env("KAPOK_WORKERS", "2")
        .env("GOMAXPROCS", "2")
        .env_remove("RUST_LOG");
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut server = Server(child);
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().expect("a pipe")).read_line(&mut line)?;
    let address = line.split_whitespace().find_map(|word| {
        let word = word.trim_start_matches("http://").trim_end_matches('/');
        word.parse::<SocketAddr>().ok()
    });
    let address = address.ok_or_else(|| io::Error::other(format!("it has not said where it listens: {line:?}")))?;
    let pid = server.0.id();
    // What is made once is not a connection's.
    drop(connections(address, 16)?);
    thread::sleep(Duration::from_millis(1500));
    let before = status(pid, "VmRSS:")? << 10;
    let open = connections(address, count)?;
    // What was for the beginning alone is given back.
    thread::sleep(Duration::from_secs(4));
    let after = status(pid, "VmRSS:")? << 10;
    let threads = status(pid, "Threads:")?;
    let mut open = open.into_iter();
    // They are still served.
    ask(&mut open.next().expect("there are some"))?;
    ask(&mut open.next_back().expect("there are some"))?;
    let each = after.saturating_sub(before) / count;
    Ok(Figures { each, before, threads })
}

fn connections(address: SocketAddr, count: usize) -> io::Result<Vec<TcpStream>> {
    let mut open = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        ask(&mut stream)?;
        open.push(stream);
    }
    Ok(open)
}

/// One request and its answer.
fn ask(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut bytes = [0; 1024];
    while !answer.ends_with(b"\r\n\r\n") {
        match stream.read(&mut bytes)? {
            0 => return Err(io::Error::other("the server has closed the connection")),
            len => answer.extend_from_slice(&bytes[..len]),
        }
    }
    Ok(())
}

fn status(pid: u32, name: &str) -> io::Result<usize> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    word.ok_or_else(|| io::Error::other(format!("{name} is not in /proc/{pid}/status")))
}
