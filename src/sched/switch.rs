//! The switch: from one fiber directly to the next.
//!
//! ```text
//!   the thread's own stack                fiber A              fiber B             fiber C (not started)
//!   ----------------------                -------              -------             ---------------------
//!   run: while fibers live
//!     turn: reactor, timers, inbox
//!       -> run queue [A, B, C]
//!     switch to A  ---------------------> resumes
//!                                         has to wait:
//!                                         next is B ---------> resumes
//!                                                              ends: next is C
//!                                                              C starts right here, on B's stack
//!                                                              has to wait:
//!                                                              the queue is empty, or
//!                                                              the budget is used up
//!     <--------------------------------------------------------switch to the thread
//! ```
//!
//! A fiber that has to wait picks the next one itself and switches to it directly. The thread's own stack is entered only
//! to look at the outside world: when nobody can run, and after `worker::BUDGET` switches at the latest, so that neither I/O nor
//! timers starve behind fibers that keep each other busy. What runs there may use as much stack as a thread has.
//!
//! **Who left, arrives.** A context cannot note where it was suspended, because it is not suspended before the switch.
//! Each switch therefore carries a [`Departure`] across, and whoever arrives does the rest: stores the handle of the one
//! that left, and gives back the stack of one that has ended. So nobody uses a stack that is still in
//! use. A fiber that waits may be woken before it has left: that puts it into the run queue, which is looked at by whoever
//! leaves, or the inbox, which is looked at on the thread's own stack.
//!
//! **Invariants.** One suspension has one waker: a fiber that is suspended is resumed by exactly one call of `ready`. A
//! fiber is in the run queue at most once. `current` is the fiber whose stack is in use, or `None` on the thread's own.

use std::cell::Cell;
use std::ffi::c_void;
use std::io;

use super::abort::AbortOnUnwind;
use super::cancel::UNWINDS;
use super::carrier::Carrier;
use super::control::{ControlBlock, FiberRef};
use super::task::Task;
use super::worker::{Turn, Worker};
use crate::context::{Handle, Transfer};
use crate::ffi;
use crate::stack::{self, Measuring, Stack};
use crate::sys::prefetch;

/// How far ahead in the run queue frames are fetched, and control blocks before them.
const FRAMES_AHEAD: usize = 1;
const BLOCKS_AHEAD: usize = 4;

/// What is fetched of a block: what a switch needs.
const BLOCK_BYTES: usize = std::mem::offset_of!(ControlBlock, task);

/// How much of a suspended stack its fiber is likely to touch: what a server that reads a request has there.
const FRAMES_BYTES: usize = 2048;

/// The same of one that has yielded: the jump's record, and the frames from there to the one that called.
const SHALLOW_BYTES: usize = 256;

/// What a context leaves behind for whoever arrives next; lies on the stack that was left.
struct Departure {
    /// Where the handle of the context that left is to be kept.
    slot: *const Cell<Option<Handle>>,
    /// The fiber that has ended on the stack that was left, which is to be given back.
    ended: Option<FiberRef>,
}

/// Whom to switch to.
enum Next {
    /// Oneself: the only one who can run.
    Stay,
    Context(Handle),
}

impl Worker {
    /// Suspends the running context, keeps it in `slot`, and comes back when it is resumed.
    #[inline(always)]
    pub(super) fn leave(&self, slot: &Cell<Option<Handle>>) {
        if let Next::Context(to) = self.next() {
            self.leave_for(to, slot);
        }
    }

    /// As [`leave`](Worker::leave), for a context that the caller has chosen.
    #[inline(always)]
    pub(super) fn leave_for(&self, to: Handle, slot: &Cell<Option<Handle>>) {
        self.depart(to, slot, None);
    }

    /// As [`leave`](Worker::leave), for one that waits for what a fiber does last.
    #[inline(always)]
    pub(super) fn leave_for_an_end(&self, slot: &Cell<Option<Handle>>) {
        if let Next::Context(to) = self.next() {
            if self.engine.is_inline() {
                self.depart(to, slot, None);
            } else {
                self.depart_from_one_place(to, slot, None);
            }
        }
    }

