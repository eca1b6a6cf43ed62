//! Sleeping: never early, in order, and without holding anybody up.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use kapok::fiber::{self, JoinHandle};
use kapok::{Engine, spawn, spawn_local};

use crate::support::{Random, run, run_with};

#[test]
fn sleep_is_never_early() {
    for engine in Engine::available() {
        run_with(engine, || {
            let fibers: Vec<_> = (0..50)
                .map(|seed| {
                    spawn(move || {
                        let mut random = Random::new(seed);
                        for _ in 0..20 {
                            let duration = random.micros_below(3_000);
                            let start = Instant::now();
                            fiber::sleep(duration);
                            assert!(start.elapsed() >= duration);
                        }
                    })
                })
                .collect();
            fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
        });
    }
}

#[test]
fn sleep_until_is_never_early_either() {
    run(|| {
        fiber::sleep_until(Instant::now());
        let past = Instant::now();
        for micros in [1, 100, 1_000, 20_000] {
            let deadline = Instant::now() + Duration::from_micros(micros);
            fiber::sleep_until(deadline);
            assert!(Instant::now() >= deadline);
        }
        fiber::sleep_until(past);
    });
}

#[test]
fn sleeping_for_no_time_comes_back() {
    fiber::sleep(Duration::ZERO);
    run(|| {
        let stop = Rc::new(Cell::new(false));
        let theirs = Rc::clone(&stop);
        let other = spawn_local(move || {
            while !theirs.get() {
                fiber::yield_now();
            }
        });
        for _ in 0..10_000 {
            fiber::sleep(Duration::ZERO);
        }
        fiber::sleep(Duration::from_nanos(1));
        stop.set(true);
        other.join().unwrap();
    });
}

#[test]
fn sleeping_on_a_plain_thread_blocks_it() {
    let start = Instant::now();
    fiber::sleep(Duration::from_millis(5));
    assert!(start.elapsed() >= Duration::from_millis(5));
}

/// Fibers that sleep until 1 ms, 2 ms, ... from `base`, spawned in a shuffled order; what they note when they wake.
fn sleepers(count: usize, base: Instant, random: &mut Random) -> (Vec<JoinHandle<()>>, Rc<RefCell<Vec<usize>>>) {
    let woken = Rc::new(RefCell::new(Vec::new()));
    let mut order: Vec<usize> = (0..count).collect();
    random.shuffle(&mut order);
    let spawned = order.into_iter().map(|i| {
        let woken = Rc::clone(&woken);
        let delay = Duration::from_millis(1) * u32::try_from(i).expect("a small number");
        spawn_local(move || {
            fiber::sleep_until(base + delay);
            woken.borrow_mut().push(i);
        })
    });
    (spawned.collect(), woken)
}

#[test]
fn sleepers_wake_in_the_order_of_their_deadlines() {
    run(|| {
        let mut random = Random::new(4);
        for count in [3, 10, 100] {
            let base = Instant::now() + Duration::from_millis(100);
            let (fibers, woken) = sleepers(count, base, &mut random);
            fiber::yield_now();
            if Instant::now() >= base {
                continue; // the machine was too slow for them to lie down in time
            }
            fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
            assert!(woken.borrow().iter().copied().eq(0..count), "{woken:?}");
        }
    });
}

#[test]
fn sleepers_that_are_all_late_wake_in_the_order_of_their_deadlines() {
    run(|| {
        let mut random = Random::new(5);
        for count in [2, 3, 50, 300] {
            let base = Instant::now() + Duration::from_millis(200);
            let (fibers, woken) = sleepers(count, base, &mut random);
            fiber::yield_now();
            if Instant::now() >= base {
                continue; // the machine was too slow for them to lie down in time
            }
            // The worker's thread is busy while all their times come.
            thread::sleep(base + Duration::from_millis(1) * u32::try_from(count).unwrap() - Instant::now());
            fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
            assert!(woken.borrow().iter().copied().eq(0..count), "{woken:?}");
        }
    });
}

#[test]
fn ten_thousand_sleepers_wake_in_the_order_of_their_deadlines() {
    const COUNT: usize = 10_000;
    // Wider than a tick of the timers, so that no two deadlines are the same.
    const GAP: Duration = Duration::from_micros(100);
    let order = run(|| {
        let mut random = Random::new(6);
        let start: Rc<Cell<Option<Instant>>> = Rc::default();
        let woken = Rc::new(RefCell::new(Vec::with_capacity(COUNT)));
        let asleep = Rc::new(Cell::new(0));
        let mut numbers: Vec<u32> = (0..u32::try_from(COUNT).unwrap()).collect();
        random.shuffle(&mut numbers);
        let fibers: Vec<_> = numbers
            .into_iter()
            .map(|i| {
                let (start, woken, asleep) = (Rc::clone(&start), Rc::clone(&woken), Rc::clone(&asleep));
                let body = move || {
                    while start.get().is_none() {
                        fiber::park();
                    }
                    let deadline = start.get().expect("just seen") + GAP * i;
                    asleep.set(asleep.get() + 1);
                    fiber::sleep_until(deadline);
                    assert!(Instant::now() >= deadline);
                    woken.borrow_mut().push(i);
                };
                fiber::Builder::new()
                    .stack_size(kapok::stack::MIN_SIZE)
                    .spawn_local(body)
                    .unwrap()
            })
            .collect();
        // They have begun before the clock starts, so that they only have to lie down.
        fiber::yield_now();
        let base = Instant::now() + Duration::from_secs(1);
        start.set(Some(base));
        fibers.iter().for_each(|fiber| fiber.fiber().unpark());
        while asleep.get() < COUNT {
            fiber::yield_now();
        }
        let in_time = Instant::now() < base;
        fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
        let woken = woken.take();
        assert_eq!(woken.len(), COUNT);
        in_time.then_some(woken)
    });
    // Where the machine was too slow for them to lie down in time, some were late, and the order says nothing.
    if let Some(woken) = order {
        let wrong = woken.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert_eq!(wrong, 0, "pairs in the wrong order");
    }
}

#[test]
fn sleeper_does_not_hold_up_others() {
    run(|| {
        let asleep = spawn(|| fiber::sleep(Duration::from_millis(50)));
        let mut turns = 0_u32;
        while !asleep.is_finished() {
            fiber::yield_now();
            turns += 1;
        }
        assert!(turns > 1);
        asleep.join().unwrap();
    });
}

#[test]
fn sleepers_share_the_time() {
    // A thousand sleeps one after the other would take longer than the watchdog allows.
    run(|| {
        let fibers: Vec<_> = (0..1_000)
            .map(|_| spawn(|| fiber::sleep(Duration::from_millis(500))))
            .collect();
        fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
    });
}

#[test]
fn long_and_short_sleeps_mix() {
    run(|| {
        let mut random = Random::new(7);
        let fibers: Vec<_> = (0..500)
            .map(|_| {
                // From microseconds, in the first slots of the wheel, to a good second, some levels up.
                let duration = Duration::from_micros(1 << random.below(21));
                spawn(move || {
                    let start = Instant::now();
                    fiber::sleep(duration);
                    assert!(start.elapsed() >= duration);
                })
            })
            .collect();
        fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
    });
}

#[test]
fn first_sleep_after_a_long_pause_is_not_early() {
    run(|| {
        // The timers last looked at the clock before this.
        thread::sleep(Duration::from_millis(30));
        for _ in 0..20 {
            thread::sleep(Duration::from_millis(1));
            let start = Instant::now();
            fiber::sleep(Duration::from_millis(2));
            assert!(start.elapsed() >= Duration::from_millis(2));
        }
    });
}
