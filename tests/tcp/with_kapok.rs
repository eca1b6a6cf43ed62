//! The contract, as fibers fulfil it.

#![expect(clippy::duplicate_mod, reason = "the same tests with other names is what is wanted")]

use kapok::{fiber as thread, net};

use crate::support::run;

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
