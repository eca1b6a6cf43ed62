//! The fault run: every system call of the runtime fails, in turn, with every errno that it may fail with.
//!
//! A program that does a little of everything (`scenario`) is run in a process of its own for each case: a reactor, a call,
//! an errno, and which of the calls of that kind it is (`table`). Whatever fails: every byte is right, nobody waits for
//! ever, nothing panics, no descriptor is left, and the program gets the error, or none where it can be put right (`judge`).
//!
//! The calls are refused by a seccomp filter that hands them to a thread of the same process (`injector`), and not by
//! `strace --inject`: that counts for each thread, knows nothing of arguments, so that it cannot tell a fiber's stack from
//! the allocator's memory, and cannot make a call before it says that it failed, as the kernel does with a `connect` that
//! was interrupted, and with every `close`. It also is not installed everywhere.
//!
//! What `io_uring` does in the ring makes no calls: how it takes the errnos that come out of it is tested where completions
//! are, in `src/reactor/uring/outcomes.rs`.
//!
//! One case by hand, and what it says:
//! ```text
//! KAPOK_REACTOR=epoll KAPOK_FAULT='run epoll_ctl(ADD) ENOSPC 2+0' cargo test --test faults the_scenario -- --ignored --nocapture
//! ```
//! The second call of that kind fails; with `2+3` every third from there, too. Without `KAPOK_FAULT` nothing does, and the
//! calls are counted. All cases: `ci/faults.sh`. A plain test run tries some of them. With `KAPOK_REACTOR` only that reactor's.
#![cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
#![allow(unsafe_code, reason = "speaks to the kernel")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use injector::{Fault, Phase, SEEN};
use judge::{Case, Said, judge_all};
use kapok::ReactorKind;
use table::{CALLS_OF_THE_MODEL, ROWS};

mod calls;
mod injector;
mod judge;
mod real;
mod scenario;
#[path = "../support/mod.rs"]
mod support;
mod table;

/// What is to fail in a child.
const FAULT: &str = "KAPOK_FAULT";

/// How long a child may take, on a slow and busy machine too.
const DEADLINE: Duration = Duration::from_secs(30);

fn parse_fault(text: &str) -> Option<Fault> {
    let mut words = text.split_whitespace();
    let phase = Phase::by_name(words.next()?)?;
    let call = calls::by_name(&words.next()?.replace('-', " "))?;
    let errno = table::errno_by_name(words.next()?)?.number;
    let (first, step) = words.next()?.split_once('+')?;
    Some(Fault {
        phase,
        call,
        errno,
        first: first.parse().ok()?,
        step: step.parse().ok()?,
    })
}

#[test]
#[ignore = "run by the others, in a process of its own"]
fn the_scenario() {
    let fault = std::env::var(FAULT).unwrap_or_default();
    let fault = (!fault.is_empty()).then(|| parse_fault(&fault).expect("phase call errno first+step"));
    rlimit::setrlimit(rlimit::Resource::CORE, 0, 0).expect("no core files");
    let _watchdog = support::watchdog_after(DEADLINE);
    let mut report = String::from("\n");
    match injector::install(fault) {
        Ok(()) => {
            let before = support::open_descriptors().expect("/proc is there");
            let notes = scenario::run();
            // The thread that did the blocking work may hold on to the bell that it rang for a moment longer.
            let patience = Instant::now() + support::emulator::patience(DEADLINE) / 3;
            let after = loop {
                let after = support::open_descriptors().expect("/proc is there");
                if after == before || Instant::now() > patience {
                    break after;
                }
                std::thread::sleep(Duration::from_millis(1));
            };
            for line in notes {
                writeln!(report, "{line}").expect("a string");
            }
            for (phase, call, count) in SEEN.calls() {
                writeln!(report, "call: {} {call} {count}", phase.name()).expect("a string");
            }
            writeln!(report, "injected: {}\ndescriptors: {before} {after}", SEEN.injected()).expect("a string");
        }
        Err(error) => writeln!(report, "cannot: {error}").expect("a string"),
    }
    std::io::Write::write_all(&mut std::io::stdout(), report.as_bytes()).expect("stdout");
    // The threads of the harness are not asked to join those of this test.
    std::process::exit(0);
}

