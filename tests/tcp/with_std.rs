//! The contract, as the standard library fulfils it with threads.

use std::{net, thread};

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
