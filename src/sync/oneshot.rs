//! As `std::sync::oneshot`, which is not stable yet: channels for one message.
//!
//! ```
//! use kapok::sync::oneshot;
//!
//! kapok::run(|| {
//!     let (sender, receiver) = oneshot::channel();
//!     kapok::spawn(move || sender.send("the answer").unwrap());
//!     assert_eq!(receiver.recv(), Ok("the answer"));
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! A receiver that is cancelled while it waits is gone, and the message with it.

use std::error::Error;
use std::fmt;
use std::sync::mpsc::{RecvError, SendError};
use std::time::{Duration, Instant};

use super::mpmc;

/// A channel for one message.
#[must_use]
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpmc::sync_channel(1);
    (Sender(sender), Receiver(receiver))
}

/// The side that sends.
pub struct Sender<T>(mpmc::Sender<T>);

/// The side that receives.
pub struct Receiver<T>(pub(super) mpmc::Receiver<T>);

/// Why [`Receiver::try_recv`] has not received.
pub enum TryRecvError<T> {
    /// Nothing was sent yet; with the receiver, to try again.
    Empty(Receiver<T>),
    /// The sender is gone.
    Disconnected,
}

/// Why [`Receiver::recv_timeout`] has not received.
pub enum RecvTimeoutError<T> {
    /// The time was up; with the receiver, to try again.
    Timeout(Receiver<T>),
    /// The sender is gone.
    Disconnected,
}

impl<T> Sender<T> {
    /// Sends the message. Never waits, and is therefore no suspension point: a fiber that is cancelled still gets rid of what
    /// somebody waits for, in a destructor for instance.
    ///
    /// # Errors
    /// With the message, if the receiver is gone.
    pub fn send(self, t: T) -> Result<(), SendError<T>> {
        // There is room for one, and this is the one.
        self.0.try_send(t).map_err(|error| match error {
            mpmc::TrySendError::Full(t) | mpmc::TrySendError::Disconnected(t) => SendError(t),
        })
    }
}

impl<T> Receiver<T> {
    /// Receives the message; waits until it is there.
    ///
    /// # Errors
    /// If the sender is gone.
    ///
    /// # Panics
    /// Where it would have to wait in a section of [`no_suspend`](crate::no_suspend()).
    pub fn recv(self) -> Result<T, RecvError> {
        self.0.recv()
    }

    /// Receives the message if it is there.
    ///
    /// A fiber that looks in vain 64 times in a row lets others run, but not within [`no_suspend`](crate::no_suspend()).
    ///
    /// # Errors
    /// If it is not; if the sender is gone.
    pub fn try_recv(self) -> Result<T, TryRecvError<T>> {
        self.0.try_recv().map_err(|error| match error {
            mpmc::TryRecvError::Empty => TryRecvError::Empty(self),
            mpmc::TryRecvError::Disconnected => TryRecvError::Disconnected,
        })
    }

    /// As [`recv`](Receiver::recv), but waits no longer than `timeout`.
    ///
    /// # Errors
    /// When the time is up; if the sender is gone.
    ///
    /// # Panics
    /// As [`recv`](Receiver::recv).
    pub fn recv_timeout(self, timeout: Duration) -> Result<T, RecvTimeoutError<T>> {
        let result = self.0.recv_timeout(timeout);
        self.or_timeout(result)
    }

    /// As [`recv`](Receiver::recv), but waits no longer than until `deadline`.
    ///
    /// # Errors
    /// As [`recv_timeout`](Receiver::recv_timeout).
    ///
    /// # Panics
    /// As [`recv`](Receiver::recv).
    pub fn recv_deadline(self, deadline: Instant) -> Result<T, RecvTimeoutError<T>> {
        let result = self.0.recv_deadline(deadline);
        self.or_timeout(result)
    }

    fn or_timeout(self, result: Result<T, mpmc::RecvTimeoutError>) -> Result<T, RecvTimeoutError<T>> {
        result.map_err(|error| match error {
            mpmc::RecvTimeoutError::Timeout => RecvTimeoutError::Timeout(self),
            mpmc::RecvTimeoutError::Disconnected => RecvTimeoutError::Disconnected,
        })
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

impl<T> fmt::Debug for TryRecvError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TryRecvError(..)")
    }
}

impl<T> fmt::Display for TryRecvError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryRecvError::Empty(_) => "receiving on an empty oneshot channel",
            TryRecvError::Disconnected => "receiving on a closed oneshot channel",
        })
    }
}

impl<T> Error for TryRecvError<T> {}

impl<T> From<RecvError> for TryRecvError<T> {
    fn from(_: RecvError) -> TryRecvError<T> {
        TryRecvError::Disconnected
    }
}

impl<T> fmt::Debug for RecvTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecvTimeoutError(..)")
    }
}

impl<T> fmt::Display for RecvTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RecvTimeoutError::Timeout(_) => "timed out waiting on oneshot channel",
            RecvTimeoutError::Disconnected => "receiving on a closed oneshot channel",
        })
    }
}

impl<T> Error for RecvTimeoutError<T> {}

impl<T> From<RecvError> for RecvTimeoutError<T> {
    fn from(_: RecvError) -> RecvTimeoutError<T> {
        RecvTimeoutError::Disconnected
    }
}
