//! What fibers cost on each switch engine: `cargo bench --bench fibers`.
//!
//! The engines take turns, so that a machine whose speed drifts treats them alike; each figure is the median of the rounds,
//! with the least and the most. Compare figures of one run only. `cargo bench --bench fibers -- --test` runs one short round.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use kapok::coroutine::Coroutine;
use kapok::runtime::Builder;
use kapok::sync::Baton;
use kapok::{Engine, fiber, stack};

/// One thing to measure: does something `n` times and gives the nanoseconds for each.
type Work = fn(Engine, u32) -> f64;

const WORKS: &[(&str, Work)] = &[
    ("switch, there and back, no runtime", resume),
    ("yield_now, 2 fibers", |engine, n| yields(engine, 2, n)),
    ("yield_now, 1000 fibers", |engine, n| yields(engine, 1000, n)),
    ("spawn + join, one by one", spawn_one_by_one),
    ("spawn + join, batches of 1000", spawn_in_batches),
    ("Baton, there and back", baton),
    ("sleep set up and fired, 1000 fibers", sleeps),
    ("timeout set up and left in time", timeouts),
    ("CancelToken::run", tokens),
    ("scope with 2 children", scopes),
    ("race of 2", races),
    ("spawn, cancel while it waits, join", cancels),
];

fn main() {
    let quick = std::env::args().any(|argument| argument == "--test");
    let (rounds, n) = if quick { (1, 2_000) } else { (9, 300_000) };
    let engines = Engine::available();
    println!("ns for each, median (min - max) of {rounds} rounds of {n}");
    for &(name, work) in WORKS {
        let mut figures = vec![Vec::new(); engines.len()];
        for _ in 0..rounds {
            for (figures, &engine) in figures.iter_mut().zip(&engines) {
                figures.push(work(engine, n));
            }
        }
        print!("{name:<38}");
        for (figures, engine) in figures.iter_mut().zip(&engines) {
            figures.sort_by(f64::total_cmp);
            let (min, median, max) = (figures[0], figures[rounds / 2], figures[rounds - 1]);
            print!("  {engine} {median:7.1} ({min:.1} - {max:.1})");
        }
        println!();
    }
}

fn nanoseconds_each(begin: Instant, n: u32) -> f64 {
    begin.elapsed().as_secs_f64() * 1e9 / f64::from(n)
}

fn in_runtime<T>(engine: Engine, f: impl FnOnce() -> T) -> T {
    Builder::new().switch(engine).run(f).expect("the runtime starts")
}

fn resume(engine: Engine, n: u32) -> f64 {
    let mut coroutine = Coroutine::<(), (), ()>::with(engine, stack::DEFAULT_SIZE, |yielder, ()| {
        loop {
            yielder.suspend(());
        }
    })
    .expect("a stack");
    let begin = Instant::now();
    for _ in 0..n {
        black_box(coroutine.resume(()));
    }
    nanoseconds_each(begin, n)
}

fn yields(engine: Engine, fibers: u32, n: u32) -> f64 {
    in_runtime(engine, || {
        let each = n / fibers;
        let begin = Instant::now();
        let handles: Vec<_> = (0..fibers)
            .map(|_| kapok::spawn(move || (0..each).for_each(|_| fiber::yield_now())))
            .collect();
        handles.into_iter().for_each(|handle| handle.join().expect("no panic"));
        nanoseconds_each(begin, each * fibers)
    })
}

fn spawn_one_by_one(engine: Engine, n: u32) -> f64 {
    in_runtime(engine, || {
        let begin = Instant::now();
        for i in 0..n {
            black_box(kapok::spawn(move || i).join().expect("no panic"));
        }
        nanoseconds_each(begin, n)
    })
}

fn spawn_in_batches(engine: Engine, n: u32) -> f64 {
    in_runtime(engine, || {
        let begin = Instant::now();
        for _ in 0..n / 1000 {
            let handles: Vec<_> = (0..1000).map(|i| kapok::spawn(move || i)).collect();
            handles.into_iter().for_each(|handle| drop(black_box(handle.join())));
        }
        nanoseconds_each(begin, n / 1000 * 1000)
    })
}

fn baton(engine: Engine, n: u32) -> f64 {
    in_runtime(engine, || {
        let batons = Arc::new((Baton::new(), Baton::new()));
        let theirs = Arc::clone(&batons);
        let begin = Instant::now();
        let other = kapok::spawn(move || {
            for _ in 0..n {
                theirs.0.wait();
                theirs.0.reset();
                theirs.1.post();
            }
        });
        for _ in 0..n {
            batons.0.post();
            batons.1.wait();
            batons.1.reset();
        }
        other.join().expect("no panic");
        nanoseconds_each(begin, n)
    })
}

fn timeouts(engine: Engine, n: u32) -> f64 {
    in_runtime(engine, || {
        let hour = std::time::Duration::from_secs(3600);
        let begin = Instant::now();
        for i in 0..n {
            black_box(kapok::timeout(hour, || black_box(i)).expect("it is in time"));
        }
        nanoseconds_each(begin, n)
    })
}

fn tokens(engine: Engine, n: u32) -> f64 {
    in_runtime(engine, || {
        let token = kapok::CancelToken::new();
        let begin = Instant::now();
        for i in 0..n {
            black_box(token.run(|| black_box(i)).expect("nobody cancels it"));
        }
        nanoseconds_each(begin, n)
    })
}

fn scopes(engine: Engine, n: u32) -> f64 {
    in_runtime(engine, || {
        let begin = Instant::now();
        for i in 0..n {
            fiber::scope(|s| {
                s.spawn(|| black_box(i));
                s.spawn(|| black_box(i));
            });
        }
        nanoseconds_each(begin, n)
    })
}

fn races(engine: Engine, n: u32) -> f64 {
    in_runtime(engine, || {
        let begin = Instant::now();
        for i in 0..n {
            black_box(kapok::race(|| i, || i));
        }
        nanoseconds_each(begin, n)
    })
}

fn cancels(engine: Engine, n: u32) -> f64 {
    let n = n / 20; // unwinding is slow
    in_runtime(engine, || {
        let begin = Instant::now();
        for _ in 0..n {
            let fiber = kapok::spawn(fiber::park);
            fiber::yield_now();
            fiber.cancel();
            fiber.join().expect_err("it does not end otherwise");
        }
        nanoseconds_each(begin, n)
    })
}

fn sleeps(engine: Engine, n: u32) -> f64 {
    in_runtime(engine, || {
        let each = n.div_ceil(1000).min(20);
        let nap = std::time::Duration::from_nanos(1);
        let begin = Instant::now();
        let handles: Vec<_> = (0..1000)
            .map(|_| kapok::spawn(move || (0..each).for_each(|_| fiber::sleep(nap))))
            .collect();
        handles.into_iter().for_each(|handle| handle.join().expect("no panic"));
        nanoseconds_each(begin, each * 1000)
    })
}
