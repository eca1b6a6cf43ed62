//! The values of one fiber: where they lie, and how they end.
//!
//! ```text
//!     control block            Table                    Entry<T>, one allocation for each value
//!     kept.locals ------->     slots [_, o, _, o]       header: borrows, gone, older | value: T
//!                                       |     |            ^                  |
//!                                       |     +------------|--> newest -------+--> the one before --> ...
//!                                       +------------------+
//! ```
//!
//! A key has a number, given to it when it is first used, which is its place in every fiber's table. Values never move, and
//! their memory stays until all of the fiber's have been dropped, so that one that is gone is known to be.

#![allow(
    unsafe_code,
    reason = "values of many types in one table, reached from the fiber's own thread"
)]

use std::cell::{Cell, UnsafeCell};
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::contain;
use crate::sched::{Kept, Worker};

/// What `Kept::locals` is once a fiber's values are gone for good. Null means that there have been none yet.
const GONE: usize = 1;

/// The number of a key: the same for all fibers, and no other key's.
#[derive(Debug)]
pub(super) struct Number(AtomicUsize);

impl Number {
    /// One that has not been given yet.
    pub(super) const fn new() -> Number {
        Number(AtomicUsize::new(0))
    }

    /// 0, which is nobody's, as long as it has not been given.
    #[inline]
    pub(super) fn peek(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn get(&self) -> usize {
        static LAST: AtomicUsize = AtomicUsize::new(0);
        match self.peek() {
            0 => {
                let new = LAST.fetch_add(1, Ordering::Relaxed) + 1;
                // Where another thread was faster, the new one stays unused.
                let given = self.0.compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed);
                given.err().unwrap_or(new)
            }
            given => given,
        }
    }
}

/// # Invariant
/// Lies at the beginning of an `Entry<T>` that was leaked from a box; `T` is the type of the key whose number it is found by.
struct Header {
    /// How many references to the value there are. It is not dropped before there are none.
    borrows: Cell<usize>,
    /// The value was dropped, or is just being dropped.
    gone: Cell<bool>,
    /// The next in the list that [`Table::newest`] begins.
    older: Cell<Option<NonNull<Header>>>,
    drop_value: unsafe fn(NonNull<Header>),
    free: unsafe fn(NonNull<Header>),
}

#[repr(C)]
struct Entry<T> {
    header: Header,
    value: ManuallyDrop<T>,
}

impl<T> Entry<T> {
    /// The address of the value.
    ///
    /// # Safety
    /// `header` is that of an `Entry<T>`.
    unsafe fn value(header: NonNull<Header>) -> *mut T {
        let entry: *mut Entry<T> = header.cast().as_ptr();
        // SAFETY: the caller's promise; nothing is read.
        unsafe { &raw mut (*entry).value }.cast()
    }

    /// # Safety
    /// `header` is that of an `Entry<T>`, whose value nobody refers to, and has not been dropped.
    unsafe fn drop_value(header: NonNull<Header>) {
        // SAFETY: the caller's promise.
        let value = unsafe { Entry::<T>::value(header) };
        // SAFETY: the caller's promise.
        unsafe { ptr::drop_in_place(value) };
    }

    /// # Safety
    /// `header` is that of an `Entry<T>`, whose value was dropped, and nobody has it any more.
    unsafe fn free(header: NonNull<Header>) {
        // SAFETY: leaked in `Table::insert`; the value is not dropped again.
        drop(unsafe { Box::from_raw(header.cast::<Entry<T>>().as_ptr()) });
    }
}

#[derive(Default)]
pub(super) struct Table {
    /// By the number of the key. No reference into it is held while anybody else's code runs.
    slots: UnsafeCell<Vec<Option<NonNull<Header>>>>,
    /// The value that was made last, of those that have not been dropped.
    newest: Cell<Option<NonNull<Header>>>,
}

