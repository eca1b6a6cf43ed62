//! UDP, Unix sockets, and what goes beyond std: copying, options, other descriptors.
//!
//! The files in `contract/` are compiled three times, as those of `tests/tcp`: what they ask of std with threads is what
//! fibers and plain threads get from Kapok.

#[path = "../support/mod.rs"]
mod support;

mod any;
mod copying;
mod queues;
mod waits;
mod with_kapok;
mod with_plain_threads;
mod with_std;
