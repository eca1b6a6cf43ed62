//! Channels in which every receiver gets every message.
//!
//! ```
//! use kapok::sync::broadcast;
//!
//! kapok::run(|| {
//!     let (sender, mut one) = broadcast::channel(16);
//!     let mut other = sender.subscribe();
//!     sender.send("hello").unwrap();
//!     assert_eq!(one.recv(), Ok("hello"));
//!     assert_eq!(other.recv(), Ok("hello"));
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! A channel keeps the last so many messages. Sending never waits: a receiver that is slower than that loses the oldest, and
//! is told how many.
//!
//! # Cancelling
//! Receiving is a suspension point. One that is cancelled has received nothing, and the next gets the same message.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::queue::{Choice, Enlisted, Locked, Place, Queue, Waited, checkpoint};
use crate::sched::Worker;

pub use std::sync::mpsc::SendError;

/// A channel that keeps the last `capacity` messages.
///
/// # Panics
/// If that is 0.
#[must_use]
pub fn channel<T: Clone>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(
        capacity > 0,
        "kapok::sync::broadcast: a channel keeps one message or more"
    );
    let state = State {
        kept: VecDeque::with_capacity(capacity.min(64)),
        sent: 0,
        receivers: 1,
        no_senders: false,
    };
    let shared = Arc::new(Shared {
        queue: Queue::new(state),
        capacity,
        senders: AtomicUsize::new(1),
    });
    let receiver = Receiver {
        shared: Arc::clone(&shared),
        next: AtomicU64::new(0),
    };
    (Sender(shared), receiver)
}

struct Shared<T> {
    queue: Queue<State<T>, ()>,
    capacity: usize,
    senders: AtomicUsize,
}

pub(super) struct State<T> {
    /// The last messages: those with the numbers up to `sent`.
    kept: VecDeque<Arc<T>>,
    sent: u64,
    receivers: usize,
    no_senders: bool,
}

/// The side that sends. Its clones are for the same channel.
pub struct Sender<T>(Arc<Shared<T>>);

/// One that gets all messages that are sent from when it was made. A clone goes on from the same message.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// The number of the message that is next. Touched under the queue's lock: a `select!` has the receiver shared.
    next: AtomicU64,
}

/// Why a receiver has not received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvError {
    /// It was too slow: so many messages are lost. The next is the oldest one that is kept.
    Lagged(u64),
    /// There is no message yet, or was none in time.
    Empty,
    /// There is no message, and all senders are gone.
    Closed,
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecvError::Lagged(n) => write!(f, "{n} messages are lost, as they were not received in time"),
            RecvError::Empty => f.write_str("receiving on an empty channel"),
            RecvError::Closed => f.write_str("receiving on a closed channel"),
        }
    }
}

impl Error for RecvError {}

impl<T> Sender<T> {
    /// Sends a message to all receivers; tells how many there are. Never waits.
    ///
    /// # Errors
    /// With the message, if there is no receiver.
    #[expect(clippy::missing_panics_doc, reason = "what was just made is nobody else's")]
    pub fn send(&self, message: T) -> Result<usize, SendError<T>> {
        let shared = Arc::new(message);
        let mut line = self.0.queue.lock();
        if line.receivers == 0 {
            drop(line);
            let message = Arc::into_inner(shared).expect("nobody else has it yet");
            return Err(SendError(message));
        }
        let is_full = line.kept.len() == self.0.capacity;
        let oldest = is_full.then(|| line.kept.pop_front());
        line.kept.push_back(shared);
        line.sent += 1;
        line.call_all(0);
        let receivers = line.receivers;
        drop(line);
        drop(oldest);
        Ok(receivers)
    }

    /// A receiver of what is sent from now on.
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        let mut line = self.0.queue.lock();
        line.receivers += 1;
        Receiver {
            shared: Arc::clone(&self.0),
            next: AtomicU64::new(line.sent),
        }
    }

    /// How many receivers there are.
    #[must_use]
    pub fn receiver_count(&self) -> usize {
        self.0.queue.lock().receivers
    }
}

