//! Ending a runtime by a deadline: who is unwound, and who is told of.

mod support;

use std::any::Any;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use kapok::net::{TcpListener, TcpStream};
use kapok::runtime::{Builder, Handle, Runtime, ShutdownError};
use kapok::sync::Baton;
use kapok::{Cancelled, Engine, blocking, fiber, shield, spawn};

use support::{CountsDrops, OnDrop, emulator, run, says, watchdog};

const SOON: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(3600);

/// A runtime of four workers, and what says that its threads have all ended.
fn runtime(engine: Engine) -> (Runtime, mpsc::Receiver<()>) {
    let (ended, all_ended) = mpsc::sync_channel(4);
    let builder = Builder::new().switch(engine).workers(4);
    let builder = builder.on_thread_stop(move || ended.send(()).expect("the test is there"));
    (builder.build().expect("a runtime can be had"), all_ended)
}

fn threads_end(all_ended: &mpsc::Receiver<()>) {
    (0..4).for_each(|_| all_ended.recv().expect("each says so"));
}

fn is_cancelled<T>(result: Result<T, Box<dyn Any + Send>>) -> bool {
    result.err().is_some_and(|payload| payload.is::<Cancelled>())
}

/// Each worker has time enough to hear of it.
fn stopped_in_vain(runtime: Runtime) -> ShutdownError {
    runtime
        .shutdown_timeout(emulator::patience(10 * SOON))
        .expect_err("somebody refuses")
}

#[test]
fn who_waits_is_unwound_whatever_for() {
    for engine in Engine::available() {
        let _watchdog = watchdog();
        let (runtime, all_ended) = runtime(engine);
        let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let waits: [fn(); 7] = [
            || fiber::sleep(LONG),
            fiber::park,
            || Baton::new().wait(),
            || drop(TcpListener::bind("127.0.0.1:0").unwrap().accept()),
            || {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let _server = listener.accept().unwrap();
                drop(client.read(&mut [0; 10]));
            },
            || {
                fiber::scope(|s| {
                    (0..5).for_each(|_| drop(s.spawn(fiber::park)));
                });
            },
            || loop {
                fiber::yield_now();
            },
        ];
        let fibers: Vec<_> = (0..4 * waits.len())
            .map(|i| {
                let (begun, ended) = (Arc::clone(&begun), Arc::clone(&ended));
                let builder = fiber::Builder::new().worker(i % 4);
                let wait = move || {
                    begun.fetch_add(1, Ordering::SeqCst);
                    let _counts = CountsDrops(&ended);
                    waits[i / 4]();
                };
                runtime.handle().spawn_with(builder, wait).unwrap()
            })
            .collect();
        while begun.load(Ordering::SeqCst) < fibers.len() {
            thread::yield_now();
        }
        let handle = runtime.handle().clone();
        runtime.shutdown_timeout(LONG).unwrap();
        threads_end(&all_ended);
        assert_eq!(ended.load(Ordering::SeqCst), fibers.len());
        for (i, fiber) in fibers.into_iter().enumerate() {
            assert!(is_cancelled(fiber.join()), "number {} of the waits", i / 4);
        }
        let refused = handle.spawn(|| ()).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::BrokenPipe);
        assert_eq!(handle.live_fibers(), 0);
    }
}

/// A fiber that runs without a pause until it is told to end.
struct Busy(Arc<AtomicBool>);

impl Busy {
    #[track_caller]
    fn on(handle: &Handle, builder: fiber::Builder, then: impl FnOnce() + Send + 'static) -> Busy {
        let (runs, until) = (Arc::new(Baton::new()), Arc::new(AtomicBool::new(false)));
        let (theirs, ends) = (Arc::clone(&runs), Arc::clone(&until));
        let run = move || {
            theirs.post();
            while !ends.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            then();
        };
        drop(handle.spawn_with(builder, run).unwrap());
        runs.wait();
        Busy(until)
    }

