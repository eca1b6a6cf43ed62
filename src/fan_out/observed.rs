//! A value, and functions that are told when it changes.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{self, AssertUnwindSafe, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A value with observers: functions that are called with each new value.
///
/// For what has to happen at every change, also when nobody waits for one. To wait for a change is what
/// [`watch`](crate::sync::watch) is for; to have something done at each switch of fibers,
/// [`on_switch`](crate::local::on_switch).
///
/// ```
/// use kapok::fan_out::Observed;
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use std::sync::Arc;
///
/// let limit = Observed::new(10);
/// let seen = Arc::new(AtomicUsize::new(0));
/// let theirs = Arc::clone(&seen);
/// let observer = limit.observe(move |limit| theirs.store(*limit, Ordering::Relaxed));
/// limit.set(20);
/// assert_eq!(seen.load(Ordering::Relaxed), 20);
/// drop(observer); // and is told no more
/// limit.update(|limit| limit + 1);
/// assert_eq!((*limit.get(), seen.load(Ordering::Relaxed)), (21, 20));
/// ```
///
/// Observers are told of every value, one after the other, in the order in which they were registered and in which the values
/// came. The one who sets it calls them, unless somebody is at it already: then that one tells of the new value as well, and
/// `set` returns at once. So an observer may set the value itself, and may wait.
///
/// Clones have the same value.
pub struct Observed<T>(Arc<Inner<T>>);

/// While this lives, its function is told of changes. Dropping it does not wait for a call that is under way.
#[must_use = "an observer that is dropped is told nothing"]
pub struct Observer(Option<Box<dyn FnOnce() + Send + Sync>>);

struct Inner<T>(Mutex<State<T>>);

type Tell<T> = Arc<dyn Fn(&T) + Send + Sync>;

struct State<T> {
    value: Arc<T>,
    /// Of which the observers have not been told.
    changes: VecDeque<Arc<T>>,
    /// Somebody is at it.
    telling: bool,
    observers: Vec<(u64, Tell<T>)>,
    next_number: u64,
}

impl<T> Inner<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing of the program's is called, or dropped, under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send + Sync + 'static> Observed<T> {
    /// One with this value and no observers.
    #[must_use]
    pub fn new(value: T) -> Observed<T> {
        Observed(Arc::new(Inner(Mutex::new(State {
            value: Arc::new(value),
            changes: VecDeque::new(),
            telling: false,
            observers: Vec::new(),
            next_number: 0,
        }))))
    }

    /// The value. It may have changed by the time that the caller looks at it.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.lock().value)
    }

    /// Changes the value, and has the observers told.
    ///
    /// # Panics
    /// With what an observer panicked with, after all others were told.
    pub fn set(&self, value: T) {
        let old = self.change(self.0.lock(), Arc::new(value));
        drop(old);
        self.tell();
    }

    /// Makes a new value of the present one, and has the observers told. Nobody else changes it in between: `f` is called again
    /// where somebody has.
    ///
    /// # Panics
    /// As [`set`](Observed::set).
    pub fn update(&self, mut f: impl FnMut(&T) -> T) {
        loop {
            let old = self.get();
            let new = Arc::new(f(&old));
            let state = self.0.lock();
            if Arc::ptr_eq(&state.value, &old) {
                drop(self.change(state, new));
                return self.tell();
            }
        }
    }

    /// Has `f` told of each new value for as long as the [`Observer`] lives. Not of the present one.
    pub fn observe(&self, f: impl Fn(&T) + Send + Sync + 'static) -> Observer {
        let tell: Tell<T> = Arc::new(f);
        let mut state = self.0.lock();
        let number = state.next_number;
        state.next_number += 1;
        state.observers.push((number, tell));
        let inner: Weak<Inner<T>> = Arc::downgrade(&self.0);
        Observer(Some(Box::new(move || {
            let Some(inner) = inner.upgrade() else { return };
            let mut state = inner.lock();
            let place = state.observers.iter().position(|(other, _)| *other == number);
            let observer = place.map(|place| state.observers.remove(place));
            drop(state);
            drop(observer);
        })))
    }

    /// Gives the old value, to be dropped after unlocking.
    fn change(&self, mut state: MutexGuard<'_, State<T>>, value: Arc<T>) -> Arc<T> {
        state.changes.push_back(Arc::clone(&value));
        std::mem::replace(&mut state.value, value)
    }

    fn tell(&self) {
        let mut first_panic: Option<Box<dyn Any + Send>> = None;
        let mut state = self.0.lock();
        if state.telling {
            return;
        }
        state.telling = true;
        while let Some(value) = state.changes.pop_front() {
            let observers: Vec<_> = state.observers.iter().map(|(_, tell)| Arc::clone(tell)).collect();
            drop(state);
            // Neither one that panics, nor what goes with the last reference to one, or to the value, keeps it from the others.
            let mut contained = |f: &mut dyn FnMut()| {
                let outcome = panic::catch_unwind(AssertUnwindSafe(f));
                match (&first_panic, outcome) {
                    (None, Err(payload)) => first_panic = Some(payload),
                    (Some(_), Err(another)) => drop(panic::catch_unwind(AssertUnwindSafe(|| drop(another)))),
                    (_, Ok(())) => {}
                }
            };
            for tell in observers {
                contained(&mut || tell(&value));
                let mut tell = Some(tell);
                contained(&mut || drop(tell.take()));
            }
            let mut value = Some(value);
            contained(&mut || drop(value.take()));
            state = self.0.lock();
        }
        state.telling = false;
        drop(state);
        if let Some(payload) = first_panic {
            resume_unwind(payload);
        }
    }
}

impl<T> Clone for Observed<T> {
    fn clone(&self) -> Self {
        Observed(Arc::clone(&self.0))
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(|remove| remove());
    }
}

impl<T: fmt::Debug> fmt::Debug for Observed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, observers) = {
            let state = self.0.lock();
            (Arc::clone(&state.value), state.observers.len())
        };
        f.debug_struct("Observed")
            .field("value", &value)
            .field("observers", &observers)
            .finish()
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").finish_non_exhaustive()
    }
}
