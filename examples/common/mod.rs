//! What several examples share: the options that choose a runtime, and a server's life from its first client to its last.

#![allow(dead_code, reason = "every example uses a part of this")]

pub(crate) mod server;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use kapok::runtime::Builder;
use kapok::{Engine, ReactorKind};

/// The options that choose a runtime. What is not given, Kapok takes from its environment variables, or chooses.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RuntimeOptions {
    /// Context switch engine, such as setjmp or ucontext
    #[arg(long, value_name = "ENGINE", value_parser = |s: &str| s.parse::<Engine>().map_err(|e| e.to_string()))]
    switch: Option<Engine>,
    /// I/O interface of the kernel, such as epoll or poll
    #[arg(long, value_name = "NAME", value_parser = |s: &str| s.parse::<ReactorKind>().map_err(|e| e.to_string()))]
    reactor: Option<ReactorKind>,
    /// Threads that run fibers; by default one for each processor
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
}

impl RuntimeOptions {
    /// Runs a program in a runtime of this kind, and tells a person why it failed.
    pub(crate) fn run(&self, program: &str, main: impl FnOnce() -> io::Result<()>) -> ExitCode {
        env_logger::init();
        // One descriptor a connection: the soft limit of a shell is often 1024. Where it cannot be raised, it is kept.
        let _limit = rlimit::increase_nofile_limit(u64::MAX);
        let runtime = self.switch.into_iter().fold(Builder::new(), Builder::switch);
        let runtime = self.reactor.into_iter().fold(runtime, Builder::reactor);
        let runtime = self.workers.into_iter().fold(runtime, Builder::workers);
        match runtime.run(main).and_then(|done| done) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                // Nothing can be done about a closed standard error.
                drop(writeln!(io::stderr(), "{program}: {error}"));
                ExitCode::FAILURE
            }
        }
    }
}

/// A number of seconds, as an option has it.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    // The bound keeps every `Instant::now() + limit` representable.
    const LONGEST: f64 = 1e6;
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=LONGEST).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("give a number of seconds from 0 to {LONGEST}")),
    }
}

/// As std's time-outs have it: 0 is without limit.
pub(crate) fn limit(duration: Duration) -> Option<Duration> {
    (!duration.is_zero()).then_some(duration)
}
