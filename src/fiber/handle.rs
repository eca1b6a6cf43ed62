//! Who a fiber is: its id and name, and the token that unparks it.

use std::fmt;
use std::num::NonZeroU64;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::baton::Baton;
use crate::sched::{Task, Worker};

/// A number that no other fiber of this process has or had. As [`std::thread::ThreadId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FiberId(NonZeroU64);

impl FiberId {
    fn next() -> FiberId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        FiberId(NonZeroU64::new(NEXT.fetch_add(1, Ordering::Relaxed)).expect("2^64 fibers are not reached"))
    }
}

/// What everybody may know of a fiber.
#[derive(Debug)]
pub(super) struct Identity {
    id: FiberId,
    name: Option<Box<str>>,
    spawned_at: Option<&'static Location<'static>>,
    /// Posted by `unpark`, consumed by `park`.
    parking: Baton,
}

impl Identity {
    pub(super) fn new(name: Option<String>, spawned_at: Option<&'static Location<'static>>) -> Identity {
        Identity {
            id: FiberId::next(),
            name: name.map(String::into_boxed_str),
            spawned_at,
            parking: Baton::new(),
        }
    }

    pub(super) fn parking(&self) -> &Baton {
        &self.parking
    }
}

/// What has an identity, and otherwise is none of a handle's business.
pub(super) trait Identified: Send + Sync {
    fn identity(&self) -> &Identity;
}

/// A handle to a fiber, or to a plain thread that called [`current`](super::current). As [`std::thread::Thread`].
#[derive(Clone)]
pub struct Fiber(Arc<dyn Identified>);

impl Fiber {
    pub(super) fn from_identified(inner: Arc<dyn Identified>) -> Fiber {
        Fiber(inner)
    }

    /// Makes the token available that [`park`](super::park) waits for. See [`std::thread::Thread::unpark`].
    pub fn unpark(&self) {
        self.0.identity().parking.post();
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> FiberId {
        self.0.identity().id
    }

    /// The name it was given by [`Builder::name`](super::Builder::name). Of a plain thread, the thread's.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.identity().name.as_deref()
    }

    /// Where in the program it was started. `None` of the first fiber of a runtime, and of a plain thread.
    ///
    /// ```
    /// kapok::run(|| {
    ///     let fiber = kapok::spawn(|| kapok::fiber::current().spawned_at().map(|place| place.file()));
    ///     assert_eq!(fiber.fiber().spawned_at().map(|place| place.file()), Some(file!()));
    ///     assert_eq!(fiber.join().unwrap(), Some(file!()));
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn spawned_at(&self) -> Option<&'static Location<'static>> {
        self.0.identity().spawned_at
    }
}

impl fmt::Debug for Fiber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fiber")
            .field("id", &self.id())
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

/// A plain thread, seen as a fiber.
struct PlainThread(Identity);

impl Identified for PlainThread {
    fn identity(&self) -> &Identity {
        &self.0
    }
}

/// The running fiber; on a plain thread, a stand-in for the thread.
pub(super) fn current() -> Fiber {
    let mut fiber: Option<Fiber> = None;
    if let Some(task) = Worker::with(|worker| worker.and_then(Worker::current_task)) {
        task.provide(&mut fiber);
    }
    fiber.unwrap_or_else(current_thread)
}

fn current_thread() -> Fiber {
    fn new() -> Fiber {
        let name = std::thread::current().name().map(str::to_owned);
        Fiber(Arc::new(PlainThread(Identity::new(name, None))))
    }
    thread_local! {
        static THREAD: Fiber = new();
    }
    // A thread that ends, in the destructors of others of its locals, is somebody new each time that it asks.
    THREAD.try_with(Fiber::clone).unwrap_or_else(|_| new())
}

/// The fibers of `worker` that have not ended, those too that have not begun.
#[cfg_attr(not(test), expect(dead_code, reason = "for shutting a runtime down"))]
pub(crate) fn live_fibers(worker: &Worker) -> Vec<Fiber> {
    let fiber_of = |task: Arc<dyn Task>| {
        let mut fiber: Option<Fiber> = None;
        task.provide(&mut fiber);
        fiber
    };
    worker.live_tasks().into_iter().filter_map(fiber_of).collect()
}

/// Runs `f` with the token of the running fiber or thread.
pub(super) fn with_parking<R>(f: impl FnOnce(&Baton) -> R) -> R {
    let this = current();
    f(this.0.identity().parking())
}
