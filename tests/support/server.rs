//! An example that is a server, as a child process.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;

use super::{DEADLINE, Watchdog, emulator, show, skip, watchdog};

/// A running example. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    output: Receiver<String>,
    complaints: Receiver<String>,
    _watchdog: Watchdog,
}

impl Server {
    /// Starts it on a free port.
    #[track_caller]
    pub(crate) fn start<S: AsRef<OsStr>>(example: &str, options: impl IntoIterator<Item = S>) -> Server {
        Server::launch(
            Command::new(path_of(example))
                .args(["--listen", "127.0.0.1:0"])
                .args(options),
        )
    }

    /// Starts it by a command that has all options.
    #[track_caller]
    pub(crate) fn launch(command: &mut Command) -> Server {
        let watchdog = watchdog();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start the example");
        let output = lines_of(child.stdout.take().expect("piped"));
        let complaints = lines_of(child.stderr.take().expect("piped"));
        let Ok(first) = output.recv_timeout(DEADLINE) else {
            panic!("it does not listen: {:?}", complaints.iter().collect::<Vec<_>>());
        };
        let address = first
            .strip_prefix("listening on ")
            .and_then(|rest| rest.split_once(' '));
        let address = address.unwrap_or_else(|| panic!("{first:?} is not the address")).0;
        let address = address.split_once("://").map_or(address, |(_, address)| address);
        let address = address.trim_end_matches('/');
        Server {
            child,
            address: address.parse().expect("an address"),
            output,
            complaints,
            _watchdog: watchdog,
        }
    }

    /// A connection. It has no time-out: with one, a read is interrupted by whatever stops the process for a moment, and the
    /// watchdog ends a test that waits for too long.
    #[track_caller]
    pub(crate) fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).expect("connect")
    }

    /// Its next line of standard output.
    #[track_caller]
    pub(crate) fn says(&self) -> String {
        self.output.recv_timeout(DEADLINE).expect("a line of output")
    }

    /// Its next line of standard error.
    #[track_caller]
    pub(crate) fn complains(&self) -> String {
        self.complaints
            .recv_timeout(DEADLINE)
            .expect("a line of standard error")
    }

    pub(crate) fn signal(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("sh").args(["-c", &format!("kill -TERM {pid}")]).status();
        assert!(sent.expect("run sh").success(), "send a signal");
    }

    /// Waits for its end, which has to be a clean one.
    #[track_caller]
    pub(crate) fn ends(mut self) {
        let status = self.child.wait().expect("wait for it");
        assert!(
            status.success(),
            "{status}: {:?}",
            self.complaints.iter().collect::<Vec<_>>()
        );
    }

    /// Stops it, when all clients have gone.
    #[track_caller]
    pub(crate) fn stop(self) {
        self.signal();
        self.ends();
    }

    /// How many descriptors it has open; `None`, and a line that says so, where that cannot be told.
    pub(crate) fn descriptors(&self) -> Option<usize> {
        match std::fs::read_dir(format!("/proc/{}/fd", self.child.id())) {
            Ok(entries) => Some(entries.count()),
            Err(error) => {
                skip(
                    &format!("its descriptors are not counted: {error}"),
                    "KAPOK_REQUIRE_PROC",
                );
                None
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            self.complaints.iter().for_each(|line| show(&line));
        }
    }
}

/// What an example complains of that does not start. It is killed if it does, or does not end.
#[track_caller]
pub(crate) fn refusal_of(command: &mut Command) -> String {
    let _watchdog = watchdog();
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("start the example");
    let output = lines_of(child.stdout.take().expect("piped"));
    let complaints = lines_of(child.stderr.take().expect("piped"));
    // The end of its output is its own end.
    let said = output.recv_timeout(DEADLINE / 2);
    if said != Err(RecvTimeoutError::Disconnected) {
        // It may have ended.
        drop(child.kill());
    }
    let status = child.wait().expect("wait for it");
    let complaints: Vec<_> = complaints.iter().collect();
    assert_eq!(
        said,
        Err(RecvTimeoutError::Disconnected),
        "it does not refuse: {complaints:?}"
    );
    assert!(!status.success(), "{complaints:?}");
    complaints.join("\n")
}

/// The path of a built example: beside the directory of this test's own binary.
#[track_caller]
pub(crate) fn path_of(example: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the path of this test");
    let profile = own.parent().and_then(Path::parent).expect("target/<profile>/deps");
    let path = profile.join("examples").join(example);
    let hint = "is missing: run `cargo build --examples` first, with the options of this test";
    assert!(path.is_file(), "{} {hint}", path.display());
    path
}

/// A command for a client that others wrote, where it is installed.
#[track_caller]
pub(crate) fn client(program: &str, version: &str) -> Option<Command> {
    if !emulator::is_installed(program, version) {
        skip(&format!("{program} is not installed"), "KAPOK_REQUIRE_CLIENTS");
        return None;
    }
    Some(Command::new(program))
}

/// Runs a client that has to succeed, and gives what it printed.
#[track_caller]
pub(crate) fn output_of(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("run the client");
    let text = String::from_utf8_lossy(&stdout).into_owned();
    let complaints = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?} ends with {status}: {text}{complaints}");
    text
}

fn lines_of(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
