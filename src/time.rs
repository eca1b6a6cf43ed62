//! Time: sleeping, time-outs, and what is to happen again and again. [`Instant`] and [`Duration`] are std's own.
//!
//! ```
//! use kapok::time::{self, Duration, Instant};
//!
//! kapok::run(|| {
//!     let start = Instant::now();
//!     let mut interval = time::interval(Duration::from_millis(2));
//!     (0..3).for_each(|_| {
//!         interval.tick(); // the first one comes at once
//!     });
//!     assert!(start.elapsed() >= Duration::from_millis(4));
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```

pub use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use crate::cancel::{Elapsed, deadline, timeout};
pub use crate::fiber::{sleep, sleep_until};

/// Lateness that does not count as a missed tick: nobody is woken on the dot.
const TOLERANCE: Duration = Duration::from_millis(5);

/// Further away than this is for ever, where the clock cannot tell.
const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);

/// What follows when a tick was not waited for in time. As in tokio.
///
/// A period of 100 ms, and who waits is busy from 100 to 350:
///
/// | policy  | ticks at                            |
/// |---------|-------------------------------------|
/// | `Burst` | 0, 100, 350, 350, 350, 400, 500 ... |
/// | `Delay` | 0, 100, 350, 450, 550 ...           |
/// | `Skip`  | 0, 100, 350, 400, 500 ...           |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedTickBehavior {
    /// Ticks at once, as often as it was missed, until all have been made up for.
    #[default]
    Burst,
    /// Counts a new period from the late tick.
    Delay,
    /// Leaves out what was missed, and keeps to multiples of the period.
    Skip,
}

impl MissedTickBehavior {
    fn next(self, due: Instant, now: Instant, period: Duration) -> Instant {
        match self {
            MissedTickBehavior::Burst => after(due, period),
            MissedTickBehavior::Delay => after(now, period),
            MissedTickBehavior::Skip => {
                let late = now.saturating_duration_since(due).as_nanos() % period.as_nanos();
                let late = Duration::from_nanos(u64::try_from(late).unwrap_or(u64::MAX));
                after(now, period.saturating_sub(late))
            }
        }
    }
}

fn after(at: Instant, duration: Duration) -> Instant {
    at.checked_add(duration).unwrap_or_else(|| at + FAR)
}

/// Ticks at regular times; made by [`interval`] and [`interval_at`]. It does nothing of its own accord: who calls
/// [`tick`](Interval::tick) waits for the next one. As an iterator it gives ticks without end.
#[derive(Clone, Debug)]
pub struct Interval {
    due: Instant,
    period: Duration,
    missed: MissedTickBehavior,
}

/// Ticks now, and then once in each `period`.
///
/// # Panics
/// For a period of zero.
#[must_use]
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(Instant::now(), period)
}

/// Ticks at `start`, and then once in each `period`.
///
/// # Panics
/// For a period of zero.
#[must_use]
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(!period.is_zero(), "`period` must be non-zero.");
    Interval {
        due: start,
        period,
        missed: MissedTickBehavior::default(),
    }
}

impl Interval {
    /// Waits for the next tick, on a fiber or a plain thread; gives the time for which it was due. One that is
    /// [cancelled](crate::cancel) meanwhile has not taken the tick.
    pub fn tick(&mut self) -> Instant {
        let due = self.due;
        sleep_until(due);
        let now = Instant::now();
        self.due = if now.saturating_duration_since(due) > TOLERANCE {
            self.missed.next(due, now, self.period)
        } else {
            after(due, self.period)
        };
        due
    }

    /// The next tick is one period from now.
    pub fn reset(&mut self) {
        self.reset_after(self.period);
    }

    /// The next tick is now.
    pub fn reset_immediately(&mut self) {
        self.reset_at(Instant::now());
    }

    /// The next tick is `duration` from now, and then once in each period.
    pub fn reset_after(&mut self, duration: Duration) {
        self.due = after(Instant::now(), duration);
    }

    /// The next tick is at `deadline`, and then once in each period.
    pub fn reset_at(&mut self, deadline: Instant) {
        self.due = deadline;
    }

    /// What follows when a tick is missed: as is, `Burst`.
    #[must_use]
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.missed
    }

    /// Says what follows when a tick is missed.
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.missed = behavior;
    }

    /// The time between two ticks.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }
}

impl Iterator for Interval {
    type Item = Instant;

    fn next(&mut self) -> Option<Instant> {
        Some(self.tick())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_ticks_are_made_up_for_shifted_or_left_out() {
        let ms = Duration::from_millis;
        let due = Instant::now();
        let now = due + ms(250);
        let next = |policy: MissedTickBehavior| policy.next(due, now, ms(100)) - due;
        assert_eq!(next(MissedTickBehavior::Burst), ms(100));
        assert_eq!(next(MissedTickBehavior::Delay), ms(350));
        assert_eq!(next(MissedTickBehavior::Skip), ms(300));
        assert!(MissedTickBehavior::Delay.next(due, now, Duration::MAX) > due + FAR / 2);
    }
}
