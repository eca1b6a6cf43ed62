//! The end of a fiber as a future.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::handle::Fiber;
use super::join::JoinHandle;
use crate::baton::Registration;

/// The future of a fiber's result: what awaiting a [`JoinHandle`] makes of it.
///
/// Dropping it drops the handle: the fiber runs on by itself.
#[must_use = "a future does nothing unless it is polled"]
pub struct JoinFuture<T> {
    handle: JoinHandle<T>,
    registration: Registration,
}

impl<T> JoinFuture<T> {
    /// The fiber, as [`JoinHandle::fiber`].
    #[must_use]
    pub fn fiber(&self) -> &Fiber {
        self.handle.fiber()
    }

    /// Whether it has ended, as [`JoinHandle::is_finished`].
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Cancels the fiber, as [`JoinHandle::cancel`].
    pub fn cancel(&self) {
        self.handle.cancel();
    }
}

impl<T> Unpin for JoinFuture<T> {}

/// Awaiting it gives what [`join`](JoinHandle::join) does, in async code, whichever executor runs that.
///
/// ```
/// kapok::run(|| {
///     let fiber = kapok::spawn(|| 6 * 7);
///     assert_eq!(kapok::block_on(async { fiber.await.unwrap() }), 42);
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A fiber that awaits its own end waits for ever. The waker is called at the end of the fiber, on its stack, when its
/// [fiber-locals](crate::fiber_local) are gone already; it is not cancelled there.
impl<T> IntoFuture for JoinHandle<T> {
    type Output = super::Result<T>;
    type IntoFuture = JoinFuture<T>;

    fn into_future(self) -> JoinFuture<T> {
        JoinFuture {
            handle: self,
            registration: Registration::default(),
        }
    }
}

impl<T> Future for JoinFuture<T> {
    type Output = super::Result<T>;

    /// # Panics
    /// After it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<super::Result<T>> {
        let this = &mut *self;
        this.registration.poll(this.handle.ended(), context.waker()).map(|()| {
            let result = this.handle.take_result();
            result.expect("JoinFuture: polled after it was ready")
        })
    }
}

impl<T> Drop for JoinFuture<T> {
    fn drop(&mut self) {
        self.registration.withdraw(self.handle.ended());
    }
}

impl<T> fmt::Debug for JoinFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JoinFuture").field(&self.handle).finish()
    }
}
