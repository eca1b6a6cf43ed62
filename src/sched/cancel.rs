//! How a fiber is cancelled.
//!
//! ```text
//!   fiber P                                    a scoped fiber C, perhaps on another worker
//!   -------                                    -------------------------------------------
//!   root  <-- timeout <-- scope's body  <== innermost
//!                ^
//!                +------- scope's fibers  <--  root  <-- shield  <== innermost
//!                            |
//!                            +- members: C, ...
//! ```
//!
//! Every call that can be cancelled as a whole has a [`Frame`], which lies where the call does, on the fiber's stack, and
//! knows the one around it. A fiber is cancelled when, going out from its innermost frame, one is met whose flag is set
//! before one that is a shield. The frame of a scope's fibers is met next after the root of each: they end before the scope does, so
//! it outlives them. So the tree is never searched downwards for a flag, and entering and leaving a frame is two stores.
//!
//! **To cancel** is to set a flag, and then to tell the fibers that it concerns ([`tell`]), each on its own worker: directly
//! where that is the caller's, else by a call through the inbox. There the fiber looks for itself whether it is cancelled.
//! If so, it is marked `pending`, which is what its suspension points look at, and the wait that it is in, if any, is
//! ended by the action that the wait has left in the control block. Then the members of its scopes are told, if those are
//! cancelled. To be told without a reason is harmless, so nobody has to know whether a fiber has ended, or waits for
//! something else by now.
//!
//! **No cancellation is lost** on a fiber that is starting: the canceller sets the flag and then looks where the fiber runs;
//! the fiber notes where it runs and then looks at the flags; all four are sequentially consistent. A member that joins a
//! scope while it is being cancelled finds the flag set, because both happen under the lock of the members, or is on the
//! list.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::resume_unwind;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::control::FiberRef;
use super::inbox::Inbox;
use super::task::TaskRef;
use super::worker::Worker;
use crate::no_suspend;

/// Whether a cancelled fiber can be unwound. With `panic = "abort"` it can only be told.
pub(crate) const UNWINDS: bool = cfg!(panic = "unwind");

/// What a fiber is unwound with that was cancelled: the payload of the panic, which prints no message. Also the error of what
/// was cancelled.
///
/// See the [module](crate::cancel) for how it comes about, and what to do with one that was caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cancelled")
    }
}

impl std::error::Error for Cancelled {}

/// A call that can be cancelled as a whole, or a fiber.
///
/// # Invariant
/// `outer` is alive for as long as this is linked to it; it changes only when a fiber lets go of the scope that it
/// belongs to, when nobody but the fiber itself looks.
#[repr(C)]
pub(crate) struct Frame<'a> {
    outer: Cell<Option<NonNull<Frame<'static>>>>,
    kind: Kind<'a>,
    flag: AtomicBool,
}

enum Kind<'a> {
    Plain,
    /// Its flag lies elsewhere.
    Flag(&'a AtomicBool),
    /// Hides what is around it.
    Shield,
    /// The outermost of a fiber's own.
    Root,
    /// A scope's function.
    Scope(&'a ScopeFrame<'a>),
}

/// What a scope has besides the frame of its function.
pub(crate) struct ScopeFrame<'a> {
    /// Of the function.
    pub(crate) flag: &'a AtomicBool,
    /// The frame that the fibers of the scope are in, which are cancelled with that.
    pub(crate) fibers: &'a Frame<'a>,
    pub(crate) members: &'a Members,
}

impl<'a> Frame<'a> {
    fn new(kind: Kind<'a>) -> Frame<'a> {
        Frame {
            outer: Cell::new(None),
            flag: AtomicBool::new(false),
            kind,
        }
    }

    /// One that is cancelled by its own flag.
    pub(crate) fn plain() -> Frame<'a> {
        Frame::new(Kind::Plain)
    }

    /// One that is cancelled by a flag elsewhere.
    pub(crate) fn with_flag(flag: &'a AtomicBool) -> Frame<'a> {
        Frame::new(Kind::Flag(flag))
    }

    pub(crate) fn shield() -> Frame<'a> {
        Frame::new(Kind::Shield)
    }

