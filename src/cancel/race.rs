//! The first of several.

use std::cell::Cell;

use crate::fiber::{Scope, scope};

/// Which of two it was; see [`select`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Either<A, B> {
    /// The first one's value.
    Left(A),
    /// The second one's value.
    Right(B),
}

/// Calls both, each in a fiber, and gives the value of the one that returns first. The other is cancelled, and has ended
/// when this returns, so both may borrow. Should it have returned all the same, its value is dropped.
///
/// ```
/// use kapok::fiber;
/// use std::time::Duration;
///
/// kapok::run(|| {
///     let (fast, slow) = (Duration::from_millis(1), Duration::from_secs(3600));
///     let first = kapok::race(|| { fiber::sleep(slow); "slow" }, || { fiber::sleep(fast); "fast" });
///     assert_eq!(first, "fast");
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Panics
/// With what one of them panicked with; the other is cancelled first. Outside of a runtime.
pub fn race<T>(a: impl FnOnce() -> T, b: impl FnOnce() -> T) -> T {
    match select(a, b) {
        Either::Left(value) | Either::Right(value) => value,
    }
}

/// As [`race`], of two with different values.
///
/// ```
/// use kapok::cancel::{Either, select};
/// use kapok::sync::Baton;
/// use std::time::Duration;
///
/// kapok::run(|| {
///     let never = Baton::new();
///     let outcome = select(|| never.wait(), || kapok::fiber::sleep(Duration::from_millis(1)));
///     assert_eq!(outcome, Either::Right(()));
///     assert!(!never.try_wait()); // and nobody waits for it any more
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Panics
/// As [`race`].
pub fn select<A, B>(a: impl FnOnce() -> A, b: impl FnOnce() -> B) -> Either<A, B> {
    let first = First(Cell::new(None));
    scope(|s| {
        s.spawn_local(|| first.settle(s, Either::Left(a())));
        s.spawn_local(|| first.settle(s, Either::Right(b())));
    });
    first.take()
}

/// As [`race`], of any number.
///
/// ```
/// kapok::run(|| {
///     let first = kapok::cancel::race_all((1..=3).map(|i| move || i));
///     assert_eq!(first, 1);
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Panics
/// As [`race`]; if there are none.
pub fn race_all<T, F>(all: impl IntoIterator<Item = F>) -> T
where
    F: FnOnce() -> T,
{
    let first = First(Cell::new(None));
    scope(|s| {
        let (mut some, first) = (false, &first);
        for one in all {
            some = true;
            s.spawn_local(move || first.settle(s, one()));
        }
        assert!(some, "kapok::cancel::race_all: there is nobody to run");
    });
    first.take()
}

/// Where the first one leaves its value. They are all on one thread.
struct First<T>(Cell<Option<T>>);

impl<T> First<T> {
    fn settle(&self, scope: &Scope<'_, '_>, value: T) {
        let earlier = self.0.take();
        if earlier.is_none() {
            self.0.set(Some(value));
            scope.cancel();
        } else {
            self.0.set(earlier);
        }
    }

    fn take(self) -> T {
        self.0.into_inner().unwrap_or_else(|| {
            // None has returned, and none has panicked: all were cancelled, which came from around.
            super::checkpoint();
            panic!("all that raced have been cancelled");
        })
    }
}
