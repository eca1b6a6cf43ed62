//! The baton: one waiter, one post; everything that waits is made of it.
//!
//! The whole state is one word:
//!
//! ```text
//!            post                                    0        nobody waits, nothing was posted
//!     0 ------------> POSTED                         POSTED   sticky until `reset`
//!     |  ^               ^                           else     the address of the waiter, which lies on its own stack
//!     |  | time is up    |
//!     v  |               | post: takes the waiter out and wakes it
//!    waiter -------------+
//! ```
//!
//! Whoever changes the word away from a waiter's address, the poster or the waiter's own time-out, has the waiter to
//! itself, and so does who cancels the waiter; the others find something else there and let go. So a waiter is woken exactly
//! once, and a post that races with a time-out is either seen by the wait or kept for the next one. Where a lock has decided that
//! already, neither needs an exchange ([`in_line`]).
//!
//! A fiber becomes the waiter just before it is suspended. Who wakes it puts it into the run queue of its own worker, or into
//! the inbox, and the worker looks at neither before it has left the fiber. A thread parks, and is let go by a
//! flag of its own that the poster sets last, because the waiter, which lies on the thread's stack, is gone as soon as the
//! thread goes on. A future's waiter lies on the heap, and belongs to the future and to whoever has its address out of the word
//! (`posted`).

#![allow(
    unsafe_code,
    reason = "the waiter lies on another stack and is reached by its address"
)]

mod in_line;
mod posted;

use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Waker;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::sched::{self, Cut, FiberRef, Inbox, UNWINDS, WakeUp, Worker};
use crate::{no_suspend, sys};
pub use posted::Posted;
pub(crate) use posted::Registration;

const EMPTY: usize = 0;
const POSTED: usize = 1;

/// A one-shot, sticky event between one waiter and any number of posters, in the manner of `folly::Baton`.
///
/// [`wait`](Baton::wait) suspends a fiber; on a plain thread it blocks the thread. [`post`](Baton::post) may be called from
/// anywhere, before or after the wait, any number of times. A baton stays posted until [`reset`](Baton::reset).
///
/// What the poster did before `post` is visible to the waiter after `wait`.
///
/// ```
/// use kapok::sync::Baton;
/// use std::sync::Arc;
///
/// kapok::run(|| {
///     let done = Arc::new(Baton::new());
///     let poster = Arc::clone(&done);
///     kapok::spawn(move || poster.post());
///     done.wait();
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Async code waits for it, too: [`posted`](Baton::posted) is a future of its wait, and so is `(&baton).await`.
///
/// While a thread is panicking, `wait` blocks the thread even in a fiber: see the safety contract in `docs/soundness.md`.
pub struct Baton {
    state: AtomicUsize,
}

/// Who waits. Its address is the baton's state; the alignment keeps that apart from `EMPTY` and `POSTED`.
#[repr(align(8))]
enum Waiter {
    Fiber {
        wake_up: WakeUp,
        inbox: *const Inbox,
    },
    Thread {
        thread: Thread,
        released: AtomicBool,
    },
    /// Lies in an `Arc`, of which the word has a reference. `None` when it was called.
    Task(Mutex<Option<Waker>>),
}

impl Baton {
    /// A baton that has not been posted.
    #[must_use]
    pub const fn new() -> Baton {
        Baton {
            state: AtomicUsize::new(EMPTY),
        }
    }

    /// Waits until it has been posted. Returns at once if it has been already.
    ///
    /// # Panics
    /// If somebody else is waiting on this baton.
    pub fn wait(&self) {
        let posted = self.wait_until(None, Cancelling::Unwinds);
        debug_assert!(posted, "a wait without a deadline ends with a post");
    }

    /// As [`wait`](Baton::wait), where a fiber posts it when it ends.
    pub(crate) fn wait_for_an_end(&self) {
        let posted = self.wait_until_as(None, Cancelling::Unwinds, true);
        debug_assert!(posted, "a wait without a deadline ends with a post");
    }

    /// As [`wait`](Baton::wait), also in a fiber that is cancelled: for what has to be over before a frame may go.
    pub(crate) fn wait_to_the_end(&self) {
        let posted = self.wait_until(None, Cancelling::Waits);
        debug_assert!(posted, "a wait without a deadline ends with a post");
    }

    /// As [`wait_deadline`](Baton::wait_deadline), also in a fiber that is cancelled.
    pub(crate) fn wait_to_the_end_until(&self, deadline: Instant) -> bool {
        self.wait_until(Some(deadline), Cancelling::Waits)
    }

    /// Waits until it has been posted, at most until `deadline`, or until the fiber is cancelled, which is not unwound:
    /// that is left to the caller, who finds out first whether it has been called meanwhile. True if it was posted.
    ///
    /// After `false` it may be posted all the same, as after a time-out.
    pub(crate) fn wait_until_cancelled(&self, deadline: Option<Instant>) -> bool {
        self.wait_until(deadline, Cancelling::Ends)
    }