impl<T: Clone> Receiver<T> {
    /// Receives the next message; waits until there is one.
    ///
    /// # Errors
    /// [`RecvError::Lagged`], [`RecvError::Closed`].
    ///
    /// # Panics
    /// Where it would have to wait in a section of [`no_suspend`](crate::no_suspend()).
    pub fn recv(&mut self) -> Result<T, RecvError> {
        checkpoint();
        self.receive(Some(None))
    }

    /// As [`recv`](Receiver::recv), but waits no longer than `timeout`.
    ///
    /// # Errors
    /// As [`recv`](Receiver::recv); [`RecvError::Empty`] when the time is up.
    ///
    /// # Panics
    /// As [`recv`](Receiver::recv).
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvError> {
        checkpoint();
        // Further away than the clock can tell is for ever.
        self.receive(Some(Instant::now().checked_add(timeout)))
    }

    /// Receives the next message if there is one.
    ///
    /// A fiber that looks in vain 64 times in a row lets others run, but not within [`no_suspend`](crate::no_suspend()).
    ///
    /// # Errors
    /// As [`recv`](Receiver::recv); [`RecvError::Empty`] if there is none.
    pub fn try_recv(&mut self) -> Result<T, RecvError> {
        let received = self.receive(None);
        if matches!(received, Err(RecvError::Empty)) {
            Worker::looked_in_vain();
        }
        received
    }

    /// Receives; waits until then, if it is to wait, and for ever if that is not limited.
    pub(super) fn receive(&self, wait_until: Option<Option<Instant>>) -> Result<T, RecvError> {
        loop {
            let line = self.shared.queue.lock();
            match self.look(&line) {
                Ok(message) => {
                    drop(line);
                    // A program's code, so not under the lock.
                    return Ok(Arc::unwrap_or_clone(message));
                }
                Err(RecvError::Empty) => {}
                Err(error) => return Err(error),
            }
            let deadline = wait_until.ok_or(RecvError::Empty)?;
            match line.wait(0, Place::Back, (), deadline, || (), |_| ()) {
                Waited::Called(()) => {}
                Waited::TimedOut(..) => return Err(RecvError::Empty),
            }
        }
    }

    /// The next message, if it is there, which is then received.
    fn look(&self, line: &Line<'_, T>) -> Result<Arc<T>, RecvError> {
        let next = self.next.load(Ordering::Relaxed);
        let oldest = line.sent - line.kept.len() as u64;
        if next < oldest {
            self.next.store(oldest, Ordering::Relaxed);
            return Err(RecvError::Lagged(oldest - next));
        }
        let place = usize::try_from(next - oldest).expect("no more than are kept");
        match line.kept.get(place) {
            Some(message) => {
                self.next.store(next + 1, Ordering::Relaxed);
                Ok(Arc::clone(message))
            }
            None if line.no_senders => Err(RecvError::Closed),
            None => Err(RecvError::Empty),
        }
    }

    /// Joins the line as one of several; `None` if there is something to receive.
    pub(super) fn enlist(&self, choice: &Arc<Choice>, which: usize) -> Option<Waiting<'_, T>> {
        let line = self.shared.queue.lock();
        let waits = self.next.load(Ordering::Relaxed) == line.sent && !line.no_senders;
        waits.then(|| line.enlist(0, (), choice, which))
    }
}

type Line<'a, T> = Locked<'a, State<T>, ()>;
/// A receiver that waits as one of several.
pub(super) type Waiting<'a, T> = Enlisted<'a, State<T>, (), 1>;

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.0.senders.fetch_add(1, Ordering::Relaxed);
        Sender(Arc::clone(&self.0))
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        let mut line = self.shared.queue.lock();
        line.receivers += 1;
        let next = self.next.load(Ordering::Relaxed);
        drop(line);
        Receiver {
            shared: Arc::clone(&self.shared),
            next: AtomicU64::new(next),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            let mut line = self.0.queue.lock();
            line.no_senders = true;
            line.call_all(0);
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut line = self.shared.queue.lock();
        line.receivers -= 1;
        let unread = (line.receivers == 0).then(|| std::mem::take(&mut line.kept));
        drop(line);
        drop(unread);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}
