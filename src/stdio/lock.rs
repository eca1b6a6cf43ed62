//! A lock that its holder may take again, as that of std's outputs; fibers wait for it suspended, threads blocked.

use std::marker::PhantomData;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use crate::fiber::{self, FiberId};
use crate::turn::{Turn, Turnstile};

pub(super) struct Reentrant<T: 'static> {
    turnstile: Turnstile,
    holder: Mutex<Option<Holder>>,
    /// Locked by whoever holds this, while it does something.
    value: Mutex<T>,
}

struct Holder {
    id: FiberId,
    times: usize,
    turn: Turn<'static>,
}

/// While this lives, its fiber or thread has the value for itself. It stays there: not `Send`.
pub(super) struct Held<'a, T: 'static> {
    of: &'a Reentrant<T>,
    _stays: PhantomData<*const ()>,
}

impl<T> Reentrant<T> {
    pub(super) fn new(value: T) -> Reentrant<T> {
        Reentrant {
            turnstile: Turnstile::default(),
            holder: Mutex::new(None),
            value: Mutex::new(value),
        }
    }

    fn holder(&self) -> MutexGuard<'_, Option<Holder>> {
        // Nothing panics under the lock.
        self.holder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn hold(&'static self) -> Held<'static, T> {
        let id = fiber::current().id();
        let mut holder = self.holder();
        if let Some(holder) = holder.as_mut().filter(|holder| holder.id == id) {
            holder.times += 1;
        } else {
            drop(holder);
            let turn = self.turnstile.wait();
            *self.holder() = Some(Holder { id, times: 1, turn });
        }
        Held {
            of: self,
            _stays: PhantomData,
        }
    }

    /// The value, if nobody does anything with it.
    pub(super) fn try_value(&self) -> Option<MutexGuard<'_, T>> {
        match self.value.try_lock() {
            Ok(value) => Some(value),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl<T> Held<'_, T> {
    pub(super) fn value(&mut self) -> MutexGuard<'_, T> {
        // Free, as this has it. Unwinding in the middle leaves a buffer as it was, or shorter by what has been written.
        self.of.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        let mut holder = self.of.holder();
        if let Some(held) = holder.as_mut() {
            held.times -= 1;
            if held.times > 0 {
                return;
            }
        }
        let last = holder.take();
        drop(holder);
        // The next one may go on.
        drop(last.map(|holder| holder.turn));
    }
}
