//! Ends the process when a script hangs inside of a reactor, where no deadline of its runner reaches.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longer than a runner would wait for anything, on a machine that is not emulated.
const LIMIT: Duration = Duration::from_secs(60);

/// What a thread is at.
#[derive(Clone, Debug, Default)]
pub(super) struct Watched(Arc<Mutex<Option<Run>>>);

#[derive(Clone, Copy, Debug)]
struct Run {
    since: Instant,
    seed: u64,
    reactor: &'static str,
}

impl Watched {
    pub(super) fn begins(&self, seed: u64, reactor: &'static str) {
        let since = Instant::now();
        self.set(Some(Run { since, seed, reactor }));
    }

    pub(super) fn ends(&self) {
        self.set(None);
    }

    fn set(&self, run: Option<Run>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = run;
    }

    fn late(&self, limit: Duration) -> Option<Run> {
        let run = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        run.filter(|run| run.since.elapsed() > limit)
    }
}

/// Watches until `done` is hung up.
pub(super) fn watch(all: &[Watched], done: &Receiver<()>) {
    let factor = std::env::var("KAPOK_DEADLINE_FACTOR")
        .ok()
        .filter(|factor| !factor.is_empty());
    let factor = factor.map_or(1, |factor| {
        factor.parse().expect("KAPOK_DEADLINE_FACTOR is a whole number")
    });
    let limit = LIMIT * factor;
    while done.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
        if let Some(Run { seed, reactor, .. }) = all.iter().find_map(|watched| watched.late(limit)) {
            super::say(&format!(
                "script {seed} on {reactor} hangs; to repeat it: KAPOK_SEED={seed} KAPOK_SCRIPTS=1 \
                 KAPOK_REACTOR={reactor} cargo test --lib differential"
            ));
            std::process::abort();
        }
    }
}
