//! How fibers are started, who they are, and where they cannot be started.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::thread;

use kapok::fiber::{self, Builder};
use kapok::{spawn, spawn_local, stack};

use crate::support::{OnDrop, child, panics, run, says};

#[test]
fn names_are_seen_from_inside_and_outside() {
    run(|| {
        assert_eq!(fiber::current().name(), Some("main"), "the root");
        let named = Builder::new()
            .name("a name".into())
            .spawn(|| fiber::current().name().map(str::to_owned))
            .unwrap();
        assert_eq!(named.fiber().name(), Some("a name"));
        assert_eq!(named.thread().name(), Some("a name"));
        assert_eq!(named.join().unwrap().as_deref(), Some("a name"));
        let unnamed = spawn(|| fiber::current().name().is_none());
        assert_eq!(unnamed.fiber().name(), None);
        assert!(unnamed.join().unwrap());
        let empty = Builder::new().name(String::new()).spawn(|| ()).unwrap();
        assert_eq!(empty.fiber().name(), Some(""));
        let long = "ß".repeat(1000);
        let fiber = Builder::new().name(long.clone()).spawn_local(|| ()).unwrap();
        assert_eq!(fiber.thread().name(), Some(&*long));
    });
}

#[test]
fn name_with_a_nul_byte_panics() {
    run(|| {
        for name in ["\0", "in the\0middle", "end\0"] {
            let sentence = panics(|| Builder::new().name(name.into()).spawn(|| ()));
            says(&sentence, &["name", "NUL"]);
            panics(|| Builder::new().name(name.into()).spawn_local(|| ()));
        }
    });
}

#[test]
fn ids_are_unique_and_the_same_from_inside_and_outside() {
    let first = fiber::current().id();
    let ids = run(|| {
        let root = fiber::current().id();
        let mut ids = HashSet::from([root]);
        for _ in 0..3 {
            let fibers: Vec<_> = (0..500)
                .map(|_| {
                    spawn(|| {
                        let before = fiber::current().id();
                        fiber::yield_now();
                        assert_eq!(fiber::current().id(), before);
                        before
                    })
                })
                .collect();
            for fiber in fibers {
                let (outside, clone) = (fiber.fiber().id(), fiber.fiber().clone());
                let inside = fiber.join().unwrap();
                assert_eq!(inside, outside);
                assert_eq!(clone.id(), outside, "also when it is over");
                assert!(ids.insert(inside), "{inside:?} came twice");
            }
        }
        assert_eq!(fiber::current().id(), root);
        ids
    });
    assert!(!ids.contains(&first), "a thread is nobody's fiber");
    assert_eq!(fiber::current().id(), first);
    let other = thread::spawn(|| fiber::current().id()).join().unwrap();
    assert!(other != first && !ids.contains(&other));
}

#[test]
fn plain_thread_is_named_as_the_thread_is() {
    let name = thread::Builder::new()
        .name("a plain one".into())
        .spawn(|| (fiber::current().name().map(str::to_owned), fiber::is_fiber()))
        .unwrap()
        .join()
        .unwrap();
    assert_eq!(name, (Some("a plain one".to_owned()), false));
}

/// Destructors of thread-locals run when others of them are gone, perhaps ours.
#[test]
fn plain_thread_has_a_handle_to_its_very_end() {
    use std::cell::RefCell;
    use std::sync::mpsc;
    struct AtTheEnd(mpsc::Sender<Option<String>>);
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            fiber::current().unpark();
            let name = fiber::current().name().map(str::to_owned);
            self.0.send(name).expect("the test waits for it");
        }
    }
    thread_local! {
        static FIRST: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) };
        static LAST: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) };
    }
    let test = "start::plain_thread_has_a_handle_to_its_very_end";
    child::undisturbed(test, || {
        let (sender, names) = mpsc::channel();
        let ends = thread::Builder::new().name("ends".into()).spawn(move || {
            FIRST.with_borrow_mut(|slot| *slot = Some(AtTheEnd(sender.clone())));
            fiber::current().unpark();
            LAST.with_borrow_mut(|slot| *slot = Some(AtTheEnd(sender)));
        });
        ends.unwrap().join().unwrap();
        assert_eq!(names.iter().count(), 2);
    });
}

