//! Readiness that a task is told of: an operation that no fiber is suspended in.
//!
//! ```text
//!   a task, on any thread                      the worker that watches
//!   ---------------------                      -----------------------
//!   Interest::new  ------ directly, or ----->  submits the operation; keeps the watch until it was handed out
//!                         through the inbox                 |
//!   its waker  <-------------------------------  completed: takes the waker out, and wakes it
//!   dropped: withdraws  -- the same ways --->  cancels the operation, which completes as any other
//! ```
//!
//! The operation lies in the watch, which is shared: nobody has to wait for the kernel when the interest is dropped, not even
//! where the kernel goes on for a while. It has no buffers, so nothing else is kept.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::cancel::Frame;
use super::inbox::Inbox;
use super::worker::Worker;
use crate::reactor::{Backend, Kind, Op, Outcome, Source, Submitted};
use crate::sys::{self, Direction};

/// # Invariant
/// `op` and `place` are touched by the thread of the worker that `home` is the inbox of, and by nobody before that.
struct Watch {
    op: Op,
    /// Where the worker keeps it while the reactor has the operation.
    place: Cell<Option<usize>>,
    /// `None` of one that was over before anybody had to watch.
    home: Option<Arc<Inbox>>,
    state: Mutex<State>,
}

enum State {
    Waiting(Waker),
    Over(Outcome),
    /// Nobody wants to know any more.
    Withdrawn,
}

// SAFETY: the invariant; the rest is `Send` by itself. The operation has no buffers, and nothing to drop.
unsafe impl Send for Watch {}
// SAFETY: as above.
unsafe impl Sync for Watch {}

impl Watch {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is over; tells whoever waits.
    fn end(&self, outcome: Outcome) {
        let mut state = self.state();
        if let State::Withdrawn = *state {
            return;
        }
        let old = std::mem::replace(&mut *state, State::Over(outcome));
        drop(state);
        if let State::Waiting(waker) = old {
            wake_task(waker);
        }
    }
}

/// That somebody waits until a descriptor is ready, without being suspended in it. Dropping it withdraws that.
pub(crate) struct Interest(Arc<Watch>);

impl Interest {
    /// Has `waker` woken when the descriptor is ready in that direction. The worker of this thread watches, or where there is
    /// none, the one that `elsewhere` knows.
    ///
    /// # Errors
    /// Those of `elsewhere`.
    pub(crate) fn new(
        source: Source,
        direction: Direction,
        waker: &Waker,
        elsewhere: impl FnOnce() -> io::Result<Arc<Inbox>>,
    ) -> io::Result<Interest> {
        let new = |home| {
            Interest(Arc::new(Watch {
                op: Op::new(source, Kind::Ready(direction)),
                place: Cell::new(None),
                home,
                state: Mutex::new(State::Waiting(waker.clone())),
            }))
        };
        let here = Worker::with(|worker| {
            let worker = worker?;
            let interest = new(Some(Arc::clone(&worker.inbox)));
            if let Some(outcome) = worker.watch(&interest.0) {
                // Without a wake: whoever has made it looks.
                *interest.0.state() = State::Over(outcome);
            }
            Some(interest)
        });
        if let Some(interest) = here {
            return Ok(interest);
        }
        // SAFETY: there are no buffers.
        if let Some(outcome) = unsafe { Op::new(source, Kind::Ready(direction)).attempt() } {
            let interest = new(None);
            *interest.0.state() = State::Over(outcome);
            return Ok(interest);
        }
        let home = elsewhere()?;
        let interest = new(Some(Arc::clone(&home)));
        let watch = Arc::clone(&interest.0);
        home.call(Box::new(move |worker| {
            if let Some(outcome) = worker.watch(&watch) {
                watch.end(outcome);
            }
        }));
        Ok(interest)
    }

    /// Ready when the descriptor was, or cannot be waited for; else `waker` will be woken, and no earlier one. `ECANCELED` where
    /// nobody watches any more.
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<Outcome> {
        match &*self.0.state() {
            State::Over(outcome) => return Poll::Ready(*outcome),
            State::Waiting(old) if old.will_wake(waker) => return Poll::Pending,
            _ => {}
        }
        // Cloning and dropping one runs its executor's code, which must not find the lock taken.
        let new = waker.clone();
        let mut state = self.0.state();
        if let State::Over(outcome) = *state {
            return Poll::Ready(outcome);
        }
        let old = std::mem::replace(&mut *state, State::Waiting(new));
        drop(state);
        drop(old);
        Poll::Pending
    }

