//! Fibers of which each gives one result, and the results in the order in which they come.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::baton::Baton;
use crate::fiber::Scope;

/// Fibers of a [`scope`](crate::scope()), and their results in the order in which they come, each with the task's number. As the
/// iterator of `folly::fibers::addTasks`.
///
/// ```
/// use kapok::fan_out::Tasks;
///
/// kapok::run(|| {
///     let words = ["one", "three", "fourteen"];
///     let total: usize = kapok::scope(|s| {
///         let mut tasks = Tasks::new(s).with_limit(2); // two at a time
///         for word in &words {
///             tasks.add(|| word.len());
///         }
///         let mut total = 0;
///         while let Some((number, length)) = tasks.next() {
///             assert_eq!(words[number].len(), length);
///             total += length;
///             if length == 14 {
///                 tasks.add(|| 0); // more may come at any time
///             }
///         }
///         total
///     });
///     assert_eq!(total, 16);
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A task that panics panics the scope, and ends the other tasks, as every fiber of a scope does that nobody joins. One that was
/// cancelled has no result, and is left out.
///
/// Dropping this leaves the tasks to the scope, which waits for them; [`Scope::cancel`] ends them.
#[must_use = "the results come out of it"]
pub struct Tasks<'scope, 'env, T> {
    scope: &'scope Scope<'scope, 'env>,
    shared: Arc<Shared<T>>,
    limit: usize,
    /// As many have been added, and as many results, or ends without one, have been taken.
    added: usize,
    taken: usize,
    _results: PhantomData<T>,
}

/// What the tasks and the one who waits have in common.
struct Shared<T> {
    state: Mutex<State<T>>,
    /// Posted when as many have ended as the one who waits wants.
    enough: Baton,
}

struct State<T> {
    /// Of those that have ended and were not taken, in the order in which they ended.
    results: VecDeque<(usize, Option<T>)>,
    ended: usize,
    /// `NOBODY_WAITS`, or how many have to have ended.
    wanted: usize,
}

const NOBODY_WAITS: usize = usize::MAX;

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until as many have ended. There is one who waits.
    fn wait_for(&self, count: usize) -> MutexGuard<'_, State<T>> {
        loop {
            let mut state = self.lock();
            if state.ended >= count {
                return state;
            }
            // One may be left of a wait that was cancelled.
            self.enough.reset();
            state.wanted = count;
            drop(state);
            self.enough.wait();
        }
    }
}

/// Tells that a task has ended, whether it returned, was unwound, or never began.
struct Ending<T> {
    shared: Arc<Shared<T>>,
    number: usize,
    result: Option<T>,
}

impl<T> Ending<T> {
    fn tell(mut self, result: T) {
        self.result = Some(result);
    }
}

impl<T> Drop for Ending<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.results.push_back((self.number, self.result.take()));
        state.ended += 1;
        if state.ended >= state.wanted {
            state.wanted = NOBODY_WAITS;
            drop(state);
            self.shared.enough.post();
        }
    }
}

impl<'scope, 'env, T> Tasks<'scope, 'env, T>
where
    T: Send + 'scope,
{
    /// No tasks yet, to be fibers of `scope`.
    pub fn new(scope: &'scope Scope<'scope, 'env>) -> Tasks<'scope, 'env, T> {
        let state = State {
            results: VecDeque::new(),
            ended: 0,
            wanted: NOBODY_WAITS,
        };
        Tasks {
            scope,
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                enough: Baton::new(),
            }),
            limit: usize::MAX,
            added: 0,
            taken: 0,
            _results: PhantomData,
        }
    }

    /// Has no more than `limit` run at a time: [`add`](Tasks::add) waits until fewer do.
    ///
    /// # Panics
    /// If `limit` is 0: nothing would ever be done.
    pub fn with_limit(mut self, limit: usize) -> Tasks<'scope, 'env, T> {
        assert!(limit > 0, "Tasks::with_limit: with a limit of 0 no task could run");
        self.limit = limit;
        self
    }

    /// Starts a task, and gives its number: they are counted from 0. Waits where as many run as the limit allows.
    ///
    /// # Panics
    /// Outside of a runtime. Where it would have to wait in a section of [`no_suspend`](crate::no_suspend()).
    #[track_caller]
    pub fn add<F>(&mut self, task: F) -> usize
    where
        F: FnOnce() -> T + Send + 'scope,
    {
        drop(self.shared.wait_for((self.added + 1).saturating_sub(self.limit)));
        let number = self.added;
        let ending = Ending {
            shared: Arc::clone(&self.shared),
            number,
            result: None,
        };
        // Counted first: whatever becomes of it, the ending is told.
        self.added += 1;
        // In this order, which is that of dropping them where it never begins: the end is told when all is over.
        drop(self.scope.spawn(move || {
            let result = task();
            ending.tell(result);
        }));
        number
    }

    /// Waits until `n` results are there to be taken without waiting, or all that are still to come. For the one who has
    /// use for many at once: it wakes once, and not for each.
    ///
    /// # Panics
    /// Where it would have to wait in a section of [`no_suspend`](crate::no_suspend()).
    pub fn reserve(&mut self, n: usize) {
        let count = self.taken.saturating_add(n).min(self.added);
        drop(self.shared.wait_for(count));
    }

    /// How many results can be taken without waiting; those that were cancelled, which are left out, count.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.shared.lock().results.len()
    }

    /// How many have not ended.
    #[must_use]
    pub fn running(&self) -> usize {
        self.added - self.shared.lock().ended
    }
}

/// The next result, and the number of the task that it is of; waits for it. `None` when all results were taken; when tasks are
/// added after that, it goes on.
impl<T> Iterator for Tasks<'_, '_, T> {
    type Item = (usize, T);

    fn next(&mut self) -> Option<(usize, T)> {
        while self.taken < self.added {
            let (number, result) = {
                let mut state = self.shared.wait_for(self.taken + 1);
                state.results.pop_front().expect("one has ended that was not taken")
            };
            self.taken += 1;
            if let Some(result) = result {
                return Some((number, result));
            }
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.added - self.taken))
    }
}

impl<T> fmt::Debug for Tasks<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks")
            .field("added", &self.added)
            .field("taken", &self.taken)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
