//! TCP: `kapok::net` does what `std::net` does, and some things more.
//!
//! The files in `contract/` are compiled three times: for `std::net` with threads, for `kapok::net` with fibers, and for
//! `kapok::net` with threads. What they ask of the first is what the others do.

#[path = "../support/mod.rs"]
mod support;

mod addresses;
mod close;
mod convert;
mod edges;
mod storms;
mod threads;
mod with_kapok;
mod with_plain_threads;
mod with_std;
