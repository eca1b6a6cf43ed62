//! The threads of a runtime: their names, the hooks, and what happens when one cannot start.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use kapok::runtime::{Builder, Handle};
use kapok::{ReactorKind, spawn};

use crate::support::{
    CountsDrops, all_is_closed_since, child, emulator, open_descriptors, says, sentence, skip, watchdog,
};
use crate::{run_on, spawn_on};

#[test]
fn threads_have_names() {
    let name = || thread::current().name().map(str::to_owned);
    run_on(3, || {
        assert_eq!(spawn_on(0, name).join().unwrap(), name());
        assert_eq!(spawn_on(1, name).join().unwrap().as_deref(), Some("kapok-worker-1"));
        assert_eq!(spawn_on(2, name).join().unwrap().as_deref(), Some("kapok-worker-2"));
    });
    let _watchdog = watchdog();
    let runtime = Builder::new().workers(1).thread_name("mine").build().unwrap();
    assert_eq!(runtime.run(name).as_deref(), Some("mine-0"));
    let error = Builder::new().thread_name("a\0b").run(|| ()).unwrap_err();
    says(&error.to_string(), &["thread_name", "NUL"]);
}

/// What the hooks were called on.
#[derive(Default)]
struct Seen {
    started: Mutex<Vec<ThreadId>>,
    stopped: Mutex<Vec<ThreadId>>,
}

fn with_hooks(seen: &Arc<Seen>) -> Builder {
    let (start, stop) = (Arc::clone(seen), Arc::clone(seen));
    Builder::new()
        .on_thread_start(move || {
            assert!(Handle::try_current().is_none());
            start.started.lock().unwrap().push(thread::current().id());
        })
        .on_thread_stop(move || {
            assert!(Handle::try_current().is_none());
            stop.stopped.lock().unwrap().push(thread::current().id());
        })
}

impl Seen {
    fn each_once(&self, workers: usize) -> HashSet<ThreadId> {
        let started = self.started.lock().unwrap();
        let stopped = self.stopped.lock().unwrap();
        assert_eq!((started.len(), stopped.len()), (workers, workers));
        let set: HashSet<_> = started.iter().copied().collect();
        assert_eq!(set, stopped.iter().copied().collect());
        assert_eq!(set.len(), workers);
        set
    }
}

#[test]
fn hooks_are_called_on_each_thread_once() {
    let _watchdog = watchdog();
    for workers in 1..4 {
        let seen = Arc::new(Seen::default());
        let theirs = Arc::clone(&seen);
        let on: HashSet<_> = with_hooks(&seen)
            .workers(workers)
            .run(move || {
                assert_eq!(theirs.started.lock().unwrap().len(), workers);
                (0..workers)
                    .map(|worker| spawn_on(worker, || thread::current().id()).join().unwrap())
                    .collect()
            })
            .unwrap();
        assert_eq!(seen.each_once(workers), on);
        assert!(on.contains(&thread::current().id()));

        let seen = Arc::new(Seen::default());
        let runtime = with_hooks(&seen).workers(workers).build().unwrap();
        assert_eq!(seen.started.lock().unwrap().len(), workers);
        assert_eq!(seen.stopped.lock().unwrap().len(), 0);
        drop(runtime);
        assert!(!seen.each_once(workers).contains(&thread::current().id()));
    }
}

