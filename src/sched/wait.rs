//! Waiting: for a turn, a point in time, an operation, or somebody's wake-up.

use std::cell::{Cell, RefCell};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::abort::AbortOnUnwind;
use super::control::FiberRef;
use super::inbox::{Inbox, WakeUp};
use super::slots;
use super::timers::{Entry, Timers};
use super::worker::Worker;
use crate::no_suspend;
use crate::reactor::{Backend, FileOp, FileVerb, Kind, Op, Outcome, Source, Submitted};

/// How many operations a fiber may do without waiting before it has to let others run.
const MAX_STREAK: u32 = 64;

/// How often in a row a fiber may look for something in vain before it lets others run. The docs of what looks tell it.
const MAX_VAIN: u32 = 64;

/// Why a wait ended before what it was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Deadline,
    Cancelled,
}

impl Worker {
    /// Lets the others run and comes back when it is this fiber's turn again.
    #[inline(always)]
    pub(crate) fn yield_now(&self, fiber: FiberRef) {
        no_suspend::check();
        let is_shallow = &fiber.block().is_shallow;
        is_shallow.set(true);
        self.ready(fiber);
        self.suspend(fiber);
        is_shallow.set(false);
    }

    /// Suspends the running fiber until somebody calls [`ready`](Worker::ready) for it, or has done so already.
    #[inline(always)]
    pub(crate) fn suspend(&self, fiber: FiberRef) {
        if slots::any() {
            return self.suspend_with_slots(fiber);
        }
        self.leave(&fiber.block().context);
    }

    /// As [`suspend`](Worker::suspend), for one that waits for what a fiber does last.
    #[inline(always)]
    pub(crate) fn suspend_for_an_end(&self, fiber: FiberRef) {
        if slots::any() {
            return self.suspend_with_slots(fiber);
        }
        self.leave_for_an_end(&fiber.block().context);
    }

    #[cold]
    #[inline(never)]
    fn suspend_with_slots(&self, fiber: FiberRef) {
        slots::around(&mut || self.leave(&fiber.block().context));
    }

    /// Suspends the running fiber until `deadline` has passed; `None` is never. It ends early when the fiber is cancelled.
    pub(crate) fn sleep(&self, fiber: FiberRef, deadline: Option<Instant>) {
        no_suspend::check();
        self.checkpoint(fiber);
        if self.is_pending(fiber) {
            // It cannot be unwound. Others run all the same.
            self.yield_now(fiber);
            return;
        }
        let end = |_| {
            self.ready(fiber);
            true
        };
        self.with_end(fiber, deadline, &end, || self.suspend(fiber));
        self.checkpoint(fiber);
    }

    /// Calls `body`, which suspends the fiber. Should the deadline pass or the fiber be cancelled before it returns, calls
    /// `end`, on another stack of this thread; until it has said once that it has ended the wait, or has seen to it that it
    /// ends. It must not block or panic. Says why it did.
    #[inline(always)]
    pub(crate) fn with_end(
        &self,
        fiber: FiberRef,
        deadline: Option<Instant>,
        end: &impl Fn(Cut) -> bool,
        body: impl FnOnce(),
    ) -> Option<Cut> {
        let cut = Cell::new(None);
        // With what they need by value, or a wait would write down where each finds the other.
        let (end, seen) = (end, &cut);
        let end = move |why| {
            if seen.get().is_none() && end(why) {
                seen.set(Some(why));
            }
        };
        let interrupt = move || end(Cut::Cancelled);
        self.with_interrupt(fiber, &interrupt, || {
            self.with_deadline(deadline, &mut move || end(Cut::Deadline), body);
        });
        cut.get()
    }

    /// The end of a wake-up for the running fiber, which is about to wait for it, and may; see [`wake`].
    #[inline]
    pub(crate) fn wake_up(&self, fiber: FiberRef) -> (WakeUp, &Inbox) {
        (WakeUp::new(fiber), &self.inbox)
    }

