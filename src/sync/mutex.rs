//! The mutex, and its guards.

#![allow(unsafe_code, reason = "lends what is in the lock to whoever holds it")]

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};
use std::time::{Duration, Instant};

use super::poison::{Flag, Held};
use super::raw_mutex::RawMutex;
use crate::sched::Worker;

/// As [`std::sync::Mutex`], for fibers and threads: whoever has to wait for it suspends its fiber, or blocks its thread.
///
/// ```
/// use std::sync::Arc;
/// use kapok::sync::Mutex;
///
/// kapok::run(|| {
///     let sum = Arc::new(Mutex::new(0));
///     let fibers: Vec<_> = (0..10)
///         .map(|i| {
///             let sum = Arc::clone(&sum);
///             kapok::spawn(move || {
///                 let mut sum = sum.lock().unwrap();
///                 kapok::fiber::yield_now(); // a guard may be held over a wait
///                 *sum += i;
///             })
///         })
///         .collect();
///     fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
///     assert_eq!(*sum.lock().unwrap(), 45);
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A lock that is free costs one atomic operation, and so does unlocking one that nobody waits for.
///
/// # Who is next
/// Those who wait are called in the order in which they came. A lock that is free may be taken by somebody who has not waited, also
/// while the one that was called is on its way; but one that has come and found the lock taken again is handed it by
/// the next unlock. So nobody waits for ever, provided that whoever has the lock gives it back.
///
/// # Cancelling
/// A fiber that is cancelled while it waits for the lock is unwound without it. Taking a lock that is free is no suspension
/// point. A fiber that is unwound while it holds the lock poisons it, as by a panic.
pub struct Mutex<T: ?Sized> {
    raw: RawMutex,
    poison: Flag,
    data: UnsafeCell<T>,
}

// SAFETY: whoever has the mutex can have the data.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: the data is lent to one at a time, who holds the lock.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}
// A panic poisons.
impl<T: ?Sized> UnwindSafe for Mutex<T> {}
impl<T: ?Sized> RefUnwindSafe for Mutex<T> {}

/// As [`std::sync::MutexGuard`]: the data of a [`Mutex`], which is unlocked when this is dropped.
///
/// It stays with its thread:
///
/// ```compile_fail,E0277
/// fn is_send<T: Send>(_: T) {}
/// is_send(kapok::sync::Mutex::new(1).lock());
/// ```
#[must_use = "if unused the Mutex will immediately unlock"]
#[clippy::has_significant_drop]
pub struct MutexGuard<'a, T: ?Sized + 'a> {
    lock: &'a Mutex<T>,
    held: Held,
    _not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives shared access to the data.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

/// As [`std::sync::MappedMutexGuard`]: a part of the data of a [`Mutex`]; see [`MutexGuard::map`].
#[must_use = "if unused the Mutex will immediately unlock"]
#[clippy::has_significant_drop]
pub struct MappedMutexGuard<'a, T: ?Sized + 'a> {
    /// In the data of the lock, which is ours until this is dropped.
    data: NonNull<T>,
    raw: &'a RawMutex,
    poison: &'a Flag,
    held: Held,
    _variance: PhantomData<&'a mut T>,
}

// SAFETY: as with `MutexGuard`.
unsafe impl<T: ?Sized + Sync> Sync for MappedMutexGuard<'_, T> {}

impl<T> Mutex<T> {
    /// A mutex that is free.
    #[inline]
    pub const fn new(t: T) -> Mutex<T> {
        Mutex {
            raw: RawMutex::new(),
            poison: Flag::new(),
            data: UnsafeCell::new(t),
        }
    }

    /// A clone of the data.
    ///
    /// # Errors
    /// If the mutex is poisoned.
    pub fn get_cloned(&self) -> Result<T, PoisonError<()>>
    where
        T: Clone,
    {
        match self.lock() {
            Ok(guard) => Ok((*guard).clone()),
            Err(_) => Err(PoisonError::new(())),
        }
    }

    /// Replaces the data.
    ///
    /// # Errors
    /// With `value`, if the mutex is poisoned.
    pub fn set(&self, value: T) -> Result<(), PoisonError<T>> {
        self.replace(value).map(drop)
    }

