//! The channel that `mpsc`, `mpmc` and `oneshot` are faces of.
//!
//! ```text
//!   senders waiting          buffer, at most `capacity`          receivers waiting
//!   [ m ] [ m ] [ m ]  --->  | m | m | m | m |             --->  [   ] [   ]
//!   when it is full                                              when it is empty, and no sender waits
//! ```
//!
//! Who waits has a place for one message in its token. A sender that finds a receiver waiting puts the message there; a
//! receiver that takes from a full buffer moves the first waiting sender's message into it. With a capacity of 0 there is
//! only the one way: from a sender's hand to a receiver's.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, TryRecvError, TrySendError};
use std::time::Instant;

use super::queue::{Choice, Enlisted, Locked, Place, Queue, Waited, checkpoint, checkpoint_here};
use crate::sched::Worker;

const RECEIVERS: usize = 0;
const SENDERS: usize = 1;

/// Room for the message that goes over; `None` in one that is called since the other side has hung up, or was served.
pub(super) type Slot<T> = Option<T>;

/// One channel. The handles of each side are counted.
pub(super) struct Channel<T> {
    queue: Queue<State<T>, Slot<T>, 2>,
    capacity: Option<usize>,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

pub(super) struct State<T> {
    buffer: VecDeque<T>,
    /// Nobody will send any more.
    no_senders: bool,
    /// Nobody will receive any more.
    no_receivers: bool,
}

type Line<'a, T> = Locked<'a, State<T>, Slot<T>, 2>;

/// Why a message was not sent, with the message.
pub(super) enum NotSent<T> {
    Full(T),
    Disconnected(T),
}

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    Until(Instant),
    Forever,
}

impl Patience {
    /// Further away than the clock can tell is for ever.
    pub(super) fn at_most(timeout: std::time::Duration) -> Patience {
        Instant::now()
            .checked_add(timeout)
            .map_or(Patience::Forever, Patience::Until)
    }

    fn deadline(self) -> Option<Instant> {
        match self {
            Patience::Until(deadline) => Some(deadline),
            Patience::Forever => None,
        }
    }
}

impl<T> Channel<T> {
    /// With one sender and one receiver; `None` is without a bound.
    pub(super) fn new(capacity: Option<usize>) -> Channel<T> {
        let state = State {
            buffer: VecDeque::new(),
            no_senders: false,
            no_receivers: false,
        };
        Channel {
            queue: Queue::new(state),
            capacity,
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(1),
        }
    }

    pub(super) fn send(&self, message: T, patience: Patience) -> Result<(), NotSent<T>> {
        checkpoint();
        let mut line = self.queue.lock();
        let message = match self.send_at_once(&mut line, message) {
            Err(NotSent::Full(message)) => message,
            done => return done,
        };
        let deadline = patience.deadline();
        match line.wait(SENDERS, Place::Back, Some(message), deadline, || (), |_| ()) {
            Waited::Called(None) => Ok(()),
            Waited::Called(Some(message)) => Err(NotSent::Disconnected(message)),
            Waited::TimedOut(_, message) => Err(NotSent::Full(message.expect("nobody has taken it"))),
        }
    }

    /// As [`send`](Channel::send), where there is room.
    pub(super) fn send_now(&self, message: T) -> Result<(), NotSent<T>> {
        self.send_at_once(&mut self.queue.lock(), message)
    }

