//! A value that somebody else will bring.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::sync::oneshot;

/// The side that brings the value; see [`promise`]. Dropping it breaks the promise.
pub struct Promise<T>(oneshot::Sender<T>);

/// The side that waits for the value; see [`promise`]. It is no [`std::future::Future`]: it waits by suspending the fiber, or by
/// blocking the thread.
///
/// Dropping it says that nobody wants the value.
pub struct Future<T>(oneshot::Receiver<T>);

/// The promise was dropped without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenPromise;

impl fmt::Display for BrokenPromise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the promise was dropped without a value")
    }
}

impl Error for BrokenPromise {}

/// A value to be brought, and the place to wait for it, in the manner of `folly::fibers::Promise`.
///
/// Either may be used on any fiber or thread. What an error is to be is told by a `T` that is a [`Result`].
///
/// ```
/// use kapok::fan_out::promise;
///
/// kapok::run(|| {
///     let (promise, future) = promise();
///     std::thread::spawn(move || promise.set("from a thread"));
///     assert_eq!(future.wait(), Ok("from a thread"));
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn promise<T>() -> (Promise<T>, Future<T>) {
    let (sender, receiver) = oneshot::channel();
    (Promise(sender), Future(receiver))
}

/// Calls `f` with a promise, and waits until it is kept: what a library tells by a callback becomes a call that returns. As
/// `folly::fibers::await`.
///
/// ```
/// use kapok::fan_out::{BrokenPromise, await_callback};
///
/// /// A library with threads of its own.
/// fn look_up(key: u32, done: impl FnOnce(u32) + Send + 'static) {
///     std::thread::spawn(move || done(key * 2));
/// }
///
/// kapok::run(|| {
///     let value = await_callback(|promise| look_up(21, move |value| promise.set(value)));
///     assert_eq!(value, Ok(42));
///     // A callback that is never called is no hang.
///     assert_eq!(await_callback::<u32>(|promise| drop(promise)), Err(BrokenPromise));
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// When the promise was dropped without a value.
///
/// # Panics
/// With what `f` panicked with. Where it would have to wait in a section of [`no_suspend`](crate::no_suspend()).
pub fn await_callback<T>(f: impl FnOnce(Promise<T>)) -> Result<T, BrokenPromise> {
    let (promise, future) = promise();
    f(promise);
    future.wait()
}

impl<T> Promise<T> {
    /// Keeps the promise. Never waits. Where nobody wants the value any more, it is dropped.
    pub fn set(self, value: T) {
        drop(self.set_if_wanted(value));
    }

    /// As [`set`](Promise::set).
    ///
    /// # Errors
    /// With the value, if the [`Future`] is gone.
    pub fn set_if_wanted(self, value: T) -> Result<(), T> {
        self.0.send(value).map_err(|error| error.0)
    }
}

impl<T> Future<T> {
    /// Waits for the value.
    ///
    /// # Errors
    /// When the promise was dropped without one.
    ///
    /// # Panics
    /// Where it would have to wait in a section of [`no_suspend`](crate::no_suspend()).
    pub fn wait(self) -> Result<T, BrokenPromise> {
        self.0.recv().map_err(|_| BrokenPromise)
    }

    /// What has become of the promise, if that is known.
    ///
    /// A fiber that looks in vain 64 times in a row lets others run, but not within [`no_suspend`](crate::no_suspend()).
    ///
    /// # Errors
    /// With itself, to be asked again, when nothing is known yet.
    pub fn try_wait(self) -> Result<Result<T, BrokenPromise>, Future<T>> {
        match self.0.try_recv() {
            Ok(value) => Ok(Ok(value)),
            Err(oneshot::TryRecvError::Disconnected) => Ok(Err(BrokenPromise)),
            Err(oneshot::TryRecvError::Empty(receiver)) => Err(Future(receiver)),
        }
    }

    /// As [`wait`](Future::wait), but no longer than for `timeout`.
    ///
    /// # Errors
    /// With itself, to be waited for again, when the time is up.
    ///
    /// # Panics
    /// As [`wait`](Future::wait).
    pub fn wait_timeout(self, timeout: Duration) -> Result<Result<T, BrokenPromise>, Future<T>> {
        match self.0.recv_timeout(timeout) {
            Ok(value) => Ok(Ok(value)),
            Err(oneshot::RecvTimeoutError::Disconnected) => Ok(Err(BrokenPromise)),
            Err(oneshot::RecvTimeoutError::Timeout(receiver)) => Err(Future(receiver)),
        }
    }
}

/// For a `select!`.
impl<T> From<Future<T>> for oneshot::Receiver<T> {
    fn from(future: Future<T>) -> oneshot::Receiver<T> {
        future.0
    }
}

impl<T> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promise").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Future<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Future").finish_non_exhaustive()
    }
}
