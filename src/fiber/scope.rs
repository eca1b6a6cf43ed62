//! Fibers that borrow from the frame that starts them.
//!
//! Sound for the same reason as [`std::thread::scope`]: the frame that is borrowed from stays in `scope` until every fiber
//! of it has let go of what it borrowed. That is counted by [`Running`], which each fiber's work drops last.

#![allow(unsafe_code, reason = "forgets a lifetime that `scope` outlives")]

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::panic::{self, AssertUnwindSafe, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::builder::Builder;
use super::handle::Fiber;
use super::join::JoinHandle;
use crate::baton::Baton;
use crate::no_suspend;
use crate::sched::Worker;

/// A place to start fibers in that borrow; see [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    shared: Arc<Shared>,
    /// Invariant in both, as in std: or a fiber could be made to borrow for shorter than it runs.
    _scope: PhantomData<&'scope mut &'scope ()>,
    _env: PhantomData<&'env mut &'env ()>,
}

/// What the scope and its fibers have in common.
#[derive(Debug, Default)]
struct Shared {
    running: AtomicUsize,
    /// A fiber panicked, and nobody took note of it by `join`.
    panicked: AtomicBool,
    /// Posted when the last one that runs has let go.
    all_gone: Baton,
}

/// Counts one fiber, from its start until it has dropped everything that it borrowed.
struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.all_gone.post();
        }
    }
}

/// Where a scoped fiber leaves its result.
struct Slot<T> {
    result: Mutex<Option<super::Result<T>>>,
    shared: Arc<Shared>,
}

impl<T> Slot<T> {
    fn take(&self) -> Option<super::Result<T>> {
        self.result.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, result: super::Result<T>) {
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    }
}

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        let result = self.take();
        let unseen = matches!(result, Some(Err(_)));
        // It may borrow, too, so it has to go here, and whatever its destructor does must not hold up the count.
        let dropped = panic::catch_unwind(AssertUnwindSafe(|| drop(result)));
        if unseen || dropped.is_err() {
            self.shared.panicked.store(true, Ordering::Relaxed);
        }
    }
}

/// The fiber's end of its slot. Dropped without a result, it says that the fiber never ran, which is no success.
struct Ending<T> {
    slot: Arc<Slot<T>>,
    given: bool,
}

impl<T> Drop for Ending<T> {
    fn drop(&mut self) {
        if !self.given {
            self.slot.put(Err(Box::new("the fiber could not start")));
        }
    }
}

/// What a scoped fiber does. The order of the fields is the order in which they are dropped where it never runs.
struct Work<F, T> {
    f: F,
    ending: Ending<T>,
    _running: Running,
}

impl<F: FnOnce() -> T, T> Work<F, T> {
    fn run(self) {
        let Work {
            f,
            mut ending,
            _running,
        } = self;
        ending.given = true;
        ending.slot.put(panic::catch_unwind(AssertUnwindSafe(f)));
        drop(ending);
        // `_running` goes last.
    }
}

/// Runs `f`, which may start fibers that borrow from the caller's frame; returns when they have all ended. As
/// [`std::thread::scope`].
///
/// ```
/// use kapok::fiber;
///
/// kapok::run(|| {
///     let mut numbers = vec![1, 2, 3];
///     let sum = fiber::scope(|s| {
///         let front = s.spawn(|| numbers[0]);
///         let rest = s.spawn(|| numbers[1..].iter().sum::<i32>());
///         front.join().unwrap() + rest.join().unwrap()
///     });
///     numbers.push(sum);
///     assert_eq!(numbers, [1, 2, 3, 6]);
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Panics
/// With what `f` panicked with; or if a fiber panicked that was not joined, or could not get a stack. Within
/// [`no_suspend`](crate::no_suspend()) at once, since it may have to wait.
#[track_caller]
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    if Worker::with_fiber(|here| here.is_some()) {
        // The wait below must not be refused.
        no_suspend::check();
    }
    let scope = Scope {
        shared: Arc::default(),
        _scope: PhantomData,
        _env: PhantomData,
    };
    let result = panic::catch_unwind(AssertUnwindSafe(|| f(&scope)));
    while scope.shared.running.load(Ordering::Acquire) > 0 {
        scope.shared.all_gone.wait();
        scope.shared.all_gone.reset();
    }
    match result {
        Err(panic) => resume_unwind(panic),
        Ok(_) if scope.shared.panicked.load(Ordering::Relaxed) => panic!("a scoped fiber panicked"),
        Ok(value) => value,
    }
}

