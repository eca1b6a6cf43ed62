//! A post races with the waiter's time-out, or with other posts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use kapok::sync::Baton;
use kapok::{fiber, spawn};

use crate::support::{Random, emulator, run, run_on_one, watchdog};

/// One that waits with tiny time-outs, and how many posts it has asked for.
#[derive(Default)]
struct Racer {
    baton: Baton,
    asked: AtomicUsize,
}

fn racers(count: usize) -> Arc<[Racer]> {
    (0..count).map(|_| Racer::default()).collect()
}

/// Asks for a post and waits, but not for long: the wait sees the post or it times out, and then the next wait sees it.
/// Gives how many came late.
fn race_to_wait(racer: &Racer, seed: u64, rounds: usize) -> usize {
    let mut random = Random::new(seed);
    let mut late = 0;
    for _ in 0..rounds {
        racer.asked.fetch_add(1, Ordering::SeqCst);
        if !racer.baton.wait_timeout(random.micros_below(60)) {
            late += 1;
            racer.baton.wait();
        }
        assert!(racer.baton.try_wait());
        racer.baton.reset();
    }
    late
}

/// Posts once for each time that somebody asked, after a random while.
fn race_to_post(racers: &[Racer], rounds: usize) {
    let mut random = Random::new(99);
    let mut posted = vec![0; racers.len()];
    while posted.iter().any(|&count| count < rounds) {
        for (racer, posted) in racers.iter().zip(&mut posted) {
            if racer.asked.load(Ordering::SeqCst) > *posted {
                (0..random.below(400)).for_each(|_| std::hint::spin_loop());
                *posted += 1;
                racer.baton.post();
            }
        }
    }
}

#[test]
fn post_of_a_thread_races_with_the_time_out_of_a_fiber() {
    const RACERS: usize = 10;
    let rounds = emulator::rounds(10_000);
    run(|| {
        let racers = racers(RACERS);
        let theirs = Arc::clone(&racers);
        let poster = thread::spawn(move || race_to_post(&theirs, rounds));
        let waiters: Vec<_> = (0..RACERS)
            .map(|i| {
                let racers = Arc::clone(&racers);
                spawn(move || race_to_wait(&racers[i], i as u64, rounds))
            })
            .collect();
        let late: usize = waiters.into_iter().map(|waiter| waiter.join().unwrap()).sum();
        kapok::blocking(|| poster.join().unwrap());
        assert!(
            racers.iter().all(|racer| !racer.baton.try_wait()),
            "no post was made twice"
        );
        assert!(late > 0, "it was a race");
    });
}

#[test]
fn post_of_a_thread_races_with_the_time_out_of_a_thread() {
    let rounds = emulator::rounds(10_000);
    let _watchdog = watchdog();
    let racers = racers(2);
    thread::scope(|scope| {
        for (seed, racer) in (0..).zip(racers.iter()) {
            scope.spawn(move || race_to_wait(racer, seed, rounds));
        }
        race_to_post(&racers, rounds);
    });
    assert!(racers.iter().all(|racer| !racer.baton.try_wait()));
}

#[test]
fn post_of_a_fiber_races_with_the_time_out_of_its_neighbour() {
    let rounds = emulator::rounds(5_000);
    run_on_one(|| {
        let racers = racers(1);
        let theirs = Arc::clone(&racers);
        let waiter = spawn(move || race_to_wait(&theirs[0], 0, rounds));
        let mut random = Random::new(2);
        for round in 0..rounds {
            while racers[0].asked.load(Ordering::SeqCst) == round {
                fiber::yield_now();
            }
            match random.below(3) {
                0 => fiber::sleep(random.micros_below(100)),
                _ => (0..random.below(300)).for_each(|_| fiber::yield_now()),
            }
            racers[0].baton.post();
        }
        waiter.join().unwrap();
    });
}

#[test]
fn many_posters_at_once_wake_one_waiter_once() {
    run(|| {
        const POSTERS: usize = 8;
        let rounds = emulator::rounds(500);
        let baton = Arc::new(Baton::new());
        let (round, arrived) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let threads: Vec<_> = (0..POSTERS)
            .map(|_| {
                let (baton, round, arrived) = (Arc::clone(&baton), Arc::clone(&round), Arc::clone(&arrived));
                thread::spawn(move || {
                    for number in 1..=rounds {
                        while round.load(Ordering::SeqCst) < number {
                            thread::yield_now();
                        }
                        baton.post();
                        arrived.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        for number in 1..=rounds {
            round.store(number, Ordering::SeqCst);
            baton.wait();
            while arrived.load(Ordering::SeqCst) < number * POSTERS {
                fiber::yield_now();
            }
            assert!(baton.try_wait());
            baton.reset();
        }
        kapok::blocking(|| threads.into_iter().for_each(|thread| thread.join().unwrap()));
    });
}
