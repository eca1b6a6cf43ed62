//! What can be configured, and what is said when it is configured wrongly.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use kapok::runtime::Builder;
use kapok::{Engine, ReactorKind};

/// A static-file and plaintext HTTP/1.1 server on Kapok fibers.
#[derive(Debug, Parser)]
#[command(name = "httpd", version)]
pub(crate) struct Options {
    /// Address to listen on; port 0 takes a free one and prints it
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: String,

    /// Directory to serve
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,

    #[arg(long, help = "Context switch engine, such as setjmp or ucontext [default: $KAPOK_SWITCH, else Kapok's choice]", value_name = "ENGINE", value_parser = |s: &str| s.parse::<Engine>().map_err(|e| e.to_string()))]
    switch: Option<Engine>,

    #[arg(long, help = "I/O interface of the kernel, such as epoll or poll [default: $KAPOK_REACTOR, else Kapok's choice]", value_name = "NAME", value_parser = |s: &str| s.parse::<ReactorKind>().map_err(|e| e.to_string()))]
    reactor: Option<ReactorKind>,

    #[arg(
        long,
        help = "Threads that run fibers [default: $KAPOK_WORKERS, else one for each processor]",
        value_name = "N"
    )]
    workers: Option<usize>,

    #[arg(
        long,
        help = "Stack of each connection's fiber [default: $KAPOK_STACK_SIZE, else Kapok's choice]",
        value_name = "BYTES"
    )]
    stack_size: Option<usize>,

    /// Connections at a time; further ones are answered 503 and closed
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub(crate) max_connections: usize,

    /// How long a keep-alive connection may stay quiet between two requests
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = time_limit)]
    idle_timeout: Duration,

    /// How long a client may take to send a whole request head, and then again its whole body
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = time_limit)]
    request_timeout: Duration,

    /// How long a client may go without reading any of its answer
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = time_limit)]
    write_timeout: Duration,

    /// Largest request body that is read (and thrown away); above it the answer is 413
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    max_body: u64,

    /// Access log in the common log format: a file to append to, `-` for stdout, or `off`
    #[arg(long, value_name = "PATH|-|off", default_value = "off")]
    pub(crate) access_log: String,

    /// How long answers in progress may take to finish after SIGINT or SIGTERM
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) grace: Duration,
}

/// What a connection has to respect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) idle: Duration,
    pub(crate) request: Duration,
    pub(crate) write: Duration,
    pub(crate) body: u64,
}

/// The options, or the exit code of a program that has said all there is to say: help asked for, or one line of error.
#[expect(
    clippy::print_stderr,
    reason = "this is where the program tells a person what is wrong with its options"
)]
pub(crate) fn from_command_line() -> Result<Options, ExitCode> {
    let error = match Options::try_parse() {
        Ok(options) => return Ok(options),
        Err(error) => error,
    };
    if !error.use_stderr() {
        return Err(if error.print().is_ok() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    // clap's full text has a usage block; its first line says what was wrong, which is what a service log should hold.
    let text = error.to_string();
    let first_line = text.lines().next().unwrap_or_default();
    eprintln!(
        "httpd: {} (--help lists the options)",
        first_line.trim_start_matches("error: ")
    );
    Err(ExitCode::from(2))
}

impl Options {
    /// The runtime as asked for; what was not asked for, Kapok takes from its environment variables or chooses.
    pub(crate) fn runtime(&self) -> Builder {
        let mut runtime = Builder::new();
        if let Some(engine) = self.switch {
            runtime = runtime.switch(engine);
        }
        if let Some(reactor) = self.reactor {
            runtime = runtime.reactor(reactor);
        }
        if let Some(count) = self.workers {
            runtime = runtime.workers(count);
        }
        if let Some(bytes) = self.stack_size {
            runtime = runtime.stack_size(bytes);
        }
        runtime
    }

    /// The root with every symbolic link resolved, so that a served path can be compared with it.
    pub(crate) fn root(&self) -> Result<PathBuf, String> {
        let given = self.root.display();
        let hint = "name an existing, readable directory with --root";
        let root = self
            .root
            .canonicalize()
            .map_err(|error| format!("cannot serve {given}: {error}; {hint}"))?;
        if !root.is_dir() {
            return Err(format!("cannot serve {given}: it is not a directory; {hint}"));
        }
        root.read_dir()
            .map_err(|error| format!("cannot serve {given}: {error}; {hint}"))?;
        Ok(root)
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            idle: self.idle_timeout,
            request: self.request_timeout,
            write: self.write_timeout,
            body: self.max_body,
        }
    }

    pub(crate) fn cannot_listen(&self, error: &io::Error) -> String {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => "stop the program that has it, or choose another port with --listen",
            io::ErrorKind::PermissionDenied => "choose a port from 1024 on with --listen",
            io::ErrorKind::AddrNotAvailable => "choose an address of this machine with --listen",
            _ => "give --listen an address and a port, such as 127.0.0.1:8080",
        };
        format!("cannot listen on {}: {error}; {hint}", self.listen)
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    // The bound keeps every `Instant::now() + limit` representable.
    const LONGEST: f64 = 1e6;
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=LONGEST).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("give a number of seconds from 0 to {LONGEST}")),
    }
}

fn time_limit(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => {
            Err("a time limit of 0 would refuse every client; give a number of seconds above 0".to_owned())
        }
        limit => Ok(limit),
    }
}
