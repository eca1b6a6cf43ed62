//! Fiber-local values, and values that fibers inherit.

#[path = "../support/mod.rs"]
mod support;

mod destructors;
mod inherited;
mod keys;
