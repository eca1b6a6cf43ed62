//! Who watches descriptors for tasks: the worker of the thread that asks, or else a thread that does nothing else.

use std::io;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;

use crate::context::Engine;
use crate::reactor::{ReactorKind, Source};
use crate::sched::{Candidate, Config, Crew, Inbox, Interest, Worker};
use crate::stack;
use crate::sys::Direction;

/// What has a descriptor to wait for: the sockets of [`net`](crate::net), and [`Async`](crate::net::Async). It cannot be
/// implemented elsewhere.
pub trait Watchable {
    #[doc(hidden)]
    fn watched(&self) -> Watched<'_>;
}

impl<W: Watchable + ?Sized> Watchable for &W {
    fn watched(&self) -> Watched<'_> {
        W::watched(self)
    }
}

/// A descriptor that stays open for as long as it is borrowed.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Watched<'a>(pub(crate) Source, PhantomData<&'a ()>);

impl Watched<'_> {
    pub(crate) fn new(source: Source) -> Self {
        Watched(source, PhantomData)
    }
}

/// Has `waker` woken when the descriptor is ready.
///
/// # Errors
/// On a plain thread, where none can be started that watches.
pub(crate) fn watch(source: Source, direction: Direction, waker: &Waker) -> io::Result<Interest> {
    Interest::new(source, direction, waker, thread_that_watches)
}

/// What there is to know about who waits in one direction.
#[derive(Debug, Default)]
pub(crate) struct Slot(Mutex<Option<Interest>>);

impl Slot {
    /// Ready when the descriptor is, which is always the same one; else the task is woken then, and no earlier one.
    ///
    /// # Errors
    /// Where the kernel cannot wait for it, or nobody can watch.
    pub(crate) fn poll(&self, source: Source, direction: Direction, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let waker = context.waker();
        loop {
            // Taken out, since wakers do what they like. Of two tasks that poll at the same time the later one stays.
            let old = self.lock().take();
            let interest = match old {
                Some(interest) => interest,
                None => watch(source, direction, waker)?,
            };
            match interest.poll(waker) {
                Poll::Pending => {
                    let other = self.lock().replace(interest);
                    drop(other);
                    return Poll::Pending;
                }
                // Its worker has gone.
                Poll::Ready(Err(libc::ECANCELED)) => {}
                Poll::Ready(outcome) => {
                    return Poll::Ready(outcome.map(drop).map_err(io::Error::from_raw_os_error));
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Interest>> {
        // Nothing panics under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `poll_readable` and `poll_writable`, within the `impl` of what has a method that takes the direction.
macro_rules! polling {
    ($self:ident => $($poll:tt)+) => {
        /// Ready when a read would not wait: there is something, or the end, or an error. Else the task is woken then. For
        /// async code that reads in non-blocking mode.
        ///
        /// One task at a time waits in a direction: of several that poll, the last is woken. It is forgotten when this
        /// is dropped; a future of its own that withdraws is [`future::readable`](crate::future::readable).
        ///
        /// # Errors
        /// Where the kernel cannot wait for it. On a plain thread, where no thread can be started that waits.
        pub fn poll_readable(&$self, context: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
            $($poll)+(crate::sys::Direction::Read, context)
        }

        /// As [`poll_readable`](Self::poll_readable), for writing.
        ///
        /// # Errors
        /// As [`poll_readable`](Self::poll_readable).
        pub fn poll_writable(&$self, context: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
            $($poll)+(crate::sys::Direction::Write, context)
        }
    };
}
pub(crate) use polling;

/// Who waits in which direction; nothing where nobody ever has.
#[derive(Debug, Default)]
pub(crate) struct Slots(OnceLock<Box<(Slot, Slot)>>);

impl Slots {
    /// See [`Slot::poll`].
    ///
    /// # Errors
    /// As [`Slot::poll`].
    pub(crate) fn poll(&self, source: Source, direction: Direction, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (read, write) = &**self.0.get_or_init(Box::default);
        let slot = match direction {
            Direction::Read => read,
            Direction::Write => write,
        };
        slot.poll(source, direction, context)
    }
}

/// The inbox of a worker that has no fibers, and never ends. Started when it is first wanted, and again in a forked child.
fn thread_that_watches() -> io::Result<Arc<Inbox>> {
    static INBOX: Mutex<Option<(u32, Arc<Inbox>)>> = Mutex::new(None);
    let process = std::process::id();
    let mut inbox = INBOX.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((started_in, inbox)) = &*inbox {
        if *started_in == process {
            return Ok(Arc::clone(inbox));
        }
    }
    let (report, reported) = mpsc::sync_channel(1);
    let kind = ReactorKind::from_env()?;
    thread::Builder::new().name("kapok-watcher".to_owned()).spawn(move || {
        let candidate = match Candidate::new(kind) {
            Ok(candidate) => candidate,
            Err(error) => return drop(report.send(Err(error))),
        };
        let config = Config {
            engine: Engine::default(),
            reactor: candidate.reactor_kind(),
            stack_size: stack::DEFAULT_SIZE,
            measure: None,
        };
        let crew = Arc::new(Crew::new(config, vec![candidate.member()]));
        let worker = Worker::new(candidate, crew, 0);
        worker.lives_for_ever();
        drop(report.send(Ok(Arc::clone(worker.inbox()))));
        worker.run();
    })?;
    let new = reported.recv().expect("it reports before it ends")?;
    *inbox = Some((process, Arc::clone(&new)));
    Ok(new)
}
