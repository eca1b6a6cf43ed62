//! The example server from outside: its binary runs as a child process and is spoken to over 127.0.0.1.
//!
//! A plain `cargo test` builds the example before it runs this. With `--test httpd` or `--all-targets` it does not: run
//! `cargo build --examples` before, or an older server is tested. `KAPOK_SWITCH` and `KAPOK_REACTOR` reach the server, so the suite runs once for each
//! engine. Nothing here waits for a guessed time: a test waits for an answer, a line of output, or the end of a process,
//! and a watchdog ends one that waits for too long.

#![expect(clippy::print_stdout, reason = "what a test measured is shown when it fails")]

mod bodies;
mod clients;
mod files;
mod hostile;
mod limits;
mod protocol;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
mod refused;
mod setup;
mod shutdown;
mod support;
mod validators;
