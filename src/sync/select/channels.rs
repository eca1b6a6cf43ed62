//! The arms of `select!` that are about channels.

use std::sync::mpsc::{RecvError, SendError, TryRecvError};

use super::{Case, Ticket};
use crate::sync::channel::{Channel, NotSent, Receiving, Sending};
use crate::sync::{broadcast, mpmc, mpsc, oneshot, watch};

/// What `recv` takes.
#[doc(hidden)]
pub trait ReceiveFrom {
    type Case<'a>
    where
        Self: 'a;

    fn case(&self) -> Self::Case<'_>;
}

impl<T> ReceiveFrom for mpsc::Receiver<T> {
    type Case<'a>
        = Recv<'a, T>
    where
        T: 'a;

    fn case(&self) -> Recv<'_, T> {
        Recv::new(&self.channel)
    }
}

impl<T> ReceiveFrom for mpmc::Receiver<T> {
    type Case<'a>
        = Recv<'a, T>
    where
        T: 'a;

    fn case(&self) -> Recv<'_, T> {
        Recv::new(&self.0)
    }
}

impl<T> ReceiveFrom for oneshot::Receiver<T> {
    type Case<'a>
        = Recv<'a, T>
    where
        T: 'a;

    fn case(&self) -> Recv<'_, T> {
        Recv::new(&self.0.0)
    }
}

impl<T: Clone> ReceiveFrom for broadcast::Receiver<T> {
    type Case<'a>
        = RecvBroadcast<'a, T>
    where
        T: 'a;

    fn case(&self) -> RecvBroadcast<'_, T> {
        RecvBroadcast {
            receiver: self,
            enlisted: None,
            received: None,
        }
    }
}

impl<R: ReceiveFrom> ReceiveFrom for &R {
    type Case<'a>
        = R::Case<'a>
    where
        Self: 'a;

    fn case(&self) -> R::Case<'_> {
        R::case(self)
    }
}

impl<R: ReceiveFrom> ReceiveFrom for &mut R {
    type Case<'a>
        = R::Case<'a>
    where
        Self: 'a;

    fn case(&self) -> R::Case<'_> {
        R::case(self)
    }
}

/// What `send` takes.
#[doc(hidden)]
pub trait SendTo<T> {
    fn case(&self, value: T) -> Send<'_, T>;
}

impl<T> SendTo<T> for mpsc::SyncSender<T> {
    fn case(&self, value: T) -> Send<'_, T> {
        Send::new(&self.0, value)
    }
}

impl<T> SendTo<T> for mpmc::Sender<T> {
    fn case(&self, value: T) -> Send<'_, T> {
        Send::new(&self.0, value)
    }
}

impl<T, S: SendTo<T>> SendTo<T> for &S {
    fn case(&self, value: T) -> Send<'_, T> {
        S::case(self, value)
    }
}

#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "nobody sees it")]
pub struct Recv<'a, T> {
    channel: &'a Channel<T>,
    receiving: Option<Receiving<'a, T>>,
    received: Option<Result<T, RecvError>>,
}

impl<'a, T> Recv<'a, T> {
    fn new(channel: &'a Channel<T>) -> Recv<'a, T> {
        Recv {
            channel,
            receiving: None,
            received: None,
        }
    }

    pub fn take(&mut self) -> Result<T, RecvError> {
        self.received.take().expect("it was chosen")
    }
}

impl<T> Case for Recv<'_, T> {
    fn try_now(&mut self) -> bool {
        self.received = match self.channel.recv_now() {
            Ok(message) => Some(Ok(message)),
            Err(TryRecvError::Disconnected) => Some(Err(RecvError)),
            Err(TryRecvError::Empty) => None,
        };
        self.received.is_some()
    }

    fn enlist(&mut self, ticket: &Ticket<'_>) -> bool {
        self.receiving = self.channel.enlist_receiver(ticket.0, ticket.1);
        self.receiving.is_some()
    }

    fn leave(&mut self, was_chosen: bool) {
        let token = self.receiving.take().and_then(Receiving::leave);
        if was_chosen {
            self.received = Some(token.ok_or(RecvError));
        }
    }
}

