//! Looks that find nothing: when they let others run, and when they do not.

use std::cell::Cell;
use std::rc::Rc;

use kapok::sync::{Mutex, RwLock};
use kapok::{fiber, spawn_local};

use crate::support::run;

/// Calls `f` while another fiber of this thread waits for its turn; true if it has had it.
fn lets_others_run(f: impl FnOnce()) -> bool {
    let has_run = Rc::new(Cell::new(false));
    fiber::yield_now(); // what has been counted counts no more
    let other = spawn_local({
        let has_run = Rc::clone(&has_run);
        move || has_run.set(true)
    });
    f();
    let had_its_turn = has_run.get();
    other.join().unwrap();
    had_its_turn
}

#[test]
fn to_show_a_lock_lets_nobody_run() {
    run(|| {
        let (mutex, lock) = (Mutex::new(1), RwLock::new(2));
        let is_shown = |what: &dyn std::fmt::Debug, as_: &str| {
            let show = || (0..200).for_each(|_| assert!(format!("{what:?}").contains(as_)));
            assert!(!lets_others_run(show), "{what:?}");
        };
        is_shown(&mutex, "data: 1");
        is_shown(&lock, "data: 2");
        let _held = (mutex.lock().unwrap(), lock.write().unwrap());
        is_shown(&mutex, "<locked>");
        is_shown(&lock, "<locked>");
    });
}
