//! The program with one line changed.

use kapok::fiber as thread;

use crate::support::run;

#[expect(
    clippy::duplicate_mod,
    reason = "the same program with other names is what is tested"
)]
#[path = "program.rs"]
mod program;
