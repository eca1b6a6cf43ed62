//! A coroutine as an iterator.

use std::fmt;
use std::io;
use std::iter::FusedIterator;

use super::{Coroutine, CoroutineState, Yielder};

/// The values that a function yields, one after the other: an iterator.
///
/// ```
/// use kapok::coroutine::Generator;
///
/// let squares = Generator::new(|yielder| {
///     for i in 1_u32.. {
///         yielder.suspend(i * i);
///     }
/// })?;
/// assert_eq!(squares.take(4).collect::<Vec<_>>(), [1, 4, 9, 16]);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A panic of the function comes out of `next`, which gives `None` from then on. Dropped early, the function is unwound, as
/// that of a [`Coroutine`].
pub struct Generator<T>(Coroutine<(), T, ()>);

impl<T: 'static> Generator<T> {
    /// One whose function runs when the first value is asked for.
    ///
    /// # Errors
    /// As [`Coroutine::new`].
    #[track_caller]
    pub fn new(body: impl FnOnce(&Yielder<(), T>) + 'static) -> io::Result<Generator<T>> {
        Coroutine::new(move |yielder: &Yielder<(), T>, ()| body(yielder)).map(Generator)
    }
}

impl<T> From<Coroutine<(), T, ()>> for Generator<T> {
    /// For those that want another engine or stack. One that has begun goes on.
    fn from(coroutine: Coroutine<(), T, ()>) -> Generator<T> {
        Generator(coroutine)
    }
}

impl<T> Iterator for Generator<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.0.is_done() {
            return None;
        }
        match self.0.resume(()) {
            CoroutineState::Yielded(value) => Some(value),
            CoroutineState::Complete(()) => None,
        }
    }
}

impl<T> FusedIterator for Generator<T> {}

impl<T> fmt::Debug for Generator<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Generator").field(&self.0).finish()
    }
}
