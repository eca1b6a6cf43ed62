//! Whose stack has overflowed, for the handler of the fault: on the worker's own thread, without a lock or memory.

use super::control::FiberRef;
use super::worker::Worker;
use crate::stack::Description;

/// Tells who is on the stack above that guard, if that is a fiber of a worker of this thread.
pub(super) fn find(guard: usize, tell: &mut dyn FnMut(Description<'_>)) {
    Worker::with(|worker| {
        let mut next = worker;
        while let Some(worker) = next {
            if let Some(fiber) = worker.on_stack(guard) {
                // SAFETY: of a worker of this thread, which the fault has interrupted. What the slot holds is taken out and
                // put back in few places, none of which calls anything else meanwhile.
                if let Some(task) = unsafe { &*fiber.block().task.as_ptr() } {
                    tell(task.describe());
                }
                return;
            }
            next = worker.outer();
        }
    });
}

impl Worker {
    fn on_stack(&self, guard: usize) -> Option<FiberRef> {
        let has = |fiber: &FiberRef| {
            let stack = fiber.block().stack.as_ptr();
            // SAFETY: as above.
            let stack = unsafe { &*stack };
            stack.as_ref().is_some_and(|stack| stack.guard() == guard)
        };
        // In the middle of a switch the running fiber is another already than the one whose stack is in use.
        let current = self.current.get().filter(has);
        current.or_else(|| self.fibers.try_borrow().ok()?.iter().find(has))
    }
}
