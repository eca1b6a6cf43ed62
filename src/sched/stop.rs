//! How a runtime is stopped before its time, and how those are found that do not stop.
//!
//! ```text
//!   who stops it                        each worker
//!   ------------                        -----------
//!   stopping := true                    cancels what begins from now on
//!   a call into each inbox  --------->  puts its fibers on the roll, and cancels them
//!   waits
//!   reads the roll: who on it
//!   has not ended?
//!   A worker that is not on it has not come to its inbox: what does it run?
//! ```
//!
//! What such a worker runs can be asked neither of the worker nor of the fiber, which may be in an endless loop. So each
//! worker tells at each switch who runs, in two words that any thread may read. They need not fit together: they are of
//! interest only where they have not changed for long.

use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cancel::cancel;
use super::control::FiberRef;
use super::crew::Crew;
use super::task::{TaskRef, Who};
use super::worker::Worker;

/// Who runs on a worker, for other threads.
#[derive(Debug, Default)]
pub(super) struct Running {
    id: AtomicU64,
    /// Null, or a location's that is there for good.
    spawned_at: AtomicPtr<Location<'static>>,
}

impl Running {
    #[inline]
    pub(super) fn set(&self, who: Who) {
        let place = who.spawned_at.map_or(ptr::null(), ptr::from_ref);
        self.id.store(who.id, Ordering::Relaxed);
        self.spawned_at.store(place.cast_mut(), Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn set_none(&self) {
        self.id.store(0, Ordering::Relaxed);
    }

    fn get(&self) -> Option<Who> {
        let id = self.id.load(Ordering::Relaxed);
        let place = self.spawned_at.load(Ordering::Relaxed);
        // SAFETY: null, or from a reference that is valid for good.
        let spawned_at = unsafe { place.as_ref() };
        (id != 0).then_some(Who { id, spawned_at })
    }
}

/// What a worker's fibers do, told when they were cancelled; `None` as long as it has not come to that.
type Answer = Option<Vec<TaskRef>>;

/// Who was there when a runtime was told to stop.
pub(crate) struct Roll {
    crew: Arc<Crew>,
    answers: Arc<Mutex<Vec<Answer>>>,
}

/// Who is left on one worker.
pub(crate) struct Left {
    /// Those on the roll who have not ended.
    pub(crate) fibers: Vec<TaskRef>,
    /// Who runs right now, as far as can be told.
    pub(crate) running: Option<Who>,
}

impl Crew {
    /// Cancels all fibers, also those that are yet to begin.
    pub(crate) fn stop(self: &Arc<Crew>) -> Roll {
        self.stopping.store(true, Ordering::SeqCst);
        let answers = Arc::new(Mutex::new(vec![None; self.len()]));
        for index in 0..self.len() {
            let answers = Arc::clone(&answers);
            self.member(index).inbox.call(Box::new(move |worker| {
                let fibers = worker.live_tasks();
                fibers.iter().cloned().for_each(cancel);
                lock(&answers)[index] = Some(fibers);
            }));
        }
        let crew = Arc::clone(self);
        Roll { crew, answers }
    }

    /// Whether what begins is to be cancelled.
    #[inline]
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

impl Roll {
    /// Who is left, by worker.
    pub(crate) fn left(&self) -> Vec<Left> {
        let answers = lock(&self.answers);
        let left = answers.iter().enumerate().map(|(index, answer)| {
            let fibers = answer.iter().flatten().filter(|fiber| !fiber.has_ended());
            Left {
                fibers: fibers.cloned().collect(),
                running: self.crew.member(index).running.get(),
            }
        });
        left.collect()
    }
}

fn lock(answers: &Mutex<Vec<Answer>>) -> MutexGuard<'_, Vec<Answer>> {
    // Nothing panics under the lock.
    answers.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Worker {
    /// What the fibers of this worker do that have not ended, those too that have not started.
    fn live_tasks(&self) -> Vec<TaskRef> {
        let fibers = self.fibers.borrow();
        fibers.iter().filter_map(FiberRef::task).collect()
    }
}
