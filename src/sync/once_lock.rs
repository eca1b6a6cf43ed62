//! A value that is set once.

#![allow(unsafe_code, reason = "lends what a `Once` says to be there")]

use std::cell::UnsafeCell;
use std::convert::Infallible;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

use super::once::{Condition, Once};
use crate::sched::Worker;

/// As [`std::sync::OnceLock`], for fibers and threads.
///
/// ```
/// use kapok::sync::OnceLock;
///
/// static CONFIG: OnceLock<String> = OnceLock::new();
///
/// assert_eq!(CONFIG.get(), None);
/// assert_eq!(CONFIG.get_or_init(|| "default".to_owned()), "default");
/// assert_eq!(CONFIG.set("late".to_owned()), Err("late".to_owned()));
/// ```
///
/// # Cancelling
/// A fiber that is cancelled in its initialiser, or while it waits for another's, leaves the value unset, for the next
/// one to make.
///
/// # Invariant
/// When `once` is complete there is a value, which only `&mut self` changes; before, the function that `once` runs has the
/// value to itself.
pub struct OnceLock<T> {
    once: Once,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: the invariant; what one thread has set another one may take.
unsafe impl<T: Sync + Send> Sync for OnceLock<T> {}
impl<T: RefUnwindSafe + UnwindSafe> RefUnwindSafe for OnceLock<T> {}
impl<T: UnwindSafe> UnwindSafe for OnceLock<T> {}

impl<T> OnceLock<T> {
    /// Without a value.
    #[inline]
    #[must_use]
    pub const fn new() -> OnceLock<T> {
        OnceLock {
            once: Once::new(),
            value: UnsafeCell::new(None),
        }
    }

    /// The value, if it has been set.
    ///
    /// A fiber that looks in vain 64 times in a row lets others run, but not within [`no_suspend`](crate::no_suspend()).
    #[inline]
    pub fn get(&self) -> Option<&T> {
        let value = self.peek();
        if value.is_none() {
            Worker::looked_in_vain();
        }
        value
    }

    #[inline]
    fn peek(&self) -> Option<&T> {
        if !self.once.is_complete() {
            return None;
        }
        // SAFETY: complete, so nobody changes it.
        unsafe { &*self.value.get() }.as_ref()
    }

    /// The value, if it has been set.
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut().as_mut()
    }

    /// The value; waits until it has been set.
    ///
    /// # Panics
    /// Where it would have to wait in a section of [`no_suspend`](crate::no_suspend()).
    #[inline]
    pub fn wait(&self) -> &T {
        self.once.wait_force();
        self.peek().expect("it was set")
    }

    /// Sets the value. If somebody is about to, waits for the outcome.
    ///
    /// # Errors
    /// With `value`, if there was one already.
    #[inline]
    pub fn set(&self, value: T) -> Result<(), T> {
        match self.try_insert(value) {
            Ok(_) => Ok(()),
            Err((_, value)) => Err(value),
        }
    }

    /// As [`set`](OnceLock::set), and gives the value.
    ///
    /// # Errors
    /// With the value that there was, and `value`.
    ///
    /// # Panics
    /// As [`get_or_init`](OnceLock::get_or_init).
    #[inline]
    pub fn try_insert(&self, value: T) -> Result<&T, (&T, T)> {
        let mut value = Some(value);
        let is = self.get_or_init(|| value.take().expect("it is called once"));
        match value {
            None => Ok(is),
            Some(value) => Err((is, value)),
        }
    }

    /// The value; if there is none, that which `f` makes. If somebody is about to make one, waits for that.
    ///
    /// # Panics
    /// If `f` does; the value is not set then. Where it would have to wait in a section of
    /// [`no_suspend`](crate::no_suspend()). An `f` that sets the same value waits for ever.
    #[inline]
    pub fn get_or_init<F>(&self, f: F) -> &T
    where
        F: FnOnce() -> T,
    {
        match self.get_or_try_init(|| Ok::<T, Infallible>(f())) {
            Ok(value) => value,
        }
    }

    /// As [`get_or_init`](OnceLock::get_or_init), without waiting.
    #[inline]
    pub fn get_mut_or_init<F>(&mut self, f: F) -> &mut T
    where
        F: FnOnce() -> T,
    {
        match self.get_mut_or_try_init(|| Ok::<T, Infallible>(f())) {
            Ok(value) => value,
        }
    }

    /// As [`get_or_init`](OnceLock::get_or_init), with an `f` that may fail.
    ///
    /// # Errors
    /// That of `f`; the value is not set then.
    ///
    /// # Panics
    /// As [`get_or_init`](OnceLock::get_or_init).
    #[inline]
    pub fn get_or_try_init<F, E>(&self, f: F) -> Result<&T, E>
    where
        F: FnOnce() -> Result<T, E>,
    {
        if self.peek().is_none() {
            self.initialize(f)?;
        }
        Ok(self.peek().expect("it was set"))
    }

    /// As [`get_mut_or_init`](OnceLock::get_mut_or_init), with an `f` that may fail.
    ///
    /// # Errors
    /// That of `f`; the value is not set then.
    ///
    /// # Panics
    /// If `f` does.
    pub fn get_mut_or_try_init<F, E>(&mut self, f: F) -> Result<&mut T, E>
    where
        F: FnOnce() -> Result<T, E>,
    {
        if self.get_mut().is_none() {
            self.initialize(f)?;
        }
        Ok(self.get_mut().expect("it was set"))
    }

    #[cold]
    fn initialize<F, E>(&self, f: F) -> Result<(), E>
    where
        F: FnOnce() -> Result<T, E>,
    {
        let mut result = Ok(());
        self.once.call(true, false, |state| match f() {
            // SAFETY: the function that `once` runs has it to itself.
            Ok(value) => unsafe { *self.value.get() = Some(value) },
            Err(error) => {
                result = Err(error);
                state.poison();
            }
        });
        result
    }

    /// The value, if it has been set.
    #[inline]
    pub fn into_inner(mut self) -> Option<T> {
        self.take()
    }

    /// Takes the value out, if it has been set, and is as new.
    #[inline]
    pub fn take(&mut self) -> Option<T> {
        let value = self.value.get_mut().take();
        if value.is_some() {
            self.once.set_condition(Condition::Incomplete);
        }
        value
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> OnceLock<T> {
        OnceLock::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut d = f.debug_tuple("OnceLock");
        match self.peek() {
            Some(value) => d.field(value),
            None => d.field(&format_args!("<uninit>")),
        };
        d.finish()
    }
}

impl<T: Clone> Clone for OnceLock<T> {
    fn clone(&self) -> OnceLock<T> {
        self.peek().map_or_else(OnceLock::new, |value| value.clone().into())
    }
}

impl<T> From<T> for OnceLock<T> {
    fn from(value: T) -> OnceLock<T> {
        let mut once = Once::new();
        once.set_condition(Condition::Complete);
        OnceLock {
            once,
            value: UnsafeCell::new(Some(value)),
        }
    }
}

impl<T: PartialEq> PartialEq for OnceLock<T> {
    fn eq(&self, other: &OnceLock<T>) -> bool {
        self.peek() == other.peek()
    }
}

impl<T: Eq> Eq for OnceLock<T> {}
