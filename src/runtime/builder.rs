//! The settings of a runtime, and where they come from.

use std::fmt;
use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;

use super::background::Runtime;
use super::threads::{self, Hook};
use crate::blocking;
use crate::context::Engine;
use crate::fiber;
use crate::reactor::ReactorKind;
use crate::sched::Config;
use crate::stack;

/// More workers than this are a slip.
const MAX_WORKERS: usize = 1024;

/// The settings of a runtime. What is not set comes from the environment, see [`run`](super::run), and else has its default.
///
/// ```
/// use kapok::{Engine, runtime::Builder};
///
/// let engine: Engine = "setjmp".parse()?;
/// let used = Builder::new().switch(engine).workers(2).stack_size(128 * 1024).run(|| {
///     let handle = kapok::runtime::Handle::current();
///     (handle.switch(), handle.workers())
/// })?;
/// assert_eq!(used, (engine, 2));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Default)]
#[must_use = "a builder does nothing before `run` or `build`"]
pub struct Builder {
    engine: Option<Engine>,
    reactor: Option<ReactorKind>,
    stack_size: Option<usize>,
    measure: Option<stack::Measure>,
    overflow_backtrace: Option<bool>,
    workers: Option<usize>,
    thread_name: Option<String>,
    on_thread_start: Option<Hook>,
    on_thread_stop: Option<Hook>,
}

/// What all threads of a runtime are to know.
pub(super) struct Settings {
    pub(super) engine: Engine,
    /// `None` is the best that works.
    pub(super) reactor: Option<ReactorKind>,
    pub(super) stack_size: usize,
    pub(super) measure: Option<stack::Measure>,
    pub(super) workers: usize,
    pub(super) thread_name: String,
    pub(super) on_thread_start: Option<Hook>,
    pub(super) on_thread_stop: Option<Hook>,
}

impl Settings {
    pub(super) fn config(&self, reactor: ReactorKind) -> Config {
        Config {
            engine: self.engine,
            reactor,
            stack_size: self.stack_size,
            measure: self.measure,
        }
    }
}

impl Builder {
    /// Everything from the environment, or by default.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// The switch engine.
    pub fn switch(mut self, engine: Engine) -> Builder {
        self.engine = Some(engine);
        self
    }

    /// The reactor. Each worker has one of its own.
    pub fn reactor(mut self, kind: ReactorKind) -> Builder {
        self.reactor = Some(kind);
        self
    }

