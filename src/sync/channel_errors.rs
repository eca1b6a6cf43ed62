//! What the channels' errors are called outside: std's own, and one that std does not have yet.

use std::error::Error;
use std::fmt;
use std::sync::mpsc::SendError;

use super::channel::NotSent;

/// Why `Sender::send_timeout` has not sent, with the message.
#[derive(PartialEq, Eq, Clone, Copy)]
pub enum SendTimeoutError<T> {
    /// The time was up.
    Timeout(T),
    /// All receivers are gone.
    Disconnected(T),
}

impl<T> fmt::Debug for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendTimeoutError(..)")
    }
}

impl<T> fmt::Display for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendTimeoutError::Timeout(_) => "timed out waiting on send operation",
            SendTimeoutError::Disconnected(_) => "sending on a disconnected channel",
        })
    }
}

impl<T> Error for SendTimeoutError<T> {}

impl<T> From<SendError<T>> for SendTimeoutError<T> {
    fn from(error: SendError<T>) -> SendTimeoutError<T> {
        SendTimeoutError::Disconnected(error.0)
    }
}

pub(super) fn into_send_error<T>(error: NotSent<T>) -> SendError<T> {
    match error {
        NotSent::Disconnected(message) | NotSent::Full(message) => SendError(message),
    }
}

pub(super) fn into_send_timeout_error<T>(error: NotSent<T>) -> SendTimeoutError<T> {
    match error {
        NotSent::Full(message) => SendTimeoutError::Timeout(message),
        NotSent::Disconnected(message) => SendTimeoutError::Disconnected(message),
    }
}
