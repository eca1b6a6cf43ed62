//! Many closures, each in a fiber, and one call that waits for them.

use super::tasks::Tasks;
use crate::cancel::checkpoint;
use crate::fiber::{Scope, scope};

/// Calls all of them, each in a fiber, and gives their values in the order in which they were given. As
/// `folly::fibers::collectAll`.
///
/// ```
/// use kapok::fan_out::collect_all;
///
/// kapok::run(|| {
///     let text = String::from("borrowed");
///     let parts = collect_all([0, 3, 6].map(|from| { let text = &text; move || &text[from..] }));
///     assert_eq!(parts, ["borrowed", "rowed", "ed"]);
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// All have ended when it returns or panics. For closures of different types, spawn them in a [`scope`](crate::scope()).
///
/// # Panics
/// With what the first of them panicked with; the others are [cancelled](crate::cancel). Outside of a runtime, unless there are
/// none.
pub fn collect_all<F, T>(all: impl IntoIterator<Item = F>) -> Vec<T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let results = scope(|s| {
        let (count, mut tasks) = start(s, all);
        tasks.reserve(count);
        in_order(count, tasks)
    });
    results.unwrap_or_else(|| cut_short())
}

/// As [`collect_all`], of what may fail: the first error is given at once, and the others are [cancelled](crate::cancel).
///
/// ```
/// use kapok::fan_out::try_collect_all;
///
/// kapok::run(|| {
///     let numbers = try_collect_all(["1", "2", "3"].map(|text| || text.parse::<i32>()));
///     assert_eq!(numbers, Ok(vec![1, 2, 3]));
///     assert!(try_collect_all(["1", "two"].map(|text| || text.parse::<i32>())).is_err());
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// The error of the one that failed first.
///
/// # Panics
/// As [`collect_all`].
pub fn try_collect_all<F, T, E>(all: impl IntoIterator<Item = F>) -> Result<Vec<T>, E>
where
    F: FnOnce() -> Result<T, E> + Send,
    T: Send,
    E: Send,
{
    all_until(all, |_, result| result)
}

/// Calls all of them, each in a fiber, and gives the values of the `n` that return first, in the order in which they do, each
/// with its place among them. As `folly::fibers::collectN`.
///
/// The others are [cancelled](crate::cancel), and have ended when this returns: so they may borrow. (Folly lets them run on.) If
/// there are fewer than `n`, all are given; with an `n` of 0 nothing is called.
///
/// ```
/// use kapok::fan_out::collect_n;
/// use std::time::Duration;
///
/// kapok::run(|| {
///     let naps = [3_600_000, 20, 1];
///     let first = collect_n(2, naps.map(|ms| move || kapok::fiber::sleep(Duration::from_millis(ms))));
///     let mut places: Vec<_> = first.into_iter().map(|(place, ())| place).collect();
///     places.sort();
///     assert_eq!(places, [1, 2]);
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Panics
/// As [`collect_all`]; also with what one of the others panics with while it is being cancelled.
pub fn collect_n<F, T>(n: usize, all: impl IntoIterator<Item = F>) -> Vec<(usize, T)>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    if n == 0 {
        return Vec::new();
    }
    let (results, wanted) = scope(|s| {
        let (count, mut tasks) = start(s, all);
        tasks.reserve(n);
        let results: Vec<_> = tasks.take(n).collect();
        s.cancel();
        (results, n.min(count))
    });
    if results.len() < wanted {
        cut_short();
    }
    results
}

/// Calls all of them, each in a fiber, and gives the value of the one that returns first, with its place among them; `None` if
/// there are none. As `folly::fibers::collectAny`.
///
/// The others are [cancelled](crate::cancel), and have ended when this returns. For two of them, or for what is not `Send`, see
/// [`race`](crate::race()).
///
/// ```
/// use kapok::fan_out::collect_any;
///
/// kapok::run(|| {
///     let first = collect_any([1, 0].map(|i| move || if i == 0 { "done" } else { kapok::fiber::park(); "never" }));
///     assert_eq!(first, Some((1, "done")));
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Panics
/// As [`collect_n`].
pub fn collect_any<F, T>(all: impl IntoIterator<Item = F>) -> Option<(usize, T)>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    collect_n(1, all).pop()
}

