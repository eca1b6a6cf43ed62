//! What comes out of the ring, and what follows from it.

use std::io;
use std::ptr::NonNull;

use io_uring::cqueue;

use super::super::bell::Bell;
use super::super::op::{Kind, Op, Outcome};
use super::Uring;
use super::entry::Token;
use super::setup::Mode;
use crate::sys::{explain, fatal, prefetch};

/// How far ahead among the completions operations are fetched, and entries after them.
const OPS_AHEAD: usize = 6;
const ENTRIES_AHEAD: usize = 3;

impl Uring {
    /// Takes what the kernel has completed.
    pub(super) fn reap(&mut self) {
        let mut reaped = std::mem::take(&mut self.reaped);
        self.ring.reap(&mut reaped);
        for (i, completion) in reaped.iter().enumerate() {
            self.look_ahead(&reaped[i..]);
            let token = Token::from_bits(completion.user_data());
            self.apply(token, completion.result(), completion.flags());
        }
        reaped.clear();
        self.reaped = reaped;
    }

    /// Has the memory fetched that the next completions are about: of one that is a few steps away the operation, of one
    /// whose operation is here by now the entry.
    #[inline]
    fn look_ahead(&self, reaped: &[cqueue::Entry]) {
        let op_of = |completion: &cqueue::Entry| match Token::from_bits(completion.user_data()) {
            Token::Op(op) => Some(op),
            _ => None,
        };
        if let Some(later) = reaped.get(OPS_AHEAD).and_then(op_of) {
            prefetch(later.as_ptr(), size_of::<Op>());
        }
        if let Some(soon) = reaped.get(ENTRIES_AHEAD).and_then(op_of) {
            // SAFETY: its completion has not been applied, so it is pending, so it is alive.
            let fd = unsafe { soon.as_ref() }.source.fd;
            // An operation on a file may have none.
            if let Some(entry) = usize::try_from(fd).ok().and_then(|index| self.entries.get(index)) {
                prefetch(entry, size_of_val(entry));
            }
        }
    }

    pub(super) fn apply(&mut self, token: Token, result: i32, flags: u32) {
        match token {
            Token::Cancel => {}
            Token::Bell => {
                self.rung = true;
                match &self.bell {
                    Bell::Message(bell) => bell.hear(),
                    // The kernel gives up watching where it could not report a ring.
                    _ if !cqueue::more(flags) => {
                        // For want of memory; or for a reason that will not go away.
                        match -result {
                            ..=0 | libc::EAGAIN | libc::EINTR | libc::ENOMEM | libc::ECANCELED => self.watch_bell(),
                            errno => {
                                let error = explain("poll of an eventfd", &io::Error::from_raw_os_error(errno));
                                fatal(format_args!("the reactor io_uring cannot go on: {error}"));
                            }
                        }
                    }
                    _ => {}
                }
            }
            // Not the last word about it.
            Token::Op(_) | Token::Poll(_) if cqueue::more(flags) || cqueue::notif(flags) => {}
            Token::Op(op) => self.came_back(op, result, flags),
            Token::Poll(op) => self.became_ready(op, result),
        }
    }

    /// The kernel is through with an operation.
    fn came_back(&mut self, op: NonNull<Op>, result: i32, flags: u32) {
        // SAFETY: the kernel had it, so it was pending, so it is alive.
        let it = unsafe { op.as_ref() };
        if let Kind::File { .. } = it.kind {
            return self.file_came_back(op, outcome_of(result));
        }
        let cancelled = self.lane_of(it).cancelled;
        let outcome = match (outcome_of(result), &it.kind) {
            (Err(libc::EAGAIN | libc::EINTR), _) if cancelled => Err(libc::ECANCELED),
            // Interrupted, it goes on in the background, and must not be begun again.
            (Err(libc::EINTR | libc::EINPROGRESS), Kind::Connect { started, .. }) => {
                started.set(true);
                return self.poll_for(op);
            }
            // As by the plain call: it has not begun, and waiting would not help.
            (Err(libc::EAGAIN), Kind::Connect { .. }) => Err(libc::ENOBUFS),
            (outcome, Kind::Connect { .. }) => outcome,
            (Err(libc::EAGAIN | libc::EINTR), _) => return self.poll_for(op),
            (Ok(_events), Kind::Ready(_)) => Ok(0),
            (outcome, _) => outcome,
        };
        // The flag is as old as the mode.
        let more = (self.ring.mode() >= Mode::Cooperative).then(|| cqueue::sock_nonempty(flags));
        let calls = self.ring.calls();
        let entry = self.entry(it.source);
        let lane = entry.lane(it.direction());
        lane.comes_soon = lane.queued_at + 1 == calls;
        entry.learn_completed(it, outcome, more);
        self.end(op, outcome);
    }

    /// The descriptor became ready that an operation waits for.
    fn became_ready(&mut self, op: NonNull<Op>, result: i32) {
        // SAFETY: the kernel had it, so it was pending, so it is alive.
        let it = unsafe { op.as_ref() };
        let cancelled = self.lane_of(it).cancelled;
        let outcome = match outcome_of(result) {
            // SAFETY: pending, so its buffers are valid.
            Ok(_) => unsafe { it.attempt() },
            Err(errno) => Some(Err(errno)),
        };
        match outcome {
            Some(outcome) => {
                self.entry(it.source).learn_plain(it, Some(outcome));
                self.end(op, outcome);
            }
            None if cancelled => self.end(op, Err(libc::ECANCELED)),
            None => self.poll_for(op),
        }
    }

    /// Ends the operation that the kernel has had, and begins the next one.
    fn end(&mut self, op: NonNull<Op>, outcome: Outcome) {
        // SAFETY: pending, so alive.
        let it = unsafe { op.as_ref() };
        let lane = self.lane_of(it);
        debug_assert_eq!(lane.in_kernel, Some(op));
        lane.in_kernel = None;
        self.finish(op, outcome);
        self.advance(it.source, it.direction());
    }
}

fn outcome_of(result: i32) -> Outcome {
    usize::try_from(result).map_err(|_| -result)
}
