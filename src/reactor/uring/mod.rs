//! The completion contract over `io_uring(7)`, which has the same shape: the kernel is given an operation with its buffer,
//! and says when it is over.
//!
//! ```text
//!     submit                                                        turn
//!       |                                                             |
//!   likely to succeed at once? -- yes --> plain call --> Done         v
//!       | no                        (would block)      one system call: hand over what is
//!       v                                |             queued, wait for a completion or the time-out
//!   first in its direction? <------------+                            |
//!       | yes          | no                                           v
//!       v              v                               for each completion: the operation ends,
//!   queue an entry   wait in line  <------------------ the next in line is queued
//! ```
//!
//! - All that the fibers of one round queue goes to the kernel with one system call, which also waits ([`ring`]).
//! - The kernel has at most one operation for each direction of a socket. So they end in order, whatever it does inside;
//!   the others wait here, in line ([`source`], which also says when a plain call is the better way).
//! - An entry names its operation by address ([`entry`]). The operation lies on a suspended fiber's stack and stays there
//!   until its one completion has come back, also when it was cancelled: to cancel is to ask the kernel, and to go on
//!   waiting.
//! - The kernel does not block in an operation on a socket, and starts no thread for it: it polls, as sockets can be polled.
//!   For operations on files it does start threads; those have no order, and a list of their own ([`files`]). Where it
//!   says `EAGAIN` nevertheless (`MSG_DONTWAIT`; kernels that heed `O_NONBLOCK`, which our sockets have), we ask it to poll
//!   and make the system call ourselves.
//!
//! What follows from a completion is in [`completions`]. How a ring is made, and what is said when it cannot be, is in [`setup`].
//!
//! # Invariant
//! An operation that is `in_kernel` of its lane, or was named by a token that has not come back, is alive, and its buffers
//! are valid. `submit`'s caller promises it until the operation was handed out, and it is not handed out before.

mod completions;
mod entry;
#[cfg(test)]
mod file_tests;
mod files;
mod fork;
#[cfg(test)]
mod outcomes;
mod ring;
mod setup;
mod source;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use io_uring::cqueue;

use super::backend::{Backend, Submitted};
use super::bell::{Bell, EventFd, Message};
use super::file::FileVerb;
use super::op::{Kind, Op, OpList, Outcome, Source};
use crate::sys::{self, Direction};
use entry::Token;
use files::Files;
#[cfg(test)]
pub(crate) use files::files_given;
use ring::{Entered, Ring};
use setup::Mode;
use source::{Entry, Hint, Lane};

/// How long to wait for what was cancelled before it is cancelled again. Once is enough, as far as is known.
const CANCEL_AGAIN: Duration = Duration::from_millis(100);

/// The backend for `io_uring`.
#[derive(Debug)]
pub(crate) struct Uring {
    ring: Ring,
    bell: Bell,
    /// The bell was heard, and no turn has ended for it yet.
    rung: bool,
    /// Indexed by descriptor number, which the kernel keeps small and dense.
    entries: Vec<Entry>,
    files: Files,
    /// What came out of the ring; kept for its memory.
    reaped: Vec<cqueue::Entry>,
    completed: OpList,
    pending: usize,
}

impl Uring {
    pub(crate) fn new() -> io::Result<Uring> {
        Uring::with(Mode::Deferred, true, setup::SUBMISSIONS, setup::COMPLETIONS)
    }

    /// One whose bell is an eventfd, as on a kernel that has no messages to a ring.
    #[cfg(test)]
    pub(super) fn as_before_6_13() -> io::Result<Uring> {
        Uring::with(Mode::Deferred, false, setup::SUBMISSIONS, setup::COMPLETIONS)
    }

    /// One that does without what came after Linux 5.13, as it works on an older kernel.
    #[cfg(test)]
    pub(super) fn as_before_5_19(submissions: u32, completions: u32) -> io::Result<Uring> {
        Uring::with(Mode::Interrupting, false, submissions, completions)
    }