    /// The function of a scope.
    pub(crate) fn scope(scope: &'a ScopeFrame<'a>) -> Frame<'a> {
        Frame::new(Kind::Scope(scope))
    }

    fn flag(&self) -> &AtomicBool {
        match self.kind {
            Kind::Flag(flag) => flag,
            Kind::Scope(scope) => scope.flag,
            Kind::Plain | Kind::Shield | Kind::Root => &self.flag,
        }
    }

    /// Sets the flag; those concerned have to be told.
    pub(crate) fn cancel(&self) {
        self.flag().store(true, Ordering::SeqCst);
    }

    /// Whether it was cancelled itself, not something around it.
    pub(crate) fn is_cancelled_itself(&self) -> bool {
        self.flag().load(Ordering::SeqCst)
    }

    fn is_cancelled(&self) -> bool {
        let mut next = Some(self);
        while let Some(frame) = next {
            if frame.is_cancelled_itself() {
                return true;
            }
            next = match frame.kind {
                Kind::Shield => None,
                _ => frame.outer(),
            };
        }
        false
    }

    fn outer(&self) -> Option<&Frame<'static>> {
        // SAFETY: the invariant.
        self.outer.get().map(|outer| unsafe { outer.as_ref() })
    }

    fn as_ptr(&self) -> NonNull<Frame<'static>> {
        NonNull::from(self).cast()
    }
}

/// What is known of a fiber's cancellation everywhere: lies with the work that the fiber does.
///
/// # Invariant
/// `fiber`, and `root` but for its flag, belong to the worker that `home` names, or to whoever has made this.
#[repr(C)] // the flag's padding last: it is not copied then where one is made in its place
pub(crate) struct Life {
    /// The worker that it runs on; 0 before it has started, and when it has ended.
    home: AtomicU64,
    fiber: Cell<Option<FiberRef>>,
    root: Frame<'static>,
}

// SAFETY: the invariant. Another thread looks at `root.outer` only on its way out from a scope in this fiber, which has
// ended when it changes.
unsafe impl Sync for Life {}
// SAFETY: the invariant; what is made is sent on before it has a home.
unsafe impl Send for Life {}

impl Life {
    pub(crate) fn new() -> Life {
        Life {
            root: Frame::new(Kind::Root),
            home: AtomicU64::new(0),
            fiber: Cell::new(None),
        }
    }

    /// Has it cancelled with the fibers of a scope.
    ///
    /// # Safety
    /// `scope` and what is around it outlive the fiber, or its call of [`leave_scope`]. It has not been handed to a worker.
    pub(crate) unsafe fn join_scope(&self, scope: &Frame<'_>) {
        self.root.outer.set(Some(scope.as_ptr()));
    }
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Life")
            .field("cancelled", &self.root.flag)
            .field("home", &self.home)
            .finish_non_exhaustive()
    }
}

/// What a control block has for it. Only the fiber's own worker looks.
#[derive(Default)]
pub(super) struct Cancellation {
    /// The fiber is cancelled: its next suspension point is the last.
    pending: Cell<bool>,
    /// `None` only while no fiber runs there.
    innermost: Cell<Option<NonNull<Frame<'static>>>>,
    /// Ends the wait that the fiber is in; calling it is sound for as long as it is here.
    interrupt: Cell<Option<NonNull<dyn Fn()>>>,
}

impl Cancellation {
    fn innermost(&self) -> Option<&Frame<'static>> {
        // SAFETY: it is removed before it goes: see `Entered`, and `Life` lives as long as the fiber.
        self.innermost.get().map(|frame| unsafe { frame.as_ref() })
    }

    fn look_again(&self) {
        self.pending.set(self.innermost().is_some_and(Frame::is_cancelled));
    }
}

/// The fibers of a scope, or in a token's hands: who is to be told.
#[derive(Default)]
pub(crate) struct Members(Mutex<List>);

#[derive(Default)]
struct List {
    slots: Vec<Option<TaskRef>>,
    free: Vec<usize>,
}

impl Members {
    fn lock(&self) -> MutexGuard<'_, List> {
        // Nothing panics under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place on the list, to be filled.
    pub(crate) fn reserve(&self) -> usize {
        let mut list = self.lock();
        list.free.pop().unwrap_or_else(|| {
            list.slots.push(None);
            list.slots.len() - 1
        })
    }

    pub(crate) fn fill(&self, place: usize, task: TaskRef) {
        self.lock().slots[place] = Some(task);
    }

    pub(crate) fn remove(&self, place: usize) {
        let mut list = self.lock();
        let task = list.slots[place].take();
        list.free.push(place);
        drop(list);
        drop(task);
    }

    /// Tells them all.
    pub(crate) fn tell(&self) {
        let mut all = Vec::new();
        self.collect(&mut all);
        all.into_iter().for_each(tell);
    }

