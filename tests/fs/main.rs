//! Files: `kapok::fs` does what `std::fs` does, and holds nobody up.
//!
//! The files in `contract/` are compiled three times: for `std::fs`, for `kapok::fs` in fibers, and for `kapok::fs` on threads.
//! What they ask of the first is what the others do.

#[path = "../support/mod.rs"]
mod support;

mod fibers;
mod fifo;
mod like_std;
mod with_kapok;
mod with_plain_threads;
mod with_std;

/// std's, under a name that it has in no module of the contract.
type StdFile = std::fs::File;
