//! What happens at the end of a stack: the process dies at the guard, whichever way it gets there.

mod support;

use std::hint::black_box;

use kapok::coroutine::Coroutine;
use kapok::fiber::{self, Builder};
use kapok::{Engine, spawn, stack};

use support::{child, run, run_with, says};

/// What a thread that overflows its stack dies of.
const FAULTS: &[i32] = &[signal_hook::consts::SIGSEGV, signal_hook::consts::SIGBUS];

/// Calls itself for ever, in frames of this many bytes.
#[expect(unconditional_recursion, reason = "what is tested")]
#[inline(never)]
fn recurse<const FRAME: usize>() -> u64 {
    let frame = black_box([1_u8; FRAME]);
    // Used after the call, so that it is no loop.
    recurse::<FRAME>() + u64::from(black_box(&frame)[FRAME - 1])
}

/// Runs `overflow` in a child with each engine; it has to be killed, and not to say that it got through.
#[track_caller]
fn dies(test: &str, overflow: impl Fn(Engine)) {
    for engine in Engine::available() {
        let ended = child::alone(
            test,
            |command| {
                command.env("KAPOK_SWITCH", engine.name());
            },
            || {
                let name = std::env::var("KAPOK_SWITCH").expect("the parent has set it");
                overflow(name.parse().expect("an engine"));
            },
        );
        match ended {
            Some(ended) => drop(ended.killed_by(FAULTS)),
            None => return,
        }
    }
}

#[test]
fn recursion_in_a_fiber_ends_at_the_guard() {
    dies("recursion_in_a_fiber_ends_at_the_guard", |engine| {
        run_with(engine, || drop(spawn(recurse::<64>).join()));
    });
}

#[test]
fn recursion_in_the_root_ends_at_the_guard() {
    dies("recursion_in_the_root_ends_at_the_guard", |engine| {
        run_with(engine, recurse::<64>);
    });
}

#[test]
fn recursion_in_the_smallest_stack_ends_at_the_guard() {
    dies("recursion_in_the_smallest_stack_ends_at_the_guard", |engine| {
        run_with(engine, || {
            let smallest = Builder::new().stack_size(stack::MIN_SIZE);
            drop(smallest.spawn(recurse::<64>).unwrap().join());
        });
    });
}

#[test]
fn large_frames_do_not_jump_over_the_guard() {
    dies("large_frames_do_not_jump_over_the_guard", |engine| {
        run_with(engine, || {
            // A frame reaches far beyond the guard page, into whatever lies below.
            let _neighbours: Vec<_> = (0..20).map(|_| spawn(fiber::yield_now)).collect();
            fiber::yield_now();
            drop(spawn(recurse::<300_000>).join());
        });
    });
}

#[test]
fn recursion_in_a_stack_that_was_used_before_ends_at_the_guard() {
    dies(
        "recursion_in_a_stack_that_was_used_before_ends_at_the_guard",
        |engine| {
            run_with(engine, || {
                for _ in 0..100 {
                    spawn(fiber::yield_now).join().unwrap();
                }
                drop(spawn(recurse::<64>).join());
            });
        },
    );
}

#[test]
fn recursion_between_stacks_of_neighbours_ends_at_the_guard() {
    dies("recursion_between_stacks_of_neighbours_ends_at_the_guard", |engine| {
        run_with(engine, || {
            let neighbours: Vec<_> = (0..50)
                .map(|i| {
                    spawn(move || {
                        let mut mine = [i; 1000];
                        for _ in 0..10 {
                            fiber::yield_now();
                            assert!(black_box(&mut mine).iter().all(|&n| n == i));
                        }
                        if i == 25 {
                            recurse::<64>();
                        }
                    })
                })
                .collect();
            neighbours.into_iter().for_each(|fiber| fiber.join().unwrap());
        });
    });
}

#[test]
fn recursion_in_a_coroutine_ends_at_the_guard() {
    dies("recursion_in_a_coroutine_ends_at_the_guard", |engine| {
        let coroutine = Coroutine::with(engine, stack::MIN_SIZE, |yielder, ()| {
            yielder.suspend(0);
            recurse::<64>()
        });
        let mut coroutine = coroutine.unwrap();
        coroutine.resume(());
        coroutine.resume(());
    });
}

/// Threads beside the fibers are looked after by the standard library, which says why it aborts.
#[test]
fn recursion_in_a_thread_ends_as_ever() {
    let ended = child::alone(
        "recursion_in_a_thread_ends_as_ever",
        |_| (),
        || {
            run(|| {
                spawn(fiber::yield_now).join().unwrap();
                let thread = std::thread::spawn(recurse::<64>);
                kapok::blocking(|| thread.join().unwrap());
            });
        },
    );
    if let Some(ended) = ended {
        says(
            &ended.killed_by(&[signal_hook::consts::SIGABRT]),
            &["overflowed its stack"],
        );
    }
}

/// As large as was asked for, and no smaller: the counterpart of all the above.
#[test]
fn depth_that_fits_is_reached() {
    #[inline(never)]
    fn depth(left: u32) -> u32 {
        let frame = black_box([1_u8; 512]);
        if left == 0 {
            0
        } else {
            depth(left - 1) + u32::from(black_box(&frame)[511])
        }
    }
    run(|| {
        // 512 bytes, twice in a debug build, and what the frame holds besides.
        let fits = |size: usize| u32::try_from(size / 2048).unwrap();
        for size in [stack::DEFAULT_SIZE, 1 << 20, 16 << 20] {
            let fiber = Builder::new()
                .stack_size(size)
                .spawn(move || depth(fits(size)))
                .unwrap();
            assert_eq!(fiber.join().unwrap(), fits(size));
        }
    });
}
