//! The contract, as our sockets fulfil it on threads that have no runtime.

#![expect(clippy::duplicate_mod, reason = "the same tests with other names is what is wanted")]

use std::thread;

use kapok::net;

fn run<T>(f: impl FnOnce() -> T) -> T {
    let _watchdog = crate::support::watchdog();
    f()
}

#[path = "contract/closing.rs"]
mod closing;
#[path = "contract/connecting.rs"]
mod connecting;
#[path = "contract/modes.rs"]
mod modes;
#[path = "contract/pair.rs"]
mod pair;
#[path = "contract/transfer.rs"]
mod transfer;
