//! Ending early: time-outs, cancelling, and what is done first.
//!
//! ```
//! use std::time::Duration;
//!
//! kapok::run(|| -> std::io::Result<()> {
//!     let listener = kapok::net::TcpListener::bind("127.0.0.1:0")?;
//!     // Nobody comes.
//!     let outcome = kapok::timeout(Duration::from_millis(10), || listener.accept());
//!     assert!(outcome.is_err());
//!     Ok(())
//! })??;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # What can be cancelled
//! | what                                                 | by what                                      | what it gives then                     |
//! |------------------------------------------------------|----------------------------------------------|----------------------------------------|
//! | [`timeout`], [`deadline()`]                            | the time                                     | `Err(`[`Elapsed`]`)`                   |
//! | [`CancelToken::run`], in any number of fibers        | [`CancelToken::cancel`]                      | `Err(`[`Cancelled`]`)`                 |
//! | a fiber                                              | [`JoinHandle::cancel`]                       | its `join` gives an error that is a [`Cancelled`] |
//! | the fibers of a [`scope`](crate::fiber::scope)       | [`Scope::cancel`], a panic of one of them    | the same                               |
//! | all but the first of a [`race()`], [`select`]          | the first                                    | nothing                                |
//! | all fibers of a runtime                              | [`Runtime::shutdown`]                        | what refuses, where and how it was started |
//!
//! They nest, and what is inside is cancelled with what is around it: the nearest deadline wins. The fibers of a scope are
//! inside of what the scope is in, on whichever worker they run. A fiber that was started by [`spawn`](crate::spawn) is not inside of
//! anything: it may outlive who started it, so only its own handle cancels it. [`shield`] keeps out what comes from around it.
//!
//! # How it goes
//! A fiber is cancelled at its next **suspension point**: a call that may suspend it, whether or not it would have to this
//! time. Those are reading, writing, accepting and connecting, [`kapok::fs`](crate::fs), waiting for a
//! [`Baton`](crate::sync::Baton) and all that is made of it, `join`, `park`, `sleep`, `yield_now`, [`blocking`](crate::blocking()), and
//! [`checkpoint`], which does nothing else. Between them nothing is touched: code that computes goes on. What never waits is
//! none: what is given no time (`try_wait`, a time-out of zero), sockets in non-blocking mode, closing; and so is all that is done
//! within [`no_suspend`](crate::no_suspend()).
//!
//! A fiber that is cancelled from another thread is told by its own worker, which looks for such calls each time that it has
//! nothing to run, and after some hundred switches at the latest: until then it may pass suspension points at which it need
//! not wait. [`is_cancelled`] knows it at once.
//!
//! There it is **unwound** as by a panic: destructors run, but no message is printed and no panic hook called. What was cancelled catches the
//! unwinding and gives an error; what is further out goes on. Other `catch_unwind`s see a payload that is a [`Cancelled`]: they should
//! [resume](std::panic::resume_unwind) it. A fiber that does not is unwound again at its next suspension point, and so on.
//! A [`std::sync::Mutex`] that the fiber held is poisoned, as by a panic.
//!
//! **What was done is told.** An operation in flight is cancelled in the kernel, and its end waited for; when it had been
//! done all the same, its result is given to the caller, and the fiber is unwound at its next suspension point. The same
//! holds for a post that came first, and for [`blocking`](crate::blocking()), whose work cannot be stopped: it is waited
//! for. So one call either did what it was to do, and has told so, or did nothing:
//! - A `read` that is cancelled has taken nothing from the socket. The next one gets the same bytes.
//! - A `write` that is cancelled has sent nothing. **`write_all` is many writes**: when it is cancelled, a part may have been
//!   sent, and nothing tells how much. `read_exact` has taken bytes and lost them, a `BufWriter` holds back what was not
//!   sent. After such a call close the connection, or count with `write` yourself.
//! - An `accept` that is cancelled has taken no connection. The socket of a `connect` that is cancelled is closed.
//! - A call that is several calls to the system ([`fs::write`](crate::fs::write), reading to the end) may stop between them.
//!
//! A value is given also when it came late: `timeout` gives `Ok` if its function returned, however long that took.
//!
//! # In destructors, and with panics
//! Nothing is unwound while the thread is panicking, and unwinding for a cancellation counts as that. A call that has to wait in a
//! destructor then blocks the thread, as with every panic, with one exception: in a fiber that is cancelled, reading, writing and the
//! like fail with the error `ECANCELED` instead of waiting, and sleeping ends at once, so that a `BufWriter` that
//! wants to get rid of its last bytes does not stop everybody. A [`shield`] in the destructor says that it shall wait.
//!
//! # Without unwinding
//! In a program that is built with `panic = "abort"` a cancelled fiber cannot be unwound. Cancelling is cooperative there:
//! [`is_cancelled`] says so; operations on sockets and files in a ring end with the error `ECANCELED`, and so do later
//! ones; a sleep ends early. All else goes on as if nothing had been: waiting for a `Baton` or a fiber, which is cancelled by itself, and
//! `blocking`. `timeout` gives what its function returns. Fibers begin, even when they are cancelled already.
//!
//! # On plain threads
//! [`timeout`], [`deadline()`] and [`CancelToken::run`] panic there: nobody could keep their promise.

