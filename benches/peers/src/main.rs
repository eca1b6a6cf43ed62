//! The same work on Kapok and on its peers, in one run: `cargo run --release` in `benches/peers`.
//!
//! Each measurement is a process of its own, pinned to one processor, under `SCHED_FIFO` where that is allowed; peers take turns,
//! in another order each round. A figure is the time for each (for what sleeps: processor time), and where tasks wait, the
//! memory for each. What cannot be built or run here is named, and left out. Linux only.
//!
//! With `--servers` it is echo and HTTP servers: it tells `cargo bench --bench servers`, which has the load generator, of the peers'.
//!
//! `-- --help` lists the options, `-- --test` runs one short round of all.

#[allow(
    dead_code,
    reason = "shared with `cargo bench --bench servers`, which uses more of it"
)]
#[path = "../../servers/process.rs"]
mod process;
#[path = "../../servers/spread.rs"]
mod spread;

mod contexts;
mod environment;
mod fibers;
mod foreign;
mod futures;
mod report;
mod servers;
mod threads;
mod work;

use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Parser;

use foreign::Programs;
use process::{Places, Role, Running};
use work::{Figure, PEERS, Peer, WORKS, Work};

#[derive(Debug, Parser)]
struct Options {
    /// Names, or parts of names, of the works to measure; all, if there is none
    works: Vec<String>,
    /// Names, or parts of names, of the peers, separated by commas
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Rounds; works with tasks that sleep have a third of them
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// One short round
    #[arg(long)]
    test: bool,
    /// Where to write the results as JSON as well
    #[arg(long)]
    json: Option<PathBuf>,
    /// Leave the scheduling policy as it is
    #[arg(long)]
    no_fifo: bool,
    /// Measure servers instead: all of them with `cargo bench --bench servers`, whose options may follow
    #[arg(long, num_args = 0.., allow_hyphen_values = true, value_name = "OPTIONS")]
    servers: Option<Vec<String>>,
    /// Measure one, here, and print the figure: what this program calls itself with
    #[arg(long, hide = true, num_args = 3, value_names = ["PEER", "WORK", "COUNT"])]
    measure: Option<Vec<String>>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match (options.measure.as_deref(), &options.servers) {
        (Some([peer, work, count]), _) => measure_here(peer, work, count),
        (_, Some(arguments)) => servers::measure(arguments),
        _ => measure_all(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure_here(peer: &str, work: &str, count: &str) -> io::Result<()> {
    let find = || io::Error::other(format!("there is no {work} on {peer}"));
    let count = count.parse().map_err(io::Error::other)?;
    let measure = work::measure(peer, work).ok_or_else(find)?;
    println!("{}", measure(count));
    Ok(())
}

fn measure_all(options: &Options) -> io::Result<()> {
    let programs = Programs::build();
    let places = Places::find(!options.no_fifo);
    println!("{}", places.describe());
    let environment = environment::describe();
    for (name, value) in &environment {
        println!("{name}: {value}");
    }
    // A name is that alone, though others may begin like it.
    let is_wanted = |parts: &[String], name: &str| {
        let names_one =
            |part: &str| WORKS.iter().any(|work| work.name == part) || PEERS.iter().any(|peer| peer.name == part);
        let fits = |part: &String| name == part || (!names_one(part) && name.contains(&**part));
        parts.is_empty() || parts.iter().any(fits)
    };
    let mut results = Vec::new();
    for work in WORKS.iter().filter(|work| is_wanted(&options.works, work.name)) {
        let peers: Vec<&Peer> = PEERS
            .iter()
            // Kapok's default is what all are compared with.
            .filter(|peer| peer.name == work::BASE || is_wanted(&options.peers, peer.name))
            .filter(|peer| (peer.measures)(work.name))
            .collect();
        let figures = measure_in_turns(work, &peers, &programs, places, options);
        report::print(work, &peers, &figures);
        results.push(report::json(work, &peers, &figures));
    }
    if let Some(path) = &options.json {
        let all = report::with_environment(&environment, &environment::load_average(), results);
        std::fs::write(path, all)?;
    }
    Ok(())
}

/// A list for each peer, a figure a round; or why there is none.
fn measure_in_turns(
    work: &Work,
    peers: &[&Peer],
    programs: &Programs,
    places: Places,
    options: &Options,
) -> Vec<Result<Vec<Figure>, String>> {
    let mut figures = vec![Ok(Vec::new()); peers.len()];
    for round in 0..work.rounds(options.rounds, options.test) {
        for turn in 0..peers.len() {
            let index = (turn + round) % peers.len();
            let Ok(list) = &mut figures[index] else { continue };
            match measure(work, peers[index], programs, places, work.count(options.test)) {
                Ok(figure) => list.push(figure),
                Err(error) => figures[index] = Err(error.to_string()),
            }
        }
    }
    figures
}

/// In a process of its own.
fn measure(work: &Work, peer: &Peer, programs: &Programs, places: Places, count: u32) -> io::Result<Figure> {
    let mut command = match peer.program {
        Some(program) => {
            let mut words = program.split(' ');
            let mut command = programs.command(words.next().unwrap_or_default())?;
            command.args(words);
            command
        }
        None => {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("--measure").arg(peer.name);
            command
        }
    };
    command.arg(work.name).arg(count.to_string());
    if std::env::var_os("PEERS_STDERR").is_none() {
        command.stderr(std::process::Stdio::null()); // what a peer says about running out of memory
    }
    Running::start(command, places, Role::Server)?
        .line()?
        .parse()
        .map_err(io::Error::other)
}
