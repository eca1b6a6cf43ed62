//! A fiber keeps to itself what a thread would: its values, its registers, its panics.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use kapok::sync::Baton;
use kapok::{Engine, fiber, spawn, spawn_local};

use crate::support::{OnDrop, Random, panics, run, run_on_one, run_on_one_with, run_with};

/// Many values of both kinds that live across `between`: more than the callee-saved registers hold.
#[inline(never)]
fn churn(seed: u64, mut between: impl FnMut()) -> (u64, u64) {
    let mut random = Random::new(seed);
    let (mut a, mut b, mut c, mut d) = (random.next(), random.next(), random.next(), random.next());
    let (mut e, mut f, mut g, mut h) = (random.next(), random.next(), random.next(), random.next());
    let (mut p, mut q, mut r, mut s) = (0.1_f64, 0.2_f64, 0.3_f64, 0.4_f64);
    let (mut t, mut u, mut v, mut w) = (0.5_f32, 0.6_f32, 0.7_f32, 0.8_f32);
    for _ in 0..200 {
        a = a.wrapping_mul(b | 1).rotate_left(5);
        b = b.wrapping_add(c ^ h);
        c = c.rotate_right(7) ^ a;
        p = 3.99 * p * (1.0 - p);
        q = 3.98 * q * (1.0 - q);
        t = 3.97 * t * (1.0 - t);
        u = 3.96 * u * (1.0 - u);
        between();
        d = d.wrapping_sub(e).rotate_left(11);
        e ^= f.wrapping_mul(3);
        f = f.wrapping_add(d);
        r = 3.95 * r * (1.0 - r);
        s = (s + p * q).fract();
        between();
        g = g.rotate_left(13) ^ e;
        h = h.wrapping_add(g).wrapping_mul(5);
        v = 3.94 * v * (1.0 - v);
        w = (w + t * u).fract();
    }
    let integers = a ^ b.rotate_left(1) ^ c.rotate_left(2) ^ d.rotate_left(3) ^ e ^ f ^ g ^ h;
    let floats = (p + q + r + s).to_bits() ^ u64::from((t + u + v + w).to_bits());
    (integers, floats)
}

#[test]
fn values_survive_switches() {
    for engine in Engine::available() {
        run_with(engine, || {
            let fibers: Vec<_> = (0..40)
                .map(|seed| spawn(move || churn(seed, fiber::yield_now)))
                .collect();
            for (seed, fiber) in (0..).zip(fibers) {
                assert_eq!(fiber.join().unwrap(), churn(seed, || ()), "{engine}, seed {seed}");
            }
        });
    }
}

#[test]
fn values_survive_waits_of_every_kind() {
    run(|| {
        let fibers: Vec<_> = (0..6)
            .map(|seed| {
                spawn(move || {
                    let mut turn = seed;
                    churn(seed, move || {
                        turn += 1;
                        match turn % 16 {
                            0 => fiber::sleep(Duration::from_nanos(1)),
                            1 => spawn(|| ()).join().unwrap(),
                            2 => kapok::blocking(|| ()),
                            3 => fiber::park_timeout(Duration::from_nanos(1)),
                            4 => drop(catch_unwind(|| std::panic::resume_unwind(Box::new(())))),
                            _ => fiber::yield_now(),
                        }
                    })
                })
            })
            .collect();
        for (seed, fiber) in (0..).zip(fibers) {
            assert_eq!(fiber.join().unwrap(), churn(seed, || ()));
        }
    });
}

#[test]
fn buffers_on_the_stack_keep_their_bytes() {
    run(|| {
        let fibers: Vec<_> = (0..50_u8)
            .map(|i| {
                spawn(move || {
                    let mut buf = [i; 10_000];
                    for round in 0..20 {
                        fiber::yield_now();
                        assert!(buf.iter().all(|&byte| byte == i.wrapping_add(round)));
                        buf.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
                    }
                })
            })
            .collect();
        fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
    });
}

#[test]
fn panic_is_seen_by_its_own_fiber_alone() {
    for engine in Engine::available() {
        run_on_one_with(engine, || {
            let stop = Rc::new(Cell::new(false));
            let theirs = Rc::clone(&stop);
            let watcher = spawn_local(move || {
                while !theirs.get() {
                    assert!(!thread::panicking() && !fiber::panicking());
                    fiber::yield_now();
                }
            });
            let panickers: Vec<_> = (0..20)
                .map(|_| {
                    spawn(|| {
                        fiber::yield_now();
                        let _waits = OnDrop(|| {
                            assert!(thread::panicking());
                            fiber::yield_now();
                            fiber::sleep(Duration::from_micros(100));
                        });
                        panic!("on purpose");
                    })
                })
                .collect();
            for fiber in panickers {
                fiber.join().unwrap_err();
            }
            stop.set(true);
            watcher.join().unwrap();
        });
    }
}

