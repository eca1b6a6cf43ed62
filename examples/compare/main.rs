//! Every switch engine and every reactor of this build, at the same works, on this machine.
//!
//! ```sh
//! cargo run --release --example compare --features asm
//! ```
//!
//! Takes about a minute. Times are those of one thread on its processor, whatever else the machine does.
//!
//! Prints tables, and writes `compare.html`, with charts, and `compare.json` into `target/compare`.

mod chart;
mod clock;
mod contexts;
mod environment;
mod fibers;
mod json;
mod measure;
mod reactors;
mod report;
mod syscalls;
mod table;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use kapok::Engine;

use measure::{Plan, Table, Work, measure};
use table::Group;

/// Compares the switch engines and the reactors of this build on this machine.
#[derive(Parser)]
struct Options {
    /// Where to write compare.html and compare.json
    #[arg(long, value_name = "DIRECTORY", default_value = "target/compare")]
    out: PathBuf,
    /// How often each work is done by each, in turns
    #[arg(long, value_name = "N", default_value_t = 21, value_parser = clap::value_parser!(u16).range(1..=999))]
    rounds: u16,
    /// How long each of them takes, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 50)]
    sample: u64,
    /// About how long all may take; there are fewer rounds where the machine is busy
    #[arg(long, value_name = "S", default_value_t = 75)]
    seconds: u64,
    /// One short round, to see that it works
    #[arg(long)]
    quick: bool,
    /// Whose time is 1 [default: ucontext, else the first]
    #[arg(long, value_name = "ENGINE", value_parser = |s: &str| s.parse::<Engine>().map_err(|e| e.to_string()))]
    base: Option<Engine>,
}

#[expect(clippy::print_stderr, reason = "a person is told why it could not be done")]
fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    let plan = if options.quick {
        Plan {
            rounds: 1,
            sample: Duration::from_micros(500),
            limit: Duration::MAX,
        }
    } else {
        Plan {
            rounds: options.rounds.into(),
            sample: Duration::from_millis(options.sample),
            limit: Duration::from_secs(options.seconds) / 3, // engines bare, engines with fibers, reactors
        }
    };
    std::fs::create_dir_all(&options.out)?;
    let environment = environment::environment();
    let engines = Engine::available();
    let reactors = reactors::available()?;
    let works = (contexts::WORKS.len() + fibers::WORKS.len()) * engines.len() + reactors::WORKS.len() * reactors.len();
    let bar = progress(works * (plan.rounds + 1));

    let references = [(
        "a system call that sets the signal mask, one of which is in each switch of ucontext",
        contexts::signal_mask(if options.quick { 100 } else { 1_000_000 }),
    )];
    let mut of_engines = taking_turns(&engines, contexts::WORKS, plan, &bar);
    of_engines.extend(taking_turns(&engines, fibers::WORKS, plan, &bar));
    let of_reactors = taking_turns(&reactors, reactors::WORKS, plan, &bar);
    bar.finish_and_clear();

    let base = options.base.or_else(|| "ucontext".parse().ok()).unwrap_or_default();
    let groups = [
        Group {
            title: "Switch engines",
            base: base.to_string(),
            tables: of_engines,
        },
        Group {
            title: "Reactors",
            base: reactors.first().map(ToString::to_string).unwrap_or_default(),
            tables: of_reactors,
        },
    ];
    let html = options.out.join("compare.html");
    std::fs::write(&html, report::html(&environment, plan, &references, &groups))?;
    let tables = [("engines", &groups[0].tables[..]), ("reactors", &groups[1].tables[..])];
    let json = options.out.join("compare.json");
    std::fs::write(&json, json::json(&environment, plan, &references, &tables))?;

    let mut out = io::stdout().lock();
    for (name, value) in &environment {
        writeln!(out, "{name:<12} {value}")?;
    }
    for group in &groups {
        writeln!(out, "\n{}", table::text(group))?;
    }
    for (what, ns) in references {
        writeln!(out, "{what}: {} ns", table::figure(ns))?;
    }
    if cfg!(not(feature = "asm")) {
        writeln!(out, "The engine asm is compared, too, with `--features asm`.")?;
    }
    writeln!(out, "\nwritten: {}, {}", html.display(), json.display())
}

fn taking_turns<S: Copy + Display>(subjects: &[S], works: &[Work<S>], plan: Plan, bar: &ProgressBar) -> Vec<Table> {
    measure(subjects, works, plan, |what| {
        bar.set_message(what.to_owned());
        bar.inc(1);
    })
}

/// On a terminal only.
fn progress(steps: usize) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(steps as u64);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len}, {eta} left: {msg}");
    bar.with_style(style.expect("a template that is understood"))
}
