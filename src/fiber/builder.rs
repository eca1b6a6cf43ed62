//! Starting fibers.

use std::io;
use std::panic::Location;
use std::sync::Arc;

use super::handle::Identity;
use super::join::JoinHandle;
use super::packet::{self, Packet, as_outcome};
use crate::sched::{Crew, TaskRef, Worker};
use crate::stack::{self, Room, Stack};

/// How a fiber is started: its name and the size of its stack. As [`std::thread::Builder`].
///
/// ```
/// kapok::run(|| -> std::io::Result<()> {
///     let fiber = kapok::fiber::Builder::new().name("worker".into()).stack_size(64 * 1024).spawn(|| {
///         kapok::fiber::current().name().map(str::to_owned)
///     })?;
///     assert_eq!(fiber.join().unwrap().as_deref(), Some("worker"));
///     Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
#[must_use = "a builder starts nothing by itself"]
pub struct Builder {
    name: Option<String>,
    stack_size: Option<usize>,
    worker: Option<usize>,
    /// Its stack is taken before it is started.
    takes_stack: bool,
}

impl Builder {
    /// A fiber without a name, with the runtime's default stack size.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Gives it a name.
    ///
    /// # Panics
    /// As with threads, [`spawn`](Builder::spawn) panics where the name has a NUL byte in it.
    pub fn name(mut self, name: String) -> Builder {
        self.name = Some(name);
        self
    }

