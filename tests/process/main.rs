//! Child processes: `kapok::process` does what `std::process` does, and some things more.
//!
//! The file in `contract/` is compiled three times, as those of `tests/tcp`.

#[path = "../support/mod.rs"]
mod support;

mod fibers;
mod with_kapok;
mod with_plain_threads;
mod with_std;
