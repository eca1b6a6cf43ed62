//! An HTTP/1.1 load generator: one fiber a connection, a histogram of latencies, and errors by their kind.
//!
//! ```sh
//! cargo run --release --example loadgen -- http://127.0.0.1:8080/plaintext --connections 64 --duration 10
//! cargo run --release --example loadgen -- http://127.0.0.1:8080/plaintext --rate 10000 --json
//! ```
//!
//! Without `--rate` each connection asks again when it has its answer. With it, requests are due at fixed times, and latency
//! counts from the time when a request was due: a server that stalls is charged for all who would have come meanwhile.
//! Read `client.rs` first.

#[path = "../common/mod.rs"]
mod common;

mod client;
mod options;
mod plan;
mod progress;
mod report;
mod response;
mod tally;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use kapok::cancel::CancelToken;
use kapok::fiber;
use kapok::signal::{SIGINT, SIGTERM, Signals};

use options::Options;
use plan::Plan;
use tally::Tallies;

fn main() -> ExitCode {
    let options = Options::parse();
    options.runtime.run("loadgen", || run(&options))
}

fn run(options: &Options) -> io::Result<()> {
    let plan = Plan::new(options)?;
    let tallies = Tallies::new();
    let stop = CancelToken::new();
    let signals = Signals::new([SIGINT, SIGTERM])?;
    fiber::scope(|scope| {
        // Of what has been measured until then a report is made, too.
        let interrupted = scope.spawn(|| drop(signals.recv().map(|_| stop.cancel())));
        let progress = scope.spawn(|| progress::show(&plan, &tallies));
        let clients: Vec<_> = (0..options.connections)
            .map(|number| {
                let (plan, tallies, stop) = (&plan, &tallies, &stop);
                scope.spawn(move || {
                    let _stopped = stop.run(|| client::run(plan, number, tallies.of(number)));
                })
            })
            .collect();
        clients.into_iter().for_each(|client| drop(client.join()));
        interrupted.cancel();
        progress.cancel();
        drop(progress.join());
    });
    let (took, sum) = (Instant::now().saturating_duration_since(plan.begin), tallies.sum());
    let report = if options.json {
        report::json(options, &plan, took, &sum)
    } else {
        report::text(&plan, took, &sum)
    };
    kapok::stdio::stdout().write_all(report.as_bytes())?;
    if sum.answers() == 0 {
        return Err(io::Error::other("not one request was answered"));
    }
    Ok(())
}
