//! The completion contract over any kernel that reports readiness: try the system call; where it would block, wait for
//! the edge and try again.
//!
//! ```text
//!               submit                         turn
//!                 |                              |
//!        known to be not ready?          selector.wait: edges
//!          |              | no                   |
//!          |           attempt ---> Done         v
//!          |              | would block     mark the direction ready,
//!          v              v                 attempt what waits, in order,
//!        register (once), wait in line  --> until one would block again
//! ```
//!
//! Three savings decide what this costs:
//! - A descriptor is registered once, for both directions, and only when something has to wait on it.
//! - What is known not to be ready is not attempted: after a short read the socket is empty, so the next read goes
//!   straight to waiting. A request-response server makes one `recv` and one `send` for each request.
//! - When an edge comes, the waiting operation itself is attempted, here; its fiber wakes with the result in hand.

use std::io;
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::time::Duration;

use super::backend::{Backend, Submitted};
use super::bell::Bell;
use super::file::FileVerb;
use super::op::{Op, OpList, Outcome, Source};
use super::selector::{Event, Selector};
use crate::sys::{Direction, prefetch, transfer};

/// How many events are applied before the fibers that they wake run.
const AT_ONCE: usize = 32;

/// How far ahead among the events entries are fetched, and operations after them.
const ENTRIES_AHEAD: usize = 6;
const OPS_AHEAD: usize = 3;

/// One direction of a descriptor.
#[derive(Debug, Default)]
struct Lane {
    /// An attempt may succeed. When false, an edge will come before it can.
    ready: bool,
    /// An attempt never blocks any more, so `ready` stays true.
    closed: bool,
    waiting: OpList,
}

/// What is known of the current use of a descriptor number.
#[derive(Debug, Default)]
struct Entry {
    /// Which use of the number this is about; 0: none.
    generation: u64,
    registered: bool,
    /// One of its directions was given up by the kernel: to be registered again when something has to wait.
    lapsed: bool,
    /// Urgent data was seen, or would not be: a short read does not mean an empty socket.
    urgent: bool,
    read: Lane,
    write: Lane,
}

impl Entry {
    fn lane(&mut self, direction: Direction) -> &mut Lane {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }
}

/// The backend for a readiness kernel.
#[derive(Debug)]
pub(crate) struct Readiness<S> {
    selector: S,
    /// Indexed by descriptor number, which the kernel keeps small and dense.
    entries: Vec<Entry>,
    /// What the last wait has brought, and how far it has been applied.
    events: Vec<Event>,
    next_event: usize,
    completed: OpList,
    pending: usize,
}

