//! What fibers cost on each switch engine: `cargo bench --bench fibers`.
//!
//! The engines take turns, so that a machine whose speed drifts treats them alike; each figure is the median of the rounds,
//! with the least and the most. Where nothing else is said, there is one worker. Compare figures of one run only. `cargo bench
//! --bench fibers -- --test` runs one short round; other arguments are parts of the names of what is to be measured. All figures
//! of a run, and where it was, are in `target/tmp/bench/fibers.json` afterwards.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(unsafe_code, reason = "maps memory, to compare")]

#[path = "../examples/compare/environment.rs"]
mod environment;
#[path = "../examples/compare/json.rs"]
mod json;
#[expect(dead_code, reason = "of what measures, only what the figures are kept in")]
#[path = "../examples/compare/measure.rs"]
mod measure;

use std::cell::Cell;
use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Once};
use std::thread;
use std::time::Instant;

use kapok::coroutine::Coroutine;
use kapok::local::Inherited;
use kapok::runtime::Builder;
use kapok::sync::Baton;
use kapok::{Engine, fiber, stack};

/// One thing to measure: does something `n` times and gives the nanoseconds for each.
type Work = fn(Engine, u32) -> f64;

const WORKS: &[(&str, Work)] = &[
    ("switch, there and back, no runtime", resume),
    ("yield_now, 2 fibers", |engine, n| yields(engine, 2, n)),
    ("yield_now, 1000 fibers", |engine, n| yields(engine, 1000, n)),
    ("spawn + join, one by one", |engine, n| spawn_one_by_one(engine, 1, n)),
    ("spawn + join, batches of 1000", |engine, n| {
        spawn_in_batches(engine, 1, n)
    }),
    ("the same, 2 workers, one by one", |engine, n| {
        spawn_one_by_one(engine, 2, n)
    }),
    ("the same, 2 workers, batches of 1000", |engine, n| {
        spawn_in_batches(engine, 2, n)
    }),
    ("a fiber on a stack never used before", |engine, _| cold_stacks(engine)),
    ("a mapping with a guard, used once", |_, _| mappings()),
    ("Baton, there and back", baton),
    ("sleep set up and fired, 1000 fibers", sleeps),
    ("Baton, there and back, 2 workers", baton_across),
    ("Baton, there and back, with a thread", baton_with_thread),
    ("std's park, there and back, 2 threads", threads_across),
    ("thread_local, get and set", |engine, n| {
        count_up(engine, n, || ON_THREAD.set(ON_THREAD.get() + 1))
    }),
    ("fiber_local, get and set", |engine, n| {
        count_up(engine, n, || OF_FIBER.set(OF_FIBER.get() + 1))
    }),
    ("fiber_local, on a plain thread", |_, n| {
        each(n, || OF_FIBER.set(OF_FIBER.get() + 1))
    }),
    ("Inherited, get", inherited),
    ("spawn + join, with a fiber_local", spawn_with_local),
    ("timeout set up and left in time", timeouts),
    ("CancelToken::run", tokens),
    ("scope with 2 children", scopes),
    ("race of 2", races),
    ("spawn, cancel while it waits, join", cancels),
    // The last one: a slot stays registered.
    ("yield_now, 2 fibers, one per_fiber slot", yields_with_a_slot),
];

thread_local!(static ON_THREAD: Cell<u32> = const { Cell::new(0) });
kapok::fiber_local!(static OF_FIBER: Cell<u32> = const { Cell::new(0) });
static INHERITED: Inherited<u32> = Inherited::new();

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--test");
    let wanted: Vec<_> = arguments
        .iter()
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(*part));
    let (rounds, n) = if quick { (1, 2_000) } else { (9, 300_000) };
    let engines = Engine::available();
    let environment = environment::environment();
    let mut tables = Vec::new();
    println!("ns for each, median (min - max) of {rounds} rounds of {n}");
    for &(name, work) in WORKS.iter().filter(|(name, _)| is_wanted(name)) {
        let mut figures = vec![Vec::new(); engines.len()];
        for _ in 0..rounds {
            for (figures, &engine) in figures.iter_mut().zip(&engines) {
                figures.push(work(engine, n));
            }
        }
        print!("{name:<40}");
        for (figures, engine) in figures.iter_mut().zip(&engines) {
            figures.sort_by(f64::total_cmp);
            let (min, median, max) = (figures[0], figures[rounds / 2], figures[rounds - 1]);
            print!("  {engine} {median:7.1} ({min:.1} - {max:.1})");
        }
        println!();
        let rows = figures.into_iter().zip(&engines).map(|(ns, engine)| measure::Row {
            subject: engine.to_string(),
            times: n,
            ns,
            calls: None,
        });
        let rows = rows.collect();
        tables.push(measure::Table { work: name, rows });
    }
    let plan = measure::Plan {
        rounds,
        sample: std::time::Duration::ZERO,
        limit: std::time::Duration::MAX,
    };
    let text = json::json(&environment, plan, &[], &[("engines", &tables)]);
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench");
    std::fs::create_dir_all(&dir).expect("Cargo made the directory that it is in");
    std::fs::write(dir.join("fibers.json"), text).expect("the directory is ours");
    if is_wanted("cold spawn beside a mapping for each") {
        cold_beside_mappings(if quick { 1 } else { 15 });
    }
    if is_wanted("closures of 10 µs") {
        if quick {
            spread_of_closures(1, 2_000);
        } else {
            spread_of_closures(3, 1_000_000);
        }
    }
}