    /// As [`send_now`](Channel::send_now), for a program that looks whether there is room.
    pub(super) fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.send_now(message).map_err(|not_sent| match not_sent {
            NotSent::Full(message) => {
                Worker::looked_in_vain();
                TrySendError::Full(message)
            }
            NotSent::Disconnected(message) => TrySendError::Disconnected(message),
        })
    }

    fn send_at_once(&self, line: &mut Line<'_, T>, message: T) -> Result<(), NotSent<T>> {
        if line.no_receivers {
            return Err(NotSent::Disconnected(message));
        }
        if let Some(slot) = line.call(RECEIVERS) {
            *slot = Some(message);
            return Ok(());
        }
        if self.capacity.is_some_and(|capacity| line.buffer.len() >= capacity) {
            return Err(NotSent::Full(message));
        }
        line.buffer.push_back(message);
        Ok(())
    }

    pub(super) fn recv(&self, patience: Patience) -> Result<T, RecvTimeoutError> {
        Worker::with_fiber(|here| {
            checkpoint_here(here);
            let mut line = self.queue.lock();
            match self.recv_at_once(&mut line) {
                Ok(message) => return Ok(message),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) => {}
            }
            let deadline = patience.deadline();
            match line.wait_here(here, RECEIVERS, Place::Back, None, deadline, || (), |_| ()) {
                Waited::Called(Some(message)) => Ok(message),
                Waited::Called(None) => Err(RecvTimeoutError::Disconnected),
                // A message that came after the time-out, and before this fiber could run, is there.
                Waited::TimedOut(mut line, _) => self.recv_at_once(&mut line).map_err(|error| match error {
                    TryRecvError::Empty => RecvTimeoutError::Timeout,
                    TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                }),
            }
        })
    }

    /// As [`recv`](Channel::recv), of what is there.
    pub(super) fn recv_now(&self) -> Result<T, TryRecvError> {
        self.recv_at_once(&mut self.queue.lock())
    }

    /// As [`recv_now`](Channel::recv_now), for a program that looks whether there is something.
    pub(super) fn try_recv(&self) -> Result<T, TryRecvError> {
        let received = self.recv_now();
        if matches!(received, Err(TryRecvError::Empty)) {
            Worker::looked_in_vain();
        }
        received
    }

    fn recv_at_once(&self, line: &mut Line<'_, T>) -> Result<T, TryRecvError> {
        if let Some(message) = line.buffer.pop_front() {
            let next = line.call(SENDERS).and_then(Option::take);
            line.buffer.extend(next);
            return Ok(message);
        }
        let handed_over = line.call(SENDERS).and_then(Option::take);
        handed_over.ok_or(if line.no_senders {
            TryRecvError::Disconnected
        } else {
            TryRecvError::Empty
        })
    }

    pub(super) fn add_sender(&self) {
        self.senders.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_receiver(&self) {
        self.receivers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn drop_sender(&self) {
        if self.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            let mut line = self.queue.lock();
            line.no_senders = true;
            line.call_all(RECEIVERS);
        }
    }

    /// The last one has what was not received dropped.
    pub(super) fn drop_receiver(&self) {
        if self.receivers.fetch_sub(1, Ordering::AcqRel) == 1 {
            let mut line = self.queue.lock();
            line.no_receivers = true;
            line.call_all(SENDERS);
            let unread = std::mem::take(&mut line.buffer);
            drop(line);
            drop(unread);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.queue.lock().buffer.len()
    }

    pub(super) fn capacity(&self) -> Option<usize> {
        self.capacity
    }

    pub(super) fn is_full(&self) -> bool {
        self.capacity.is_some_and(|capacity| self.len() >= capacity)
    }

    // ---- for `select` ----

    /// Waits with others to receive; `None` where there is no need to wait.
    pub(super) fn enlist_receiver(&self, choice: &Arc<Choice>, which: usize) -> Option<Receiving<'_, T>> {
        let line = self.queue.lock();
        let need_not_wait = line.no_senders || !line.buffer.is_empty() || line.has_other(SENDERS, choice);
        (!need_not_wait).then(|| line.enlist(RECEIVERS, None, choice, which))
    }

    /// Waits with others to send; the message comes back where there is no need to wait.
    pub(super) fn enlist_sender(&self, message: T, choice: &Arc<Choice>, which: usize) -> Result<Sending<'_, T>, T> {
        let line = self.queue.lock();
        let has_room = self.capacity.is_none_or(|capacity| line.buffer.len() < capacity);
        if line.no_receivers || has_room || line.has_other(RECEIVERS, choice) {
            drop(line);
            return Err(message);
        }
        Ok(line.enlist(SENDERS, Some(message), choice, which))
    }
}

/// A receiver that waits with others.
pub(super) type Receiving<'a, T> = Enlisted<'a, State<T>, Slot<T>, 2>;

/// A sender that waits with others.
pub(super) type Sending<'a, T> = Enlisted<'a, State<T>, Slot<T>, 2>;
