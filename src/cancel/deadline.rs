//! Time-outs.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::catch;
use crate::sched::{Frame, Worker};

/// The time was up, and the function unwound. Turns into an [`io::Error`] of the kind `TimedOut`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline has passed")
    }
}

impl Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, elapsed)
    }
}

/// Calls `f`, and cancels it when it takes longer than `duration`: it is unwound at its next suspension point. How that
/// goes is told in [`cancel`](crate::cancel).
///
/// ```
/// use std::io::Read;
/// use std::time::Duration;
///
/// kapok::run(|| -> std::io::Result<()> {
///     let listener = kapok::net::TcpListener::bind("127.0.0.1:0")?;
///     let mut silent = kapok::net::TcpStream::connect(listener.local_addr()?)?;
///     let mut buf = [0; 100];
///     let outcome = kapok::timeout(Duration::from_millis(10), || silent.read(&mut buf));
///     assert!(outcome.is_err()); // and `buf` is the caller's again
///     Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// It is not precise to more than a tenth of a millisecond, and never early.
///
/// # Errors
/// [`Elapsed`] when `f` was unwound. If it returned, its value is given, even when that was late.
///
/// # Panics
/// With what `f` panicked with. On a plain thread; in a [`Coroutine`](crate::coroutine::Coroutine) in a fiber.
pub fn timeout<T>(duration: Duration, f: impl FnOnce() -> T) -> Result<T, Elapsed> {
    // Further away than the clock can tell is for ever.
    until(Instant::now().checked_add(duration), duration.is_zero(), f)
}

/// As [`timeout`], with a point in time. One that has passed cancels `f` at its first suspension point.
///
/// # Errors
/// As [`timeout`].
///
/// # Panics
/// As [`timeout`].
pub fn deadline<T>(at: Instant, f: impl FnOnce() -> T) -> Result<T, Elapsed> {
    until(Some(at), at <= Instant::now(), f)
}

fn until<T>(at: Option<Instant>, passed: bool, f: impl FnOnce() -> T) -> Result<T, Elapsed> {
    Worker::with_running(|here| {
        let (worker, fiber) = here.expect("kapok::timeout: there is no fiber here; call this within kapok::run");
        let frame = Frame::plain();
        if passed {
            frame.cancel();
            return catch(worker, fiber, &frame, f);
        }
        let mut fire = || worker.cancel(fiber, &frame);
        worker.with_deadline(at, &mut fire, || catch(worker, fiber, &frame, f))
    })
    .map_err(|_| Elapsed)
}