#[test]
fn hooks_that_panic_are_the_callers_panic() {
    let _watchdog = watchdog();
    for build in [false, true] {
        // The third one fails to start: nothing runs, and the others are stopped.
        let (started, stopped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (starts, stops) = (Arc::clone(&started), Arc::clone(&stopped));
        let ran = AtomicBool::new(false);
        let builder = Builder::new()
            .workers(4)
            .on_thread_start(move || assert!(starts.fetch_add(1, Ordering::SeqCst) != 2, "not this one"))
            .on_thread_stop(move || _ = stops.fetch_add(1, Ordering::SeqCst));
        let outcome = catch_unwind(AssertUnwindSafe(|| match build {
            true => drop(builder.build()),
            false => drop(builder.run(|| ran.store(true, Ordering::SeqCst))),
        }));
        assert_eq!(sentence(outcome.unwrap_err()), "not this one");
        assert!(!ran.load(Ordering::SeqCst));
        assert_eq!(started.load(Ordering::SeqCst), stopped.load(Ordering::SeqCst) + 1);
    }
    // At the end: everything has run.
    let ran = Arc::new(AtomicUsize::new(0));
    let theirs = Arc::clone(&ran);
    let builder = Builder::new().workers(3).on_thread_stop(|| panic!("at the end"));
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        builder.run(|| {
            for _ in 0..10 {
                let ran = Arc::clone(&theirs);
                drop(spawn(move || ran.fetch_add(1, Ordering::SeqCst)));
            }
        })
    }));
    assert_eq!(sentence(outcome.unwrap_err()), "at the end");
    assert_eq!(ran.load(Ordering::SeqCst), 10);
    // The root's own panic comes first.
    let builder = Builder::new().workers(2).on_thread_stop(|| panic!("at the end"));
    let outcome = catch_unwind(AssertUnwindSafe(|| builder.run(|| panic!("of the root"))));
    assert_eq!(sentence(outcome.unwrap_err()), "of the root");
}

/// The root was not run, and what it captured is gone.
#[track_caller]
fn does_not_start(builder: Builder, parts: &[&str]) {
    let (drops, ran) = (AtomicUsize::new(0), AtomicBool::new(false));
    let captured = CountsDrops(&drops);
    let error = builder
        .clone()
        .run(|| {
            let _captured = captured;
            ran.store(true, Ordering::SeqCst);
        })
        .unwrap_err();
    says(&error.to_string(), parts);
    assert!(!ran.load(Ordering::SeqCst));
    assert_eq!(drops.load(Ordering::SeqCst), 1);
    says(&builder.build().unwrap_err().to_string(), parts);
}

#[test]
fn worker_without_a_reactor_is_an_error() {
    child::undisturbed("threads::worker_without_a_reactor_is_an_error", || {
        assert_eq!(Builder::new().workers(4).run(|| 5).unwrap(), 5);
        let before = open_descriptors();
        let used = before.unwrap_or(10) as u64;
        let (_, hard) = rlimit::getrlimit(rlimit::Resource::NOFILE).unwrap();
        // Enough for one reactor or two, and never for forty.
        rlimit::setrlimit(rlimit::Resource::NOFILE, used + 10, hard).unwrap();
        does_not_start(Builder::new().workers(40), &["worker", "of 40", "KAPOK_WORKERS"]);
        rlimit::setrlimit(rlimit::Resource::NOFILE, hard.min(4096), hard).unwrap();
        all_is_closed_since(before);
        for kind in ReactorKind::available() {
            if let Ok(used) = Builder::new()
                .workers(4)
                .reactor(kind)
                .run(|| Handle::current().reactor())
            {
                assert_eq!(used, kind);
            }
        }
    });
}

#[test]
fn worker_without_a_thread_is_an_error() {
    if emulator::lacks("RLIMIT_AS") {
        return;
    }
    child::undisturbed("threads::worker_without_a_thread_is_an_error", || {
        assert_eq!(Builder::new().workers(2).run(|| 5).unwrap(), 5);
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let Some(size) = status.lines().find_map(|line| line.strip_prefix("VmSize:")) else {
            return skip("how much memory is mapped is not known", "KAPOK_REQUIRE_PROC");
        };
        let kilobytes: u64 = size.trim().trim_end_matches(" kB").parse().expect("a number of kB");
        // Address space for one stack of a thread, of 2 MiB, and half of the next one.
        let limit = (kilobytes << 10) + (3 << 20);
        let (soft, hard) = rlimit::getrlimit(rlimit::Resource::AS).unwrap();
        rlimit::setrlimit(rlimit::Resource::AS, limit, hard).unwrap();
        does_not_start(Builder::new().workers(8), &["worker", "of 8", "KAPOK_WORKERS"]);
        rlimit::setrlimit(rlimit::Resource::AS, soft, hard).unwrap();
        assert_eq!(
            Builder::new().workers(4).run(|| spawn(|| 6).join().unwrap()).unwrap(),
            6
        );
    });
}
