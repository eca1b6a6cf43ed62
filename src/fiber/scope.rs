//! Fibers that borrow from the frame that starts them.
//!
//! Sound for the same reason as [`std::thread::scope`]: the frame that is borrowed from stays in `scope` until every fiber
//! of it has let go of what it borrowed. That is counted by [`Running`], which each fiber's work drops last. That wait
//! cannot be cancelled.

#![allow(unsafe_code, reason = "forgets a lifetime that `scope` outlives")]

use std::any::Any;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::panic::{self, AssertUnwindSafe, resume_unwind};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::builder::Builder;
use super::handle::Fiber;
use super::join::JoinHandle;
use crate::baton::Baton;
use crate::no_suspend;
use crate::sched::{Cancelled, Frame, Members, ScopeFrame, TaskRef, Worker, leave_scope, tell};

/// A place to start fibers in that borrow; see [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    shared: Arc<Shared>,
    fibers: FramePtr,
    /// Invariant in both, as in std: or a fiber could be made to borrow for shorter than it runs.
    _scope: PhantomData<&'scope mut &'scope ()>,
    _env: PhantomData<&'env mut &'env ()>,
}

/// The frame that the scope's fibers are in, which lies in the frame of `scope`.
struct FramePtr(NonNull<Frame<'static>>);
// SAFETY: only its address is taken, and given to fibers, which are made for that.
unsafe impl Send for FramePtr {}
// SAFETY: as above.
unsafe impl Sync for FramePtr {}

/// What the scope and its fibers have in common.
#[derive(Default)]
struct Shared {
    running: AtomicUsize,
    /// Posted when the last one that runs has let go.
    all_gone: Baton,
    /// What the first fiber panicked with that nobody took note of by `join`.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// A fiber that nobody has joined was cancelled.
    cut_short: AtomicBool,
    /// The fibers are cancelled.
    fibers_cancelled: AtomicBool,
    /// The function of the scope is cancelled: it panics when they have ended.
    body_cancelled: AtomicBool,
    fibers: Members,
    /// The fiber whose scope it is.
    owner: Option<TaskRef>,
}

impl Shared {
    fn cancel_fibers(&self) {
        if !self.fibers_cancelled.swap(true, Ordering::SeqCst) {
            self.fibers.tell();
        }
    }

    /// Notes a panic that nobody can join any more. It ends everything.
    fn fail(&self, payload: Box<dyn Any + Send>) {
        let mut first = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
        let later = match &*first {
            Some(_) => Some(payload),
            None => first.replace(payload),
        };
        drop(first);
        drop_contained(later);
        self.cancel_fibers();
        if !self.body_cancelled.swap(true, Ordering::SeqCst) {
            self.owner.iter().cloned().for_each(tell);
        }
    }
}

/// Drops what is the user's; gives what its destructor panicked with.
fn drop_contained<T>(value: T) -> Option<Box<dyn Any + Send>> {
    panic::catch_unwind(AssertUnwindSafe(|| drop(value))).err()
}

/// Counts one fiber, from its start until it has dropped everything that it borrowed.
struct Running {
    shared: Arc<Shared>,
    place: usize,
}

impl Running {
    fn new(shared: &Arc<Shared>) -> Running {
        shared.running.fetch_add(1, Ordering::Relaxed);
        Running {
            shared: Arc::clone(shared),
            place: shared.fibers.reserve(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.fibers.remove(self.place);
        if self.shared.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.all_gone.post();
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
        // A value may borrow, too, so it has to go here, and whatever its destructor does must not hold up the count.
        let panic = match self.take() {
            Some(Err(payload)) => Some(payload),
            other => drop_contained(other),
        };
        match panic {
            Some(payload) if payload.is::<Cancelled>() => self.shared.cut_short.store(true, Ordering::Relaxed),
            Some(payload) => self.shared.fail(payload),
            None => {}
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
        if self.given {
            return;
        }
        // A fiber that is cancelled before it begins drops this by itself; for one without a stack, others do.
        let cancelled = Worker::with_running(|here| here.is_some_and(|(worker, fiber)| worker.is_pending(fiber)));
        if cancelled {
            self.slot.put(Err(Box::new(Cancelled)));
        } else {
            self.slot.put(Err(Box::new("a scoped fiber could not start")));
            self.slot.shared.cancel_fibers();
        }
    }
}

/// What a scoped fiber does. The order of the fields is the order in which they are dropped where it never runs.
struct Work<F, T> {
    f: F,
    ending: Ending<T>,
    running: Running,
}

impl<F: FnOnce() -> T, T> Work<F, T> {
    fn run(self) {
        let Work { f, mut ending, running } = self;
        ending.given = true;
        let result = panic::catch_unwind(AssertUnwindSafe(f));
        let panicked = matches!(&result, Err(payload) if !payload.is::<Cancelled>());
        ending.slot.put(result);
        if panicked {
            running.shared.cancel_fibers();
        }
        drop(ending);
        // From here on it looks at nothing of the scope's, which ends when `running` was dropped.
        leave_scope();
        drop(running);
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
/// # Panics and cancelling
/// - When one of its fibers panics, the others are [cancelled](crate::cancel). If nobody can join it any more, because its
///   handle was dropped, `f` is cancelled, too, so that the panic does not have to wait for what never comes. When all have
///   ended, `scope` panics with what the first such fiber panicked with; a fiber that could not get a stack counts as
///   one. (std lets the others go on, and says "a scoped thread panicked".)
/// - A panic that was taken note of with [`join`](ScopedJoinHandle::join) is the caller's to deal with, as in std.
/// - When `f` panics, the fibers are cancelled, and `scope` panics with the same.
/// - When the fiber that calls `scope` is cancelled, so are the scope's, and `scope` is unwound when they have ended.
///   [`Scope::cancel`] cancels them alone. A fiber that was cancelled is no panic.
/// - Within [`no_suspend`](crate::no_suspend()) it panics at once, since it may have to wait.
///
/// `scope` waits for its fibers in any case: nothing can cancel that.
#[track_caller]
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    if Worker::with_fiber(|here| here.is_some()) {
        // The wait below must not be refused.
        no_suspend::check();
    }
    let shared = Arc::new(Shared {
        owner: Worker::with(|worker| worker.and_then(Worker::current_task)),
        ..Shared::default()
    });
    let fibers = Frame::with_flag(&shared.fibers_cancelled);
    let around = ScopeFrame {
        flag: &shared.body_cancelled,
        fibers: &fibers,
        members: &shared.fibers,
    };
    let body = Frame::scope(&around);
    let scope = Scope {
        shared: Arc::clone(&shared),
        fibers: FramePtr(NonNull::from(&fibers).cast()),
        _scope: PhantomData,
        _env: PhantomData,
    };
    let run = || {
        let result = panic::catch_unwind(AssertUnwindSafe(|| f(&scope)));
        if result.is_err() {
            shared.cancel_fibers();
        }
        while shared.running.load(Ordering::Acquire) > 0 {
            shared.all_gone.wait_to_the_end();
            shared.all_gone.reset();
        }
        result
    };
    let result = Worker::with_running(|here| match here {
        // In a coroutine, which may be left in the middle, nothing around reaches the fibers.
        Some((worker, fiber)) => worker.within(fiber, &body, run).unwrap_or_else(|run| run()),
        None => run(),
    });
    let panic = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (result, panic) {
        (Err(cancelled), Some(panic)) if cancelled.is::<Cancelled>() => resume_unwind(panic),
        (Ok(_), Some(panic)) | (Err(panic), _) => resume_unwind(panic),
        (Ok(value), None) => {
            // Where that came from around, this is not what the caller wanted.
            if shared.cut_short.load(Ordering::Relaxed) {
                Worker::with_fiber(|here| {
                    if let Some((worker, fiber)) = here.filter(|(worker, fiber)| worker.is_cancelled(*fiber)) {
                        worker.checkpoint(fiber);
                    }
                });
            }
            value
        }
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
        let spawn = |work: Work<F, T>, enter: &dyn Fn(&TaskRef)| {
            let work: Box<dyn FnOnce() + 'scope> = Box::new(move || work.run());
            // SAFETY: only the lifetime changes. `scope` does not return before `Running` was dropped, which is the last
            // thing of the work to go, whether it ran or not. So nothing of it is left when `'scope` ends.
            let work = unsafe { std::mem::transmute::<Box<dyn FnOnce() + 'scope>, Box<dyn FnOnce() + 'static>>(work) };
            Builder::new().spawn_local_prepared(work, enter)
        };
        self.start(f, spawn)
            .unwrap_or_else(|error| panic!("Scope::spawn_local: {error}"))
    }

    /// Cancels the fibers of this scope, also those that it starts from now on, and no others: the function of the scope
    /// goes on. From any of them, or from another thread that the scope was lent to. Does not wait for them; [`scope`] does.
    ///
    /// ```
    /// use kapok::fiber;
    /// use std::time::Duration;
    ///
    /// kapok::run(|| {
    ///     fiber::scope(|s| {
    ///         s.spawn(|| loop {
    ///             fiber::sleep(Duration::from_secs(3600)); // does not come back
    ///         });
    ///         fiber::yield_now();
    ///         s.cancel();
    ///     });
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn cancel(&self) {
        self.shared.cancel_fibers();
    }

    /// `spawn` starts what it is given, and has the fiber enter the scope before anybody else sees it.
    fn start<F, T>(
        &'scope self,
        f: F,
        spawn: impl FnOnce(Work<F, T>, &dyn Fn(&TaskRef)) -> io::Result<JoinHandle<()>>,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + 'scope,
        T: 'scope,
    {
        let slot = Arc::new(Slot {
            result: Mutex::new(None),
            shared: Arc::clone(&self.shared),
        });
        let work = Work {
            f,
            ending: Ending {
                slot: Arc::clone(&slot),
                given: false,
            },
            running: Running::new(&self.shared),
        };
        let place = work.running.place;
        let enter = |fiber: &TaskRef| {
            // SAFETY: the frame of `scope` stays until `Running` was dropped.
            let scope = unsafe { self.fibers.0.as_ref() };
            // SAFETY: the fiber leaves the scope before it drops that.
            unsafe { fiber.life().join_scope(scope) };
            self.shared.fibers.fill(place, fiber.clone());
        };
        // Where it is refused, the caller is told so right here.
        let fiber = spawn(work, &enter).inspect_err(|_| drop(slot.take()))?;
        Ok(ScopedJoinHandle {
            fiber,
            slot,
            _scope: PhantomData,
        })
    }
}

impl Builder {
    /// As [`spawn_scoped`](Builder::spawn_scoped), and takes the stack right away.
    ///
    /// # Errors
    /// As [`try_spawn`](Builder::try_spawn). Nothing was started then, and the scope goes on.
    ///
    /// # Panics
    /// As [`spawn`](Builder::spawn).
    #[track_caller]
    pub fn try_spawn_scoped<'scope, 'env, F, T>(
        self,
        scope: &'scope Scope<'scope, 'env>,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        self.taking_stack().spawn_scoped(scope, f)
    }

    /// Starts a fiber that may borrow what outlives the scope. As [`std::thread::Builder::spawn_scoped`].
    ///
    /// # Errors
    /// As [`spawn`](Builder::spawn).
    ///
    /// # Panics
    /// As [`spawn`](Builder::spawn).
    #[track_caller]
    pub fn spawn_scoped<'scope, 'env, F, T>(
        self,
        scope: &'scope Scope<'scope, 'env>,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        scope.start(f, |work, enter| {
            let work: Box<dyn FnOnce() + Send + 'scope> = Box::new(move || work.run());
            // SAFETY: as in `spawn_local`.
            let work = unsafe {
                std::mem::transmute::<Box<dyn FnOnce() + Send + 'scope>, Box<dyn FnOnce() + Send + 'static>>(work)
            };
            self.spawn_prepared(work, enter)
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
    /// What the fiber panicked with; a [`Cancelled`] where it was cancelled.
    ///
    /// # Panics
    /// In the fiber itself: it would wait for ever.
    pub fn join(self) -> super::Result<T> {
        let ended = self.fiber.join();
        let result = self.slot.take();
        // Why it could not start is known to the inner fiber.
        ended.and_then(|()| result.expect("a fiber that has run has left its result"))
    }

    /// Cancels the fiber. As [`JoinHandle::cancel`].
    pub fn cancel(&self) {
        self.fiber.cancel();
    }

    /// Whether the fiber has ended.
    ///
    /// A fiber that looks in vain 64 times in a row lets others run, but not within [`no_suspend`](crate::no_suspend()).
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
