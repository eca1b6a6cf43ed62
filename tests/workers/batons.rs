//! Waiting for each other across workers: no wake-up is lost, none comes twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kapok::runtime::Handle;
use kapok::sync::Baton;
use kapok::{fiber, spawn};

use crate::support::{Random, emulator, show};
use crate::{here, run_on, spawn_on};

/// Lets two fibers take turns, so many times.
fn ping_pong(workers: [usize; 2], rounds: usize) {
    let batons = Arc::new([Baton::new(), Baton::new()]);
    let sides = [0, 1].map(|side| {
        let batons = Arc::clone(&batons);
        spawn_on(workers[side], move || {
            for _ in 0..rounds {
                if side == 0 {
                    batons[1].post();
                }
                batons[side].wait();
                batons[side].reset();
                if side == 1 {
                    batons[0].post();
                }
            }
            here()
        })
    });
    assert_eq!(sides.map(|side| side.join().unwrap()), workers);
}

/// `KAPOK_ROUNDS` says how many rounds; `ci/workers.sh` runs ten million.
#[test]
fn ping_pong_between_two_workers() {
    let rounds =
        std::env::var("KAPOK_ROUNDS").map_or(emulator::rounds(100_000), |text| text.parse().expect("a number"));
    let begin = std::time::Instant::now();
    kapok::runtime::Builder::new()
        .workers(2)
        .run(|| ping_pong([0, 1], rounds))
        .unwrap();
    show(&format!("{rounds} rounds took {:?}", begin.elapsed()));
}

#[test]
fn many_pairs_between_many_workers() {
    run_on(4, || {
        let pairs: Vec<_> = (0..16)
            .map(|i| spawn(move || ping_pong([i % 4, (i / 4 + i + 1) % 4], emulator::rounds(2_000))))
            .collect();
        pairs.into_iter().for_each(|pair| pair.join().unwrap());
    });
}

#[test]
fn park_and_unpark_across_workers() {
    run_on(2, || {
        let rounds = emulator::rounds(10_000);
        let count = Arc::new(AtomicUsize::new(0));
        let (theirs, done) = (Arc::clone(&count), Arc::new(Baton::new()));
        let end = Arc::clone(&done);
        let parker = spawn_on(1, move || {
            while theirs.load(Ordering::SeqCst) < rounds {
                fiber::park();
            }
            end.post();
        });
        for _ in 0..rounds {
            count.fetch_add(1, Ordering::SeqCst);
            parker.fiber().unpark();
        }
        done.wait();
        parker.join().unwrap();
    });
}

/// Time-outs and posts meet, on and between workers that fall asleep and wake up all the time.
#[test]
fn storms_of_sleeping_and_waking() {
    run_on(3, || {
        let tokens: Arc<Vec<Baton>> = Arc::new((0..30).map(|_| Baton::new()).collect());
        let posts = Arc::new(AtomicUsize::new(0));
        let fibers: Vec<_> = (0..30)
            .map(|i| {
                let (tokens, posts) = (Arc::clone(&tokens), Arc::clone(&posts));
                spawn_on(i % 3, move || {
                    let mut random = Random::new(i as u64);
                    for _ in 0..300 {
                        match random.below(4) {
                            0 => fiber::sleep(Duration::from_micros(random.below(300) as u64)),
                            1 => {
                                if tokens[i].wait_timeout(Duration::from_micros(random.below(300) as u64)) {
                                    tokens[i].reset();
                                    posts.fetch_add(1, Ordering::Relaxed);
                                }
                            }
                            2 => tokens[random.below(30)].post(),
                            _ => spawn(|| ()).join().unwrap(),
                        }
                    }
                })
            })
            .collect();
        fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
        assert!(posts.load(Ordering::Relaxed) > 0);
    });
}

/// Whatever ends last, on whichever worker: the runtime ends.
#[test]
fn runtimes_end_when_their_last_fibers_end_at_once() {
    for round in 0..emulator::rounds(500) {
        let ended = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&ended);
        run_on(2 + round % 3, move || {
            for worker in 0..Handle::current().workers() {
                let ended = Arc::clone(&theirs);
                drop(spawn_on(worker, move || {
                    for _ in 0..round % 7 {
                        fiber::yield_now();
                    }
                    drop(spawn(move || ended.fetch_add(1, Ordering::SeqCst)));
                }));
            }
        });
        assert_eq!(ended.load(Ordering::SeqCst), 2 + round % 3);
    }
}