    /// Whether the kernel does the rest of an operation when it is asked for completions, and not as soon as it can.
    #[cfg(test)]
    pub(super) fn defers(&self) -> bool {
        self.ring.mode() == Mode::Deferred
    }

    fn with(best: Mode, messages: bool, submissions: u32, completions: u32) -> io::Result<Uring> {
        let mut ring = Ring::new(best, submissions, completions)?;
        let bell = if messages {
            choose_bell(&mut ring)
        } else {
            EventFd::new().map(Bell::EventFd)
        }?;
        let files = Files::new(&ring.probe()?);
        let mut uring = Uring {
            ring,
            bell,
            files,
            rung: false,
            entries: Vec::new(),
            reaped: Vec::new(),
            completed: OpList::default(),
            pending: 0,
        };
        log::debug!("io_uring: completions are {:?}", uring.ring.mode());
        uring.watch_bell();
        Ok(uring)
    }

    /// The entry of a source, begun afresh where the number was last used by another one.
    fn entry(&mut self, source: Source) -> &mut Entry {
        let index = index_of(source.fd);
        if index >= self.entries.len() {
            self.entries.resize_with(index + 1, Entry::default);
        }
        let generation = self.entries[index].generation;
        if generation != source.generation {
            if !self.entries[index].is_idle() {
                // Closed on another thread, with watches that were withdrawn there: the news has not come yet.
                self.forget(Source { generation, ..source }, true);
            }
            self.entries[index] = Entry::new(source.generation);
        }
        &mut self.entries[index]
    }

    /// The entry of a source if it is the one that is known under this number.
    fn known(&mut self, source: Source) -> Option<&mut Entry> {
        self.entries
            .get_mut(index_of(source.fd))
            .filter(|entry| entry.generation == source.generation)
    }

    /// The lane of a pending operation.
    fn lane_of(&mut self, op: &Op) -> &mut Lane {
        self.entries[index_of(op.source.fd)].lane(op.direction())
    }

    /// Has the kernel say when the bell is rung, where it is not the ring itself.
    fn watch_bell(&mut self) {
        if let Bell::EventFd(bell) = &self.bell {
            // SAFETY: it has no buffers; the descriptor lives as long as the ring.
            unsafe { self.ring.push(entry::of_bell(bell.fd())) };
        }
    }

    /// Gives the kernel an operation, the only one of its direction.
    ///
    /// # Safety
    /// As for `submit`.
    unsafe fn hand_over(&mut self, op: NonNull<Op>) {
        // SAFETY: alive, by the caller's promise.
        let it = unsafe { op.as_ref() };
        let knows_poll_first = self.ring.mode() >= Mode::Cooperative;
        let calls = self.ring.calls();
        let lane = self.lane_of(it);
        debug_assert!(lane.in_kernel.is_none(), "one at a time");
        lane.queued_at = calls;
        lane.in_kernel = Some(op);
        lane.cancelled = false;
        lane.polling = false;
        let poll_first = knows_poll_first && lane.hint == Hint::Exhausted && !lane.comes_soon;
        // SAFETY: alive and valid, by the caller's promise.
        let sqe = unsafe { entry::of_op(op, poll_first) };
        // SAFETY: valid until it has been handed out, which is after its completion was reaped.
        unsafe { self.ring.push(sqe) };
    }

    /// Has the kernel wait for readiness on behalf of the operation that it works on.
    fn poll_for(&mut self, op: NonNull<Op>) {
        // SAFETY: pending, so alive.
        let it = unsafe { op.as_ref() };
        self.lane_of(it).polling = true;
        // SAFETY: a poll has no buffers.
        unsafe { self.ring.push(entry::of_poll(op, it.source.fd, it.direction())) };
    }

    /// Lets the next in line begin, in the direction of an operation that has ended.
    fn advance(&mut self, source: Source, direction: Direction) {
        while let Some(lane) = self.known(source).map(|entry| entry.lane(direction)) {
            if lane.in_kernel.is_some() {
                return;
            }
            let Some(op) = lane.waiting.pop_front() else { return };
            // SAFETY: pending operations are alive and their buffers valid (contract of `submit`).
            match unsafe { self.attempt(op) } {
                Some(outcome) => self.finish(op, outcome),
                // SAFETY: as above.
                None => unsafe { self.hand_over(op) },
            }
        }
    }