/// The reactor that was asked for, or all of this build.
fn reactors() -> Vec<&'static str> {
    let kinds = match std::env::var("KAPOK_REACTOR") {
        Ok(name) if !name.is_empty() => vec![name.parse().expect("a reactor of this build")],
        _ => ReactorKind::available(),
    };
    kinds.into_iter().map(ReactorKind::name).collect()
}

/// All cases of a reactor; `None`, visibly, where it cannot be had, or nothing can be made to fail.
///
/// The table has to know all calls, and all that it knows have to be made: what is never made never fails.
fn cases(reactor: &'static str) -> Option<Vec<Case>> {
    if cfg!(kapok_libkqueue) && reactor == "kqueue" {
        // What libkqueue itself calls, and what it makes of a failure, is its own affair.
        support::skip("no faults are injected under libkqueue", "KAPOK_REQUIRE_FAULTS");
        return None;
    }
    if kapok::Engine::available().len() == 1 {
        // The calls by which a context boots there, and those of a C library without makecontext, are not in the table. What
        // the reactors call is the same.
        support::skip(
            "no faults are injected where contexts boot by sigaltstack",
            "KAPOK_REQUIRE_FAULTS",
        );
        return None;
    }
    let said = Said::by_a_child(reactor, "", "");
    if let Some(why) = said.lines("cannot: ").first() {
        let why = format!("no faults are injected: no seccomp notifications: {why}");
        support::skip(&why, "KAPOK_REQUIRE_FAULTS");
        return None;
    }
    if let [why] = said.lines("setup: ").as_slice() {
        assert_eq!(reactor, "io_uring", "{why}");
        support::skip(why, "KAPOK_REQUIRE_FAULTS");
        return None;
    }
    let sound = said.is_sound();
    assert_eq!(
        sound,
        Ok(()),
        "{reactor}, and nothing was made to fail:\n{}",
        said.indented()
    );
    assert!(said.lines("error: ").is_empty(), "{reactor}:\n{}", said.indented());
    let mut calls = said.calls();
    if calls.iter().all(|(_, call, _)| call != "mprotect(guard)") {
        let with_mprotect = Said::by_a_child(reactor, "mprotect", "").calls();
        calls.extend(
            with_mprotect
                .into_iter()
                .filter(|(_, call, _)| call == "mprotect(guard)"),
        );
    }
    let rows = || ROWS.iter().filter(|row| row.reactors.contains(&reactor));
    let mut wrong = String::new();
    for (phase, call, _) in &calls {
        let is_the_models = reactor == "kqueue" && CALLS_OF_THE_MODEL.contains(&call.as_str());
        if !is_the_models && !rows().any(|row| (row.phase, row.call) == (*phase, call)) {
            writeln!(wrong, "{} {call} is not in the table", phase.name()).expect("a string");
        }
    }
    let mut cases = Vec::new();
    for row in rows() {
        let mut made = calls
            .iter()
            .filter(|(phase, call, _)| (row.phase, row.call) == (*phase, call));
        match made.next() {
            Some(&(.., count)) => cases.extend(Case::all_of(reactor, row, count)),
            None if row.may_be_missing => {}
            None => writeln!(wrong, "{} {} is never made", row.phase.name(), row.call).expect("a string"),
        }
    }
    assert!(wrong.is_empty(), "{reactor}:\n{wrong}");
    Some(cases)
}

#[track_caller]
fn are_right(reactor: &str, cases: &[Case]) {
    let wrong = judge_all(cases);
    assert!(
        wrong.is_empty(),
        "{reactor}: {} of {} cases, see above",
        wrong.len(),
        cases.len()
    );
    support::show(&format!(
        "{reactor}: {} faults were injected, and came out right",
        cases.len()
    ));
}

/// Of each row a case, another errno and another moment for each.
#[test]
fn some_faults() {
    for reactor in reactors() {
        let Some(all) = cases(reactor) else { continue };
        let of_one_row = |a: &Case, b: &Case| std::ptr::eq(a.row, b.row);
        let some = all.chunk_by(of_one_row).enumerate();
        let some: Vec<_> = some.map(|(turn, of_row)| of_row[turn % of_row.len()]).collect();
        are_right(reactor, &some);
    }
}

#[test]
#[ignore = "takes minutes: ci/faults.sh"]
fn every_fault() {
    for reactor in reactors() {
        if let Some(all) = cases(reactor) {
            are_right(reactor, &all);
        }
    }
}
