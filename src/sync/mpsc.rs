//! As [`std::sync::mpsc`]: channels with many senders and one receiver, with its names, signatures and errors.
//!
//! ```
//! use kapok::sync::mpsc::{channel, sync_channel};
//!
//! kapok::run(|| {
//!     let (sender, receiver) = channel();
//!     for i in 0..3 {
//!         let sender = sender.clone();
//!         kapok::spawn(move || sender.send(i).unwrap());
//!     }
//!     drop(sender);
//!     assert_eq!(receiver.iter().sum::<i32>(), 3);
//!
//!     let (sender, receiver) = sync_channel(0); // hands over from one to the other
//!     kapok::spawn(move || sender.send("here").unwrap());
//!     assert_eq!(receiver.recv(), Ok("here"));
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Those who wait to send are served in the order in which they came.
//!
//! # Cancelling
//! Sending and receiving are suspension points. A `send` that is cancelled has sent nothing, and its message is dropped; a `recv`
//! that is cancelled has received nothing.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};

use super::channel::{Channel, Patience};
use super::channel_errors::{SendTimeoutError, into_send_error, into_send_timeout_error};

/// A channel without a bound: sending never waits.
#[must_use]
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let channel = Arc::new(Channel::new(None));
    (Sender(Arc::clone(&channel)), Receiver::new(channel))
}

/// A channel that holds at most `bound` messages. With 0 every `send` waits until its message is received.
#[must_use]
pub fn sync_channel<T>(bound: usize) -> (SyncSender<T>, Receiver<T>) {
    let channel = Arc::new(Channel::new(Some(bound)));
    (SyncSender(Arc::clone(&channel)), Receiver::new(channel))
}

/// As [`std::sync::mpsc::Sender`].
pub struct Sender<T>(pub(super) Arc<Channel<T>>);

/// As [`std::sync::mpsc::SyncSender`].
pub struct SyncSender<T>(pub(super) Arc<Channel<T>>);

/// As [`std::sync::mpsc::Receiver`].
///
/// There is one, for one thread at a time:
///
/// ```compile_fail,E0277
/// fn is_sync<T: Sync>(_: T) {}
/// is_sync(kapok::sync::mpsc::channel::<i32>().1);
/// ```
pub struct Receiver<T> {
    pub(super) channel: Arc<Channel<T>>,
    _not_sync: std::marker::PhantomData<std::cell::Cell<()>>,
}

/// As [`std::sync::mpsc::Iter`].
#[derive(Debug)]
pub struct Iter<'a, T: 'a>(&'a Receiver<T>);

/// As [`std::sync::mpsc::TryIter`].
#[derive(Debug)]
pub struct TryIter<'a, T: 'a>(&'a Receiver<T>);

/// As [`std::sync::mpsc::IntoIter`].
#[derive(Debug)]
pub struct IntoIter<T>(Receiver<T>);

impl<T> UnwindSafe for Receiver<T> {}
impl<T> RefUnwindSafe for Receiver<T> {}

impl<T> Sender<T> {
    /// Sends a message. Never waits.
    ///
    /// # Errors
    /// With the message, if the receiver is gone.
    pub fn send(&self, t: T) -> Result<(), SendError<T>> {
        self.0.send(t, Patience::Forever).map_err(into_send_error)
    }
}

impl<T> SyncSender<T> {
    /// Sends a message; waits until there is room for it.
    ///
    /// # Errors
    /// With the message, if the receiver is gone.
    ///
    /// # Panics
    /// Where it would have to wait in a section of [`no_suspend`](crate::no_suspend()).
    pub fn send(&self, t: T) -> Result<(), SendError<T>> {
        self.0.send(t, Patience::Forever).map_err(into_send_error)
    }

    /// Sends a message if that can be done at once.
    ///
    /// A fiber that looks in vain 64 times in a row lets others run, but not within [`no_suspend`](crate::no_suspend()).
    ///
    /// # Errors
    /// With the message, if there is no room, or, with a bound of 0, nobody waits for it; or the receiver is gone.
    pub fn try_send(&self, t: T) -> Result<(), TrySendError<T>> {
        self.0.try_send(t)
    }

    /// As [`send`](SyncSender::send), but waits no longer than `timeout`.
    ///
    /// # Errors
    /// With the message, when the time is up, or the receiver gone.
    ///
    /// # Panics
    /// As [`send`](SyncSender::send).
    pub fn send_timeout(&self, t: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.0
            .send(t, Patience::at_most(timeout))
            .map_err(into_send_timeout_error)
    }
}

impl<T> Receiver<T> {
    fn new(channel: Arc<Channel<T>>) -> Receiver<T> {
        Receiver {
            channel,
            _not_sync: std::marker::PhantomData,
        }
    }

    /// Receives a message if there is one.
    ///
    /// A fiber that looks in vain 64 times in a row lets others run, but not within [`no_suspend`](crate::no_suspend()).
    ///
    /// # Errors
    /// If there is none; if there is none and all senders are gone.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.channel.try_recv()
    }

    /// Receives a message; waits until there is one.
    ///
    /// # Errors
    /// If there is none and all senders are gone.
    ///
    /// # Panics
    /// Where it would have to wait in a section of [`no_suspend`](crate::no_suspend()).
    pub fn recv(&self) -> Result<T, RecvError> {
        self.channel.recv(Patience::Forever).map_err(|_| RecvError)
    }

    /// As [`recv`](Receiver::recv), but waits no longer than `timeout`.
    ///
    /// # Errors
    /// When the time is up; if there is no message and all senders are gone.
    ///
    /// # Panics
    /// As [`recv`](Receiver::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.channel.recv(Patience::at_most(timeout))
    }

    /// As [`recv`](Receiver::recv), but waits no longer than until `deadline`.
    ///
    /// # Errors
    /// As [`recv_timeout`](Receiver::recv_timeout).
    ///
    /// # Panics
    /// As [`recv`](Receiver::recv).
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.channel.recv(Patience::Until(deadline))
    }

    /// The messages, each waited for, until all senders are gone.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter(self)
    }

    /// The messages that are there.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter(self)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.0.add_sender();
        Sender(Arc::clone(&self.0))
    }
}

impl<T> Clone for SyncSender<T> {
    fn clone(&self) -> SyncSender<T> {
        self.0.add_sender();
        SyncSender(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.drop_sender();
    }
}

impl<T> Drop for SyncSender<T> {
    fn drop(&mut self) {
        self.0.drop_sender();
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.channel.drop_receiver();
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

impl<T> fmt::Debug for SyncSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncSender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}
