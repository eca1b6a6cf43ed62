//! A rate of requests: whose turn it is, and when.

/// The connections take turns, at equal distances in time. One that still waits for its last answer when its turn comes
/// misses it: the rate that was held is in the figures.
pub(super) struct Pace {
    connections: usize,
    next: usize,
    /// Nanoseconds between two requests.
    distance: f64,
    /// When the next one is due.
    due: f64,
}

impl Pace {
    pub(super) fn new(connections: usize, rate: u32, now: u64) -> Pace {
        Pace {
            connections,
            next: 0,
            distance: 1e9 / f64::from(rate),
            due: exact(now),
        }
    }

    /// The connection whose turn it is, once for each turn.
    pub(super) fn next_due(&mut self, now: u64) -> Option<usize> {
        if exact(now) < self.due {
            return None;
        }
        self.due += self.distance;
        let number = self.next;
        self.next = (number + 1) % self.connections;
        Some(number)
    }
}

#[expect(clippy::cast_precision_loss, reason = "2^53 nanoseconds are a hundred days")]
fn exact(nanoseconds: u64) -> f64 {
    nanoseconds as f64
}
