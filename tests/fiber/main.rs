//! Fibers, seen from outside: what `kapok::fiber` promises.

#[path = "../support/mod.rs"]
mod support;

mod fairness;
mod isolation;
mod life;
mod many;
mod park;
mod results;
mod sleep;
mod start;
