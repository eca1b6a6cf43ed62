#![doc = include_str!("../README.md")]

mod baton;
mod blocking;
pub mod cancel;
mod context;
pub mod coroutine;
mod ffi;
pub mod fiber;
pub mod fs;
pub mod net;
mod perform;
mod reactor;
pub mod runtime;
mod sched;
pub mod stack;
pub mod sync;
mod sys;

pub use blocking::blocking;
pub use cancel::{CancelToken, Cancelled, Elapsed, deadline, is_cancelled, race, shield, timeout};
pub use context::Engine;
pub use fiber::{scope, spawn, spawn_local};
pub use reactor::ReactorKind;
pub use runtime::run;
