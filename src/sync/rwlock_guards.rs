//! What the guards of an [`RwLock`](super::RwLock) do: lend, map, and unlock.

#![allow(unsafe_code, reason = "lends what is in the lock to whoever holds it")]

use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::raw_rwlock::Wants;
use super::rwlock::{MappedRwLockReadGuard, MappedRwLockWriteGuard, RwLockReadGuard, RwLockWriteGuard};

impl<'a, T: ?Sized> RwLockReadGuard<'a, T> {
    /// A guard of a part of the data.
    pub fn map<U, F>(orig: Self, f: F) -> MappedRwLockReadGuard<'a, U>
    where
        F: FnOnce(&T) -> &U,
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
    pub fn filter_map<U, F>(orig: Self, f: F) -> Result<MappedRwLockReadGuard<'a, U>, Self>
    where
        F: FnOnce(&T) -> Option<&U>,
        U: ?Sized,
    {
        // SAFETY: in the data of a lock that nobody writes to while the guard, or the one made of it, lives.
        let Some(data) = f(unsafe { orig.data.as_ref() }) else {
            return Err(orig);
        };
        let data = NonNull::from(data);
        let orig = ManuallyDrop::new(orig);
        Ok(MappedRwLockReadGuard { data, raw: orig.raw })
    }
}

impl<'a, T: ?Sized> MappedRwLockReadGuard<'a, T> {
    /// A guard of a part of the data.
    pub fn map<U, F>(orig: Self, f: F) -> MappedRwLockReadGuard<'a, U>
    where
        F: FnOnce(&T) -> &U,
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
    pub fn filter_map<U, F>(orig: Self, f: F) -> Result<MappedRwLockReadGuard<'a, U>, Self>
    where
        F: FnOnce(&T) -> Option<&U>,
        U: ?Sized,
    {
        // SAFETY: in the data of a lock that nobody writes to while the guard, or the one made of it, lives.
        let Some(data) = f(unsafe { orig.data.as_ref() }) else {
            return Err(orig);
        };
        let data = NonNull::from(data);
        let orig = ManuallyDrop::new(orig);
        Ok(MappedRwLockReadGuard { data, raw: orig.raw })
    }
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// A guard of a part of the data.
    pub fn map<U, F>(orig: Self, f: F) -> MappedRwLockWriteGuard<'a, U>
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
    pub fn filter_map<U, F>(orig: Self, f: F) -> Result<MappedRwLockWriteGuard<'a, U>, Self>
    where
        F: FnOnce(&mut T) -> Option<&mut U>,
        U: ?Sized,
    {
        // SAFETY: the guard is the only way to the data, and is either given up below or not used meanwhile.
        let Some(data) = f(unsafe { &mut *orig.lock.data.get() }) else {
            return Err(orig);
        };
        let data = NonNull::from(data);
        let orig = ManuallyDrop::new(orig);
        Ok(MappedRwLockWriteGuard {
            data,
            raw: &orig.lock.raw,
            poison: &orig.lock.poison,
            held: orig.held,
            _variance: PhantomData,
        })
    }
}

impl<'a, T: ?Sized> MappedRwLockWriteGuard<'a, T> {
    /// A guard of a part of the data.
    pub fn map<U, F>(orig: Self, f: F) -> MappedRwLockWriteGuard<'a, U>
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
    pub fn filter_map<U, F>(mut orig: Self, f: F) -> Result<MappedRwLockWriteGuard<'a, U>, Self>
    where
        F: FnOnce(&mut T) -> Option<&mut U>,
        U: ?Sized,
    {
        // SAFETY: the guard is the only way to the data, and is either given up below or not used meanwhile.
        let Some(data) = f(unsafe { orig.data.as_mut() }) else {
            return Err(orig);
        };
        let data = NonNull::from(data);
        let orig = ManuallyDrop::new(orig);
        Ok(MappedRwLockWriteGuard {
            data,
            raw: orig.raw,
            poison: orig.poison,
            held: orig.held,
            _variance: PhantomData,
        })
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: in the data of a lock that nobody writes to while the guard lives.
        unsafe { self.data.as_ref() }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.raw.unlock(Wants::Read);
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized> Deref for MappedRwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: in the data of a lock that nobody writes to while the guard lives.
        unsafe { self.data.as_ref() }
    }
}

impl<T: ?Sized> Drop for MappedRwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.raw.unlock(Wants::Read);
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MappedRwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MappedRwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the lock is ours while the guard lives.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is ours while the guard lives.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.poison.done(self.held);
        self.lock.raw.unlock(Wants::Write);
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized> Deref for MappedRwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the lock is ours while the guard lives.
        unsafe { self.data.as_ref() }
    }
}

impl<T: ?Sized> DerefMut for MappedRwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is ours while the guard lives.
        unsafe { self.data.as_mut() }
    }
}

impl<T: ?Sized> Drop for MappedRwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.poison.done(self.held);
        self.raw.unlock(Wants::Write);
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MappedRwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MappedRwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
