//! What belongs to a fiber: values of its own, and values that it hands on to those that it starts.
//!
//! | what                                      | whose is it                                      | as                      |
//! |-------------------------------------------|--------------------------------------------------|-------------------------|
//! | [`fiber_local!`](crate::fiber_local)      | one fiber's, which may change it                 | `std::thread_local!`    |
//! | [`Inherited`]                             | a fiber's and all its descendants', for a time   | Folly's `RequestContext`|
//!
//! On a plain thread, which is in no fiber, both are the thread's.

mod inherited;
mod key;
mod table;

pub use inherited::{Context, Inherited};
pub use key::{AccessError, LocalKey};

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::thread;

use crate::sched::{Frame, Worker, slots};

/// Makes a thread-local each fiber's own: when a fiber is suspended its value is taken out, and it is put back before the fiber
/// goes on.
///
/// A fiber begins with the default. It is for thread-locals of code that does not know of fibers, and keeps there what belongs
/// to the call that is being made: who is logged in, which span is open, where the innermost scope is. Code that knows of
/// fibers uses [`fiber_local!`](crate::fiber_local), which costs nothing when fibers are switched.
///
/// ```
/// use std::cell::Cell;
/// use kapok::{fiber, spawn};
///
/// thread_local!(static USER: Cell<&'static str> = const { Cell::new("") });
///
/// kapok::local::per_fiber(&USER);
/// kapok::run(|| {
///     let fibers = ["ana", "ben"].map(|name| {
///         spawn(move || {
///             USER.set(name);
///             fiber::yield_now();
///             assert_eq!(USER.get(), name);
///         })
///     });
///     fibers.map(|fiber| fiber.join().unwrap());
///     assert_eq!(USER.get(), "");
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// It holds for the whole process, from now on and for good, so it is best done before the first runtime starts. See
/// [`on_switch`] for what is not a `Cell`.
pub fn per_fiber<T>(key: &'static thread::LocalKey<Cell<T>>)
where
    T: Default + 'static,
{
    on_switch(move || key.take(), move |value| key.set(value));
}

/// Has `leave` called each time that a fiber is suspended, and `enter` with what that returned before the fiber goes on.
///
/// `leave` is to take away what belongs to the fiber, and to leave what a fiber begins with. What it returns stays on the
/// fiber's stack, and need not be `Send`. It is also called when a fiber ends, and what it returns is dropped then, and for
/// the thread itself while a runtime has it.
///
/// ```
/// use std::cell::RefCell;
///
/// thread_local!(static OPEN_SPANS: RefCell<Vec<u64>> = RefCell::default());
///
/// kapok::local::on_switch(|| OPEN_SPANS.take(), |spans| OPEN_SPANS.set(spans));
/// ```
///
/// It holds for the whole process, from now on and for good, and every suspension of every fiber then costs more, some tens of
/// nanoseconds. A coroutine's own switches are no suspensions.
///
/// # Aborts
/// A panic in one of the two ends the process, and so does an attempt to wait there: a suspension cannot be abandoned.
pub fn on_switch<S, L, E>(leave: L, enter: E)
where
    S: 'static,
    L: Fn() -> S + Send + Sync + 'static,
    E: Fn(S) + Send + Sync + 'static,
{
    slots::register(leave, enter);
}

/// Begins a fiber, in that fiber: it has inherited this.
#[inline]
pub(crate) fn begin(inherited: Context) {
    if !inherited.is_empty() {
        drop(inherited.install());
    }
}

/// After [`end`], for what comes late: the fiber may have values again, until the next `end`.
pub(crate) fn begin_again() {
    table::reopen();
}

/// Ends a fiber, in that fiber: drops everything of it, which may wait, and panics with nothing. Nobody else's code may run in
/// it afterwards.
#[inline]
pub(crate) fn end() {
    if !slots::any() && table::end_if_unused() {
        return;
    }
    // What ended the fiber early does not keep its destructors from waiting.
    uncancelled(|| {
        table::drop_values();
        drop(Context::default().install());
        contain(slots::clear);
        // That may have made new ones.
        table::drop_values();
    });
    table::end();
}

fn uncancelled(f: impl FnOnce()) {
    Worker::with_running(|here| match here {
        Some((worker, fiber)) => worker.within(fiber, &Frame::shield(), f).unwrap_or_else(|f| f()),
        None => f(),
    });
}

/// Calls destructors that are not ours. One that panics has its message printed, and that is all.
fn contain(f: impl FnOnce()) {
    if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(f)) {
        // Nor does the destructor of what it panicked with get out.
        if let Err(second) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            #[expect(clippy::mem_forget, reason = "its destructor may panic again, and so on")]
            std::mem::forget(second);
        }
    }
}
