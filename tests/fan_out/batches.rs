//! `BatchDispatcher` and `AtomicBatchDispatcher`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use kapok::fan_out::{AtomicBatchDispatcher, BatchDispatcher, BatchError, BrokenPromise, collect_all};
use kapok::{fiber, scope};

use crate::support::{panics, run_on_one, says, watchdog};
use crate::{FOREVER, SOON, on_all_numbers_of_workers};

#[test]
fn what_is_asked_in_one_turn_is_one_batch() {
    run_on_one(|| {
        let sizes = Mutex::new(Vec::new());
        scope(|s| {
            let batches = BatchDispatcher::in_scope(s, |numbers: Vec<u32>| {
                sizes.lock().unwrap().push(numbers.len());
                numbers.into_iter().map(|number| number + 1).collect()
            });
            let calls = || {
                collect_all((0..10).map(|i| {
                    let batches = &batches;
                    move || batches.call(i)
                }))
            };
            assert_eq!(calls()[9], Ok(10));
            assert_eq!(calls()[0], Ok(1));
            assert_eq!(batches.clone().call(5), Ok(6));
        });
        assert_eq!(sizes.into_inner().unwrap(), [10, 10, 1]);
    });
}

#[test]
fn everyone_gets_their_own_result_on_any_number_of_workers() {
    on_all_numbers_of_workers(|| {
        let calls = std::sync::Arc::new(AtomicUsize::new(0));
        let theirs = std::sync::Arc::clone(&calls);
        let batches = BatchDispatcher::new(move |numbers: Vec<usize>| {
            theirs.fetch_add(1, Ordering::Relaxed);
            fiber::yield_now(); // it may wait
            numbers.into_iter().map(|number| number * 2).collect()
        });
        let results = collect_all((0..500).map(|i| {
            let batches = &batches;
            move || {
                (0..i % 3).for_each(|_| fiber::yield_now());
                batches.call(i)
            }
        }));
        assert!(results.into_iter().enumerate().all(|(i, result)| result == Ok(2 * i)));
        assert!((1..=500).contains(&calls.load(Ordering::Relaxed)));
    });
}

#[test]
fn on_a_thread_it_is_done_at_once() {
    let _watchdog = watchdog();
    let batches = BatchDispatcher::new(|words: Vec<&str>| words.into_iter().map(str::len).collect());
    assert_eq!(batches.call("four"), Ok(4));
    let others = batches.clone();
    assert_eq!(thread::spawn(move || others.call("three")).join().unwrap(), Ok(5));
    let wrong = BatchDispatcher::new(|_: Vec<u8>| Vec::<u8>::new());
    says(&panics(|| wrong.call(1)), &["as many results"]);
}

#[test]
fn a_thread_and_fibers_share_a_dispatcher() {
    on_all_numbers_of_workers(|| {
        let batches = BatchDispatcher::new(|numbers: Vec<u64>| numbers.into_iter().map(|number| number + 1).collect());
        let from_fibers: Vec<_> = (0..20).map(|i| batches.add(i)).collect();
        let others = batches.clone();
        let from_a_thread = thread::spawn(move || others.call(100));
        assert_eq!(kapok::blocking(|| from_a_thread.join()).unwrap(), Ok(101));
        assert!(
            from_fibers
                .into_iter()
                .zip(1..)
                .all(|(future, expected)| future.wait() == Ok(expected))
        );
    });
}

#[test]
fn a_panic_breaks_the_promises_of_its_batch_alone() {
    on_all_numbers_of_workers(|| {
        let batches = BatchDispatcher::new(|numbers: Vec<u32>| {
            assert!(!numbers.contains(&13), "an unlucky one");
            numbers
        });
        assert_eq!(batches.call(13), Err(BrokenPromise));
        assert_eq!(batches.call(14), Ok(14));
        // In a scope it is the scope's, too.
        let text = panics(|| {
            scope(|s| {
                let batches = BatchDispatcher::in_scope(s, |_: Vec<u32>| -> Vec<u32> { panic!("in the batch") });
                batches.add(1)
            })
            .wait()
        });
        assert_eq!(text, "in the batch");
    });
}

#[test]
fn a_batch_that_never_begins_breaks_its_promises() {
    on_all_numbers_of_workers(|| {
        let future = scope(|s| {
            s.cancel();
            BatchDispatcher::in_scope(s, |numbers: Vec<u32>| numbers).add(1)
        });
        assert_eq!(future.wait(), Err(BrokenPromise));
    });
}

