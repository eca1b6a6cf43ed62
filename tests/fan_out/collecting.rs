//! `collect_all` and its relatives.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kapok::fan_out::{collect_all, collect_any, collect_any_ok, collect_n, for_each, try_collect_all};
use kapok::{Cancelled, fiber};

use crate::support::{CountsDrops, panics, run_on_one, says};
use crate::{FOREVER, SOON, on_all_numbers_of_workers};

/// Yields so often that those with more end later, on one worker.
fn yield_and_give(times: usize) -> usize {
    (0..times).for_each(|_| fiber::yield_now());
    times
}

#[test]
fn all_values_come_in_the_order_of_the_closures_and_may_borrow() {
    on_all_numbers_of_workers(|| {
        let numbers: Vec<usize> = (0..200).rev().collect();
        let seen = AtomicUsize::new(0);
        let values = collect_all(numbers.iter().map(|number| {
            let seen = &seen;
            move || {
                seen.fetch_add(1, Ordering::Relaxed);
                (yield_and_give(*number % 7), number)
            }
        }));
        assert_eq!(seen.into_inner(), 200);
        assert!(values.iter().map(|(_, number)| **number).eq((0..200).rev()));
    });
}

#[test]
fn nothing_is_collected_of_nothing_also_on_a_thread() {
    fn none() -> Vec<fn() -> Result<u32, u32>> {
        Vec::new()
    }
    let check = || {
        assert_eq!(collect_all(none()), []);
        assert_eq!(try_collect_all(none()), Ok(vec![]));
        assert_eq!(collect_n(3, none()), []);
        assert_eq!(collect_any(none()), None);
        assert_eq!(collect_any_ok(none()), Err(vec![]));
        for_each(none(), |_, _| panic!("there is none"));
    };
    check();
    run_on_one(check);
}

#[test]
fn on_a_thread_there_is_nobody_to_run_them() {
    let text = panics(|| collect_all([|| 1]));
    says(&text, &["outside of a runtime"]);
}

#[test]
fn a_panic_ends_the_others_and_is_the_callers() {
    on_all_numbers_of_workers(|| {
        let dropped = AtomicUsize::new(0);
        let text = panics(|| {
            collect_all((0..5).map(|i| {
                let dropped = &dropped;
                move || {
                    let _counts = CountsDrops(dropped);
                    if i == 3 {
                        panic!("number three");
                    }
                    fiber::sleep(FOREVER);
                }
            }))
        });
        assert_eq!(text, "number three");
        assert!(dropped.into_inner() >= 1);
        says(&panics(|| for_each([|| panic!("at once")], |_, ()| ())), &["at once"]);
        says(&panics(|| collect_n(1, [|| panic!("no winner")])), &["no winner"]);
    });
}

#[test]
fn a_panic_of_the_one_who_is_told_ends_those_that_run() {
    on_all_numbers_of_workers(|| {
        let both = [true, false].map(|first| {
            move || {
                if !first {
                    fiber::sleep(FOREVER);
                }
            }
        });
        let text = panics(|| for_each(both, |_, ()| panic!("enough")));
        assert_eq!(text, "enough");
    });
}

#[test]
fn the_first_error_ends_the_others() {
    on_all_numbers_of_workers(|| {
        let fallible = (0..5).map(|i| {
            move || {
                if i == 2 {
                    return Err(i);
                }
                fiber::sleep(FOREVER);
                Ok(i)
            }
        });
        assert_eq!(try_collect_all(fallible), Err(2));
        let all_well = (0..5).map(|i| move || Ok::<_, ()>(i));
        assert_eq!(try_collect_all(all_well), Ok(vec![0, 1, 2, 3, 4]));
    });
}

#[test]
fn the_first_n_come_in_the_order_of_their_ends() {
    run_on_one(|| {
        let times = [9, 1, 5, 3, 7];
        let first = collect_n(3, times.map(|times| move || yield_and_give(times)));
        assert_eq!(first, [(1, 1), (3, 3), (2, 5)]);
        let mut order = Vec::new();
        for_each(times.map(|times| move || yield_and_give(times)), |place, value| {
            order.push((place, value));
        });
        assert_eq!(order, [(1, 1), (3, 3), (2, 5), (4, 7), (0, 9)]);
    });
}

