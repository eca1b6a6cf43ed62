//! Runtimes: what `run` promises, where settings come from, and what is left behind.

#[path = "../support/mod.rs"]
mod support;

mod leaks;
mod settings;

use std::cell::Cell;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kapok::net::TcpListener;
use kapok::runtime::{Builder, Handle};
use kapok::sync::Baton;
use kapok::{Engine, fiber, spawn};

use support::{child, run, sentence, watchdog};

#[test]
fn run_gives_what_the_root_returns() {
    assert_eq!(run(|| 42), 42);
    assert_eq!(run(|| vec!["a".to_owned()]), ["a"]);
    assert_eq!(run(|| Err::<(), _>("its own error")), Err("its own error"));
    run(|| ());
}

#[test]
fn root_may_borrow_from_the_frame_of_its_caller() {
    let mut numbers = vec![3, 1, 2];
    let (sum, count) = (Cell::new(0), 3);
    let text = run(|| {
        numbers.sort_unstable();
        fiber::yield_now();
        for number in &numbers {
            sum.set(sum.get() + number);
            fiber::sleep(Duration::from_micros(1));
        }
        format!("{count} numbers")
    });
    assert_eq!((text.as_str(), sum.get(), numbers), ("3 numbers", 6, vec![1, 2, 3]));
    // What it returns may borrow as well.
    let owned = String::from("borrowed");
    let borrowed: &str = run(|| &owned[..3]);
    assert_eq!(borrowed, "bor");
}

#[test]
fn run_waits_for_all_that_came_of_it() {
    let ended = Arc::new(AtomicUsize::new(0));
    let theirs = Arc::clone(&ended);
    run(move || {
        fn generation(left: u32, ended: &Arc<AtomicUsize>) {
            for _ in 0..3 {
                let ended = Arc::clone(ended);
                drop(spawn(move || {
                    if left > 0 {
                        generation(left - 1, &ended);
                    }
                    fiber::sleep(Duration::from_micros(100));
                    ended.fetch_add(1, Ordering::SeqCst);
                }));
            }
        }
        generation(5, &theirs);
    });
    assert_eq!(ended.load(Ordering::SeqCst), (1..=6).map(|n| 3_usize.pow(n)).sum());
}

#[test]
fn run_waits_for_one_that_waits_for_a_thread() {
    let woken = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&woken);
    let (baton, posted) = (Arc::new(Baton::new()), Arc::new(AtomicBool::new(false)));
    let poster = thread::spawn({
        let (baton, posted) = (Arc::clone(&baton), Arc::clone(&posted));
        move || {
            thread::sleep(Duration::from_millis(10));
            posted.store(true, Ordering::SeqCst);
            baton.post();
        }
    });
    run(move || {
        drop(spawn(move || {
            baton.wait();
            theirs.store(true, Ordering::SeqCst);
        }));
    });
    assert!(posted.load(Ordering::SeqCst) && woken.load(Ordering::SeqCst));
    poster.join().unwrap();
}

#[test]
fn panic_of_the_root_comes_when_all_fibers_have_ended() {
    for engine in Engine::available() {
        let _watchdog = watchdog();
        let ended = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&ended);
        let result = catch_unwind(AssertUnwindSafe(|| {
            Builder::new().switch(engine).run(move || {
                for _ in 0..10 {
                    let ended = Arc::clone(&theirs);
                    drop(spawn(move || {
                        fiber::sleep(Duration::from_millis(1));
                        ended.fetch_add(1, Ordering::SeqCst);
                    }));
                }
                panic_any(17_u8);
            })
        }));
        assert_eq!(result.unwrap_err().downcast_ref(), Some(&17_u8));
        assert_eq!(ended.load(Ordering::SeqCst), 10);
        assert!(!thread::panicking());
        assert_eq!(run(|| 1), 1, "the next one is not concerned");
    }
}

#[test]
fn panics_of_other_fibers_do_not_concern_run() {
    let value = run(|| {
        drop(spawn(|| panic!("nobody joins this one")));
        let joined = spawn(|| panic!("somebody joins this one"));
        assert_eq!(sentence(joined.join().unwrap_err()), "somebody joins this one");
        5
    });
    assert_eq!(value, 5);
}

#[test]
fn run_within_run_is_a_runtime_of_its_own() {
    let check = || {
        let outer = (Handle::current(), fiber::current().id());
        let borrowed = String::from("borrowed");
        let inner = Builder::new().workers(2).run(|| {
            assert_eq!(spawn(|| 5).join().unwrap(), 5);
            assert_eq!((Handle::current().workers(), outer.0.worker()), (2, None));
            assert_ne!(fiber::current().id(), outer.1);
            borrowed.len()
        });
        assert_eq!(inner.unwrap(), 8);
        assert_eq!((outer.0.worker().is_some(), fiber::current().id()), (true, outer.1));
        // And its fibers are those of the outer one again.
        assert_eq!(spawn(fiber::is_fiber).join().ok(), Some(true));
    };
    run(|| {
        check();
        spawn(check).join().unwrap();
        spawn(check).join().unwrap();
    });
    run(|| ());
}