    /// Calls `body`, which suspends the fiber; should the deadline pass before it returns, calls `action`, on the thread's
    /// own stack. `action` must not block or panic.
    #[inline(always)]
    pub(crate) fn with_deadline<R>(
        &self,
        deadline: Option<Instant>,
        action: &mut dyn FnMut(),
        body: impl FnOnce() -> R,
    ) -> R {
        struct Inserted<'a> {
            timers: &'a RefCell<Timers>,
            entry: NonNull<Entry>,
        }
        impl Drop for Inserted<'_> {
            fn drop(&mut self) {
                // SAFETY: inserted below, in these timers.
                unsafe { self.timers.borrow_mut().remove(self.entry) };
            }
        }
        let entry;
        let mut inserted = None;
        if let Some(deadline) = deadline {
            // The lifetime is forgotten here, and kept by `Inserted`: the entry is out of the timers before this frame ends,
            // however it ends.
            let action: NonNull<dyn FnMut() + '_> = NonNull::from(action);
            // SAFETY: the same pointer, see above.
            let action: NonNull<dyn FnMut()> = unsafe { std::mem::transmute(action) };
            // SAFETY: `action` stays valid while the entry is inserted; the fiber is suspended when it is called.
            entry = unsafe { self.timers.borrow().entry(deadline, action) };
            let entry = NonNull::from(&entry);
            // SAFETY: `entry` stays in this frame until `Inserted` has removed it.
            unsafe { self.timers.borrow_mut().insert(entry) };
            inserted = Some(Inserted {
                timers: &self.timers,
                entry,
            });
        }
        // Called here alone, so that it is inlined.
        let result = body();
        drop(inserted);
        result
    }

    /// Does one operation for the running fiber, which is suspended while it takes. An operation that has to wait is
    /// cancelled after `timeout`; the answer is then `None`, unless it was done all the same. Where the fiber is cancelled,
    /// the operation is not begun, or is cancelled, and the fiber unwound; but one that was done all the same is answered
    /// with.
    ///
    /// # Safety
    /// `op` is new. The invariant of [`Kind`]: what it points to stays valid, and is touched by nobody else, until this
    /// returns.
    #[inline]
    pub(crate) unsafe fn perform(&self, fiber: FiberRef, op: &Op, timeout: Option<Duration>) -> Option<Outcome> {
        if no_suspend::depth() > 0 {
            // SAFETY: the caller's promise.
            return Some(unsafe { perform_without_waiting(op) });
        }
        // What was begun to be closed would otherwise be nobody's.
        let closes = || {
            matches!(
                &op.kind,
                Kind::File {
                    what: FileOp::Close,
                    ..
                }
            )
        };
        if self.is_pending(fiber) && !closes() {
            self.checkpoint(fiber);
            self.count_unsuspended(fiber);
            return Some(Err(libc::ECANCELED));
        }
        op.set_user(fiber.as_ptr());
        let op_ptr = NonNull::from(op);
        // SAFETY: new, and the caller's frame stays until it has completed: `suspend` returns when it was handed out.
        let submitted = unsafe { self.reactor.borrow_mut().submit(op_ptr) };
        if let Submitted::Done(outcome) = submitted {
            self.count_unsuspended(fiber);
            return Some(outcome);
        }
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let cancel = |_| {
            // What has completed is handed out before long.
            let pending = op.outcome().is_none() && !closes();
            if pending {
                // SAFETY: it has not completed, so it is pending.
                unsafe { self.reactor.borrow_mut().cancel(op_ptr) };
            }
            pending
        };
        let cut = self.with_end(fiber, deadline, &cancel, || self.suspend(fiber));
        // To unwind would free what the reactor still has.
        let abort = AbortOnUnwind::arm();
        let outcome = op
            .outcome()
            .expect("a fiber is resumed when its operation has completed");
        abort.disarm();
        match (cut, outcome) {
            (Some(Cut::Deadline), Err(libc::ECANCELED)) => None,
            (Some(Cut::Cancelled), Err(libc::ECANCELED)) => {
                self.checkpoint(fiber);
                Some(outcome)
            }
            _ => Some(outcome),
        }
    }

    /// Sends for the running fiber what needs no operation, see [`Backend::send_at_once`]; `None` where one is to be performed.
    #[inline]
    pub(crate) fn send_at_once(
        &self,
        fiber: FiberRef,
        source: Source,
        bytes: &[u8],
        flags: libc::c_int,
    ) -> Option<Outcome> {
        if no_suspend::depth() > 0 || self.is_pending(fiber) {
            return None;
        }
        let outcome = self.reactor.borrow_mut().send_at_once(source, bytes, flags)?;
        self.count_unsuspended(fiber);
        Some(outcome)
    }

    /// Lets others run when a fiber has gone on for long without waiting: one that reads what is always there would
    /// otherwise keep the thread to itself.
    #[inline]
    pub(crate) fn count_unsuspended(&self, fiber: FiberRef) {
        let streak = self.streak.get() + 1;
        self.streak.set(streak);
        self.vain.set(0);
        if streak >= MAX_STREAK {
            self.yield_after_streak(fiber);
        }
    }

    /// Apart, so that those who count have no part of a switch in them.
    #[cold]
    #[inline(never)]
    fn yield_after_streak(&self, fiber: FiberRef) {
        if no_suspend::depth() == 0 {
            self.yield_now(fiber);
        }
    }

    /// After a look that has found nothing. A fiber that looks again and again, without an operation or a wait in between, lets
    /// others run now and then: it may be one of them that it looks for. No suspension point. Gives false, which is what was
    /// found.
    ///
    /// Only for looks that a program asks for: in `Debug`, say, nobody expects others to run.
    #[cold]
    pub(crate) fn looked_in_vain() -> bool {
        Worker::with_fiber(|here| {
            if let Some((worker, fiber)) = here.filter(|_| no_suspend::depth() == 0) {
                let vain = worker.vain.get() + 1;
                worker.vain.set(vain);
                if vain >= MAX_VAIN {
                    worker.yield_now(fiber);
                }
            }
        });
        false
    }

    /// As [`count_unsuspended`](Worker::count_unsuspended), for those who may not be suspended: true when they should end.
    #[cfg(feature = "futures-io")]
    pub(crate) fn ends_streak(&self) -> bool {
        let streak = (self.streak.get() + 1) % MAX_STREAK;
        self.streak.set(streak);
        self.vain.set(0);
        streak == 0
    }

    /// See [`Backend::takes`].
    pub(crate) fn takes(&self, verb: FileVerb) -> bool {
        self.reactor.borrow().takes(verb)
    }

    /// Ends all operations that fibers of this worker have on `source`, with `ECANCELED`.
    pub(crate) fn cancel_all(&self, source: Source) {
        self.reactor.borrow_mut().cancel_all(source);
    }

    /// See [`Backend::forget`].
    pub(crate) fn forget(&self, source: Source, still_open: bool) {
        self.reactor.borrow_mut().forget(source, still_open);
    }
}

