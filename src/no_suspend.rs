//! Sections of code in which a fiber must not be suspended.

use std::cell::Cell;

thread_local! {
    /// How many sections the running code is in. No other fiber of the thread runs while it is more than none, so one count
    /// for each thread is enough.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Runs `f`, within which no fiber is suspended: a call that would have to do that panics instead.
///
/// It is for code that must be left before another fiber of the thread enters it: a call of a crate that keeps pointers to
/// frames, or the state of the current call, in a thread-local, in the manner of `scoped-tls` (see `docs/soundness.md`), or
/// the time that a `std::sync::Mutex` is held.
///
/// ```
/// use std::panic::{AssertUnwindSafe, catch_unwind};
/// use kapok::{fiber, no_suspend};
///
/// kapok::run(|| {
///     assert_eq!(no_suspend(|| 6 * 7), 42);
///     let refused = catch_unwind(AssertUnwindSafe(|| no_suspend(fiber::yield_now)));
///     assert!(refused.is_err());
///     fiber::yield_now(); // and outside of it all is as before
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A call that need not wait does what it always does: a [`Baton`](crate::sync::Baton) that was posted, a fiber to join that
/// has ended, a socket that has something to read. One that need, panics before it has changed anything, and so do, in
/// any case, [`yield_now`](crate::fiber::yield_now), [`sleep`](crate::fiber::sleep), [`scope`](crate::scope()),
/// [`blocking`](crate::blocking()) and what is made of it, connecting, and a
/// [`Yielder::suspend`](crate::coroutine::Yielder::suspend) of a coroutine that was resumed outside of the section. The fiber
/// keeps its thread for as long as the section lasts, however much it does.
///
/// Sections may be within each other. Unwinding ends one, too. Where a wait blocks the thread, nothing is refused: on plain
/// threads, and while the thread is panicking. A runtime that is started within a section is not in it.
pub fn no_suspend<F, R>(f: F) -> R
where
    F: FnOnce() -> R,
{
    let _outer = Outer(DEPTH.replace(DEPTH.get() + 1));
    f()
}

/// Runs `f`, which is in no section, whatever its caller is in.
pub(crate) fn outside<R>(f: impl FnOnce() -> R) -> R {
    let _outer = Outer(DEPTH.replace(0));
    f()
}

/// Puts back what was.
struct Outer(u32);

impl Drop for Outer {
    fn drop(&mut self) {
        DEPTH.set(self.0);
    }
}

/// How many sections the caller is in.
#[inline]
pub(crate) fn depth() -> u32 {
    DEPTH.get()
}

/// To be called in a fiber that is about to be suspended, before anything is done about it.
///
/// # Panics
/// Within a section.
#[inline]
pub(crate) fn check() {
    if depth() > 0 {
        refuse();
    }
}

#[cold]
pub(crate) fn refuse() -> ! {
    panic!(
        "this would suspend the fiber within kapok::no_suspend or run_in_main_context: wait before or after that section, \
         or use there what does not wait (Baton::post and try_wait, spawn, sockets in non-blocking mode)"
    );
}