    /// The size of its stack in bytes of address space, rounded up to one of a few sizes: between [`stack::MIN_SIZE`] and
    /// [`stack::MAX_SIZE`]. Memory is only taken for what is used.
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = Some(bytes);
        self
    }

    /// The worker that is to run it: a number below [`Handle::workers`](crate::runtime::Handle::workers). By default a fiber
    /// goes to one that has time for it.
    ///
    /// [`spawn_local`](Builder::spawn_local) takes the caller's own and no other.
    pub fn worker(mut self, index: usize) -> Builder {
        self.worker = Some(index);
        self
    }

    /// Starts a fiber, on any worker of the caller's runtime. Its stack is taken when it first runs; where none can be had
    /// then, the fiber ends, and [`join`](JoinHandle::join) gives a sentence that says why. [`try_spawn`](Builder::try_spawn)
    /// takes it at once.
    ///
    /// # Errors
    /// `InvalidInput` for a stack size out of bounds, or a worker that does not exist; `Unsupported` outside of a runtime.
    ///
    /// # Panics
    /// If the name has a NUL byte in it.
    #[track_caller]
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.spawn_prepared(f, |_| {})
    }

    /// As [`spawn`](Builder::spawn), and takes the stack right away: a fiber that was started has one.
    ///
    /// The stack takes its first page of memory, too. So a program that spawns many fibers before they run needs that many
    /// stacks, where `spawn` would let them use a few, one after the other.
    ///
    /// ```
    /// kapok::run(|| -> std::io::Result<()> {
    ///     let fiber = kapok::fiber::Builder::new().stack_size(64 * 1024).try_spawn(|| 7)?;
    ///     assert_eq!(fiber.join().unwrap(), 7);
    ///     Ok(())
    /// })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`spawn`](Builder::spawn), and where no stack can be had: `OutOfMemory`, as a rule, with the limit that was met
    /// (address space, mappings, memory, the memory of a control group) and how to raise it.
    ///
    /// # Panics
    /// As [`spawn`](Builder::spawn).
    #[track_caller]
    pub fn try_spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.taking_stack().spawn(f)
    }

    /// As [`spawn_local`](Builder::spawn_local), and takes the stack right away.
    ///
    /// # Errors
    /// As [`try_spawn`](Builder::try_spawn).
    ///
    /// # Panics
    /// As [`spawn`](Builder::spawn).
    #[track_caller]
    pub fn try_spawn_local<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        self.taking_stack().spawn_local(f)
    }

    /// Has the stack taken before the fiber is started.
    pub(crate) fn taking_stack(self) -> Builder {
        Builder {
            takes_stack: true,
            ..self
        }
    }

    /// As [`spawn`](Builder::spawn); `prepare` sees the fiber before anybody else does.
    #[track_caller]
    pub(super) fn spawn_prepared<F, T>(self, f: F, prepare: impl FnOnce(&TaskRef)) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let spawned_at = Location::caller();
        Worker::with(|worker| {
            let worker = worker.ok_or_else(outside)?;
            let on = self.worker;
            self.start(worker.crew(), spawned_at, f, |task, room| {
                prepare(&task);
                match on {
                    None => worker.spawn(task, room),
                    Some(index) => worker.spawn_on(index, task, room),
                }
                Ok(())
            })
        })
    }

    /// Starts a fiber in a runtime that need not be the caller's.
    #[track_caller]
    pub(crate) fn spawn_in<F, T>(self, crew: &Arc<Crew>, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if Worker::with(|worker| worker.is_some_and(|worker| Arc::ptr_eq(worker.crew(), crew))) {
            return self.spawn(f);
        }
        let on = self.worker;
        self.start(crew, Location::caller(), f, |task, room| {
            let taken = match on {
                None => crew.inject(task, room),
                Some(index) => crew.inject_on(index, task, room),
            };
            if taken {
                return Ok(());
            }
            Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "a fiber is started in a runtime that is ending, or has ended",
            ))
        })
    }

    /// Starts a fiber on the caller's own worker thread, with work that need not be `Send`: a fiber that has started stays
    /// on its thread.
    ///
    /// # Errors
    /// As [`spawn`](Builder::spawn).
    ///
    /// # Panics
    /// As [`spawn`](Builder::spawn).
    #[track_caller]
    pub fn spawn_local<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        self.spawn_local_prepared(f, |_| {})
    }

    /// As [`spawn_local`](Builder::spawn_local); `prepare` sees the fiber before anybody else does.
    #[track_caller]
    pub(super) fn spawn_local_prepared<F, T>(self, f: F, prepare: impl FnOnce(&TaskRef)) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        let spawned_at = Location::caller();
        Worker::with(|worker| {
            let worker = worker.ok_or_else(outside)?;
            if self.worker.is_some_and(|index| index != worker.index()) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "spawn_local starts a fiber on the caller's own worker, and the builder names another",
                ));
            }
            self.start(worker.crew(), spawned_at, f, |task, room| {
                prepare(&task);
                worker.spawn_here(task, room);
                Ok(())
            })
        })
    }

    /// Makes a fiber of `f`, to be run by a worker of `crew`, and gives it to `queue`.
    fn start<F, T>(
        self,
        crew: &Crew,
        spawned_at: &'static Location<'static>,
        f: F,
        queue: impl FnOnce(TaskRef, Room) -> io::Result<()>,
    ) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        if let Some(name) = &self.name {
            assert!(!name.contains('\0'), "a fiber's name must not have a NUL byte in it");
        }
        if let Some(index) = self.worker.filter(|&index| index >= crew.len()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "there is no worker {index}: the runtime has {}, counted from 0",
                    crew.len()
                ),
            ));
        }
        let stack_size = match self.stack_size {
            Some(bytes) => stack::check_size(bytes)?,
            None => crew.config().stack_size,
        };
        let room = if self.takes_stack {
            Room::Taken(take_stack(stack_size)?)
        } else {
            Room::OfSize(stack_size)
        };
        let name = self.name;
        let (task, packet) = packet::new_pair(|| Packet::new(Identity::new(name, Some(spawned_at)), f));
        queue(task, room)?;
        Ok(JoinHandle::new(as_outcome(packet)))
    }
}

/// A stack, also where one lies idle in the pool of the caller's worker.
fn take_stack(size: usize) -> io::Result<Stack> {
    let stack = Worker::with(|worker| worker.map_or_else(|| Stack::new(size), |worker| worker.take_stack(size)))?;
    // Its first page is taken now: what is handed out and not touched, no limit of memory knows of.
    stack.set_label(None);
    Ok(stack)
}

fn outside() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "a fiber is started outside of a runtime: call this within kapok::run",
    )
}
