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
use super::control::{FiberRef, Kept, Slab};
use super::crew::{Crew, Member, PATIENCE, View};
use super::errand::Errand;
use super::fresh::Fresh;
use super::inbox::Inbox;
use super::overflow;
use super::slots;
use super::task::TaskRef;
use super::timers::Timers;
use super::watch::{Watches, place_of};
use crate::context::{Engine, Handle};
use crate::reactor::{Backend, Reactor, ReactorKind};
use crate::stack::{self, Pool, Room};
use crate::sys;
use crate::{no_suspend, pool_arc};

/// How many switches there may be between two looks at the outside world.
const BUDGET: u32 = 128;

/// How many stacks of ended fibers are kept for the next ones.
const MAX_IDLE_STACKS: usize = 1024;

thread_local! {
    static CURRENT: Cell<*const Worker> = const { Cell::new(ptr::null()) };
}

/// What the workers of a runtime have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) engine: Engine,
    pub(crate) reactor: ReactorKind,
    /// Of fibers that ask for nothing else, in bytes; checked.
    pub(crate) stack_size: usize,
    /// Whether it is found out what fibers use of their stacks.
    pub(crate) measure: Option<stack::Measure>,
}

/// One entry of the run queue.
#[derive(Clone, Copy, Debug)]
pub(super) enum Turn {
    /// A fiber that has its control block.
    Of(FiberRef),
    /// Whatever comes first in the worker's queue of what has not started, if it is still there: those who spawn and those
    /// who run take turns.
    OfFresh,
}

/// What a thread needs to become a worker. Made on that thread: a ring belongs to the thread that made it.
pub(crate) struct Candidate {
    reactor: Reactor,
    inbox: Arc<Inbox>,
}

impl Candidate {
    /// # Errors
    /// Where the reactor cannot start.
    pub(crate) fn new(reactor: Option<ReactorKind>) -> io::Result<Candidate> {
        let reactor = Reactor::open(reactor)?;
        Ok(Candidate {
            inbox: Inbox::new(reactor.bell()),
            reactor,
        })
    }

    pub(crate) fn reactor_kind(&self) -> ReactorKind {
        self.reactor.kind()
    }

    /// What the others are to know of it.
    pub(crate) fn member(&self) -> Member {
        Member::new(Arc::clone(&self.inbox))
    }
}

/// One thread's scheduler.
pub(crate) struct Worker {
    pub(super) engine: Engine,
    pub(super) default_stack_size: usize,
    pub(super) measure: Option<stack::Measure>,
    /// Where the thread's own stack is suspended while a fiber runs.
    pub(super) thread: Cell<Option<Handle>>,
    pub(super) current: Cell<Option<FiberRef>>,
    pub(super) run_queue: RefCell<VecDeque<Turn>>,
    /// Switches left before the outside world has to be looked at.
    pub(super) budget: Cell<u32>,
    /// What the running fiber, which is suspended meanwhile, has the thread's own stack do for it.
    pub(super) errand: Cell<Option<Errand>>,
    /// Operations that the running fiber has done since the last switch, without waiting.
    pub(super) streak: Cell<u32>,
    /// Looks of the running fiber that have found nothing, since the last switch and the last operation.
    pub(super) vain: Cell<u32>,
    pub(super) fibers: RefCell<Slab>,
    pub(super) carriers: RefCell<Pool<Carrier>>,
    /// Those that the pool had no room for, to be given back from the thread's own stack.
    pub(super) surplus: RefCell<Vec<Carrier>>,
    /// Since when stacks lie idle that were not looked at yet.
    trimmed: Cell<Option<Instant>>,
    pub(super) reactor: RefCell<Reactor>,
    pub(super) timers: RefCell<Timers>,
    pub(super) watches: RefCell<Watches>,
    pub(super) inbox: Arc<Inbox>,
    crew: Arc<Crew>,
    index: usize,
    /// With whom to compare next whether it has fewer fibers.
    next_peer: Cell<usize>,
    /// It has been asleep, and has not looked for work since.
    woken: Cell<bool>,
    /// From when on it takes what it would rather leave to others.
    patience: Cell<Option<Instant>>,
    pub(super) home: Home,
    /// The worker on one of whose fibers' stacks this one runs.
    outer: Cell<*const Worker>,
    /// Goes last, when the stacks above have been given back.
    counted: Cell<Option<stack::Counted>>,
}

