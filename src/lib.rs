#![doc = include_str!("../README.md")]

mod context;
pub mod coroutine;
mod ffi;
mod reactor;
pub mod stack;
mod sys;

pub use context::Engine;
pub use reactor::ReactorKind;
