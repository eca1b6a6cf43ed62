//! A small language for tests of the server: start it, speak to it, signal it, and look at what it used.

mod client;
#[path = "../support/emulator.rs"]
pub(crate) mod emulator;
mod site;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

pub(crate) use client::{Answer, Client};
pub(crate) use site::{SECRET, Site, blob};

/// How long a test may take before it is ended, and how long it may wait for any one event.
pub(crate) fn deadline() -> Duration {
    emulator::patience(Duration::from_secs(120))
}

/// A running server. It is killed when this is dropped.
pub(crate) struct Httpd {
    child: Arc<Mutex<Child>>,
    pub(crate) address: SocketAddr,
    /// The first line that it said.
    pub(crate) banner: String,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    _watchdog: Sender<()>,
}

impl Httpd {
    /// Starts the server on a free port with these options.
    #[track_caller]
    pub(crate) fn start(options: &[&str]) -> Self {
        let mut command = Command::new(example("httpd"));
        command.args(options);
        Self::launch(command)
    }

    /// Starts the server with a directory to serve.
    #[track_caller]
    pub(crate) fn serving(root: &Path, options: &[&str]) -> Self {
        let mut command = Command::new(example("httpd"));
        command.arg("--root").arg(root).args(options);
        Self::launch(command)
    }

    /// Starts the server with this many file descriptors, and no way to get more.
    #[track_caller]
    pub(crate) fn with_descriptors(count: u32, options: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!("ulimit -n {count} && exec \"$0\" \"$@\""))
            .arg(example("httpd"))
            // Each worker has descriptors of its own.
            .args(["--workers", "1"])
            .args(options);
        Self::launch(command)
    }

    /// Starts the server where the kernel refuses these system calls, as the filter of a container does. `None` where there is
    /// no such filter.
    #[cfg(all(
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
    ))]
    #[track_caller]
    pub(crate) fn where_it_is_refused(calls: &[i64], options: &[&str]) -> Option<Self> {
        use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
        if emulator::lacks("seccomp") {
            return None;
        }
        let rules = calls.iter().map(|&call| (call, vec![])).collect();
        let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
        let here = std::env::consts::ARCH.try_into().expect("seccompiler knows it");
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, here).expect("a filter");
        let program: BpfProgram = filter.try_into().expect("a program");
        let mut command = Command::new(example("httpd"));
        command.args(options).env_remove("KAPOK_REACTOR");
        // The filter is the thread's, and of what it starts.
        let started = thread::spawn(move || {
            seccompiler::apply_filter(&program).expect("seccomp works without privileges");
            Self::launch(command)
        });
        Some(started.join().expect("it starts"))
    }

    #[track_caller]
    fn launch(mut command: Command) -> Self {
        command
            .args(["--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("start the server");
        let stdout = lines_of(child.stdout.take().expect("piped"));
        let stderr = lines_of(child.stderr.take().expect("piped"));
        let child = Arc::new(Mutex::new(child));
        let watchdog = watch(Arc::clone(&child));
        let Ok(first) = stdout.recv_timeout(deadline()) else {
            panic!(
                "the server ended without saying where it listens: {:?}",
                stderr.iter().collect::<Vec<_>>()
            );
        };
        let address = first
            .strip_prefix("listening on http://")
            .and_then(|rest| rest.split_once('/'))
            .unwrap_or_else(|| panic!("the first line of output is not the address: {first}"));
        assert!(
            address.1.contains("(reactor ") && address.1.contains(", switch "),
            "{first}"
        );
        let address: SocketAddr = address.0.parse().expect("an address");
        Self {
            child,
            address,
            banner: first,
            stdout,
            stderr,
            _watchdog: watchdog,
        }
    }

    #[track_caller]
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Opens a connection for one GET.
    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> Answer {
        self.connect().get(target)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// Sends a signal by its name without SIG.
    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("sh")
            .arg("-c")
            .arg(format!("kill -{name} {}", self.pid()))
            .status();
        assert!(status.expect("run sh").success(), "send SIG{name}");
    }

    /// Waits for a line of stdout.
    #[track_caller]
    pub(crate) fn wait_for_output(&self, what: impl Fn(&str) -> bool) -> String {
        wait_for_line(&self.stdout, what)
    }

    /// Waits for a line of stderr.
    #[track_caller]
    pub(crate) fn wait_for_complaint(&self, what: impl Fn(&str) -> bool) -> String {
        wait_for_line(&self.stderr, what)
    }

    /// Waits for the process to end by itself.
    #[track_caller]
    pub(crate) fn wait(self) -> ExitStatus {
        loop {
            // Its end closes its stdout, which is an event where the end itself is none.
            match self.stdout.recv_timeout(deadline()) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("the server did not end"),
            }
        }
        self.child.lock().unwrap().wait().expect("wait for the server")
    }

    /// Asks for the end and checks that it is a clean one.
    #[track_caller]
    pub(crate) fn stop(self) {
        self.signal("TERM");
        let status = self.wait();
        assert!(status.success(), "the server ended with {status}");
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_memory(&self) -> u64 {
        self.status_in_bytes("VmRSS:")
    }

    /// The most that resident memory has been, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.status_in_bytes("VmHWM:")
    }

    fn status_in_bytes(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("read the process status");
        let line = status.lines().find(|line| line.starts_with(field)).expect(field);
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Clock ticks of processor time used so far.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("read the process statistics");
        // utime and stime are fields 14 and 15; the name, field 2, may have spaces and ends with the last parenthesis.
        let after_name = stat.rsplit_once(')').expect("a name").1;
        after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<u64>().unwrap())
            .sum()
    }
}

impl Drop for Httpd {
    fn drop(&mut self) {
        if let Ok(mut child) = self.child.lock() {
            let _ended_already = child.kill();
            let _reaped_already = child.wait();
        }
        if thread::panicking() {
            for line in self.stderr.try_iter() {
                println!("server: {line}");
            }
        }
    }
}

/// The path of a built example: beside the directory of this test's own binary.
#[track_caller]
pub(crate) fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the path of this test");
    let profile = own.parent().and_then(Path::parent).expect("target/<profile>/deps");
    let path = profile.join("examples").join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build --examples` first, with the options of this test",
        path.display()
    );
    path
}

/// Ends the process, and the child before, unless the returned sender is dropped in time. To end the server alone would be
/// what many a test waits for.
fn watch(child: Arc<Mutex<Child>>) -> Sender<()> {
    let (alive, dropped) = mpsc::channel();
    let test = thread::current().name().unwrap_or("a test").to_owned();
    thread::spawn(move || {
        if dropped.recv_timeout(deadline()) == Err(RecvTimeoutError::Timeout) {
            let _ended_already = child.lock().unwrap().kill();
            let line = format!("{test} is not done after {:?}\n", deadline());
            let _nobody_reads = std::io::stderr().write_all(line.as_bytes());
            std::process::abort();
        }
    });
    alive
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

#[track_caller]
fn wait_for_line(lines: &Receiver<String>, what: impl Fn(&str) -> bool) -> String {
    let mut seen = Vec::new();
    loop {
        match lines.recv_timeout(deadline()) {
            Ok(line) if what(&line) => return line,
            Ok(line) => seen.push(line),
            Err(error) => panic!("the line did not come ({error}), only these: {seen:#?}"),
        }
    }
}