    fn collect(&self, into: &mut Vec<TaskRef>) {
        into.extend(self.lock().slots.iter().flatten().cloned());
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members").finish_non_exhaustive()
    }
}

/// Workers by number, for those who are elsewhere.
static WORKERS: Mutex<BTreeMap<u64, Arc<Inbox>>> = Mutex::new(BTreeMap::new());

/// A worker's number, which no other of this process has or had, and its entry under [`WORKERS`].
pub(super) struct Home(u64);

impl Home {
    pub(super) fn new(inbox: &Arc<Inbox>) -> Home {
        static NEXT: AtomicU64 = AtomicU64::new(1); // 0 is nowhere
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        workers().insert(number, Arc::clone(inbox));
        Home(number)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let inbox = workers().remove(&self.0);
        drop(inbox);
    }
}

fn workers() -> MutexGuard<'static, BTreeMap<u64, Arc<Inbox>>> {
    // Nothing panics under the lock.
    WORKERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Cancels a fiber as a whole, from any thread.
pub(crate) fn cancel(task: TaskRef) {
    task.life().root.cancel();
    tell(task);
}

/// Has a fiber look whether it is cancelled, and the members of its scopes; from any thread.
pub(crate) fn tell(task: TaskRef) {
    let home = task.life().home.load(Ordering::SeqCst);
    let task = Worker::with(|worker| match worker {
        Some(worker) if worker.home.0 == home => {
            worker.tell(task);
            None
        }
        _ => Some(task),
    });
    if let Some(task) = task {
        // Who has not started will look then.
        let inbox = workers().get(&home).cloned();
        if let Some(inbox) = inbox {
            inbox.call(Box::new(move |worker| worker.tell(task)));
        }
    }
}

/// While this lives, a frame is the innermost of a fiber.
struct Entered<'a> {
    cancellation: &'a Cancellation,
    frame: &'a Frame<'a>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.cancellation.innermost.set(self.frame.outer.get());
        if self.cancellation.pending.get() || matches!(self.frame.kind, Kind::Shield) {
            self.cancellation.look_again();
        }
    }
}

impl Worker {
    /// Calls `f` with the worker and the fiber that calls, if it is one, panicking or not.
    pub(crate) fn with_running<R>(f: impl FnOnce(Option<(&Worker, FiberRef)>) -> R) -> R {
        Worker::with(|worker| f(worker.and_then(|worker| Some((worker, worker.current.get()?)))))
    }

    /// The fiber of `task` begins to run here; true if it is cancelled already.
    pub(super) fn begin(&self, fiber: FiberRef, life: &Life) -> bool {
        life.fiber.set(Some(fiber));
        life.home.store(self.home.0, Ordering::SeqCst);
        let cancellation = &fiber.block().cancellation;
        cancellation.innermost.set(Some(life.root.as_ptr()));
        if self.crew().is_stopping() {
            life.root.cancel();
        }
        cancellation.look_again();
        let cancelled = cancellation.pending.get();
        if cancelled && UNWINDS {
            // It does not begin, and what it was given is dropped; with the last of that the scope that it would have
            // been in may end, while values of this fiber are still to be dropped.
            life.root.cancel();
            life.root.outer.set(None);
        }
        cancelled
    }

    /// It has ended.
    pub(super) fn end(&self, fiber: FiberRef, life: &Life) {
        life.home.store(0, Ordering::Relaxed);
        life.fiber.set(None);
        let cancellation = &fiber.block().cancellation;
        cancellation.innermost.set(None);
        cancellation.pending.set(false);
    }

    /// On the worker of the fiber, if it still has one: marks it if it is cancelled, ends its wait, and goes on with the
    /// members of its scopes.
    fn tell(&self, task: TaskRef) {
        // A list instead of recursion: scopes may be nested deeply, and this may be a fiber's stack.
        let mut all = vec![task];
        while let Some(task) = all.pop() {
            let life = task.life();
            if life.home.load(Ordering::SeqCst) != self.home.0 {
                tell(task);
            } else if let Some(fiber) = life.fiber.get() {
                self.tell_here(fiber, &mut all);
            }
        }
    }

