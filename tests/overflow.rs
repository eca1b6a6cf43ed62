//! What is said when a stack overflows, and what becomes of faults that are no overflow.
#![cfg(unix)]
#![allow(unsafe_code, reason = "makes threads and faults as C does")]

mod support;

use std::ffi::c_void;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kapok::coroutine::Coroutine;
use kapok::fiber::{self, Builder};
use kapok::{Engine, spawn, stack};

use support::child::{self, Ended};
use support::{OnDrop, run, run_on_one, says, show};

const FAULTS: &[i32] = &[libc::SIGSEGV, libc::SIGBUS];

/// Calls itself until the process dies.
#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    if depth == u64::MAX {
        return 0;
    }
    // Used after the call, so that it is no loop.
    recurse(depth + 1) + black_box(&frame)[15]
}

fn overflow() {
    show(&format!("the end: {}", recurse(0)));
}

/// Runs `body` in a child with each engine and each kind of guard, and `judge` on what came of it.
#[track_caller]
fn each(test: &str, body: impl Fn(), judge: impl Fn(Ended)) {
    for engine in Engine::available() {
        // Where there are no guards by advice the default is the other kind.
        for guard in ["", "mprotect"] {
            let ended = child::alone(
                test,
                |command| {
                    command
                        .env("KAPOK_SWITCH", engine.name())
                        .env("KAPOK_STACK_GUARD", guard);
                },
                &body,
            );
            match ended {
                Some(ended) => judge(ended),
                None => return,
            }
        }
    }
}

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
    if cfg!(target_env = "musl") {
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
        "backtrace_of_a_fiber",
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
        "backtrace_of_a_coroutine_on_a_thread_of_c",
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
        "backtrace_of_an_overflow_while_a_panic_unwinds",
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
        "overflow_in_the_hook_of_a_panic",
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
        "overflow_in_a_function_of_c",
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
        "value_of_the_backtrace_that_is_not_known_is_refused",
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

/// It died of the fault, and has said one line, which has all of these in it.
#[track_caller]
fn reported(ended: Ended, parts: &[&str]) {
    let text = ended.killed_by(FAULTS);
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("kapok: ")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    says(lines[0], parts);
    assert!(
        !text.contains("has overflowed its stack\n"),
        "the standard library has nothing to say: {text}"
    );
}

/// It died of this signal, and nothing was said of any stack of ours.
#[track_caller]
fn unreported(ended: Ended, signals: &[i32]) -> String {
    let text = ended.killed_by(signals);
    assert!(!text.contains("kapok: "), "{text}");
    text
}

#[test]
fn fiber_is_named_with_its_stack_and_where_it_was_spawned() {
    let spawned_at = format!("{}:{}:", file!(), line!() + 9);
    each(
        "fiber_is_named_with_its_stack_and_where_it_was_spawned",
        || {
            run(|| {
                let id = AtomicUsize::new(0);
                _ = id.load(Ordering::Relaxed);
                let builder = Builder::new().name("deep".to_owned()).stack_size(128 * 1024);
                // The line that is named.
                let fiber = builder.spawn(overflow).unwrap();
                drop(fiber.join());
            });
        },
        |ended| {
            let size = "131072 bytes";
            reported(
                ended,
                &["fiber 'deep' (id ", &spawned_at, size, "stack_size", "KAPOK_STACK_SIZE"],
            );
        },
    );
}

#[test]
fn fiber_without_a_name_has_its_number() {
    each(
        "fiber_without_a_name_has_its_number",
        || {
            run(|| {
                let fiber = spawn(|| {
                    fiber::yield_now();
                    overflow();
                });
                show(&format!("its id is {:?}", fiber.fiber().id()));
                drop(fiber.join());
            });
        },
        |ended| reported(ended, &["kapok: fiber (id ", file!(), "262144 bytes"]),
    );
}

#[test]
fn root_is_named() {
    each(
        "root_is_named",
        || run(overflow),
        |ended| reported(ended, &["fiber 'main' (id "]),
    );
}

#[test]
fn overflow_in_a_destructor_that_runs_because_of_a_panic() {
    each(
        "overflow_in_a_destructor_that_runs_because_of_a_panic",
        || {
            run(|| {
                let fiber = spawn(|| {
                    let _overflows = OnDrop(overflow);
                    panic!("to unwind");
                });
                drop(fiber.join());
            });
        },
        |ended| reported(ended, &["kapok: fiber (id ", "has overflowed"]),
    );
}

#[test]
fn overflow_beside_many_others_names_the_right_one() {
    each(
        "overflow_beside_many_others_names_the_right_one",
        || {
            run_on_one(|| {
                let count = Arc::new(AtomicUsize::new(0));
                for number in 0..2_000 {
                    let count = Arc::clone(&count);
                    let body = move || {
                        count.fetch_add(1, Ordering::Relaxed);
                        while count.load(Ordering::Relaxed) < 2_000 {
                            fiber::yield_now();
                        }
                        if number == 1_234 {
                            overflow();
                        }
                        fiber::park();
                    };
                    drop(Builder::new().name(format!("number {number}")).spawn(body).unwrap());
                }
                fiber::park();
            });
        },
        |ended| reported(ended, &["fiber 'number 1234' (id "]),
    );
}

#[test]
fn overflow_of_a_fiber_that_holds_a_runtime() {
    each(
        "overflow_of_a_fiber_that_holds_a_runtime",
        || {
            run_on_one(|| {
                let holder = Builder::new().name("holder".to_owned()).stack_size(1 << 20);
                let fiber = holder.spawn(|| {
                    run_on_one(|| drop(spawn(|| ()).join()));
                    run_on_one(|| {
                        drop(Builder::new().name("inner".to_owned()).spawn(overflow).unwrap().join());
                    });
                });
                drop(fiber.unwrap().join());
            });
        },
        |ended| reported(ended, &["fiber 'inner' (id "]),
    );
}

#[test]
fn coroutine_without_a_runtime_is_told_by_where_it_was_made() {
    let made_at = format!("{}:{}:", file!(), line!() + 4);
    each(
        "coroutine_without_a_runtime_is_told_by_where_it_was_made",
        || {
            let mut coroutine = Coroutine::<(), (), ()>::new(|_, ()| overflow()).unwrap();
            coroutine.resume(());
        },
        |ended| reported(ended, &["coroutine", &made_at, "262144 bytes", "Coroutine::with"]),
    );
}

#[test]
fn coroutine_in_a_fiber_is_not_taken_for_the_fiber() {
    each(
        "coroutine_in_a_fiber_is_not_taken_for_the_fiber",
        || {
            run(|| {
                let mut coroutine = Coroutine::<(), (), ()>::new(|_, ()| overflow()).unwrap();
                coroutine.resume(());
            });
        },
        |ended| reported(ended, &["kapok: a coroutine, made at", file!()]),
    );
}

/// Threads beside the fibers are looked after by the standard library.
#[test]
fn overflow_in_blocking_work_is_the_standard_librarys() {
    each(
        "overflow_in_blocking_work_is_the_standard_librarys",
        || run(|| kapok::blocking(overflow)),
        |ended| says(&unreported(ended, &[libc::SIGABRT]), &["has overflowed its stack"]),
    );
}

#[test]
fn overflow_of_a_plain_thread_after_a_runtime_is_the_standard_librarys() {
    each(
        "overflow_of_a_plain_thread_after_a_runtime_is_the_standard_librarys",
        || {
            run(|| drop(spawn(|| ()).join()));
            overflow();
        },
        |ended| says(&unreported(ended, &[libc::SIGABRT]), &["has overflowed its stack"]),
    );
}

extern "C" fn body_of_a_thread(body: *mut c_void) -> *mut c_void {
    // SAFETY: `on_a_thread_of_c` passes it.
    let body = unsafe { &*body.cast::<fn()>() };
    body();
    ptr::null_mut()
}

/// Calls `body` on a thread that the standard library has not made: it has no signal stack.
fn on_a_thread_of_c(mut body: fn()) {
    let mut thread = MaybeUninit::uninit();
    // SAFETY: what is passed outlives the thread, which is joined.
    let result = unsafe {
        libc::pthread_create(
            thread.as_mut_ptr(),
            ptr::null(),
            body_of_a_thread,
            (&raw mut body).cast(),
        )
    };
    assert_eq!(result, 0);
    // SAFETY: it was filled in.
    let thread = unsafe { thread.assume_init() };
    // SAFETY: joined once.
    assert_eq!(unsafe { libc::pthread_join(thread, ptr::null_mut()) }, 0);
}

fn set_action(signal: i32, action: usize) {
    // SAFETY: all zeroes are a valid sigaction.
    let mut new = unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() };
    new.sa_sigaction = action;
    new.sa_flags = libc::SA_ONSTACK;
    // SAFETY: the action is one that is allowed.
    assert_eq!(unsafe { libc::sigaction(signal, &raw const new, ptr::null_mut()) }, 0);
}

