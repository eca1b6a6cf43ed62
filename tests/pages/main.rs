//! Stacks of each size class, with the pages of this machine and with larger ones: of 16 KiB as arm64 may have, of 64 KiB as
//! POWER has. Where the machine's own are smaller, a library that is loaded before the C library makes them so (`larger.c`).
#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![allow(unsafe_code, reason = "asks the system, and writes below the caller's frame")]

#[expect(dead_code, reason = "the tests of the C shim use the rest")]
#[path = "../native/mod.rs"]
mod native;
#[path = "../support/mod.rs"]
mod support;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use kapok::fiber::{self, Builder};
use kapok::stack;
use kapok::sync::{Event, Semaphore};

use native::{Compiler, arguments, source};
use support::child;

const KIB: usize = 1024;

/// Sizes of pages that machines have.
const PAGES: [usize; 3] = [4 * KIB, 16 * KIB, 64 * KIB];

fn page_size() -> usize {
    // SAFETY: takes no pointers.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).expect("every system has pages")
}

/// The library, and the directory that it lies in.
fn larger() -> &'static Path {
    static LIBRARY: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_directory, library) = LIBRARY.get_or_init(|| {
        let directory = native::scratch();
        let library = directory.path().join("larger.so");
        let mut command_line = arguments(
            &["-std=c11", "-O1", "-shared", "-fPIC", "-o"],
            &[library.clone(), source("tests/pages/larger.c")],
        );
        command_line.push("-ldl".into());
        Compiler::c().compile(command_line);
        (directory, library)
    });
    library
}

/// Runs `body` in a child for each size of pages that this machine has or can be made to have, with each kind of guard and
/// what `variants` are beside that, and `judge` on its end.
#[track_caller]
fn each<V: std::fmt::Display>(test: &str, variants: &[V], body: impl Fn(), judge: impl Fn(child::Ended, &V)) {
    if child::is_child(test) {
        drop(child::alone(test, |_| (), body));
        return;
    }
    let own = page_size();
    for pages in PAGES {
        if pages < own {
            support::show(&format!("SKIP pages of {pages} bytes: this machine has larger ones"));
            continue;
        }
        if pages > own && support::emulator::lacks(&format!("pages of {pages} bytes")) {
            continue;
        }
        for guard in ["", "mprotect"] {
            for variant in variants {
                let configure = |command: &mut std::process::Command| {
                    command
                        .env("KAPOK_STACK_GUARD", guard)
                        .env("PAGES", pages.to_string())
                        .env("VARIANT", variant.to_string());
                    if pages > own {
                        command
                            .env("LD_PRELOAD", larger())
                            .env("LARGER_PAGES", pages.to_string())
                            // The rings of io_uring go by what the kernel takes for a page.
                            .env("KAPOK_REACTOR", "poll");
                    }
                };
                let ended = child::alone(test, configure, || unreachable!("this is the parent"));
                judge(ended.expect("this is the parent"), variant);
            }
        }
    }
}

/// In the child: what the parent has set.
fn number(variable: &str) -> usize {
    let text = std::env::var(variable).expect("the parent has set it");
    text.parse().expect("a number")
}

/// Sizes at both sides of each class, up to 4 MiB, and some larger ones: four classes for each power of two, in whole pages.
fn sizes() -> Vec<usize> {
    let mut sizes = vec![stack::MIN_SIZE, 16 << 20, (40 << 20) + 1];
    let mut power = stack::MIN_SIZE;
    while power < 4 << 20 {
        for quarter in 1..=4 {
            let class = power + power / 4 * quarter;
            sizes.extend([class, class + 1, class - 1]);
        }
        power *= 2;
    }
    // Addresses are scarce on a machine of 32 bits.
    if cfg!(target_pointer_width = "64") {
        sizes.push(stack::MAX_SIZE);
    }
    sizes
}

/// Fills `bytes` of the caller's stack with a pattern, in frames of a kilobyte, waits in the deepest, and counts on the way
/// back the frames that are not as they were.
#[inline(never)]
fn fill(bytes: usize, pattern: u8) -> usize {
    let frame = black_box([pattern; KIB]);
    let deeper = if bytes > FRAME {
        fill(bytes - FRAME, pattern)
    } else {
        fiber::yield_now();
        0
    };
    deeper + usize::from(black_box(&frame).iter().any(|byte| *byte != pattern))
}

/// More than a frame of [`fill`] takes in a debug build, in which the array is there more than once.
const FRAME: usize = 4 * KIB;

/// What the runtime and a test's own first frames may take.
const RESERVE: usize = 8 * KIB;