impl<'scope, 'env> Scope<'scope, 'env> {
    /// Starts a fiber that may borrow what outlives the scope. As [`std::thread::Scope::spawn`].
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        Builder::new()
            .spawn_scoped(self, f)
            .unwrap_or_else(|error| panic!("Scope::spawn: {error}"))
    }

    /// Starts a fiber on the caller's own thread, with work that need not be `Send`.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn spawn_local<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + 'scope,
        T: 'scope,
    {
        let spawn = |work: Work<F, T>| {
            let work: Box<dyn FnOnce() + 'scope> = Box::new(move || work.run());
            // SAFETY: only the lifetime changes. `scope` does not return before `Running` was dropped, which is the last
            // thing of the work to go, whether it ran or not. So nothing of it is left when `'scope` ends.
            let work = unsafe { std::mem::transmute::<Box<dyn FnOnce() + 'scope>, Box<dyn FnOnce() + 'static>>(work) };
            Builder::new().spawn_local(work)
        };
        self.start(f, spawn)
            .unwrap_or_else(|error| panic!("Scope::spawn_local: {error}"))
    }

    fn start<F, T>(
        &'scope self,
        f: F,
        spawn: impl FnOnce(Work<F, T>) -> io::Result<JoinHandle<()>>,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + 'scope,
        T: 'scope,
    {
        let slot = Arc::new(Slot {
            result: Mutex::new(None),
            shared: Arc::clone(&self.shared),
        });
        self.shared.running.fetch_add(1, Ordering::Relaxed);
        let work = Work {
            f,
            ending: Ending {
                slot: Arc::clone(&slot),
                given: false,
            },
            _running: Running(Arc::clone(&self.shared)),
        };
        // Where it is refused, the caller is told so right here.
        let fiber = spawn(work).inspect_err(|_| drop(slot.take()))?;
        Ok(ScopedJoinHandle {
            fiber,
            slot,
            _scope: PhantomData,
        })
    }
}

impl Builder {
    /// Starts a fiber that may borrow what outlives the scope. As [`std::thread::Builder::spawn_scoped`].
    ///
    /// # Errors
    /// As [`spawn`](Builder::spawn).
    ///
    /// # Panics
    /// As [`spawn`](Builder::spawn).
    pub fn spawn_scoped<'scope, 'env, F, T>(
        self,
        scope: &'scope Scope<'scope, 'env>,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        scope.start(f, |work| {
            let work: Box<dyn FnOnce() + Send + 'scope> = Box::new(move || work.run());
            // SAFETY: as in `spawn_local`.
            let work = unsafe {
                std::mem::transmute::<Box<dyn FnOnce() + Send + 'scope>, Box<dyn FnOnce() + Send + 'static>>(work)
            };
            self.spawn(work)
        })
    }
}

/// The right to wait for a scoped fiber's end and to have its result. As [`std::thread::ScopedJoinHandle`].
pub struct ScopedJoinHandle<'scope, T> {
    fiber: JoinHandle<()>,
    slot: Arc<Slot<T>>,
    /// Not `Send` where `T` is not, and bound to the scope.
    _scope: PhantomData<(&'scope (), T)>,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// The fiber that it is about.
    #[must_use]
    pub fn fiber(&self) -> &Fiber {
        self.fiber.fiber()
    }

    /// The same, by the name that std gives it.
    #[must_use]
    pub fn thread(&self) -> &Fiber {
        self.fiber.fiber()
    }

    /// Waits for the fiber's end, and gives its result.
    ///
    /// # Errors
    /// What the fiber panicked with.
    ///
    /// # Panics
    /// In the fiber itself: it would wait for ever.
    pub fn join(self) -> super::Result<T> {
        let ended = self.fiber.join();
        let result = self.slot.take();
        // Why it could not start is known to the inner fiber.
        ended.and_then(|()| result.expect("a fiber that has run has left its result"))
    }

    /// Whether the fiber has ended. Never waits.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.fiber.is_finished()
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("running", &self.shared.running)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle")
            .field("fiber", self.fiber.fiber())
            .finish_non_exhaustive()
    }
}
