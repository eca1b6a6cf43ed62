//! Who a fiber is: its id and name, and the token that unparks it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU64;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::baton::Baton;
use crate::sched::{TaskRef, Who, Worker};
use crate::stack::Description;

/// A number that no other fiber of this process has or had. As [`std::thread::ThreadId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FiberId(NonZeroU64);

impl FiberId {
    /// Each thread takes a number of numbers at once, so that those that spawn a lot do not all write to the same word.
    #[inline]
    fn next() -> FiberId {
        const AT_ONCE: u64 = 256;
        static NEXT: AtomicU64 = AtomicU64::new(1);
        thread_local! {
            static OWN: Cell<u64> = const { Cell::new(1) };
        }
        let mut number = OWN.get();
        if number % AT_ONCE == 1 {
            number = NEXT.fetch_add(AT_ONCE, Ordering::Relaxed);
        }
        OWN.set(number + 1);
        FiberId(NonZeroU64::new(number).expect("2^64 fibers are not reached"))
    }

    /// The id of a fiber that the scheduler knows by this number; `None` for 0, which is nobody's.
    pub(crate) fn from_number(number: u64) -> Option<FiberId> {
        NonZeroU64::new(number).map(FiberId)
    }

    #[cold]
    fn be_called(self, name: String) -> Arc<str> {
        let name = Arc::<str>::from(name);
        names().insert(self.0, Arc::clone(&name));
        name
    }

    /// The name of the fiber, as long as anybody has something of it.
    pub(crate) fn name(self) -> Option<Arc<str>> {
        names().get(&self.0).cloned()
    }
}

/// The names of those that have one, for who knows no more than the number.
static NAMES: Mutex<BTreeMap<NonZeroU64, Arc<str>>> = Mutex::new(BTreeMap::new());

fn names() -> MutexGuard<'static, BTreeMap<NonZeroU64, Arc<str>>> {
    // Nothing panics under the lock.
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Also among the [`NAMES`].
#[derive(Debug)]
struct Name(Arc<str>);

/// What everybody may know of a fiber.
#[derive(Debug)]
pub(super) struct Identity {
    id: FiberId,
    /// By a thin pointer: a word less for each of the many that have none.
    name: Option<Box<Name>>,
    spawned_at: Option<&'static Location<'static>>,
    /// Posted by `unpark`, consumed by `park`.
    parking: Baton,
}

impl Identity {
    #[inline(always)]
    pub(super) fn new(name: Option<String>, spawned_at: Option<&'static Location<'static>>) -> Identity {
        let id = FiberId::next();
        Identity {
            id,
            name: name.map(|name| Box::new(Name(id.be_called(name)))),
            spawned_at,
            parking: Baton::new(),
        }
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref().map(|Name(name)| &**name)
    }

    pub(super) fn parking(&self) -> &Baton {
        &self.parking
    }

    pub(super) fn describe(&self) -> Description<'_> {
        let Who { id, spawned_at } = self.who();
        let name = self.name();
        Description { name, id, spawned_at }
    }

    pub(super) fn who(&self) -> Who {
        Who {
            id: self.id.0.get(),
            spawned_at: self.spawned_at,
        }
    }
}

impl Drop for Identity {
    #[inline]
    fn drop(&mut self) {
        if self.name.is_some() {
            let name = names().remove(&self.id.0);
            drop(name);
        }
    }
}

/// A handle to a fiber, or to a plain thread that called [`current`](super::current). As [`std::thread::Thread`].
#[derive(Clone)]
pub struct Fiber(Inner);

#[derive(Clone)]
enum Inner {
    Fiber(TaskRef),
    Thread(Arc<Identity>),
}

impl Fiber {
    pub(super) fn from_task(task: TaskRef) -> Fiber {
        Fiber(Inner::Fiber(task))
    }

    fn identity(&self) -> &Identity {
        match &self.0 {
            Inner::Fiber(task) => task.identity().downcast_ref().expect("every fiber's task has one"),
            Inner::Thread(identity) => identity,
        }
    }

    /// Makes the token available that [`park`](super::park) waits for. See [`std::thread::Thread::unpark`].
    pub fn unpark(&self) {
        self.identity().parking.post();
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> FiberId {
        self.identity().id
    }

    /// The name it was given by [`Builder::name`](super::Builder::name). Of a plain thread, the thread's.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.identity().name()
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
        self.identity().spawned_at
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

/// The running fiber; on a plain thread, a stand-in for the thread.
pub(super) fn current() -> Fiber {
    Worker::with(|worker| worker.and_then(Worker::current_task)).map_or_else(current_thread, Fiber::from_task)
}

fn current_thread() -> Fiber {
    fn new() -> Fiber {
        let name = std::thread::current().name().map(str::to_owned);
        Fiber(Inner::Thread(Arc::new(Identity::new(name, None))))
    }
    thread_local! {
        static THREAD: Fiber = new();
    }
    // A thread that ends, in the destructors of others of its locals, is somebody new each time that it asks.
    THREAD.try_with(Fiber::clone).unwrap_or_else(|_| new())
}

/// Runs `f` with the token of the running fiber or thread.
pub(super) fn with_parking<R>(f: impl FnOnce(&Baton) -> R) -> R {
    let this = current();
    f(this.identity().parking())
}
