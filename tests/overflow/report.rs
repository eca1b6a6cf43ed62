//! The line that is said: who has overflowed which stack.

use std::ffi::c_void;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kapok::coroutine::Coroutine;
use kapok::fiber::{self, Builder};
use kapok::{spawn, stack};

use crate::support::{OnDrop, run, run_on_one, says, show};
use crate::{each, overflow, reported, unreported};

#[test]
fn fiber_is_named_with_its_stack_and_where_it_was_spawned() {
    let spawned_at = format!("{}:{}:", file!(), line!() + 9);
    each(
        "report::fiber_is_named_with_its_stack_and_where_it_was_spawned",
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
        "report::fiber_without_a_name_has_its_number",
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
        "report::root_is_named",
        || run(overflow),
        |ended| reported(ended, &["fiber 'main' (id "]),
    );
}

#[test]
fn overflow_in_a_destructor_that_runs_because_of_a_panic() {
    each(
        "report::overflow_in_a_destructor_that_runs_because_of_a_panic",
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

/// The hook runs before anything is unwound.
#[test]
fn overflow_in_the_hook_of_a_panic() {
    each(
        "report::overflow_in_the_hook_of_a_panic",
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
        "report::overflow_in_a_function_of_c",
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
fn overflow_beside_many_others_names_the_right_one() {
    each(
        "report::overflow_beside_many_others_names_the_right_one",
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
        "report::overflow_of_a_fiber_that_holds_a_runtime",
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
        "report::coroutine_without_a_runtime_is_told_by_where_it_was_made",
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
        "report::coroutine_in_a_fiber_is_not_taken_for_the_fiber",
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
        "report::overflow_in_blocking_work_is_the_standard_librarys",
        || run(|| kapok::blocking(overflow)),
        |ended| says(&unreported(ended, &[libc::SIGABRT]), &["has overflowed its stack"]),
    );
}

#[test]
fn overflow_of_a_plain_thread_after_a_runtime_is_the_standard_librarys() {
    each(
        "report::overflow_of_a_plain_thread_after_a_runtime_is_the_standard_librarys",
        || {
            run(|| drop(spawn(|| ()).join()));
            overflow();
        },
        |ended| says(&unreported(ended, &[libc::SIGABRT]), &["has overflowed its stack"]),
    );
}
