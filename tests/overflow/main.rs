//! What is said when a stack overflows, and what becomes of faults that are no overflow.
#![cfg(unix)]
#![allow(unsafe_code, reason = "makes threads and faults as C does")]

mod backtrace;
mod others;
mod report;
#[path = "../support/mod.rs"]
mod support;

use std::ffi::c_void;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ptr;

use kapok::Engine;

use support::child::{self, Ended};
use support::{says, show};

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
