//! What the switch engines cost, bare and behind the scheduler: `cargo bench --bench switch --features asm`.
//!
//! The works of the example `compare`, which has charts for them, and reactors. The engines take turns; times are those of one
//! thread on its processor. Prints a table, and writes `target/tmp/bench/switch.json`, with the environment in it. `cargo bench
//! --bench switch -- --test` runs one short round.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "../examples/compare/clock.rs"]
mod clock;
#[path = "../examples/compare/contexts.rs"]
mod contexts;
#[path = "../examples/compare/environment.rs"]
mod environment;
#[path = "../examples/compare/fibers.rs"]
mod fibers;
#[path = "../examples/compare/json.rs"]
mod json;
#[path = "../examples/compare/measure.rs"]
mod measure;
#[path = "../examples/compare/table.rs"]
mod table;

use std::time::Duration;

use kapok::Engine;
use measure::{Plan, Work, measure};
use table::Group;

/// Their stacks take half a gigabyte, which the example does without.
const LARGE: &[Work<Engine>] = &[Work {
    name: "switch, random walk over 100,000",
    run: |engine, n| contexts::random_walk(engine, 100_000, n),
}];

fn main() {
    let quick = std::env::args().any(|argument| argument == "--test");
    let (rounds, sample) = if quick { (1, 1) } else { (31, 50) };
    let plan = Plan {
        rounds,
        sample: Duration::from_millis(sample),
        limit: Duration::MAX,
    };
    let environment = environment::environment();
    let references = [(
        "a system call that sets the signal mask",
        contexts::signal_mask(if quick { 100 } else { 1_000_000 }),
    )];
    let engines = Engine::available();
    let mut tables = measure(&engines, contexts::WORKS, plan, |_| ());
    let few = Plan {
        rounds: rounds.min(9), // it takes longer to set up than to do
        ..plan
    };
    tables.extend(measure(&engines, LARGE, few, |_| ()));
    tables.extend(measure(&engines, fibers::WORKS, plan, |_| ()));
    let base: Engine = "ucontext".parse().unwrap_or_default();
    let group = Group {
        title: "Switch engines",
        base: base.to_string(),
        tables,
    };
    println!("{}", table::text(&group));
    for (what, ns) in references {
        println!("{what}: {} ns", table::figure(ns));
    }
    let text = json::json(&environment, plan, &references, &[("engines", &group.tables)]);
    println!("written: {}", write("switch.json", &text).display());
}

/// Into a directory of the build's; the path.
fn write(name: &str, text: &str) -> std::path::PathBuf {
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench");
    std::fs::create_dir_all(&dir).expect("Cargo made the directory that it is in");
    let file = dir.join(name);
    std::fs::write(&file, text).expect("the directory is ours");
    file
}
