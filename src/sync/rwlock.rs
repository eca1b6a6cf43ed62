//! The lock for many readers or one writer, and its guards.

#![allow(unsafe_code, reason = "lends what is in the lock to whoever holds it")]

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};
use std::time::{Duration, Instant};

use super::poison::{Flag, Held};
use super::raw_rwlock::{RawRwLock, Wants};
use crate::sched::Worker;

/// As [`std::sync::RwLock`], for fibers and threads.
///
/// ```
/// use kapok::sync::{RwLock, RwLockWriteGuard};
///
/// let lock = RwLock::new(5);
/// {
///     let (a, b) = (lock.read().unwrap(), lock.read().unwrap());
///     assert_eq!((*a, *b), (5, 5));
///     assert!(lock.try_write().is_err());
/// }
/// let mut guard = lock.write().unwrap();
/// *guard += 1;
/// let guard = RwLockWriteGuard::downgrade(guard); // nobody has written in between
/// assert_eq!(*guard, 6);
/// assert!(lock.try_read().is_ok());
/// ```
///
/// # Who is next
/// Whoever comes while somebody waits goes to the end of the line, and the line is served in the order in which it came, readers
/// together up to the next writer. So a writer that waits has preference over readers that come after it, readers that wait
/// have it over later writers, and nobody waits for ever. It also means that a fiber which reads may not ask
/// for another read lock: a writer may have come in between, for which that would have to wait.
///
/// # Cancelling
/// As with a [`Mutex`](super::Mutex). A writer that is unwound poisons the lock, a reader does not.
pub struct RwLock<T: ?Sized> {
    pub(super) raw: RawRwLock,
    pub(super) poison: Flag,
    pub(super) data: UnsafeCell<T>,
}

// SAFETY: whoever has the lock can have the data.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}
// SAFETY: the data is lent to one that writes, or shared among those who read.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}
// A panic while writing poisons.
impl<T: ?Sized> UnwindSafe for RwLock<T> {}
impl<T: ?Sized> RefUnwindSafe for RwLock<T> {}

/// As [`std::sync::RwLockReadGuard`].
#[must_use = "if unused the RwLock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct RwLockReadGuard<'a, T: ?Sized + 'a> {
    /// In the data of the lock, which nobody changes until this is dropped.
    pub(super) data: NonNull<T>,
    pub(super) raw: &'a RawRwLock,
}

/// As [`std::sync::RwLockWriteGuard`].
#[must_use = "if unused the RwLock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct RwLockWriteGuard<'a, T: ?Sized + 'a> {
    pub(super) lock: &'a RwLock<T>,
    pub(super) held: Held,
    _not_send: PhantomData<*const ()>,
}

/// As [`std::sync::MappedRwLockReadGuard`]: a part of the data; see [`RwLockReadGuard::map`].
#[must_use = "if unused the RwLock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct MappedRwLockReadGuard<'a, T: ?Sized + 'a> {
    /// In the data of the lock, which nobody changes until this is dropped.
    pub(super) data: NonNull<T>,
    pub(super) raw: &'a RawRwLock,
}

/// As [`std::sync::MappedRwLockWriteGuard`]: a part of the data; see [`RwLockWriteGuard::map`].
#[must_use = "if unused the RwLock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct MappedRwLockWriteGuard<'a, T: ?Sized + 'a> {
    /// In the data of the lock, which is ours until this is dropped.
    pub(super) data: NonNull<T>,
    pub(super) raw: &'a RawRwLock,
    pub(super) poison: &'a Flag,
    pub(super) held: Held,
    pub(super) _variance: PhantomData<&'a mut T>,
}

// SAFETY: a shared guard gives shared access to the data.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Sync> Sync for MappedRwLockReadGuard<'_, T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Sync> Sync for MappedRwLockWriteGuard<'_, T> {}

impl<T> RwLock<T> {
    /// A lock that is free.
    #[inline]
    pub const fn new(t: T) -> RwLock<T> {
        RwLock {
            raw: RawRwLock::new(),
            poison: Flag::new(),
            data: UnsafeCell::new(t),
        }
    }

    /// A clone of the data.
    ///
    /// # Errors
    /// If the lock is poisoned.
    pub fn get_cloned(&self) -> Result<T, PoisonError<()>>
    where
        T: Clone,
    {
        match self.read() {
            Ok(guard) => Ok((*guard).clone()),
            Err(_) => Err(PoisonError::new(())),
        }
    }

    /// Replaces the data.
    ///
    /// # Errors
    /// With `value`, if the lock is poisoned.
    pub fn set(&self, value: T) -> Result<(), PoisonError<T>> {
        self.replace(value).map(drop)
    }

    /// Replaces the data, and gives what was there.
    ///
    /// # Errors
    /// With `value`, if the lock is poisoned.
    pub fn replace(&self, value: T) -> LockResult<T> {
        match self.write() {
            Ok(mut guard) => Ok(std::mem::replace(&mut *guard, value)),
            Err(_) => Err(PoisonError::new(value)),
        }
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Takes the lock for reading; waits until nobody writes, or waits to.
    ///
    /// # Errors
    /// With the guard, if the lock is poisoned: somebody has panicked while writing.
    ///
    /// # Panics
    /// Where it would have to wait in a section of [`no_suspend`](crate::no_suspend()).
    #[inline]
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        self.raw.lock_until(Wants::Read, None);
        self.read_guard()
    }