/// What there is of a key's value, for the caller.
pub(super) enum Place<T: 'static> {
    /// The caller is in no fiber.
    Thread,
    /// It has not been made yet.
    Unset,
    /// The fiber has ended, or is about to, and it has been dropped.
    Gone,
    Here(Borrowed<T>),
}

/// A reference to a value; while there is one, the value stays.
pub(super) struct Borrowed<T: 'static> {
    header: NonNull<Header>,
    _value: std::marker::PhantomData<&'static T>,
}

impl<T> Borrowed<T> {
    /// # Safety
    /// `header` is that of an `Entry<T>` with a value.
    #[inline]
    unsafe fn new(header: NonNull<Header>) -> Self {
        // SAFETY: the caller's promise.
        let borrows = &unsafe { header.as_ref() }.borrows;
        borrows.set(borrows.get() + 1);
        Borrowed {
            header,
            _value: std::marker::PhantomData,
        }
    }

    #[inline]
    pub(super) fn value(&self) -> &T {
        // SAFETY: it is an entry of this type.
        let value = unsafe { Entry::<T>::value(self.header) };
        // SAFETY: the value is there, and stays while it is borrowed.
        unsafe { &*value }
    }
}

impl<T> Drop for Borrowed<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: an entry whose value was borrowed is not freed.
        let borrows = &unsafe { self.header.as_ref() }.borrows;
        borrows.set(borrows.get() - 1);
    }
}

/// The table of the caller's fiber.
enum Mine {
    Thread,
    None,
    Gone,
    Table(NonNull<Table>),
}

#[inline]
fn mine(kept: Option<&Kept>) -> Mine {
    let Some(kept) = kept else { return Mine::Thread };
    let table = kept.locals.get();
    if table.addr() > GONE {
        // SAFETY: not null.
        return Mine::Table(unsafe { NonNull::new_unchecked(table.cast_mut().cast()) });
    }
    if table.addr() == GONE { Mine::Gone } else { Mine::None }
}

/// Finds the value of the key with this number.
///
/// # Safety
/// `T` is that key's type.
#[inline]
pub(super) unsafe fn find<T>(number: usize) -> Place<T> {
    Worker::with_kept(|kept| match mine(kept) {
        Mine::Thread => Place::Thread,
        Mine::None => Place::Unset,
        Mine::Gone => Place::Gone,
        Mine::Table(table) => {
            // SAFETY: it belongs to the fiber that is running, and is freed when that ends.
            let table = unsafe { table.as_ref() };
            // SAFETY: nobody changes it meanwhile: the fiber's own thread is here.
            let slots = unsafe { &*table.slots.get() };
            match slots.get(number) {
                // SAFETY: entries live as long as the table.
                Some(&Some(header)) if unsafe { header.as_ref() }.gone.get() => Place::Gone,
                // SAFETY: `T` is its type, by the caller's promise.
                Some(&Some(header)) => Place::Here(unsafe { Borrowed::new(header) }),
                _ => Place::Unset,
            }
        }
    })
}

/// Keeps `value` of the key with this number, which [`find`] has just called `Unset`.
///
/// # Safety
/// `T` is that key's type.
pub(super) unsafe fn insert<T>(number: usize, value: T) {
    let header = Header {
        borrows: Cell::new(0),
        gone: Cell::new(false),
        older: Cell::new(None),
        drop_value: Entry::<T>::drop_value,
        free: Entry::<T>::free,
    };
    Worker::with_kept(|kept| {
        let table = match mine(kept) {
            Mine::Table(table) => table,
            Mine::None => {
                let new = NonNull::from(Box::leak(Box::<Table>::default())); // `end` takes it back
                kept.expect("a fiber").locals.set(new.as_ptr().cast_const().cast());
                new
            }
            Mine::Thread | Mine::Gone => unreachable!("`find` has said that it is not set"),
        };
        // SAFETY: it belongs to the fiber that is running.
        let table = unsafe { table.as_ref() };
        // SAFETY: nobody else is at it: the fiber's own thread is here.
        let slots = unsafe { &mut *table.slots.get() };
        if slots.len() <= number {
            slots.resize(number + 1, None);
        }
        debug_assert!(slots[number].is_none());
        let entry = Box::new(Entry {
            header,
            value: ManuallyDrop::new(value),
        });
        let entry: NonNull<Header> = NonNull::from(Box::leak(entry)).cast();
        slots[number] = Some(entry);
        push(kept, entry);
    });
}

