//! A runtime whose workers are all threads of their own.

use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::builder::{Builder, Settings};
use super::handle::Handle;
use super::threads::{self, Background};
use crate::baton::Baton;
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
/// could wait for ever, it does not wait, and its threads end by themselves after the last fiber.
#[must_use = "a runtime ends when it is dropped"]
pub struct Runtime {
    handle: Handle,
    threads: Vec<JoinHandle<()>>,
    ended: Arc<Baton>,
}

impl Runtime {
    /// As the environment sets it up, see [`run`](super::run).
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn new() -> io::Result<Runtime> {
        Builder::new().build()
    }

    pub(super) fn start(settings: &Arc<Settings>) -> io::Result<Runtime> {
        let Background { crew, threads, ended } = threads::start(settings)?;
        Ok(Runtime {
            handle: Handle::of(crew),
            threads,
            ended,
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
}

impl Drop for Runtime {
    fn drop(&mut self) {
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
