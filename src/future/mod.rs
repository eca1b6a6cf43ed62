//! Between fibers and async code, both ways.
//!
//! [`block_on`] runs a future in a fiber, or on a plain thread. For async code, whichever executor runs it, the end of a fiber is
//! a future ([`JoinHandle`](crate::fiber::JoinHandle) may be awaited), and so is the post of a
//! [`Baton`](crate::sync::Baton::posted).
//!
//! A library that needs the timers or the sockets of an executor of its own (tokio, smol) has to be called where that
//! executor runs, and can be awaited from here by what it hands out: channels, handles of tasks.

pub use crate::baton::Posted;
pub use crate::fiber::JoinFuture;
pub use crate::watcher::Watchable;
pub use ready::{Ready, readable, writable};

mod ready;

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::baton::Baton;
use crate::fiber;
use crate::no_suspend;
use crate::perform;

/// What the waker of a [`block_on`] posts. Clones of the waker may outlive the call, so it is shared.
struct Woken(Baton);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.post();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.post();
    }
}

impl fmt::Debug for Woken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Runs a future to its end, and gives its output. While the future waits, the calling fiber is suspended; a plain thread is
/// blocked.
///
/// ```
/// kapok::run(|| {
///     let question = kapok::spawn(|| 6);
///     let answer = kapok::block_on(async { question.await.unwrap() * 7 });
///     assert_eq!(answer, 42);
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// The future stays on the caller's stack, so it need not be `Send`, and may borrow. It is polled at first and then each time
/// that its waker was called, from wherever; one allocation serves all wakers of a call. A future that has woken itself, in
/// its own poll, lets other fibers run before the next. Within `poll` all may be done that a fiber does, `block_on` too; but what
/// suspends the fiber there keeps the other parts of this future waiting as well.
///
/// It is a suspension point: a fiber that is [cancelled](crate::cancel) is unwound between two polls, and the future dropped on the
/// fiber's own stack.
///
/// # Panics
/// With what `poll` panicked with. Where it would have to wait within a section of [`no_suspend`](crate::no_suspend()).
pub fn block_on<F: IntoFuture>(future: F) -> F::Output {
    let mut future = pin!(future.into_future());
    perform::checkpoint();
    let woken = Arc::new(Woken(Baton::new()));
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        if woken.0.try_wait() && no_suspend::depth() == 0 && perform::is_in_fiber() {
            fiber::yield_now();
        }
        woken.0.wait();
        // Before the poll, so that no call in or after it is missed.
        woken.0.reset();
    }
}