impl<S: Selector> Readiness<S> {
    pub(crate) fn new(selector: S) -> Self {
        Readiness {
            selector,
            entries: Vec::new(),
            events: Vec::new(),
            next_event: 0,
            completed: OpList::default(),
            pending: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn selector(&self) -> &S {
        &self.selector
    }

    #[cfg(test)]
    pub(super) fn selector_mut(&mut self) -> &mut S {
        &mut self.selector
    }

    /// The entry of a source, begun afresh where the number was last used by another one; its index.
    #[inline]
    fn entry_index(&mut self, source: Source) -> usize {
        let index = index_of(source.fd);
        let known = self.entries.get(index).map(|entry| entry.generation);
        if known != Some(source.generation) {
            self.begin(index, source.generation);
        }
        index
    }

    #[cold]
    fn begin(&mut self, index: usize, generation: u64) {
        if index >= self.entries.len() {
            self.entries.resize_with(index + 1, Entry::default);
        }
        let entry = &mut self.entries[index];
        // Closed on another thread, with watches that were withdrawn there: the news has not come yet.
        for lane in [&mut entry.read, &mut entry.write] {
            while let Some(op) = lane.waiting.pop_front() {
                finish(&mut self.completed, op, Err(libc::ECANCELED));
            }
        }
        *entry = Entry {
            generation,
            urgent: !S::SEES_URGENT,
            ..Entry::default()
        };
        // Nothing is known yet, so an attempt is worth while.
        entry.read.ready = true;
        entry.write.ready = true;
    }

    /// The entry of a source if it is the one that is known under this number.
    fn known(&mut self, source: Source) -> Option<&mut Entry> {
        self.entries
            .get_mut(index_of(source.fd))
            .filter(|entry| entry.generation == source.generation)
    }

    /// Begins to watch a source.
    #[cold]
    fn watch(&mut self, source: Source, index: usize) -> io::Result<()> {
        let token = token_of(source);
        match self.selector.register(source.fd, token) {
            // The open file is known under this number from an earlier use of it: a duplicate of it was left open.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                // Should this fail, so does what follows, and says why.
                drop(self.selector.deregister(source.fd, true));
                self.selector.register(source.fd, token)
            }
            result => result,
        }?;
        let entry = &mut self.entries[index];
        entry.registered = true;
        entry.lapsed = false;
        Ok(())
    }

    /// Attempts what waits in one direction, in order, for as long as it does not block.
    #[inline]
    fn advance(&mut self, index: usize, direction: Direction) {
        let entry = &mut self.entries[index];
        let urgent = entry.urgent;
        let lane = entry.lane(direction);
        while let Some(op) = lane.waiting.front() {
            let outcome = if lane.ready {
                // SAFETY: pending operations are alive and their buffers valid (contract of `submit`).
                unsafe { attempt(op, lane, urgent) }
            } else {
                // SAFETY: pending operations are alive.
                let fd = unsafe { op.as_ref() }.source.fd;
                match self.selector.arm(fd, direction) {
                    Ok(()) => return,
                    // Nobody would ever wake it.
                    Err(error) => Some(Err(errno_of(&error))),
                }
            };
            if let Some(outcome) = outcome {
                lane.waiting.pop_front();
                finish(&mut self.completed, op, outcome);
            }
        }
    }

    /// Applies the next few of the events that the last wait has brought, until something has completed.
    ///
    /// Not all of them at once: what the kernel has touched for a connection should still be in the cache when the fiber
    /// that was woken answers on it.
    fn apply_some(&mut self) {
        while self.completed.is_empty() && self.next_event < self.events.len() {
            let end = self.events.len().min(self.next_event + AT_ONCE);
            while self.next_event < end {
                self.look_ahead();
                let event = self.events[self.next_event];
                self.next_event += 1;
                self.apply(event);
            }
        }
    }

    /// Has the memory fetched that the next events are about: of one that is a few steps away the entry, of one whose
    /// entry is here by now the operation that waits.
    #[inline]
    fn look_ahead(&self) {
        let entry_of = |event: &Event| self.entries.get(index_of_token(event.token));
        if let Some(later) = self.events.get(self.next_event + ENTRIES_AHEAD).and_then(entry_of) {
            prefetch(later, size_of::<Entry>());
        }
        if let Some(soon) = self.events.get(self.next_event + OPS_AHEAD).and_then(entry_of) {
            if let Some(op) = soon.read.waiting.front() {
                prefetch(op.as_ptr(), size_of::<Op>());
            }
        }
    }

    fn apply(&mut self, event: Event) {
        let index = index_of_token(event.token);
        let Some(entry) = self
            .entries
            .get_mut(index)
            .filter(|e| is_token_of(event.token, e.generation))
        else {
            return; // about an earlier use of this number
        };
        entry.urgent |= event.urgent;
        for (lane, ready, closed) in [
            (&mut entry.read, event.readable, event.read_closed),
            (&mut entry.write, event.writable, event.write_closed),
        ] {
            lane.closed |= closed;
            lane.ready |= ready || closed;
        }
        self.advance(index, Direction::Read);
        self.advance(index, Direction::Write);
        if let Some(errno) = event.error {
            for (direction, concerned) in [(Direction::Read, event.readable), (Direction::Write, event.writable)] {
                if concerned {
                    self.give_up(index, direction, errno);
                }
            }
        }
    }

    /// Ends what still waits in a direction of which nothing more may be reported.
    fn give_up(&mut self, index: usize, direction: Direction, errno: i32) {
        let entry = &mut self.entries[index];
        entry.lapsed = true;
        entry.lane(direction).ready = true;
        while let Some(op) = self.entries[index].lane(direction).waiting.pop_front() {
            finish(&mut self.completed, op, Err(errno));
        }
    }

    fn cancel_lane(&mut self, source: Source, direction: Direction) {
        while let Some(op) = self
            .known(source)
            .and_then(|entry| entry.lane(direction).waiting.pop_front())
        {
            finish(&mut self.completed, op, Err(libc::ECANCELED));
        }
    }
}

/// Ends a pending operation that is in no list any more.
#[inline]
fn finish(completed: &mut OpList, op: NonNull<Op>, outcome: Outcome) {
    // SAFETY: pending, so alive.
    unsafe { op.as_ref() }.complete(outcome);
    // SAFETY: alive until it is handed out, and in no list.
    unsafe { completed.push_back(op) };
}

/// Attempts `op` and notes what the result says about its direction.
///
/// # Safety
/// `op` is alive and its buffers are valid.
#[inline]
unsafe fn attempt(op: NonNull<Op>, lane: &mut Lane, urgent: bool) -> Option<Outcome> {
    // SAFETY: the caller's promise.
    let op = unsafe { op.as_ref() };
    // SAFETY: the caller's promise.
    let outcome = unsafe { op.attempt() };
    let exhausted = outcome.is_none_or(|outcome| op.exhausted_by(outcome) && !urgent);
    lane.ready = lane.closed || !exhausted;
    // A closed direction cannot block. Should the kernel say so all the same, an edge will follow.
    if outcome.is_none() {
        lane.ready = false;
    }
    outcome
}

impl<S: Selector> Backend for Readiness<S> {
    fn takes(&self, _verb: FileVerb) -> bool {
        false // a file is always ready, and blocks all the same
    }

