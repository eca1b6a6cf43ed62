//! Futures in fibers, and fibers and batons as futures.

#[path = "../support/mod.rs"]
mod support;

mod awaiting;
mod block_on;
mod readiness;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Counts how often a task was woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn poll_once<F: Future + Unpin>(future: &mut F, count: &Arc<Count>) -> Poll<F::Output> {
    let waker = Waker::from(Arc::clone(count));
    pin!(future).poll(&mut Context::from_waker(&waker))
}

/// Two futures in one task, both polled each time.
async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut left, mut right) = (None, None);
    std::future::poll_fn(move |context| {
        fn go<F: Future>(slot: &mut Option<F::Output>, future: &mut Pin<&mut F>, context: &mut Context<'_>) {
            if slot.is_none() {
                if let Poll::Ready(output) = future.as_mut().poll(context) {
                    *slot = Some(output);
                }
            }
        }
        go(&mut left, &mut a, context);
        go(&mut right, &mut b, context);
        match (left.take(), right.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (left, right) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}
