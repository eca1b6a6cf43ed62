//! The contract between the scheduler and whatever talks to the kernel: operations in, completions out.

use std::io;
use std::ptr::NonNull;
use std::time::Duration;

use super::bell::Bell;
use super::file::FileVerb;
use super::op::{Op, Outcome, Source};

/// What became of an operation when it was submitted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Submitted {
    /// It is over already. It will not be among the completions.
    Done(Outcome),
    /// The backend has it. It will be completed exactly once.
    Pending,
}

/// A reactor of one thread.
///
/// The contract, for whoever writes one and for whoever calls one:
///
/// 1. **One completion.** An operation that `submit` answered with `Pending` is completed exactly once: its outcome is
///    set, and `next_completed` hands it out. That holds also when it was cancelled, when its source was forgotten, and
///    when the kernel refused it. An operation that `submit` answered with `Done` is never handed out.
/// 2. **No reference outlives it.** Once an operation was handed out by `next_completed`, or `submit` answered `Done`,
///    neither the backend nor the kernel touches it or its buffers again.
/// 3. **Nothing completes behind the scheduler's back.** Completions are produced by `turn`, `cancel` and `forget` alone,
///    so a fiber may submit first and suspend afterwards. (With the exception of point 6: of other operations.)
/// 4. **`turn` waits, and wakes.** It returns when there is a completion, when the bell was rung, or when `timeout` has
///    passed: not before the timeout without one of these, except that the kernel may interrupt it. With `Some(ZERO)` it
///    does not wait. A bell that was rung before the call is not lost.
/// 5. **Order.** Operations of one direction of one source are tried, and end, in the order of their submission, but that one
///    that was cancelled may end before its turn. The two directions of a source are independent of each other.
/// 6. **A descriptor is forgotten before it is closed.** Afterwards its number may come back as another source. One that was
///    not forgotten, since it was closed on another thread, may have operations that wait for readiness alone: they are
///    cancelled when the number comes back, and by `cancel`.
/// 7. **Files have no order.** Operations on files ([`Kind::File`](super::Kind::File)) may be submitted to a backend that
///    takes them. They are independent of each other, on the same file too. To cancel one is to ask: it may run to its end
///    first, and `forget` waits for those of its descriptor. A descriptor that one ended with belongs to whoever it is
///    handed out to; nobody else's are left open when the backend is dropped. A file need not be forgotten while nothing
///    is under way on it.
pub(crate) trait Backend {
    /// Whether operations on files of this sort may be submitted. Those on sockets always may.
    fn takes(&self, verb: FileVerb) -> bool;

    /// Sends to a stream without an operation, if that is the same to everybody: where nobody waits in line and the kernel takes
    /// some. `None`: an operation is to be submitted.
    fn send_at_once(&mut self, _source: Source, _bytes: &[u8], _flags: libc::c_int) -> Option<Outcome> {
        None
    }

    /// Takes an operation on.
    ///
    /// # Safety
    /// `op` has not been submitted before, and is of a sort that the backend takes. If the answer is `Pending`, it keeps its
    /// place and stays alive until `next_completed` has handed it out, and so do its buffers; nobody else touches them.
    unsafe fn submit(&mut self, op: NonNull<Op>) -> Submitted;

    /// Ends a pending operation early: it completes, with `ECANCELED` unless it was over before. Does nothing to one that
    /// has its outcome already.
    ///
    /// # Safety
    /// `op` is pending, or completed and not yet handed out.
    unsafe fn cancel(&mut self, op: NonNull<Op>);

    /// Ends all operations on `source` with `ECANCELED`.
    fn cancel_all(&mut self, source: Source);

    /// Drops all knowledge of a descriptor that is about to be closed, or to leave this library. Operations that wait on
    /// it are cancelled. `still_open` says that the open file lives on elsewhere, so that closing this descriptor does not
    /// make the kernel forget it.
    fn forget(&mut self, source: Source, still_open: bool);

    /// Waits for completions, see point 4. `None` waits without limit.
    ///
    /// # Errors
    /// Only what leaves the backend unusable.
    fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// The next operation that has completed, oldest first.
    fn next_completed(&mut self) -> Option<NonNull<Op>>;

    /// How many operations are pending or completed and not yet handed out.
    fn pending(&self) -> usize;

    /// Something that any thread may ring to end a `turn`.
    fn bell(&self) -> Bell;
}
