//! Fibers: threads of execution that cost a page of memory and a few nanoseconds a switch.
//!
//! The names and signatures are those of [`std::thread`]: a program that says `use kapok::fiber as thread;` compiles
//! unchanged. A call that blocks a thread there suspends the fiber here, and lets the others on its thread run. Called on
//! a plain thread, outside of a runtime, the same calls block that thread.
//!
//! ```
//! use kapok::fiber as thread;
//!
//! kapok::run(|| {
//!     let handles: Vec<_> = (0..3).map(|i| thread::spawn(move || i * i)).collect();
//!     let squares: Vec<_> = handles.into_iter().map(|handle| handle.join().unwrap()).collect();
//!     assert_eq!(squares, [0, 1, 4]);
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod builder;
mod handle;
mod join;
mod join_future;
mod main_context;
mod packet;
mod root;
mod scope;

pub use std::thread::{available_parallelism, panicking};

pub use builder::Builder;
pub use handle::{Fiber, FiberId};
pub use join::JoinHandle;
pub use join_future::JoinFuture;
pub use main_context::run_in_main_context;
pub(crate) use root::run_root;
pub use scope::{Scope, ScopedJoinHandle, scope};

use std::time::{Duration, Instant};

use crate::sched::Worker;

/// What [`JoinHandle::join`] gives: the value, or what the fiber panicked with. As [`std::thread::Result`].
pub type Result<T> = std::thread::Result<T>;

/// [`Fiber`] by the name that [`std::thread`] gives it.
pub type Thread = Fiber;

/// [`FiberId`] by the name that [`std::thread`] gives it.
pub type ThreadId = FiberId;

/// Starts a fiber. As [`std::thread::spawn`].
///
/// It begins to run when a worker has time for it: another one at once, or the caller's own when the caller waits for something.
/// The runtime ends when all fibers have ended, joined or not.
///
/// What belongs to one thread cannot come along; [`spawn_local`] takes it.
///
/// ```compile_fail,E0277
/// let not_send = std::rc::Rc::new(5);
/// kapok::run(|| kapok::spawn(move || *not_send).join().unwrap());
/// ```
///
/// Where no stack can be had when it is to begin, it ends with an error, see [`Builder::spawn`]; [`try_spawn`] tells at once.
///
/// # Panics
/// Outside of a runtime.
#[track_caller]
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Builder::new()
        .spawn(f)
        .unwrap_or_else(|error| panic!("kapok::spawn: {error}"))
}

/// Starts a fiber as [`spawn`], and takes its stack right away: where none can be had, that is an error here, and not the
/// fiber's end.
///
/// ```
/// kapok::run(|| match kapok::fiber::try_spawn(|| 6 * 7) {
///     Ok(fiber) => assert_eq!(fiber.join().unwrap(), 42),
///     Err(error) => println!("the rest has to wait: {error}"),
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// As for [`Builder::try_spawn`]: `Unsupported` outside of a runtime; else the limit that was met, and how to raise it.
#[track_caller]
pub fn try_spawn<F, T>(f: F) -> std::io::Result<JoinHandle<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Builder::new().try_spawn(f)
}

/// Starts a fiber on the caller's own thread, with work that need not be `Send`. It begins when the caller waits for something.
///
/// ```
/// use std::{cell::Cell, rc::Rc};
///
/// kapok::run(|| {
///     let counter = Rc::new(Cell::new(0));
///     let theirs = Rc::clone(&counter);
///     kapok::spawn_local(move || theirs.set(7)).join().unwrap();
///     assert_eq!(counter.get(), 7);
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Panics
/// Outside of a runtime.
#[track_caller]
pub fn spawn_local<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    Builder::new()
        .spawn_local(f)
        .unwrap_or_else(|error| panic!("kapok::spawn_local: {error}"))
}

/// The running fiber. As [`std::thread::current`]; on a plain thread, a handle that unparks that thread.
#[must_use]
pub fn current() -> Fiber {
    handle::current()
}

/// Whether the caller runs in a fiber.
#[must_use]
pub fn is_fiber() -> bool {
    Worker::with(|worker| worker.and_then(Worker::current_task).is_some())
}

/// Lets the other fibers of this thread run. As [`std::thread::yield_now`].
#[inline]
pub fn yield_now() {
    if !Worker::yield_if_in_fiber() {
        std::thread::yield_now();
    }
}

/// Suspends the fiber for at least `duration`. As [`std::thread::sleep`].
pub fn sleep(duration: Duration) {
    if duration.is_zero() {
        return;
    }
    Worker::with_fiber(|here| match here {
        // Further away than the clock can tell is for ever.
        Some((worker, fiber)) => worker.sleep(fiber, Instant::now().checked_add(duration)),
        None => sleep_in_thread(duration),
    });
}

/// Suspends the fiber for at least so many milliseconds. As [`std::thread::sleep_ms`].
#[deprecated(note = "replaced by sleep")]
pub fn sleep_ms(ms: u32) {
    sleep(Duration::from_millis(ms.into()));
}

/// Suspends the fiber until `deadline` has passed. As [`std::thread::sleep_until`].
pub fn sleep_until(deadline: Instant) {
    Worker::with_fiber(|here| match here {
        Some((worker, fiber)) => worker.sleep(fiber, Some(deadline)),
        None => sleep_in_thread(deadline.saturating_duration_since(Instant::now())),
    });
}

/// Where the fiber is unwound because it is cancelled, its thread is not kept waiting.
fn sleep_in_thread(duration: Duration) {
    let cancelled = Worker::with_running(|here| here.is_some_and(|(worker, fiber)| worker.is_pending(fiber)));
    if !cancelled {
        std::thread::sleep(duration);
    }
}

/// Waits until the fiber's token is available, and takes it. As [`std::thread::park`].
///
/// Unlike a thread's, it does not come back without a reason.
pub fn park() {
    handle::with_parking(|token| {
        token.wait();
        token.reset();
    });
}

/// As [`park_timeout`]. As [`std::thread::park_timeout_ms`].
#[deprecated(note = "replaced by park_timeout")]
pub fn park_timeout_ms(ms: u32) {
    park_timeout(Duration::from_millis(ms.into()));
}

/// As [`park`], at most for `timeout`. As [`std::thread::park_timeout`].
pub fn park_timeout(timeout: Duration) {
    handle::with_parking(|token| {
        if token.wait_timeout(timeout) {
            token.reset();
        }
    });
}
