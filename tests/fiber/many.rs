//! Many fibers, large and small stacks, and what happens when there is no memory for another.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kapok::fiber::{self, Builder, JoinHandle};
use kapok::sync::Baton;
use kapok::{Engine, spawn, stack};

use crate::support::{
    CountsDrops, OnDrop, Random, child, emulator, max_mappings, run, run_on_one, run_on_one_with, run_with, says,
    sentence, show,
};

/// Uses at least `bytes` of stack, in frames of a good kilobyte, and gives a sum over all of them.
#[inline(never)]
fn recurse(bytes: usize) -> u64 {
    const FRAME: usize = 1024;
    let mut frame = [1_u8; FRAME];
    std::hint::black_box(&mut frame);
    if bytes <= FRAME {
        return u64::from(frame[0]);
    }
    // A debug build's frame is larger than the array: `bytes` is a lower bound that must not be missed by far.
    let deeper = recurse(bytes - FRAME);
    deeper + u64::from(std::hint::black_box(&frame)[FRAME - 1])
}

#[test]
fn stack_is_as_large_as_was_asked_for() {
    for engine in Engine::available() {
        run_with(engine, || {
            // Half of it in arrays, as the frames around them take as much again in a debug build.
            for size in [64 * 1024, stack::DEFAULT_SIZE, 4 << 20, 64 << 20] {
                let fiber = Builder::new()
                    .stack_size(size)
                    .spawn(move || {
                        fiber::yield_now();
                        recurse(size / 2)
                    })
                    .unwrap();
                assert_eq!(fiber.join().unwrap(), u64::try_from(size / 2 / 1024).unwrap());
            }
        });
    }
}

#[test]
fn stack_size_of_the_runtime_is_the_default_of_its_fibers() {
    kapok::runtime::Builder::new()
        .stack_size(8 << 20)
        .run(|| {
            assert_eq!(recurse(5 << 20), 5 << 10);
            spawn(|| assert_eq!(recurse(5 << 20), 5 << 10)).join().unwrap();
        })
        .unwrap();
}

#[test]
fn smallest_stack_is_enough_to_wait_and_to_panic() {
    // An overflow would end the process.
    child::undisturbed("many::smallest_stack_is_enough_to_wait_and_to_panic", || {
        for engine in Engine::available() {
            run_with(engine, || {
                let smallest = || Builder::new().stack_size(stack::MIN_SIZE);
                let baton = Arc::new(Baton::new());
                let theirs = Arc::clone(&baton);
                let waits = smallest()
                    .spawn(move || {
                        fiber::yield_now();
                        fiber::sleep(Duration::from_micros(1));
                        theirs.wait_timeout(Duration::from_micros(1));
                        theirs.wait();
                        kapok::blocking(|| 3)
                    })
                    .unwrap();
                baton.post();
                assert_eq!(waits.join().unwrap(), 3);
                let panics = smallest()
                    .spawn(|| panic!("a sentence with a number: {}", std::hint::black_box(7)))
                    .unwrap();
                says(&sentence(panics.join().unwrap_err()), &["number: 7"]);
            });
        }
    });
}

#[test]
fn default_stack_is_enough_for_a_panic_with_a_backtrace() {
    let test = "many::default_stack_is_enough_for_a_panic_with_a_backtrace";
    let ended = child::alone(
        test,
        |command| {
            command.env("RUST_BACKTRACE", "full");
        },
        || {
            run(|| spawn(|| panic!("with a backtrace")).join().unwrap_err());
        },
    );
    if let Some(ended) = ended {
        says(&ended.success(), &["with a backtrace", "stack backtrace:"]);
    }
}

