//! The keys of fiber-local values.

#![allow(unsafe_code, reason = "says of which type the value behind a number is")]

use std::cell::{Cell, RefCell};
use std::fmt;
use std::thread;

use super::table::{self, Number, Place};

/// Declares fiber-local values: each fiber has its own. As [`std::thread_local!`], with the same syntax.
///
/// Each static is a [`LocalKey`]. A value is made when its fiber first uses it, and dropped when the fiber ends. On a plain
/// thread it is a thread-local.
///
/// ```
/// use std::cell::{Cell, RefCell};
///
/// kapok::fiber_local! {
///     static LINES: RefCell<Vec<String>> = RefCell::default();
///     pub static COUNT: Cell<u32> = const { Cell::new(0) };
/// }
///
/// kapok::run(|| {
///     COUNT.set(7);
///     let theirs = kapok::spawn(|| {
///         LINES.with_borrow_mut(|lines| lines.push("hello".into()));
///         COUNT.get()
///     });
///     assert_eq!(theirs.join().unwrap(), 0);
///     assert_eq!(COUNT.get(), 7);
///     assert!(LINES.take().is_empty());
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[macro_export]
macro_rules! fiber_local {
    () => {};

    ($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty = const $value:block; $($rest:tt)*) => {
        $crate::__fiber_local_key!([$(#[$attribute])*] $visibility $name, $type, const $value);
        $crate::fiber_local!($($rest)*);
    };

    ($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty = const $value:block) => {
        $crate::__fiber_local_key!([$(#[$attribute])*] $visibility $name, $type, const $value);
    };

    ($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty = $value:expr; $($rest:tt)*) => {
        $crate::__fiber_local_key!([$(#[$attribute])*] $visibility $name, $type, $value);
        $crate::fiber_local!($($rest)*);
    };

    ($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty = $value:expr) => {
        $crate::__fiber_local_key!([$(#[$attribute])*] $visibility $name, $type, $value);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __fiber_local_key {
    ([$($attributes:tt)*] $visibility:vis $name:ident, $type:ty, $($value:tt)*) => {
        $($attributes)*
        $visibility static $name: $crate::local::LocalKey<$type> = {
            ::std::thread_local! { static __ON_THREADS: $type = $($value)*; }
            fn __value() -> $type {
                $($value)*
            }
            $crate::local::LocalKey::new(&__ON_THREADS, __value)
        };
    };
}

/// A fiber-local value's name, declared by [`fiber_local!`](crate::fiber_local). As [`std::thread::LocalKey`].
///
/// The value is the calling fiber's own. It is made when the fiber first uses it, stays at its place, and is dropped when
/// the fiber ends, on the fiber's thread and stack, before the fiber can be joined. Destructors may wait, and may use other
/// fiber-local values, as long as these have not been dropped; in which order that happens is not said. One that panics has
/// its message printed, and harms nobody else.
///
/// It need not be `Send`, since a fiber stays on its thread. Of several calls of [`with`](LocalKey::with) one may be within
/// the other; that is why the reference is shared, and what is to be changed is put into a `Cell` or a `RefCell`.
///
/// A value that is still in use when its fiber ends is leaked; that takes a [`Coroutine`](crate::coroutine::Coroutine) that
/// has suspended itself within `with`.
pub struct LocalKey<T: 'static> {
    /// What plain threads use.
    on_threads: &'static thread::LocalKey<T>,
    value: fn() -> T,
    number: Number,
}

/// What [`LocalKey::try_with`] answers when the value was dropped already. As [`std::thread::AccessError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessError;

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("already destroyed")
    }
}

impl std::error::Error for AccessError {}

#[cold]
#[track_caller]
fn access(error: AccessError) -> ! {
    panic!("cannot access a fiber-local value during or after its destruction: {error}")
}

impl<T: 'static> LocalKey<T> {
    /// For [`fiber_local!`](crate::fiber_local) alone.
    #[doc(hidden)]
    #[must_use]
    pub const fn new(on_threads: &'static thread::LocalKey<T>, value: fn() -> T) -> LocalKey<T> {
        LocalKey {
            on_threads,
            value,
            number: Number::new(),
        }
    }

    /// Calls `f` with the fiber's value, which is made first where there is none.
    ///
    /// # Panics
    /// When the value was dropped already, because the fiber or the thread is ending; when the expression that makes the
    /// value uses this key itself and makes one there.
    #[inline]
    #[track_caller]
    pub fn with<F, R>(&'static self, f: F) -> R
    where
        F: FnOnce(&T) -> R,
    {
        self.try_with(f).unwrap_or_else(|error| access(error))
    }

    /// Calls `f` with the fiber's value, which is made first where there is none.
    ///
    /// # Errors
    /// When the value was dropped already.
    ///
    /// # Panics
    /// When the expression that makes the value uses this key itself and makes one there.
    #[inline]
    pub fn try_with<F, R>(&'static self, f: F) -> Result<R, AccessError>
    where
        F: FnOnce(&T) -> R,
    {
        match self.find() {
            Place::Here(here) => Ok(f(here.value())),
            other => self.try_with_slowly(other, self.value, f),
        }
    }

    #[inline]
    fn find(&'static self) -> Place<T> {
        // SAFETY: a number is given to one key, and that is of one type.
        unsafe { table::find(self.number.peek()) }
    }

    #[cold]
    fn try_with_slowly<F, R>(&'static self, place: Place<T>, value: impl FnOnce() -> T, f: F) -> Result<R, AccessError>
    where
        F: FnOnce(&T) -> R,
    {
        if let Place::Unset = place {
            let value = value();
            // What made it was anybody's code: it may have used this key, or, being a coroutine, have gone elsewhere.
            match self.find() {
                // SAFETY: a number is given to one key, and that is of one type.
                Place::Unset => unsafe { table::insert(self.number.get(), value) },
                Place::Here(_) => panic!("a fiber-local value is made while it is being made"),
                Place::Thread | Place::Gone => {}
            }
        }
        match self.find() {
            Place::Here(here) => Ok(f(here.value())),
            Place::Thread => self.on_threads.try_with(f).map_err(|_| AccessError),
            Place::Gone | Place::Unset => Err(AccessError),
        }
    }

    /// Makes the value of `new`, where there is none, and calls `f` with it, and with `new` where that was not needed.
    #[track_caller]
    fn with_or_new<R>(&'static self, new: T, f: impl FnOnce(Option<T>, &T) -> R) -> R {
        let new = Cell::new(Some(new));
        let take = || new.take();
        let result = match self.find() {
            Place::Here(here) => Ok(f(take(), here.value())),
            other => self.try_with_slowly(other, || take().expect("just made"), |value| f(take(), value)),
        };
        result.unwrap_or_else(|error| access(error))
    }
}

/// As the methods of the same names of [`std::thread::LocalKey`]; they panic when the value was dropped already.
impl<T: 'static> LocalKey<Cell<T>> {
    /// Sets the value. The expression that would have made it is not evaluated.
    #[track_caller]
    pub fn set(&'static self, value: T) {
        if let Place::Thread = self.find() {
            return self.on_threads.set(value);
        }
        self.with_or_new(Cell::new(value), |unused, cell| {
            if let Some(unused) = unused {
                cell.set(unused.into_inner());
            }
        });
    }

    /// A copy of the value.
    #[inline]
    #[track_caller]
    pub fn get(&'static self) -> T
    where
        T: Copy,
    {
        self.with(Cell::get)
    }

    /// Takes the value and leaves the default.
    #[track_caller]
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(Cell::take)
    }

    /// Replaces the value and gives the old one. Where there is none, the expression is evaluated for it.
    #[track_caller]
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

/// As the methods of the same names of [`std::thread::LocalKey`]; they panic when the value was dropped already, and when it is
/// borrowed in a way that excludes what is asked for.
impl<T: 'static> LocalKey<RefCell<T>> {
    /// Calls `f` with a reference to what is in the cell.
    #[inline]
    #[track_caller]
    pub fn with_borrow<F, R>(&'static self, f: F) -> R
    where
        F: FnOnce(&T) -> R,
    {
        self.with(|cell| f(&cell.borrow()))
    }

    /// Calls `f` with a mutable reference to what is in the cell.
    #[inline]
    #[track_caller]
    pub fn with_borrow_mut<F, R>(&'static self, f: F) -> R
    where
        F: FnOnce(&mut T) -> R,
    {
        self.with(|cell| f(&mut cell.borrow_mut()))
    }

    /// Sets the value. The expression that would have made it is not evaluated.
    #[track_caller]
    pub fn set(&'static self, value: T) {
        if let Place::Thread = self.find() {
            return self.on_threads.set(value);
        }
        self.with_or_new(RefCell::new(value), |unused, cell| {
            if let Some(unused) = unused {
                *cell.borrow_mut() = unused.into_inner();
            }
        });
    }

    /// Takes the value and leaves the default.
    #[track_caller]
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(RefCell::take)
    }

    /// Replaces the value and gives the old one.
    #[track_caller]
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: 'static> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").finish_non_exhaustive()
    }
}
