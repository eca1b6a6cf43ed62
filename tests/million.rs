//! The example that holds many fibers at once, from outside, with few of them.
#![cfg(target_os = "linux")]

mod support;

use std::process::{Command, Output};

use support::{emulator, max_mappings, says, show, skip, watchdog};

fn run(count: usize, guard: &str) -> Output {
    run_on("", count, guard, &[])
}

/// Runs the example with so many fibers. `cargo test` builds examples before it runs tests.
fn run_on(engine: &str, count: usize, guard: &str, more: &[&str]) -> Output {
    let own = std::env::current_exe().expect("the path of this test");
    let profile = own.ancestors().nth(2).expect("target/PROFILE/deps/this");
    let example = profile.join("examples/million");
    assert!(
        example.is_file(),
        "{} is missing: run `cargo build --examples` first",
        example.display()
    );
    let mut command = Command::new(example);
    command
        .args([&count.to_string(), "--stack-size", "32768"])
        .args(more)
        .env("KAPOK_SWITCH", engine)
        .env("KAPOK_STACK_GUARD", guard);
    command.output().expect("it can be started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What it says of one thing.
#[track_caller]
fn figure(output: &Output, what: &str) -> usize {
    let text = text(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix(what));
    let figure = line.and_then(|line| line.trim().parse().ok());
    figure.unwrap_or_else(|| panic!("{what:?} is not in {text:?} {:?}", output.stderr))
}

#[test]
fn all_are_alive_at_once_and_few_mappings_are_needed() {
    let _watchdog = watchdog();
    let output = run(20_000, "");
    show(&text(&output.stdout));
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(figure(&output, "fibers alive at once"), 20_000);
    if text(&output.stdout).contains("madvise") {
        assert!(figure(&output, "mappings") < 1_000);
    } else {
        skip("guards by advice do not work here", "KAPOK_REQUIRE_GUARDS");
    }
    assert!(figure(&output, "left afterwards, MiB") <= 64);
}

/// `ci/million.sh` does so with a thousand of a million.
#[test]
fn a_sample_overflows_and_their_neighbours_are_whole() {
    if emulator::lacks("ptrace") {
        return;
    }
    for engine in kapok::Engine::available() {
        for guard in ["", "mprotect"] {
            let _watchdog = watchdog();
            let output = run_on(engine.name(), 5_000, guard, &["--overflow", "30"]);
            let said = text(&output.stdout);
            assert!(output.status.success(), "{said}{}", text(&output.stderr));
            assert_eq!(figure(&output, "reported, and died of it"), 30);
            let lowest = figure(&output, "without a neighbour below");
            assert_eq!(figure(&output, "neighbours that were whole") + lowest, 30);
            assert!(lowest < 10, "{said}");
        }
    }
}

#[test]
fn limit_of_mappings_is_met_with_an_error() {
    let Some(max) = max_mappings().filter(|max| *max < 100_000) else {
        skip("there is no limit of mappings to meet", "KAPOK_REQUIRE_PROC");
        return;
    };
    let _watchdog = watchdog();
    let output = run(max, "mprotect");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    says(
        &text(&output.stderr),
        &["fibers got no stack", "vm.max_map_count", &max.to_string(), "sysctl"],
    );
    let alive = figure(&output, "fibers alive at once");
    assert!(alive > max / 4 && alive < max / 2, "{alive} of {max}");
}
