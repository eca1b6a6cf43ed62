//! Threads, handlers and faults that are not Kapok's.

use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ptr;

use kapok::coroutine::Coroutine;
use kapok::fiber::Builder;
use kapok::{spawn, stack};

use crate::support::{run, run_on_one, says, show};
use crate::{FAULTS, each, on_a_thread_of_c, overflow, reported, unreported};

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
        "others::worker_on_a_thread_of_c_without_rusts_handler",
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
        "others::coroutine_on_a_thread_of_c",
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
        "others::other_faults_are_none_of_ours",
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
        "others::handler_that_was_there_gets_the_other_faults",
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
        "others::handler_that_was_there_does_not_get_an_overflow",
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
        "others::signal_that_was_sent_does_what_it_did",
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
        "others::smallest_stack_too",
        || {
            run(|| {
                let smallest = Builder::new().stack_size(stack::MIN_SIZE).spawn(overflow);
                drop(smallest.unwrap().join());
            });
        },
        |ended| reported(ended, &["kapok: fiber (id ", &format!("{} bytes", stack::MIN_SIZE)]),
    );
}