fn nanoseconds_each(begin: Instant, n: u32) -> f64 {
    begin.elapsed().as_secs_f64() * 1e9 / f64::from(n)
}

/// What the calling thread has had of a processor, in nanoseconds, the kernel's part included: what others do beside it does not count.
fn processor_time() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a place for the answer.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

fn in_runtime<T>(engine: Engine, f: impl FnOnce() -> T) -> T {
    on_workers(1, engine, f)
}

fn on_workers<T>(workers: usize, engine: Engine, f: impl FnOnce() -> T) -> T {
    let runtime = Builder::new().switch(engine).workers(workers);
    runtime.run(f).expect("the runtime starts")
}

fn each(n: u32, f: impl Fn()) -> f64 {
    let begin = Instant::now();
    for _ in 0..n {
        black_box(&f)();
    }
    nanoseconds_each(begin, n)
}

fn count_up(engine: Engine, n: u32, f: impl Fn()) -> f64 {
    in_runtime(engine, || each(n, f))
}

fn inherited(engine: Engine, n: u32) -> f64 {
    in_runtime(engine, || {
        INHERITED.with_value(1, || each(n, || _ = black_box(INHERITED.get())))
    })
}

fn spawn_with_local(engine: Engine, n: u32) -> f64 {
    in_runtime(engine, || {
        each(n, || kapok::spawn(|| OF_FIBER.set(1)).join().expect("no panic"))
    })
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

fn yields_with_a_slot(engine: Engine, n: u32) -> f64 {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| kapok::local::per_fiber(&ON_THREAD));
    yields(engine, 2, n)
}

fn spawn_one_by_one(engine: Engine, workers: usize, n: u32) -> f64 {
    on_workers(workers, engine, || {
        let begin = Instant::now();
        for i in 0..n {
            black_box(kapok::spawn(move || i).join().expect("no panic"));
        }
        nanoseconds_each(begin, n)
    })
}

fn spawn_in_batches(engine: Engine, workers: usize, n: u32) -> f64 {
    on_workers(workers, engine, || {
        let begin = Instant::now();
        for _ in 0..n / 1000 {
            let handles: Vec<_> = (0..1000).map(|i| kapok::spawn(move || i)).collect();
            handles.into_iter().for_each(|handle| drop(black_box(handle.join())));
        }
        nanoseconds_each(begin, n / 1000 * 1000)
    })
}

/// What is measured with these is the thread's processor time, not the clock's.
///
/// As many are alive at once in [`cold_stacks`] and [`mappings`].
const COLD: u32 = 4_000;

fn cold_stacks(engine: Engine) -> f64 {
    // Another size each time, so that no stack is used again.
    static PAGES: AtomicU32 = AtomicU32::new(4);
    let pages = PAGES.load(Ordering::Relaxed);
    PAGES.fetch_add((pages.next_power_of_two() / 8).max(1), Ordering::Relaxed);
    in_runtime(engine, || {
        let begin = processor_time();
        let spawn = |_| {
            let builder = fiber::Builder::new().stack_size(pages as usize * 4096);
            builder.spawn(fiber::yield_now).expect("it is started")
        };
        let fibers: Vec<_> = (0..COLD).map(spawn).collect();
        fibers.into_iter().for_each(|fiber| fiber.join().expect("no panic"));
        (processor_time() - begin) / f64::from(COLD)
    })
}

/// The two below and above, in processor time, taking turns: what they are in relation to each other is what is asked for.
fn cold_beside_mappings(rounds: usize) {
    let engine = Engine::default();
    let pairs: Vec<(f64, f64)> = (0..rounds).map(|_| (cold_stacks(engine), mappings())).collect();
    let median = |figure: &dyn Fn(&(f64, f64)) -> f64| {
        let mut figures: Vec<f64> = pairs.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        (figures[rounds / 2], figures[0])
    };
    let (cold, mapping, ratio) = (
        median(&|pair| pair.0),
        median(&|pair| pair.1),
        median(&|pair| pair.0 / pair.1),
    );
    println!(
        "cold spawn beside a mapping for each: {:.0} ns (least {:.0}), {:.0} ns (least {:.0}), ratio {:.2} (least {:.2})",
        cold.0, cold.1, mapping.0, mapping.1, ratio.0, ratio.1
    );
}

