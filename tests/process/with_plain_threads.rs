//! The contract, as our processes fulfil it on threads that have no runtime.

#![expect(clippy::duplicate_mod, reason = "the same tests with other names is what is wanted")]

use std::thread;

use kapok::process::{self, CommandExt};

fn run<T>(f: impl FnOnce() -> T) -> T {
    let _watchdog = crate::support::watchdog();
    f()
}

#[path = "contract/children.rs"]
mod children;