#[test]
fn pages_are_as_large_as_the_test_wants_them() {
    let test = "pages_are_as_large_as_the_test_wants_them";
    let body = || {
        let bytes = number("PAGES");
        assert_eq!(page_size(), bytes);
        let (prot, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: a new mapping.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), 3 * bytes, prot, flags, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED);
        assert_eq!(base.addr() % bytes, 0);
        // SAFETY: within the mapping.
        let inside = unsafe { base.byte_add(bytes / 2) };
        // SAFETY: half a page is no place to begin, so that nothing happens.
        let result = unsafe { libc::mprotect(inside, bytes, libc::PROT_NONE) };
        assert_eq!(result, -1);
        // SAFETY: the whole mapping, which nobody uses.
        assert_eq!(unsafe { libc::munmap(base, 3 * bytes) }, 0);
    };
    each(test, &[""], body, |ended, _| drop(ended.success()));
}

/// Two of each size at once; each finds on its stack what it has put there.
#[test]
fn stacks_of_each_size_hold_what_was_asked_for() {
    let test = "stacks_of_each_size_hold_what_was_asked_for";
    let body = || {
        support::run(|| {
            for size in sizes() {
                // Of the largest not all: it would all be memory.
                let used = (size - RESERVE).min(8 << 20);
                let spawn = |pattern| {
                    let fill = move || fill(used, pattern);
                    Builder::new().stack_size(size).spawn(fill).expect("such a size")
                };
                for fiber in [1, 2].map(spawn) {
                    assert_eq!(fiber.join().expect("it has room"), 0, "{size}");
                }
            }
        });
        assert_eq!(stack::stats().in_use, 0);
    };
    each(test, &[""], body, |ended, _| drop(ended.success()));
}

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

#[test]
fn stacks_of_each_size_end_at_a_guard() {
    let test = "stacks_of_each_size_end_at_a_guard";
    let sizes = [
        stack::MIN_SIZE,
        stack::MIN_SIZE + 1,
        80 * KIB,
        stack::DEFAULT_SIZE,
        (1 << 20) + 1,
    ];
    let body = || {
        let size = number("VARIANT");
        support::run(|| {
            // Neighbours on both sides, which an overflow without a guard would run into.
            let neighbours = (0..8).map(|_| Builder::new().stack_size(size).spawn(|| fiber::sleep(FOREVER)));
            let neighbours: Vec<_> = neighbours.map(|fiber| fiber.expect("such a size")).collect();
            fiber::yield_now();
            let fiber = Builder::new()
                .stack_size(size)
                .spawn(|| recurse(0))
                .expect("such a size");
            drop(fiber.join());
            drop(neighbours);
        });
    };
    each(test, &sizes, body, |ended, size| {
        let said = ended.killed_by(&[libc::SIGSEGV, libc::SIGBUS]);
        let (_, size_of_it) = said
            .split_once("overflowed its stack of ")
            .expect("it says whose stack it was");
        let bytes = size_of_it.split(' ').next().and_then(|word| word.parse().ok());
        let bytes: usize = bytes.unwrap_or_else(|| panic!("no size: {said}"));
        // Rounded up to whole pages, and by less than a quarter.
        assert!(bytes >= *size && bytes <= *size + size / 4 + 64 * KIB, "{size}: {said}");
    });
}

/// Longer than anybody waits.
const FOREVER: std::time::Duration = std::time::Duration::from_secs(100_000);

#[test]
fn memory_of_stacks_is_counted_and_given_back() {
    let test = "memory_of_stacks_is_counted_and_given_back";
    let body = || {
        support::run(|| {
            let before = stack::resident().expect("Linux tells");
            let (filled, release) = (Arc::new(Semaphore::new(0)), Arc::new(Event::new()));
            let fibers: Vec<_> = (0..200)
                .map(|_| {
                    let (filled, release) = (Arc::clone(&filled), Arc::clone(&release));
                    kapok::spawn(move || {
                        assert_eq!(fill(100 * KIB, 3), 0);
                        filled.add(1);
                        release.wait();
                    })
                })
                .collect();
            // All of them have a stack now that was used.
            filled.acquire_many(200).expect("it is open").forget();
            assert!(stack::resident().expect("Linux tells") >= before + 50 * 64 * KIB);
            release.set();
            fibers.into_iter().for_each(|fiber| fiber.join().expect("it has room"));
            // A worker that has nothing to do comes back for it; how soon is its own affair.
            while stack::resident().expect("Linux tells") > before + 64 * 256 * KIB {
                fiber::sleep(std::time::Duration::from_millis(20));
            }
        });
        assert_eq!(stack::stats().in_use, 0);
    };
    each(test, &[""], body, |ended, _| drop(ended.success()));
}
