//! How other threads reach a worker: an inbox, and a bell.
//!
//! What is in it is a fiber that is to be resumed, or a call that the worker is to make.
//!
//! ```text
//!   any thread                                  the worker
//!   ----------                                  ----------
//!   push                                        asleep := true
//!   was it the first, and asleep?               anything in the inbox?   yes: do not sleep
//!      asleep := false; ring the bell           wait in the kernel (for I/O, a timer, the bell)
//!                                               asleep := false; take all that is in the inbox
//! ```
//!
//! No wake-up is lost: all four steps in the middle are sequentially consistent, so either the worker sees what was
//! pushed, or who pushed it sees that the worker is asleep. Only the first into an empty inbox has to look: whoever comes
//! second found what the first had pushed still there, so the first one's look comes after the worker's, or the worker's look
//! finds it.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use super::control::FiberRef;
use super::worker::Worker;
use crate::reactor::Bell;

/// What a worker can be asked to do: called on its thread, on no fiber's stack. It must neither block nor panic.
pub(crate) type Call = Box<dyn FnOnce(&Worker) + Send>;

/// One entry of an inbox.
struct Node {
    next: AtomicPtr<Node>,
    what: What,
}

enum What {
    /// The node lies in the frame of this fiber, which is suspended.
    Resume(FiberRef),
    /// The node lies on the heap.
    Call(Call),
}

/// The end of a wake-up that a suspended fiber holds, on its own stack.
///
/// # Invariant
/// It lives until its fiber has been resumed, and it is given to [`Inbox::push`] at most once.
pub(crate) struct WakeUp {
    pub(super) fiber: FiberRef,
    node: Node,
}

impl WakeUp {
    pub(super) fn new(fiber: FiberRef) -> WakeUp {
        WakeUp {
            fiber,
            node: Node {
                next: AtomicPtr::new(ptr::null_mut()),
                what: What::Resume(fiber),
            },
        }
    }
}

/// What came for one worker from elsewhere; many push, one takes.
///
/// # Invariant
/// Nodes in the list are alive: those of wake-ups because their fibers are suspended until they are taken, those of calls
/// because the list owns them.
#[derive(Debug)]
pub(crate) struct Inbox {
    newest: AtomicPtr<Node>,
    asleep: AtomicBool,
    bell: Bell,
}

impl Inbox {
    pub(super) fn new(bell: Bell) -> Arc<Inbox> {
        Arc::new(Inbox {
            newest: AtomicPtr::new(ptr::null_mut()),
            asleep: AtomicBool::new(false),
            bell,
        })
    }

    /// Has the worker resume the fiber of `wake_up`.
    ///
    /// # Safety
    /// `wake_up` is alive, its fiber is suspended and waits for this push alone, and belongs to this inbox's worker. From
    /// the call on it may be gone.
    pub(super) unsafe fn push(&self, wake_up: *const WakeUp) {
        // SAFETY: alive, by the caller's promise; only the address of the field is taken.
        let node = unsafe { &raw const (*wake_up).node };
        // SAFETY: the fiber stays suspended until the worker has taken the node.
        unsafe { self.push_node(node.cast_mut()) };
    }

    /// Has the worker make a call. One that comes when the worker has ended is dropped, at the latest with the inbox.
    pub(crate) fn call(&self, call: Call) {
        let node = Box::new(Node {
            next: AtomicPtr::new(ptr::null_mut()),
            what: What::Call(call),
        });
        // SAFETY: it is ours, and from now on the list's.
        unsafe { self.push_node(Box::into_raw(node)) };
    }

    /// # Safety
    /// `new` is alive until it is taken, and in no list. From the call on it may be gone.
    unsafe fn push_node(&self, new: *mut Node) {
        let mut old = self.newest.load(Ordering::Relaxed);
        loop {
            // SAFETY: alive until the worker has taken it, which it cannot before the exchange below.
            unsafe { &*new }.next.store(old, Ordering::Relaxed);
            match self
                .newest
                .compare_exchange_weak(old, new, Ordering::SeqCst, Ordering::Relaxed)
            {
                Ok(_) => break,
                Err(now) => old = now,
            }
        }
        if old.is_null() && self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst) {
            self.bell.ring();
        }
    }

    /// Announces that the worker is going to wait in the kernel; false when it must not, because something is here.
    pub(super) fn prepare_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        let empty = self.newest.load(Ordering::SeqCst).is_null();
        if !empty {
            self.wake();
        }
        empty
    }

    /// The worker is back.
    pub(super) fn wake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// Takes everything, oldest first: calls `resume` with the fibers, and `call` with the calls.
    pub(super) fn drain(&self, mut resume: impl FnMut(FiberRef), mut call: impl FnMut(Call)) {
        if self.newest.load(Ordering::Relaxed).is_null() {
            return;
        }
        let mut newest = self.newest.swap(ptr::null_mut(), Ordering::SeqCst);
        let mut oldest: *mut Node = ptr::null_mut();
        while !newest.is_null() {
            // SAFETY: alive by the invariant, and ours alone now; no fiber is resumed while we are here.
            let older = unsafe { &*newest }.next.swap(oldest, Ordering::Relaxed);
            oldest = newest;
            newest = older;
        }
        while !oldest.is_null() {
            let node = oldest;
            // SAFETY: as above.
            oldest = unsafe { &*node }.next.load(Ordering::Relaxed);
            // SAFETY: as above.
            if let What::Resume(fiber) = unsafe { &(*node).what } {
                resume(*fiber);
            } else {
                // SAFETY: a node that is no fiber's was made by `call`, and is taken once.
                let node = unsafe { Box::from_raw(node) };
                if let What::Call(it) = node.what {
                    call(it);
                }
            }
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        // Nobody else has it any more, and all fibers of the worker have ended: what is left are calls.
        self.drain(|_| unreachable!("a fiber that is suspended has a worker"), drop);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::sync::Baton;

    #[test]
    fn calls_from_other_threads_are_made_on_the_worker_in_order() {
        crate::run(|| {
            let inbox = Worker::with(|worker| Arc::clone(&worker.expect("in a fiber").inbox));
            let (done, home) = (Arc::new(Baton::new()), thread::current().id());
            let (order, theirs) = (Arc::new(std::sync::Mutex::new(Vec::new())), Arc::clone(&done));
            let seen = Arc::clone(&order);
            thread::spawn(move || {
                for i in 0..100 {
                    let (seen, done) = (Arc::clone(&seen), Arc::clone(&theirs));
                    inbox.call(Box::new(move |worker| {
                        assert!(worker.current.get().is_none() && thread::current().id() == home);
                        seen.lock().unwrap().push(i);
                        if i == 99 {
                            done.post();
                        }
                    }));
                }
            });
            done.wait();
            assert_eq!(*order.lock().unwrap(), (0..100).collect::<Vec<_>>());
        })
        .unwrap();
    }

    #[test]
    fn a_call_that_comes_too_late_is_dropped() {
        let token = Arc::new(());
        let theirs = Arc::clone(&token);
        let inbox = crate::run(|| Worker::with(|worker| Arc::clone(&worker.expect("in a fiber").inbox))).unwrap();
        inbox.call(Box::new(move |_| drop(theirs)));
        assert_eq!(Arc::strong_count(&token), 2);
        drop(inbox);
        assert_eq!(Arc::strong_count(&token), 1);
    }
}