#[test]
fn run_within_a_fiber_of_a_run_within_run() {
    fn nested(depth: u32) -> u32 {
        if depth == 0 {
            return 0;
        }
        1 + run(|| spawn(move || nested(depth - 1)).join().unwrap())
    }
    assert_eq!(nested(5), 5);
}

#[test]
fn panic_in_a_run_within_run_passes_through() {
    run(|| {
        let outcome = spawn(|| kapok::run(|| panic!("from within")).unwrap()).join();
        assert_eq!(sentence(outcome.unwrap_err()), "from within");
        assert!(fiber::is_fiber());
    });
}

#[test]
fn other_threads_have_runtimes_of_their_own() {
    run(|| {
        let thread = thread::spawn(|| run(|| spawn(|| 3).join().unwrap()));
        assert_eq!(kapok::blocking(|| thread.join().unwrap()), 3);
        // A thread of the pool is another thread, too.
        assert_eq!(kapok::blocking(|| run(|| spawn(|| 4).join().unwrap())), 4);
    });
}

#[test]
fn runtimes_one_after_the_other() {
    for i in 0..200 {
        assert_eq!(run(|| spawn(move || i).join().unwrap()), i);
    }
    // Engines may change in between.
    for engine in Engine::available().into_iter().cycle().take(20) {
        let used = Builder::new()
            .switch(engine)
            .run(|| Handle::current().switch())
            .unwrap();
        assert_eq!(used, engine);
    }
}

#[test]
fn runtimes_side_by_side() {
    let threads: Vec<_> = (0..8_usize)
        .map(|i| {
            let engines = Engine::available();
            let engine = engines[i % engines.len()];
            thread::spawn(move || {
                for _ in 0..20 {
                    let sum: usize = support::run_with(engine, || {
                        let fibers: Vec<_> = (0..20)
                            .map(|n| {
                                spawn(move || {
                                    fiber::sleep(Duration::from_micros(10));
                                    n
                                })
                            })
                            .collect();
                        fibers.into_iter().map(|fiber| fiber.join().unwrap()).sum()
                    });
                    assert_eq!(sum, 190);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn fibers_of_one_runtime_are_joined_in_another() {
    let (sender, handles) = std::sync::mpsc::channel();
    let other = thread::spawn(move || {
        run(move || {
            for i in 0..100 {
                let fiber = spawn(move || {
                    fiber::sleep(Duration::from_micros(100));
                    i
                });
                sender.send(fiber).unwrap();
                fiber::yield_now();
            }
            drop(sender);
        });
    });
    run(|| {
        for i in 0..100 {
            let handle = kapok::blocking(|| Some(i)).and_then(|_| handles.recv().ok());
            assert_eq!(handle.expect("there are 100").join().unwrap(), i);
        }
    });
    other.join().unwrap();
}

#[test]
fn process_may_exit_in_the_middle_of_a_fiber() {
    let ended = child::alone(
        "process_may_exit_in_the_middle_of_a_fiber",
        |_| (),
        || {
            run(|| {
                let _waits_for_ever = spawn(fiber::park);
                fiber::yield_now();
                spawn(|| std::process::exit(7)).join().unwrap();
            });
        },
    );
    if let Some(ended) = ended {
        assert_eq!(ended.code(), 7);
    }
}

/// A handler makes the kernel end the worker's wait early, and many a system call.
#[test]
fn signals_do_not_disturb_waits() {
    child::undisturbed("signals_do_not_disturb_waits", || {
        let seen = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&seen)).expect("a handler");
        let script = format!("while kill -USR1 {}; do sleep 0.002; done", std::process::id());
        let mut killer = std::process::Command::new("sh")
            .args(["-c", &script])
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("a shell");
        while !seen.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        let baton = Arc::new(Baton::new());
        // The signals go to the main thread first: let it be the worker's, and then a plain one.
        let wait_for_everything = || {
            for _ in 0..50 {
                let start = Instant::now();
                fiber::sleep(Duration::from_millis(5));
                assert!(start.elapsed() >= Duration::from_millis(5));
                assert!(!baton.wait_timeout(Duration::from_millis(1)));
            }
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let peer = thread::spawn(move || {
                let mut stream = std::net::TcpStream::connect(address).unwrap();
                for _ in 0..20 {
                    thread::sleep(Duration::from_millis(5));
                    stream.write_all(b"x").unwrap();
                }
            });
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            assert_eq!(text.len(), 20);
            peer.join().unwrap();
        };
        run(wait_for_everything);
        wait_for_everything();
        drop(killer.kill());
        drop(killer.wait());
    });
}