impl Worker {
    /// The worker `index` of `crew`, in which `candidate` has a [`Member`] at that place.
    pub(crate) fn new(candidate: Candidate, crew: Arc<Crew>, index: usize) -> Worker {
        let config = *crew.config();
        log::info!(
            "worker {index}: reactor {}, switch {}",
            candidate.reactor.kind(),
            config.engine
        );
        Worker {
            engine: config.engine,
            default_stack_size: config.stack_size,
            measure: config.measure,
            thread: Cell::new(None),
            current: Cell::new(None),
            run_queue: RefCell::new(VecDeque::with_capacity(64)),
            budget: Cell::new(BUDGET),
            errand: Cell::new(None),
            streak: Cell::new(0),
            vain: Cell::new(0),
            fibers: RefCell::new(Slab::default()),
            carriers: RefCell::new(Pool::new(MAX_IDLE_STACKS)),
            surplus: RefCell::default(),
            trimmed: Cell::new(None),
            reactor: RefCell::new(candidate.reactor),
            timers: RefCell::new(Timers::new(Instant::now())),
            watches: RefCell::new(Watches::default()),
            home: Home::new(&candidate.inbox),
            inbox: candidate.inbox,
            crew,
            index,
            next_peer: Cell::new(0),
            woken: Cell::new(false),
            patience: Cell::new(None),
            outer: Cell::new(ptr::null()),
            counted: Cell::new(Some(stack::Counted::new())),
        }
    }

