//! A worker: one thread, its fibers, and what they wait for.
//!
//! The thread's own stack alternates between two things: it looks at the outside world (`turn`: the reactor, the timers, the
//! inbox), and it switches to the first fiber that can run. The fibers then switch among themselves (`switch`) until none
//! can run or their budget is used up, and only then come back here. What runs here may use as much stack as a thread has.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::abort::AbortOnUnwind;
use super::cancel::Home;
use super::carrier::Carrier;
use super::control::{FiberRef, Slab};
use super::inbox::Inbox;
use super::task::Task;
use super::timers::Timers;
use crate::context::{Engine, Handle};
use crate::reactor::{Backend, Reactor, ReactorKind};
use crate::stack::Pool;
use crate::sys;

/// How many switches there may be between two looks at the outside world.
const BUDGET: u32 = 128;

/// How many stacks of ended fibers are kept for the next ones.
const MAX_IDLE_STACKS: usize = 1024;

thread_local! {
    static CURRENT: Cell<*const Worker> = const { Cell::new(ptr::null()) };
}

/// How a worker is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) engine: Engine,
    pub(crate) reactor: Option<ReactorKind>,
    /// Of fibers that ask for nothing else, in bytes; checked.
    pub(crate) stack_size: usize,
}

/// One thread's scheduler.
pub(crate) struct Worker {
    pub(super) engine: Engine,
    pub(super) default_stack_size: usize,
    /// Where the thread's own stack is suspended while a fiber runs.
    pub(super) thread: Cell<Option<Handle>>,
    pub(super) current: Cell<Option<FiberRef>>,
    pub(super) run_queue: RefCell<VecDeque<FiberRef>>,
    /// Switches left before the outside world has to be looked at.
    pub(super) budget: Cell<u32>,
    /// Operations that the running fiber has done since the last switch, without waiting.
    pub(super) streak: Cell<u32>,
    /// Fibers that have not ended.
    pub(super) live: Cell<usize>,
    pub(super) fibers: RefCell<Slab>,
    pub(super) carriers: RefCell<Pool<Carrier>>,
    /// One that the pool had no room for, to be unmapped.
    pub(super) surplus: Cell<Option<Carrier>>,
    pub(super) reactor: RefCell<Reactor>,
    pub(super) timers: RefCell<Timers>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) home: Home,
    /// Fibers that start are cancelled.
    pub(super) stopping: Cell<bool>,
}

impl Worker {
    pub(crate) fn new(config: Config) -> io::Result<Worker> {
        let reactor = Reactor::open(config.reactor)?;
        log::info!("worker: reactor {}, switch {}", reactor.kind(), config.engine);
        let inbox = Inbox::new(reactor.bell());
        Ok(Worker {
            engine: config.engine,
            default_stack_size: config.stack_size,
            thread: Cell::new(None),
            current: Cell::new(None),
            run_queue: RefCell::new(VecDeque::with_capacity(64)),
            budget: Cell::new(BUDGET),
            streak: Cell::new(0),
            live: Cell::new(0),
            fibers: RefCell::new(Slab::default()),
            carriers: RefCell::new(Pool::new(MAX_IDLE_STACKS)),
            surplus: Cell::new(None),
            reactor: RefCell::new(reactor),
            timers: RefCell::new(Timers::new(Instant::now())),
            home: Home::new(&inbox),
            stopping: Cell::new(false),
            inbox,
        })
    }

    /// Calls `f` with the worker of this thread, if it has one.
    #[inline]
    pub(crate) fn with<R>(f: impl FnOnce(Option<&Worker>) -> R) -> R {
        let worker = CURRENT.get();
        // SAFETY: set by `run` alone, to a worker that outlives that call; and all that happens on this thread while it
        // is set happens within that call.
        f(unsafe { worker.as_ref() })
    }

    /// Calls `f` with the worker and the fiber that calls, or with `None` where a wait has to block the thread: outside of
    /// fibers, and while the thread is panicking. Switching then would show the panic to other fibers, because the
    /// standard library counts panics, and poisons locks, for each thread.
    #[inline]
    pub(crate) fn with_fiber<R>(f: impl FnOnce(Option<(&Worker, FiberRef)>) -> R) -> R {
        Worker::with(|worker| {
            let here = worker.and_then(|worker| worker.current.get().map(|fiber| (worker, fiber)));
            f(here.filter(|_| !std::thread::panicking()))
        })
    }

