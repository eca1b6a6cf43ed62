//! Runtimes in the background, several at once, and the ways into them.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use kapok::fiber::{self, JoinHandle};
use kapok::runtime::{Builder, Handle, Runtime};
use kapok::spawn;
use kapok::sync::Baton;

use crate::run_on;
use crate::support::{all_is_closed_since, child, emulator, open_descriptors, panics, says, sentence, watchdog};

fn start(workers: usize) -> Runtime {
    Builder::new().workers(workers).build().expect("a runtime can be had")
}

#[test]
fn threads_spawn_and_join() {
    let _watchdog = watchdog();
    for workers in [1, 2, 4] {
        let runtime = start(workers);
        assert_eq!(runtime.handle().workers(), workers);
        assert!(runtime.handle().worker().is_none() && Handle::try_current().is_none());
        thread::scope(|scope| {
            for _ in 0..4 {
                let handle = runtime.handle().clone();
                scope.spawn(move || {
                    for i in 0..200 {
                        let fiber = handle.spawn(move || spawn(move || (i, fiber::is_fiber())).join().unwrap());
                        assert_eq!(fiber.unwrap().join().unwrap(), (i, true));
                    }
                });
            }
        });
        let named = fiber::Builder::new().name("named".into()).worker(workers - 1);
        let told = move || (fiber::current().name().map(str::to_owned), Handle::current().worker());
        let fiber = runtime.handle().spawn_with(named, told).unwrap();
        assert_eq!(fiber.join().unwrap(), (Some("named".to_owned()), Some(workers - 1)));
        let error = runtime
            .handle()
            .spawn_with(fiber::Builder::new().worker(workers), || ())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let error = runtime
            .handle()
            .spawn_with(fiber::Builder::new().stack_size(1), || ())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(runtime.run(|| 7), 7);
        assert_eq!(panics(|| runtime.run(|| panic!("from within"))), "from within");
        says(&format!("{runtime:?}"), &["Runtime", "workers", &workers.to_string()]);
    }
}