    /// Takes the lock for reading if that can be had at once.
    ///
    /// A fiber that looks in vain 64 times in a row lets others run, but not within [`no_suspend`](crate::no_suspend()).
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if it cannot; [`TryLockError::Poisoned`] as with [`read`](RwLock::read).
    #[inline]
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        if self.raw.try_lock(Wants::Read) {
            Ok(self.read_guard()?)
        } else {
            Worker::looked_in_vain();
            Err(TryLockError::WouldBlock)
        }
    }

    /// As [`read`](RwLock::read), but waits no longer than `timeout`.
    ///
    /// # Errors
    /// As [`try_read`](RwLock::try_read), when the time is up.
    ///
    /// # Panics
    /// As [`read`](RwLock::read).
    pub fn try_read_for(&self, timeout: Duration) -> TryLockResult<RwLockReadGuard<'_, T>> {
        // Further away than the clock can tell is for ever.
        self.read_until(Instant::now().checked_add(timeout))
    }

    /// As [`read`](RwLock::read), but waits no longer than until `deadline`.
    ///
    /// # Errors
    /// As [`try_read`](RwLock::try_read), when the time is up.
    ///
    /// # Panics
    /// As [`read`](RwLock::read).
    pub fn try_read_until(&self, deadline: Instant) -> TryLockResult<RwLockReadGuard<'_, T>> {
        self.read_until(Some(deadline))
    }

    fn read_until(&self, deadline: Option<Instant>) -> TryLockResult<RwLockReadGuard<'_, T>> {
        if self.raw.lock_until(Wants::Read, deadline) {
            Ok(self.read_guard()?)
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    /// Takes the lock for writing; waits until nobody else has it.
    ///
    /// # Errors
    /// With the guard, if the lock is poisoned.
    ///
    /// # Panics
    /// As [`read`](RwLock::read).
    #[inline]
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.raw.lock_until(Wants::Write, None);
        self.write_guard()
    }

    /// Takes the lock for writing if nobody has it.
    ///
    /// A fiber that looks in vain 64 times in a row lets others run, but not within [`no_suspend`](crate::no_suspend()).
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if somebody has; [`TryLockError::Poisoned`] as with [`write`](RwLock::write).
    #[inline]
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        if self.raw.try_lock(Wants::Write) {
            Ok(self.write_guard()?)
        } else {
            Worker::looked_in_vain();
            Err(TryLockError::WouldBlock)
        }
    }

    /// As [`write`](RwLock::write), but waits no longer than `timeout`.
    ///
    /// # Errors
    /// As [`try_write`](RwLock::try_write), when the time is up.
    ///
    /// # Panics
    /// As [`read`](RwLock::read).
    pub fn try_write_for(&self, timeout: Duration) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        // Further away than the clock can tell is for ever.
        self.write_until(Instant::now().checked_add(timeout))
    }

    /// As [`write`](RwLock::write), but waits no longer than until `deadline`.
    ///
    /// # Errors
    /// As [`try_write`](RwLock::try_write), when the time is up.
    ///
    /// # Panics
    /// As [`read`](RwLock::read).
    pub fn try_write_until(&self, deadline: Instant) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        self.write_until(Some(deadline))
    }

    fn write_until(&self, deadline: Option<Instant>) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        if self.raw.lock_until(Wants::Write, deadline) {
            Ok(self.write_guard()?)
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    /// Whether somebody has panicked while writing, and [`clear_poison`](RwLock::clear_poison) was not called since.
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
    /// With the data, if the lock is poisoned.
    pub fn into_inner(self) -> LockResult<T>
    where
        T: Sized,
    {
        let is_poisoned = self.poison;
        is_poisoned.wrap(self.data.into_inner())
    }

    /// The data, without locking: nobody else can have the lock.
    ///
    /// # Errors
    /// With the data, if the lock is poisoned.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.poison.wrap(self.data.get_mut())
    }

    /// A pointer to the data, which is valid for whoever holds the lock.
    pub const fn data_ptr(&self) -> *mut T {
        self.data.get()
    }

    /// For a caller who has just taken the lock.
    #[inline]
    fn read_guard(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        // SAFETY: the address of a field is not null.
        let data = unsafe { NonNull::new_unchecked(self.data.get()) };
        self.poison.wrap(RwLockReadGuard { data, raw: &self.raw })
    }

    /// For a caller who has just taken the lock.
    #[inline]
    fn write_guard(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.poison.guard(|held| RwLockWriteGuard {
            lock: self,
            held,
            _not_send: PhantomData,
        })
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(t: T) -> RwLock<T> {
        RwLock::new(t)
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> RwLock<T> {
        RwLock::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut d = f.debug_struct("RwLock");
        // No look that counts as one in vain: to be shown must not let others run.
        match self.raw.try_lock(Wants::Read).then(|| self.read_guard()) {
            Some(guard) => d.field("data", &&*guard.unwrap_or_else(PoisonError::into_inner)),
            None => d.field("data", &format_args!("<locked>")),
        };
        d.field("poisoned", &self.poison.get());
        d.finish_non_exhaustive()
    }
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// From writing to reading, without letting anybody write in between. Readers who are next in the line come in, too.
    pub fn downgrade(s: Self) -> RwLockReadGuard<'a, T> {
        let lock = ManuallyDrop::new(s).lock;
        lock.raw.downgrade();
        // SAFETY: the address of a field is not null.
        let data = unsafe { NonNull::new_unchecked(lock.data.get()) };
        RwLockReadGuard { data, raw: &lock.raw }
    }
}
