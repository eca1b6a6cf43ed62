//! What happens at the end of a stack, and at the end of all stacks: the process dies at the guard, whichever way it gets
//! there; and a fiber that can get no stack ends with an error.

mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kapok::coroutine::Coroutine;
use kapok::fiber::{self, Builder};
use kapok::{Engine, spawn, stack};

use support::{OnDrop, child, max_mappings, run, run_with, says, sentence, show, skip};

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

/// The kinds of guards that this system has.
fn guards() -> Vec<&'static str> {
    let _a_stack = Coroutine::<(), (), ()>::new(|_, ()| ()).expect("a stack");
    match stack::stats().guard {
        Some(stack::GuardKind::Madvise) => vec!["madvise", "mprotect"],
        _ => vec!["mprotect"],
    }
}

/// Runs `overflow` in a child with each engine and each kind of guard; it has to be killed.
#[track_caller]
fn dies(test: &str, overflow: impl Fn(Engine)) {
    let all = Engine::available().into_iter();
    for (engine, guard) in all.flat_map(|engine| guards().into_iter().map(move |guard| (engine, guard))) {
        let ended = child::alone(
            test,
            |command| {
                command.env("KAPOK_SWITCH", engine.name());
                command.env("KAPOK_STACK_GUARD", guard);
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

/// How many fibers get a stack when so many want one at once, and what those that get none say.
fn as_many_as_there_are(count: usize) -> (usize, Vec<String>) {
    run(|| {
        let gate = Arc::new(AtomicBool::new(false));
        let settled = Arc::new(AtomicUsize::new(0));
        let fibers: Vec<_> = (0..count)
            .map(|_| {
                let gate = Arc::clone(&gate);
                let settled = OnDrop({
                    let settled = Arc::clone(&settled);
                    move || _ = settled.fetch_add(1, Ordering::Relaxed)
                });
                let body = move || {
                    drop(settled);
                    while !gate.load(Ordering::Relaxed) {
                        fiber::park();
                    }
                };
                Builder::new().stack_size(stack::MIN_SIZE).spawn(body).unwrap()
            })
            .collect();
        while settled.load(Ordering::Relaxed) < count {
            fiber::yield_now();
        }
        let in_use = stack::stats().in_use;
        gate.store(true, Ordering::Relaxed);
        fibers.iter().for_each(|fiber| fiber.fiber().unpark());
        let ends = fibers.into_iter().map(fiber::JoinHandle::join);
        let errors: Vec<String> = ends.filter_map(Result::err).map(sentence).collect();
        // The root has one, too, and stacks may be between two fibers.
        assert!(in_use > count - errors.len(), "{in_use}");
        (count - errors.len(), errors)
    })
}

#[test]
fn limit_of_mappings_is_an_error_with_a_remedy_and_nothing_else_happens() {
    let Some(max) = max_mappings().filter(|max| *max < 200_000) else {
        skip("there is no limit of mappings to meet", "KAPOK_REQUIRE_PROC");
        return;
    };
    let ended = child::alone(
        "limit_of_mappings_is_an_error_with_a_remedy_and_nothing_else_happens",
        |command| {
            command.env("KAPOK_STACK_GUARD", "mprotect");
        },
        || {
            for _ in 0..2 {
                let (begun, errors) = as_many_as_there_are(max);
                assert!(begun > max / 4 && begun < max / 2 + 1, "{begun} of {max}");
                for error in &errors {
                    says(error, &["stack", "vm.max_map_count", &max.to_string(), "sysctl"]);
                }
            }
        },
    );
    if let Some(ended) = ended {
        ended.success();
    }
}

#[test]
fn guards_by_advice_know_no_limit_of_mappings() {
    if guards().len() < 2 {
        skip("MADV_GUARD_INSTALL does not work here", "KAPOK_REQUIRE_GUARDS");
        return;
    }
    child::undisturbed("guards_by_advice_know_no_limit_of_mappings", || {
        let max = max_mappings().unwrap_or(70_000).min(100_000);
        let (begun, errors) = as_many_as_there_are(max);
        assert_eq!((begun, errors), (max, Vec::new()));
        // Where addresses have 32 bits slabs are smaller.
        let few = if usize::BITS >= 64 { 100 } else { 200 };
        assert!(stack::stats().slabs < few, "{:?}", stack::stats());
    });
}

#[test]
fn guard_that_is_not_known_is_refused() {
    let ended = child::alone(
        "guard_that_is_not_known_is_refused",
        |command| {
            command.env("KAPOK_STACK_GUARD", "none");
        },
        || {
            let error = kapok::run(|| ()).unwrap_err();
            says(&error.to_string(), &["KAPOK_STACK_GUARD", "none", "mprotect"]);
            let error = Coroutine::<(), (), ()>::new(|_, ()| ()).unwrap_err();
            says(&error.to_string(), &["KAPOK_STACK_GUARD", "none", "mprotect"]);
        },
    );
    if let Some(ended) = ended {
        ended.success();
    }
}

/// A burst of fibers, each of which uses much of its stack; then quiet.
#[test]
fn what_a_burst_has_used_is_given_back() {
    child::undisturbed("what_a_burst_has_used_is_given_back", || {
        run(|| {
            let before = stack::resident().unwrap();
            let fibers: Vec<_> = (0..3_000)
                .map(|_| {
                    spawn(|| {
                        let used = black_box([1_u8; 40_000]);
                        fiber::yield_now();
                        assert_eq!(black_box(&used)[39_999], 1);
                    })
                })
                .collect();
            fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
            // A worker that has nothing to do comes back for it; how soon is its own affair.
            while stack::resident().unwrap() > before + (8 << 20) {
                fiber::sleep(std::time::Duration::from_millis(20));
            }
            let stats = stack::stats();
            assert!(stats.in_use >= 1 && stats.pooled < 1_000, "{stats:?}");
        });
    });
}

/// Nobody is left who would do it later.
#[test]
fn last_runtime_gives_back_what_it_has_used() {
    child::undisturbed("last_runtime_gives_back_what_it_has_used", || {
        for round in 0..3 {
            let other = kapok::runtime::Builder::new().build().expect("a runtime");
            run(|| {
                let fibers: Vec<_> = (0..1_000)
                    .map(|_| {
                        spawn(|| {
                            let used = black_box([1_u8; 40_000]);
                            fiber::yield_now();
                            assert_eq!(black_box(&used)[39_999], 1);
                        })
                    })
                    .collect();
                fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
            });
            drop(other);
            let resident = stack::resident().unwrap();
            // 32 of a size stay warm, in a debug build of some 30 pages each.
            assert!(resident < 6 << 20, "{round}: {resident}");
            assert_eq!(stack::stats().in_use, 0);
        }
    });
}

/// Touches about so many bytes of the stack.
#[cfg(target_os = "linux")]
#[inline(never)]
fn touch(bytes: usize) -> usize {
    let frame = [1_u8; 4096]; // a black box for it would be a copy
    let deeper = if bytes > 4096 { touch(bytes - 4096) } else { 0 };
    deeper + usize::from(black_box(&frame)[4095])
}

#[test]
#[cfg(target_os = "linux")]
fn memory_below_a_waiting_frame_can_be_given_back() {
    for engine in Engine::available() {
        let ended = child::alone(
            "memory_below_a_waiting_frame_can_be_given_back",
            |command| {
                command.env("KAPOK_SWITCH", engine.name()).env("KAPOK_WORKERS", "1");
            },
            || {
                run(|| {
                    let fiber = spawn(|| {
                        let kept = black_box([7_u8; 512]);
                        for _ in 0..3 {
                            assert!(touch(128 << 10) >= 32);
                            let before = stack::resident().unwrap();
                            stack::shrink();
                            fiber::yield_now();
                            let after = stack::resident().unwrap();
                            assert!(after + (100 << 10) < before, "{before}, then {after}");
                            assert_eq!(black_box(&kept), &[7; 512]);
                        }
                        // On another stack it leaves this one's alone.
                        assert!(touch(128 << 10) >= 32);
                        let mut coroutine = Coroutine::<(), (), ()>::new(|_, ()| stack::shrink()).unwrap();
                        let before = stack::resident().unwrap();
                        coroutine.resume(());
                        assert!(stack::resident().unwrap() + 4096 >= before);
                    });
                    fiber.join().unwrap();
                    stack::shrink();
                });
                stack::shrink();
            },
        );
        match ended {
            Some(ended) => drop(ended.success()),
            None => return,
        }
    }
}
