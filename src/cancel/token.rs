//! Cancelling from elsewhere.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Cancelled, catch};
use crate::sched::{Frame, Members, Worker};

/// Cancels what was begun with it, from anywhere. Clones are the same token; any number of fibers, of any worker, may be in
/// [`run`](CancelToken::run) at once.
///
/// ```
/// use kapok::cancel::CancelToken;
/// use kapok::net::TcpListener;
///
/// kapok::run(|| -> std::io::Result<()> {
///     let stop = CancelToken::new();
///     let theirs = stop.clone();
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let server = kapok::spawn(move || {
///         theirs.run(|| while let Ok((stream, _)) = listener.accept() {
///             kapok::spawn(move || drop(stream)); // is not cancelled: it is not inside
///         })
///     });
///     std::thread::spawn(move || stop.cancel()).join().unwrap();
///     assert!(server.join().unwrap().is_err());
///     Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct CancelToken(Arc<Shared>);

#[derive(Default)]
struct Shared {
    cancelled: AtomicBool,
    inside: Members,
}

/// While this lives, a fiber is told.
struct Inside<'a> {
    members: &'a Members,
    place: usize,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.members.remove(self.place);
    }
}

impl CancelToken {
    /// A token that has not been cancelled.
    #[must_use]
    pub fn new() -> CancelToken {
        CancelToken::default()
    }

    /// Cancels whoever is in [`run`](CancelToken::run), and whoever comes. From any thread; does not wait for them, and
    /// there is no way back.
    pub fn cancel(&self) {
        if !self.0.cancelled.swap(true, Ordering::SeqCst) {
            self.0.inside.tell();
        }
    }

    /// Whether it has been cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// Calls `f`, which is unwound at its next suspension point when the token is cancelled. How that goes is told in
    /// [`cancel`](crate::cancel).
    ///
    /// # Errors
    /// [`Cancelled`] when `f` was unwound. If it returned, its value is given.
    ///
    /// # Panics
    /// With what `f` panicked with. On a plain thread; in a [`Coroutine`](crate::coroutine::Coroutine) in a fiber.
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> Result<T, Cancelled> {
        Worker::with_running(|here| {
            let (worker, fiber) = here.expect("CancelToken::run: there is no fiber here; call this within kapok::run");
            let task = worker.current_task().expect("a fiber that runs has a task");
            let members = &self.0.inside;
            let place = members.reserve();
            let inside = Inside { members, place };
            // On the list first: who comes after the token was cancelled finds the flag.
            members.fill(place, task);
            let frame = Frame::with_flag(&self.0.cancelled);
            let result = catch(worker, fiber, &frame, f);
            drop(inside);
            result
        })
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken")
            .field("cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}