    /// Replaces the data, and gives what was there.
    ///
    /// # Errors
    /// With `value`, if the mutex is poisoned.
    pub fn replace(&self, value: T) -> LockResult<T> {
        match self.lock() {
            Ok(mut guard) => Ok(std::mem::replace(&mut *guard, value)),
            Err(_) => Err(PoisonError::new(value)),
        }
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Takes the lock; waits until it is free.
    ///
    /// # Errors
    /// With the guard, if the mutex is poisoned: somebody has panicked while holding it.
    ///
    /// # Panics
    /// Where it would have to wait in a section of [`no_suspend`](crate::no_suspend()).
    #[inline]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        self.raw.lock();
        self.guard()
    }

    /// Takes the lock if it is free.
    ///
    /// A fiber that looks in vain 64 times in a row lets others run, but not within [`no_suspend`](crate::no_suspend()).
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if it is taken; [`TryLockError::Poisoned`] as with [`lock`](Mutex::lock).
    #[inline]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        if self.raw.try_lock() {
            Ok(self.guard()?)
        } else {
            Worker::looked_in_vain();
            Err(TryLockError::WouldBlock)
        }
    }

    /// As [`lock`](Mutex::lock), but waits no longer than `timeout`.
    ///
    /// ```
    /// use kapok::sync::Mutex;
    /// use std::time::Duration;
    ///
    /// let mutex = Mutex::new(1);
    /// let guard = mutex.lock().unwrap();
    /// assert!(mutex.try_lock_for(Duration::from_millis(1)).is_err());
    /// drop(guard);
    /// assert!(mutex.try_lock_for(Duration::from_millis(1)).is_ok());
    /// ```
    ///
    /// # Errors
    /// As [`try_lock`](Mutex::try_lock), when the time is up.
    ///
    /// # Panics
    /// As [`lock`](Mutex::lock).
    pub fn try_lock_for(&self, timeout: Duration) -> TryLockResult<MutexGuard<'_, T>> {
        // Further away than the clock can tell is for ever.
        self.lock_until(Instant::now().checked_add(timeout))
    }

    /// As [`lock`](Mutex::lock), but waits no longer than until `deadline`.
    ///
    /// # Errors
    /// As [`try_lock`](Mutex::try_lock), when the time is up.
    ///
    /// # Panics
    /// As [`lock`](Mutex::lock).
    pub fn try_lock_until(&self, deadline: Instant) -> TryLockResult<MutexGuard<'_, T>> {
        self.lock_until(Some(deadline))
    }

    fn lock_until(&self, deadline: Option<Instant>) -> TryLockResult<MutexGuard<'_, T>> {
        if self.raw.lock_until(deadline) {
            Ok(self.guard()?)
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    /// Whether somebody has panicked while holding it, and [`clear_poison`](Mutex::clear_poison) was not called since.
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.poison.get()
    }

    /// Has it no longer be poisoned.
    #[inline]
    pub fn clear_poison(&self) {
        self.poison.clear();
    }

    /// The data.
    ///
    /// # Errors
    /// With the data, if the mutex is poisoned.
    pub fn into_inner(self) -> LockResult<T>
    where
        T: Sized,
    {
        let is_poisoned = self.poison;
        is_poisoned.wrap(self.data.into_inner())
    }

    /// The data, without locking: nobody else can have the mutex.
    ///
    /// # Errors
    /// With the data, if the mutex is poisoned.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.poison.wrap(self.data.get_mut())
    }

    /// A pointer to the data, which is valid for whoever holds the lock.
    pub const fn data_ptr(&self) -> *mut T {
        self.data.get()
    }

    /// For a caller who has just taken the lock.
    #[inline]
    fn guard(&self) -> LockResult<MutexGuard<'_, T>> {
        self.poison.guard(|held| MutexGuard {
            lock: self,
            held,
            _not_send: PhantomData,
        })
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(t: T) -> Mutex<T> {
        Mutex::new(t)
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut d = f.debug_struct("Mutex");
        // No look that counts as one in vain: to be shown must not let others run.
        match self.raw.try_lock().then(|| self.guard()) {
            Some(guard) => d.field("data", &&*guard.unwrap_or_else(PoisonError::into_inner)),
            None => d.field("data", &format_args!("<locked>")),
        };
        d.field("poisoned", &self.poison.get());
        d.finish_non_exhaustive()
    }
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// Leaves the lock held, and gives it back to whoever took it apart.
    pub(super) fn into_lock(self) -> &'a Mutex<T> {
        let this = ManuallyDrop::new(self);
        this.lock
    }

    /// A guard of a part of the data.
    ///
    /// ```
    /// use kapok::sync::{Mutex, MutexGuard};
    ///
    /// let pair = Mutex::new((1, 2));
    /// *MutexGuard::map(pair.lock().unwrap(), |pair| &mut pair.1) = 3;
    /// assert_eq!(*pair.lock().unwrap(), (1, 3));
    /// ```
    pub fn map<U, F>(orig: Self, f: F) -> MappedMutexGuard<'a, U>
    where
        F: FnOnce(&mut T) -> &mut U,
        U: ?Sized,
    {
        match Self::filter_map(orig, |data| Some(f(data))) {
            Ok(mapped) => mapped,
            Err(_) => unreachable!("there is always a part"),
        }
    }

    /// A guard of a part of the data, if `f` finds one.
    ///
    /// # Errors
    /// With the guard, if it does not.
    pub fn filter_map<U, F>(orig: Self, f: F) -> Result<MappedMutexGuard<'a, U>, Self>
    where
        F: FnOnce(&mut T) -> Option<&mut U>,
        U: ?Sized,
    {
        // SAFETY: the guard is the only way to the data, and is either given up below or not used meanwhile.
        let Some(data) = f(unsafe { &mut *orig.lock.data.get() }) else {
            return Err(orig);
        };
        let data = NonNull::from(data);
        let held = orig.held;
        let lock = orig.into_lock();
        Ok(MappedMutexGuard {
            data,
            raw: &lock.raw,
            poison: &lock.poison,
            held,
            _variance: PhantomData,
        })
    }
}

