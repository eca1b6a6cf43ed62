//! What has been counted and measured.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use kapok::sync::{Mutex, MutexGuard, PoisonError};

/// Connections that share a tally; more of them would wait for each other, fewer would take memory.
const SHARES: usize = 16;
/// The longest latency that is told from longer ones.
const LONGEST: Duration = Duration::from_secs(3600);

/// One for some of the connections each.
pub(crate) struct Tallies(Vec<Mutex<Tally>>);

pub(crate) struct Tally {
    /// In nanoseconds, with three digits.
    pub(crate) latencies: Histogram<u64>,
    pub(crate) by_status: BTreeMap<u16, u64>,
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) received: u64,
    pub(crate) connected: u64,
}

impl Tallies {
    pub(crate) fn new() -> Tallies {
        Tallies((0..SHARES).map(|_| Mutex::new(Tally::new())).collect())
    }

    /// The one of this connection.
    pub(crate) fn of(&self, connection: u32) -> &Mutex<Tally> {
        &self.0[connection as usize % SHARES]
    }

    pub(crate) fn sum(&self) -> Tally {
        let mut sum = Tally::new();
        self.0.iter().for_each(|tally| sum.add(&lock(tally)));
        sum
    }

    /// How many answers there are so far.
    pub(crate) fn answers(&self) -> u64 {
        self.0.iter().map(|tally| lock(tally).answers()).sum()
    }
}

pub(crate) fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tally {
    fn new() -> Tally {
        let longest = u64::try_from(LONGEST.as_nanos()).expect("an hour");
        Tally {
            latencies: Histogram::new_with_max(longest, 3).expect("valid bounds"),
            by_status: BTreeMap::new(),
            errors: BTreeMap::new(),
            received: 0,
            connected: 0,
        }
    }

    pub(crate) fn answer(&mut self, status: u16, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(nanoseconds);
        *self.by_status.entry(status).or_default() += 1;
    }

    pub(crate) fn error(&mut self, kind: &str, count: u64) {
        if count > 0 {
            *self.errors.entry(kind.to_owned()).or_default() += count;
        }
    }

    pub(crate) fn answers(&self) -> u64 {
        self.latencies.len()
    }

    fn add(&mut self, other: &Tally) {
        self.latencies.add(&other.latencies).expect("of the same bounds");
        for (status, count) in &other.by_status {
            *self.by_status.entry(*status).or_default() += count;
        }
        for (kind, count) in &other.errors {
            self.error(kind, *count);
        }
        self.received += other.received;
        self.connected += other.connected;
    }
}
