//! What has not started is taken by who has time; what has started stays.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::hint;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use kapok::net::{TcpListener, TcpStream};
use kapok::runtime::Handle;
use kapok::sync::Baton;
use kapok::{fiber, spawn};

use crate::support::{Random, panics, says};
use crate::{here, run_on, spawn_on};

/// Keeps the thread busy, without a wait, until it is so.
fn spin_until(done: impl Fn() -> bool) {
    while !done() {
        hint::spin_loop();
        thread::yield_now();
    }
}

#[test]
fn closures_of_a_fiber_that_does_not_wait_run_elsewhere() {
    for workers in [2, 3, 4] {
        run_on(workers, || {
            let count = Arc::new(AtomicUsize::new(0));
            let fibers: Vec<_> = (0..1_000)
                .map(|_| {
                    let count = Arc::clone(&count);
                    spawn(move || {
                        count.fetch_add(1, Ordering::SeqCst);
                        here()
                    })
                })
                .collect();
            spin_until(|| count.load(Ordering::SeqCst) == 1_000);
            assert!(fibers.into_iter().all(|fiber| fiber.join().unwrap() != 0));
            let stats = Handle::current().stats();
            assert_eq!(stats[0].stolen, 0);
            // Thieves are stolen from, too.
            assert!(stats.iter().map(|one| one.stolen).sum::<usize>() >= 1_000);
            // The root is one, too.
            assert_eq!(stats.iter().map(|one| one.fibers).sum::<usize>(), 1_001);
        });
    }
}

/// Each time the other one sleeps, and has to be woken for a single closure.
#[test]
fn one_closure_wakes_a_worker() {
    run_on(2, || {
        for _ in 0..2_000 {
            let done = Arc::new(AtomicBool::new(false));
            let theirs = Arc::clone(&done);
            drop(spawn(move || theirs.store(true, Ordering::SeqCst)));
            spin_until(|| done.load(Ordering::SeqCst));
        }
    });
}

/// Of a closure that keeps its worker busy the next one is taken, and of that the next one: all have to be awake at last.
#[test]
fn workers_wake_each_other_until_all_have_work() {
    for workers in [2, 4, 8] {
        run_on(workers, || {
            for _ in 0..20 {
                let together = Arc::new(AtomicUsize::new(0));
                let fibers: Vec<_> = (0..workers)
                    .map(|_| {
                        let together = Arc::clone(&together);
                        spawn(move || {
                            together.fetch_add(1, Ordering::SeqCst);
                            spin_until(|| together.load(Ordering::SeqCst) == workers);
                            here()
                        })
                    })
                    .collect();
                let on: HashSet<_> = fibers.into_iter().map(|fiber| fiber.join().unwrap()).collect();
                assert_eq!(on.len(), workers);
            }
        });
    }
}

#[test]
fn started_fibers_stay_where_they_are() {
    run_on(4, || {
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        let address = listener.local_addr().unwrap();
        let fibers: Vec<_> = (0..100)
            .map(|seed| {
                spawn(move || {
                    let (home, worker) = (thread::current().id(), here());
                    let (mine, mut random) = (Rc::new(RefCell::new(0_usize)), Random::new(seed));
                    for round in 0..50 {
                        let theirs = Rc::clone(&mine);
                        match random.below(5) {
                            0 => fiber::yield_now(),
                            1 => fiber::sleep(Duration::from_micros(100)),
                            2 => kapok::blocking(|| ()),
                            3 => spawn(|| ()).join().unwrap(),
                            // A child that shares what only one thread may touch.
                            _ => kapok::spawn_local(move || *theirs.borrow_mut() += 0).join().unwrap(),
                        }
                        *mine.borrow_mut() += 1;
                        assert_eq!(*mine.borrow(), round + 1);
                        assert_eq!((thread::current().id(), here()), (home, worker));
                    }
                    drop(TcpStream::connect(address).unwrap());
                    assert_eq!(thread::current().id(), home);
                })
            })
            .collect();
        for _ in 0..100 {
            drop(listener.accept().unwrap());
        }
        fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
    });
}

#[test]
fn spawn_local_stays_with_a_parent_that_is_busy() {
    run_on(2, || {
        let (ran, parent) = (Rc::new(Cell::new(false)), here());
        let theirs = Rc::clone(&ran);
        let local = kapok::spawn_local(move || {
            theirs.set(true);
            here()
        });
        // The other one is awake, and finds nothing that it could take.
        let awake = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&awake);
        drop(spawn(move || theirs.store(true, Ordering::SeqCst)));
        spin_until(|| awake.load(Ordering::SeqCst));
        assert!(!ran.get());
        assert_eq!(local.join().unwrap(), parent);
        assert!(ran.get());
    });
}

