//! Intervals: when they tick, and what follows when nobody was there.

#[path = "support/mod.rs"]
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use kapok::time::{self, Duration, Instant, MissedTickBehavior, interval, interval_at};

use support::{panics, run, says, watchdog};

const PERIOD: Duration = Duration::from_millis(10);

/// Ticks are due at multiples of the period from the start, and none is early.
fn ticks_regularly() {
    let start = Instant::now() + PERIOD;
    let mut interval = interval_at(start, PERIOD);
    interval.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for i in 0..5 {
        let due = interval.tick();
        assert!(Instant::now() >= due);
        assert_eq!(due, start + PERIOD * i);
    }
    assert_eq!(interval.period(), PERIOD);
}

#[test]
fn in_fibers() {
    run(ticks_regularly);
}

#[test]
fn on_plain_threads() {
    let _watchdog = watchdog();
    ticks_regularly();
}

#[test]
fn missed_ticks() {
    run(|| {
        // Very late: the machine's own lateness does not change which ticks were missed.
        let late = Instant::now().checked_sub(PERIOD * 100).unwrap();
        let hour = Duration::from_secs(3600);
        let mut burst = interval_at(late, PERIOD);
        assert_eq!(burst.missed_tick_behavior(), MissedTickBehavior::Burst);
        let ticks: Vec<_> = burst.by_ref().take(100).collect();
        assert_eq!(ticks[99], late + PERIOD * 99);

        let mut delay = interval_at(late, hour);
        delay.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let before = Instant::now();
        assert_eq!(delay.tick(), late);
        time::timeout(PERIOD, || delay.tick()).unwrap_err();
        // A tick that was cancelled is still due.
        delay.reset_at(before);
        assert_eq!(delay.tick(), before);

        let mut skip = interval_at(late, Duration::from_millis(7));
        skip.set_missed_tick_behavior(MissedTickBehavior::Skip);
        skip.tick();
        let due = skip.tick();
        assert_eq!((due - late).as_nanos() % 7_000_000, 0);
        assert!(due > before);
    });
}

#[test]
fn resetting() {
    run(|| {
        let mut interval = interval(Duration::from_secs(3600));
        interval.tick();
        interval.reset_after(PERIOD);
        let start = Instant::now();
        interval.tick();
        assert!(start.elapsed() < Duration::from_secs(3600));
        interval.reset_immediately();
        interval.tick();
        interval.reset();
        time::timeout(PERIOD, || interval.tick()).unwrap_err();
        assert_eq!(
            time::deadline(Instant::now() + PERIOD, || interval.tick()),
            Err(time::Elapsed)
        );
    });
}

#[test]
fn a_period_of_zero_is_refused_and_an_endless_one_is_not() {
    run(|| {
        says(&panics(|| interval(Duration::ZERO)), &["period", "non-zero"]);
        let mut endless = interval(Duration::MAX);
        endless.tick();
        assert!(
            catch_unwind(AssertUnwindSafe(|| time::timeout(PERIOD, || endless.tick())))
                .unwrap()
                .is_err()
        );
    });
}