mod deadline;
mod race;
mod token;

pub use crate::sched::Cancelled;
pub use deadline::{Elapsed, deadline, timeout};
pub use race::{Either, race, race_all, select};
pub use token::CancelToken;

use std::panic::{self, AssertUnwindSafe, resume_unwind};

use crate::sched::{FiberRef, Frame, Worker};

#[cfg(doc)]
use crate::fiber::{JoinHandle, Scope};
#[cfg(doc)]
use crate::runtime::Runtime;

/// Whether the calling fiber is cancelled, so that its next suspension point is the last. False within a [`shield`] that
/// keeps it out, and on a plain thread.
///
/// For long computations, which reach no suspension point, and for programs that cannot be unwound.
///
/// ```
/// kapok::run(|| {
///     let fiber = kapok::spawn(|| {
///         let seen = kapok::is_cancelled();
///         kapok::fiber::current().unpark(); // suspends nobody
///         (seen, kapok::shield(kapok::is_cancelled))
///     });
///     assert_eq!(fiber.join().unwrap(), (false, false));
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn is_cancelled() -> bool {
    Worker::with_running(|here| here.is_some_and(|(worker, fiber)| worker.is_cancelled(fiber)))
}

/// A suspension point that does not suspend: unwinds the calling fiber if it is cancelled. For long computations.
///
/// ```
/// use kapok::cancel::{CancelToken, checkpoint};
///
/// kapok::run(|| {
///     let token = CancelToken::new();
///     let outcome = token.run(|| {
///         for round in 0.. {
///             checkpoint();
///             if round == 1000 {
///                 token.cancel();
///             }
///         }
///     });
///     assert!(outcome.is_err());
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn checkpoint() {
    Worker::with_fiber(|here| {
        if let Some((worker, fiber)) = here {
            if worker.is_cancelled(fiber) {
                worker.checkpoint(fiber);
            }
        }
    });
}

/// Calls `f`, keeping out what is cancelled around it: its suspension points do not unwind. What is opened within, a
/// `timeout` for instance, works as ever. After it, what was kept out is in force again.
///
/// For what has to be finished: to say good-bye to the peer, to give back what was borrowed. Give it a time-out of its own.
///
/// ```
/// use std::time::Duration;
///
/// kapok::run(|| {
///     let outcome = kapok::timeout(Duration::from_millis(1), || {
///         kapok::shield(|| kapok::fiber::sleep(Duration::from_millis(20)));
///         kapok::fiber::yield_now(); // here it ends
///         unreachable!("it was cancelled");
///     });
///     assert!(outcome.is_err());
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Panics
/// With what `f` panicked with. In a [`Coroutine`](crate::coroutine::Coroutine) in a fiber: that could be left in the middle.
pub fn shield<T>(f: impl FnOnce() -> T) -> T {
    let frame = Frame::shield();
    Worker::with_running(|here| match here {
        Some((worker, fiber)) => within(worker, fiber, &frame, f),
        None => f(),
    })
}

/// Calls `f` within `frame`; `Err` where the frame was cancelled and `f` unwound for it.
fn catch<T>(worker: &Worker, fiber: FiberRef, frame: &Frame<'_>, f: impl FnOnce() -> T) -> Result<T, Cancelled> {
    // What was caught is resumed, or is the unwinding that this frame was cancelled with: whoever sees what was left
    // half done sees the error.
    let result = within(worker, fiber, frame, || panic::catch_unwind(AssertUnwindSafe(f)));
    match result {
        Ok(value) => Ok(value),
        Err(payload) if payload.is::<Cancelled>() && frame.is_cancelled_itself() => Err(Cancelled),
        Err(payload) => resume_unwind(payload),
    }
}

fn within<T>(worker: &Worker, fiber: FiberRef, frame: &Frame<'_>, f: impl FnOnce() -> T) -> T {
    match worker.within(fiber, frame, f) {
        Ok(value) => value,
        // In a destructor nothing is unwound anyway; nor on the thread's own stack, where nothing waits.
        Err(f) if std::thread::panicking() || worker.is_on_errand() => f(),
        Err(_) => {
            panic!("a coroutine in a fiber can be left in the middle: nothing in it can be cancelled or shielded")
        }
    }
}