/// Drops the values of the fiber that calls, the last one first. Their destructors may use others, also such as are made by
/// that; they are dropped, too. Panics stay in here.
pub(super) fn drop_values() {
    loop {
        let (mut dropped, mut in_use) = (false, Vec::new());
        while let Some(header) = Worker::with_kept(pop) {
            // SAFETY: entries live as long as the table, which is freed by `end`.
            let entry = unsafe { header.as_ref() };
            if entry.borrows.get() > 0 {
                in_use.push(header);
                continue;
            }
            entry.gone.set(true);
            // SAFETY: no reference is left, and no new ones are made of one that is gone.
            contain(|| unsafe { (entry.drop_value)(header) });
            dropped = true;
        }
        if in_use.is_empty() {
            return;
        }
        if !dropped {
            log::error!("a fiber-local value is still in use when its fiber ends: it is leaked");
            return;
        }
        // A coroutine is suspended within `with`. It may itself be in the hands of what has just been dropped, and gone.
        Worker::with_kept(|kept| in_use.into_iter().rev().for_each(|header| push(kept, header)));
    }
}

fn newest(kept: Option<&Kept>) -> Option<&Cell<Option<NonNull<Header>>>> {
    let Mine::Table(table) = mine(kept) else { return None };
    // SAFETY: it belongs to the fiber that is running, and is freed by `end`.
    Some(unsafe { &(*table.as_ptr()).newest })
}

fn pop(kept: Option<&Kept>) -> Option<NonNull<Header>> {
    let newest = newest(kept)?;
    let header = newest.get()?;
    // SAFETY: entries live as long as the table.
    newest.set(unsafe { header.as_ref() }.older.get());
    Some(header)
}

fn push(kept: Option<&Kept>, header: NonNull<Header>) {
    let newest = newest(kept).expect("one that has values");
    // SAFETY: entries live as long as the table.
    unsafe { header.as_ref() }.older.set(newest.get());
    newest.set(Some(header));
}

/// As [`end`], for a fiber that neither has values nor inherits any; false for all others.
#[inline]
pub(super) fn end_if_unused() -> bool {
    Worker::with_kept(|kept| {
        let unused = kept.filter(|kept| kept.locals.get().is_null() && kept.inherited.get().is_null());
        unused.is_some_and(|kept| {
            kept.locals.set(ptr::without_provenance(GONE));
            true
        })
    })
}

/// After [`end`].
pub(super) fn reopen() {
    Worker::with_kept(|kept| {
        if let Some(kept) = kept {
            kept.locals.set(ptr::null());
        }
    });
}

/// Frees what [`drop_values`] has left; from now on everything of this fiber is gone.
pub(super) fn end() {
    let table = Worker::with_kept(|kept| {
        let table = mine(kept);
        if let Some(kept) = kept {
            kept.locals.set(ptr::without_provenance(GONE));
        }
        table
    });
    let Mine::Table(table) = table else { return };
    // SAFETY: leaked in `insert`, and nobody finds it any more.
    let table = unsafe { Box::from_raw(table.as_ptr()) };
    for header in table.slots.into_inner().into_iter().flatten() {
        // SAFETY: not freed yet.
        let entry = unsafe { header.as_ref() };
        if entry.borrows.get() == 0 {
            // SAFETY: it was found through the table alone. One that was in use up to now was not dropped, and is not now.
            unsafe { (entry.free)(header) };
        }
    }
}
