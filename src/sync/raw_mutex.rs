//! The lock in a [`Mutex`](super::Mutex): one word, and the line of those who wait for it.
//!
//! ```text
//!   0 --lock--> LOCKED ----------------------unlock---------------------> 0
//!                  | somebody comes                                       ^ the line is empty
//!                  v                                                      |
//!            LOCKED|QUEUED --unlock--> QUEUED: free, its front was called, and takes it, or finds it taken again
//!                  ^     \                |
//!                  |      +--unlock-------)--> LOCKED|QUEUED: handed over to the front, which had found it taken once
//!                  +----------lock--------+
//! ```
//!
//! `QUEUED` is changed under the lock of the line alone, and nobody but its holder changes a word that says `LOCKED` and
//! `QUEUED`.
//!
//! **Nobody starves.** Whoever comes may take a lock that is free, although others wait: to hand every lock over would make
//! every unlock a switch. But the front of the line, once it was called and has found the lock taken, is
//! back at the front, and the next unlock hands it the lock without letting go of it. So the front is overtaken only
//! for as long as it takes to begin to run, and by one holder more; the others move up in the order in which they came.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use super::queue::{Locked, Place, Queue, Waited};

const LOCKED: u8 = 1;
const QUEUED: u8 = 2;

pub(super) struct RawMutex {
    state: AtomicU8,
    line: Queue<Line, Waiter>,
}

struct Line {
    /// Somebody was called and has not come yet: nobody else need be.
    on_its_way: bool,
}

#[derive(Default)]
struct Waiter {
    /// It was called, and has found the lock taken.
    was_passed: bool,
    /// The lock is its own.
    handed_over: bool,
}

impl RawMutex {
    pub(super) const fn new() -> RawMutex {
        RawMutex {
            state: AtomicU8::new(0),
            line: Queue::new(Line { on_its_way: false }),
        }
    }

    #[inline]
    pub(super) fn try_lock(&self) -> bool {
        self.state
            .compare_exchange(0, LOCKED, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
            || self.try_lock_with_line()
    }

    #[inline]
    pub(super) fn lock(&self) {
        let fast = self
            .state
            .compare_exchange(0, LOCKED, Ordering::Acquire, Ordering::Relaxed);
        if fast.is_err() {
            let locked = self.lock_slow(None);
            debug_assert!(locked, "without a deadline it ends with the lock");
        }
    }

    /// False if the time was up first.
    pub(super) fn lock_until(&self, deadline: Option<Instant>) -> bool {
        self.try_lock() || self.lock_slow(deadline)
    }

    /// The caller holds the lock, and does not from here on.
    #[inline]
    pub(super) fn unlock(&self) {
        let fast = self
            .state
            .compare_exchange(LOCKED, 0, Ordering::Release, Ordering::Relaxed);
        if fast.is_err() {
            self.unlock_slow();
        }
    }

    #[cold]
    fn try_lock_with_line(&self) -> bool {
        let update = |state| (state & LOCKED == 0).then_some(state | LOCKED);
        self.state
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, update)
            .is_ok()
    }

    #[cold]
    fn lock_slow(&self, deadline: Option<Instant>) -> bool {
        if self.try_lock_with_line() {
            return true;
        }
        let (mut place, mut waiter) = (Place::Back, Waiter::default());
        let mut line = self.line.lock();
        loop {
            if self.take_or_announce() {
                self.update_queued(&line);
                return true;
            }
            let gone = |line: &mut Locked<'_, Line, Waiter>| self.update_queued(line);
            match line.wait(0, place, waiter, deadline, || (), gone) {
                Waited::Called(waiter) if waiter.handed_over => return true,
                Waited::Called(_) => {
                    line = self.line.lock();
                    line.on_its_way = false;
                    place = Place::Front;
                    waiter = Waiter {
                        was_passed: true,
                        handed_over: false,
                    };
                }
                Waited::TimedOut(line, _) => {
                    let taken = self.take_or_announce();
                    self.update_queued(&line);
                    return taken;
                }
            }
        }
    }

    /// Under the lock of the line: takes the lock, or has its holder look into the line when it unlocks.
    fn take_or_announce(&self) -> bool {
        let update = |state| {
            Some(if state & LOCKED == 0 {
                state | LOCKED
            } else {
                state | QUEUED
            })
        };
        let old = self
            .state
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, update)
            .expect("there is always an update");
        old & LOCKED == 0
    }

    /// Under the lock of the line, when that may have become empty.
    fn update_queued(&self, line: &Locked<'_, Line, Waiter>) {
        if line.is_empty(0) {
            self.state.fetch_and(!QUEUED, Ordering::Relaxed);
        }
    }

    #[cold]
    fn unlock_slow(&self) {
        self.release(&mut self.line.lock());
    }

    /// As `unlock`, under the lock of the line.
    fn release(&self, line: &mut Locked<'_, Line, Waiter>) {
        let hand_over = line.front(0).is_some_and(|front| front.was_passed);
        if hand_over {
            line.call(0).expect("there is a front").handed_over = true;
            self.update_queued(line);
            return;
        }
        if !line.on_its_way {
            line.on_its_way = line.call(0).is_some();
        }
        let queued = if line.is_empty(0) { 0 } else { QUEUED };
        self.state.store(queued, Ordering::Release);
    }
}
