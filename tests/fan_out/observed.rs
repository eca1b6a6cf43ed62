//! `Observed`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use kapok::fan_out::Observed;
use kapok::{fiber, scope};

use crate::on_all_numbers_of_workers;
use crate::support::{panics, watchdog};

/// Counts its drop, and may go to other threads.
struct Counts(Arc<AtomicUsize>);

impl Drop for Counts {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn noting(log: &Arc<Mutex<Vec<String>>>, name: &'static str) -> impl Fn(&u32) + Send + Sync + use<> {
    let log = Arc::clone(log);
    move |value| log.lock().unwrap().push(format!("{name}{value}"))
}

#[test]
fn all_are_told_of_all_values_in_order_until_they_are_dropped() {
    let log = Arc::default();
    let value = Observed::new(0);
    let first = value.observe(noting(&log, "a"));
    let second = value.observe(noting(&log, "b"));
    value.set(1);
    drop(first);
    value.clone().update(|value| value + 1);
    drop(second);
    value.set(3);
    assert_eq!(*log.lock().unwrap(), ["a1", "b1", "b2"]);
    assert_eq!(*value.get(), 3);
}

#[test]
fn an_observer_may_set_the_value_and_the_order_stays() {
    let log = Arc::default();
    let value = Observed::new(0);
    let theirs = value.clone();
    let _counts_up = value.observe(move |value| {
        if *value < 3 {
            theirs.set(value + 1);
        }
    });
    let _notes = value.observe(noting(&log, ""));
    value.set(1);
    assert_eq!(*log.lock().unwrap(), ["1", "2", "3"]);
}

#[test]
fn a_panic_is_the_setters_after_the_others_were_told() {
    let log = Arc::default();
    let value = Observed::new(0);
    let _panics = value.observe(|value| assert_ne!(*value, 1, "not one"));
    let _notes = value.observe(noting(&log, ""));
    assert!(panics(|| value.set(1)).contains("not one"));
    value.set(2);
    assert_eq!(*log.lock().unwrap(), ["1", "2"]);
}

#[test]
fn updates_of_many_are_all_told_and_none_is_lost() {
    on_all_numbers_of_workers(|| {
        let value = Observed::new(0);
        let log: Arc<Mutex<Vec<u32>>> = Arc::default();
        let theirs = Arc::clone(&log);
        let observer = value.observe(move |value| {
            fiber::yield_now(); // it may wait
            theirs.lock().unwrap().push(*value);
        });
        scope(|s| {
            for _ in 0..10 {
                s.spawn(|| (0..20).for_each(|_| value.update(|value| value + 1)));
            }
        });
        assert_eq!(*value.get(), 200);
        assert!(log.lock().unwrap().iter().copied().eq(1..=200));
        drop(observer);
    });
}

#[test]
fn observers_may_outlive_the_value_and_nothing_leaks() {
    let _watchdog = watchdog();
    let dropped = Arc::new(AtomicUsize::new(0));
    let value = Observed::new(Counts(Arc::clone(&dropped)));
    let held = Counts(Arc::clone(&dropped));
    let observer = value.observe(move |_| _ = &held);
    value.set(Counts(Arc::clone(&dropped)));
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    drop(value);
    assert_eq!(dropped.load(Ordering::SeqCst), 3);
    drop(observer);
}

#[test]
fn an_observer_whose_destructor_panics_keeps_nobody_from_the_next_value() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                std::panic::resume_unwind(Box::new("on purpose"));
            }
        }
    }
    let _watchdog = watchdog();
    let value = Arc::new(Observed::new(0));
    let own = Arc::new(Mutex::new(None));
    let (theirs, panics_when_dropped) = (Arc::clone(&own), Panics);
    let leaves = value.observe(move |_| {
        let _ = &panics_when_dropped;
        drop(theirs.lock().unwrap().take());
    });
    *own.lock().unwrap() = Some(leaves);
    let log = Arc::new(Mutex::new(Vec::new()));
    let _stays = value.observe(noting(&log, "stays"));
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| value.set(1))).unwrap_err();
    value.set(2);
    assert_eq!(*log.lock().unwrap(), ["stays1", "stays2"]);
}