#[test]
fn worker_on_a_thread_of_c_without_rusts_handler() {
    each(
        "worker_on_a_thread_of_c_without_rusts_handler",
        || {
            FAULTS.iter().for_each(|signal| set_action(*signal, libc::SIG_DFL));
            on_a_thread_of_c(|| run_on_one(|| drop(spawn(overflow).join())));
        },
        |ended| reported(ended, &["kapok: fiber (id "]),
    );
}

#[test]
fn coroutine_on_a_thread_of_c() {
    each(
        "coroutine_on_a_thread_of_c",
        || {
            on_a_thread_of_c(|| {
                // One that ends does not take the signal stack along.
                drop(Coroutine::<(), (), ()>::new(|_, ()| ()).unwrap());
                let mut coroutine = Coroutine::<(), (), ()>::new(|_, ()| overflow()).unwrap();
                coroutine.resume(());
            });
        },
        |ended| reported(ended, &["kapok: a coroutine, made at"]),
    );
}

fn read_nothing() {
    // SAFETY: none; it is to fault.
    let byte = unsafe { ptr::read_volatile(black_box(ptr::without_provenance::<u8>(8))) };
    show(&format!("the end: {byte}"));
}

#[test]
fn other_faults_are_none_of_ours() {
    each(
        "other_faults_are_none_of_ours",
        || run(|| drop(spawn(read_nothing).join())),
        |ended| drop(unreported(ended, FAULTS)),
    );
}

