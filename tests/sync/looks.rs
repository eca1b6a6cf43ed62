//! Looks that find nothing: when they let others run, and when they do not.

use std::cell::Cell;
use std::rc::Rc;

use kapok::sync::mpsc::{channel, sync_channel};
use kapok::sync::oneshot::TryRecvError;
use kapok::sync::{Event, Mutex, Once, OnceLock, RwLock, Semaphore, broadcast, mpmc, oneshot};
use kapok::{fiber, no_suspend, spawn_local};

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

/// `n` looks, which find nothing.
fn in_vain(n: usize, finds: &mut dyn FnMut() -> bool) {
    assert!((0..n).all(|_| !finds()));
}

#[test]
fn the_sixty_fourth_look_in_vain_lets_others_run() {
    run(|| {
        let mutex = Mutex::new(());
        let lock = RwLock::new(());
        let _held = (mutex.lock().unwrap(), lock.write().unwrap());
        let (once, value) = (Once::new(), OnceLock::<()>::new());
        let (event, semaphore) = (Event::new(), Semaphore::new(1));
        let (full, one) = sync_channel(1);
        full.send(()).unwrap();
        let (_sender, empty) = channel::<()>();
        let (_shared, both) = mpmc::channel::<()>();
        let (_all, mut each) = broadcast::channel::<()>(1);
        let (promise, answer) = oneshot::channel::<()>();
        let mut answer = Some(answer);
        let parked = spawn_local(fiber::park);

        let mut looks: [(&str, &mut dyn FnMut() -> bool); 15] = [
            ("try_lock", &mut || mutex.try_lock().is_ok()),
            ("try_read", &mut || lock.try_read().is_ok()),
            ("try_write", &mut || lock.try_write().is_ok()),
            ("is_completed", &mut || once.is_completed()),
            ("get", &mut || value.get().is_some()),
            ("is_set", &mut || event.is_set()),
            ("try_acquire", &mut || semaphore.try_acquire(2).is_ok()),
            ("try_send", &mut || full.try_send(()).is_ok()),
            ("try_recv of mpsc", &mut || empty.try_recv().is_ok()),
            ("try_iter", &mut || empty.try_iter().next().is_some()),
            ("try_recv of mpmc", &mut || both.try_recv().is_ok()),
            ("try_recv of broadcast", &mut || each.try_recv().is_ok()),
            ("try_recv of oneshot", &mut || {
                let Err(TryRecvError::Empty(receiver)) = answer.take().unwrap().try_recv() else {
                    return true;
                };
                answer = Some(receiver);
                false
            }),
            ("is_finished", &mut || parked.is_finished()),
            ("select", &mut || {
                kapok::select! {
                    recv(empty) -> _ => true,
                    wait(event) => true,
                    acquire(semaphore, 2) -> _ => true,
                    default => false,
                }
            }),
        ];
        for (what, finds) in &mut looks {
            assert!(!lets_others_run(|| in_vain(63, finds)), "{what}: too early");
            assert!(lets_others_run(|| in_vain(64, finds)), "{what}: not at all");
            let in_section = || no_suspend(|| in_vain(200, finds));
            assert!(!lets_others_run(in_section), "{what}: within no_suspend");
        }
        drop((one, promise));
        parked.fiber().unpark();
        parked.join().unwrap();
    });
}

#[test]
fn only_looks_in_a_row_count() {
    run(|| {
        let mutex = Mutex::new(());
        let _held = mutex.lock().unwrap();
        let (sender, receiver) = channel();
        (0..100).for_each(|i| sender.send(i).unwrap());
        let receive = |n: i32| assert!((0..n).all(|_| receiver.recv().is_ok()));
        let look = |n| in_vain(n, &mut || mutex.try_lock().is_ok());
        // What has found something does not make a look in vain of the next one.
        assert!(!lets_others_run(|| {
            receive(63);
            look(1);
        }));
        assert!(!lets_others_run(|| {
            look(63);
            receive(1);
            look(63);
        }));
        assert!(!lets_others_run(|| {
            no_suspend(|| look(63));
            look(63);
        }));
    });
}

#[test]
fn a_fiber_that_looks_gets_what_another_gives() {
    run(|| {
        let (sender, receiver) = channel();
        let gives = spawn_local(move || sender.send(7).unwrap());
        while receiver.try_recv() != Ok(7) {}
        gives.join().unwrap();
    });
}