    /// Goes to `to`, and comes back when somebody resumes the caller. `ended` is the fiber of the context that is left, if that
    /// has ended.
    #[inline(always)]
    fn depart(&self, to: Handle, slot: *const Cell<Option<Handle>>, ended: Option<FiberRef>) {
        let departure = Departure { slot, ended };
        // SAFETY: `to` is a handle of this engine and thread; every context of a worker expects a `Departure`, and this
        // one stays valid until somebody resumes this context, which is after `arrive` has read it. On-top functions are run
        // on coroutines only.
        let transfer = unsafe {
            self.engine
                .switch(to, (&raw const departure).cast_mut().cast::<c_void>())
        };
        // SAFETY: whoever resumed this context did so here or in `depart_from_one_place`.
        unsafe { self.arrive(transfer) };
    }

    /// As [`depart`](Worker::depart), with an engine whose jump is a function.
    ///
    /// That function returns to where the context that it resumes has called it, and the processor expects that to be where the
    /// one that was left has. So those who wait for an end, and those who end, call it at one place, which is here. A stack on
    /// which a fiber has ended does not return from here, but runs the next one, and comes to the same place again: who waits
    /// finds the processor's record of calls as it has left it. For others this would be a call more.
    #[inline(never)]
    fn depart_from_one_place(
        &self,
        mut to: Handle,
        mut slot: *const Cell<Option<Handle>>,
        mut ended: Option<FiberRef>,
    ) {
        loop {
            let departure = Departure { slot, ended };
            // SAFETY: as in `depart`.
            let transfer = unsafe { self.engine.jump(to, (&raw const departure).cast_mut().cast::<c_void>()) };
            // SAFETY: as in `depart`.
            unsafe { self.arrive(transfer) };
            if ended.is_none() {
                return;
            }
            let (next, gone) = self.run_fibers();
            (to, slot, ended) = (next, &raw const gone.block().context, Some(gone));
        }
    }

    /// Decides who runs next, and makes it `current`.
    #[inline]
    fn next(&self) -> Next {
        let leaving = self.current.get();
        self.streak.set(0);
        self.vain.set(0);
        while let Some(turn) = self.pop() {
            let fiber = match turn {
                Turn::Of(fiber) => Some(fiber),
                Turn::OfFresh => self.place_next(),
            };
            if let Some(fiber) = fiber {
                self.look_ahead();
                if Some(fiber) == leaving {
                    return Next::Stay;
                }
                let context = fiber.block().context.take();
                if let Some(context) = context.or_else(|| self.start(fiber)) {
                    self.set_current(fiber);
                    return Next::Context(context);
                }
            }
        }
        self.current.set(None);
        self.figures().running.set_none();
        // Without a context of its own to go back to, it is the thread that is leaving.
        self.thread.take().map_or(Next::Stay, Next::Context)
    }

    #[inline]
    fn set_current(&self, fiber: FiberRef) {
        self.current.set(Some(fiber));
        self.figures().running.set(fiber.block().who.get());
    }

    /// Has the memory fetched that those who come next will need: of one that is still a few switches away the control
    /// block, of one whose block is here by now the frames.
    #[inline]
    fn look_ahead(&self) {
        let queue = self.run_queue.borrow();
        if let Some(Turn::Of(soon)) = queue.get(FRAMES_AHEAD) {
            let block = soon.block();
            let context = block.context.take();
            if let Some(context) = &context {
                if block.is_shallow.get() {
                    prefetch(context.address(), SHALLOW_BYTES);
                } else {
                    prefetch(context.address(), FRAMES_BYTES);
                }
            }
            block.context.set(context);
        }
        if let Some(Turn::Of(later)) = queue.get(BLOCKS_AHEAD) {
            prefetch(later.as_ptr(), BLOCK_BYTES);
        }
    }

    /// Takes the next turn off the queue, and off the budget; `None` if there is neither.
    #[inline]
    fn pop(&self) -> Option<Turn> {
        let budget = self.budget.get().checked_sub(1)?;
        let turn = self.run_queue.borrow_mut().pop_front()?;
        self.budget.set(budget);
        Some(turn)
    }

