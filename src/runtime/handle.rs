//! A way into a runtime.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::context::Engine;
use crate::fiber::{self, JoinHandle};
use crate::reactor::ReactorKind;
use crate::sched::{Crew, Worker};

/// A way into a runtime, from anywhere: spawns fibers in it, and tells about it. It does not keep it running.
#[derive(Clone)]
pub struct Handle {
    crew: Arc<Crew>,
}

impl Handle {
    pub(super) fn of(crew: Arc<Crew>) -> Handle {
        Handle { crew }
    }

    pub(super) fn crew(&self) -> &Arc<Crew> {
        &self.crew
    }

    /// The runtime of the caller; the innermost, where one was begun within another.
    ///
    /// # Panics
    /// Outside of a runtime; [`try_current`](Handle::try_current) does not.
    #[must_use]
    #[track_caller]
    pub fn current() -> Handle {
        Handle::try_current().expect("Handle::current: there is no runtime here; call this within kapok::run")
    }

    /// The runtime of the caller, if there is one.
    #[must_use]
    pub fn try_current() -> Option<Handle> {
        Worker::with(|worker| worker.map(|worker| Handle::of(Arc::clone(worker.crew()))))
    }

    /// Starts a fiber in this runtime, from wherever the caller is. Joining it blocks a plain thread, and suspends a fiber.
    ///
    /// ```
    /// kapok::run(|| {
    ///     let handle = kapok::runtime::Handle::current();
    ///     std::thread::spawn(move || {
    ///         let fiber = handle.spawn(|| kapok::fiber::is_fiber())?;
    ///         assert!(fiber.join().unwrap());
    ///         Ok::<(), std::io::Error>(())
    ///     });
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// `BrokenPipe` where the runtime takes no more: [`run`](super::run) when its last fiber has ended, a
    /// [`Runtime`](super::Runtime) when it is being dropped. Its own fibers may go on to spawn.
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.spawn_with(fiber::Builder::new(), f)
    }

    /// As [`spawn`](Handle::spawn), with a name, a stack size or a worker.
    ///
    /// # Errors
    /// As [`spawn`](Handle::spawn), and `InvalidInput` as for [`fiber::Builder::spawn`].
    ///
    /// # Panics
    /// If the name has a NUL byte in it.
    #[track_caller]
    pub fn spawn_with<F, T>(&self, builder: fiber::Builder, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        builder.spawn_in(&self.crew, f)
    }

    /// As [`spawn`](Handle::spawn), and takes the stack right away.
    ///
    /// # Errors
    /// As [`spawn`](Handle::spawn), and as [`fiber::Builder::try_spawn`].
    #[track_caller]
    pub fn try_spawn<F, T>(&self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.spawn_with(fiber::Builder::new().taking_stack(), f)
    }

    /// The switch engine in use.
    #[must_use]
    pub fn switch(&self) -> Engine {
        self.crew.config().engine
    }

    /// The reactor in use.
    #[must_use]
    pub fn reactor(&self) -> ReactorKind {
        self.crew.config().reactor
    }

    /// How many workers it has: threads that run fibers.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.crew.len()
    }

    /// The number of the worker that the caller runs on, if that is one of this runtime: from 0 to less than
    /// [`workers`](Handle::workers). A fiber that has started keeps it.
    #[must_use]
    pub fn worker(&self) -> Option<usize> {
        Worker::with(|worker| {
            worker
                .filter(|worker| Arc::ptr_eq(worker.crew(), &self.crew))
                .map(Worker::index)
        })
    }

    /// How many fibers have not ended, those that have not started included. While they come and go, about as many.
    #[must_use]
    pub fn live_fibers(&self) -> usize {
        self.crew.live()
    }

    /// What each worker has done so far. The figures are not of one moment.
    #[must_use]
    pub fn stats(&self) -> Vec<WorkerStats> {
        let figures = (0..self.workers()).map(|index| self.crew.figures(index));
        figures
            .map(|(live, placed, stolen)| WorkerStats {
                live_fibers: live,
                fibers: placed,
                stolen,
            })
            .collect()
    }
}

/// What one worker has done so far; see [`Handle::stats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerStats {
    /// Fibers that it has, to stay, and that have not ended.
    pub live_fibers: usize,
    /// Fibers that it has had in all.
    pub fibers: usize,
    /// Closures that it took from others because it had nothing to do.
    pub stolen: usize,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("switch", &self.switch())
            .field("reactor", &self.reactor())
            .field("workers", &self.workers())
            .finish_non_exhaustive()
    }
}