    /// Says that it runs no fibers, and for as long as the process: memory is not kept for the next fiber on its account.
    pub(crate) fn lives_for_ever(&self) {
        drop(self.counted.take());
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

    /// Lets the other fibers of this thread run; false where [`with_fiber`](Worker::with_fiber) gives none. Without closures,
    /// which the compiler does not always inline: a yield is little more than its switch.
    #[inline(always)]
    pub(crate) fn yield_if_in_fiber() -> bool {
        // SAFETY: as in `with`; used in this function alone.
        let worker = unsafe { CURRENT.get().as_ref() };
        let here = worker.and_then(|worker| worker.current.get().map(|fiber| (worker, fiber)));
        let Some((worker, fiber)) = here else { return false };
        if std::thread::panicking() {
            return false;
        }
        worker.yield_now(fiber);
        worker.checkpoint(fiber);
        true
    }

    /// Calls `f`, which must not run anybody else's code, with what is kept with the fiber that calls; `None` outside of fibers.
    #[inline]
    pub(crate) fn with_kept<R>(f: impl FnOnce(Option<&Kept>) -> R) -> R {
        Worker::with(|worker| {
            let fiber = worker.and_then(|worker| worker.current.get());
            f(fiber.as_ref().map(|fiber| &fiber.block().kept))
        })
    }

    pub(crate) fn default_stack_size(&self) -> usize {
        self.default_stack_size
    }

    /// Whether `task` is what the running fiber is doing.
    pub(crate) fn is_current_task(&self, task: *const ()) -> bool {
        self.current.get().is_some_and(|fiber| {
            let slot = &fiber.block().task;
            let current = slot.take();
            let same = current.as_ref().is_some_and(|current| current.address() == task);
            slot.set(current);
            same
        })
    }

    /// What the running fiber is doing.
    pub(crate) fn current_task(&self) -> Option<TaskRef> {
        self.current.get()?.task()
    }

    /// Starts a fiber, on this worker or on another. It gets a stack when its turn comes.
    pub(crate) fn spawn(&self, task: TaskRef, room: Room) {
        if self.crew.len() == 1 {
            return self.spawn_here(task, room);
        }
        self.figures().spawned.add(1);
        let turn = self.next_peer.get();
        self.next_peer.set(turn.wrapping_add(1));
        if let Some(lighter) = self.crew.lighter_than(self.index, turn) {
            return self.crew.hand_over(lighter, task, room);
        }
        self.figures().fresh.push(Fresh {
            task,
            room,
            handed_to: None,
        });
        self.run_queue.borrow_mut().push_back(Turn::OfFresh);
        self.crew.notify();
    }

    /// Starts a fiber on this worker.
    pub(crate) fn spawn_here(&self, task: TaskRef, room: Room) {
        self.figures().spawned.add(1);
        self.place_and_queue(task, room);
    }

    /// Starts a fiber on another worker of the same runtime, or this one.
    pub(crate) fn spawn_on(&self, index: usize, task: TaskRef, room: Room) {
        if index == self.index {
            return self.spawn_here(task, room);
        }
        self.figures().spawned.add(1);
        self.crew.start_on(index, task, room);
    }

    /// Gives a fiber that is counted already its place on this worker, and a turn.
    pub(super) fn place_and_queue(&self, task: TaskRef, room: Room) {
        let fiber = self.place(task, room);
        self.ready(fiber);
    }

    fn place(&self, task: TaskRef, room: Room) -> FiberRef {
        self.figures().placed.add(1);
        self.fibers.borrow_mut().insert(task, room)
    }

    fn place_fresh(&self, fresh: Fresh) -> FiberRef {
        self.crew.arrived(&fresh);
        self.place(fresh.task, fresh.room)
    }

    /// Gives the first that has not started its place; `None` if others have taken them all.
    #[inline(never)]
    pub(super) fn place_next(&self) -> Option<FiberRef> {
        self.figures().fresh.pop().map(|fresh| self.place_fresh(fresh))
    }

    /// What the others know of this worker.
    #[inline]
    pub(super) fn figures(&self) -> &Member {
        self.crew.member(self.index)
    }

    pub(super) fn outer(&self) -> Option<&Worker> {
        // SAFETY: set by `run`; the outer worker is in a call that has not returned.
        unsafe { self.outer.get().as_ref() }
    }

    pub(crate) fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    pub(crate) fn crew(&self) -> &Arc<Crew> {
        &self.crew
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Lets a suspended fiber run again when its turn comes.
    #[inline]
    pub(crate) fn ready(&self, fiber: FiberRef) {
        self.run_queue.borrow_mut().push_back(Turn::Of(fiber));
    }

    /// Runs fibers until none is left in the whole runtime and none can come. The thread's own stack stays in this call.
    pub(crate) fn run(&self) {
        // Unwinding out of here would leave suspended fibers without the thread that they belong to, and their stacks
        // would be unmapped with frames on them.
        let abort = AbortOnUnwind::arm();
        let watch = stack::Watch::begin(Some(overflow::find));
        let keeping = pool_arc::Keeping::begin();
        let outer = CURRENT.replace(self);
        self.outer.set(outer);
        no_suspend::outside(|| slots::around(&mut || self.run_all()));
        CURRENT.set(outer);
        // From here on this is no worker's thread, or the outer one's: who is woken turns to another one.
        self.end_watches();
        drop(keeping);
        drop(watch);
        abort.disarm();
    }

    #[inline(never)]
    fn run_all(&self) {
        while self.turn() {
            self.budget.set(BUDGET);
            self.leave(&self.thread);
            self.do_errands();
        }
    }

    /// Looks at the reactor, the timers and the inbox, and waits for them if no fiber can run. False when it is all over.
    fn turn(&self) -> bool {
        self.surplus.borrow_mut().clear();
        let mut idle = self.run_queue.borrow().is_empty();
        if idle || self.crew.has_post(self.index) {
            idle &= !self.take_work(idle);
        }
        if self.woken.replace(false) {
            self.crew.searched(!idle);
        }
        let mut timeout = Some(Duration::ZERO);
        let mut asleep = false;
        if idle && self.inbox.prepare_sleep() {
            self.crew.going_to_sleep();
            asleep = true;
            if self.crew.is_over(self.index) {
                self.crew.awake();
                self.inbox.wake();
                return false;
            }
            timeout = self.time_to_sleep();
        }
        let mut reactor = self.reactor.borrow_mut();
        // With nothing pending there is nothing to hear from the kernel, except, when idle, the bell.
        if idle || reactor.pending() > 0 {
            if let Err(error) = reactor.turn(timeout) {
                // Without its reactor a worker can never resume those that wait.
                sys::fatal(format_args!("the reactor {} cannot go on: {error}", reactor.kind()));
            }
        }
        if asleep {
            self.inbox.wake();
            self.crew.awake();
            self.woken.set(true);
        }
        let mut watches = Vec::new();
        while let Some(op) = reactor.next_completed() {
            // SAFETY: handed out, and its fiber, which owns it, is still suspended; or `self.watches` has it.
            let user = unsafe { op.as_ref() }.user();
            if let Some(place) = place_of(user) {
                watches.push(place);
                continue;
            }
            // SAFETY: set from the fiber that waits for it.
            self.ready(unsafe { FiberRef::from_ptr(user) });
        }
        drop(reactor);
        self.watches_ended(watches);
        self.fire_timers();
        self.inbox.drain(|fiber| self.ready(fiber), |call| call(self));
        true
    }

    /// Takes what has not started from where it lies; from other workers only if it is `idle`. False if there was nothing.
    fn take_work(&self, idle: bool) -> bool {
        let mut taken = Vec::new();
        let mut count = self.crew.take_post(self.index, &mut taken);
        if count == 0 && idle {
            let impatient = self.patience.get().is_some_and(|until| until <= Instant::now());
            count = self.crew.steal(self.index, impatient, &mut taken);
        }
        if count == 0 {
            return false;
        }
        self.patience.set(None);
        let mut taken = taken.into_iter();
        // At once, so that it is not taken away again, and again.
        if let Some(first) = taken.next() {
            let first = self.place_fresh(first);
            self.ready(first);
        }
        self.figures().fresh.extend(taken);
        let turns = std::iter::repeat_n(Turn::OfFresh, count - 1);
        self.run_queue.borrow_mut().extend(turns);
        true
    }

    /// How long the reactor may wait. The sleep has been announced.
    fn time_to_sleep(&self) -> Option<Duration> {
        let now = Instant::now();
        let impatient = self.patience.get().is_some_and(|until| until <= now);
        let limit = match self.crew.view(self.index, impatient) {
            View::Work => return Some(Duration::ZERO),
            View::OthersWork => {
                let until = self.patience.get().unwrap_or(now + PATIENCE);
                self.patience.set(Some(until));
                Some(until.saturating_duration_since(now))
            }
            View::Nothing => {
                self.patience.set(None);
                None
            }
        };
        let timers = self.timers.borrow();
        let timer = if timers.is_empty() { None } else { timers.next_wait(now) };
        [limit, timer, self.trim(now)].into_iter().flatten().min()
    }

    /// Gives back what of its stacks has not been wanted of late, and what a burst of fibers has left. Says when to do so again, if there may be more.
    fn trim(&self, now: Instant) -> Option<Duration> {
        let mut own = None;
        if self.carriers.borrow().is_trimmable() {
            let since = self.trimmed.get().unwrap_or(now);
            self.trimmed.set(Some(since));
            let mut left = stack::INTERVAL.saturating_sub(now.saturating_duration_since(since));
            if left.is_zero() {
                self.trimmed.set(Some(now));
                left = stack::INTERVAL;
                let unwanted = self.carriers.borrow_mut().trim();
                drop(unwanted);
                self.fibers.borrow_mut().trim();
                pool_arc::trim();
                self.run_queue.borrow_mut().shrink_to(64);
            }
            own = Some(left);
        } else {
            self.trimmed.set(None);
        }
        [own, stack::trim(now)].into_iter().flatten().min()
    }

    fn fire_timers(&self) {
        if self.timers.borrow().is_empty() {
            return;
        }
        let now = Instant::now();
        // Also while some are left of the last time, to which those with a deadline in the past are added: all get their turn.
        self.timers.borrow_mut().advance(now);
        // As many as can run before the next look at the timers: the frames of more would be out of the cache by then.
        for _ in 0..BUDGET {
            let mut timers = self.timers.borrow_mut();
            let Some(entry) = timers.pop_expired() else {
                return;
            };
            timers.look_ahead();
            drop(timers);
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
            .field("index", &self.index)
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}