    /// Waits until it has been posted, at most for `timeout`; true if it was posted.
    ///
    /// After a time-out the baton is as it was before, and can be waited for again. A poster may still come late, so it has
    /// to share the ownership of the baton.
    ///
    /// # Panics
    /// If somebody else is waiting on this baton.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        if timeout.is_zero() {
            return self.try_wait();
        }
        // Further away than the clock can tell is for ever.
        self.wait_until(Instant::now().checked_add(timeout), Cancelling::Unwinds)
    }

    /// As [`wait_timeout`](Baton::wait_timeout), with a point in time.
    ///
    /// # Panics
    /// If somebody else is waiting on this baton.
    pub fn wait_deadline(&self, deadline: Instant) -> bool {
        if deadline <= Instant::now() {
            return self.try_wait();
        }
        self.wait_until(Some(deadline), Cancelling::Unwinds)
    }

    /// Whether it has been posted. Never waits.
    pub fn try_wait(&self) -> bool {
        self.state.load(Ordering::Acquire) == POSTED
    }

    /// Whether it was posted; if not, whoever posts it sees what the caller has done before.
    pub(crate) fn was_posted_before_now(&self) -> bool {
        // Changes nothing, but is a write that the post reads: a load could come before what the caller has done.
        self.state.fetch_or(0, Ordering::AcqRel) == POSTED
    }

    /// Lets the waiter go on, now or when it comes. A second post does nothing.
    pub fn post(&self) {
        let old = self.state.swap(POSTED, Ordering::AcqRel);
        if old > POSTED {
            let waiter: *const Waiter = std::ptr::with_exposed_provenance(old);
            // SAFETY: it was registered, and this swap took it out, so it is ours until it is woken.
            unsafe { wake(waiter) };
        }
    }

    /// Makes it as new, for another round. What was posted before is forgotten.
    ///
    /// # Panics
    /// If somebody is waiting on it.
    pub fn reset(&self) {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            assert!(state <= POSTED, "Baton::reset: somebody is waiting on it");
            // An exchange and not a store, so that what all posters up to now did is visible from here on.
            match self
                .state
                .compare_exchange_weak(state, EMPTY, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(now) => state = now,
            }
        }
    }

    fn wait_until(&self, deadline: Option<Instant>, cancelling: Cancelling) -> bool {
        self.wait_until_as(deadline, cancelling, false)
    }

    fn wait_until_as(&self, deadline: Option<Instant>, cancelling: Cancelling, for_an_end: bool) -> bool {
        match self.state.load(Ordering::Acquire) {
            POSTED => {
                if cancelling == Cancelling::Unwinds {
                    checkpoint();
                }
                return true;
            }
            EMPTY => {}
            _ => panic!("Baton::wait: somebody else is waiting on it; a baton has one waiter"),
        }
        let result = Worker::with_fiber(|here| match here {
            Some((worker, fiber)) => self.wait_in_fiber(worker, fiber, deadline, cancelling, for_an_end),
            None => self.wait_in_thread(deadline),
        });
        match result {
            Ended::Posted => true,
            Ended::TimedOut | Ended::Cancelled => false,
            Ended::Occupied => panic!("Baton::wait: somebody else is waiting on it; a baton has one waiter"),
        }
    }

    fn wait_in_fiber(
        &self,
        worker: &Worker,
        fiber: FiberRef,
        deadline: Option<Instant>,
        cancelling: Cancelling,
        for_an_end: bool,
    ) -> Ended {
        // Without unwinding there is no way out of here but the post.
        let cancellable = cancelling != Cancelling::Waits && UNWINDS;
        if cancelling == Cancelling::Unwinds {
            worker.checkpoint(fiber);
        }
        no_suspend::check();
        let waiter = Waiter::of_fiber(worker, fiber);
        let mut ended = None;
        // Runs while this fiber is suspended, or about to be: at the deadline, or when the fiber is cancelled. The latter may
        // also happen on the way to the next fiber, where a closure may be dropped that cannot start.
        let give_up = |why| {
            let is_out = (cancellable || why == Cut::Deadline) && self.unregister(&waiter);
            if is_out {
                worker.ready(fiber);
            }
            is_out
        };
        let cut = worker.with_end(fiber, deadline, &give_up, || {
            ended = if cancellable && worker.is_pending(fiber) {
                Some(Ended::Cancelled)
            } else {
                self.register(&waiter)
            };
            // From here on it may be woken, which puts it into the run queue, of this worker, and so is no matter before it
            // has been suspended.
            match ended {
                None if for_an_end => worker.suspend_for_an_end(fiber),
                None => worker.suspend(fiber),
                Some(_) => {}
            }
        });
        if self.state.load(Ordering::Relaxed) == address_of(&waiter) {
            // Somebody resumed a fiber that nobody woke. To go on would leave the address of this frame behind.
            sys::fatal(format_args!("a fiber was resumed while it waited for a Baton"));
        }
        match (ended, cut) {
            (Some(Ended::Cancelled), _) | (None, Some(Cut::Cancelled)) => {
                if cancelling == Cancelling::Ends {
                    return Ended::Cancelled;
                }
                worker.checkpoint(fiber);
                unreachable!("a fiber whose wait was ended can be unwound")
            }
            (Some(ended), _) => ended,
            (None, Some(Cut::Deadline)) => Ended::TimedOut,
            (None, None) => Ended::Posted,
        }
    }

    #[cold]
    fn wait_in_thread(&self, deadline: Option<Instant>) -> Ended {
        let waiter = Waiter::Thread {
            thread: thread::current(),
            released: AtomicBool::new(false),
        };
        if let Some(ended) = self.register(&waiter) {
            return ended;
        }
        if waiter.park_until(deadline, || self.unregister(&waiter)) {
            Ended::Posted
        } else {
            Ended::TimedOut
        }
    }

    /// Makes `waiter` the one that a post wakes; says how the wait has ended if it need not or cannot.
    fn register(&self, waiter: &Waiter) -> Option<Ended> {
        match self
            .state
            .compare_exchange(EMPTY, address_of(waiter), Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => None,
            Err(POSTED) => Some(Ended::Posted),
            Err(_) => Some(Ended::Occupied),
        }
    }

    /// Takes `waiter` out again; false if a post has done so.
    fn unregister(&self, waiter: &Waiter) -> bool {
        self.state
            .compare_exchange(address_of(waiter), EMPTY, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

impl Waiter {
    /// The running fiber's. It owns nothing, and to find that out takes longer than to forget it.
    #[inline(always)]
    fn of_fiber(worker: &Worker, fiber: FiberRef) -> ManuallyDrop<Waiter> {
        let (wake_up, inbox) = worker.wake_up(fiber);
        ManuallyDrop::new(Waiter::Fiber { wake_up, inbox })
    }

    /// Parks the thread, whose waiter this is, until it is let go, which is true, or it is `deadline`, and `leave` says that nobody
    /// has taken it yet.
    fn park_until(&self, mut deadline: Option<Instant>, leave: impl Fn() -> bool) -> bool {
        let Waiter::Thread { released, .. } = self else {
            unreachable!("a thread's waiter")
        };
        while !released.load(Ordering::Acquire) {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match left {
                None => thread::park(),
                Some(left) if !left.is_zero() => thread::park_timeout(left),
                Some(_) if leave() => return false,
                // A poster has it and is about to let go: that is a post in time.
                Some(_) => deadline = None,
            }
        }
        true
    }
}

/// Unwinds the caller if it is a fiber that is cancelled.
#[inline]
fn checkpoint() {
    Worker::with_fiber(|here| {
        if let Some((worker, fiber)) = here {
            worker.checkpoint(fiber);
        }
    });
}

/// What the baton's word is while `waiter` waits.
fn address_of(waiter: &Waiter) -> usize {
    (&raw const *waiter).expose_provenance()
}

/// What becomes of a wait when its fiber is cancelled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cancelling {
    /// The fiber is unwound.
    Unwinds,
    /// The wait ends, and says so.
    Ends,
    /// It goes on.
    Waits,
}

/// How a wait ended.
#[derive(Clone, Copy)]
enum Ended {
    Posted,
    TimedOut,
    Cancelled,
    Occupied,
}

/// # Safety
/// `waiter` was registered and has been taken out by the caller, who wakes it once.
#[inline]
unsafe fn wake(waiter: *const Waiter) {
    // SAFETY: it lives until it is woken, by the invariant of `WakeUp` or until its flag is set.
    match unsafe { &*waiter } {
        // SAFETY: the only wake-up of a suspended fiber.
        Waiter::Fiber { wake_up, inbox } => unsafe { sched::wake(wake_up, *inbox) },
        Waiter::Thread { thread, released } => {
            let thread = thread.clone();
            released.store(true, Ordering::Release);
            // The waiter may be gone from here on.
            thread.unpark();
        }
        // SAFETY: the word's reference, which comes with the address.
        Waiter::Task(_) => unsafe { posted::call(waiter) },
    }
}

impl Default for Baton {
    fn default() -> Self {
        Baton::new()
    }
}

impl fmt::Debug for Baton {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state.load(Ordering::Relaxed) {
            EMPTY => "empty",
            POSTED => "posted",
            _ => "waited for",
        };
        f.debug_tuple("Baton").field(&format_args!("{state}")).finish()
    }
}