    /// How it ended; `None` while it has not.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match *self.0.state() {
            State::Over(outcome) => Some(outcome),
            _ => None,
        }
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if let State::Over(_) = *state {
            return;
        }
        let old = std::mem::replace(&mut *state, State::Withdrawn);
        drop(state);
        drop(old);
        let watch = &self.0;
        let Some(home) = &watch.home else { return };
        let here = Worker::with(|worker| match worker {
            Some(worker) if Arc::ptr_eq(&worker.inbox, home) => {
                worker.unwatch(watch);
                true
            }
            _ => false,
        });
        if !here {
            // A worker that watches has it. One that has ended hears of nothing any more, and must not be kept by its own inbox.
            let theirs = Arc::downgrade(watch);
            home.call(Box::new(move |worker| {
                if let Some(watch) = theirs.upgrade() {
                    worker.unwatch(&watch);
                }
            }));
        }
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Interest").field(&self.0.op.source).finish()
    }
}

/// The watches whose operations a worker's reactor has.
#[derive(Default)]
pub(super) struct Watches {
    slots: Vec<Option<Arc<Watch>>>,
    free: Vec<usize>,
}

impl Watches {
    fn insert(&mut self, watch: Arc<Watch>) -> usize {
        let place = self.free.pop().unwrap_or(self.slots.len());
        if place == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[place] = Some(watch);
        place
    }

    fn remove(&mut self, place: usize) -> Arc<Watch> {
        self.free.push(place);
        self.slots[place].take().expect("it is there until it is handed out")
    }
}

// What an operation carries for a watch is its place, told from a fiber's address by being odd.

fn user_of(place: usize) -> *const () {
    ptr::without_provenance(place << 1 | 1)
}

pub(super) fn place_of(user: *const ()) -> Option<usize> {
    (user.addr() & 1 == 1).then_some(user.addr() >> 1)
}

impl Worker {
    /// Begins; gives the outcome where it is over at once.
    fn watch(&self, watch: &Arc<Watch>) -> Option<Outcome> {
        if let State::Withdrawn = *watch.state() {
            return Some(Err(libc::ECANCELED)); // and the descriptor may be another one by now
        }
        let place = self.watches.borrow_mut().insert(Arc::clone(watch));
        watch.op.set_user(user_of(place));
        // SAFETY: new; it has no buffers, and stays in its `Arc`, of which `watches` has one until it was handed out.
        let submitted = unsafe { self.reactor.borrow_mut().submit(NonNull::from(&watch.op)) };
        match submitted {
            Submitted::Done(outcome) => {
                drop(self.watches.borrow_mut().remove(place));
                Some(outcome)
            }
            Submitted::Pending => {
                watch.place.set(Some(place));
                None
            }
        }
    }

    /// Has it end early, if it has not ended.
    fn unwatch(&self, watch: &Watch) {
        if watch.place.get().is_some() {
            // SAFETY: it is pending, or completed and not handed out.
            unsafe { self.reactor.borrow_mut().cancel(NonNull::from(&watch.op)) };
        }
    }

    /// The operations of these watches were handed out. The reactor must not be borrowed: wakers do what they like.
    pub(super) fn watches_ended(&self, places: Vec<usize>) {
        for place in places {
            let watch = self.watches.borrow_mut().remove(place);
            watch.place.set(None);
            let outcome = watch.op.outcome().expect("it was handed out");
            watch.end(outcome);
        }
    }

    /// The worker is about to go: those that still watch elsewhere than in its fibers have to find another one.
    pub(super) fn end_watches(&self) {
        loop {
            let left: Vec<_> = self.watches.borrow().slots.iter().flatten().cloned().collect();
            if left.is_empty() {
                return;
            }
            left.iter().for_each(|watch| self.unwatch(watch));
            let mut ended = Vec::new();
            let mut reactor = self.reactor.borrow_mut();
            if let Err(error) = reactor.turn(Some(Duration::from_millis(100))) {
                sys::fatal(format_args!("the reactor {} cannot go on: {error}", reactor.kind()));
            }
            while let Some(op) = reactor.next_completed() {
                // SAFETY: just handed out, and alive: all fibers have ended, so it is a watch's.
                ended.extend(place_of(unsafe { op.as_ref() }.user()));
            }
            drop(reactor);
            self.watches_ended(ended);
        }
    }
}

/// Wakes a task of whatever executor, from where nothing may unwind: the end of a fiber, or the scheduler.
pub(crate) fn wake_task(waker: Waker) {
    let wake = || {
        // The panic has printed its message; the destructor of its payload may not get further either.
        if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| waker.wake())) {
            drop(panic::catch_unwind(AssertUnwindSafe(|| drop(payload))));
        }
    };
    // An executor's waker may send to a channel. In a fiber that is cancelled it would be unwound, and the wake lost.
    Worker::with_running(|here| match here {
        Some((worker, fiber)) => worker
            .within(fiber, &Frame::shield(), wake)
            .unwrap_or_else(|wake| wake()),
        None => wake(),
    });
}
