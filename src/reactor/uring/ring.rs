//! The ring itself: what is queued reaches the kernel, what the kernel has done comes back; nothing is lost in between.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use io_uring::squeue::Entry as Sqe;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, cqueue};

use super::fork::ForkGuard;
use super::setup::{self, Mode};
use crate::sys::{self, explain};

const FORKED: &str = "a runtime on io_uring cannot be used in a child of the process that made it, whose memory the kernel \
                      would read and write: make another runtime after fork";

/// What came of a look into the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// It did what it was asked to; there may be completions, or not yet.
    Fine,
    /// The time was up.
    TimedOut,
    /// A signal came.
    Interrupted,
}

pub(super) struct Ring {
    ring: IoUring,
    mode: Mode,
    /// What did not fit into the ring, because the kernel did not take what was there. Empty, nearly always.
    backlog: VecDeque<Sqe>,
    fork_guard: ForkGuard,
    /// System calls made.
    calls: u64,
}

impl Ring {
    pub(super) fn new(best: Mode, submissions: u32, completions: u32) -> io::Result<Ring> {
        let (ring, mode) = setup::open(best, submissions, completions)?;
        Ok(Ring {
            ring,
            mode,
            backlog: VecDeque::new(),
            fork_guard: ForkGuard::new()?,
            calls: 0,
        })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the ring owns the descriptor, and is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// Which operations the kernel knows.
    pub(super) fn probe(&self) -> io::Result<Probe> {
        let mut probe = Probe::new();
        self.ring.submitter().register_probe(&mut probe)?;
        Ok(probe)
    }

    /// In a child process a ring is another process's.
    pub(super) fn is_forked(&self) -> bool {
        self.fork_guard.is_forked()
    }

    /// # Errors
    /// In a child process.
    pub(super) fn check_process(&self) -> io::Result<()> {
        if self.is_forked() {
            return Err(io::Error::other(FORKED));
        }
        Ok(())
    }

    /// Queues an operation. It reaches the kernel with the next [`enter`](Ring::enter), or now if the queue is full.
    ///
    /// # Safety
    /// What it points to stays valid until its completion was reaped.
    ///
    /// # Panics
    /// In a child process.
    pub(super) unsafe fn push(&mut self, sqe: Sqe) {
        assert!(!self.is_forked(), "{FORKED}");
        // SAFETY: the caller's promise.
        if self.backlog.is_empty() && unsafe { self.try_push(&sqe) } {
            return;
        }
        self.calls += 1;
        if let Err(error) = self.ring.submit() {
            log::trace!("io_uring: the kernel does not take more for now: {error}");
        }
        self.backlog.push_back(sqe);
        self.refill();
    }

    /// # Safety
    /// As [`push`](Ring::push).
    unsafe fn try_push(&mut self, sqe: &Sqe) -> bool {
        // SAFETY: the caller's promise.
        unsafe { self.ring.submission().push(sqe) }.is_ok()
    }

    /// Moves what waits beside the ring into it, in order.
    fn refill(&mut self) {
        while let Some(sqe) = self.backlog.front().cloned() {
            // SAFETY: `push` was promised that it stays valid until it has completed, and it has not been submitted.
            if !unsafe { self.try_push(&sqe) } {
                return;
            }
            self.backlog.pop_front();
        }
    }

    /// Whether the kernel has to be asked, although nobody waits: something is queued, or it holds back completions.
    pub(super) fn needs_enter(&mut self) -> bool {
        self.refill();
        let queue = self.ring.submission();
        !queue.is_empty() || queue.taskrun() || queue.cq_overflow()
    }

    /// One system call: hands over all that is queued, and waits for a completion, for at most `timeout` (`None`: for ever;
    /// zero: not at all).
    ///
    /// # Errors
    /// Only what leaves the ring unusable.
    pub(super) fn enter(&mut self, timeout: Option<Duration>) -> io::Result<Entered> {
        self.check_process()?;
        self.refill();
        self.calls += 1;
        let result = match timeout {
            Some(Duration::ZERO) => self.ring.submit(),
            None => self.ring.submit_and_wait(1),
            Some(timeout) => {
                let timeout = Timespec::from(timeout);
                self.ring
                    .submitter()
                    .submit_with_args(1, &SubmitArgs::new().timespec(&timeout))
            }
        };
        match result {
            // Fewer may have been submitted than are queued; those are there the next time.
            Ok(_) => Ok(Entered::Fine),
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME) => Ok(Entered::TimedOut),
                Some(libc::EINTR) => Ok(Entered::Interrupted),
                // It wants its completions to be taken first. The caller does that next.
                Some(libc::EBUSY) => Ok(Entered::Fine),
                // It has no memory for requests. What is queued stays queued.
                Some(libc::EAGAIN) => {
                    sys::pause();
                    Ok(Entered::Interrupted)
                }
                _ => Err(explain("io_uring_enter", &error)),
            },
        }
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    /// Takes what has completed.
    #[inline]
    pub(super) fn reap(&mut self, into: &mut Vec<cqueue::Entry>) {
        into.extend(self.ring.completion());
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("mode", &self.mode)
            .field("backlog", &self.backlog.len())
            .field("calls", &self.calls)
            .finish_non_exhaustive()
    }
}
