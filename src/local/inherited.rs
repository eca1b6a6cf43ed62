//! Values that a fiber hands on to the fibers that it starts.
//!
//! What a fiber has inherited is one immutable list behind an `Arc`. To start a fiber costs one more reference to it, however
//! many values there are; to set a value costs a new list.

#![allow(
    unsafe_code,
    reason = "keeps a reference that is counted in a word of the control block"
)]

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::Arc;

use super::contain;
use super::table::Number;
use crate::sched::Worker;

type Value = Arc<dyn Any + Send + Sync>;

/// At most one for each key.
type List = Vec<(usize, Value)>;

thread_local! {
    /// What plain threads have in place of `Kept::inherited`. Put back by whoever has set it.
    static ON_THREAD: Cell<*const ()> = const { Cell::new(ptr::null()) };
}

/// A value that the fibers which are started while it is set inherit, and the fibers which those start: who is being served,
/// how the request is called, where to log to.
///
/// It is set for the time of a call, and goes over to fibers, whether by [`spawn`](crate::spawn) or in a
/// [`scope`](crate::scope), to [`blocking`](crate::blocking()) work, and to the first fiber of a runtime. Threads that are
/// started by other means have to be handed a [`Context`].
///
/// ```
/// use kapok::local::Inherited;
///
/// static REQUEST: Inherited<u64> = Inherited::new();
///
/// fn log(text: &str) -> String {
///     match REQUEST.get() {
///         Some(id) => format!("[{id}] {text}"),
///         None => text.to_owned(),
///     }
/// }
///
/// kapok::run(|| {
///     let fiber = REQUEST.with_value(17, || kapok::spawn(|| log("hello")));
///     assert_eq!(fiber.join().unwrap(), "[17] hello");
///     assert_eq!(log("bye"), "bye");
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// What a fiber sets is not seen by those that run already. A value that was inherited is dropped when the last fiber that
/// has it ends, on that fiber's thread.
pub struct Inherited<T> {
    number: Number,
    _value: PhantomData<fn(T) -> T>,
}

impl<T> Inherited<T> {
    /// One that is not set anywhere.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "it is made for statics, where a default cannot be called"
    )]
    pub const fn new() -> Inherited<T> {
        Inherited {
            number: Number::new(),
            _value: PhantomData,
        }
    }
}

impl<T: Send + Sync + 'static> Inherited<T> {
    /// Calls `f`, during which the calling fiber has `value`, and those that it starts.
    pub fn with_value<F, R>(&'static self, value: T, f: F) -> R
    where
        F: FnOnce() -> R,
    {
        let value: Value = Arc::new(value);
        Context::current().and(self.number.get(), Some(value)).within(f)
    }

    /// Calls `f`, during which the calling fiber has no value, nor have those that it starts.
    pub fn without_value<F, R>(&'static self, f: F) -> R
    where
        F: FnOnce() -> R,
    {
        Context::current().and(self.number.get(), None).within(f)
    }

    /// Calls `f` with the value of the calling fiber or thread, if it has one.
    pub fn with<F, R>(&'static self, f: F) -> R
    where
        F: FnOnce(Option<&T>) -> R,
    {
        // A reference of our own: what `f` does may take the list away.
        let value = Context::peek(|list| {
            let number = self.number.peek();
            let (_, value) = list?.iter().find(|(key, _)| *key == number)?;
            Some(Arc::clone(value))
        });
        f(value.as_deref().and_then(|value| value.downcast_ref()))
    }

    /// A clone of the value of the calling fiber or thread, if it has one.
    #[must_use]
    pub fn get(&'static self) -> Option<T>
    where
        T: Clone,
    {
        self.with(|value| value.cloned())
    }
}

impl<T> fmt::Debug for Inherited<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inherited").finish_non_exhaustive()
    }
}

/// All [`Inherited`] values that a fiber has, to be carried to where they do not go by themselves: into a thread, through a
/// queue, to a fiber that runs already.
///
/// ```
/// use kapok::local::{Context, Inherited};
///
/// static USER: Inherited<&str> = Inherited::new();
///
/// let thread = USER.with_value("ana", || {
///     let context = Context::current();
///     std::thread::spawn(move || context.within(|| USER.get()))
/// });
/// assert_eq!(thread.join().unwrap(), Some("ana"));
/// ```
#[derive(Clone, Default)]
pub struct Context(Option<Arc<List>>);

impl Context {
    /// What the calling fiber or thread has.
    #[must_use]
    pub fn current() -> Context {
        Context::slot(|slot| {
            // SAFETY: what is in the slot came from `into_word`, and stays there.
            let kept = ManuallyDrop::new(unsafe { Context::from_word(slot.get()) });
            Context::clone(&kept)
        })
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Calls `f`, during which the calling fiber or thread has these values and no others.
    pub fn within<F, R>(&self, f: F) -> R
    where
        F: FnOnce() -> R,
    {
        struct Restore(Context);
        impl Drop for Restore {
            fn drop(&mut self) {
                drop(std::mem::take(&mut self.0).install());
            }
        }
        let _restore = Restore(self.clone().install());
        f()
    }

    /// Gives the calling fiber or thread these values; gives those that it had.
    pub(super) fn install(self) -> Context {
        Context::slot(|slot| {
            let old = slot.replace(self.into_word());
            // SAFETY: what is in the slot came from `into_word`, and has just been taken out.
            unsafe { Context::from_word(old) }
        })
    }

    fn and(self, key: usize, value: Option<Value>) -> Context {
        let others = self
            .0
            .iter()
            .flat_map(|list| list.iter())
            .filter(|(other, _)| *other != key);
        let list: List = others.cloned().chain(value.map(|value| (key, value))).collect();
        Context((!list.is_empty()).then(|| Arc::new(list)))
    }

    /// Calls `f`, which must not run anybody else's code, with the caller's list.
    fn peek<R>(f: impl FnOnce(Option<&List>) -> R) -> R {
        Context::slot(|slot| {
            let list: *const List = slot.get().cast();
            // SAFETY: null, or of an `Arc` that stays in the slot during this call.
            f(unsafe { list.as_ref() })
        })
    }

    /// Calls `f`, which must not run anybody else's code, with where the calling fiber or thread keeps its context.
    fn slot<R>(f: impl FnOnce(&Cell<*const ()>) -> R) -> R {
        Worker::with_kept(|kept| match kept {
            Some(kept) => f(&kept.inherited),
            None => ON_THREAD.with(f),
        })
    }

    fn into_word(mut self) -> *const () {
        self.0.take().map_or(ptr::null(), |list| Arc::into_raw(list).cast())
    }

    /// # Safety
    /// `word` came from `into_word`, and is not used again.
    unsafe fn from_word(word: *const ()) -> Context {
        // SAFETY: the caller's promise.
        Context((!word.is_null()).then(|| unsafe { Arc::from_raw(word.cast::<List>()) }))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if let Some(list) = self.0.take() {
            // The scheduler drops contexts, and must not be taken along by the destructor of a value.
            contain(|| drop(list));
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.0.as_ref().map_or(0, |list| list.len());
        f.debug_struct("Context")
            .field("values", &values)
            .finish_non_exhaustive()
    }
}