#[test]
fn wait_during_a_panic_blocks_the_thread() {
    for engine in Engine::available() {
        run_on_one_with(engine, || {
            let turns = Rc::new(Cell::new(0));
            let stop = Rc::new(Cell::new(false));
            let neighbour = spawn_local({
                let (turns, stop) = (Rc::clone(&turns), Rc::clone(&stop));
                move || {
                    while !stop.get() {
                        turns.set(turns.get() + 1);
                        fiber::yield_now();
                    }
                }
            });
            let mine = Rc::clone(&turns);
            let panicker = spawn_local(move || {
                fiber::yield_now();
                let _waits = OnDrop(|| {
                    let before = mine.get();
                    assert!(before > 0, "the neighbour runs");
                    let baton = Arc::new(Baton::new());
                    let theirs = Arc::clone(&baton);
                    let thread = thread::spawn(move || theirs.post());
                    baton.wait();
                    thread.join().unwrap();
                    assert!(!Baton::new().wait_timeout(Duration::from_millis(2)));
                    fiber::sleep(Duration::from_millis(2));
                    fiber::park_timeout(Duration::from_millis(2));
                    fiber::yield_now();
                    kapok::blocking(fiber::yield_now);
                    assert_eq!(mine.get(), before, "nobody else ran on this thread");
                });
                panic!("on purpose");
            });
            panicker.join().unwrap_err();
            stop.set(true);
            neighbour.join().unwrap();
        });
    }
}

#[test]
fn panic_does_not_poison_what_a_neighbour_has_locked() {
    for engine in Engine::available() {
        run_on_one_with(engine, || {
            let mutex = Rc::new(Mutex::new(0));
            let theirs = Rc::clone(&mutex);
            let locked = Rc::new(Cell::new(false));
            let theirs_locked = Rc::clone(&locked);
            // It holds the lock while the other one panics and waits: were it to run on meanwhile, it would unlock while
            // its thread is panicking, and that poisons.
            let holder = spawn_local(move || {
                let mut guard = theirs.lock().unwrap();
                theirs_locked.set(true);
                for _ in 0..3 {
                    fiber::yield_now();
                }
                *guard += 1;
            });
            while !locked.get() {
                fiber::yield_now();
            }
            let panicker = spawn(|| {
                let _waits = OnDrop(|| {
                    let baton = Arc::new(Baton::new());
                    let theirs = Arc::clone(&baton);
                    let thread = thread::spawn(move || theirs.post());
                    baton.wait();
                    fiber::sleep(Duration::from_millis(1));
                    thread.join().unwrap();
                });
                panic!("on purpose");
            });
            panicker.join().unwrap_err();
            holder.join().unwrap();
            assert_eq!(*mutex.lock().expect("not poisoned"), 1);
        });
    }
}

#[test]
fn sockets_work_in_destructors_during_a_panic() {
    use std::io::{Read, Write};
    run(|| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let peer = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = [0; 7];
            stream.read_exact(&mut text).unwrap();
            stream.write_all(b"and you").unwrap();
            text
        });
        let mut stream = kapok::net::TcpStream::connect(address).unwrap();
        let said = panics(|| {
            let _farewell = OnDrop(|| {
                stream.write_all(b"goodbye").unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                assert_eq!(answer, "and you");
            });
            panic!("on purpose");
        });
        assert_eq!(said, "on purpose");
        assert_eq!(kapok::blocking(|| peer.join().unwrap()), *b"goodbye");
    });
}

#[test]
fn fiber_can_be_started_during_a_panic() {
    run(|| {
        let mut started = None;
        panics(|| {
            let _starts = OnDrop(|| started = Some(spawn(|| 3)));
            panic!("on purpose");
        });
        assert_eq!(started.expect("it was started").join().unwrap(), 3);
    });
}

#[test]
fn fiber_that_catches_its_panic_goes_on() {
    run_on_one(|| {
        let fibers: Vec<_> = (0..20)
            .map(|i| {
                spawn(move || {
                    let mut caught = 0;
                    for round in 0..20 {
                        let result = catch_unwind(|| {
                            fiber::yield_now();
                            if (i + round) % 2 == 0 {
                                std::panic::resume_unwind(Box::new(round));
                            }
                        });
                        caught += u32::from(result.is_err());
                        assert!(!thread::panicking());
                        fiber::yield_now();
                    }
                    caught
                })
            })
            .collect();
        for fiber in fibers {
            assert_eq!(fiber.join().unwrap(), 10);
        }
    });
}

#[test]
fn panic_within_a_destructor_during_a_panic_is_contained() {
    run_on_one(|| {
        let fiber = spawn(|| {
            let _inner = OnDrop(|| {
                let caught = catch_unwind(AssertUnwindSafe(|| {
                    fiber::yield_now();
                    panic!("the second");
                }));
                assert!(caught.is_err() && thread::panicking());
            });
            panic!("the first");
        });
        assert_eq!(fiber.join().unwrap_err().downcast_ref(), Some(&"the first"));
        assert!(!thread::panicking());
    });
}
