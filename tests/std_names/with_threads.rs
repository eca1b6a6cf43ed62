//! The program as it was written.

use std::thread;

fn run<T>(f: impl FnOnce() -> T) -> T {
    let _watchdog = crate::support::watchdog();
    f()
}

#[path = "program.rs"]
mod program;