extern "C" fn exits(_: i32) {
    // SAFETY: ends the process.
    unsafe { libc::_exit(42) };
}

#[test]
fn handler_that_was_there_gets_the_other_faults() {
    each(
        "handler_that_was_there_gets_the_other_faults",
        || {
            FAULTS
                .iter()
                .for_each(|signal| set_action(*signal, exits as extern "C" fn(i32) as usize));
            run(|| drop(spawn(read_nothing).join()));
        },
        |ended| assert_eq!(ended.code(), 42),
    );
}

#[test]
fn handler_that_was_there_does_not_get_an_overflow() {
    each(
        "handler_that_was_there_does_not_get_an_overflow",
        || {
            FAULTS
                .iter()
                .for_each(|signal| set_action(*signal, exits as extern "C" fn(i32) as usize));
            run(|| drop(spawn(overflow).join()));
        },
        |ended| reported(ended, &["kapok: fiber (id "]),
    );
}

fn send(signal: i32) {
    // SAFETY: a call without pointers.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

#[test]
fn signal_that_was_sent_does_what_it_did() {
    each(
        "signal_that_was_sent_does_what_it_did",
        || {
            set_action(libc::SIGSEGV, libc::SIG_IGN);
            set_action(libc::SIGBUS, libc::SIG_DFL);
            run(|| {
                send(libc::SIGSEGV);
                show("it is ignored");
                send(libc::SIGBUS);
                show("the end");
            });
        },
        |ended| {
            let text = unreported(ended, &[libc::SIGBUS]);
            says(&text, &["it is ignored"]);
            assert!(!text.contains("the end"), "{text}");
        },
    );
}

fn signal_stack() -> (usize, usize, i32) {
    let mut now = MaybeUninit::<libc::stack_t>::zeroed();
    // SAFETY: asks, into a place for the answer.
    assert_eq!(unsafe { libc::sigaltstack(ptr::null(), now.as_mut_ptr()) }, 0);
    // SAFETY: filled in.
    let now = unsafe { now.assume_init() };
    (now.ss_sp.addr(), now.ss_size, now.ss_flags)
}

#[test]
fn worker_has_a_signal_stack_and_puts_back_the_one_before() {
    let restores = || {
        let before = signal_stack();
        let within = run_on_one(signal_stack);
        assert!(
            within != before && within.1 >= 64 * 1024 && within.2 & libc::SS_DISABLE == 0,
            "{within:?}"
        );
        let nested = run_on_one(|| {
            let outer = signal_stack();
            let inner = run_on_one(signal_stack);
            assert_eq!(signal_stack(), outer);
            (outer, inner)
        });
        assert_ne!(nested.0, nested.1);
        assert_eq!(signal_stack(), before);
    };
    restores();
    on_a_thread_of_c(restores);
}

#[test]
fn smallest_stack_too() {
    each(
        "smallest_stack_too",
        || {
            run(|| {
                let smallest = Builder::new().stack_size(stack::MIN_SIZE).spawn(overflow);
                drop(smallest.unwrap().join());
            });
        },
        |ended| reported(ended, &["kapok: fiber (id ", &format!("{} bytes", stack::MIN_SIZE)]),
    );
}