#[test]
fn as_many_fibers_as_there_are_mappings_for() {
    child::undisturbed("many::as_many_fibers_as_there_are_mappings_for", || {
        // A stack and its guard are two mappings, and the program needs some of its own.
        let count = max_mappings().map_or(30_000, |max| (max.saturating_sub(5_530) / 2).clamp(1_000, 100_000));
        show(&format!("{count} fibers at once"));
        for engine in Engine::available() {
            run_with(engine, || {
                let alive = Arc::new(AtomicUsize::new(0));
                let gate = Arc::new(AtomicBool::new(false));
                let fibers: Vec<JoinHandle<usize>> = (0..count)
                    .map(|i| {
                        let (alive, gate) = (Arc::clone(&alive), Arc::clone(&gate));
                        let body = move || {
                            alive.fetch_add(1, Ordering::Relaxed);
                            while !gate.load(Ordering::Relaxed) {
                                fiber::park();
                            }
                            alive.fetch_sub(1, Ordering::Relaxed);
                            i
                        };
                        Builder::new().stack_size(stack::MIN_SIZE).spawn(body).unwrap()
                    })
                    .collect();
                while alive.load(Ordering::Relaxed) < count {
                    fiber::yield_now();
                }
                gate.store(true, Ordering::Relaxed);
                fibers.iter().for_each(|fiber| fiber.fiber().unpark());
                for (i, fiber) in fibers.into_iter().enumerate() {
                    assert_eq!(fiber.join().unwrap(), i);
                }
                assert_eq!(alive.load(Ordering::Relaxed), 0);
            });
        }
    });
}

#[test]
fn fibers_that_have_not_begun_cost_no_stack() {
    // Many more than there are mappings for: each begins when the one before it has ended.
    run(|| {
        const COUNT: usize = 200_000;
        let ended = Arc::new(AtomicUsize::new(0));
        for _ in 0..COUNT {
            let ended = Arc::clone(&ended);
            drop(spawn(move || ended.fetch_add(1, Ordering::Relaxed)));
        }
        while ended.load(Ordering::Relaxed) < COUNT {
            fiber::yield_now();
        }
    });
}

#[test]
fn chain_of_spawns_is_as_long_as_it_likes() {
    fn link(left: usize, end: &Arc<Baton>) {
        let end = Arc::clone(end);
        match left {
            0 => end.post(),
            _ => drop(spawn(move || link(left - 1, &end))),
        }
    }
    run(|| {
        let end = Arc::new(Baton::new());
        link(100_000, &end);
        end.wait();
    });
}

#[test]
fn chain_of_joins_holds_a_fiber_for_each_link() {
    fn link(left: usize) -> usize {
        let next = Builder::new().stack_size(stack::MIN_SIZE);
        match left {
            0 => 0,
            _ => 1 + next.spawn(move || link(left - 1)).unwrap().join().unwrap(),
        }
    }
    run(|| assert_eq!(link(5_000), 5_000));
}

#[test]
fn stacks_of_mixed_sizes_are_reused_for_the_right_fibers() {
    const SIZES: [usize; 5] = [
        stack::MIN_SIZE,
        stack::MIN_SIZE + 4_000,
        64 * 1024,
        stack::DEFAULT_SIZE,
        1 << 20,
    ];
    for engine in Engine::available() {
        run_on_one_with(engine, || {
            let mut random = Random::new(8);
            let mut alive = Vec::new();
            for _ in 0..5_000 {
                let size = SIZES[random.below(SIZES.len())];
                let yields = random.below(4);
                let body = move || {
                    (0..yields).for_each(|_| fiber::yield_now());
                    // A stack that is smaller than it should be does not survive this.
                    let bytes = size / 3;
                    let sum = if size > stack::MIN_SIZE { recurse(bytes) } else { 0 };
                    (0..yields).for_each(|_| fiber::yield_now());
                    sum == 0 || sum >= u64::try_from(bytes / 1024).unwrap()
                };
                alive.push(Builder::new().stack_size(size).spawn(body).unwrap());
                if alive.len() > 200 {
                    let one: JoinHandle<bool> = alive.swap_remove(random.below(alive.len()));
                    assert!(one.join().unwrap());
                }
            }
            assert!(alive.into_iter().all(|fiber| fiber.join().unwrap()));
        });
    }
}

