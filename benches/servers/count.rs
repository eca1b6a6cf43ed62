//! What a request takes that no noise can change: system calls, and instructions in user code.
//!
//! The server runs under a tool that counts for as long as it lives. It is asked for some requests, and newly started for more: what
//! the second one took more is theirs, and starting, connecting and ending are left out. Under a tool a server is slow, so that
//! there is always something to do: turns with many events, as under full load.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::Command;

use clap::ValueEnum;

use crate::builds::Programs;
use crate::loads::Load;
use crate::measure::generate;
use crate::options::Options;
use crate::process::{Places, Role, Running};
use crate::servers::Server;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Counted {
    Syscalls,
    Instructions,
}

/// Requests of the shorter run, and by how many times as many the other one has.
const FEW: u64 = 10_000;
const MANY: u64 = 5;

/// Less than this of a kind, for a request, is not worth a line.
const RARE: f64 = 0.01;

/// By kind.
type Counts = BTreeMap<String, u64>;

pub(crate) fn all(counted: Counted, programs: &Programs, places: Places, options: &Options) -> io::Result<()> {
    let few = if options.test { FEW / 10 } else { FEW };
    for &load in &options.loads {
        println!("\n{load}, {}\n", counted.heading());
        println!("| server | all | of them |\n|:--|--:|:--|");
        for server in options.servers.iter().filter(|server| server.serves(load)) {
            let run = |requests| {
                run(counted, server, load, requests, programs, places)
                    .map_err(|error| io::Error::other(format!("{} under {load}: {error}", server.name)))
            };
            let (less, more) = (run(few)?, run(few * MANY)?);
            println!("| {} | {} |", server.name, counted.each(&less, &more));
        }
    }
    Ok(())
}

/// How many requests were answered, and what was counted.
fn run(
    counted: Counted,
    server: &Server,
    load: Load,
    requests: u64,
    programs: &Programs,
    places: Places,
) -> io::Result<(u64, Counts)> {
    let file = programs.raw.join(counted.tool());
    match std::fs::remove_file(&file) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let command = counted.command(&server.command(programs, load), &file);
    let mut running = Running::start(command, places, Role::Server)?;
    let options = [
        ("--generator-warm-up", "0".to_owned()),
        ("--requests", requests.to_string()),
    ];
    let figures = generate(&mut running, load, places, &options)?;
    running.end()?;
    let text = std::fs::read_to_string(&file)?;
    let counts = counted.parse(&text);
    if counts.is_empty() {
        return Err(io::Error::other(format!("{} has counted nothing", counted.tool())));
    }
    Ok((figures.requests, counts))
}

impl Counted {
    fn heading(self) -> &'static str {
        match self {
            Counted::Syscalls => "system calls for each request (strace)",
            Counted::Instructions => "instructions in user code for each request (callgrind)",
        }
    }

    fn tool(self) -> &'static str {
        match self {
            Counted::Syscalls => "strace",
            Counted::Instructions => "valgrind",
        }
    }

    /// The tool's command line, with that of the server in it. What it counts goes to `file` when it ends.
    fn command(self, server: &Command, file: &Path) -> Command {
        let mut command = Command::new(self.tool());
        match self {
            Counted::Syscalls => command
                // With -o it would ignore a request to end, unless told otherwise.
                .args(["-f", "-c", "-I2", "-U", "calls,name", "-o"])
                .arg(file),
            Counted::Instructions => command
                .args(["-q", "--tool=callgrind"])
                .arg(format!("--callgrind-out-file={}", file.display())),
        };
        for (name, value) in server.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.arg(server.get_program()).args(server.get_args());
        command
    }

    fn parse(self, text: &str) -> Counts {
        let numbered = |words: Vec<&str>| match (self, &words[..]) {
            (Counted::Syscalls, &[calls, name]) if name != "total" => Some((name.to_owned(), calls.parse().ok()?)),
            (Counted::Instructions, &["totals:", all]) => Some(("instructions".to_owned(), all.parse().ok()?)),
            _ => None,
        };
        let lines = text.lines().map(|line| line.split_whitespace().collect());
        lines.filter_map(numbered).collect()
    }

    /// For each of the requests that the second run had more.
    #[expect(clippy::cast_precision_loss, reason = "a ratio of counts")]
    fn each(self, (fewer, less): &(u64, Counts), (more, counts): &(u64, Counts)) -> String {
        let requests = more.saturating_sub(*fewer).max(1) as f64;
        let each: Vec<_> = counts
            .iter()
            .map(|(name, &count)| {
                let before = less.get(name).copied().unwrap_or(0);
                (name, (count as f64 - before as f64) / requests)
            })
            .collect();
        let all: f64 = each.iter().map(|(_, each)| each).sum();
        if self == Counted::Instructions {
            return format!("{all:.0} | ");
        }
        let kinds: Vec<_> = each
            .iter()
            .filter(|(_, each)| *each >= RARE)
            .map(|(name, each)| format!("{name} {each:.2}"))
            .collect();
        format!("{all:.2} | {}", kinds.join(", "))
    }
}
