//! What other crates for stackful coroutines were shown to get wrong in safe code, tried here; and the limits that are known.
//!
//! The programs are those of the reports that `docs/soundness.md` lists, made to work with this crate where its types let them
//! compile. Those that do not compile stand in that document as `compile_fail` examples.

#[path = "../support/mod.rs"]
mod support;

mod leaked;
mod limits;
mod moved;
