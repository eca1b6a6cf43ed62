//! Setting up a runtime and running fibers in it.

use std::fmt;
use std::io;
use std::panic::resume_unwind;

use crate::blocking;
use crate::context::Engine;
use crate::fiber;
use crate::reactor::ReactorKind;
use crate::sched::{Config, Worker};
use crate::stack;

/// Runs `f` in a fiber, and returns its result when all fibers have ended.
///
/// `f` is the root: it may spawn others, which may outlive it; `run` waits for them all. It sets up what the environment
/// asks for:
///
/// | variable                 | value                                        | unset           |
/// |--------------------------|----------------------------------------------|-----------------|
/// | `KAPOK_SWITCH`           | the name of an [`Engine`]                    | `setjmp`        |
/// | `KAPOK_REACTOR`          | the name of a [`ReactorKind`]                | the best        |
/// | `KAPOK_STACK_SIZE`       | bytes                                        | 262144          |
/// | `KAPOK_BLOCKING_THREADS` | see [`max_threads`](crate::blocking::max_threads) | 64         |
///
/// ```
/// let answer = kapok::run(|| kapok::spawn(|| 6 * 7).join().unwrap())?;
/// assert_eq!(answer, 42);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// Only for what is wrong with the set-up: a variable with a value that this build does not know, a kernel that refuses
/// the reactor, a call from within a runtime. `f` has not run then.
///
/// # Panics
/// With what `f` panicked with, after all fibers have ended. Panics of other fibers are theirs who join them.
pub fn run<F, T>(f: F) -> io::Result<T>
where
    F: FnOnce() -> T,
{
    Builder::new().run(f)
}

/// The settings of a runtime. What is not set comes from the environment, see [`run`], and else has its default.
///
/// ```
/// use kapok::{Engine, runtime::Builder};
///
/// let engine: Engine = "ucontext".parse()?;
/// let used = Builder::new().switch(engine).stack_size(128 * 1024).run(|| {
///     kapok::runtime::Handle::current().switch()
/// })?;
/// assert_eq!(used, engine);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing before `run`"]
pub struct Builder {
    engine: Option<Engine>,
    reactor: Option<ReactorKind>,
    stack_size: Option<usize>,
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

    /// The reactor.
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

    /// Runs `f` in a fiber, and returns its result when all fibers have ended. See [`run`].
    ///
    /// # Errors
    /// For what is wrong with the settings, or with what the environment says in their place.
    ///
    /// # Panics
    /// With what `f` panicked with.
    pub fn run<F, T>(self, f: F) -> io::Result<T>
    where
        F: FnOnce() -> T,
    {
        if Worker::is_running_here() {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "kapok::run is called within kapok::run: this thread has a runtime, use kapok::spawn",
            ));
        }
        let worker = Worker::new(self.config()?)?;
        match fiber::run_root(&worker, f)? {
            Ok(value) => Ok(value),
            Err(panic) => resume_unwind(panic),
        }
    }

    fn config(self) -> io::Result<Config> {
        blocking::read_env()?;
        Ok(Config {
            engine: self.engine.map_or_else(Engine::from_env, Ok)?,
            reactor: self.reactor.map_or_else(ReactorKind::from_env, |kind| Ok(Some(kind)))?,
            stack_size: match self.stack_size {
                Some(bytes) => stack::check_size(bytes)?,
                None => stack_size_from_env()?,
            },
        })
    }
}

fn stack_size_from_env() -> io::Result<usize> {
    let Some(text) = std::env::var_os("KAPOK_STACK_SIZE").filter(|text| !text.is_empty()) else {
        return Ok(stack::DEFAULT_SIZE);
    };
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidInput, format!("KAPOK_STACK_SIZE: {text}"));
    let text = text.to_string_lossy();
    let bytes = text
        .parse()
        .map_err(|_| invalid(format!("{text:?} is not a number of bytes")))?;
    stack::check_size(bytes).map_err(|error| invalid(error.to_string()))
}

/// The runtime that the calling fiber belongs to.
#[derive(Clone)]
pub struct Handle {
    engine: Engine,
    reactor: ReactorKind,
}

impl Handle {
    /// The runtime of the caller.
    ///
    /// # Panics
    /// Outside of a runtime; [`try_current`](Handle::try_current) does not.
    #[must_use]
    #[track_caller]
    pub fn current() -> Handle {
        Handle::try_current().expect("Handle::current: there is no runtime here; call this within kapok::run")
    }

    /// The runtime of the caller, if there is one.
    #[must_use]
    pub fn try_current() -> Option<Handle> {
        Worker::with(|worker| {
            worker.map(|w| Handle {
                engine: w.engine(),
                reactor: w.reactor_kind(),
            })
        })
    }

    /// The switch engine in use.
    #[must_use]
    pub fn switch(&self) -> Engine {
        self.engine
    }

    /// The reactor in use.
    #[must_use]
    pub fn reactor(&self) -> ReactorKind {
        self.reactor
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("switch", &self.engine)
            .field("reactor", &self.reactor)
            .finish_non_exhaustive()
    }
}