#[test]
fn what_was_asked_for_is_done_also_when_the_asker_is_gone() {
    run_on_one(|| {
        let seen = Mutex::new(Vec::<u32>::new());
        scope(|s| {
            let batches = BatchDispatcher::in_scope(s, |numbers: Vec<u32>| {
                seen.lock().unwrap().extend(&numbers);
                numbers
            });
            let outcome = kapok::deadline(std::time::Instant::now(), || batches.call(7));
            assert!(outcome.is_err());
            drop(batches.add(8));
        });
        assert_eq!(seen.into_inner().unwrap(), [7, 8]);
    });
}

#[test]
fn an_atomic_batch_waits_for_all_and_keeps_the_order_of_the_tokens() {
    on_all_numbers_of_workers(|| {
        let calls = AtomicUsize::new(0);
        let mut batch = AtomicBatchDispatcher::new(|inputs: Vec<usize>| {
            calls.fetch_add(1, Ordering::Relaxed);
            assert!(inputs.iter().copied().eq(0..50));
            inputs.into_iter().map(|input| input * 3).collect()
        });
        let tokens: Vec<_> = (0..50).map(|_| batch.token()).collect();
        scope(|s| {
            for token in tokens.into_iter().rev() {
                s.spawn(move || {
                    let place = token.place();
                    assert_eq!(token.dispatch(place).wait(), Ok(place * 3));
                });
            }
            fiber::yield_now();
            batch.commit();
        });
        assert_eq!(calls.into_inner(), 1);
    });
}

#[test]
fn an_atomic_batch_works_between_threads() {
    let _watchdog = watchdog();
    let mut batch = AtomicBatchDispatcher::new(|inputs: Vec<u32>| inputs.into_iter().rev().collect());
    let (first, second) = (batch.token(), batch.token());
    batch.commit();
    let thread = thread::spawn(|| second.dispatch(2).wait());
    assert_eq!(first.dispatch(1).wait(), Ok(2));
    assert_eq!(thread.join().unwrap(), Ok(1));
}

#[test]
fn a_token_that_is_dropped_refuses_the_batch() {
    on_all_numbers_of_workers(|| {
        let mut batch = AtomicBatchDispatcher::new(|_: Vec<u32>| -> Vec<u32> { panic!("it is called") });
        let (early, dropped, late) = (batch.token(), batch.token(), batch.token());
        let early = early.dispatch(1);
        drop(dropped);
        assert_eq!(early.wait(), Err(BatchError::TokenDropped));
        assert_eq!(late.dispatch(2).wait(), Err(BatchError::TokenDropped));
        drop(batch.token());
        batch.commit();
        // One that is lost with its fiber, after the commit.
        let mut batch = AtomicBatchDispatcher::new(|_: Vec<u32>| -> Vec<u32> { panic!("it is called") });
        let (mine, lost) = (batch.token(), batch.token());
        batch.commit();
        let fiber = kapok::spawn(move || {
            fiber::sleep(FOREVER);
            lost.dispatch(1).wait()
        });
        let result = mine.dispatch(2);
        fiber.cancel();
        assert_eq!(result.wait(), Err(BatchError::TokenDropped));
    });
}

#[test]
fn a_batch_without_a_commit_is_refused() {
    run_on_one(|| {
        let mut batch = AtomicBatchDispatcher::new(|inputs: Vec<u32>| inputs);
        let (first, second) = (batch.token(), batch.token());
        let result = first.dispatch(1);
        drop(batch);
        assert_eq!(result.wait(), Err(BatchError::NotCommitted));
        assert_eq!(second.dispatch(1).wait(), Err(BatchError::NotCommitted));
        says(&BatchError::NotCommitted.to_string(), &["commit"]);
        // Without tokens there is nothing to do.
        AtomicBatchDispatcher::new(|_: Vec<u32>| -> Vec<u32> { panic!("it is called") }).commit();
    });
}

#[test]
fn a_panic_of_an_atomic_batch_is_told_to_all() {
    on_all_numbers_of_workers(|| {
        for gives in [None, Some(vec![1])] {
            let mut batch = AtomicBatchDispatcher::new(|_: Vec<u32>| gives.expect("no results"));
            let (first, last) = (batch.token(), batch.token());
            batch.commit();
            let first = first.dispatch(1);
            says(&panics(|| last.dispatch(2)), &["results"]);
            assert_eq!(first.wait(), Err(BatchError::Panicked));
        }
    });
}

#[test]
fn who_is_cancelled_while_it_waits_has_brought_its_input_all_the_same() {
    run_on_one(|| {
        let mut batch = AtomicBatchDispatcher::new(|inputs: Vec<u32>| inputs);
        let (first, second) = (batch.token(), batch.token());
        batch.commit();
        assert!(kapok::timeout(SOON, || first.dispatch(1).wait()).is_err());
        assert_eq!(second.dispatch(2).wait(), Ok(2));
    });
}
