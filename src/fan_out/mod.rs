//! Many at once: collecting what fibers give, promises, and batches. What Folly's fibers have beside the Baton.
//!
//! ```
//! use kapok::fan_out;
//!
//! kapok::run(|| {
//!     let hosts = ["a", "bb", "ccc"];
//!     let lengths = fan_out::collect_all(hosts.iter().map(|host| || host.len()));
//!     assert_eq!(lengths, [1, 2, 3]);
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! What starts fibers here is a [`scope`](crate::scope()): they may borrow from the caller, and have all ended when the call returns.
//! What is left over, because enough others have returned, is [cancelled](crate::cancel). A panic of one ends the others, and
//! becomes the caller's. [`BatchDispatcher::new`] alone starts fibers that belong to nobody. [`promise()`], [`AtomicBatchDispatcher`] and
//! [`Observed`] start none, and work between fibers and threads alike.
//!
//! # Where to find what Folly has
//! | Folly | Kapok |
//! |---|---|
//! | `FiberManager`, several for one thread | a [runtime](crate::runtime); `Builder::workers(1)` for one thread. Runtimes may be nested |
//! | `addTask`, `addTaskFuture` | [`spawn_local`](crate::spawn_local), [`spawn`](crate::spawn()), whose `JoinHandle` is the future; dropped, it is a task alone |
//! | `addTaskEager` | `spawn_local` and [`yield_now`](crate::fiber::yield_now). What has been spawned never runs inside of the call that spawns it |
//! | `addTaskRemote` | [`Handle::spawn`](crate::runtime::Handle::spawn), from any thread; [`Inherited`](crate::local::Inherited) values come along |
//! | `addTaskFinally` | [`Tasks`], or [`for_each`]: results are handled by the caller, one after the other |
//! | `Executor::add`, `FiberIOExecutor` | [`Handle`](crate::runtime::Handle): an executor of one's own is a closure around `Handle::spawn` |
//! | `runInMainContext` | [`run_in_main_context`](crate::run_in_main_context) |
//! | `onFiber`, `currentFiber`, `hasActiveFiber` | [`is_fiber`](crate::fiber::is_fiber), [`current`](crate::fiber::current) |
//! | `yield` | [`yield_now`](crate::fiber::yield_now) |
//! | `local<T>` | [`fiber_local!`](crate::fiber_local), which is the fiber's own; [`Inherited`](crate::local::Inherited), which children get |
//! | `RequestContext`, `AsyncStackRoot` | [`Inherited`](crate::local::Inherited); for another library's thread-local, [`on_switch`](crate::local::on_switch) |
//! | `Baton`, `GenericBaton` | [`Baton`](crate::sync::Baton). In place of a `TimeoutHandler`, `wait_timeout`; `co_await` is what there is no need of |
//! | `Semaphore`, `BatchSemaphore` | [`Semaphore`](crate::sync::Semaphore): `acquire`, `acquire_many`. In place of a `Waiter` for several, [`race`](crate::race()) |
//! | `TimedMutex`, `TimedRWMutex` | [`Mutex`](crate::sync::Mutex), [`RwLock`](crate::sync::RwLock), with `try_lock_for`, `downgrade`. Threads do not go first; who was called and overtaken is handed the lock |
//! | `once_flag`, `call_once` | [`Once`](crate::sync::Once), [`OnceLock`](crate::sync::OnceLock), [`LazyLock`](crate::sync::LazyLock) |
//! | `Promise`, `await`, `await_async` | [`promise()`], [`await_callback`]; a broken one is an error |
//! | futures, `Future::get` | [`Future::wait`], [`JoinHandle::join`](crate::fiber::JoinHandle::join); [`oneshot`](crate::sync::oneshot) |
//! | `collectAll` | [`collect_all`], [`try_collect_all`] |
//! | `collectN`, `collectAny` | [`collect_n`], [`collect_any`], [`collect_any_ok`]. The others are cancelled, and not left to run; errors do not count as results unless one wants them to |
//! | `forEach` | [`for_each`] |
//! | `addTasks`, `TaskIterator` | [`Tasks`]: an iterator; `reserve`, `add`, and a limit of how many run |
//! | `BatchDispatcher` | [`BatchDispatcher`] |
//! | `AtomicBatchDispatcher` | [`AtomicBatchDispatcher`] |
//! | stack options, `guardPagesPerStack`, pool sizes | [`Builder::stack_size`](crate::fiber::Builder::stack_size), [`stack`](crate::stack): guards always, the pool goes by demand |
//! | `recordStackEvery`, `stackHighWatermark` | [`stack`](crate::stack) says what it knows of use |
//! | guard allocator, overflow report | every stack has a guard; an overflow is reported by name (docs/architecture.md, Stacks) |
//! | `LoopController`, `EventBase` | none: the loop is the runtime's own, with its [`ReactorKind`](crate::ReactorKind). A foreign loop can have a thread beside it, and post Batons |
//! | shutdown that runs until all have ended | [`run`](crate::run()) returns then; [`Runtime::shutdown`](crate::runtime::Runtime::shutdown) cancels first, and has a deadline |
//! | exception callback | a panic is the joiner's, or the scope's; else std's panic hook has told it |
//! | `ExecutionObserver` | [`on_switch`](crate::local::on_switch), called at each switch; of values, [`Observed`] and [`watch`](crate::sync::watch) |
//! | `setPreemptRunner`, `setLoopRunner` | `on_switch`; nothing is called around the loop |
//! | `numActiveTasks`, `runQueueSize`, `fibersAllocated`, `fibersPoolSize` | [`Handle::live_fibers`](crate::runtime::Handle::live_fibers), [`Handle::stats`](crate::runtime::Handle::stats), [`stack::stats`](crate::stack::stats()) |
//! | `logRunningTime`, log of blocking operations | none: to measure is two looks at the clock in an `on_switch` |
//! | ASan, TSan, GDB script | both sanitizers know fibers where the engine is `ucontext` (docs/soundness.md); a debugger sees the fiber that runs |
//! | `fibers::async` | none: what may wait is listed in [`cancel`](crate::cancel), and [`no_suspend`](crate::no_suspend()) checks at run time |

mod atomic_batch;
mod batch;
mod collect;
mod observed;
mod promise;
mod tasks;

pub use atomic_batch::{AtomicBatchDispatcher, BatchError, BatchResult, Token};
pub use batch::BatchDispatcher;
pub use collect::{collect_all, collect_any, collect_any_ok, collect_n, for_each, try_collect_all};
pub use observed::{Observed, Observer};
pub use promise::{BrokenPromise, Future, Promise, await_callback, promise};
pub use tasks::Tasks;
