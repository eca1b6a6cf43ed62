//! Uses everything of `std::thread` that fibers have, too. `thread` is what the parent says it is.

use std::collections::HashSet;
use std::error::Error;
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::run;
use super::thread::{self, Builder, JoinHandle, ScopedJoinHandle, Thread, ThreadId};

#[test]
fn spawn_and_join() {
    run(|| {
        let handle: JoinHandle<u32> = thread::spawn(|| 6 * 7);
        let result: thread::Result<u32> = handle.join();
        assert_eq!(result.unwrap(), 42);
        let handles: Vec<_> = (0..10).map(|i| thread::spawn(move || i)).collect();
        let sum: i32 = handles.into_iter().map(|handle| handle.join().unwrap()).sum();
        assert_eq!(sum, 45);
    });
}

#[test]
fn panic_is_the_result() {
    run(|| {
        let handle = thread::spawn(|| -> u8 { panic!("a sentence") });
        let payload = handle.join().unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"a sentence"));
    });
}

#[test]
fn builder() {
    run(|| {
        let builder: Builder = Builder::new().name("worker".to_owned()).stack_size(128 * 1024);
        assert!(format!("{builder:?}").contains("worker"));
        let spawned: io::Result<JoinHandle<Option<String>>> =
            builder.spawn(|| thread::current().name().map(str::to_owned));
        let handle = spawned.unwrap();
        assert_eq!(handle.thread().name(), Some("worker"));
        assert_eq!(handle.join().unwrap().as_deref(), Some("worker"));
        let unnamed = Builder::new().spawn(|| thread::current().name().is_none()).unwrap();
        assert!(unnamed.join().unwrap());
    });
}

#[test]
#[should_panic]
fn name_with_a_nul_byte() {
    run(|| drop(Builder::new().name("a\0b".into()).spawn(|| ())));
}

#[test]
fn identity() {
    run(|| {
        let me: Thread = thread::current();
        let mine: ThreadId = me.id();
        assert_eq!(mine, thread::current().id());
        let handle = thread::spawn(|| thread::current().id());
        let outside = handle.thread().id();
        assert_ne!(outside, mine);
        assert_eq!(handle.join().unwrap(), outside);
        let ids: HashSet<ThreadId> = (0..20)
            .map(|_| thread::spawn(|| thread::current().id()).join().unwrap())
            .collect();
        assert_eq!(ids.len(), 20);
        assert!(!format!("{me:?} {mine:?}").is_empty());
    });
}

#[test]
fn end_without_a_join() {
    run(|| {
        let gate = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&gate);
        let handle = thread::spawn(move || {
            while !theirs.load(Ordering::SeqCst) {
                thread::yield_now();
            }
        });
        assert!(!handle.is_finished());
        gate.store(true, Ordering::SeqCst);
        while !handle.is_finished() {
            thread::yield_now();
        }
        handle.join().unwrap();
    });
}

#[test]
fn sleep() {
    run(|| {
        let start = Instant::now();
        thread::sleep(Duration::from_millis(3));
        assert!(start.elapsed() >= Duration::from_millis(3));
        thread::sleep(Duration::ZERO);
    });
}

#[test]
fn park_and_unpark() {
    run(|| {
        let ready = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&ready);
        let handle = thread::spawn(move || {
            while !theirs.load(Ordering::SeqCst) {
                thread::park();
            }
        });
        thread::yield_now();
        ready.store(true, Ordering::SeqCst);
        handle.thread().unpark();
        handle.join().unwrap();

        thread::current().unpark();
        thread::park();
        let me: Thread = thread::current().clone();
        let other = thread::spawn(move || me.unpark());
        thread::park_timeout(Duration::from_secs(1_000));
        other.join().unwrap();
    });
}

#[test]
fn shared_state() {
    run(|| {
        let (total, count) = (Arc::new(Mutex::new(0)), Arc::new(AtomicUsize::new(0)));
        let handles: Vec<_> = (1..=20)
            .map(|i| {
                let (total, count) = (Arc::clone(&total), Arc::clone(&count));
                thread::spawn(move || {
                    thread::yield_now();
                    *total.lock().unwrap() += i;
                    count.fetch_add(1, Ordering::Relaxed);
                })
            })
            .collect();
        for handle in handles {
            handle.join().unwrap();
        }
        assert_eq!((*total.lock().unwrap(), count.load(Ordering::Relaxed)), (210, 20));
    });
}

#[test]
fn scopes() {
    run(|| {
        let mut numbers = vec![1, 2, 3];
        let (name, mut total) = (String::from("scoped"), 0);
        let length = thread::scope(|scope| {
            let handle: ScopedJoinHandle<'_, usize> = scope.spawn(|| name.len());
            scope.spawn(|| numbers.push(4));
            let named = Builder::new().name(name.clone()).spawn_scoped(scope, || {
                total += 1;
                thread::current().name().map(str::to_owned)
            });
            assert_eq!(named.unwrap().join().unwrap().as_deref(), Some("scoped"));
            handle.join().unwrap()
        });
        assert_eq!((length, total, numbers.len()), (6, 1, 4));
    });
}

#[test]
fn panicking() {
    struct Notes(Arc<AtomicBool>);
    impl Drop for Notes {
        fn drop(&mut self) {
            self.0.store(thread::panicking(), Ordering::SeqCst);
        }
    }
    run(|| {
        assert!(!thread::panicking());
        let noted = Arc::new(AtomicBool::new(false));
        let theirs = Notes(Arc::clone(&noted));
        let handle = thread::spawn(move || {
            let _theirs = theirs;
            panic!("on purpose");
        });
        handle.join().unwrap_err();
        assert!(noted.load(Ordering::SeqCst) && !thread::panicking());
    });
}

#[test]
fn parallelism() {
    let count: io::Result<NonZeroUsize> = thread::available_parallelism();
    assert!(count.unwrap().get() > 0);
}

#[test]
fn signatures() {
    fn start<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Result<T, Box<dyn Error>> {
        Builder::new()
            .spawn(f)?
            .join()
            .map_err(|_| io::Error::other("it panicked").into())
    }
    fn is_send_and_sync<T: Send + Sync + Unpin>() {}
    is_send_and_sync::<JoinHandle<u8>>();
    is_send_and_sync::<Thread>();
    is_send_and_sync::<ThreadId>();
    is_send_and_sync::<ScopedJoinHandle<'_, u8>>();
    run(|| {
        assert_eq!(start(|| 1).unwrap(), 1);
        assert!(start(|| panic!("on purpose")).is_err());
    });
    let waits: [fn(); 2] = [thread::park, thread::yield_now];
    let timed: [fn(Duration); 2] = [thread::sleep, thread::park_timeout];
    let current: fn() -> Thread = thread::current;
    let panicking: fn() -> bool = thread::panicking;
    waits[1]();
    timed[0](Duration::ZERO);
    assert!(current().id() == thread::current().id() && !panicking());
}
