//! Work that needs more stack than a fiber has.

use std::panic::{self, AssertUnwindSafe, resume_unwind};

use crate::sched::Worker;

/// Calls `f` on the stack of the thread that runs the fiber, which is megabytes large: for recursion, parsers, or a C library
/// that keeps much on the stack. As `folly::fibers::runInMainContext`.
///
/// ```
/// fn depth(n: u32) -> u32 {
///     let frame = std::hint::black_box([n; 256]); // 1 KiB for each
///     if n == 0 { 0 } else { depth(frame[0] - 1) + 1 }
/// }
///
/// kapok::run(|| {
///     let fiber = kapok::fiber::Builder::new().stack_size(32 * 1024);
///     let fiber = fiber.spawn(|| kapok::run_in_main_context(|| depth(200))).unwrap();
///     assert_eq!(fiber.join().unwrap(), 200);
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// It costs two switches. Nothing else runs on the thread meanwhile, so `f` may borrow, need not be `Send`, and is still in the
/// same fiber: [`current`](super::current), fiber-local and inherited values are what they are outside. **It must not wait**:
/// what would have to suspend the fiber panics, as within [`no_suspend`](crate::no_suspend()), and what need not wait
/// works. What `f` opens to be cancelled, a [`timeout`](crate::timeout) for instance, therefore never ends early. Work
/// that takes long is better off with [`blocking`](crate::blocking()), which has a large stack, too, and lets others run.
///
/// On a plain thread, within `f`, and in [`blocking`](crate::blocking()), it simply calls `f`. In a runtime that was started within a
/// fiber, the thread's stack is that fiber's.
///
/// # Panics
/// With what `f` panicked with.
pub fn run_in_main_context<F, T>(f: F) -> T
where
    F: FnOnce() -> T,
{
    Worker::with_running(|here| {
        let Some((worker, fiber)) = here else { return f() };
        let (mut f, mut result) = (Some(f), None);
        // What it has panicked with, and only that, goes on on the fiber's own stack.
        let mut work = || result = f.take().map(|f| panic::catch_unwind(AssertUnwindSafe(f)));
        worker.on_thread_stack(fiber, &mut work);
        match result.expect("it was called") {
            Ok(value) => value,
            Err(payload) => resume_unwind(payload),
        }
    })
}