    /// Gives a fiber its stack: one of a fiber that has ended, or a new one. Where none can be had, the fiber ends here.
    #[cold]
    fn start(&self, fiber: FiberRef) -> Option<Handle> {
        let block = fiber.block();
        let size = block.stack_size.get();
        let taken = block.stack.take();
        // One that has its bottom frame in place is better, also where another was taken for the fiber, which goes back then.
        let pooled = self.carriers.borrow_mut().take(size);
        match pooled.map_or_else(|| self.new_carrier(size, taken), Ok) {
            Ok(carrier) => {
                block.stack.set(Some(carrier.stack));
                Some(carrier.context)
            }
            Err(error) => {
                // The logger, and what the task drops on the way, may want to wait, which must block the thread here: the
                // fiber that is leaving has arranged for its own wake-up already. For that reason, too, a logger that panics must
                // not unwind that fiber: others have the address of its frame.
                let abort = AbortOnUnwind::arm();
                let leaving = self.current.take();
                log::error!("a fiber cannot start: {error}");
                if let Some(task) = block.task.take() {
                    task.fail(error);
                }
                self.current.set(leaving);
                abort.disarm();
                self.remove(fiber);
                None
            }
        }
    }

    /// A stack that was used by nobody of this worker. What lies idle here may be what is missing there.
    #[cold]
    pub(crate) fn take_stack(&self, size: usize) -> io::Result<Stack> {
        Stack::new(size).or_else(|error| {
            if error.kind() != io::ErrorKind::OutOfMemory {
                return Err(error);
            }
            let idle = self.carriers.borrow_mut().drain();
            if idle.is_empty() {
                return Err(error);
            }
            drop(idle);
            Stack::new(size)
        })
    }

    /// Gives back the memory below the caller's frame, if it runs on the stack of a fiber that is not measured.
    pub(crate) fn shrink_stack() {
        Worker::with_fiber(|here| {
            let Some((_, fiber)) = here.filter(|(worker, _)| worker.measure.is_none()) else {
                return;
            };
            // The stack is back in its place by then: the report of an overflow looks there.
            if let Some(addresses) = fiber.addresses() {
                stack::shrink_here(addresses);
            }
        });
    }

    #[cold]
    fn new_carrier(&self, size: usize, taken: Option<Stack>) -> io::Result<Carrier> {
        let stack = taken.map_or_else(|| self.take_stack(size), Ok)?;
        // SAFETY: the stack and the handle stay together: in a `Carrier`, or in a control block.
        let context = unsafe { self.engine.make(&stack, carry)? };
        Ok(Carrier { stack, context })
    }

    /// Forgets a fiber that has ended.
    fn remove(&self, fiber: FiberRef) {
        self.fibers.borrow_mut().remove(fiber);
        self.figures().ended.add(1);
    }

    /// Runs the current fiber, which has just started, to its end.
    fn run_current(&self) -> FiberRef {
        let fiber = self.current.get().expect("a carrier runs a fiber");
        let task = fiber.block().task.take().expect("a fiber that starts has a task");
        let work: *const dyn Task = &raw const *task;
        fiber.block().task.set(Some(task));
        // SAFETY: the control block keeps the task until `run_fibers` takes it out, after this call.
        let work = unsafe { &*work };
        if self.begin(fiber, work.life()) && UNWINDS {
            work.cancel();
        } else if self.measure.is_none() {
            work.run();
        } else {
            self.run_measured(fiber, work);
        }
        self.end(fiber, work.life());
        fiber
    }

    #[cold]
    #[inline(never)]
    fn run_measured(&self, fiber: FiberRef, work: &dyn Task) {
        let slot = &fiber.block().stack;
        let stack = slot.take();
        let measuring = self.measure.zip(stack.as_ref()).and_then(|(how, stack)| {
            // SAFETY: this is the fiber's stack, and so the one that is in use.
            unsafe { Measuring::begin(how, stack, work.who().spawned_at) }
        });
        slot.set(stack);
        work.run();
        if let Some(measuring) = measuring {
            // SAFETY: a fiber keeps its stack, and what it has called has returned.
            unsafe { measuring.end() };
        }
    }

    /// Runs the current fiber, which has not begun, to its end on this stack, and others after it for as long as those that are
    /// next can have it. Says where to go on then, and who has ended last.
    #[inline(never)]
    fn run_fibers(&self) -> (Handle, FiberRef) {
        loop {
            let ended = self.run_current();
            drop(ended.block().task.take());
            if self.adopt_next(ended) {
                continue;
            }
            let Next::Context(to) = self.next() else {
                unreachable!("who has ended is not in the run queue")
            };
            return (to, ended);
        }
    }