#[test]
fn drop_waits_for_all_fibers() {
    let _watchdog = watchdog();
    for workers in [1, 3] {
        let ended = Arc::new(AtomicUsize::new(0));
        let runtime = start(workers);
        for i in 0..50 {
            let ended = Arc::clone(&ended);
            let fiber = runtime.handle().spawn(move || {
                fiber::sleep(Duration::from_micros(100 * i));
                // They may spawn to the very end.
                drop(spawn(move || {
                    fiber::yield_now();
                    ended.fetch_add(1, Ordering::SeqCst);
                }));
            });
            drop(fiber.unwrap());
        }
        let handle = runtime.handle().clone();
        drop(runtime);
        assert_eq!(ended.load(Ordering::SeqCst), 50);
        assert_eq!(handle.live_fibers(), 0);
        let error = handle.spawn(|| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        says(&error.to_string(), &["ending", "ended"]);
        let error = handle.spawn_with(fiber::Builder::new().worker(0), || ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
}

#[test]
fn while_it_ends_only_its_own_fibers_spawn() {
    let _watchdog = watchdog();
    let runtime = start(2);
    let handle = runtime.handle().clone();
    let (gate, theirs) = (Arc::new(Baton::new()), handle.clone());
    let open = Arc::clone(&gate);
    let fiber = handle
        .spawn(move || {
            open.wait();
            // By the handle, too.
            spawn(|| 1).join().unwrap() + theirs.spawn(|| 2).unwrap().join().unwrap()
        })
        .unwrap();
    let dropping = thread::spawn(move || drop(runtime));
    // From some moment on it refuses; the drop is in that state until the fiber ends.
    while handle.spawn(|| ()).is_ok() {
        thread::yield_now();
    }
    assert!(!dropping.is_finished());
    gate.post();
    assert_eq!(fiber.join().unwrap(), 3);
    dropping.join().unwrap();
}

#[test]
fn fibers_of_several_runtimes_wait_for_each_other() {
    let _watchdog = watchdog();
    let runtimes = Arc::new([start(1), start(2), start(3)]);
    let batons = Arc::new([Baton::new(), Baton::new(), Baton::new()]);
    // A ring: each posts the next one's.
    let fibers: Vec<JoinHandle<()>> = (0..3)
        .map(|i| {
            let (batons, workers) = (Arc::clone(&batons), i + 1);
            let fiber = runtimes[i].handle().spawn(move || {
                assert_eq!(Handle::current().workers(), workers);
                for _ in 0..1_000 {
                    batons[i].wait();
                    batons[i].reset();
                    batons[(i + 1) % 3].post();
                }
            });
            fiber.unwrap()
        })
        .collect();
    batons[0].post();
    fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
    // And each calls into the next.
    let (second, third) = (runtimes[1].handle().clone(), runtimes[2].handle().clone());
    let deep = runtimes[0].run(move || {
        let fiber = second.spawn(move || third.spawn(|| Handle::current().workers()).unwrap().join().unwrap() + 10);
        fiber.unwrap().join().unwrap() + 100
    });
    assert_eq!(deep, 113);
}

#[test]
fn fiber_has_a_runtime_of_its_own() {
    run_on(2, || {
        let outer = Handle::current();
        let runtime = start(2);
        let (home, neighbour) = (outer.worker(), Arc::new(Baton::new()));
        let theirs = Arc::clone(&neighbour);
        drop(kapok::spawn_local(move || theirs.post()));
        let back = outer.clone();
        // This fiber is suspended meanwhile, or its neighbour would never run.
        let told = runtime.run(move || {
            neighbour.wait();
            assert!(back.worker().is_none());
            back.spawn(|| Handle::current().workers()).unwrap().join().unwrap()
        });
        assert_eq!((told, outer.worker()), (2, home));
        // Dropped by a fiber, which is suspended, too.
        let waits = runtime
            .handle()
            .spawn(|| fiber::sleep(Duration::from_millis(5)))
            .unwrap();
        drop(runtime);
        assert!(waits.is_finished());
    });
}

#[test]
fn dropped_by_its_own_fiber_it_ends_by_itself() {
    let _watchdog = watchdog();
    let ended = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ended);
    let runtime = Builder::new()
        .workers(2)
        .on_thread_stop(move || _ = count.fetch_add(1, Ordering::SeqCst))
        .build()
        .unwrap();
    let handle = runtime.handle().clone();
    let fiber = handle.spawn(move || {
        drop(runtime);
        spawn(|| 5).join().unwrap()
    });
    assert_eq!(fiber.unwrap().join().unwrap(), 5);
    while ended.load(Ordering::SeqCst) < 2 {
        thread::yield_now();
    }
    assert_eq!(handle.spawn(|| ()).unwrap_err().kind(), ErrorKind::BrokenPipe);
}

/// Each spawn is either refused or runs to its end, and is counted for what it was.
#[test]
fn spawns_race_with_the_end() {
    let _watchdog = watchdog();
    for round in 0..emulator::rounds(300) {
        let workers = 1 + round % 3;
        let (ran, taken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let runtime = start(workers);
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (handle, ran, taken) = (runtime.handle().clone(), Arc::clone(&ran), Arc::clone(&taken));
                thread::spawn(move || {
                    loop {
                        let ran = Arc::clone(&ran);
                        match handle.spawn(move || ran.fetch_add(1, Ordering::SeqCst)) {
                            Ok(_) => taken.fetch_add(1, Ordering::SeqCst),
                            Err(error) => return assert_eq!(error.kind(), ErrorKind::BrokenPipe),
                        };
                        if taken.load(Ordering::SeqCst) % 8 == 0 {
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        while taken.load(Ordering::SeqCst) < round % 10 {
            thread::yield_now();
        }
        drop(runtime);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(ran.load(Ordering::SeqCst), taken.load(Ordering::SeqCst));
    }
}

/// The same for `run`, which ends by itself when nothing is left to do.
#[test]
fn spawns_race_with_the_last_fiber() {
    for round in 0..emulator::rounds(300) {
        let (ran, slot) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(None)));
        let (count, theirs) = (Arc::clone(&ran), Arc::clone(&slot));
        let spawner = thread::spawn(move || {
            let mut taken = 0;
            loop {
                let handle: Option<Handle> = theirs.lock().unwrap().clone();
                let Some(handle) = handle else {
                    thread::yield_now();
                    continue;
                };
                let ran = Arc::clone(&count);
                match handle.spawn(move || ran.fetch_add(1, Ordering::SeqCst)) {
                    Ok(fiber) if taken % 5 == 4 => drop(fiber.join()),
                    Ok(_) => {}
                    Err(_) => return taken,
                }
                taken += 1;
            }
        });
        run_on(1 + round % 3, || {
            *slot.lock().unwrap() = Some(Handle::current());
            (0..round % 5).for_each(|_| fiber::yield_now());
        });
        assert_eq!(spawner.join().unwrap(), ran.load(Ordering::SeqCst));
    }
}

#[test]
fn panics_are_for_those_who_join() {
    let _watchdog = watchdog();
    let runtime = start(2);
    drop(runtime.handle().spawn(|| panic!("nobody joins this one")).unwrap());
    let joined = runtime.handle().spawn(|| panic!("somebody joins this one")).unwrap();
    assert_eq!(sentence(joined.join().unwrap_err()), "somebody joins this one");
    assert_eq!(runtime.run(|| 1), 1);
}

#[test]
fn nothing_is_left_open() {
    child::undisturbed("runtimes::nothing_is_left_open", || {
        start(3).run(|| ());
        run_on(3, || ());
        let before = open_descriptors();
        for _ in 0..20 {
            start(3).run(|| spawn(|| ()).join().unwrap());
            run_on(3, || spawn(|| ()).join().unwrap());
        }
        all_is_closed_since(before);
    });
}
