//! Fibers of a runtime with one worker: what is left of an engine's speed behind a scheduler.

use std::hint::black_box;
use std::sync::Arc;

use kapok::runtime::Builder;
use kapok::sync::Baton;
use kapok::{Engine, fiber};

use crate::clock::Stopwatch;
use crate::measure::Work;

pub(crate) const WORKS: &[Work<Engine>] = &[
    Work {
        name: "yield_now, 2 fibers",
        run: |engine, n| yields(engine, 2, n).into(),
    },
    Work {
        name: "yield_now, 1,000 fibers",
        run: |engine, n| yields(engine, 1_000, n).into(),
    },
    Work {
        name: "spawn + join, one by one",
        run: |engine, n| spawns(engine, 1, n).into(),
    },
    Work {
        name: "spawn + join, 1,000 at once",
        run: |engine, n| spawns(engine, 1_000, n).into(),
    },
    Work {
        name: "Baton, there and back",
        run: |engine, n| batons(engine, n).into(),
    },
];

fn timed(engine: Engine, n: u32, f: impl FnOnce()) -> f64 {
    let runtime = Builder::new().switch(engine).workers(1);
    let run = || {
        let begin = Stopwatch::start();
        f();
        begin.ns_each(n)
    };
    runtime.run(run).expect("a runtime can be had")
}

fn yields(engine: Engine, fibers: u32, n: u32) -> f64 {
    let each = n.div_ceil(fibers);
    timed(engine, each * fibers, || {
        let spawn = |_| kapok::spawn(move || (0..each).for_each(|_| fiber::yield_now()));
        let handles: Vec<_> = (0..fibers).map(spawn).collect();
        handles.into_iter().for_each(|handle| handle.join().expect("no panic"));
    })
}

fn spawns(engine: Engine, at_once: u32, n: u32) -> f64 {
    let batches = n.div_ceil(at_once);
    timed(engine, batches * at_once, || {
        for _ in 0..batches {
            let handles: Vec<_> = (0..at_once).map(|i| kapok::spawn(move || i)).collect();
            handles.into_iter().for_each(|handle| drop(black_box(handle.join())));
        }
    })
}

fn batons(engine: Engine, n: u32) -> f64 {
    timed(engine, n, || {
        let batons = Arc::new((Baton::new(), Baton::new()));
        let theirs = Arc::clone(&batons);
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
    })
}
