//! The program with one line changed.

use kapok::fiber as thread;
use kapok::{fs, net, process, sync};

use crate::support::run;

#[expect(
    clippy::duplicate_mod,
    reason = "the same program with other names is what is tested"
)]
#[path = "program.rs"]
mod program;
#[expect(clippy::duplicate_mod, reason = "as above")]
#[path = "signatures.rs"]
mod signatures;