    fn ends(self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn who_has_not_begun_never_does() {
    let _watchdog = watchdog();
    let runtime = Builder::new().workers(1).build().unwrap();
    let handle = runtime.handle().clone();
    let begun = Arc::new(AtomicUsize::new(0));
    let theirs = Arc::clone(&begun);
    let (tell, told) = mpsc::channel();
    let busy = Busy::on(&handle, fiber::Builder::new(), move || {
        // Nor does what a fiber spawns that is cancelled itself.
        let count = move || _ = theirs.fetch_add(1, Ordering::SeqCst);
        let children = [spawn(count.clone()), fiber::spawn_local(count)];
        let cancelled = shield(|| children.map(|child| is_cancelled(child.join())));
        tell.send(cancelled).expect("the test is there");
    });
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let begun = Arc::clone(&begun);
            handle.spawn(move || begun.fetch_add(1, Ordering::SeqCst)).unwrap()
        })
        .collect();
    let error = runtime.shutdown(Instant::now()).unwrap_err();
    assert_eq!((error.stragglers().len(), error.others()), (1, 100));
    busy.ends();
    assert_eq!(told.recv(), Ok([true, true]));
    assert!(waiting.into_iter().all(|fiber| is_cancelled(fiber.join())));
    assert_eq!(begun.load(Ordering::SeqCst), 0);
}

#[test]
fn who_refuses_is_told_of_and_goes_on() {
    for engine in Engine::available() {
        let _watchdog = watchdog();
        let (runtime, all_ended) = runtime(engine);
        let (ready, go_on) = (Arc::new(Baton::new()), Arc::new(Baton::new()));
        let (theirs, until) = (Arc::clone(&ready), Arc::clone(&go_on));
        let name = || fiber::Builder::new().name("says good-bye".to_owned()).worker(2);
        let (line, refuses) = (
            line!() + 1,
            runtime.handle().spawn_with(name(), move || {
                let frame = [7_u8; 1000];
                shield(|| {
                    theirs.post();
                    until.wait();
                });
                std::hint::black_box(&frame)
                    .iter()
                    .map(|&byte| usize::from(byte))
                    .sum::<usize>()
            }),
        );
        let refuses = refuses.unwrap();
        ready.wait();
        let error = stopped_in_vain(runtime);
        let [straggler] = error.stragglers() else {
            panic!("{error}")
        };
        assert_eq!(
            (straggler.name(), straggler.id()),
            (Some("says good-bye"), refuses.fiber().id())
        );
        assert_eq!((straggler.worker(), straggler.is_running()), (2, false));
        assert_eq!((straggler.spawned_at().unwrap().file(), error.others()), (file!(), 0));
        assert_eq!(straggler.spawned_at().unwrap().line(), line);
        let place = format!("spawned at {}:{line}:", file!());
        says(
            &error.to_string(),
            &["by the deadline", "\"says good-bye\"", &place, "waits on worker 2"],
        );
        // Its stack is as it was, and its thread is there.
        assert!(all_ended.try_recv().is_err());
        go_on.post();
        assert_eq!(refuses.join().unwrap(), 7000);
        threads_end(&all_ended);
    }
}

#[test]
fn who_keeps_a_worker_to_itself_is_told_of() {
    for engine in Engine::available() {
        let _watchdog = watchdog();
        let (runtime, all_ended) = runtime(engine);
        let handle = runtime.handle().clone();
        let parked = handle.spawn_with(fiber::Builder::new().worker(3), fiber::park).unwrap();
        // It has begun when the next on its worker has.
        let next = handle.spawn_with(fiber::Builder::new().worker(3), || ()).unwrap();
        next.join().unwrap();
        let named = fiber::Builder::new().name("computes".to_owned()).worker(3);
        let busy = Busy::on(&handle, named, || ());
        let error = stopped_in_vain(runtime);
        let [straggler] = error.stragglers() else {
            panic!("{error}")
        };
        assert_eq!(straggler.name(), Some("computes"));
        assert_eq!((straggler.worker(), straggler.is_running()), (3, true));
        assert_eq!(straggler.spawned_at().unwrap().file(), file!());
        // Who waits there could not be called.
        assert_eq!(error.others(), 1);
        says(
            &error.to_string(),
            &["\"computes\"", "runs without a pause on worker 3", "and 1 more"],
        );
        busy.ends();
        assert!(is_cancelled(parked.join()));
        threads_end(&all_ended);
    }
}

