//! What is known of a descriptor: what the kernel works on, who waits in line, and which way the next operation should go.
//!
//! An operation can go two ways. A plain system call that succeeds is the shorter one, if it is alone; but of operations
//! that go through the ring, a hundred cost one system call. So:
//!
//! - **Receiving** goes through the ring, unless it is known that something is there: the last completion said so
//!   (`IORING_CQE_F_SOCK_NONEMPTY`), or the last plain call filled its buffer, or the stream has ended. Where it is known
//!   that nothing is there, the kernel is told to wait first, which saves it the attempt.
//! - **Sending** is an answer if something was received through the ring since the last send: a request-response server is
//!   at work, others are likely to answer in the same turn, and they share a system call. Further sends are a stream: they
//!   are plain calls until the socket's buffer is full, and then wait in the ring.
//! - **Accepting** goes through the ring, unless the last one said that more are there. **Connecting** always does.

use super::super::op::{Kind, Op, OpList, Outcome};
use crate::sys::Direction;

use std::ptr::NonNull;

/// What is known about the next attempt in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Hint {
    #[default]
    Unknown,
    /// It succeeds.
    Ready,
    /// It would have to wait.
    Exhausted,
}

/// One direction of a descriptor. The kernel works on one operation at a time, so that they end in order.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// The one that was handed over and has not come back.
    pub(super) in_kernel: Option<NonNull<Op>>,
    /// It is to end early.
    pub(super) cancelled: bool,
    /// What was handed over last on its behalf is a wait for readiness.
    pub(super) polling: bool,
    /// Those behind it.
    pub(super) waiting: OpList,
    pub(super) hint: Hint,
    /// The last one came back from the system call that handed it over: it had to wait a little, or not at all.
    pub(super) comes_soon: bool,
    /// How many system calls had been made when it was queued.
    pub(super) queued_at: u64,
}

impl Lane {
    pub(super) fn is_idle(&self) -> bool {
        self.in_kernel.is_none() && self.waiting.is_empty()
    }
}

/// What is known of the current use of a descriptor number.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// Which use of the number this is about; 0: none.
    pub(super) generation: u64,
    pub(super) read: Lane,
    pub(super) write: Lane,
    /// Something was received through the ring, and nothing was sent since.
    answering: bool,
}

impl Entry {
    pub(super) fn new(generation: u64) -> Entry {
        let mut entry = Entry {
            generation,
            ..Entry::default()
        };
        entry.write.hint = Hint::Ready; // a new socket's buffer is empty
        entry
    }

    pub(super) fn is_idle(&self) -> bool {
        self.read.is_idle() && self.write.is_idle()
    }

    pub(super) fn lane(&mut self, direction: Direction) -> &mut Lane {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }

    /// Whether `op`, which is next in its direction, should be tried by a plain system call.
    pub(super) fn try_plainly(&mut self, op: &Op) -> bool {
        let is_answer = match op.kind {
            Kind::Connect { .. } => return false,
            Kind::Send { .. } | Kind::SendMsg { .. } | Kind::Write { .. } => std::mem::take(&mut self.answering),
            Kind::Accept { .. } | Kind::Recv { .. } | Kind::RecvMsg { .. } | Kind::Read { .. } | Kind::Ready(_) => {
                false
            }
            Kind::File { .. } => unreachable!("an operation on a file has no direction"),
        };
        !is_answer && self.lane(op.direction()).hint == Hint::Ready
    }

    /// Learns from a plain call; `None`: it would have waited.
    pub(super) fn learn_plain(&mut self, op: &Op, outcome: Option<Outcome>) {
        self.lane(op.direction()).hint = match (&op.kind, outcome) {
            (_, None) => Hint::Exhausted,
            (Kind::Accept { .. }, _) => Hint::Unknown, // connections come alone, more often than not
            (_, Some(outcome)) if op.exhausted_by(outcome) => Hint::Exhausted,
            _ => Hint::Ready,
        };
    }

    /// Learns from a completion. `more` is what the kernel said about what is left: `None` where it does not say.
    pub(super) fn learn_completed(&mut self, op: &Op, outcome: Outcome, more: Option<bool>) {
        let left = match more {
            Some(true) => Hint::Ready,
            Some(false) => Hint::Exhausted,
            None => Hint::Unknown,
        };
        self.lane(op.direction()).hint = match (&op.kind, outcome) {
            (_, Err(libc::ECANCELED)) => return,
            (Kind::Accept { .. }, _) if left == Hint::Exhausted => Hint::Unknown,
            (Kind::Accept { .. }, _) => left,
            (Kind::Recv { flags, .. } | Kind::RecvMsg { flags, .. }, Ok(n)) => {
                self.answering = true;
                // At the end it stays at the end; what was peeked at is still there.
                if n == 0 || flags & libc::MSG_PEEK != 0 {
                    Hint::Ready
                } else if left == Hint::Unknown && op.exhausted_by(outcome) {
                    Hint::Exhausted
                } else {
                    left
                }
            }
            (Kind::Read { .. }, Ok(n)) => {
                self.answering = true;
                if n == 0 { Hint::Ready } else { Hint::Unknown } // nothing is said about what is left
            }
            (_, Ok(_)) if op.exhausted_by(outcome) => Hint::Exhausted,
            // A socket that is broken says so at once.
            _ => Hint::Ready,
        };
    }
}
