#![doc = include_str!("../README.md")]

mod baton;
pub mod blocking;
pub mod cancel;
mod context;
pub mod coroutine;
pub mod fan_out;
mod ffi;
pub mod fiber;
pub mod fs;
pub mod future;
pub mod local;
pub mod net;
mod no_suspend;
mod perform;
mod pipe;
mod pool_arc;
pub mod process;
mod reactor;
pub mod runtime;
mod sched;
pub mod signal;
pub mod stack;
pub mod stdio;
pub mod sync;
mod sys;
pub mod time;
mod turn;
mod watcher;

/// Has the examples of that document compiled, or refused.
#[cfg(doctest)]
#[doc = include_str!("../docs/soundness.md")]
mod soundness {}

pub use blocking::blocking;
pub use cancel::{CancelToken, Cancelled, Elapsed, deadline, is_cancelled, race, shield, timeout};
pub use context::Engine;
pub use fiber::{run_in_main_context, scope, spawn, spawn_local};
pub use future::block_on;
pub use no_suspend::no_suspend;
pub use reactor::ReactorKind;
pub use runtime::run;
