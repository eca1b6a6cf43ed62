//! Doing one operation on a descriptor: from a fiber, which is suspended meanwhile, or from a thread, which is blocked.

#![allow(unsafe_code, reason = "hands buffers to operations by address")]

use std::io;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use crate::reactor::{Kind, Op, Outcome, Source};
use crate::sched::Worker;
use crate::sys::{self, Direction};

/// What the caller wants of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// As long as it takes.
    Unlimited,
    /// `WouldBlock` after this time, which is how std's sockets report their time-outs on Unix.
    Limited(Duration),
    /// `WouldBlock` at once: the socket is in non-blocking mode.
    None,
}

/// Does it, and gives the count or descriptor that it ended with.
///
/// # Errors
/// The errno of the system call; `WouldBlock` when patience ran out.
///
/// # Safety
/// The invariant of [`Kind`]: what it points to stays valid, and is touched by nobody else, until this returns.
pub(crate) unsafe fn perform(source: Source, kind: Kind, patience: Patience) -> io::Result<usize> {
    let op = Op::new(source, kind);
    let timeout = match patience {
        Patience::Unlimited => None,
        Patience::Limited(timeout) => Some(timeout),
        // SAFETY: the caller's promise.
        Patience::None => return finish(unsafe { op.attempt() }),
    };
    let outcome = Worker::with_fiber(|here| match here {
        // SAFETY: the caller's promise; `op` is new, and does not move any more.
        Some((worker, fiber)) => Ok(unsafe { worker.perform(fiber, &op, timeout) }),
        // SAFETY: the caller's promise.
        None => unsafe { perform_in_thread(&op, timeout) },
    })?;
    finish(outcome)
}

/// Sends to a stream, as [`perform`] does.
///
/// # Errors
/// As [`perform`].
pub(crate) fn send(source: Source, bytes: &[u8], flags: libc::c_int, patience: Patience) -> io::Result<usize> {
    let at_once = Worker::with_fiber(|here| {
        let (worker, fiber) = here?;
        worker.send_at_once(fiber, source, bytes, flags)
    });
    if at_once.is_some() {
        return finish(at_once);
    }
    let kind = Kind::Send {
        buf: NonNull::from(bytes).cast(),
        len: bytes.len(),
        flags,
    };
    // SAFETY: `bytes` is borrowed until this returns.
    unsafe { perform(source, kind, patience) }
}

/// Calls `attempt`, which never waits, until it does something else than fail with `WouldBlock`, each time when the descriptor
/// has become ready.
///
/// # Errors
/// Those of `attempt`, and of waiting; `WouldBlock` when patience ran out.
pub(crate) fn when_ready<T>(
    source: Source,
    direction: Direction,
    patience: Patience,
    mut attempt: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    checkpoint();
    let mut deadline = None;
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && patience != Patience::None => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => {
                count_as_done();
                return result;
            }
        }
        let left = match patience {
            Patience::Limited(timeout) => {
                let now = Instant::now();
                // Further away than the clock can tell is for ever.
                let deadline = *deadline.get_or_insert_with(|| now.checked_add(timeout));
                deadline.map_or(Patience::Unlimited, |at| {
                    Patience::Limited(at.saturating_duration_since(now))
                })
            }
            other => other,
        };
        if left == Patience::Limited(Duration::ZERO) {
            return Err(io::Error::from_raw_os_error(libc::EAGAIN));
        }
        // SAFETY: there are no buffers.
        unsafe { perform(source, Kind::Ready(direction), left) }?;
    }
}

#[inline]
fn finish(outcome: Option<Outcome>) -> io::Result<usize> {
    outcome
        .unwrap_or(Err(libc::EAGAIN))
        .map_err(io::Error::from_raw_os_error)
}

/// # Safety
/// As [`perform`].
#[cold]
unsafe fn perform_in_thread(op: &Op, timeout: Option<Duration>) -> io::Result<Option<Outcome>> {
    // While a fiber is unwound, because it is cancelled, its thread is not kept waiting.
    let cancelled = Worker::with_running(|here| here.is_some_and(|(worker, fiber)| worker.is_pending(fiber)));
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        // SAFETY: the caller's promise.
        if let Some(outcome) = unsafe { op.attempt() } {
            return Ok(Some(outcome));
        }
        if cancelled {
            return Ok(Some(Err(libc::ECANCELED)));
        }
        if !sys::wait_ready(op.source.fd, op.direction(), deadline)? {
            return Ok(None);
        }
    }
}

/// Whether a wait suspends the caller, instead of blocking its thread.
pub(crate) fn is_in_fiber() -> bool {
    Worker::with_fiber(|here| here.is_some())
}

/// Unwinds the caller if it is a fiber that is cancelled.
pub(crate) fn checkpoint() {
    Worker::with_fiber(|here| {
        if let Some((worker, fiber)) = here {
            worker.checkpoint(fiber);
        }
    });
}

/// Counts an operation that a task begins in a fiber; true when the task is to let others run first, which have not for long.
#[cfg(feature = "futures-io")]
pub(crate) fn is_to_let_others_run() -> bool {
    Worker::with_fiber(|here| here.is_some_and(|(worker, _)| worker.ends_streak()))
}

/// Counts an operation that did not have to wait: a fiber that does only such has to let others run, now and then.
pub(crate) fn count_as_done() {
    Worker::with_fiber(|here| {
        if let Some((worker, fiber)) = here {
            worker.count_unsuspended(fiber);
        }
    });
}
