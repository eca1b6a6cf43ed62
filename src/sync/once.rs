//! What is done once, by whoever comes first.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicU8, Ordering};

use super::queue::{Place, Queue, Waited};
use crate::sched::{Frame, Worker};

const INCOMPLETE: u8 = 0;
const POISONED: u8 = 1;
const RUNNING: u8 = 2;
const COMPLETE: u8 = 3;

/// As [`std::sync::Once`], for fibers and threads.
///
/// ```
/// use kapok::sync::Once;
///
/// static START: Once = Once::new();
///
/// START.call_once(|| { /* here, for the first one only */ });
/// START.call_once(|| unreachable!());
/// assert!(START.is_completed());
/// ```
///
/// # Cancelling
/// What is called once is not cancelled in the middle: it would be poisoned for everybody for the sake of one. It runs
/// as in a [`shield`](crate::shield). Those who wait for it can be cancelled.
pub struct Once {
    state: AtomicU8,
    line: Queue<(), ()>,
}

/// As [`std::sync::ONCE_INIT`], for code that has been there for long.
#[deprecated(note = "use `Once::new()` instead")]
#[expect(
    clippy::declare_interior_mutable_const,
    reason = "as std has it: each use is a new one"
)]
pub const ONCE_INIT: Once = Once::new();

impl UnwindSafe for Once {}
impl RefUnwindSafe for Once {}

/// As [`std::sync::OnceState`]: what the function of [`Once::call_once_force`] is told.
pub struct OnceState {
    was_poisoned: bool,
    /// What becomes of the `Once` when the function returns.
    next: std::cell::Cell<u8>,
}

/// Ends the time in which the function runs, for better or worse.
struct Running<'a> {
    once: &'a Once,
    next: u8,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut line = self.once.line.lock();
        self.once.state.store(self.next, Ordering::Release);
        line.call_all(0);
    }
}

impl Once {
    /// One that nobody has called.
    #[must_use]
    pub const fn new() -> Once {
        Once {
            state: AtomicU8::new(INCOMPLETE),
            line: Queue::new(()),
        }
    }

    /// Calls `f` if nobody has called anything with this before. If somebody is about it, waits until that is done.
    ///
    /// # Panics
    /// If the function that was called, by this or an earlier call, panics. Where it would have to wait in a section of
    /// [`no_suspend`](crate::no_suspend()). If `f` calls it again with the same `Once`, it waits for ever.
    #[track_caller]
    pub fn call_once<F>(&self, f: F)
    where
        F: FnOnce(),
    {
        if !self.is_complete() {
            self.call(false, true, |_| f());
        }
    }

    /// As [`call_once`](Once::call_once), but if an earlier function has panicked, `f` is called all the same, and told so.
    ///
    /// # Panics
    /// If `f` does. Where it would have to wait in a section of [`no_suspend`](crate::no_suspend()).
    #[track_caller]
    pub fn call_once_force<F>(&self, f: F)
    where
        F: FnOnce(&OnceState),
    {
        if !self.is_complete() {
            self.call(true, true, f);
        }
    }

    /// Whether something was called, and has returned.
    ///
    /// A fiber that looks in vain 64 times in a row lets others run, but not within [`no_suspend`](crate::no_suspend()).
    #[inline]
    pub fn is_completed(&self) -> bool {
        self.is_complete() || Worker::looked_in_vain()
    }

    #[inline]
    pub(super) fn is_complete(&self) -> bool {
        self.state.load(Ordering::Acquire) == COMPLETE
    }

    /// Waits until something was called, and has returned.
    ///
    /// # Panics
    /// If it panics. Where it would have to wait in a section of [`no_suspend`](crate::no_suspend()).
    pub fn wait(&self) {
        if !self.is_complete() {
            self.wait_until_complete(false);
        }
    }

    /// As [`wait`](Once::wait), until something has returned without panicking.
    ///
    /// # Panics
    /// Where it would have to wait in a section of [`no_suspend`](crate::no_suspend()).
    pub fn wait_force(&self) {
        if !self.is_complete() {
            self.wait_until_complete(true);
        }
    }

    #[cold]
    #[track_caller]
    fn wait_until_complete(&self, ignore_poison: bool) {
        loop {
            match self.state.load(Ordering::Acquire) {
                COMPLETE => return,
                POISONED if !ignore_poison => poisoned(),
                _ => self.wait_for_change(|state| state != COMPLETE && (ignore_poison || state != POISONED)),
            }
        }
    }

    fn wait_for_change(&self, has_to_wait: impl FnOnce(u8) -> bool) {
        let line = self.line.lock();
        if !has_to_wait(self.state.load(Ordering::Acquire)) {
            return;
        }
        // Everybody is called at once, so nobody has to pass on anything.
        match line.wait(0, Place::Back, (), None, || (), |_| ()) {
            Waited::Called(()) | Waited::TimedOut(..) => {}
        }
    }

    /// `f` says by its state what becomes of this.
    #[cold]
    #[track_caller]
    pub(super) fn call(&self, ignore_poison: bool, shielded: bool, f: impl FnOnce(&OnceState)) {
        loop {
            let state = self.state.load(Ordering::Acquire);
            match state {
                COMPLETE => return,
                POISONED if !ignore_poison => poisoned(),
                RUNNING => self.wait_for_change(|state| state == RUNNING),
                _ => {
                    let begun = self
                        .state
                        .compare_exchange(state, RUNNING, Ordering::Acquire, Ordering::Relaxed);
                    if begun.is_err() {
                        continue;
                    }
                    let mut running = Running {
                        once: self,
                        next: POISONED,
                    };
                    let state = OnceState {
                        was_poisoned: state == POISONED,
                        next: std::cell::Cell::new(COMPLETE),
                    };
                    if shielded {
                        shield(|| f(&state));
                    } else {
                        f(&state);
                    }
                    running.next = state.next.get();
                    return;
                }
            }
        }
    }

    /// What nobody else can reach.
    pub(super) fn condition(&mut self) -> Condition {
        match *self.state.get_mut() {
            COMPLETE => Condition::Complete,
            POISONED => Condition::Poisoned,
            _ => Condition::Incomplete,
        }
    }

    pub(super) fn set_condition(&mut self, condition: Condition) {
        *self.state.get_mut() = match condition {
            Condition::Complete => COMPLETE,
            Condition::Poisoned => POISONED,
            Condition::Incomplete => INCOMPLETE,
        };
    }
}

/// How far a `Once` is that nobody else can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Incomplete,
    Poisoned,
    Complete,
}

#[cold]
#[track_caller]
fn poisoned() -> ! {
    panic!("Once instance has previously been poisoned");
}

/// Calls `f`, keeping out what is cancelled around it; in a coroutine nothing could be cancelled anyway.
fn shield(f: impl FnOnce()) {
    let frame = Frame::shield();
    Worker::with_running(|here| match here {
        Some((worker, fiber)) => worker.within(fiber, &frame, f).unwrap_or_else(|f| f()),
        None => f(),
    });
}

impl OnceState {
    /// Whether an earlier function has panicked.
    pub fn is_poisoned(&self) -> bool {
        self.was_poisoned
    }

    /// Has the `Once` be as if this function had panicked.
    pub(super) fn poison(&self) {
        self.next.set(POISONED);
    }
}

impl Default for Once {
    fn default() -> Once {
        Once::new()
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").finish_non_exhaustive()
    }
}

impl fmt::Debug for OnceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceState")
            .field("poisoned", &self.is_poisoned())
            .finish()
    }
}