    /// Tries a plain system call where that is the better way; `None` where it is not, or where it would block.
    ///
    /// # Safety
    /// `op` is alive and its buffers are valid. It is next in its direction.
    unsafe fn attempt(&mut self, op: NonNull<Op>) -> Option<Outcome> {
        // SAFETY: the caller's promise.
        let it = unsafe { op.as_ref() };
        if !self.entry(it.source).try_plainly(it) {
            return None;
        }
        // SAFETY: the caller's promise.
        let outcome = unsafe { it.attempt() };
        self.entry(it.source).learn_plain(it, outcome);
        outcome
    }

    /// Ends a pending operation that is neither in line nor with the kernel.
    fn finish(&mut self, op: NonNull<Op>, outcome: Outcome) {
        // SAFETY: pending, so alive.
        unsafe { op.as_ref() }.complete(outcome);
        // SAFETY: alive until it is handed out, and in no list.
        unsafe { self.completed.push_back(op) };
    }

    /// Asks the kernel to end the operation that it works on.
    fn ask_to_cancel(&mut self, source: Source, direction: Direction) {
        let Some(lane) = self.known(source).map(|entry| entry.lane(direction)) else {
            return;
        };
        let Some(op) = lane.in_kernel else { return };
        lane.cancelled = true;
        let token = if lane.polling { Token::Poll(op) } else { Token::Op(op) };
        // SAFETY: it has no buffers.
        unsafe { self.ring.push(entry::of_cancel(token)) };
    }

    /// Waits until the kernel is through with all operations on `source`, which were cancelled. It does not take long:
    /// nothing on a socket runs to its end regardless.
    fn drain(&mut self, source: Source) {
        while self.known(source).is_some_and(|entry| !entry.is_idle()) {
            if self.wait_for_cancelled() == Entered::TimedOut {
                self.cancel_all(source);
            }
        }
    }

    /// Lets the kernel work until something has ended, or it is time to cancel again what should have.
    fn wait_for_cancelled(&mut self) -> Entered {
        let entered = match self.ring.enter(Some(CANCEL_AGAIN)) {
            Ok(entered) => entered,
            // The kernel has buffers that are about to be freed, and cannot be asked for them.
            Err(error) => sys::fatal(format_args!("the reactor io_uring cannot go on: {error}")),
        };
        self.reap();
        entered
    }
}

impl Backend for Uring {
    fn takes(&self, verb: FileVerb) -> bool {
        self.files.takes(verb)
    }

    unsafe fn submit(&mut self, op: NonNull<Op>) -> Submitted {
        // SAFETY: alive, by the contract.
        let it = unsafe { op.as_ref() };
        if let Kind::File { what, .. } = &it.kind {
            // SAFETY: alive and valid, by the contract.
            unsafe { self.submit_file(op, what) };
            return Submitted::Pending;
        }
        let lane = self.entry(it.source).lane(it.direction());
        if !lane.is_idle() {
            // SAFETY: in no list, and it stays alive, by the contract.
            unsafe { lane.waiting.push_back(op) };
        } else {
            // SAFETY: alive and valid, by the contract; nobody is before it.
            if let Some(outcome) = unsafe { self.attempt(op) } {
                return Submitted::Done(outcome);
            }
            // SAFETY: the caller's promise, and none is with the kernel.
            unsafe { self.hand_over(op) };
        }
        self.pending += 1;
        Submitted::Pending
    }

