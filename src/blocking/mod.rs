//! Work that would block the worker's thread, done on other threads.
//!
//! [`blocking()`] has it done by a pool that all runtimes of the process share. A thread is started when work comes and none
//! is idle, up to [`max_threads`]; one that has been idle for a while ends. What exceeds the bound waits in line, first come,
//! first served; [`stats`] tells how long the line is.
//!
//! # Where it hangs
//! The bound is where work may wait for other work in vain: when all threads of the pool are taken by work that waits for
//! something which only work still in line would bring about (for a fiber that is itself in `blocking`, for instance, by a
//! `Baton`, a channel or a lock). Whatever waits for other work is better done by fibers, which have no
//! bound. To call `blocking` within `blocking` is harmless: the inner work is done right there, since a thread of the pool is in
//! no fiber.

#![allow(unsafe_code, reason = "lends a frame that waits to another thread")]

mod pool;

use std::panic::{self, AssertUnwindSafe, resume_unwind};
use std::thread;

use crate::baton::Baton;
use crate::local::Context;
use crate::no_suspend;
use crate::sched::Worker;

pub(crate) use pool::read_env;
pub use pool::{DEFAULT_MAX_THREADS, Stats, max_threads, set_keep_alive, set_max_threads, stats};

/// Runs `f` on a thread of a small pool, while the calling fiber waits and others run.
///
/// For what would block the whole worker: files, name look-ups, long computations, libraries that wait by themselves. The
/// pool grows with the demand, up to [`max_threads`], and shrinks when it idles. `f` may borrow from the caller, which stays
/// where it is until `f` has ended, also when the fiber is [cancelled](crate::cancel) meanwhile. On a plain thread `f` simply
/// runs.
///
/// ```
/// kapok::run(|| {
///     let path = String::from("Cargo.toml");
///     let text = kapok::blocking(|| std::fs::read_to_string(&path))?;
///     assert!(text.contains("kapok"));
///     Ok::<(), std::io::Error>(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// `f` has the [`Inherited`](crate::local::Inherited) values of the fiber, but not its
/// [`fiber_local!`](crate::fiber_local) ones. It should not wait for other work of this kind: see
/// [the module](mod@crate::blocking#where-it-hangs).
///
/// # Panics
/// With what `f` panicked with. Within [`no_suspend`](crate::no_suspend()), before `f` is called.
pub fn blocking<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let in_fiber = Worker::with_fiber(|here| {
        here.is_some_and(|(worker, fiber)| {
            // The wait below must not be refused or ended early: what the work borrows is lent by then.
            no_suspend::check();
            worker.checkpoint(fiber);
            true
        })
    });
    if !in_fiber {
        return f();
    }
    let (done, inherited) = (Baton::new(), Context::current());
    let mut result: Option<thread::Result<T>> = None;
    let work: Box<dyn FnOnce() + Send + '_> = {
        let (done, result) = (&done, SendPtr(&raw mut result));
        Box::new(move || {
            let value = panic::catch_unwind(AssertUnwindSafe(|| inherited.within(f)));
            // What the work has left to drop is dropped before its fiber goes on.
            drop(inherited);
            let result = result; // the whole of it, and not its field, which is not `Send`
            // SAFETY: the frame of `blocking` waits for the post below, and looks at the result only afterwards.
            unsafe { *result.0 = Some(value) };
            pool::count_as_completed();
            done.post();
        })
    };
    // SAFETY: only the lifetime changes. This frame does not end before the work has: the wait returns only after the post,
    // which is the last thing that the work does with anything of this frame. `Baton::post` does not touch the baton once
    // the waiter may run.
    let work = unsafe { std::mem::transmute::<Box<dyn FnOnce() + Send + '_>, pool::Job>(work) };
    // Where no thread can be had at all, it is done here: late is better than never.
    pool::submit(work).into_iter().for_each(|job| job());
    // Also when the fiber is cancelled: what was done is told, and the next suspension point is the last.
    done.wait_to_the_end();
    match result.expect("the work was done") {
        Ok(value) => value,
        Err(panic) => resume_unwind(panic),
    }
}

/// Has `work`, which does not panic, done by the pool, and does not wait for it.
pub(crate) fn in_background(work: Box<dyn FnOnce() + Send>) {
    // Where no thread can be had at all, it is done here.
    pool::submit(work).into_iter().for_each(|job| job());
}

struct SendPtr<T>(*mut T);
// SAFETY: it is written through once, by the thread that does the work, while its owner waits.
unsafe impl<T: Send> Send for SendPtr<T> {}
