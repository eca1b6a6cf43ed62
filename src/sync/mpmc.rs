//! As `std::sync::mpmc`, which is not stable yet: channels with many senders and many receivers. Each message goes to one
//! of the receivers.
//!
//! ```
//! use kapok::sync::mpmc::channel;
//!
//! kapok::run(|| {
//!     let (sender, receiver) = channel();
//!     let workers: Vec<_> = (0..3)
//!         .map(|_| {
//!             let receiver = receiver.clone();
//!             kapok::spawn(move || receiver.iter().sum::<i32>())
//!         })
//!         .collect();
//!     (1..=10).for_each(|i| sender.send(i).unwrap());
//!     drop(sender);
//!     let sums = workers.into_iter().map(|worker| worker.join().unwrap());
//!     assert_eq!(sums.sum::<i32>(), 55);
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Those who wait, on either side, are served in the order in which they came. Cancelling does what it does with
//! [`mpsc`](super::mpsc).

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};

use super::channel::{Channel, Patience};
pub use super::channel_errors::SendTimeoutError;
use super::channel_errors::{into_send_error, into_send_timeout_error};

/// A channel without a bound: sending never waits.
#[must_use]
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    with(None)
}

/// A channel that holds at most `cap` messages. With 0 every `send` waits until its message is received.
#[must_use]
pub fn sync_channel<T>(cap: usize) -> (Sender<T>, Receiver<T>) {
    with(Some(cap))
}

fn with<T>(capacity: Option<usize>) -> (Sender<T>, Receiver<T>) {
    let channel = Arc::new(Channel::new(capacity));
    (Sender(Arc::clone(&channel)), Receiver(channel))
}

/// The side that sends. Its clones are for the same channel.
pub struct Sender<T>(pub(super) Arc<Channel<T>>);

/// The side that receives. Its clones are for the same channel.
pub struct Receiver<T>(pub(super) Arc<Channel<T>>);

/// The messages of a [`Receiver`], each waited for.
#[derive(Debug)]
pub struct Iter<'a, T: 'a>(&'a Receiver<T>);

/// The messages of a [`Receiver`] that are there.
#[derive(Debug)]
pub struct TryIter<'a, T: 'a>(&'a Receiver<T>);

/// The messages of a [`Receiver`], each waited for.
#[derive(Debug)]
pub struct IntoIter<T>(Receiver<T>);

impl<T> UnwindSafe for Sender<T> {}
impl<T> RefUnwindSafe for Sender<T> {}
impl<T> UnwindSafe for Receiver<T> {}
impl<T> RefUnwindSafe for Receiver<T> {}

impl<T> Sender<T> {
    /// Sends a message if that can be done at once.
    ///
    /// A fiber that looks in vain 64 times in a row lets others run, but not within [`no_suspend`](crate::no_suspend()).
    ///
    /// # Errors
    /// With the message, if there is no room, or, with a capacity of 0, nobody waits for it; or all receivers are gone.
    pub fn try_send(&self, msg: T) -> Result<(), TrySendError<T>> {
        self.0.try_send(msg)
    }

    /// Sends a message; waits until there is room for it.
    ///
    /// # Errors
    /// With the message, if all receivers are gone.
    ///
    /// # Panics
    /// Where it would have to wait in a section of [`no_suspend`](crate::no_suspend()).
    pub fn send(&self, msg: T) -> Result<(), SendError<T>> {
        self.0.send(msg, Patience::Forever).map_err(into_send_error)
    }

    /// As [`send`](Sender::send), but waits no longer than `timeout`.
    ///
    /// # Errors
    /// With the message, when the time is up, or all receivers gone.
    ///
    /// # Panics
    /// As [`send`](Sender::send).
    pub fn send_timeout(&self, msg: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.0
            .send(msg, Patience::at_most(timeout))
            .map_err(into_send_timeout_error)
    }

    /// As [`send`](Sender::send), but waits no longer than until `deadline`.
    ///
    /// # Errors
    /// As [`send_timeout`](Sender::send_timeout).
    ///
    /// # Panics
    /// As [`send`](Sender::send).
    pub fn send_deadline(&self, msg: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.0
            .send(msg, Patience::Until(deadline))
            .map_err(into_send_timeout_error)
    }

    /// Whether there is no message in the channel.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room; always true with a capacity of 0.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.is_full()
    }

    /// How many messages are in the channel.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// How many messages it holds; `None` is without a bound.
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        self.0.capacity()
    }

    /// Whether both are of one channel.
    #[must_use]
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Receiver<T> {
    /// Receives a message if there is one.
    ///
    /// A fiber that looks in vain 64 times in a row lets others run, but not within [`no_suspend`](crate::no_suspend()).
    ///
    /// # Errors
    /// If there is none; if there is none and all senders are gone.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.0.try_recv()
    }

    /// Receives a message; waits until there is one.
    ///
    /// # Errors
    /// If there is none and all senders are gone.
    ///
    /// # Panics
    /// Where it would have to wait in a section of [`no_suspend`](crate::no_suspend()).
    pub fn recv(&self) -> Result<T, RecvError> {
        self.0.recv(Patience::Forever).map_err(|_| RecvError)
    }

    /// As [`recv`](Receiver::recv), but waits no longer than `timeout`.
    ///
    /// # Errors
    /// When the time is up; if there is no message and all senders are gone.
    ///
    /// # Panics
    /// As [`recv`](Receiver::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.0.recv(Patience::at_most(timeout))
    }

    /// As [`recv`](Receiver::recv), but waits no longer than until `deadline`.
    ///
    /// # Errors
    /// As [`recv_timeout`](Receiver::recv_timeout).
    ///
    /// # Panics
    /// As [`recv`](Receiver::recv).
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.0.recv(Patience::Until(deadline))
    }

    /// The messages, each waited for, until all senders are gone.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter(self)
    }

    /// The messages that are there.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter(self)
    }

    /// Whether there is no message in the channel.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room; always true with a capacity of 0.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.is_full()
    }

    /// How many messages are in the channel.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// How many messages it holds; `None` is without a bound.
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        self.0.capacity()
    }

    /// Whether both are of one channel.
    #[must_use]
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.0.add_sender();
        Sender(Arc::clone(&self.0))
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        self.0.add_receiver();
        Receiver(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.drop_sender();
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.drop_receiver();
    }
}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.recv().ok()
    }
}

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.try_recv().ok()
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.recv().ok()
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter(self)
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