#[test]
fn who_catches_it_again_and_again_is_told_of() {
    let _watchdog = watchdog();
    let (runtime, all_ended) = runtime(Engine::available()[0]);
    let (begun, ends) = (Arc::new(Baton::new()), Arc::new(AtomicBool::new(false)));
    let (ready, theirs) = (Arc::clone(&begun), Arc::clone(&ends));
    let stubborn = runtime.handle().spawn(move || {
        ready.post();
        let mut caught = 0_u64;
        while !theirs.load(Ordering::SeqCst) {
            if catch_unwind(|| fiber::sleep(Duration::from_millis(1))).is_err() {
                caught += 1;
                thread::sleep(Duration::from_millis(1));
            }
        }
        caught
    });
    let stubborn = stubborn.unwrap();
    begun.wait();
    let error = stopped_in_vain(runtime);
    assert_eq!(error.stragglers().len(), 1);
    assert_eq!(error.stragglers()[0].id(), stubborn.fiber().id());
    ends.store(true, Ordering::SeqCst);
    assert!(stubborn.join().unwrap() > 0);
    threads_end(&all_ended);
}

#[test]
fn blocking_work_is_waited_for_and_then_its_fiber_is_unwound() {
    let _watchdog = watchdog();
    let (runtime, all_ended) = runtime(Engine::available()[0]);
    let (begun, go_on) = (Arc::new(Baton::new()), Arc::new(Baton::new()));
    let (theirs, until) = (Arc::clone(&begun), Arc::clone(&go_on));
    let result = Arc::new(AtomicUsize::new(0));
    let put = Arc::clone(&result);
    let fiber = runtime.handle().spawn(move || {
        let value = blocking(|| {
            theirs.post();
            until.wait();
            5
        });
        put.store(value, Ordering::SeqCst);
        fiber::yield_now();
    });
    begun.wait();
    let error = stopped_in_vain(runtime);
    assert_eq!(error.stragglers().len(), 1, "{error}");
    go_on.post();
    assert!(is_cancelled(fiber.unwrap().join()));
    assert_eq!(result.load(Ordering::SeqCst), 5);
    threads_end(&all_ended);
}

#[test]
fn a_fiber_of_another_runtime_is_suspended_meanwhile() {
    run(|| {
        let runtime = Builder::new().workers(2).build().unwrap();
        let go_on = Arc::new(Baton::new());
        let (ready, until) = (Arc::new(Baton::new()), Arc::clone(&go_on));
        let theirs = Arc::clone(&ready);
        let refuses = runtime.handle().spawn(move || {
            shield(|| {
                theirs.post();
                until.wait();
            });
        });
        ready.wait();
        let lets_it_go = fiber::spawn_local(move || go_on.post());
        // On the same worker, so that only a suspension lets it run. Being cancelled meanwhile changes nothing.
        let stopper = fiber::spawn_local(move || runtime.shutdown_timeout(LONG));
        stopper.cancel();
        assert!(
            stopper.join().is_err_and(|payload| payload.is::<Cancelled>()),
            "it had not begun"
        );
        lets_it_go.join().unwrap();
        refuses.unwrap().join().unwrap();
    });
    run(|| {
        let runtime = Builder::new().workers(2).build().unwrap();
        let sleeps = runtime.handle().spawn(|| fiber::sleep(LONG)).unwrap();
        let other = fiber::spawn_local(|| 1);
        runtime.shutdown_timeout(LONG).unwrap();
        assert!(other.is_finished() || other.join().unwrap() == 1);
        assert!(is_cancelled(sleeps.join()));
    });
}

