//! Whose turn it is: for what one has to have for itself while it waits, such as a file's position.
//!
//! Two that read from one position at the same time would get the same bytes, and two that write would overwrite each other.
//! The kernel prevents that for system calls, and where one waits for the disk, the next blocks its thread. For operations in
//! a ring it does not. So whoever goes by the position of a regular file has to have its turn first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::baton::Baton;

/// One at a time, in order of arrival; fibers wait suspended, threads blocked.
#[derive(Debug, Default)]
pub(crate) struct Turnstile(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    taken: bool,
    waiting: VecDeque<Arc<Baton>>,
}

/// While this lives, it is the turn of whoever holds it.
#[derive(Debug)]
#[must_use]
pub(crate) struct Turn<'a>(&'a Turnstile);

impl Turnstile {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wait(&self) -> Turn<'_> {
        let mut state = self.lock();
        if state.taken {
            let mine = Arc::new(Baton::new());
            state.waiting.push_back(Arc::clone(&mine));
            drop(state);
            let mut queued = Queued {
                turnstile: self,
                baton: &mine,
                its_turn: false,
            };
            mine.wait(); // and it is still taken: by us
            queued.its_turn = true;
        } else {
            state.taken = true;
        }
        Turn(self)
    }
}

/// One in the line. When it is unwound there, or must not wait, it leaves the line.
struct Queued<'a> {
    turnstile: &'a Turnstile,
    baton: &'a Arc<Baton>,
    its_turn: bool,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        if self.its_turn {
            return;
        }
        let mut state = self.turnstile.lock();
        let place = state.waiting.iter().position(|baton| Arc::ptr_eq(baton, self.baton));
        if let Some(place) = place {
            state.waiting.remove(place);
        } else {
            // It was called meanwhile: the turn goes on to the next.
            drop(state);
            drop(Turn(self.turnstile));
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        match state.waiting.pop_front() {
            Some(next) => {
                drop(state);
                next.post();
            }
            None => state.taken = false,
        }
    }
}
