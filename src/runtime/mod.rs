//! Setting up a runtime and running fibers in it.

mod background;
mod builder;
mod handle;
mod shutdown;
mod threads;

use std::io;

pub use background::Runtime;
pub use builder::Builder;
pub use handle::{Handle, WorkerStats};
pub use shutdown::{ShutdownError, Straggler};

/// Runs `f` in a fiber, and returns its result when all fibers have ended.
///
/// `f` is the root: it may spawn others, which may outlive it; `run` waits for them all. The root runs on the calling
/// thread, which is the first worker; each other worker is a thread that ends before `run` returns. It sets up what the
/// environment asks for:
///
/// | variable                 | value                                             | unset                                                         |
/// |--------------------------|---------------------------------------------------|---------------------------------------------------------------|
/// | `KAPOK_WORKERS`          | how many threads run fibers                       | [`available_parallelism`](std::thread::available_parallelism) |
/// | `KAPOK_SWITCH`           | the name of an [`Engine`]                         | `setjmp`                                                      |
/// | `KAPOK_REACTOR`          | the name of a [`ReactorKind`]                     | the best                                                      |
/// | `KAPOK_STACK_SIZE`       | bytes                                             | 262144                                                        |
/// | `KAPOK_STACK_GUARD`      | the name of a [`GuardKind`]                       | `madvise` where that works, else `mprotect`                   |
/// | `KAPOK_OVERFLOW_BACKTRACE` | `1` or `0`: see [`Builder::overflow_backtrace`] | `0`                                                           |
/// | `KAPOK_STACK_USAGE`      | `off`, or the name of a [`Measure`]               | `off`                                                         |
/// | `KAPOK_BLOCKING_THREADS` | see [`max_threads`](crate::blocking::max_threads) | 64                                                            |
///
/// ```
/// let answer = kapok::run(|| kapok::spawn(|| 6 * 7).join().unwrap())?;
/// assert_eq!(answer, 42);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Within a fiber it begins a runtime within a runtime, whose first worker is the fiber's thread, on the fiber's stack: the
/// other fibers of that thread wait until it has ended, so it must not wait for them, and the stack has to have room for a
/// worker: the default size has. [`Runtime`] has no such limits.
///
/// # Errors
/// Only for what is wrong with the set-up: a variable with a value that this build does not know, a kernel that refuses
/// the reactor or a thread. `f` has not run then.
///
/// # Panics
/// With what `f` panicked with, after all fibers have ended. Panics of other fibers are theirs who join them.
///
/// [`Engine`]: crate::Engine
/// [`ReactorKind`]: crate::ReactorKind
/// [`GuardKind`]: crate::stack::GuardKind
/// [`Measure`]: crate::stack::Measure
pub fn run<F, T>(f: F) -> io::Result<T>
where
    F: FnOnce() -> T,
{
    Builder::new().run(f)
}
