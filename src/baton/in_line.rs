//! A wait whose one poster is chosen by a lock elsewhere: how those wait who stand in a line.
//!
//! ```text
//!   who waits                                      who calls
//!   ---------                                      ---------
//!   word = own address    (a store)
//!   joins the line, unlocks
//!   suspended                                      locks, takes it out of the line, unlocks
//!      .                                           word = POSTED, wakes the address   (a load, a store)
//!      .  time is up, or cancelled: locks;
//!      .  out of the line, if it is still in it
//! ```
//!
//! An ordinary wait and an ordinary post find out by the word who of them was first, which takes an atomic exchange each. Here the
//! lock of the line has decided that before either looks at the word, so loads and stores do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use super::{Baton, EMPTY, POSTED, Waiter, address_of, wake};
use crate::sched::{AbortOnUnwind, Cut, FiberRef, UNWINDS, Worker};
use crate::sys;

impl Baton {
    /// Has the running fiber join a line, and wait until it has been called there, at most until `deadline`, or until it is
    /// cancelled, which is not unwound. True if it was called: [`post_in_line`](Baton::post_in_line) came, and will not come
    /// again. The caller has seen that it may be suspended.
    ///
    /// Nobody knows this baton before `join` makes it known. `leave` takes the waiter out of the line again, for good, or says
    /// that it has been called; it is called on some stack of this thread. Neither may block, or panic, which would end the
    /// process.
    #[inline(always)]
    pub(crate) fn wait_in_line(
        &self,
        worker: &Worker,
        fiber: FiberRef,
        deadline: Option<Instant>,
        join: impl FnOnce(),
        leave: impl Fn() -> bool,
    ) -> bool {
        debug_assert_eq!(self.state.load(Ordering::Relaxed), EMPTY, "nobody knows it");
        let waiter = Waiter::of_fiber(worker, fiber);
        // Whoever calls sees it by the lock of the line.
        self.state.store(address_of(&waiter), Ordering::Relaxed);
        // As in an ordinary wait: this may run before the fiber has been suspended.
        let give_up = move |why| {
            let is_out = (UNWINDS || why == Cut::Deadline) && leave();
            if is_out {
                worker.ready(fiber);
            }
            is_out
        };
        let cut = worker.with_end(fiber, deadline, &give_up, || {
            // To unwind would leave the address of this frame in the line.
            let abort = AbortOnUnwind::arm();
            join();
            worker.suspend(fiber);
            abort.disarm();
        });
        if cut.is_none() && self.state.load(Ordering::Relaxed) != POSTED {
            // Somebody resumed a fiber that nobody called. To go on would leave the address of this frame in the line.
            sys::fatal(format_args!("a fiber was resumed while it stood in a line"));
        }
        cut.is_none()
    }

    /// As [`wait_in_line`](Baton::wait_in_line), by the thread that calls. `join` is called once.
    #[cold]
    pub(crate) fn wait_in_line_in_thread(
        &self,
        deadline: Option<Instant>,
        join: &mut dyn FnMut(),
        leave: &dyn Fn() -> bool,
    ) -> bool {
        debug_assert_eq!(self.state.load(Ordering::Relaxed), EMPTY, "nobody knows it");
        let waiter = Waiter::Thread {
            thread: thread::current(),
            released: AtomicBool::new(false),
        };
        self.state.store(address_of(&waiter), Ordering::Relaxed);
        let abort = AbortOnUnwind::arm();
        join();
        let called = waiter.park_until(deadline, leave);
        abort.disarm();
        called
    }

    /// Posts to one that was taken out of its line by the caller, as it is nobody else's then. The last that is done with it.
    #[inline]
    pub(crate) fn post_in_line(&self) {
        let waiter = self.state.load(Ordering::Acquire);
        if waiter <= POSTED {
            // It is one of several things that somebody waits for, and the wait is elsewhere.
            return self.post();
        }
        self.state.store(POSTED, Ordering::Release);
        // SAFETY: its own store has put it there, or a wait to the end that no time-out takes out again, and who posts is the only
        // one; so it waits until it is woken.
        unsafe { wake(std::ptr::with_exposed_provenance(waiter)) };
    }
}
