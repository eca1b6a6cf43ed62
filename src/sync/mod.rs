//! Waiting for each other: between fibers, between threads, and between the two.

pub use crate::baton::Baton;
