//! TCP: `kapok::net` does what `std::net` does, and some things more.
//!
//! The files in `contract/` are compiled twice, for `std::net` with threads and for `kapok::net` with fibers: what they
//! ask of the one is what the other does.

#[path = "../support/mod.rs"]
mod support;

mod addresses;
mod close;
mod convert;
mod edges;
mod storms;
mod threads;
mod with_kapok;
mod with_std;
