//! What happens at the end of a stack: the process dies at the guard, whichever way it gets there.

mod support;

use std::hint::black_box;

use kapok::coroutine::Coroutine;
use kapok::fiber::{self, Builder};
use kapok::{Engine, spawn, stack};

use support::{child, run, run_with, says, show};

/// What a thread that overflows its stack dies of.
const FAULTS: &[i32] = &[signal_hook::consts::SIGSEGV, signal_hook::consts::SIGBUS];

/// Calls itself until the process dies, in frames of this many bytes; should it get past the end of the stack, it says so
/// and exits.
#[inline(never)]
fn recurse<const FRAME: usize>(begin: usize, size: usize) -> u64 {
    let frame = black_box([1_u8; FRAME]);
    if begin - (&raw const frame).addr() > size {
        show(PAST_THE_END);
        std::process::exit(0);
    }
    // Used after the call, so that it is no loop.
    recurse::<FRAME>(begin, size) + u64::from(black_box(&frame)[FRAME - 1])
}

const PAST_THE_END: &str = "this is beyond the end of the stack";

/// Overflows the caller's stack, which is of this size, in small frames.
fn overflow(size: usize) {
    let begin = 0_u8;
    recurse::<64>((&raw const begin).addr(), size);
}

/// Overflows it in frames that reach far beyond a guard page.
fn overflow_in_strides(size: usize) {
    let begin = 0_u8;
    recurse::<300_000>((&raw const begin).addr(), size);
}

/// Stacks that are mapped after the caller's, and that lie below it as a rule: what an overflow without a guard would
/// run into.
fn neighbours(size: usize) {
    for _ in 0..20 {
        let neighbour = || (0..1_000).for_each(|_| fiber::yield_now());
        drop(Builder::new().stack_size(size).spawn(neighbour).unwrap());
    }
    fiber::yield_now();
}

/// Runs `overflow` in a child with each engine; it has to be killed.
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
fn overflow_of_a_fiber_ends_at_the_guard() {
    dies("overflow_of_a_fiber_ends_at_the_guard", |engine| {
        run_with(engine, || {
            let fiber = spawn(|| {
                neighbours(stack::DEFAULT_SIZE);
                overflow(stack::DEFAULT_SIZE);
            });
            drop(fiber.join());
        });
    });
}

#[test]
fn overflow_of_the_root_ends_at_the_guard() {
    dies("overflow_of_the_root_ends_at_the_guard", |engine| {
        run_with(engine, || {
            neighbours(stack::DEFAULT_SIZE);
            overflow(stack::DEFAULT_SIZE);
        });
    });
}

#[test]
fn overflow_of_the_smallest_stack_ends_at_the_guard() {
    dies("overflow_of_the_smallest_stack_ends_at_the_guard", |engine| {
        run_with(engine, || {
            let smallest = Builder::new().stack_size(stack::MIN_SIZE).spawn(|| {
                neighbours(stack::MIN_SIZE);
                overflow(stack::MIN_SIZE);
            });
            drop(smallest.unwrap().join());
        });
    });
}

#[test]
fn large_frames_do_not_jump_over_the_guard() {
    dies("large_frames_do_not_jump_over_the_guard", |engine| {
        run_with(engine, || {
            let fiber = spawn(|| {
                neighbours(stack::DEFAULT_SIZE);
                overflow_in_strides(stack::DEFAULT_SIZE);
            });
            drop(fiber.join());
        });
    });
}

#[test]
fn overflow_of_a_stack_that_was_used_before_ends_at_the_guard() {
    dies("overflow_of_a_stack_that_was_used_before_ends_at_the_guard", |engine| {
        run_with(engine, || {
            for _ in 0..100 {
                spawn(fiber::yield_now).join().unwrap();
            }
            let fiber = spawn(|| {
                neighbours(stack::DEFAULT_SIZE);
                overflow(stack::DEFAULT_SIZE);
            });
            drop(fiber.join());
        });
    });
}

#[test]
fn overflow_of_a_coroutine_ends_at_the_guard() {
    dies("overflow_of_a_coroutine_ends_at_the_guard", |engine| {
        let make = || {
            Coroutine::with(engine, stack::MIN_SIZE, |yielder, ()| {
                yielder.suspend(());
                overflow(stack::MIN_SIZE);
            })
            .unwrap()
        };
        // The first is the highest, as a rule.
        let mut coroutines: Vec<_> = (0..20).map(|_| make()).collect();
        coroutines[0].resume(());
        coroutines[0].resume(());
    });
}

/// Threads beside the fibers are looked after by the standard library, which says why it aborts.
#[test]
fn overflow_of_a_thread_ends_as_ever() {
    let ended = child::alone(
        "overflow_of_a_thread_ends_as_ever",
        |_| (),
        || {
            run(|| {
                spawn(fiber::yield_now).join().unwrap();
                let thread = std::thread::spawn(|| overflow(1 << 30));
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
