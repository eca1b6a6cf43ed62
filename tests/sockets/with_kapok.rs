//! The contract, as fibers fulfil it.

#![expect(clippy::duplicate_mod, reason = "the same tests with other names is what is wanted")]

use kapok::net::unix;
use kapok::{fiber as thread, net};

use crate::support::run;

#[path = "contract/udp.rs"]
mod udp;
#[path = "contract/unix.rs"]
mod unix_sockets;
