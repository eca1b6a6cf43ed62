//! The first fiber of a runtime, which may borrow from its caller.

#![allow(unsafe_code, reason = "forgets a lifetime that the caller's frame outlives")]

use std::io;
use std::panic::{self, AssertUnwindSafe};

use super::handle::Identity;
use super::packet::{self, Outcome, Packet};
use crate::sched::Worker;
use crate::stack::Room;

/// Runs `f` in a fiber of `worker`, and with the others of its crew all that comes of it; gives what `f` returned or
/// panicked with.
///
/// # Errors
/// Where `f` could not be started.
pub(crate) fn run_root<F, T>(worker: &Worker, f: F) -> io::Result<super::Result<T>>
where
    F: FnOnce() -> T,
{
    let mut result = None;
    let work: Box<dyn FnOnce() + '_> = Box::new(|| result = Some(panic::catch_unwind(AssertUnwindSafe(f))));
    // SAFETY: only the lifetime changes. `Worker::run` does not return, nor unwind, before every fiber has ended, so the
    // work is over and gone before what it borrows.
    let work = unsafe { std::mem::transmute::<Box<dyn FnOnce() + '_>, Box<dyn FnOnce() + 'static>>(work) };
    let (task, packet) = packet::new_pair(|| Packet::new(Identity::new(Some("main".to_owned()), None), work));
    worker.spawn_here(task, Room::OfSize(worker.default_stack_size()));
    worker.crew().end_when_idle(false);
    worker.run();
    // SAFETY: it has ended, and nobody else has a handle.
    let ended = unsafe { packet.take() };
    match (result, ended) {
        (Some(result), _) => Ok(result),
        (None, Some(Err(reason))) => {
            let reason = reason
                .downcast::<String>()
                .map_or_else(|_| "no reason is known".to_owned(), |text| *text);
            Err(io::Error::other(format!("the root fiber cannot start: {reason}")))
        }
        (None, _) => unreachable!("a root that has run has a result"),
    }
}