#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "nobody sees it")]
pub struct Send<'a, T> {
    channel: &'a Channel<T>,
    message: Option<T>,
    sending: Option<Sending<'a, T>>,
    sent: Option<Result<(), SendError<T>>>,
}

impl<'a, T> Send<'a, T> {
    fn new(channel: &'a Channel<T>, message: T) -> Send<'a, T> {
        Send {
            channel,
            message: Some(message),
            sending: None,
            sent: None,
        }
    }

    pub fn take(&mut self) -> Result<(), SendError<T>> {
        self.sent.take().expect("it was chosen")
    }
}

impl<T> Case for Send<'_, T> {
    fn try_now(&mut self) -> bool {
        let message = self.message.take().expect("it has not been sent");
        match self.channel.send_now(message) {
            Ok(()) => self.sent = Some(Ok(())),
            Err(NotSent::Disconnected(message)) => self.sent = Some(Err(SendError(message))),
            Err(NotSent::Full(message)) => self.message = Some(message),
        }
        self.sent.is_some()
    }

    fn enlist(&mut self, ticket: &Ticket<'_>) -> bool {
        let message = self.message.take().expect("it has not been sent");
        match self.channel.enlist_sender(message, ticket.0, ticket.1) {
            Ok(sending) => self.sending = Some(sending),
            Err(message) => self.message = Some(message),
        }
        self.sending.is_some()
    }

    fn leave(&mut self, was_chosen: bool) {
        let Some(sending) = self.sending.take() else { return };
        match sending.leave() {
            Some(message) if was_chosen => self.sent = Some(Err(SendError(message))),
            None => self.sent = Some(Ok(())),
            message => self.message = message,
        }
    }
}

#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "nobody sees it")]
pub struct RecvBroadcast<'a, T> {
    receiver: &'a broadcast::Receiver<T>,
    enlisted: Option<broadcast::Waiting<'a, T>>,
    received: Option<Result<T, broadcast::RecvError>>,
}

impl<T: Clone> RecvBroadcast<'_, T> {
    pub fn take(&mut self) -> Result<T, broadcast::RecvError> {
        self.received.take().expect("it was chosen")
    }
}

impl<T: Clone> Case for RecvBroadcast<'_, T> {
    fn try_now(&mut self) -> bool {
        self.received = match self.receiver.receive(None) {
            Err(broadcast::RecvError::Empty) => None,
            received => Some(received),
        };
        self.received.is_some()
    }

    fn enlist(&mut self, ticket: &Ticket<'_>) -> bool {
        self.enlisted = self.receiver.enlist(ticket.0, ticket.1);
        self.enlisted.is_some()
    }

    fn leave(&mut self, _: bool) {
        drop(self.enlisted.take());
    }

    fn is_done(&mut self) -> bool {
        self.try_now()
    }
}

#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "nobody sees it")]
pub struct Changed<'a, T> {
    receiver: &'a watch::Receiver<T>,
    enlisted: Option<watch::Waiting<'a, T>>,
    seen: Option<Result<(), watch::ChangedError>>,
}

#[doc(hidden)]
#[must_use]
pub fn changed<T>(receiver: &watch::Receiver<T>) -> Changed<'_, T> {
    Changed {
        receiver,
        enlisted: None,
        seen: None,
    }
}

impl<T> Changed<'_, T> {
    pub fn take(&mut self) -> Result<(), watch::ChangedError> {
        self.seen.take().expect("it was chosen")
    }
}

impl<T> Case for Changed<'_, T> {
    fn try_now(&mut self) -> bool {
        self.seen = match self.receiver.see(None) {
            Err(watch::ChangedError::Timeout) => None,
            seen => Some(seen),
        };
        self.seen.is_some()
    }

    fn enlist(&mut self, ticket: &Ticket<'_>) -> bool {
        self.enlisted = self.receiver.enlist(ticket.0, ticket.1);
        self.enlisted.is_some()
    }

    fn leave(&mut self, _: bool) {
        drop(self.enlisted.take());
    }

    fn is_done(&mut self) -> bool {
        self.try_now()
    }
}
