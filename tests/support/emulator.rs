//! What is other where the processor and the system calls are emulated, as `ci/cross.sh` has it.

#![allow(dead_code, reason = "every test program uses a part of this")]

use std::io::{self, Write};
use std::process::Command;
use std::time::Duration;

/// How long a test has patience: `time`, as many times as `KAPOK_DEADLINE_FACTOR` says.
pub(crate) fn patience(time: Duration) -> Duration {
    match std::env::var("KAPOK_DEADLINE_FACTOR") {
        Ok(factor) if !factor.is_empty() => {
            time * factor.parse::<u32>().expect("KAPOK_DEADLINE_FACTOR is a whole number")
        }
        _ => time,
    }
}

fn is_emulated() -> bool {
    std::env::var_os("KAPOK_EMULATED").is_some_and(|value| value == "1")
}

/// How often a test does what it does again and again to meet a rare moment: `count` times, and a tenth of it where that takes
/// ten times as long.
pub(crate) fn rounds(count: usize) -> usize {
    if is_emulated() { count / 10 } else { count }
}

/// Whether there is an emulator (`KAPOK_EMULATED=1`). Tells then, past the harness, that something is not tested there, since it
/// does not do `what` as Linux does.
pub(crate) fn lacks(what: &str) -> bool {
    if is_emulated() {
        // Nothing can be done about a closed standard error.
        drop(io::stderr().write_all(format!("SKIP the emulator lacks {what}\n").as_bytes()));
    }
    is_emulated()
}

/// Whether a program that others wrote is there: it is started with an argument. What cannot be executed is an error, but for the
/// emulator, whose vfork does not tell the parent: there it is a child that ends as it does in a shell.
pub(crate) fn is_installed(program: &str, argument: &str) -> bool {
    let found = Command::new(program).arg(argument).output();
    found.is_ok_and(|output| !is_emulated() || output.status.code() != Some(127))
}
