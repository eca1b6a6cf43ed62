//! The contract, as fibers fulfil it.

#![expect(clippy::duplicate_mod, reason = "the same tests with other names is what is wanted")]

use kapok::process::CommandExt;
use kapok::{fiber as thread, process};

use crate::support::run;

#[path = "contract/children.rs"]
mod children;