    /// The stack size in bytes of the root and of all fibers that ask for no other; see
    /// [`fiber::Builder::stack_size`].
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = Some(bytes);
        self
    }

    /// Has it found out what its fibers use of their stacks, for [`stack::usage`]. By default they are not measured.
    pub fn stack_usage(mut self, how: stack::Measure) -> Builder {
        self.measure = Some(how);
        self
    }

    /// Whether the report of a stack that overflows is followed by the frames that were on it: for debugging. It is a setting
    /// of the whole process; the last that was made holds.
    ///
    /// The frames are found by the unwinder, in the handler of the fault. That of a static musl program finds none, on aarch64
    /// often not more than two. Should it not come to an end, the process is ended by `SIGALRM` after ten seconds.
    pub fn overflow_backtrace(mut self, shown: bool) -> Builder {
        self.overflow_backtrace = Some(shown);
        self
    }

    /// How many threads run fibers, from 1 to 1024.
    pub fn workers(mut self, count: usize) -> Builder {
        self.workers = Some(count);
        self
    }

    /// What the threads of the runtime are called: this, a hyphen, and the number of the worker. `kapok-worker` by default.
    pub fn thread_name(mut self, name: impl Into<String>) -> Builder {
        self.thread_name = Some(name.into());
        self
    }

    /// Called on each thread that becomes a worker, before its first fiber, the thread that calls [`run`](Builder::run)
    /// included. If it panics, no fiber runs, and `run` or `build` panics with the same.
    pub fn on_thread_start(mut self, hook: impl Fn() + Send + Sync + 'static) -> Builder {
        self.on_thread_start = Some(Arc::new(hook));
        self
    }

    /// Called on each thread for which the other hook was called, after its last fiber. If it panics, so does `run`.
    pub fn on_thread_stop(mut self, hook: impl Fn() + Send + Sync + 'static) -> Builder {
        self.on_thread_stop = Some(Arc::new(hook));
        self
    }

    /// Runs `f` in a fiber, and returns its result when all fibers have ended. See [`run`](super::run).
    ///
    /// # Errors
    /// For what is wrong with the settings, or with what the environment says in their place; where a worker cannot start.
    /// `f` has not run then.
    ///
    /// # Panics
    /// With what `f` panicked with, or else a hook.
    pub fn run<F, T>(self, f: F) -> io::Result<T>
    where
        F: FnOnce() -> T,
    {
        let settings = Arc::new(self.settings()?);
        let (result, stopped) = threads::run_with_caller(&settings, |worker| fiber::run_root(worker, f))?;
        match result? {
            Ok(value) => stopped.map(|()| value).or_else(|panic| resume_unwind(panic)),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Starts a runtime all of whose workers are threads of their own, for fibers that are spawned by its
    /// [`Handle`](super::Handle).
    ///
    /// # Errors
    /// As [`run`](Builder::run).
    ///
    /// # Panics
    /// With what a hook panicked with.
    pub fn build(self) -> io::Result<Runtime> {
        Runtime::start(&Arc::new(self.settings()?))
    }

    fn settings(self) -> io::Result<Settings> {
        blocking::read_env()?;
        stack::GuardKind::chosen()?;
        if let Some(shown) = self
            .overflow_backtrace
            .map_or_else(backtrace_from_env, |shown| Ok(Some(shown)))?
        {
            stack::show_backtraces(shown);
        }
        let thread_name = self.thread_name.unwrap_or_else(|| "kapok-worker".to_owned());
        if thread_name.contains('\0') {
            return Err(invalid("thread_name: a thread's name must not have a NUL byte in it"));
        }
        Ok(Settings {
            engine: self.engine.map_or_else(Engine::from_env, Ok)?,
            reactor: self.reactor.map_or_else(ReactorKind::from_env, |kind| Ok(Some(kind)))?,
            stack_size: match self.stack_size {
                Some(bytes) => stack::check_size(bytes)?,
                None => stack_size_from_env()?,
            },
            measure: self
                .measure
                .map_or_else(stack::Measure::from_env, |how| Ok(Some(how)))?,
            workers: match self.workers {
                Some(count) => check_workers(count).map_err(invalid)?,
                None => workers_from_env()?,
            },
            thread_name,
            on_thread_start: self.on_thread_start,
            on_thread_stop: self.on_thread_stop,
        })
    }
}

fn invalid(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text.into())
}

/// The text of a variable that is set to something.
fn variable(name: &str) -> Option<String> {
    let text = std::env::var_os(name).filter(|text| !text.is_empty())?;
    Some(text.to_string_lossy().into_owned())
}

fn stack_size_from_env() -> io::Result<usize> {
    let Some(text) = variable("KAPOK_STACK_SIZE") else {
        return Ok(stack::DEFAULT_SIZE);
    };
    let bytes = text
        .parse()
        .map_err(|_| invalid(format!("KAPOK_STACK_SIZE: {text:?} is not a number of bytes")))?;
    stack::check_size(bytes).map_err(|error| invalid(format!("KAPOK_STACK_SIZE: {error}")))
}

fn backtrace_from_env() -> io::Result<Option<bool>> {
    match variable("KAPOK_OVERFLOW_BACKTRACE").as_deref() {
        None => Ok(None),
        Some("0") => Ok(Some(false)),
        Some("1") => Ok(Some(true)),
        Some(text) => Err(invalid(format!(
            "KAPOK_OVERFLOW_BACKTRACE: {text:?} is neither 0 nor 1"
        ))),
    }
}

fn check_workers(count: usize) -> Result<usize, String> {
    match count {
        1..=MAX_WORKERS => Ok(count),
        _ => Err(format!("a runtime has from 1 to {MAX_WORKERS} workers, not {count}")),
    }
}

fn workers_from_env() -> io::Result<usize> {
    let Some(text) = variable("KAPOK_WORKERS") else {
        // Where the system does not tell, one is always there.
        return Ok(std::thread::available_parallelism().map_or(1, |count| count.get().min(MAX_WORKERS)));
    };
    let count = text
        .parse()
        .map_err(|_| invalid(format!("KAPOK_WORKERS: {text:?} is not a number of workers")))?;
    check_workers(count).map_err(|text| invalid(format!("KAPOK_WORKERS: {text}")))
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("switch", &self.engine)
            .field("reactor", &self.reactor)
            .field("stack_size", &self.stack_size)
            .field("stack_usage", &self.measure)
            .field("overflow_backtrace", &self.overflow_backtrace)
            .field("workers", &self.workers)
            .field("thread_name", &self.thread_name)
            .finish_non_exhaustive()
    }
}
