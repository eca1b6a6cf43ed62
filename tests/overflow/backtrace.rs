//! The backtrace of an overflow, which can be asked for.

use kapok::coroutine::Coroutine;
use kapok::fiber;
use kapok::{Engine, spawn};

use crate::support::child::{self, Ended};
use crate::support::{OnDrop, emulator, run, says};
use crate::{FAULTS, on_a_thread_of_c, overflow};

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