#[test]
fn code_knows_whether_it_runs_in_a_fiber() {
    assert!(!fiber::is_fiber());
    run(|| {
        assert!(fiber::is_fiber());
        assert!(spawn(fiber::is_fiber).join().unwrap());
        assert!(!kapok::blocking(fiber::is_fiber));
    });
    assert!(!fiber::is_fiber());
}

#[test]
fn stack_sizes_out_of_bounds_are_refused() {
    run(|| {
        for bytes in [
            0,
            1,
            stack::MIN_SIZE - 1,
            stack::MAX_SIZE + 1,
            usize::MAX / 2,
            usize::MAX,
        ] {
            let mut dropped = 0;
            {
                let count = OnDrop(|| dropped += 1);
                // The closure of a fiber that is not started is dropped, and so is what it captured.
                let error = refused(bytes);
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bytes}");
                says(
                    &error.to_string(),
                    &[
                        &bytes.to_string(),
                        &stack::MIN_SIZE.to_string(),
                        &stack::MAX_SIZE.to_string(),
                    ],
                );
                drop(count);
            }
            assert_eq!(dropped, 1);
        }
        for bytes in [
            stack::MIN_SIZE,
            stack::MIN_SIZE + 1,
            stack::DEFAULT_SIZE,
            stack::MAX_SIZE - 1,
            stack::MAX_SIZE,
        ] {
            let fiber = Builder::new().stack_size(bytes).spawn(move || bytes).unwrap();
            assert_eq!(fiber.join().unwrap(), bytes);
        }
    });
}

fn refused(bytes: usize) -> std::io::Error {
    let local = Builder::new().stack_size(bytes).spawn_local(|| ());
    assert!(local.is_err());
    Builder::new().stack_size(bytes).spawn(|| ()).unwrap_err()
}

#[test]
fn refused_fiber_drops_its_closure() {
    use crate::support::CountsDrops;
    use std::sync::atomic::{AtomicUsize, Ordering};
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    run(|| {
        let captured = CountsDrops(&DROPPED);
        Builder::new().stack_size(0).spawn(move || drop(captured)).unwrap_err();
        assert_eq!(DROPPED.load(Ordering::SeqCst), 1);
    });
    let captured = CountsDrops(&DROPPED);
    Builder::new().spawn(move || drop(captured)).unwrap_err();
    assert_eq!(DROPPED.load(Ordering::SeqCst), 2);
}

#[test]
fn outside_of_a_runtime_nothing_is_spawned() {
    let spawned = panics(|| spawn(|| ()));
    says(&spawned, &["kapok::spawn:", "outside of a runtime", "kapok::run"]);
    let spawned = panics(|| spawn_local(|| ()));
    says(&spawned, &["kapok::spawn_local:", "outside of a runtime", "kapok::run"]);
    let error = Builder::new().spawn(|| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    says(&error.to_string(), &["outside of a runtime", "kapok::run"]);
    let error = Builder::new().name("n".into()).spawn_local(|| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn thread_that_a_fiber_started_is_outside() {
    run(|| {
        let thread = thread::spawn(|| Builder::new().spawn(|| ()).unwrap_err().kind());
        assert_eq!(kapok::blocking(|| thread.join().unwrap()), ErrorKind::Unsupported);
        let kind = kapok::blocking(|| Builder::new().spawn(|| ()).unwrap_err().kind());
        assert_eq!(kind, ErrorKind::Unsupported);
    });
}

#[test]
fn after_the_runtime_nothing_is_spawned() {
    run(|| spawn(|| ()).join().unwrap());
    let error = Builder::new().spawn(|| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn debug_output_names_what_it_is() {
    run(|| {
        let handle = Builder::new().name("shown".into()).spawn(|| ()).unwrap();
        let id = format!("{:?}", handle.fiber().id());
        says(&format!("{handle:?}"), &["JoinHandle", "shown", &id]);
        says(&format!("{:?}", handle.fiber()), &["Fiber", "shown", &id]);
        says(
            &format!("{:?}", Builder::new().stack_size(77)),
            &["Builder", "stack_size", "77"],
        );
    });
}
