#![doc = include_str!("../README.md")]

mod context;
pub mod coroutine;
mod ffi;
pub mod stack;
mod sys;

pub use context::Engine;