/// Leaves room for a few stacks of the largest size.
fn limit_address_space() {
    rlimit::setrlimit(rlimit::Resource::AS, 4 << 30, 4 << 30).expect("one may have less");
}

fn largest() -> Builder {
    Builder::new().stack_size(stack::MAX_SIZE)
}

#[test]
fn fiber_without_a_stack_ends_with_the_reason() {
    if emulator::lacks("RLIMIT_AS") {
        return;
    }
    child::undisturbed("many::fiber_without_a_stack_ends_with_the_reason", || {
        limit_address_space();
        run_on_one(|| {
            static DROPS: AtomicUsize = AtomicUsize::new(0);
            let gate = Arc::new(Mutex::new(false));
            let fibers: Vec<_> = (0..10)
                .map(|_| {
                    let (gate, counted) = (Arc::clone(&gate), CountsDrops(&DROPS));
                    let body = move || {
                        let _dropped_at_the_end = counted;
                        while !*gate.lock().unwrap() {
                            fiber::yield_now();
                        }
                    };
                    largest().spawn(body).unwrap()
                })
                .collect();
            fiber::yield_now();
            let (failed, alive): (Vec<_>, Vec<_>) = fibers.into_iter().partition(JoinHandle::is_finished);
            assert!(!failed.is_empty() && !alive.is_empty());
            assert_eq!(DROPS.load(Ordering::SeqCst), failed.len());
            for fiber in failed {
                says(&sentence(fiber.join().unwrap_err()), &["stack"]);
            }
            *gate.lock().unwrap() = true;
            alive.into_iter().for_each(|fiber| fiber.join().unwrap());
            assert_eq!(DROPS.load(Ordering::SeqCst), 10);
            largest().spawn(|| ()).unwrap().join().expect("there is room again");
        });
    });
}

#[test]
fn root_without_a_stack_is_an_error() {
    if emulator::lacks("RLIMIT_AS") {
        return;
    }
    child::undisturbed("many::root_without_a_stack_is_an_error", || {
        rlimit::setrlimit(rlimit::Resource::AS, 512 << 20, 512 << 20).expect("one may have less");
        let mut ran = false;
        let error = kapok::runtime::Builder::new()
            .stack_size(stack::MAX_SIZE)
            .run(|| ran = true)
            .unwrap_err();
        says(&error.to_string(), &["root", "cannot start", "stack"]);
        assert!(!ran);
        run(|| ());
    });
}

/// The closure of a fiber that gets no stack is dropped by the scheduler, in the middle of somebody else's wait.
#[test]
fn closure_of_a_fiber_without_a_stack_may_panic_and_wait_in_its_destructor() {
    if emulator::lacks("RLIMIT_AS") {
        return;
    }
    let test = "many::closure_of_a_fiber_without_a_stack_may_panic_and_wait_in_its_destructor";
    child::undisturbed(test, || {
        limit_address_space();
        run_on_one(|| {
            let gate = Arc::new(Baton::new());
            let holders: Vec<_> = (0..3)
                .map(|_| {
                    let gate = Arc::clone(&gate);
                    largest()
                        .spawn(move || {
                            while !gate.try_wait() {
                                fiber::yield_now();
                            }
                        })
                        .unwrap()
                })
                .collect();
            fiber::yield_now();
            for _ in 0..3 {
                let waits = OnDrop(|| {
                    fiber::yield_now();
                    fiber::sleep(Duration::from_millis(1));
                });
                let panics = OnDrop(|| std::panic::resume_unwind(Box::new("a destructor")));
                let first = largest().spawn(move || drop(waits)).unwrap();
                let second = largest().spawn(move || drop(panics)).unwrap();
                fiber::sleep(Duration::from_millis(1));
                fiber::yield_now();
                first.join().unwrap_err();
                second.join().unwrap_err();
            }
            gate.post();
            let results: Vec<_> = holders.into_iter().map(JoinHandle::join).collect();
            assert!(results.iter().any(Result::is_ok));
        });
    });
}
