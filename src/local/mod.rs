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

use std::panic::{self, AssertUnwindSafe};

/// Begins a fiber, in that fiber: it has inherited this.
#[inline]
pub(crate) fn begin(inherited: Context) {
    if !inherited.is_empty() {
        drop(inherited.install());
    }
}

/// Ends a fiber, in that fiber: drops everything of it, which may wait, and panics with nothing. Nobody else's code may run in
/// it afterwards.
#[inline]
pub(crate) fn end() {
    if table::end_if_unused() {
        return;
    }
    table::drop_values();
    drop(Context::default().install());
    // That may have made new ones.
    table::drop_values();
    table::end();
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
