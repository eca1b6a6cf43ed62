//! The lock in an [`RwLock`](super::RwLock): one word, and one line for all who wait.
//!
//! ```text
//!   ... readers * READER ...  | QUEUED | WRITER |
//! ```
//!
//! A reader comes in if nobody writes and nobody waits, a writer if there is nobody at all; all others go to the end of the line. While
//! there is a line, the lock is given by those who leave alone, by [`settle`](RawRwLock::settle): to the writer at the front, or to
//! all readers up to the next writer. So neither side starves: who waits is served in its turn.
//!
//! `QUEUED` is changed under the lock of the line alone. While it is set, nobody comes in but by `settle`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::queue::{Locked, Place, Queue, Waited};

const WRITER: usize = 1;
const QUEUED: usize = 2;
const READER: usize = 4;

pub(super) struct RawRwLock {
    state: AtomicUsize,
    line: Queue<(), Wants>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    Read,
    Write,
}

impl Wants {
    /// What the word is with one more of these, or `None` if it has to wait.
    #[inline]
    fn admit(self, state: usize) -> Option<usize> {
        match self {
            Wants::Read if state & WRITER == 0 => {
                let more = state.checked_add(READER);
                Some(more.expect("too many active read locks on RwLock"))
            }
            Wants::Write if state & !QUEUED == 0 => Some(state | WRITER),
            _ => None,
        }
    }
}

type Line<'a> = Locked<'a, (), Wants>;

impl RawRwLock {
    pub(super) const fn new() -> RawRwLock {
        RawRwLock {
            state: AtomicUsize::new(0),
            line: Queue::new(()),
        }
    }

    #[inline]
    pub(super) fn try_lock(&self, wants: Wants) -> bool {
        let update = |state| (state & QUEUED == 0).then(|| wants.admit(state)).flatten();
        self.state
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, update)
            .is_ok()
    }

    /// False if the time was up first.
    #[inline]
    pub(super) fn lock_until(&self, wants: Wants, deadline: Option<Instant>) -> bool {
        self.try_lock(wants) || self.lock_slow(wants, deadline)
    }

    #[cold]
    fn lock_slow(&self, wants: Wants, deadline: Option<Instant>) -> bool {
        let line = self.line.lock();
        let is_first = line.is_empty(0);
        // It comes in, or whoever leaves looks into the line.
        let update = |state| {
            let admitted = is_first.then(|| wants.admit(state)).flatten();
            Some(admitted.unwrap_or(state | QUEUED))
        };
        let old = self
            .state
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, update)
            .expect("there is always an update");
        if is_first && wants.admit(old).is_some() {
            self.update_queued(&line);
            return true;
        }
        let gone = |line: &mut Line<'_>| self.settle(line);
        match line.wait(0, Place::Back, wants, deadline, || (), gone) {
            Waited::Called(_) => true,
            Waited::TimedOut(mut line, _) => {
                self.settle(&mut line);
                false
            }
        }
    }

    /// The caller had it locked in this way.
    #[inline]
    pub(super) fn unlock(&self, wants: Wants) {
        let left = self.leave(wants);
        if left & QUEUED != 0 && left & !QUEUED == 0 {
            self.settle(&mut self.line.lock());
        }
    }

    /// From writing to reading; readers who are next in the line come in, too.
    pub(super) fn downgrade(&self) {
        let old = self.state.fetch_add(READER - WRITER, Ordering::AcqRel);
        if old & QUEUED != 0 {
            self.settle(&mut self.line.lock());
        }
    }

    /// What the word is without the caller.
    #[inline]
    fn leave(&self, wants: Wants) -> usize {
        let one = match wants {
            Wants::Read => READER,
            Wants::Write => WRITER,
        };
        self.state.fetch_sub(one, Ordering::Release) - one
    }

    /// Lets in whoever is at the front, as long as that is possible.
    #[cold]
    fn settle(&self, line: &mut Line<'_>) {
        while let Some(&wants) = line.front(0) {
            let admitted = self
                .state
                .fetch_update(Ordering::Acquire, Ordering::Relaxed, |state| wants.admit(state));
            if admitted.is_err() {
                return;
            }
            line.call(0);
        }
        self.update_queued(line);
    }

    /// Under the lock of the line, when that may have become empty.
    fn update_queued(&self, line: &Line<'_>) {
        if line.is_empty(0) {
            self.state.fetch_and(!QUEUED, Ordering::Relaxed);
        }
    }
}
