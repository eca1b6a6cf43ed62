//! Ending a runtime by a deadline, and telling who has not ended.

use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use crate::fiber::{Fiber, FiberId};
use crate::sched::{Crew, Left, Roll, Who};

/// How many of those who have not ended an error's text names.
const MAX_NAMED: usize = 10;

/// Fibers have not ended by the deadline of a [shutdown](super::Runtime::shutdown).
///
/// They go on, on the threads of the runtime, which end when the last of them does. Nothing of them is freed before.
#[derive(Debug)]
pub struct ShutdownError {
    stragglers: Vec<Straggler>,
    others: usize,
}

/// A fiber that has not ended by the deadline.
#[derive(Clone, Debug)]
pub struct Straggler {
    id: FiberId,
    name: Option<Arc<str>>,
    spawned_at: Option<&'static Location<'static>>,
    worker: usize,
    running: bool,
}

impl ShutdownError {
    /// Of the fibers on the roll.
    pub(super) fn of(crew: &Crew, roll: &Roll) -> ShutdownError {
        let left = roll.left().into_iter().enumerate();
        let stragglers: Vec<_> = left.flat_map(|(worker, left)| on_worker(worker, &left)).collect();
        ShutdownError {
            others: crew.live().saturating_sub(stragglers.len()),
            stragglers,
        }
    }

    /// The one that has called for it itself, and so cannot wait for the end.
    pub(super) fn of_caller(crew: &Crew, worker: usize, caller: &Fiber) -> ShutdownError {
        ShutdownError {
            stragglers: vec![Straggler {
                id: caller.id(),
                name: caller.id().name(),
                spawned_at: caller.spawned_at(),
                worker,
                running: true,
            }],
            others: crew.live().saturating_sub(1),
        }
    }

    /// The fibers that have not ended.
    #[must_use]
    pub fn stragglers(&self) -> &[Straggler] {
        &self.stragglers
    }

    /// How many more have not ended: those of a worker that a fiber keeps to itself, which cannot be asked.
    #[must_use]
    pub fn others(&self) -> usize {
        self.others
    }
}

fn on_worker(worker: usize, left: &Left) -> Vec<Straggler> {
    let running = left.running;
    let straggler = |who: Who| {
        let id = FiberId::from_number(who.id)?;
        Some(Straggler {
            id,
            name: id.name(),
            spawned_at: who.spawned_at,
            worker,
            running: running.is_some_and(|running| running.id == who.id),
        })
    };
    let mut all: Vec<_> = left.fibers.iter().filter_map(|fiber| straggler(fiber.who())).collect();
    // Who keeps a worker to itself is not on the roll, since nobody has come to call it.
    if let Some(running) = running.filter(|running| left.fibers.iter().all(|fiber| fiber.who().id != running.id)) {
        all.extend(straggler(running));
    }
    all
}

impl Straggler {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> FiberId {
        self.id
    }

    /// The name that it was given by [`Builder::name`](crate::fiber::Builder::name).
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Where in the program it was started.
    #[must_use]
    pub fn spawned_at(&self) -> Option<&'static Location<'static>> {
        self.spawned_at
    }

    /// The number of the worker that it is on.
    #[must_use]
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// Whether it was running, and not waiting: it computes, or has blocked the thread, and reaches no suspension point.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running
    }
}

impl fmt::Display for Straggler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name:?} ({:?})", self.id)?,
            None => write!(f, "{:?}", self.id)?,
        }
        if let Some(place) = self.spawned_at {
            write!(f, ", spawned at {place}")?;
        }
        let what = if self.running { "runs without a pause" } else { "waits" };
        write!(f, ", {what} on worker {}", self.worker)
    }
}

impl fmt::Display for ShutdownError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.stragglers.len().min(MAX_NAMED);
        write!(f, "fibers have not ended by the deadline: ")?;
        for (i, straggler) in self.stragglers[..named].iter().enumerate() {
            write!(f, "{}{straggler}", if i == 0 { "" } else { "; " })?;
        }
        match self.others + self.stragglers.len() - named {
            0 => Ok(()),
            more if named == 0 => write!(f, "{more}, of which nothing is known"),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl Error for ShutdownError {}
