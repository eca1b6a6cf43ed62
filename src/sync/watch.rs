//! A value that changes, and those who want to know of it. Only the last value counts.
//!
//! ```
//! use kapok::sync::watch;
//!
//! kapok::run(|| {
//!     let (sender, mut receiver) = watch::channel("starting");
//!     kapok::spawn(move || sender.send("ready").unwrap());
//!     receiver.changed().unwrap();
//!     assert_eq!(receiver.get(), "ready");
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Cancelling
//! Waiting for a change is a suspension point. One that is cancelled has seen nothing: the next wait ends with the same
//! change.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::SendError;
use std::time::{Duration, Instant};

use super::queue::{Choice, Enlisted, Place, Queue, Waited, checkpoint};

/// A value, with one that changes it and one that watches it. The first value is not a change.
#[must_use]
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let state = State {
        value: Arc::new(value),
        version: 0,
        no_senders: false,
    };
    let shared = Arc::new(Shared {
        queue: Queue::new(state),
        senders: AtomicUsize::new(1),
        receivers: AtomicUsize::new(1),
    });
    let receiver = Receiver {
        shared: Arc::clone(&shared),
        seen: AtomicU64::new(0),
    };
    (Sender(shared), receiver)
}

struct Shared<T> {
    queue: Queue<State<T>, ()>,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

pub(super) struct State<T> {
    value: Arc<T>,
    version: u64,
    no_senders: bool,
}

/// Changes the value. Its clones are for the same value.
pub struct Sender<T>(Arc<Shared<T>>);

/// Watches the value. A clone has seen what this has seen.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// The version that it has seen. Changed under the queue's lock: a `select!` has the receiver shared.
    seen: AtomicU64,
}

/// Why no change was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangedError {
    /// There was none in time.
    Timeout,
    /// There was none, and will be none: all senders are gone.
    Closed,
}

impl fmt::Display for ChangedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChangedError::Timeout => "the value has not changed in time",
            ChangedError::Closed => "nobody is there who could change the value",
        })
    }
}

impl Error for ChangedError {}

impl<T> Sender<T> {
    /// Changes the value. Never waits.
    ///
    /// # Errors
    /// With the value, if nobody watches.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.0.receivers.load(Ordering::Acquire) == 0 {
            return Err(SendError(value));
        }
        let value = Arc::new(value);
        let mut line = self.0.queue.lock();
        let old = std::mem::replace(&mut line.value, value);
        line.version += 1;
        line.call_all(0);
        drop(line);
        drop(old);
        Ok(())
    }

    /// The value as it is.
    #[must_use]
    pub fn borrow(&self) -> Arc<T> {
        Arc::clone(&self.0.queue.lock().value)
    }

    /// One more that watches, and has seen the value as it is.
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        self.0.receivers.fetch_add(1, Ordering::Relaxed);
        Receiver {
            shared: Arc::clone(&self.0),
            seen: AtomicU64::new(self.0.queue.lock().version),
        }
    }
}

impl<T> Receiver<T> {
    /// The value as it is. It stays as it is for whoever has it; later ones are others.
    #[must_use]
    pub fn borrow(&self) -> Arc<T> {
        Arc::clone(&self.shared.queue.lock().value)
    }

    /// As [`borrow`](Receiver::borrow), and has seen it: the next change is one to another value. After
    /// [`changed`](Receiver::changed), `borrow` may give a value that is newer than the change, which then counts as
    /// a change once more.
    #[must_use]
    pub fn borrow_and_update(&mut self) -> Arc<T> {
        let line = self.shared.queue.lock();
        self.seen.store(line.version, Ordering::Relaxed);
        Arc::clone(&line.value)
    }

    /// A clone of the value as it is.
    #[must_use]
    pub fn get(&self) -> T
    where
        T: Clone,
    {
        (*self.borrow()).clone()
    }

    /// Whether the value has changed since this has last seen a change.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.shared.queue.lock().version != self.seen.load(Ordering::Relaxed)
    }

    /// Waits until the value has changed since this has last seen a change. Several changes count as one.
    ///
    /// # Errors
    /// [`ChangedError::Closed`].
    ///
    /// # Panics
    /// Where it would have to wait in a section of [`no_suspend`](crate::no_suspend()).
    pub fn changed(&mut self) -> Result<(), ChangedError> {
        checkpoint();
        self.see(Some(None))
    }

    /// As [`changed`](Receiver::changed), but waits no longer than `timeout`.
    ///
    /// # Errors
    /// As [`changed`](Receiver::changed); [`ChangedError::Timeout`].
    ///
    /// # Panics
    /// As [`changed`](Receiver::changed).
    pub fn changed_timeout(&mut self, timeout: Duration) -> Result<(), ChangedError> {
        checkpoint();
        // Further away than the clock can tell is for ever.
        self.see(Some(Instant::now().checked_add(timeout)))
    }

    /// Waits until `condition` is true of the value, beginning with the one that is there, and gives it.
    ///
    /// # Errors
    /// As [`changed`](Receiver::changed).
    ///
    /// # Panics
    /// As [`changed`](Receiver::changed); if `condition` does.
    pub fn wait_for(&mut self, mut condition: impl FnMut(&T) -> bool) -> Result<Arc<T>, ChangedError> {
        loop {
            let line = self.shared.queue.lock();
            let (value, version) = (Arc::clone(&line.value), line.version);
            drop(line);
            self.seen.store(version, Ordering::Relaxed);
            if condition(&value) {
                return Ok(value);
            }
            self.changed()?;
        }
    }

    /// Sees a change; waits until then, if it is to wait, and for ever if that is not limited.
    pub(super) fn see(&self, wait_until: Option<Option<Instant>>) -> Result<(), ChangedError> {
        loop {
            let line = self.shared.queue.lock();
            if line.version != self.seen.load(Ordering::Relaxed) {
                self.seen.store(line.version, Ordering::Relaxed);
                return Ok(());
            }
            if line.no_senders {
                return Err(ChangedError::Closed);
            }
            let deadline = wait_until.ok_or(ChangedError::Timeout)?;
            match line.wait(0, Place::Back, (), deadline, || (), |_| ()) {
                Waited::Called(()) => {}
                Waited::TimedOut(..) => return Err(ChangedError::Timeout),
            }
        }
    }

    /// Joins the line as one of several; `None` if there is something to see.
    pub(super) fn enlist(&self, choice: &Arc<Choice>, which: usize) -> Option<Waiting<'_, T>> {
        let line = self.shared.queue.lock();
        let waits = line.version == self.seen.load(Ordering::Relaxed) && !line.no_senders;
        waits.then(|| line.enlist(0, (), choice, which))
    }
}

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
        self.shared.receivers.fetch_add(1, Ordering::Relaxed);
        Receiver {
            shared: Arc::clone(&self.shared),
            seen: AtomicU64::new(self.seen.load(Ordering::Relaxed)),
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
        self.shared.receivers.fetch_sub(1, Ordering::AcqRel);
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
