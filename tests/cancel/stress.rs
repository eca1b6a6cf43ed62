//! Many fibers that sleep, wait, talk and are cancelled at random: nothing hangs, and nothing is left over.
//!
//! `KAPOK_STRESS_FIBERS` and `KAPOK_STRESS_SECONDS` make it longer: `cargo test --release --test cancel -- --ignored stress`
//! runs 100,000 fibers for 60 seconds unless they say otherwise.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kapok::net::TcpStream;
use kapok::sync::Baton;
use kapok::{CancelToken, fiber, shield, spawn, timeout};

use crate::points::{alone_in, connection};
use crate::support::{CountsDrops, Random, all_is_closed_since, child, open_descriptors, show};

/// Counts the bytes that are in use.
struct Counting;

static IN_USE: AtomicIsize = AtomicIsize::new(0);

fn signed(size: usize) -> isize {
    isize::try_from(size).expect("no allocation is that large")
}

#[expect(unsafe_code, reason = "passes everything on to the system's allocator")]
// SAFETY: all is the system allocator's doing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(signed(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(signed(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What the fibers have in common.
struct World {
    tokens: Vec<Mutex<CancelToken>>,
    batons: Vec<Baton>,
    sockets: Vec<(TcpStream, TcpStream)>,
    began: AtomicUsize,
    dropped: AtomicUsize,
}

/// One step of a fiber. What is left half done by a cancellation concerns nobody else.
fn step(world: &World, random: &mut Random, depth: usize) {
    let nap = random.micros_below(500);
    match random.below(12) {
        0 => fiber::yield_now(),
        1 => fiber::sleep(nap),
        2 if depth > 0 => drop(timeout(nap, || step(world, random, depth - 1))),
        3 if depth > 0 => {
            let token = world.tokens[random.below(world.tokens.len())].lock().unwrap().clone();
            let outcome = token.run(|| timeout(nap * 4, || step(world, random, depth - 1)));
            if outcome.is_err() {
                fiber::yield_now();
            }
        }
        4 => {
            let place = &world.tokens[random.below(world.tokens.len())];
            let old = std::mem::take(&mut *place.lock().unwrap());
            old.cancel();
        }
        5 => {
            // Two that wait for one Baton would be a mistake: each has its own.
            let baton = Arc::new(Baton::new());
            let theirs = Arc::clone(&baton);
            let poster = spawn(move || {
                fiber::sleep(nap);
                theirs.post();
            });
            if !baton.wait_timeout(nap) {
                poster.cancel();
            }
            drop(poster.join());
        }
        6 => world.batons[random.below(world.batons.len())].post(),
        7 => {
            let (one, _) = &world.sockets[random.below(world.sockets.len())];
            drop(timeout(nap, || (&*one).read(&mut [0; 100])));
        }
        8 => {
            let (_, other) = &world.sockets[random.below(world.sockets.len())];
            drop(timeout(nap, || (&*other).write_all(&[1; 300])));
        }
        9 if depth > 0 => {
            let seeds = [random.next(), random.next()];
            let own = |seed| move || step(world, &mut Random::new(seed), depth - 1);
            kapok::race(own(seeds[0]), own(seeds[1]));
        }
        10 if depth > 0 => {
            let seeds = [random.next(), random.next(), random.next()];
            fiber::scope(|s| {
                for seed in seeds {
                    s.spawn(move || step(world, &mut Random::new(seed), depth - 1));
                }
                if seeds[0] % 2 == 0 {
                    fiber::yield_now();
                    s.cancel();
                }
            });
        }
        _ => shield(|| fiber::sleep(nap / 10)),
    }
}

fn life(world: &World, seed: u64, steps: usize) {
    world.began.fetch_add(1, Ordering::SeqCst);
    let _counts = CountsDrops(&world.dropped);
    let mut random = Random::new(seed);
    for _ in 0..steps {
        step(world, &mut random, 3);
    }
}

fn stress(seed: u64, fibers: u64, steps: usize, until: Option<Instant>) {
    let world = Arc::new(World {
        tokens: (0..50).map(|_| Mutex::default()).collect(),
        batons: (0..50).map(|_| Baton::new()).collect(),
        sockets: (0..8).map(|_| connection()).collect(),
        began: AtomicUsize::new(0),
        dropped: AtomicUsize::new(0),
    });
    let mut random = Random::new(seed);
    let mut handles: Vec<_> = (0..fibers)
        .map(|i| {
            let world = Arc::clone(&world);
            spawn(move || life(&world, seed ^ i, steps))
        })
        .collect();
    let mut all = fibers;
    while let Some(until) = until {
        if Instant::now() >= until {
            break;
        }
        fiber::sleep(Duration::from_millis(1));
        for _ in 0..20 {
            let one = random.below(handles.len());
            handles[one].cancel();
        }
        // Those that have ended are replaced.
        for handle in &mut handles {
            if handle.is_finished() {
                let (world, i) = (Arc::clone(&world), all);
                let ended = std::mem::replace(handle, spawn(move || life(&world, seed ^ i, steps)));
                drop(ended.join());
                all += 1;
            }
        }
    }
    random.shuffle(&mut handles);
    for (i, handle) in handles.into_iter().enumerate() {
        if i % 3 == 0 {
            handle.cancel();
        }
        drop(handle.join());
    }
    let (began, dropped) = (world.began.load(Ordering::SeqCst), world.dropped.load(Ordering::SeqCst));
    assert_eq!(began, dropped);
    show(&format!("seed {seed}: {all} fibers, {began} of them began"));
    assert_eq!(Arc::strong_count(&world), 1);
}

#[test]
fn random_steps_come_to_an_end() {
    alone_in(module_path!(), "random_steps_come_to_an_end", || {
        let before = open_descriptors();
        for seed in 0..4 {
            stress(seed, 300, 12, None);
        }
        all_is_closed_since(before);
    });
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
#[ignore = "takes a minute, and some gigabytes of address space"]
fn stress_for_a_minute() {
    let body = || {
        let fibers = number("KAPOK_STRESS_FIBERS", 100_000);
        let time = Duration::from_secs(number("KAPOK_STRESS_SECONDS", 60));
        // Once for what a process allocates once.
        kapok::run(|| stress(0, 100, 5, None)).unwrap();
        let (before, in_use) = (open_descriptors(), IN_USE.load(Ordering::Relaxed));
        kapok::run(|| stress(1, fibers, 6, Some(Instant::now() + time))).unwrap();
        let left = IN_USE.load(Ordering::Relaxed) - in_use;
        show(&format!("{left} bytes more are in use than before"));
        assert!(left < LEFT_OVER, "{left}");
        all_is_closed_since(before);
    };
    let test = child::path(module_path!(), "stress_for_a_minute");
    if let Some(ended) = child::alone(&test, |command| _ = command.arg("--ignored"), body) {
        show(&ended.success());
    }
}

/// What threads of the pool, which live on for a while, may have.
const LEFT_OVER: isize = 16 * 1024;