#[test]
fn one_of_its_own_fibers_may_call_for_it_but_cannot_wait() {
    for engine in Engine::available() {
        let _watchdog = watchdog();
        let (runtime, all_ended) = runtime(engine);
        let handle = runtime.handle().clone();
        let other = handle.spawn(fiber::park).unwrap();
        let (tell, told) = mpsc::channel();
        let named = fiber::Builder::new().name("the caller".to_owned());
        let caller = handle.spawn_with(named, move || {
            let error = runtime.shutdown_timeout(LONG).unwrap_err();
            tell.send(error.to_string()).expect("the test is there");
            fiber::park();
        });
        says(&told.recv().unwrap(), &["\"the caller\"", "runs without a pause"]);
        assert!(is_cancelled(caller.unwrap().join()) && is_cancelled(other.join()));
        threads_end(&all_ended);
    }
}

#[test]
fn what_destructors_do_on_the_way_is_their_business() {
    let _watchdog = watchdog();
    let (runtime, all_ended) = runtime(Engine::available()[0]);
    let handle = runtime.handle().clone();
    let dropped = Arc::new(AtomicUsize::new(0));
    let with = |f: fn()| {
        let (dropped, ready) = (Arc::clone(&dropped), Arc::new(Baton::new()));
        let theirs = Arc::clone(&ready);
        let fiber = handle.spawn(move || {
            let _counts = CountsDrops(&dropped);
            let _last = OnDrop(f);
            theirs.post();
            fiber::park();
        });
        ready.wait();
        fiber.unwrap()
    };
    let fibers = [
        with(|| drop(catch_unwind(|| resume_unwind(Box::new("within"))))),
        with(|| drop(spawn(|| ()))),
        with(|| fiber::sleep(Duration::from_millis(1))),
        with(|| shield(|| fiber::scope(|s| drop(s.spawn(|| ()))))),
        with(|| _ = kapok::timeout(LONG, || ())),
    ];
    runtime.shutdown_timeout(LONG).unwrap();
    threads_end(&all_ended);
    assert!(fibers.into_iter().all(|fiber| is_cancelled(fiber.join())));
    assert_eq!(dropped.load(Ordering::SeqCst), 5);
}

#[test]
fn without_fibers_it_is_over_at_once() {
    let _watchdog = watchdog();
    for _ in 0..20 {
        let (runtime, all_ended) = runtime(Engine::available()[0]);
        runtime.shutdown_timeout(LONG).unwrap();
        threads_end(&all_ended);
    }
    // What is further away than the clock can tell is for ever, and what has passed is no time at all.
    let runtime = Runtime::new().unwrap();
    runtime.handle().spawn(fiber::park).unwrap();
    runtime.shutdown_timeout(Duration::MAX).unwrap();
    let panics = catch_unwind(AssertUnwindSafe(|| {
        let runtime = Runtime::new().unwrap();
        runtime.run(|| panic!("the function's"))
    }));
    assert!(panics.is_err());
}

#[test]
fn many_runtimes_are_stopped_while_they_are_at_work() {
    let _watchdog = watchdog();
    for round in 0..30_usize {
        let (runtime, all_ended) = runtime(Engine::available()[round % Engine::available().len()]);
        let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        for _ in 0..8 {
            let (begun, ended) = (Arc::clone(&begun), Arc::clone(&ended));
            let spawns = move || loop {
                let (begun, ended) = (Arc::clone(&begun), Arc::clone(&ended));
                let child = spawn(move || {
                    begun.fetch_add(1, Ordering::SeqCst);
                    let _counts = CountsDrops(&ended);
                    fiber::yield_now();
                    fiber::sleep(Duration::from_micros(50));
                });
                drop(child.join());
            };
            runtime.handle().spawn(spawns).unwrap();
        }
        while begun.load(Ordering::SeqCst) < 50 * (round % 3) {
            thread::yield_now();
        }
        runtime.shutdown_timeout(LONG).unwrap();
        threads_end(&all_ended);
        assert_eq!(begun.load(Ordering::SeqCst), ended.load(Ordering::SeqCst));
    }
}
