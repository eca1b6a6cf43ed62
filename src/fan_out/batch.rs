//! Commands of many fibers, done as one.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::promise::{BrokenPromise, Future, Promise, promise};
use crate::fiber::{self, Scope, is_fiber};

/// Does in one call what many fibers ask for at about the same time: a thousand look-ups become one query. As
/// `folly::fibers::BatchDispatcher`.
///
/// The first command that comes starts a fiber on its worker, which runs when all those have run that could run by then; what they
/// have asked for meanwhile, on whichever worker, is handed over together, in the order in which it came.
///
/// ```
/// use kapok::fan_out::{BatchDispatcher, collect_all};
///
/// kapok::run(|| {
///     let squares = BatchDispatcher::new(|numbers: Vec<u64>| {
///         numbers.into_iter().map(|number| number * number).collect() // one query
///     });
///     let results = collect_all((0..100).map(|i| { let squares = &squares; move || squares.call(i) }));
///     assert_eq!(results[99], Ok(9801));
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// On a plain thread outside of a runtime there is nobody to wait for: what was asked for is done right there.
///
/// A batch does not wait for the one before, which may still be under way. A command that was added is done, also when the fiber that asked for it is cancelled meanwhile. Clones ask the same one.
pub struct BatchDispatcher<'a, C, R>(Arc<Inner<'a, C, R>>);

type Job<'a> = Box<dyn FnOnce() + 'a>;

struct Inner<'a, C, R> {
    dispatch: Box<dyn Fn(Vec<C>) -> Vec<R> + Send + Sync + 'a>,
    /// Has a job done by a fiber on this worker, later.
    start: Box<dyn Fn(Job<'a>) + Send + Sync + 'a>,
    waiting: Mutex<Vec<(C, Promise<R>)>>,
}

impl<C, R> BatchDispatcher<'static, C, R>
where
    C: Send + 'static,
    R: Send + 'static,
{
    /// One that calls `dispatch` with the commands, which gives their results in the same order.
    ///
    /// The fibers that do it belong to nobody: they may outlive whoever has asked, and the runtime waits for them.
    pub fn new(dispatch: impl Fn(Vec<C>) -> Vec<R> + Send + Sync + 'static) -> BatchDispatcher<'static, C, R> {
        BatchDispatcher::with(dispatch, |job| drop(fiber::spawn_local(job)))
    }
}

impl<'a, C, R> BatchDispatcher<'a, C, R>
where
    C: Send + 'a,
    R: Send + 'a,
{
    /// As [`new`](BatchDispatcher::new), with a `dispatch` that may borrow: its fibers belong to `scope`, which waits for them, and
    /// panics when one of them does.
    ///
    /// ```
    /// use kapok::fan_out::BatchDispatcher;
    ///
    /// kapok::run(|| {
    ///     let table = vec!["zero", "one", "two"];
    ///     kapok::scope(|s| {
    ///         let names = BatchDispatcher::in_scope(s, |keys: Vec<usize>| keys.into_iter().map(|key| table[key]).collect());
    ///         assert_eq!(names.call(2), Ok("two"));
    ///     });
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn in_scope<'env>(
        scope: &'a Scope<'a, 'env>,
        dispatch: impl Fn(Vec<C>) -> Vec<R> + Send + Sync + 'a,
    ) -> BatchDispatcher<'a, C, R> {
        BatchDispatcher::with(dispatch, move |job| drop(scope.spawn_local(job)))
    }

    fn with(
        dispatch: impl Fn(Vec<C>) -> Vec<R> + Send + Sync + 'a,
        start: impl Fn(Job<'a>) + Send + Sync + 'a,
    ) -> BatchDispatcher<'a, C, R> {
        BatchDispatcher(Arc::new(Inner {
            dispatch: Box::new(dispatch),
            start: Box::new(start),
            waiting: Mutex::default(),
        }))
    }

    /// Asks for `command` to be done with the next batch. Never waits in a fiber.
    ///
    /// The promise of its result is broken when the function panics.
    ///
    /// # Panics
    /// On a plain thread, where it is done right there, with what the function panicked with.
    pub fn add(&self, command: C) -> Future<R> {
        let (promise, future) = promise();
        let is_first = {
            let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.push((command, promise));
            waiting.len() == 1
        };
        if !is_fiber() {
            self.0.dispatch();
        } else if is_first {
            let batch = Batch(Some(Arc::clone(&self.0)));
            (self.0.start)(Box::new(move || batch.dispatch()));
        }
        future
    }

    /// Asks for `command` to be done with the next batch, and waits for its result.
    ///
    /// # Errors
    /// When the function has panicked.
    ///
    /// # Panics
    /// As [`add`](BatchDispatcher::add). Where it would have to wait in a section of [`no_suspend`](crate::no_suspend()).
    pub fn call(&self, command: C) -> Result<R, BrokenPromise> {
        self.add(command).wait()
    }
}

impl<C, R> Inner<'_, C, R> {
    fn take(&self) -> Vec<(C, Promise<R>)> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn dispatch(&self) {
        let (commands, promises): (Vec<_>, Vec<_>) = self.take().into_iter().unzip();
        if commands.is_empty() {
            return; // somebody else has taken them along
        }
        let results = (self.dispatch)(commands);
        assert_eq!(
            results.len(),
            promises.len(),
            "the function of a BatchDispatcher has to give as many results as it was given commands"
        );
        promises
            .into_iter()
            .zip(results)
            .for_each(|(promise, result)| promise.set(result));
    }
}

/// The duty to see to what waits. One that is dropped instead, because its fiber was cancelled or could not start, breaks the
/// promises: nobody else would come for them.
struct Batch<'a, C, R>(Option<Arc<Inner<'a, C, R>>>);

impl<C, R> Batch<'_, C, R> {
    fn dispatch(mut self) {
        self.0.take().into_iter().for_each(|inner| inner.dispatch());
    }
}

impl<C, R> Drop for Batch<'_, C, R> {
    fn drop(&mut self) {
        drop(self.0.take().map(|inner| inner.take()));
    }
}

impl<C, R> Clone for BatchDispatcher<'_, C, R> {
    fn clone(&self) -> Self {
        BatchDispatcher(Arc::clone(&self.0))
    }
}

impl<C, R> fmt::Debug for BatchDispatcher<'_, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).len();
        f.debug_struct("BatchDispatcher")
            .field("waiting", &waiting)
            .finish_non_exhaustive()
    }
}
