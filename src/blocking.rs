//! Work that would block the worker's thread, done on other threads.

#![allow(unsafe_code, reason = "lends a frame that waits to another thread")]

use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe, resume_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::baton::Baton;
use crate::sched::Worker;

/// At most so many threads at once. They wait for disks and name servers, not for processors.
const MAX_THREADS: usize = 64;

/// How long a thread waits for more work before it ends.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Runs `f` on a thread of a small pool, while the calling fiber waits and others run.
///
/// For what would block the whole worker: files, name look-ups, long computations, libraries that wait by themselves. The
/// pool grows with the demand, up to 64 threads for the process, and shrinks when it idles. `f` may borrow from the caller,
/// which stays where it is until `f` has ended, also when the fiber is [cancelled](crate::cancel) meanwhile. On a plain thread `f` simply runs.
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
/// Do not wait for `blocking` within `f`: 64 that do so at once wait for each other.
///
/// # Panics
/// With what `f` panicked with.
pub fn blocking<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let in_fiber = Worker::with_fiber(|here| here.inspect(|(worker, fiber)| worker.checkpoint(*fiber)).is_some());
    if !in_fiber {
        return f();
    }
    let done = Baton::new();
    let mut result: Option<thread::Result<T>> = None;
    let work: Box<dyn FnOnce() + Send + '_> = {
        let (done, result) = (&done, SendPtr(&raw mut result));
        Box::new(move || {
            let value = panic::catch_unwind(AssertUnwindSafe(f));
            let result = result; // the whole of it, and not its field, which is not `Send`
            // SAFETY: the frame of `blocking` waits for the post below, and looks at the result only afterwards.
            unsafe { *result.0 = Some(value) };
            done.post();
        })
    };
    // SAFETY: only the lifetime changes. This frame does not end before the work has: The wait returns only after the post,
    // which is the last thing that the work does with anything of this frame. `Baton::post` does not touch the baton once
    // the waiter may run.
    let work = unsafe { std::mem::transmute::<Box<dyn FnOnce() + Send + '_>, Job>(work) };
    // Where no thread can be had at all, it is done here: late is better than never.
    submit(work).into_iter().for_each(|job| job());
    // Also when the fiber is cancelled: what was done is told, and the next suspension point is the last.
    done.wait_to_the_end();
    match result.expect("the work was done") {
        Ok(value) => value,
        Err(panic) => resume_unwind(panic),
    }
}

type Job = Box<dyn FnOnce() + Send + 'static>;

struct SendPtr<T>(*mut T);
// SAFETY: it is written through once, by the thread that does the work, while its owner waits.
unsafe impl<T: Send> Send for SendPtr<T> {}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

struct Pool {
    state: Mutex<State>,
    work: Condvar,
}

static POOL: Pool = Pool {
    state: Mutex::new(State {
        jobs: VecDeque::new(),
        threads: 0,
        idle: 0,
    }),
    work: Condvar::new(),
};

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No job runs under the lock, so a panic leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Queues a job and sees to it that a thread comes; hands all jobs back, whose ever they are, where none can.
fn submit(job: Job) -> VecDeque<Job> {
    let mut state = POOL.lock();
    state.jobs.push_back(job);
    if state.idle >= state.jobs.len() {
        POOL.work.notify_one();
    } else if state.threads < MAX_THREADS {
        state.threads += 1;
        drop(state);
        let spawned = thread::Builder::new().name("kapok-blocking".to_owned()).spawn(serve);
        if let Err(error) = spawned {
            log::warn!("cannot start a thread for blocking work: {error}");
            let mut state = POOL.lock();
            state.threads -= 1;
            // Others may be about to find the same, and count until then; the last one sees to everything.
            if state.threads == 0 {
                return std::mem::take(&mut state.jobs);
            }
        }
    }
    VecDeque::new()
}

/// The life of a thread of the pool.
fn serve() {
    let mut state = POOL.lock();
    loop {
        if let Some(job) = state.jobs.pop_front() {
            drop(state);
            job();
            state = POOL.lock();
            continue;
        }
        state.idle += 1;
        let (after, timeout) = POOL
            .work
            .wait_timeout(state, KEEP_ALIVE)
            .unwrap_or_else(PoisonError::into_inner);
        state = after;
        state.idle -= 1;
        if timeout.timed_out() && state.jobs.is_empty() {
            state.threads -= 1;
            return;
        }
    }
}
