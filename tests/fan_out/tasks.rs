//! `Tasks`.

use std::sync::atomic::{AtomicUsize, Ordering};

use kapok::fan_out::Tasks;
use kapok::sync::Semaphore;
use kapok::{fiber, scope};

use crate::support::{CountsDrops, panics, run_on_one, says};
use crate::{FOREVER, SOON, on_all_numbers_of_workers};

#[test]
fn every_result_comes_once_with_its_number() {
    on_all_numbers_of_workers(|| {
        let names: Vec<String> = (0..100).map(|i| i.to_string()).collect();
        let mut seen = vec![0; 100];
        scope(|s| {
            let mut tasks = Tasks::new(s);
            for (i, name) in names.iter().enumerate() {
                assert_eq!(
                    tasks.add(move || {
                        fiber::yield_now();
                        name.as_str()
                    }),
                    i
                );
            }
            assert_eq!(tasks.size_hint(), (0, Some(100)));
            for (number, name) in tasks {
                assert_eq!(name, names[number]);
                seen[number] += 1;
            }
        });
        assert!(seen.iter().all(|count| *count == 1));
    });
}

#[test]
fn tasks_are_added_while_results_are_taken_and_after() {
    on_all_numbers_of_workers(|| {
        let sum: u32 = scope(|s| {
            let mut tasks = Tasks::new(s);
            assert_eq!(tasks.next(), None);
            tasks.add(|| 16);
            let mut sum = 0;
            while let Some((_, value)) = tasks.next() {
                sum += value;
                if value > 1 {
                    tasks.add(move || value / 2);
                    tasks.add(move || value / 2);
                }
            }
            assert_eq!(tasks.next(), None);
            tasks.add(|| 1000);
            sum + tasks.next().unwrap().1
        });
        assert_eq!(sum, 16 * 5 + 1000);
    });
}

#[test]
fn no_more_run_than_the_limit_allows() {
    on_all_numbers_of_workers(|| {
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let count = scope(|s| {
            let mut tasks = Tasks::new(s).with_limit(3);
            for i in 0..50 {
                let (running, most) = (&running, &most);
                tasks.add(move || {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    (0..i % 4).for_each(|_| fiber::yield_now());
                    running.fetch_sub(1, Ordering::SeqCst);
                });
                assert!(tasks.running() <= 3);
            }
            tasks.count()
        });
        assert_eq!(count, 50);
        assert!((1..=3).contains(&most.into_inner()));
    });
    run_on_one(|| scope(|s| says(&panics(|| Tasks::<()>::new(s).with_limit(0)), &["limit of 0"])));
}

#[test]
fn reserve_waits_for_as_many_or_for_all() {
    on_all_numbers_of_workers(|| {
        scope(|s| {
            let gate = std::sync::Arc::new(Semaphore::new(0));
            let mut tasks = Tasks::new(s);
            for i in 0..6 {
                let gate = std::sync::Arc::clone(&gate);
                tasks.add(move || {
                    gate.acquire().unwrap().forget();
                    i
                });
            }
            tasks.reserve(0);
            assert_eq!((tasks.ready(), tasks.running()), (0, 6));
            gate.add(4);
            tasks.reserve(4);
            assert_eq!(tasks.ready(), 4);
            assert!(tasks.next().is_some());
            tasks.reserve(3);
            gate.add(2);
            tasks.reserve(100);
            assert_eq!((tasks.ready(), tasks.running()), (5, 0));
            assert_eq!(tasks.count(), 5);
        });
    });
}

#[test]
fn dropping_it_early_leaves_the_tasks_to_the_scope() {
    on_all_numbers_of_workers(|| {
        let dropped = AtomicUsize::new(0);
        let ended = AtomicUsize::new(0);
        scope(|s| {
            let mut tasks = Tasks::new(s);
            for _ in 0..5 {
                tasks.add(|| {
                    fiber::yield_now();
                    ended.fetch_add(1, Ordering::SeqCst);
                    CountsDrops(&dropped)
                });
            }
            drop(tasks.next());
        });
        assert_eq!((ended.into_inner(), dropped.into_inner()), (5, 5));
    });
}

#[test]
fn a_panic_is_the_scopes() {
    on_all_numbers_of_workers(|| {
        let text = panics(|| {
            scope(|s| {
                let mut tasks = Tasks::new(s);
                tasks.add(|| fiber::sleep(FOREVER));
                tasks.add(|| panic!("one of them"));
                tasks.count()
            })
        });
        assert_eq!(text, "one of them");
    });
}

#[test]
fn those_that_were_cancelled_are_left_out() {
    on_all_numbers_of_workers(|| {
        let (before, after) = scope(|s| {
            let mut tasks = Tasks::new(s);
            tasks.add(|| "in time");
            tasks.add(|| {
                fiber::sleep(FOREVER);
                "too late"
            });
            let before = tasks.next();
            s.cancel();
            tasks.add(|| "does not even begin");
            (before, tasks.next())
        });
        assert_eq!((before, after), (Some((0, "in time")), None));
    });
}

#[test]
fn a_wait_that_was_cancelled_can_be_made_again() {
    on_all_numbers_of_workers(|| {
        scope(|s| {
            let gate = std::sync::Arc::new(Semaphore::new(0));
            let theirs = std::sync::Arc::clone(&gate);
            let mut tasks = Tasks::new(s).with_limit(1);
            tasks.add(move || theirs.acquire().unwrap().forget());
            assert!(kapok::timeout(SOON, || tasks.reserve(1)).is_err());
            assert!(kapok::timeout(SOON, || tasks.next()).is_err());
            assert!(kapok::timeout(SOON, || tasks.add(|| ())).is_err());
            gate.add(1);
            assert_eq!(tasks.next(), Some((0, ())));
            assert_eq!(tasks.add(|| ()), 1);
            assert_eq!(tasks.next(), Some((1, ())));
        });
    });
}
