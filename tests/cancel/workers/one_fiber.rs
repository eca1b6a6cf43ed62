//! One fiber is cancelled from another worker, wherever it is.

use std::io::Read;
use std::sync::Arc;

use kapok::net::TcpListener;
use kapok::sync::Baton;
use kapok::{Cancelled, blocking, fiber, race, spawn};

use super::{ROUNDS, Tally, WORKERS, dawdle, run_on, scoped_on, spawn_on};
use crate::points::connection;
use crate::support::{OnDrop, Random};
use crate::{FOREVER, SOON};

/// A fiber on another worker is cancelled when it begins, waits, is woken, and ends.
#[test]
fn a_fiber_that_begins_is_woken_or_ends_meanwhile() {
    run_on(WORKERS, || {
        let (mut random, mut outcomes) = (Random::new(31), [0; 2]);
        for round in 0..ROUNDS * 20 {
            let (tally, baton) = (Arc::new(Tally::default()), Arc::new(Baton::new()));
            let (counts, theirs, kind) = (Arc::clone(&tally), Arc::clone(&baton), round / WORKERS % 4);
            let on = random.below(WORKERS);
            let fiber = Arc::new(spawn_on(on, move || {
                counts.body(1, || match kind {
                    0 => {}
                    1 => theirs.wait(),
                    2 => fiber::park(),
                    _ => fiber::yield_now(),
                });
            }));
            let (canceller, waker) = (on + 1 + random.below(3), on + random.below(WORKERS));
            let (cancels, wakes) = (Arc::clone(&fiber), Arc::clone(&fiber));
            let mut seeds = [(); 2].map(|()| Random::new(random.next()));
            let [mut first, mut second] = seeds.each_mut().map(|seed| seed.clone());
            let canceller = spawn_on(canceller, move || {
                dawdle(&mut first);
                cancels.cancel();
            });
            let waker = spawn_on(waker, move || {
                dawdle(&mut second);
                baton.post();
                wakes.fiber().unpark();
            });
            canceller.join().unwrap();
            waker.join().unwrap();
            let fiber = Arc::into_inner(fiber).expect("both have let go of it");
            match fiber.join() {
                Ok(()) => outcomes[0] += 1,
                Err(payload) => {
                    assert!(payload.is::<Cancelled>());
                    outcomes[1] += 1;
                }
            }
            assert!(tally.over().0 <= 1);
        }
        assert!(outcomes[1] > 0, "nobody was cancelled");
    });
}

/// Cancels a fiber that is in `wait`, or about to be, from another worker; `then` is called after it was cancelled.
fn is_ended(name: &str, round: usize, wait: impl FnOnce() + Send + 'static, then: impl FnOnce() + Send + 'static) {
    let tally = Arc::new(Tally::default());
    let theirs = Arc::clone(&tally);
    let fiber = spawn_on(round, move || {
        theirs.body(1, || {
            wait();
            // Where the wait itself was over before the fiber has been told.
            loop {
                fiber::yield_now();
            }
        })
    });
    tally.all_began.wait();
    if round % 2 == 0 {
        // Most likely it waits by now.
        fiber::sleep(SOON);
    }
    let cancelled = spawn_on(round + 1, move || {
        fiber.cancel();
        then();
        fiber
    });
    let payload = cancelled.join().unwrap().join().expect_err(name);
    assert!(payload.is::<Cancelled>(), "{name}");
    tally.all_were_unwound(1);
}

fn is_ended_from_elsewhere(name: &str, wait: impl Fn() + Send + Sync + 'static) {
    let wait = Arc::new(wait);
    for round in 0..WORKERS {
        let wait = Arc::clone(&wait);
        is_ended(name, round, move || wait(), || ());
    }
}

#[test]
fn every_wait_is_ended_from_another_worker() {
    run_on(WORKERS, || {
        is_ended_from_elsewhere("Baton", || Baton::new().wait());
        is_ended_from_elsewhere("Baton::wait_timeout", || _ = Baton::new().wait_timeout(FOREVER));
        is_ended_from_elsewhere("sleep", || fiber::sleep(FOREVER));
        is_ended_from_elsewhere("park", fiber::park);
        is_ended_from_elsewhere("race", || race(fiber::park, fiber::park));
        is_ended_from_elsewhere("scope", || fiber::scope(|s| drop(scoped_on(s, 0, fiber::park))));
        let yields = || {
            loop {
                fiber::yield_now();
            }
        };
        is_ended_from_elsewhere("yield_now", yields);
        let (stream, peer) = connection();
        is_ended_from_elsewhere("read", move || drop((&stream).read(&mut [0; 10])));
        drop(peer);
        let (stream, peer) = connection();
        is_ended_from_elsewhere("write", move || crate::points::fill(&stream));
        drop(peer);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        is_ended_from_elsewhere("accept", move || drop(listener.accept()));
        let joins = || {
            let other = spawn(fiber::park);
            let unparks = other.fiber().clone();
            let _lets_it_go = OnDrop(|| unparks.unpark());
            drop(other.join());
        };
        is_ended_from_elsewhere("join", joins);
        // It cannot be stopped, and is waited for.
        for round in 0..WORKERS {
            let (go, wait) = std::sync::mpsc::sync_channel(1);
            let blocks = move || blocking(move || wait.recv().unwrap());
            is_ended("blocking", round, blocks, move || go.send(()).unwrap());
        }
    });
}
