//! The contract, as our sockets fulfil it on threads that have no runtime.

#![expect(clippy::duplicate_mod, reason = "the same tests with other names is what is wanted")]

use kapok::net::{self, unix};
use std::thread;

fn run<T>(f: impl FnOnce() -> T) -> T {
    let _watchdog = crate::support::watchdog();
    f()
}

#[path = "contract/udp.rs"]
mod udp;
#[path = "contract/unix.rs"]
mod unix_sockets;
