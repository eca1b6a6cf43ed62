//! `no_suspend` refuses what would have to wait, and nothing has changed then; what need not wait works.

use std::sync::Arc;
use std::{panic, thread};

use kapok::sync::{Barrier, Condvar, Mutex, Once, mpmc};
use kapok::{fiber, no_suspend, spawn};

use crate::support::{panics, run_on_one, says};

fn refused<T>(f: impl FnOnce() -> T) {
    says(&panics(|| no_suspend(f)), &["kapok::no_suspend"]);
}

#[test]
fn locks() {
    run_on_one(|| {
        let mutex = Mutex::new(1);
        no_suspend(|| *mutex.lock().unwrap() += 1);
        let guard = mutex.lock().unwrap();
        refused(|| drop(mutex.lock()));
        drop(guard);
        assert_eq!(*mutex.try_lock().unwrap(), 2);

        let (once, shared) = (Arc::new(Once::new()), Arc::new(Barrier::new(2)));
        no_suspend(|| Once::new().call_once(|| ()));
        let theirs = Arc::clone(&once);
        let caller = spawn(move || theirs.call_once(fiber::yield_now));
        fiber::yield_now();
        refused(|| once.call_once(|| ()));
        caller.join().unwrap();

        refused(|| shared.wait());
        let theirs = Arc::clone(&shared);
        let other = spawn(move || theirs.wait().is_leader());
        fiber::yield_now();
        assert!(no_suspend(|| shared.wait()).is_leader(), "one was there, not two");
        assert!(!other.join().unwrap());
    });
}

#[test]
fn condition_variables() {
    run_on_one(|| {
        let (mutex, condvar) = (Mutex::new(1), Condvar::new());
        refused(|| drop(condvar.wait(mutex.lock().unwrap())));
        condvar.notify_one();
        assert!(mutex.try_lock().is_ok(), "free, and not poisoned");
    });
}

/// The hook of a panic is a program's code: no lock that it may want is held then.
#[test]
fn the_hook_of_the_panic_may_use_what_was_refused() {
    run_on_one(|| {
        let (sender, receiver) = mpmc::channel();
        let (here, theirs) = (thread::current().id(), sender.clone());
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if thread::current().id() == here {
                theirs.send(info.to_string()).expect("there is a receiver");
            } else {
                others(info);
            }
        }));
        let refused = panics(|| no_suspend(|| receiver.recv()));
        drop(panic::take_hook());
        says(&refused, &["kapok::no_suspend"]);
        assert!(receiver.try_recv().unwrap().contains("kapok::no_suspend"));
        drop(sender);
    });
}
