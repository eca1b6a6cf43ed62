//! The jump of engine `asm` as instructions in the caller, for the scheduler.
//!
//! It leaves the record that the machine's file in `csrc/asm` describes, and so fits together with the functions there.
//! What is gained is less the call than its return: the processor predicts returns by the calls that it has seen, and
//! sees none here. And of the callee-saved registers only those are stored that Rust cannot declare as overwritten.
//!
//! An on-top function may not unwind out of it, which inline assembly does not allow: coroutines use the function.

#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
#[cfg_attr(target_arch = "riscv64", path = "riscv64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
mod machine;

#[cfg(test)]
mod tests;

pub(super) use machine::{is_usable, jump};
