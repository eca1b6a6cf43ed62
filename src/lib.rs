#![doc = include_str!("../README.md")]

mod baton;
mod context;
pub mod coroutine;
mod ffi;
pub mod fiber;
mod reactor;
pub mod runtime;
mod sched;
pub mod stack;
pub mod sync;
mod sys;

pub use context::Engine;
pub use fiber::{spawn, spawn_local};
pub use reactor::ReactorKind;
pub use runtime::run;