    pub(crate) fn engine(&self) -> Engine {
        self.engine
    }

    pub(crate) fn reactor_kind(&self) -> ReactorKind {
        self.reactor.borrow().kind()
    }

    pub(crate) fn default_stack_size(&self) -> usize {
        self.default_stack_size
    }

    /// Whether `task` is what the running fiber is doing.
    pub(crate) fn is_current_task(&self, task: *const ()) -> bool {
        self.current.get().is_some_and(|fiber| {
            let slot = &fiber.block().task;
            let current = slot.take();
            let same = current
                .as_ref()
                .is_some_and(|current| Arc::as_ptr(current).cast() == task);
            slot.set(current);
            same
        })
    }

    /// What the running fiber is doing.
    pub(crate) fn current_task(&self) -> Option<Arc<dyn Task>> {
        self.current.get()?.task()
    }

    /// Puts a new fiber at the end of the run queue. It gets a stack when its turn comes.
    pub(crate) fn spawn(&self, task: Arc<dyn Task>, stack_size: usize) {
        let fiber = self.fibers.borrow_mut().insert(task, stack_size);
        self.live.set(self.live.get() + 1);
        self.run_queue.borrow_mut().push_back(fiber);
    }

    /// Lets a suspended fiber run again when its turn comes.
    #[inline]
    pub(crate) fn ready(&self, fiber: FiberRef) {
        self.run_queue.borrow_mut().push_back(fiber);
    }

    /// Runs everything until the last fiber has ended. The thread's own stack stays in this call.
    pub(crate) fn run(&self) {
        // Unwinding out of here would leave suspended fibers without the thread that they belong to, and their stacks
        // would be unmapped with frames on them.
        let abort = AbortOnUnwind::arm();
        let outer = CURRENT.replace(self);
        while self.live.get() > 0 {
            self.turn();
            self.budget.set(BUDGET);
            self.leave(&self.thread, None);
        }
        CURRENT.set(outer);
        abort.disarm();
    }

    /// True while this thread runs fibers of this or another worker.
    pub(crate) fn is_running_here() -> bool {
        !CURRENT.get().is_null()
    }

    /// Looks at the reactor, the timers and the inbox, and waits for them if no fiber can run.
    fn turn(&self) {
        drop(self.surplus.take());
        let idle = self.run_queue.borrow().is_empty();
        let mut timeout = Some(Duration::ZERO);
        if idle && self.inbox.prepare_sleep() {
            let timers = self.timers.borrow();
            timeout = if timers.is_empty() {
                None
            } else {
                timers.next_wait(Instant::now())
            };
        }
        let mut reactor = self.reactor.borrow_mut();
        // With nothing pending there is nothing to hear from the kernel, except, when idle, the bell.
        if idle || reactor.pending() > 0 {
            if let Err(error) = reactor.turn(timeout) {
                // Without its reactor a worker can never resume those that wait.
                sys::fatal(format_args!("the reactor {} cannot go on: {error}", reactor.kind()));
            }
        }
        if idle {
            self.inbox.wake();
        }
        while let Some(op) = reactor.next_completed() {
            // SAFETY: handed out, and its fiber, which owns it, is still suspended.
            let user = unsafe { op.as_ref() }.user();
            // SAFETY: set from the fiber that waits for it.
            self.ready(unsafe { FiberRef::from_ptr(user) });
        }
        drop(reactor);
        self.fire_timers();
        self.inbox.drain(|fiber| self.ready(fiber), |call| call(self));
    }

    fn fire_timers(&self) {
        if self.timers.borrow().is_empty() {
            return;
        }
        let now = Instant::now();
        loop {
            let Some(entry) = self.timers.borrow_mut().pop_expired(now) else {
                return;
            };
            // SAFETY: just popped; its fiber is suspended within `with_deadline`, so the entry and its action are alive.
            let action = unsafe { entry.as_ref() }.action();
            // SAFETY: as above; nobody else refers to the action while the fiber is suspended.
            unsafe { (*action.as_ptr())() };
        }
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("engine", &self.engine)
            .field("live", &self.live)
            .finish_non_exhaustive()
    }
}