impl<T: ?Sized> Mutex<T> {
    /// For the condition variable: unlocks what [`MutexGuard::into_lock`] has left locked.
    pub(super) fn unlock(&self) {
        self.raw.unlock();
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the lock is ours while the guard lives.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is ours while the guard lives.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.poison.done(self.held);
        self.lock.raw.unlock();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<'a, T: ?Sized> MappedMutexGuard<'a, T> {
    /// A guard of a part of the part.
    pub fn map<U, F>(orig: Self, f: F) -> MappedMutexGuard<'a, U>
    where
        F: FnOnce(&mut T) -> &mut U,
        U: ?Sized,
    {
        match Self::filter_map(orig, |data| Some(f(data))) {
            Ok(mapped) => mapped,
            Err(_) => unreachable!("there is always a part"),
        }
    }

    /// A guard of a part of the part, if `f` finds one.
    ///
    /// # Errors
    /// With the guard, if it does not.
    pub fn filter_map<U, F>(mut orig: Self, f: F) -> Result<MappedMutexGuard<'a, U>, Self>
    where
        F: FnOnce(&mut T) -> Option<&mut U>,
        U: ?Sized,
    {
        // SAFETY: as with `MutexGuard::filter_map`.
        let Some(data) = f(unsafe { orig.data.as_mut() }) else {
            return Err(orig);
        };
        let data = NonNull::from(data);
        let orig = ManuallyDrop::new(orig);
        Ok(MappedMutexGuard {
            data,
            raw: orig.raw,
            poison: orig.poison,
            held: orig.held,
            _variance: PhantomData,
        })
    }
}

impl<T: ?Sized> Deref for MappedMutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: in the data of a lock that is ours while the guard lives.
        unsafe { self.data.as_ref() }
    }
}

impl<T: ?Sized> DerefMut for MappedMutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: in the data of a lock that is ours while the guard lives.
        unsafe { self.data.as_mut() }
    }
}

impl<T: ?Sized> Drop for MappedMutexGuard<'_, T> {
    fn drop(&mut self) {
        self.poison.done(self.held);
        self.raw.unlock();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MappedMutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MappedMutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
