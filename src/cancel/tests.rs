//! What needs the worker: cancelling all fibers of one.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{Cancelled, is_cancelled, shield};
use crate::fiber::{self, live_fibers};
use crate::runtime::Builder;
use crate::sched::Worker;
use crate::sync::Baton;

fn cancel_everything() {
    Worker::with(|worker| worker.expect("in a fiber").cancel_everything());
}

fn on_one_worker<T>(f: impl FnOnce() -> T) -> std::io::Result<T> {
    Builder::new().workers(1).run(f)
}

fn live_names() -> Vec<String> {
    let live = Worker::with(|worker| live_fibers(worker.expect("in a fiber")));
    let mut names: Vec<_> = live
        .iter()
        .map(|fiber| fiber.name().unwrap_or("-").to_owned())
        .collect();
    names.sort();
    names
}

fn named(name: &str) -> fiber::Builder {
    fiber::Builder::new().name(name.to_owned())
}

#[test]
fn everything_on_a_worker_is_cancelled_and_what_stays_is_known() {
    let ended = on_one_worker(|| {
        let begun = Arc::new(AtomicUsize::new(0));
        let go = Arc::new(Baton::new());
        let waits = named("waits").spawn(fiber::park).unwrap();
        let sleeps = named("sleeps")
            .spawn(|| fiber::sleep(Duration::from_secs(3600)))
            .unwrap();
        let in_scope = named("scope")
            .spawn(|| fiber::scope(|s| s.spawn(fiber::park).join().is_ok()))
            .unwrap();
        let theirs = Arc::clone(&go);
        let refuses = named("refuses").spawn(move || shield(|| theirs.wait())).unwrap();
        for _ in 0..3 {
            fiber::yield_now();
        }
        let count = Arc::clone(&begun);
        let unstarted = named("unstarted")
            .spawn(move || count.fetch_add(1, Ordering::Relaxed))
            .unwrap();
        assert_eq!(
            live_names(),
            ["-", "main", "refuses", "scope", "sleeps", "unstarted", "waits"]
        );
        cancel_everything();
        let late = named("late").spawn(|| 1).unwrap();
        assert!(is_cancelled());
        shield(|| {
            assert!(waits.join().unwrap_err().is::<Cancelled>());
            assert!(sleeps.join().unwrap_err().is::<Cancelled>());
            assert!(in_scope.join().unwrap_err().is::<Cancelled>());
            assert!(unstarted.join().unwrap_err().is::<Cancelled>());
            assert!(late.join().unwrap_err().is::<Cancelled>());
            assert_eq!(begun.load(Ordering::Relaxed), 0);
            assert_eq!(live_names(), ["main", "refuses"]);
            let live = Worker::with(|worker| live_fibers(worker.expect("in a fiber")));
            let site = live
                .iter()
                .find(|fiber| fiber.name() == Some("refuses"))
                .unwrap()
                .spawned_at();
            assert_eq!(site.unwrap().file(), file!());
            go.post();
            refuses.join().unwrap();
        });
        7
    });
    // The root was not at a suspension point any more.
    assert_eq!(ended.unwrap(), 7);
}

#[test]
fn a_cancelled_root_ends_the_run_with_that() {
    let dropped = Rc::new(Cell::new(false));
    struct Sets(Rc<Cell<bool>>);
    impl Drop for Sets {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let guard = Sets(Rc::clone(&dropped));
    let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        on_one_worker(move || {
            let _guard = guard;
            cancel_everything();
            fiber::park();
        })
    }))
    .unwrap_err();
    assert!(payload.is::<Cancelled>());
    assert!(dropped.get());
}

#[test]
fn what_is_told_too_late_finds_nobody() {
    let (fiber, token) = on_one_worker(|| {
        let token = super::CancelToken::new();
        let theirs = token.clone();
        let fiber = crate::spawn(move || theirs.run(|| ()));
        fiber::yield_now();
        (fiber, token)
    })
    .unwrap();
    // Its worker is gone, too.
    fiber.cancel();
    token.cancel();
    fiber.join().unwrap().unwrap();
}