    fn tell_here(&self, fiber: FiberRef, members: &mut Vec<TaskRef>) {
        let cancellation = &fiber.block().cancellation;
        let mut next = cancellation.innermost();
        if next.is_some_and(Frame::is_cancelled) {
            cancellation.pending.set(true);
            if let Some(interrupt) = cancellation.interrupt.take() {
                // SAFETY: as long as it was there, it was valid.
                unsafe { (*interrupt.as_ptr())() };
            }
        }
        while let Some(frame) = next {
            next = match frame.kind {
                Kind::Root => None,
                _ => frame.outer(),
            };
            if let Kind::Scope(scope) = frame.kind {
                if scope.fibers.is_cancelled() {
                    scope.members.collect(members);
                }
            }
        }
    }

    /// Cancels a frame of one of its fibers.
    pub(crate) fn cancel(&self, fiber: FiberRef, frame: &Frame<'_>) {
        frame.cancel();
        let mut members = Vec::new();
        self.tell_here(fiber, &mut members);
        members.into_iter().for_each(tell);
    }

    /// Calls `body` within `frame`, whose `fibers`, if it is a scope's, are linked to what is around it.
    ///
    /// Frames have to be left in the reverse order of entering. On one stack they are. A coroutine in a fiber has another
    /// one, and can be left in the middle: there the answer is `body` itself, not called.
    pub(crate) fn within<R, F: FnOnce() -> R>(&self, fiber: FiberRef, frame: &Frame<'_>, body: F) -> Result<R, F> {
        if !fiber.has_on_its_stack(ptr::from_ref(frame).addr()) {
            return Err(body);
        }
        let cancellation = &fiber.block().cancellation;
        let outer = cancellation.innermost.get();
        frame.outer.set(outer);
        match frame.kind {
            Kind::Shield => cancellation.pending.set(false),
            Kind::Scope(scope) => scope.fibers.outer.set(outer),
            _ => {}
        }
        cancellation.innermost.set(Some(frame.as_ptr()));
        let entered = Entered { cancellation, frame };
        if frame.is_cancelled_itself() {
            cancellation.pending.set(true);
        }
        let result = body();
        drop(entered);
        Ok(result)
    }

    /// Unwinds the running fiber if it is cancelled.
    #[inline(always)]
    pub(crate) fn checkpoint(&self, fiber: FiberRef) {
        if self.is_pending(fiber) {
            unwind();
        }
    }

    /// Whether the next suspension point is the last.
    #[inline(always)]
    pub(crate) fn is_pending(&self, fiber: FiberRef) -> bool {
        fiber.block().cancellation.pending.get()
    }

    /// Calls `body`, which suspends the fiber. Should it be cancelled meanwhile, `interrupt` is called, on another stack
    /// of this thread; it must not block or panic.
    #[inline(always)]
    pub(super) fn with_interrupt<R>(&self, fiber: FiberRef, interrupt: &dyn Fn(), body: impl FnOnce() -> R) -> R {
        struct Left<'a>(&'a Cell<Option<NonNull<dyn Fn()>>>);
        impl Drop for Left<'_> {
            fn drop(&mut self) {
                self.0.set(None);
            }
        }
        let interrupt: NonNull<dyn Fn() + '_> = NonNull::from(interrupt);
        // SAFETY: only the lifetime is forgotten: it is gone from the block before this frame is.
        let interrupt: NonNull<dyn Fn()> = unsafe { std::mem::transmute(interrupt) };
        let slot = &fiber.block().cancellation.interrupt;
        slot.set(Some(interrupt));
        let _left = Left(slot);
        body()
    }

    /// Whether the running fiber is cancelled, also by somebody on another thread whose call has not come in yet.
    pub(crate) fn is_cancelled(&self, fiber: FiberRef) -> bool {
        let cancellation = &fiber.block().cancellation;
        if !cancellation.pending.get() {
            if self.crew().is_stopping() {
                fiber.task().iter().for_each(|task| task.life().root.cancel());
            }
            cancellation.look_again();
        }
        cancellation.pending.get()
    }
}

/// Has the running fiber, which is about to drop the last of what a scope has lent it, belong to the scope no more.
pub(crate) fn leave_scope() {
    Worker::with_running(|here| {
        if let Some((_, fiber)) = here {
            let innermost = fiber.block().cancellation.innermost();
            let root = innermost.filter(|frame| matches!(frame.kind, Kind::Root));
            root.expect("a fiber ends in its outermost frame").outer.set(None);
        }
    });
}

/// Unwinds the running fiber, if this program can, and where it may be suspended.
#[cold]
fn unwind() {
    if UNWINDS && no_suspend::depth() == 0 {
        // No hook is called, so no message is printed.
        resume_unwind(Box::new(Cancelled));
    }
}
