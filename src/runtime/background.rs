//! A runtime whose workers are all threads of their own.

use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::builder::{Builder, Settings};
use super::handle::Handle;
use super::shutdown::ShutdownError;
use super::threads::{self, Background};
use crate::baton::Baton;
use crate::fiber;
use crate::sched::Worker;

/// A runtime that runs in the background, for programs that have threads of their own beside it, or several runtimes.
///
/// Fibers come into it by its [`Handle`], from plain threads and from fibers of other runtimes.
///
/// ```
/// let runtime = kapok::runtime::Builder::new().workers(2).build()?;
/// let fiber = runtime.handle().spawn(|| 6 * 7)?;
/// assert_eq!(fiber.join().unwrap(), 42); // blocks this thread
/// assert_eq!(runtime.run(|| kapok::spawn(|| 1).join().unwrap()), 1);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// **Dropping it waits** until all its fibers have ended: from then on its handles refuse new ones, while the fibers that are
/// there may spawn more. A fiber of another runtime that drops it is suspended meanwhile. Dropped by one of its own fibers, which
/// could wait for ever, it does not wait, and its threads end by themselves after the last fiber. (From a runtime that one of its
/// fibers has begun with [`run`](super::run) this is not seen, and it waits for ever.) To have an end by a certain time, there is
/// [`shutdown`](Runtime::shutdown).
#[must_use = "a runtime ends when it is dropped"]
pub struct Runtime {
    handle: Handle,
    threads: Vec<JoinHandle<()>>,
    ended: Arc<Baton>,
    /// Nobody waits for its threads any more.
    detached: bool,
}

impl Runtime {
    /// As the environment sets it up, see [`run`](super::run).
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn new() -> io::Result<Runtime> {
        Builder::new().build()
    }

    /// What sets one up: workers, reactor, stacks, hooks. The same as [`Builder::new`].
    ///
    /// ```
    /// let runtime = kapok::runtime::Runtime::builder().workers(1).build()?;
    /// assert_eq!(runtime.handle().workers(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(super) fn start(settings: &Arc<Settings>) -> io::Result<Runtime> {
        let Background { crew, threads, ended } = threads::start(settings)?;
        Ok(Runtime {
            handle: Handle::of(crew),
            threads,
            ended,
            detached: false,
        })
    }

    /// What spawns fibers in it.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs `f` in a fiber of it, and waits for its result: a plain thread blocks, a fiber is suspended. It does not wait for
    /// fibers that `f` has spawned.
    ///
    /// # Panics
    /// With what `f` panicked with.
    #[track_caller]
    pub fn run<F, T>(&self, f: F) -> T
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let fiber = self
            .handle
            .spawn(f)
            .expect("a runtime takes fibers until it is dropped");
        fiber.join().unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Ends it: cancels all its fibers, as [`JoinHandle::cancel`](crate::fiber::JoinHandle::cancel) does, and waits until they
    /// have ended, at most until `deadline`.
    ///
    /// Those that have not begun never do. The others are unwound at their next suspension point, see
    /// [`cancel`](crate::cancel). Those that refuse, because they are in a [`shield`](crate::shield), in
    /// [`blocking`](crate::blocking()), or compute, are told of by the error. They are not stopped, since nothing of them may be
    /// freed while they might go on: they keep their stacks and threads, and end when they do.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let runtime = kapok::runtime::Builder::new().workers(2).build()?;
    /// let sleeps = runtime.handle().spawn(|| kapok::fiber::sleep(Duration::from_secs(3600)))?;
    /// runtime.shutdown(Instant::now() + Duration::from_secs(10))?;
    /// assert!(sleeps.join().unwrap_err().is::<kapok::Cancelled>());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A fiber of another runtime is suspended meanwhile, and nothing cancels that.
    ///
    /// # Errors
    /// If fibers have not ended. At once if one of its own calls this: it is cancelled with the others.
    pub fn shutdown(mut self, deadline: Instant) -> Result<(), ShutdownError> {
        let crew = Arc::clone(self.handle.crew());
        crew.end_when_idle(true);
        let roll = crew.stop();
        let own = Worker::with(|worker| {
            let worker = worker.filter(|worker| Arc::ptr_eq(worker.crew(), &crew))?;
            Some(ShutdownError::of_caller(&crew, worker.index(), &fiber::current()))
        });
        let outcome = match own {
            Some(error) => Err(error),
            None if self.ended.wait_to_the_end_until(deadline) => return Ok(()), // the rest is for `drop`
            None => Err(ShutdownError::of(&crew, &roll)),
        };
        self.detached = true;
        outcome
    }

    /// As [`shutdown`](Runtime::shutdown), with a deadline from now.
    ///
    /// # Errors
    /// As [`shutdown`](Runtime::shutdown).
    pub fn shutdown_timeout(self, timeout: Duration) -> Result<(), ShutdownError> {
        const LONG: Duration = Duration::from_secs(100 * 365 * 24 * 3600); // where the clock cannot tell
        let now = Instant::now();
        self.shutdown(now.checked_add(timeout).unwrap_or(now + LONG))
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if self.detached {
            return;
        }
        let crew = self.handle.crew();
        crew.end_when_idle(true);
        if Worker::with(|worker| worker.is_some_and(|worker| Arc::ptr_eq(worker.crew(), crew))) {
            return;
        }
        self.ended.wait();
        if threads::join(std::mem::take(&mut self.threads)).is_err() {
            log::error!("on_thread_stop has panicked");
        }
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}
