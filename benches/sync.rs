//! What locks and channels cost, beside std's: `cargo bench --bench sync`.
//!
//! Where fibers take turns there is one worker. The works take turns, so that a machine whose speed drifts treats them alike; each
//! figure is the median of the rounds, with the least and the most. Compare figures of one run only.
//! `cargo bench --bench sync -- --test` runs one short round.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use kapok::runtime::Builder;
use kapok::sync::{Mutex, RwLock, Semaphore, mpmc, mpsc};
use kapok::{fiber, spawn};

/// One thing to measure: does something `n` times and gives the nanoseconds for each.
type Work = fn(u32) -> f64;

const WORKS: &[(&str, Work)] = &[
    ("std Mutex, lock and unlock", |n| {
        let mutex = std::sync::Mutex::new(0);
        each(n, || *mutex.lock().expect("not poisoned") += 1)
    }),
    ("Mutex, lock and unlock", |n| {
        let mutex = Mutex::new(0);
        each(n, || *mutex.lock().expect("not poisoned") += 1)
    }),
    ("std RwLock, read and unlock", |n| {
        let lock = std::sync::RwLock::new(0);
        each(n, || _ = black_box(*lock.read().expect("not poisoned")))
    }),
    ("RwLock, read and unlock", |n| {
        let lock = RwLock::new(0);
        each(n, || _ = black_box(*lock.read().expect("not poisoned")))
    }),
    ("Semaphore, acquire and release", |n| {
        in_runtime(|| {
            let semaphore = Semaphore::new(1);
            each(n, || drop(semaphore.acquire().expect("not closed")))
        })
    }),
    ("std mpsc, send and try_recv", |n| {
        let (sender, receiver) = std::sync::mpsc::channel();
        each(n, || {
            sender.send(1).expect("there is a receiver");
            black_box(receiver.try_recv().expect("there is a message"));
        })
    }),
    ("mpsc, send and try_recv", |n| {
        let (sender, receiver) = mpsc::channel();
        each(n, || {
            sender.send(1).expect("there is a receiver");
            black_box(receiver.try_recv().expect("there is a message"));
        })
    }),
    ("yield_now between 2 fibers, each", |n| {
        in_runtime(|| {
            let other = spawn(move || (0..n / 2).for_each(|_| fiber::yield_now()));
            let begin = Instant::now();
            (0..n / 2).for_each(|_| fiber::yield_now());
            let each = nanoseconds_each(begin, n);
            other.join().expect("no panic");
            each
        })
    }),
    ("Mutex held over a switch, 2 fibers, each hand-over", mutex_ping_pong),
    ("mpsc ping-pong, 2 fibers, each message", ping_pong),
    ("sync_channel(0), 2 fibers, each message", rendezvous),
    ("mpmc::sync_channel(64), 2 fibers, each message", stream),
    ("std mpsc ping-pong, 2 threads, each message", threads),
];

fn main() {
    let quick = std::env::args().any(|argument| argument == "--test");
    let (rounds, n) = if quick { (1, 2_000) } else { (9, 300_000) };
    println!("ns for each, median (min - max) of {rounds} rounds of {n}");
    let mut figures = vec![Vec::new(); WORKS.len()];
    for _ in 0..rounds {
        for (figures, (_, work)) in figures.iter_mut().zip(WORKS) {
            figures.push(work(n));
        }
    }
    for (figures, (name, _)) in figures.iter_mut().zip(WORKS) {
        figures.sort_by(f64::total_cmp);
        let (min, median, max) = (figures[0], figures[rounds / 2], figures[rounds - 1]);
        println!("{name:<52} {median:8.1} ({min:.1} - {max:.1})");
    }
}

fn nanoseconds_each(begin: Instant, n: u32) -> f64 {
    begin.elapsed().as_secs_f64() * 1e9 / f64::from(n)
}

fn each(n: u32, f: impl Fn()) -> f64 {
    let begin = Instant::now();
    for _ in 0..n {
        black_box(&f)();
    }
    nanoseconds_each(begin, n)
}

fn in_runtime<T>(f: impl FnOnce() -> T) -> T {
    Builder::new().workers(1).run(f).expect("the runtime starts")
}

/// Each holds the lock while the other runs, so each has to wait for it.
fn mutex_ping_pong(n: u32) -> f64 {
    in_runtime(|| {
        let mutex = Arc::new(Mutex::new(0));
        let rounds = n / 2;
        let take = |mutex: &Mutex<u32>| {
            for _ in 0..rounds {
                let mut guard = mutex.lock().expect("not poisoned");
                *guard += 1;
                fiber::yield_now();
            }
        };
        let theirs = Arc::clone(&mutex);
        let begin = Instant::now();
        fiber::scope(|s| {
            s.spawn(|| take(&theirs));
            take(&mutex);
        });
        nanoseconds_each(begin, n)
    })
}

fn ping_pong(n: u32) -> f64 {
    in_runtime(|| {
        let (ping, pinged) = mpsc::channel();
        let (pong, ponged) = mpsc::channel();
        let other = spawn(move || pinged.iter().for_each(|i: u32| pong.send(i).expect("it waits for it")));
        let begin = Instant::now();
        for i in 0..n / 2 {
            ping.send(i).expect("it waits for it");
            black_box(ponged.recv().expect("it answers"));
        }
        let each = nanoseconds_each(begin, n);
        drop(ping);
        other.join().expect("no panic");
        each
    })
}

fn rendezvous(n: u32) -> f64 {
    in_runtime(|| {
        let (sender, receiver) = mpsc::sync_channel(0);
        let other = spawn(move || receiver.iter().map(u64::from).sum::<u64>());
        let begin = Instant::now();
        (0..n).for_each(|i| sender.send(i).expect("it waits for it"));
        let each = nanoseconds_each(begin, n);
        drop(sender);
        black_box(other.join().expect("no panic"));
        each
    })
}

fn stream(n: u32) -> f64 {
    in_runtime(|| {
        let (sender, receiver) = mpmc::sync_channel(64);
        let other = spawn(move || receiver.iter().map(u64::from).sum::<u64>());
        let begin = Instant::now();
        (0..n).for_each(|i| sender.send(i).expect("it waits for it"));
        drop(sender);
        black_box(other.join().expect("no panic"));
        nanoseconds_each(begin, n)
    })
}

fn threads(n: u32) -> f64 {
    let n = n / 30;
    let (ping, pinged) = std::sync::mpsc::channel();
    let (pong, ponged) = std::sync::mpsc::channel();
    let other = std::thread::spawn(move || pinged.iter().for_each(|i: u32| pong.send(i).expect("it waits for it")));
    let begin = Instant::now();
    for i in 0..n / 2 {
        ping.send(i).expect("it waits for it");
        black_box(ponged.recv().expect("it answers"));
    }
    let each = nanoseconds_each(begin, n);
    drop(ping);
    other.join().expect("no panic");
    each
}