/// Does what can be done at once; panics where it cannot, and nothing has come of it then.
///
/// # Safety
/// As [`Worker::perform`].
#[cold]
unsafe fn perform_without_waiting(op: &Op) -> Outcome {
    let may_be_tried = !matches!(op.kind, Kind::Connect { .. } | Kind::File { .. });
    // SAFETY: the caller's promise.
    let outcome = may_be_tried.then(|| unsafe { op.attempt() }).flatten();
    outcome.unwrap_or_else(|| no_suspend::refuse())
}

/// Wakes a fiber that is suspended and waits for this wake-up alone; from any thread.
///
/// # Safety
/// Both came from [`Worker::wake_up`] of that fiber, are alive, and this is the only call for it.
#[inline]
pub(crate) unsafe fn wake(wake_up: *const WakeUp, inbox: *const Inbox) {
    let local = Worker::with(|worker| match worker {
        Some(worker) if ptr::eq(Arc::as_ptr(&worker.inbox), inbox) => {
            // SAFETY: alive, by the caller's promise.
            worker.ready(unsafe { &*wake_up }.fiber);
            true
        }
        _ => false,
    });
    if !local {
        // SAFETY: the caller's promise.
        unsafe { wake_elsewhere(wake_up, inbox) };
    }
}

/// As [`wake`], for a fiber of another worker.
///
/// # Safety
/// As for [`wake`].
#[cold]
#[inline(never)]
unsafe fn wake_elsewhere(wake_up: *const WakeUp, inbox: *const Inbox) {
    // From the push on the fiber may run, and its worker may end: hold on to the inbox, whose bell may have to be rung
    // after the push.
    // SAFETY: the fiber is suspended, so its worker, which owns a reference to the inbox, is alive.
    unsafe { Arc::increment_strong_count(inbox) };
    // SAFETY: the reference that was just counted.
    let inbox = unsafe { Arc::from_raw(inbox) };
    // SAFETY: the caller's promise.
    unsafe { inbox.push(wake_up) };
}
