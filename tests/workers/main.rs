//! Several workers: who runs what, how they reach each other, and how it all begins and ends.

#[path = "../support/mod.rs"]
mod support;

mod balance;
mod batons;
mod everywhere;
mod runtimes;
mod sockets;
mod stealing;
mod threads;

use std::io;

use kapok::fiber::{self, JoinHandle};
use kapok::runtime::{Builder, Handle};

/// Runs `f` in a runtime with so many workers.
#[track_caller]
fn run_on<T>(workers: usize, f: impl FnOnce() -> T) -> T {
    let _watchdog = support::watchdog();
    Builder::new().workers(workers).run(f).expect("a runtime can be had")
}

/// The worker that the caller runs on.
fn here() -> usize {
    Handle::current().worker().expect("a fiber has a worker")
}

/// Starts a fiber on one worker.
fn spawn_on<T: Send + 'static>(worker: usize, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let started: io::Result<_> = fiber::Builder::new().worker(worker).spawn(f);
    started.expect("there is such a worker")
}
