//! A value that is made when it is first needed.

#![allow(unsafe_code, reason = "lends what a `Once` says to be there")]

use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};

use super::once::{Condition, Once};

/// As [`std::sync::LazyLock`], for fibers and threads.
///
/// ```
/// use kapok::sync::LazyLock;
///
/// static GREETING: LazyLock<String> = LazyLock::new(|| "hello".to_owned());
///
/// assert_eq!(GREETING.len(), 5);
/// ```
///
/// # Cancelling
/// The function is not cancelled in the middle: see [`Once`].
///
/// # Invariant
/// When `once` is complete, `data` is a value, which only `&mut self` changes; before, the function that `once` runs has it
/// to itself.
pub struct LazyLock<T, F = fn() -> T> {
    once: Once,
    data: UnsafeCell<Data<T, F>>,
}

enum Data<T, F> {
    Function(F),
    Value(T),
    /// The function has been taken, and has not returned.
    Nothing,
}

// SAFETY: the invariant. The function is called, and what it makes dropped, perhaps on another thread, once.
unsafe impl<T: Sync + Send, F: Send> Sync for LazyLock<T, F> {}
impl<T: RefUnwindSafe + UnwindSafe, F: UnwindSafe> RefUnwindSafe for LazyLock<T, F> {}
impl<T: UnwindSafe, F: UnwindSafe> UnwindSafe for LazyLock<T, F> {}

impl<T, F: FnOnce() -> T> LazyLock<T, F> {
    /// A value that `f` will make.
    #[inline]
    pub const fn new(f: F) -> LazyLock<T, F> {
        LazyLock {
            once: Once::new(),
            data: UnsafeCell::new(Data::Function(f)),
        }
    }

    /// The value, or the function if it has not been called.
    ///
    /// # Errors
    /// With the function.
    ///
    /// # Panics
    /// If the function has panicked.
    pub fn into_inner(this: Self) -> Result<T, F> {
        match this.data.into_inner() {
            Data::Value(value) => Ok(value),
            Data::Function(f) => Err(f),
            Data::Nothing => poisoned(),
        }
    }

    /// The value, which is made if need be.
    ///
    /// # Panics
    /// If the function panics, or has.
    pub fn force_mut(this: &mut LazyLock<T, F>) -> &mut T {
        if this.once.condition() == Condition::Incomplete {
            this.once.set_condition(Condition::Poisoned);
            let data = this.data.get_mut();
            let Data::Function(f) = std::mem::replace(data, Data::Nothing) else {
                poisoned()
            };
            *data = Data::Value(f());
            this.once.set_condition(Condition::Complete);
        }
        match this.data.get_mut() {
            Data::Value(value) => value,
            _ => poisoned(),
        }
    }

    /// The value, which is made if need be. If somebody is about it, waits for that.
    ///
    /// # Panics
    /// If the function panics, or has. Where it would have to wait in a section of [`no_suspend`](crate::no_suspend()). A
    /// function that needs the same value waits for ever.
    #[inline]
    pub fn force(this: &LazyLock<T, F>) -> &T {
        if !this.once.is_complete() {
            this.make();
        }
        LazyLock::get(this).expect("it was made")
    }

    #[cold]
    fn make(&self) {
        self.once.call_once_force(|state| {
            if state.is_poisoned() {
                poisoned();
            }
            // SAFETY: the function that `once` runs has it to itself.
            let function = std::mem::replace(unsafe { &mut *self.data.get() }, Data::Nothing);
            let Data::Function(f) = function else { poisoned() };
            let value = f();
            // SAFETY: as above.
            unsafe { *self.data.get() = Data::Value(value) };
        });
    }
}

impl<T, F> LazyLock<T, F> {
    /// The value, if it has been made.
    #[inline]
    pub fn get_mut(this: &mut LazyLock<T, F>) -> Option<&mut T> {
        match this.data.get_mut() {
            Data::Value(value) => Some(value),
            _ => None,
        }
    }

    /// The value, if it has been made. Never waits.
    #[inline]
    pub fn get(this: &LazyLock<T, F>) -> Option<&T> {
        if !this.once.is_complete() {
            return None;
        }
        // SAFETY: complete, so nobody changes it.
        match unsafe { &*this.data.get() } {
            Data::Value(value) => Some(value),
            _ => None,
        }
    }
}

#[cold]
#[inline(never)]
fn poisoned() -> ! {
    panic!("LazyLock instance has previously been poisoned");
}

impl<T, F: FnOnce() -> T> Deref for LazyLock<T, F> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        LazyLock::force(self)
    }
}

impl<T, F: FnOnce() -> T> DerefMut for LazyLock<T, F> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        LazyLock::force_mut(self)
    }
}

impl<T: Default> Default for LazyLock<T> {
    fn default() -> LazyLock<T> {
        LazyLock::new(T::default)
    }
}

impl<T: fmt::Debug, F> fmt::Debug for LazyLock<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut d = f.debug_tuple("LazyLock");
        match LazyLock::get(self) {
            Some(value) => d.field(value),
            None => d.field(&format_args!("<uninit>")),
        };
        d.finish()
    }
}