/// What a stack costs that is mapped for one fiber alone: its page is touched, as by a fiber.
fn mappings() -> f64 {
    const BYTES: usize = 64 * 1024;
    let begin = processor_time();
    let all: Vec<_> = (0..COLD)
        .map(|_| {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let prot = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: a new mapping.
            let base = unsafe { libc::mmap(std::ptr::null_mut(), BYTES, prot, flags, -1, 0) };
            assert_ne!(base, libc::MAP_FAILED);
            // SAFETY: its lowest page.
            assert_eq!(unsafe { libc::mprotect(base, 4096, libc::PROT_NONE) }, 0);
            let top = base.cast::<u8>().wrapping_add(BYTES - 1);
            // SAFETY: the highest byte of it.
            unsafe { top.write_volatile(1) };
            base
        })
        .collect();
    for base in all {
        // SAFETY: mapped above.
        assert_eq!(unsafe { libc::munmap(base, BYTES) }, 0);
    }
    (processor_time() - begin) / f64::from(COLD)
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

/// Two fibers that take turns, each on a worker of its own, both of which sleep in between.
fn baton_across(engine: Engine, n: u32) -> f64 {
    let n = n / 30;
    let run = move || {
        let batons = Arc::new([Baton::new(), Baton::new()]);
        let begin = Instant::now();
        let sides = [0, 1].map(|side: usize| {
            let batons = Arc::clone(&batons);
            let take_turns = move || {
                for _ in 0..n {
                    if side == 0 {
                        batons[1].post();
                    }
                    batons[side].wait();
                    batons[side].reset();
                    if side == 1 {
                        batons[0].post();
                    }
                }
            };
            fiber::Builder::new()
                .worker(side)
                .spawn(take_turns)
                .expect("two workers")
        });
        sides.into_iter().for_each(|side| side.join().expect("no panic"));
        nanoseconds_each(begin, n)
    };
    let runtime = Builder::new().switch(engine).workers(2).build();
    runtime.expect("the runtime starts").run(run)
}

/// A fiber and a plain thread that take turns, both asleep in between.
fn baton_with_thread(engine: Engine, n: u32) -> f64 {
    let n = n / 30;
    let batons = Arc::new([Baton::new(), Baton::new()]);
    let theirs = Arc::clone(&batons);
    let other = thread::spawn(move || {
        for _ in 0..n {
            theirs[0].wait();
            theirs[0].reset();
            theirs[1].post();
        }
    });
    let ns = in_runtime(engine, || {
        each(n, || {
            batons[0].post();
            batons[1].wait();
            batons[1].reset();
        })
    });
    other.join().expect("no panic");
    ns
}

/// The same for threads, with what the standard library has: what the kernel takes for it.
fn threads_across(_: Engine, n: u32) -> f64 {
    let n = n / 30;
    let turns = Arc::new(AtomicU32::new(0));
    let theirs = Arc::clone(&turns);
    let first = thread::current();
    let begin = Instant::now();
    let wait_for = |turns: &AtomicU32, turn| {
        while turns.load(Ordering::Acquire) < turn {
            thread::park();
        }
    };
    let second = thread::spawn(move || {
        for i in 0..n {
            wait_for(&theirs, 2 * i + 1);
            theirs.store(2 * i + 2, Ordering::Release);
            first.unpark();
        }
    });
    for i in 0..n {
        turns.store(2 * i + 1, Ordering::Release);
        second.thread().unpark();
        wait_for(&turns, 2 * i + 2);
    }
    second.join().expect("no panic");
    nanoseconds_each(begin, n)
}

/// One fiber spawns closures that compute for 10 µs: how much sooner two workers are done than one.
fn spread_of_closures(rounds: usize, closures: u32) {
    let compute = |steps: u64| {
        let mut x = 1_u64;
        for i in 0..steps {
            x = black_box(x.wrapping_mul(i | 1));
        }
        black_box(x);
    };
    let begin = Instant::now();
    compute(1_000_000);
    let ns = u64::try_from(begin.elapsed().as_nanos()).expect("not that long");
    let steps = 1_000_000 * 10_000 / ns.max(1);
    let seconds = |workers: usize| {
        let begin = Instant::now();
        let spawn_all = || {
            for _ in 0..closures {
                drop(kapok::spawn(move || compute(steps)));
            }
        };
        let runtime = Builder::new().workers(workers);
        runtime.run(spawn_all).expect("the runtime starts");
        begin.elapsed().as_secs_f64()
    };
    let mut ratios: Vec<_> = (0..rounds).map(|_| seconds(2) / seconds(1)).collect();
    ratios.sort_by(f64::total_cmp);
    let (min, median, max) = (ratios[0], ratios[rounds / 2], ratios[rounds - 1]);
    println!("{closures} closures of 10 µs, two workers' time by one's: {median:.3} ({min:.3} - {max:.3})");
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
