//! A program that was written for `std::thread` compiles, and does the same, with `use kapok::fiber as thread`.

#[path = "../support/mod.rs"]
mod support;

mod with_fibers;
mod with_threads;