    /// Keeps the stack of a fiber that has ended for others. Its context was saved.
    #[inline]
    fn recycle(&self, ended: FiberRef) {
        let block = ended.block();
        let (stack, context) = (block.stack.take(), block.context.take());
        let carrier = stack.zip(context).map(|(stack, context)| Carrier { stack, context });
        let carrier = carrier.expect("a fiber that has run has a stack, and its context was saved");
        self.remove(ended);
        let refused = self.carriers.borrow_mut().put(carrier.stack.size(), carrier).err();
        // What the full pool has refused is given back later, by `turn`: that takes room, which the stack of the fiber that
        // goes on here may not have.
        self.surplus.borrow_mut().extend(refused);
    }

    /// Keeps the handle of the context that was left, and does what it asked for.
    ///
    /// # Safety
    /// `transfer` came from a context of this worker that has just been left.
    #[inline(always)]
    unsafe fn arrive(&self, transfer: Transfer) {
        // SAFETY: every such context passes a `Departure`, which lies on its stack, and that is suspended.
        let Departure { slot, ended } = unsafe { transfer.data.cast::<Departure>().read() };
        // SAFETY: the slot is in a control block or in the worker, both of which outlive the switch.
        unsafe { &*slot }.set(transfer.from);
        if let Some(ended) = ended {
            self.recycle(ended);
        }
    }

    /// Lets the stack of `ended` go over to the next fiber in the queue, if that has not started and wants the same size:
    /// no switch is needed then.
    fn adopt_next(&self, ended: FiberRef) -> bool {
        let wants_this = |turn: &Turn| {
            let Turn::Of(fiber) = turn else { return false };
            let (block, stack) = (fiber.block(), ended.block().stack.take());
            let fits = stack
                .as_ref()
                .is_some_and(|stack| stack.size() == block.stack_size.get());
            ended.block().stack.set(stack);
            // A fiber in the queue without a context has not started, or is the one that is leaving, and that one ended.
            let context = block.context.take();
            let fresh = context.is_none();
            block.context.set(context);
            fits && fresh
        };
        // What is first has to have its control block, to tell what it wants.
        while self.budget.get() > 0 && matches!(self.run_queue.borrow().front(), Some(Turn::OfFresh)) {
            match self.place_next() {
                Some(fiber) => *self.run_queue.borrow_mut().front_mut().expect("as above") = Turn::Of(fiber),
                // Thieves were quicker. That turn is off the budget, too, and may have been the last.
                None => _ = self.pop(),
            }
        }
        if self.budget.get() == 0 || !self.run_queue.borrow().front().is_some_and(wants_this) {
            return false;
        }
        let Some(Turn::Of(next)) = self.pop() else {
            unreachable!("there is a front, and it fits")
        };
        next.block().stack.set(ended.block().stack.take());
        self.remove(ended);
        self.set_current(next);
        true
    }
}

/// The bottom frame of every fiber's stack: runs one fiber after the other.
///
/// Between two fibers nothing on this stack owns anything, so it may be unmapped then.
unsafe extern "C-unwind" fn carry(first: ffi::kapok_transfer_t) {
    let _abort = AbortOnUnwind::arm();
    // SAFETY: what an engine hands to an entry function, converted once.
    let transfer = unsafe { Transfer::from_raw(first) };
    Worker::with(|worker| {
        let worker = worker.expect("fibers run within `Worker::run`");
        // SAFETY: only workers enter carriers.
        unsafe { worker.arrive(transfer) };
        loop {
            let (to, ended) = worker.run_fibers();
            let slot = &raw const ended.block().context;
            if worker.engine.is_inline() {
                worker.depart(to, slot, Some(ended));
            } else {
                worker.depart_from_one_place(to, slot, Some(ended));
            }
        }
    });
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::runtime::Builder;
    use crate::{spawn, spawn_local};

    /// The last turn of the budget is one whose closure a thief has taken, and who comes next has not started.
    #[test]
    fn a_turn_for_what_was_stolen_uses_up_the_budget() {
        let builder = Builder::new().workers(1);
        let ended = builder.run(|| {
            let last = spawn_local(|| {
                let next = Worker::with(|worker| {
                    let worker = worker.expect("in a fiber");
                    worker.run_queue.borrow_mut().push_back(Turn::OfFresh);
                    worker.budget.set(1);
                    spawn(|| 7)
                });
                spawn_local(move || next.join().unwrap())
            });
            last.join().unwrap().join().unwrap()
        });
        assert_eq!(ended.unwrap(), 7);
    }
}