#[test]
fn those_left_over_have_been_cancelled_and_have_ended() {
    on_all_numbers_of_workers(|| {
        let (began, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let first = collect_n(
            2,
            (0..10).map(|i| {
                let (began, ended) = (&began, &ended);
                move || {
                    began.fetch_add(1, Ordering::SeqCst);
                    let _counts = CountsDrops(ended);
                    if i % 5 != 4 {
                        fiber::sleep(FOREVER);
                    }
                    i
                }
            }),
        );
        let mut values: Vec<_> = first.into_iter().collect();
        values.sort_unstable();
        assert_eq!(values, [(4, 4), (9, 9)]);
        assert_eq!(began.into_inner(), ended.into_inner());
        // More than there are is all; none is none, and nothing is called.
        assert_eq!(collect_n(5, [|| 1]), [(0, 1)]);
        assert_eq!(collect_n(0, [|| panic!("it is called")]).len(), 0);
    });
}

#[test]
fn any_is_the_first_to_end_or_the_first_to_succeed() {
    on_all_numbers_of_workers(|| {
        let done = collect_any([None, Some("done")].map(|value| {
            move || {
                value.unwrap_or_else(|| {
                    fiber::sleep(FOREVER);
                    "never"
                })
            }
        }));
        assert_eq!(done, Some((1, "done")));
        let tried = (0..4).map(|i| move || if i == 2 { Ok(i) } else { Err(i) });
        assert_eq!(collect_any_ok(tried), Ok((2, 2)));
        let failed = (0..4).map(|i| move || Err::<(), _>(yield_and_give(4 - i)));
        assert_eq!(collect_any_ok(failed), Err(vec![4, 3, 2, 1]));
    });
}

#[test]
fn who_is_cancelled_while_it_collects_is_unwound_with_all_of_them() {
    on_all_numbers_of_workers(|| {
        let ended = AtomicUsize::new(0);
        let stuck = || {
            (0..3).map(|_| {
                || {
                    let _counts = CountsDrops(&ended);
                    fiber::sleep(FOREVER);
                    Ok::<(), ()>(())
                }
            })
        };
        // By far enough for all to have begun, so that they count.
        let soon = Duration::from_millis(20);
        assert!(kapok::timeout(soon, || collect_all(stuck())).is_err());
        assert!(kapok::timeout(soon, || try_collect_all(stuck())).is_err());
        assert!(kapok::timeout(soon, || collect_n(2, stuck())).is_err());
        assert!(kapok::timeout(soon, || collect_any_ok(stuck())).is_err());
        assert!(kapok::timeout(soon, || for_each(stuck(), |_, _| ())).is_err());
        assert!(ended.into_inner() <= 15);
        // Already cancelled: nothing begins.
        assert!(kapok::deadline(std::time::Instant::now(), || collect_all([|| panic!("it began")])).is_err());
    });
}

#[test]
fn a_cancellation_is_no_result() {
    run_on_one(|| {
        let fiber = kapok::spawn(|| collect_any([|| fiber::sleep(FOREVER)]));
        fiber::yield_now();
        fiber.cancel();
        assert!(fiber.join().unwrap_err().is::<Cancelled>());
    });
}

#[test]
fn they_nest() {
    on_all_numbers_of_workers(|| {
        let table = collect_all((0..4).map(|row| move || collect_all((0..4).map(|column| move || row * column))));
        assert_eq!(table[3], [0, 3, 6, 9]);
    });
}

#[test]
fn no_suspend_refuses_before_anything_begins() {
    run_on_one(|| {
        let began = Cell::new(false);
        let text = panics(|| {
            kapok::no_suspend(|| {
                for_each(
                    std::iter::once_with(|| {
                        began.set(true);
                        || ()
                    }),
                    |_, ()| (),
                );
            });
        });
        says(&text, &["would suspend"]);
        assert!(!began.get());
        let caught = catch_unwind(AssertUnwindSafe(|| kapok::timeout(SOON, || collect_all([|| 1]))));
        assert_eq!(caught.expect("no panic"), Ok(vec![1]));
    });
}