    /// Most answers fit into the socket's buffer. They need no operation, which is a third of what sending costs up here.
    #[inline]
    fn send_at_once(&mut self, source: Source, bytes: &[u8], flags: libc::c_int) -> Option<Outcome> {
        let index = self.entry_index(source);
        let Entry {
            urgent, write: lane, ..
        } = &mut self.entries[index];
        if !lane.ready || !lane.waiting.is_empty() {
            return None;
        }
        // SAFETY: the bytes are borrowed.
        match unsafe { transfer::send(source.fd, bytes.as_ptr(), bytes.len(), flags) } {
            Ok(sent) => {
                lane.ready = lane.closed || *urgent || sent == bytes.len();
                Some(Ok(sent))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                lane.ready = false;
                None
            }
            Err(error) => Some(Err(errno_of(&error))),
        }
    }

    unsafe fn submit(&mut self, op: NonNull<Op>) -> Submitted {
        // SAFETY: alive, by the contract.
        let it = unsafe { op.as_ref() };
        let (source, direction) = (it.source, it.direction());
        let index = self.entry_index(source);
        let entry = &mut self.entries[index];
        let (registered, urgent) = (entry.registered && !entry.lapsed, entry.urgent);
        let lane = entry.lane(direction);
        if lane.ready && lane.waiting.is_empty() {
            // SAFETY: alive and valid, by the contract.
            if let Some(outcome) = unsafe { attempt(op, lane, urgent) } {
                return Submitted::Done(outcome);
            }
        }
        if !registered {
            if let Err(error) = self.watch(source, index) {
                return Submitted::Done(Err(errno_of(&error)));
            }
        }
        if let Err(error) = self.selector.arm(source.fd, direction) {
            return Submitted::Done(Err(errno_of(&error)));
        }
        // SAFETY: in no list, and it stays alive, by the contract.
        unsafe { self.entries[index].lane(direction).waiting.push_back(op) };
        self.pending += 1;
        Submitted::Pending
    }

    unsafe fn cancel(&mut self, op: NonNull<Op>) {
        // SAFETY: alive, by the contract.
        let it = unsafe { op.as_ref() };
        if it.outcome().is_some() {
            return;
        }
        let (source, direction) = (it.source, it.direction());
        let index = self.entry_index(source);
        let lane = self.entries[index].lane(direction);
        debug_assert!(lane.waiting.contains(op), "a pending operation waits in its direction");
        // SAFETY: a pending operation is in the list of its direction.
        unsafe { lane.waiting.remove(op) };
        finish(&mut self.completed, op, Err(libc::ECANCELED));
    }

    fn cancel_all(&mut self, source: Source) {
        self.cancel_lane(source, Direction::Read);
        self.cancel_lane(source, Direction::Write);
    }

    fn forget(&mut self, source: Source, still_open: bool) {
        self.cancel_all(source);
        let Some(entry) = self.known(source) else { return };
        let registered = entry.registered;
        *entry = Entry::default();
        if registered {
            // It can only fail where the kernel has forgotten it already.
            if let Err(error) = self.selector.deregister(source.fd, still_open) {
                log::debug!("deregister descriptor {}: {error}", source.fd);
            }
        }
    }

    fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let has_completed = !self.completed.is_empty();
        if !has_completed {
            self.apply_some();
            if !self.completed.is_empty() {
                return Ok(());
            }
        }
        let mut result = Ok(());
        if self.next_event >= self.events.len() {
            self.next_event = 0;
            self.events.clear();
            let timeout = if has_completed { Some(Duration::ZERO) } else { timeout };
            result = self.selector.wait(timeout, &mut self.events);
        }
        self.apply_some();
        result
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
        self.selector.bell()
    }
}

/// The outcome of an operation that could not be watched for.
fn errno_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

// A token is the descriptor's number in the low half and the low half of its generation in the high half. Two uses of a
// number with the same token lie 2^32 sources apart; an event does not wait in the kernel for that long.

fn index_of(fd: RawFd) -> usize {
    usize::try_from(fd).expect("an open descriptor is not negative")
}

fn token_of(source: Source) -> u64 {
    let fd = u32::try_from(source.fd).expect("an open descriptor is not negative");
    (source.generation << 32) | u64::from(fd)
}

fn is_token_of(token: u64, generation: u64) -> bool {
    generation != 0 && token >> 32 == generation & 0xffff_ffff
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is meant")]
fn index_of_token(token: u64) -> usize {
    token as u32 as usize
}
