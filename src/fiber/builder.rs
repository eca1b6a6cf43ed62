//! Starting fibers.

use std::io;
use std::panic::Location;
use std::sync::Arc;

use super::handle::{Fiber, Identity};
use super::join::JoinHandle;
use super::packet::Packet;
use crate::sched::Worker;
use crate::stack;

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

    /// The size of its stack in bytes of address space, rounded up to pages: between [`stack::MIN_SIZE`] and
    /// [`stack::MAX_SIZE`]. Memory is only taken for what is used.
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = Some(bytes);
        self
    }

    /// Starts a fiber. Its stack is taken when it first runs.
    ///
    /// # Errors
    /// `InvalidInput` for a stack size out of bounds; `Unsupported` outside of a runtime.
    ///
    /// # Panics
    /// If the name has a NUL byte in it.
    #[track_caller]
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.spawn_local(f)
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
        self.spawn_prepared(f, |_| {})
    }

    /// As [`spawn_local`](Builder::spawn_local); `prepare` sees the fiber before anybody else does.
    #[track_caller]
    pub(super) fn spawn_prepared<F, T>(
        self,
        f: F,
        prepare: impl FnOnce(&Arc<Packet<F, T>>),
    ) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        let spawned_at = Location::caller();
        if let Some(name) = &self.name {
            assert!(!name.contains('\0'), "a fiber's name must not have a NUL byte in it");
        }
        Worker::with(|worker| {
            let worker = worker.ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::Unsupported,
                    "a fiber is started outside of a runtime: call this within kapok::run",
                )
            })?;
            let stack_size = match self.stack_size {
                Some(bytes) => stack::check_size(bytes)?,
                None => worker.default_stack_size(),
            };
            let packet = Arc::new(Packet::new(Identity::new(self.name, Some(spawned_at)), f));
            prepare(&packet);
            worker.spawn(packet.clone(), stack_size);
            Ok(JoinHandle::new(packet.clone(), Fiber::from_identified(packet)))
        })
    }
}