/// As [`collect_any`], of what may fail: gives the first that succeeds, with its place.
///
/// ```
/// use kapok::fan_out::collect_any_ok;
///
/// kapok::run(|| {
///     let servers = ["down", "up", "down"];
///     let answer = collect_any_ok(servers.map(|server| move || (server == "up").then_some(server).ok_or("refused")));
///     assert_eq!(answer, Ok((1, "up")));
///     let none = collect_any_ok(["a", "b"].map(|server| move || Err::<(), _>(server)));
///     assert_eq!(none, Err(vec!["a", "b"]));
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// If all fail: their errors, in the order in which they were given. If there are none, those are none.
///
/// # Panics
/// As [`collect_n`].
pub fn collect_any_ok<F, T, E>(all: impl IntoIterator<Item = F>) -> Result<(usize, T), Vec<E>>
where
    F: FnOnce() -> Result<T, E> + Send,
    T: Send,
    E: Send,
{
    let failed = all_until(all, |number, result| match result {
        Ok(value) => Err((number, value)),
        Err(error) => Ok(error),
    });
    match failed {
        Ok(errors) => Err(errors),
        Err(success) => Ok(success),
    }
}

/// Calls all of them, each in a fiber, and `each` with every value and its place, here, in the order in which they come. As
/// `folly::fibers::forEach`.
///
/// ```
/// use kapok::fan_out::for_each;
///
/// kapok::run(|| {
///     let mut sum = 0;
///     for_each((1..=4).map(|i| move || i * i), |_, square| sum += square);
///     assert_eq!(sum, 30);
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Panics
/// As [`collect_all`]. With what `each` panicked with; those that still run are cancelled.
pub fn for_each<F, T>(all: impl IntoIterator<Item = F>, mut each: impl FnMut(usize, T))
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let complete = scope(|s| {
        let (count, tasks) = start(s, all);
        tasks.map(|(number, value)| each(number, value)).count() == count
    });
    if !complete {
        cut_short();
    }
}

/// What all results are turned into, in order; or the first error that one is turned into, and the others are cancelled.
fn all_until<F, R, T, E>(
    all: impl IntoIterator<Item = F>,
    mut turn: impl FnMut(usize, R) -> Result<T, E>,
) -> Result<Vec<T>, E>
where
    F: FnOnce() -> R + Send,
    R: Send,
{
    let results = scope(|s| {
        let (count, tasks) = start(s, all);
        let mut end = None;
        let values = in_order(
            count,
            tasks.map_while(|(number, result)| match turn(number, result) {
                Ok(value) => Some((number, value)),
                Err(first) => {
                    s.cancel();
                    end = Some(first);
                    None
                }
            }),
        );
        end.map_or(values.map(Ok), |end| Some(Err(end)))
    });
    results.unwrap_or_else(|| cut_short())
}

/// Starts all of them, and tells how many there are.
fn start<'scope, 'env, F, T>(
    scope: &'scope Scope<'scope, 'env>,
    all: impl IntoIterator<Item = F>,
) -> (usize, Tasks<'scope, 'env, T>)
where
    F: FnOnce() -> T + Send + 'scope,
    T: Send + 'scope,
{
    let mut tasks = Tasks::new(scope);
    let count = all.into_iter().map(|f| tasks.add(f)).count();
    (count, tasks)
}

/// Sorts by number; `None` if one is missing.
fn in_order<T>(count: usize, results: impl Iterator<Item = (usize, T)>) -> Option<Vec<T>> {
    let mut values: Vec<_> = std::iter::repeat_with(|| None).take(count).collect();
    results.for_each(|(number, value)| values[number] = Some(value));
    values.into_iter().collect()
}

/// One has no result and has not panicked: it was cancelled, which came from around, so the caller is, too.
#[cold]
fn cut_short() -> ! {
    checkpoint();
    panic!("what was to be collected has been cancelled");
}
