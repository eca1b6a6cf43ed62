//! What a fiber has the thread's own stack do for it, because it needs more stack than a fiber has.
//!
//! ```text
//!   the thread's own stack                    fiber A
//!   ----------------------                    -------
//!   run_all: leave  ------------------------> runs
//!                                             on_thread_stack(work): puts it into `errand`
//!   do_errands: does it  <------------------- leaves for the thread, whoever is in the run queue
//!   leaves for A  --------------------------> goes on
//! ```
//!
//! No other fiber of the thread runs in between, and `current` stays A: what is done is done by A, on another stack. So
//! nothing of it may suspend A, which is already: `no_suspend` refuses that, as everywhere.

use std::ptr::NonNull;

use super::control::FiberRef;
use super::worker::Worker;
use crate::no_suspend::no_suspend;

/// # Invariant
/// `work` lies in a frame of `fiber`, which is suspended in [`Worker::on_thread_stack`] until it was called.
pub(super) struct Errand {
    fiber: FiberRef,
    work: NonNull<dyn FnMut()>,
}

impl Worker {
    /// Calls `work`, which must not panic, on the thread's own stack. It cannot suspend the fiber.
    pub(crate) fn on_thread_stack(&self, fiber: FiberRef, work: &mut dyn FnMut()) {
        let Some(thread) = self.thread.take() else {
            // Only while its own stack is in use, on an errand, does the thread have no suspended context.
            return work();
        };
        let work: NonNull<dyn FnMut() + '_> = NonNull::from(work);
        // SAFETY: only the lifetime is forgotten: it is called before this call returns.
        let work = unsafe { std::mem::transmute::<NonNull<dyn FnMut() + '_>, NonNull<dyn FnMut()>>(work) };
        self.errand.set(Some(Errand { fiber, work }));
        self.leave_for(thread, &fiber.block().context);
    }

    /// Whether the running fiber is on the thread's own stack.
    pub(crate) fn is_on_errand(&self) -> bool {
        let thread = self.thread.take();
        let is_there = thread.is_none();
        self.thread.set(thread);
        is_there
    }

    /// On the thread's own stack, when it has been entered: that may have been for an errand.
    pub(super) fn do_errands(&self) {
        while let Some(errand) = self.errand.take() {
            // SAFETY: the invariant.
            let work = unsafe { &mut *errand.work.as_ptr() };
            no_suspend(work);
            let context = errand.fiber.block().context.take();
            let context = context.expect("it was saved when the thread's stack was entered");
            self.leave_for(context, &self.thread);
        }
    }
}
