//! Cancelling from other threads, at any moment.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use kapok::sync::{Baton, mpmc};
use kapok::{CancelToken, Cancelled, fiber, spawn};

use crate::FOREVER;
use crate::points::connection;
use crate::support::{Random, run};

const ROUNDS: usize = if cfg!(debug_assertions) { 1000 } else { 5000 };

/// Lets some time pass, none that could be measured.
fn dawdle(random: &mut Random) {
    for _ in 0..random.below(300) {
        std::hint::spin_loop();
    }
}

#[test]
fn a_post_and_a_cancellation_at_once() {
    run(|| {
        let (mut posted, mut cancelled) = (0, 0);
        let mut random = Random::new(21);
        for round in 0..ROUNDS {
            let baton = Arc::new(Baton::new());
            let theirs = Arc::clone(&baton);
            let fiber = spawn(move || theirs.wait());
            if round % 3 > 0 {
                fiber::yield_now();
            }
            let poster = Arc::clone(&baton);
            let mut seeds = (random.clone(), random.clone());
            random.next();
            let fiber = &fiber;
            thread::scope(|s| {
                s.spawn(move || {
                    dawdle(&mut seeds.0);
                    poster.post();
                });
                dawdle(&mut seeds.1);
                fiber.cancel();
            });
            while !fiber.is_finished() {
                fiber::yield_now();
            }
            assert!(baton.try_wait(), "a post is not lost");
            if round % 2 == 0 {
                posted += 1;
            } else {
                cancelled += 1;
            }
        }
        assert_eq!(posted + cancelled, ROUNDS);
    });
}

/// Who waits in a line and is called and cancelled at once, and now and then out of time, too.
#[test]
fn a_message_a_cancellation_and_a_deadline_at_once() {
    run(|| {
        let mut random = Random::new(22);
        for round in 0..ROUNDS {
            let (sender, receiver) = mpmc::channel();
            let (theirs, received) = (receiver.clone(), Arc::new(AtomicUsize::new(0)));
            let count = Arc::clone(&received);
            let patience = Duration::from_micros(random.below(40) as u64);
            let fiber = spawn(move || {
                let got = if round % 2 == 0 {
                    theirs.recv().is_ok()
                } else {
                    theirs.recv_timeout(patience).is_ok()
                };
                count.fetch_add(usize::from(got), Ordering::Relaxed);
            });
            if round % 3 > 0 {
                fiber::yield_now();
            }
            let mut seeds = (random.clone(), random.clone());
            random.next();
            let fiber = &fiber;
            thread::scope(|s| {
                s.spawn(move || {
                    dawdle(&mut seeds.0);
                    sender.send(round).unwrap();
                });
                dawdle(&mut seeds.1);
                fiber.cancel();
            });
            while !fiber.is_finished() {
                fiber::yield_now();
            }
            let left = receiver.try_iter().count();
            assert_eq!(
                received.load(Ordering::Relaxed) + left,
                1,
                "a message is not lost, nor received twice"
            );
        }
    });
}

#[test]
fn a_fiber_that_begins_ends_or_waits_meanwhile() {
    run(|| {
        let mut random = Random::new(22);
        let canceller = Canceller::new();
        let (mut unwound, mut returned) = (0, 0);
        for _ in 0..ROUNDS {
            let steps = random.below(4);
            let fiber = Arc::new(spawn(move || {
                for step in 0..steps {
                    match step {
                        0 => fiber::yield_now(),
                        1 => fiber::sleep(Duration::from_nanos(1)),
                        _ => fiber::park_timeout(Duration::from_micros(1)),
                    }
                }
            }));
            let theirs = Arc::clone(&fiber);
            let mut seed = random.clone();
            random.next();
            canceller.call(move || {
                dawdle(&mut seed);
                theirs.cancel();
            });
            for _ in 0..random.below(3) {
                fiber::yield_now();
            }
            canceller.done();
            let fiber = Arc::into_inner(fiber).expect("the thread has let go of it");
            match fiber.join() {
                Ok(()) => returned += 1,
                Err(payload) => {
                    assert!(payload.is::<Cancelled>());
                    unwound += 1;
                }
            }
        }
        assert_eq!(unwound + returned, ROUNDS);
        assert!(unwound > 0);
    });
}

/// A thread that makes one call after the other.
struct Canceller {
    calls: std::sync::mpsc::SyncSender<Box<dyn FnOnce() + Send>>,
    done: Arc<Baton>,
}

impl Canceller {
    fn new() -> Canceller {
        let (calls, received) = std::sync::mpsc::sync_channel::<Box<dyn FnOnce() + Send>>(1);
        let done = Arc::new(Baton::new());
        let posts = Arc::clone(&done);
        thread::spawn(move || {
            for call in received {
                call();
                posts.post();
            }
        });
        Canceller { calls, done }
    }

    fn call(&self, call: impl FnOnce() + Send + 'static) {
        self.calls.send(Box::new(call)).unwrap();
    }

    fn done(&self) {
        self.done.wait();
        self.done.reset();
    }
}

#[test]
fn data_and_a_cancellation_at_once() {
    run(|| {
        let (stream, mut peer) = connection();
        let stream = Arc::new(stream);
        let canceller = Canceller::new();
        let mut random = Random::new(23);
        let (mut sent, mut got) = (0_usize, 0);
        for _ in 0..ROUNDS / 5 {
            let token = CancelToken::new();
            let (theirs, reads) = (token.clone(), Arc::clone(&stream));
            let count = Arc::new(AtomicUsize::new(0));
            let counts = Arc::clone(&count);
            let reader = spawn(move || {
                theirs.run(|| {
                    counts.fetch_add((&*reads).read(&mut [0; 8]).unwrap(), Ordering::Relaxed);
                })
            });
            fiber::yield_now();
            let mut seed = random.clone();
            random.next();
            canceller.call(move || {
                dawdle(&mut seed);
                token.cancel();
            });
            dawdle(&mut random);
            if random.below(2) == 0 {
                sent += peer.write(&[1]).unwrap();
            }
            canceller.done();
            let _: Result<(), Cancelled> = reader.join().unwrap();
            got += count.load(Ordering::Relaxed);
        }
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        (&*stream).read_to_end(&mut rest).unwrap();
        assert_eq!(got + rest.len(), sent);
    });
}

#[test]
fn a_token_and_scopes_of_many_from_a_thread() {
    run(|| {
        for round in 0..ROUNDS / 20 {
            let token = CancelToken::new();
            let ended = Arc::new(AtomicUsize::new(0));
            let (theirs, counts) = (token.clone(), Arc::clone(&ended));
            let thread = thread::spawn(move || {
                while counts.load(Ordering::Relaxed) < round % 7 {
                    std::hint::spin_loop();
                }
                theirs.cancel();
            });
            let outcome = token.run(|| {
                fiber::scope(|s| {
                    for _ in 0..10 {
                        s.spawn(|| {
                            ended.fetch_add(1, Ordering::Relaxed);
                            token.run(|| fiber::sleep(FOREVER)).unwrap_err();
                            fiber::sleep(FOREVER);
                        });
                        fiber::yield_now();
                    }
                    fiber::park();
                });
            });
            assert_eq!(outcome, Err(Cancelled));
            thread.join().unwrap();
        }
    });
}
