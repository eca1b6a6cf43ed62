//! Stackful: Kapok, with one worker, on its default engine, on `asm` and on `ucontext`; may, with one worker.

use std::hint::black_box;
use std::sync::Arc;

use ::kapok::Engine;

use crate::contexts::{asm, ucontext};
use crate::work::{Figure, Measure, Sleeping, one_sleep, processor_seconds, resident_bytes, timed};

pub(crate) fn measure(peer: &str, work: &str) -> Option<Measure> {
    match peer {
        "kapok" => kapok(work),
        "kapok-asm" if asm().is_some() => kapok_asm(work),
        "kapok-ucontext" => kapok_ucontext(work),
        "may" => may(work),
        _ => None,
    }
}

/// The same code for each: `$on` runs a closure in a task; the rest are the names that the peer has for things.
macro_rules! works {
    ($name:ident, $on:expr, $spawn:path, $yield_now:path, $sleep:path, $channel:path, $mutex:ty) => {
        fn $name(work: &str) -> Option<Measure> {
            fn yields(tasks: u32, n: u32) {
                let each = n / tasks;
                let spawn = |_| $spawn(move || (0..each).for_each(|_| $yield_now()));
                let handles: Vec<_> = (0..tasks).map(spawn).collect();
                handles
                    .into_iter()
                    .for_each(|handle| handle.join().expect("no panic"));
            }
            fn on<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
                $on(f)
            }
            fn asleep(n: u32) -> Figure {
                on(move || {
                    let sleeping = Sleeping::begin(n);
                    let (until, look) = (sleeping.until, sleeping.look());
                    let spawn = |_| $spawn(move || $sleep(Sleeping::left(until)));
                    let handles: Vec<_> = (0..n).map(spawn).collect();
                    $sleep(Sleeping::left(look));
                    let memory = resident_bytes();
                    handles
                        .into_iter()
                        .for_each(|handle| handle.join().expect("no panic"));
                    sleeping.end(n, memory)
                })
            }
            fn asleep_again(n: u32) -> Figure {
                on(move || {
                    let sleeping = Sleeping::begin(n);
                    let times = [sleeping.until, sleeping.again(n)];
                    let sleeps = move || times.map(|until| $sleep(Sleeping::left(until)));
                    let handles: Vec<_> = (0..n).map(|_| $spawn(sleeps)).collect();
                    $sleep(Sleeping::left(sleeping.look()));
                    let processor = processor_seconds();
                    $sleep(Sleeping::left(times[1] - Sleeping::BEFORE));
                    let figure = one_sleep(n, processor);
                    for handle in handles {
                        handle.join().expect("no panic");
                    }
                    figure
                })
            }
            Some(match work {
                "yield-2" => |n| on(move || timed(n, |n| yields(2, n))),
                "yield-1000" => |n| on(move || timed(n, |n| yields(1000, n))),
                "spawn-1" => |n| {
                    on(move || {
                        timed(n, |n| {
                            (0..n).for_each(|i| drop(black_box($spawn(move || i).join())));
                        })
                    })
                },
                "spawn-1000" => |n| {
                    on(move || {
                        timed(n, |n| {
                            for _ in 0..n.div_ceil(1000) {
                                let handles: Vec<_> = (0..1000).map(|i| $spawn(move || i)).collect();
                                handles
                                    .into_iter()
                                    .for_each(|handle| drop(black_box(handle.join())));
                            }
                        })
                    })
                },
                "channel" => |n| {
                    on(move || {
                        timed(n, |n| {
                            let (ping, pinged) = $channel();
                            let (pong, ponged) = $channel();
                            let other = $spawn(move || {
                                while let Ok(i) = pinged.recv() {
                                    let i: u32 = i;
                                    pong.send(i).expect("it waits for it");
                                }
                            });
                            for i in 0..n / 2 {
                                ping.send(i).expect("it waits for it");
                                black_box(ponged.recv().expect("it answers"));
                            }
                            drop(ping);
                            other.join().expect("no panic");
                        })
                    })
                },
                "mutex" => |n| {
                    on(move || {
                        timed(n, |n| {
                            let mutex = Arc::new(<$mutex>::new(0));
                            let spawn = |_| {
                                let mutex = Arc::clone(&mutex);
                                $spawn(move || {
                                    for _ in 0..n / 2 {
                                        let mut guard = mutex.lock().expect("not poisoned");
                                        *guard += 1;
                                        $yield_now();
                                    }
                                })
                            };
                            let handles: Vec<_> = (0..2).map(spawn).collect();
                            handles
                                .into_iter()
                                .for_each(|handle| handle.join().expect("no panic"));
                        })
                    })
                },
                "sleep-100000" | "sleep-1000000" => asleep,
                "sleep-again-1000000" => asleep_again,
                _ => return None,
            })
        }
    };
}

fn in_runtime<T>(engine: Engine, f: impl FnOnce() -> T) -> T {
    let runtime = ::kapok::runtime::Builder::new().switch(engine).workers(1);
    runtime.run(f).expect("the runtime starts")
}

fn in_coroutine<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    ::may::config().set_workers(1);
    spawn_may(f).join().expect("no panic")
}

fn spawn_may<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> ::may::coroutine::JoinHandle<T> {
    // SAFETY: what is run here uses no thread-locals, and little of its stack.
    unsafe { ::may::coroutine::spawn(f) }
}

works!(
    kapok,
    |f| in_runtime(Engine::available()[0], f),
    ::kapok::spawn,
    ::kapok::fiber::yield_now,
    ::kapok::fiber::sleep,
    ::kapok::sync::mpsc::channel,
    ::kapok::sync::Mutex<u32>
);
works!(
    kapok_asm,
    |f| in_runtime(asm().expect("as before"), f),
    ::kapok::spawn,
    ::kapok::fiber::yield_now,
    ::kapok::fiber::sleep,
    ::kapok::sync::mpsc::channel,
    ::kapok::sync::Mutex<u32>
);
works!(
    kapok_ucontext,
    |f| in_runtime(ucontext(), f),
    ::kapok::spawn,
    ::kapok::fiber::yield_now,
    ::kapok::fiber::sleep,
    ::kapok::sync::mpsc::channel,
    ::kapok::sync::Mutex<u32>
);
works!(
    may,
    in_coroutine,
    spawn_may,
    ::may::coroutine::yield_now,
    ::may::coroutine::sleep,
    ::may::sync::spsc::channel,
    ::may::sync::Mutex<u32>
);