/// Fibers that are there share the worker with closures, in the order in which they came.
#[test]
fn neither_those_who_yield_nor_those_who_begin_starve() {
    run_on(2, || {
        let stop = Arc::new(AtomicBool::new(false));
        let yielders: Vec<_> = (0..2)
            .map(|worker| {
                let stop = Arc::clone(&stop);
                spawn_on(worker, move || {
                    while !stop.load(Ordering::Relaxed) {
                        fiber::yield_now();
                    }
                })
            })
            .collect();
        for i in 0..1_000 {
            assert_eq!(spawn(move || i).join().unwrap(), i);
        }
        // Now there is always one more to begin.
        fn respawn(stop: &Arc<AtomicBool>) {
            if !stop.load(Ordering::Relaxed) {
                let stop = Arc::clone(stop);
                drop(spawn(move || respawn(&stop)));
            }
        }
        respawn(&stop);
        respawn(&stop);
        for _ in 0..100 {
            fiber::yield_now();
        }
        fiber::sleep(Duration::from_millis(5));
        stop.store(true, Ordering::Relaxed);
        yielders.into_iter().for_each(|fiber| fiber.join().unwrap());
    });
}

#[test]
fn closures_of_plain_threads_reach_workers_that_never_sleep() {
    run_on(2, || {
        let (stop, handle) = (Arc::new(AtomicBool::new(false)), Handle::current());
        let yielders: Vec<_> = (0..2)
            .map(|worker| {
                let stop = Arc::clone(&stop);
                spawn_on(worker, move || {
                    while !stop.load(Ordering::Relaxed) {
                        fiber::yield_now();
                    }
                })
            })
            .collect();
        let thread = thread::spawn(move || {
            (0..200).for_each(|i| assert_eq!(handle.spawn(move || i).unwrap().join().unwrap(), i));
        });
        kapok::blocking(|| thread.join().unwrap());
        stop.store(true, Ordering::Relaxed);
        yielders.into_iter().for_each(|fiber| fiber.join().unwrap());
    });
}

#[test]
fn builder_chooses_the_worker() {
    run_on(3, || {
        for worker in [0, 1, 2, 2, 1, 0] {
            assert_eq!(spawn_on(worker, here).join().unwrap(), worker);
            // From elsewhere, too.
            let there = spawn_on(1, move || spawn_on(worker, here).join().unwrap());
            assert_eq!(there.join().unwrap(), worker);
        }
        let error = fiber::Builder::new().worker(3).spawn(|| ()).unwrap_err();
        says(&error.to_string(), &["no worker 3", "has 3"]);
        let error = fiber::Builder::new().worker(2).spawn_local(|| ()).unwrap_err();
        says(&error.to_string(), &["spawn_local", "another"]);
        let local = fiber::Builder::new().worker(0).spawn_local(here).unwrap();
        assert_eq!(local.join().unwrap(), 0);
    });
}

#[test]
fn panics_stay_in_their_fibers_on_every_worker() {
    run_on(3, || {
        let gate = Arc::new(Baton::new());
        let fibers: Vec<_> = (0..60)
            .map(|i| spawn_on(i % 3, move || assert!(i % 2 == 0, "number {i}")))
            .collect();
        for (i, fiber) in fibers.into_iter().enumerate() {
            let outcome = fiber.join();
            assert_eq!(outcome.is_ok(), i % 2 == 0);
            if let Err(panic) = outcome {
                says(&crate::support::sentence(panic), &[&format!("number {i}")]);
            }
        }
        gate.post();
        gate.wait();
        // Joining oneself is seen for what it is on each of them.
        let slot: Arc<std::sync::Mutex<Option<fiber::JoinHandle<()>>>> = Arc::default();
        let (theirs, ready) = (Arc::clone(&slot), Arc::new(Baton::new()));
        let begin = Arc::clone(&ready);
        let (told, tell) = std::sync::mpsc::channel();
        let own = spawn_on(2, move || {
            begin.wait();
            let own = theirs.lock().unwrap().take().expect("it was left here");
            told.send(panics(|| own.join())).unwrap();
        });
        *slot.lock().unwrap() = Some(own);
        ready.post();
        says(&kapok::blocking(move || tell.recv().unwrap()), &["its own end"]);
    });
}