    unsafe fn cancel(&mut self, op: NonNull<Op>) {
        // SAFETY: alive, by the contract.
        let it = unsafe { op.as_ref() };
        if it.outcome().is_some() {
            return;
        }
        if let Kind::File { .. } = it.kind {
            return self.cancel_file(op);
        }
        let lane = self.lane_of(it);
        if lane.in_kernel == Some(op) {
            self.ask_to_cancel(it.source, it.direction());
        } else {
            debug_assert!(lane.waiting.contains(op), "a pending operation waits in its direction");
            // SAFETY: pending and not with the kernel, so in the list of its direction.
            unsafe { lane.waiting.remove(op) };
            self.finish(op, Err(libc::ECANCELED));
        }
    }

    fn cancel_all(&mut self, source: Source) {
        self.cancel_files(Some(source));
        for direction in [Direction::Read, Direction::Write] {
            self.ask_to_cancel(source, direction);
            while let Some(op) = self
                .known(source)
                .and_then(|entry| entry.lane(direction).waiting.pop_front())
            {
                self.finish(op, Err(libc::ECANCELED));
            }
        }
    }

    fn forget(&mut self, source: Source, _still_open: bool) {
        if self.ring.is_forked() {
            return;
        }
        if self.known(source).is_none() {
            self.cancel_files(Some(source));
            return self.drain_files(Some(source));
        }
        // An operation holds its file open in the kernel: one that was left would go on after the close.
        self.cancel_all(source);
        self.drain_files(Some(source));
        self.drain(source);
        self.entries[index_of(source.fd)] = Entry::default();
    }

    fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.ring.check_process()?;
        let deadline = timeout
            .filter(|timeout| !timeout.is_zero())
            .and_then(|timeout| Instant::now().checked_add(timeout));
        let mut left = timeout;
        self.reap();
        loop {
            if self.rung || !self.completed.is_empty() {
                left = Some(Duration::ZERO);
            }
            let may_wait = left != Some(Duration::ZERO);
            let mut interrupted = false;
            if may_wait || self.ring.needs_enter() {
                interrupted = self.ring.enter(left)? == Entered::Interrupted;
                self.reap();
            }
            if !may_wait || interrupted || self.rung || !self.completed.is_empty() {
                self.rung = false;
                return Ok(());
            }
            // What came was not for us: a cancellation's own completion, or a readiness that was gone again.
            left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        }
    }

    fn next_completed(&mut self) -> Option<NonNull<Op>> {
        let op = self.completed.pop_front()?;
        self.pending -= 1;
        Some(op)
    }

    fn pending(&self) -> usize {
        self.pending
    }

    fn bell(&self) -> Bell {
        self.bell.clone()
    }
}

impl Drop for Uring {
    /// Closing a ring does not wait for its operations, whose buffers may be gone right after this.
    fn drop(&mut self) {
        if self.ring.is_forked() {
            return; // what is under way writes to the parent's memory
        }
        self.cancel_files(None);
        self.drain_files(None);
        for index in 0..self.entries.len() {
            let Ok(fd) = RawFd::try_from(index) else { return };
            let generation = self.entries[index].generation;
            if !self.entries[index].is_idle() {
                let source = Source { fd, generation };
                self.cancel_all(source);
                self.drain(source);
            }
        }
        // A connection that was accepted after all, or a file that was opened, is nobody's: who waited is not told any more.
        while let Some(op) = self.completed.pop_front() {
            // SAFETY: not handed out, so alive.
            unsafe { op.as_ref() }.disown();
        }
    }
}

/// Messages into the ring, if this kernel carries them: one is sent to see. Else an eventfd that the ring watches.
fn choose_bell(ring: &mut Ring) -> io::Result<Bell> {
    let message = Message::new(ring.as_fd(), Token::Bell.to_bits())?;
    if let Err(error) = message.try_ring() {
        log::debug!("io_uring: no messages to a ring (before Linux 6.13): {error}");
        return EventFd::new().map(Bell::EventFd);
    }
    let mut arrived = Vec::new();
    while arrived.is_empty() {
        ring.enter(None)?;
        ring.reap(&mut arrived);
    }
    message.hear();
    Ok(Bell::Message(message))
}

fn index_of(fd: RawFd) -> usize {
    usize::try_from(fd).expect("an open descriptor is not negative")
}
