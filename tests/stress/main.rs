//! Everything at once, at random, for a while: fibers on all workers that sleep, wait, talk, open scopes and race, and
//! cancel themselves and each other; then nothing hangs, and nothing is left over.
//!
//! `cargo test --test stress` takes about three seconds. The long run, 100,000 fibers and a minute at least, is
//!
//! ```text
//! KAPOK_STRESS_SECONDS=60 cargo test --release --test stress -- --nocapture
//! ```
//!
//! and `ci/stress.sh` runs that with several numbers of workers, reactors and engines. `KAPOK_SEED` chooses another seed,
//! which is printed. With the same one each fiber makes the same choices; in which order they run is another matter, so a
//! failure may take some runs to come back. `KAPOK_WORKERS`, `KAPOK_REACTOR` and `KAPOK_SWITCH` mean what they always do.
//!
//! Not all of the fibers are there at the same time: where guards are made by `mprotect`, a stack takes two mappings, of which
//! a process may have 65,530, so there cannot be more than 32,000 stacks. Of the fibers that are alive at once, [`ALIVE`] are
//! the controller's; those start others, up to [`world::ROOM`] in all.

#[path = "../support/mod.rs"]
mod support;

mod handover;
mod measure;
mod world;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kapok::fiber::{self, JoinHandle};
use kapok::runtime::Handle;

use crate::measure::Left;
use crate::support::{Random, child, show};
use crate::world::World;

/// How many fibers there are at once, those not counted that they start.
const ALIVE: usize = 10_000;

/// How many fibers the controller has started in all, at least, when the time is up in a long run.
const AT_LEAST: usize = 100_000;

/// How long the short run takes, and from when on a run is a long one, in seconds.
const SHORT: u64 = 3;
const LONG: u64 = 30;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// How much is to be done.
#[derive(Clone, Copy)]
struct Plan {
    seed: u64,
    alive: usize,
    at_least: usize,
    time: Duration,
}

impl Plan {
    /// Once for what a process allocates once.
    fn warm_up(seed: u64) -> Plan {
        Plan {
            seed,
            alive: 200,
            at_least: 400,
            time: Duration::ZERO,
        }
    }

    fn asked_for(seed: u64) -> Plan {
        let seconds = number("KAPOK_STRESS_SECONDS", SHORT);
        let long = seconds >= LONG;
        Plan {
            seed,
            alive: if long { ALIVE } else { ALIVE / 10 },
            at_least: if long { AT_LEAST } else { 0 },
            time: Duration::from_secs(seconds),
        }
    }
}

/// Starts fibers until it is enough, cancels some, and waits for all.
fn control(plan: Plan, world: &Arc<World>) {
    let begin = Instant::now();
    let mut random = Random::new(plan.seed);
    let mut started = 0_u64;
    let mut start = |place: usize| {
        let fiber = world.start(place, plan.seed ^ started);
        started += 1;
        *world.handle(place) = Some(fiber);
    };
    (0..plan.alive).for_each(&mut start);
    let mut last_look = begin;
    loop {
        world.wait_for_one_that_is_free();
        for place in world.take_free() {
            join(world, place);
            start(place);
        }
        for _ in 0..5 {
            world.cancel_one(random.below(plan.alive));
        }
        if last_look.elapsed() > Duration::from_millis(200) {
            last_look = Instant::now();
            world.peaks.look();
        }
        // Where the controller alone counts, it also knows.
        if begin.elapsed() >= plan.time && world.counts.started() >= plan.at_least {
            break;
        }
    }
    world.close();
    for place in 0..plan.alive {
        if random.below(3) == 0 {
            world.cancel_one(place);
        }
    }
    for place in 0..plan.alive {
        join(world, place);
    }
    // Those whom nobody joins.
    while Handle::current().live_fibers() > 1 {
        fiber::yield_now();
    }
}

/// Waits for the end of the fiber at a place, if there is one.
fn join(world: &World, place: usize) {
    let ended: Option<JoinHandle<()>> = world.handle(place).take();
    if let Some(Err(payload)) = ended.map(JoinHandle::join) {
        world.counts.note_end(payload);
    }
}

fn stress(plan: Plan) {
    let workers = Handle::current().workers();
    let world = Arc::new(World::new(plan.alive, plan.time.as_secs() >= LONG));
    control(plan, &world);
    let left = Left::now();
    show(&world.report());
    world.assert_all_is_over(plan.time > Duration::ZERO);
    left.assert_others_are_idle(workers);
    assert_eq!(Arc::strong_count(&world), 1, "somebody holds on to the world");
}

#[test]
fn everything_at_once_and_nothing_is_left() {
    let seed = number("KAPOK_SEED", 1);
    let body = || {
        show(&format!("KAPOK_SEED={seed}"));
        kapok::run(|| stress(Plan::warm_up(seed))).unwrap();
        let before = Left::now();
        let begin = Instant::now();
        let (reactor, switch, workers) = kapok::run(|| {
            stress(Plan::asked_for(seed));
            let handle = Handle::current();
            (handle.reactor(), handle.switch(), handle.workers())
        })
        .unwrap();
        show(&format!(
            "{workers} workers, {reactor}, {switch}: {:.1} s",
            begin.elapsed().as_secs_f64()
        ));
        Left::now().assert_no_more_than(&before);
    };
    let path = child::path(concat!(module_path!(), "::"), "everything_at_once_and_nothing_is_left");
    if let Some(ended) = child::alone(path.trim_start_matches("::"), |_| (), body) {
        show(&ended.success());
    }
}
