//! The backtrace of an overflow, which can be asked for.

use std::ffi::c_void;
use std::hint::black_box;

use kapok::coroutine::Coroutine;
use kapok::fiber::{self, Builder};
use kapok::{Engine, spawn, stack};

use crate::support::child::{self, Ended};
use crate::support::{OnDrop, emulator, run, says};
use crate::{FAULTS, each, on_a_thread_of_c, overflow, reported};

/// As [`each`], with the backtrace that can be asked for.
#[track_caller]
fn each_with_backtrace(test: &str, body: impl Fn(), judge: impl Fn(Ended)) {
    for engine in Engine::available() {
        let ended = child::alone(
            test,
            |command| {
                command
                    .env("KAPOK_SWITCH", engine.name())
                    .env("KAPOK_OVERFLOW_BACKTRACE", "1");
            },
            &body,
        );
        match ended {
            Some(ended) => judge(ended),
            None => return,
        }
    }
}

/// It has the function that called itself, many times, and what called that in the end.
#[track_caller]
fn has_frames(ended: Ended, who: &str, outermost: &str) {
    let text = ended.killed_by(FAULTS);
    if cfg!(all(target_env = "musl", target_arch = "aarch64")) {
        // LLVM's unwinder knows the frame of a signal there. It takes the instruction that faulted for one behind a call and
        // looks a byte before it, where the first of a function may lack a register: it may come no further than to its caller.
        let report = ["kapok: ", who, "has overflowed its stack of", "backtrace of "];
        says(&text, &report);
        says(&text, &["overflow::recurse + 0x"]);
        return;
    }
    // qemu describes it wrongly for this processor: a walk in any program of C goes astray behind it.
    let goes_astray = cfg!(target_arch = "powerpc64") && emulator::lacks("a frame of a signal that can be unwound");
    if cfg!(target_env = "musl") || goes_astray {
        says(
            &text,
            &[
                "kapok: ",
                who,
                "has overflowed its stack of",
                "no backtrace: the C library",
            ],
        );
        return;
    }
    let (before, frames) = text.split_once("backtrace of ").expect("it was asked for");
    says(before, &["kapok: ", who, "has overflowed its stack of"]);
    let count: usize = frames
        .split(' ')
        .next()
        .and_then(|count| count.parse().ok())
        .expect("a number");
    assert!(count > 100, "{text}");
    says(
        frames,
        &[
            "   0: 0x",
            "   5: 0x",
            &format!(" ({} frames)", count - 48),
            &format!("{:4}: 0x", count - 1),
        ],
    );
    if cfg!(all(target_os = "linux", target_pointer_width = "64")) {
        let (innermost, rest) = frames.split_once(" frames)").expect("there are more than are shown");
        assert!(innermost.matches("overflow::recurse + 0x").count() >= 30, "{text}");
        says(rest, &[outermost]);
    }
}

#[test]
fn backtrace_of_a_fiber() {
    each_with_backtrace(
        "backtrace::backtrace_of_a_fiber",
        || {
            run(|| {
                let fiber = spawn(|| {
                    fiber::yield_now();
                    overflow();
                });
                drop(fiber.join());
            });
        },
        |ended| has_frames(ended, "fiber (id ", "overflow::overflow"),
    );
}

#[test]
fn backtrace_of_a_coroutine_on_a_thread_of_c() {
    each_with_backtrace(
        "backtrace::backtrace_of_a_coroutine_on_a_thread_of_c",
        || {
            on_a_thread_of_c(|| {
                let mut coroutine = Coroutine::<(), (), ()>::new(|_, ()| overflow()).unwrap();
                coroutine.resume(());
            });
        },
        |ended| has_frames(ended, "a coroutine, made at", "overflow::overflow"),
    );
}

#[test]
fn backtrace_of_an_overflow_while_a_panic_unwinds() {
    each_with_backtrace(
        "backtrace::backtrace_of_an_overflow_while_a_panic_unwinds",
        || {
            run(|| {
                let fiber = spawn(|| {
                    let _overflows = OnDrop(overflow);
                    panic!("to unwind");
                });
                drop(fiber.join());
            });
        },
        |ended| has_frames(ended, "fiber (id ", "overflow::overflow"),
    );
}

/// The hook runs before anything is unwound.
#[test]
fn overflow_in_the_hook_of_a_panic() {
    each(
        "backtrace::overflow_in_the_hook_of_a_panic",
        || {
            std::panic::set_hook(Box::new(|_| overflow()));
            run(|| {
                let fiber = spawn(|| {
                    fiber::yield_now();
                    panic!("to call the hook");
                });
                drop(fiber.join());
            });
        },
        |ended| reported(ended, &["kapok: fiber (id ", "has overflowed"]),
    );
}

/// A call of the C library that needs much of a stack, at its end.
#[test]
fn overflow_in_a_function_of_c() {
    each(
        "backtrace::overflow_in_a_function_of_c",
        || {
            run(|| {
                let fiber = Builder::new().stack_size(stack::MIN_SIZE).spawn(|| {
                    extern "C" fn compares(one: *const c_void, other: *const c_void) -> i32 {
                        // Calls back until the stack is full.
                        sort();
                        one.cmp(&other) as i32
                    }
                    fn sort() {
                        let mut numbers = black_box([3_u64, 1, 2]);
                        // SAFETY: three elements of eight bytes.
                        unsafe { libc::qsort(numbers.as_mut_ptr().cast(), 3, 8, Some(compares)) };
                        black_box(&numbers);
                    }
                    sort();
                });
                drop(fiber.unwrap().join());
            });
        },
        |ended| reported(ended, &["kapok: fiber (id ", &format!("{} bytes", stack::MIN_SIZE)]),
    );
}

#[test]
fn value_of_the_backtrace_that_is_not_known_is_refused() {
    let ended = child::alone(
        "backtrace::value_of_the_backtrace_that_is_not_known_is_refused",
        |command| {
            command.env("KAPOK_OVERFLOW_BACKTRACE", "yes");
        },
        || {
            let error = kapok::run(|| ()).unwrap_err();
            says(&error.to_string(), &["KAPOK_OVERFLOW_BACKTRACE", "yes", "0 nor 1"]);
        },
    );
    if let Some(ended) = ended {
        ended.success();
    }
}
