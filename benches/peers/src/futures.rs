//! Stackless: tokio on the calling thread and with one worker thread, smol's executor on the calling thread, monoio.

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::work::{Figure, Measure, Sleeping, one_sleep, processor_seconds, resident_bytes};

pub(crate) fn measure(peer: &str, work: &str) -> Option<Measure> {
    match peer {
        "tokio" => works::<TokioHere>(work),
        "tokio-multi" => works::<TokioMulti>(work),
        "smol" => works::<Smol>(work),
        "monoio" => works::<Monoio>(work),
        _ => None,
    }
}

/// One of them. What it has no counterpart for is `None`.
trait Runtime: 'static {
    /// Runs it as a task.
    fn block_on<F: Future<Output = Figure> + Send + 'static>(f: F) -> Figure;
    fn spawn<F: Future<Output = u32> + Send + 'static>(f: F) -> impl Future<Output = u32> + Send;
    fn yield_now() -> impl Future<Output = ()> + Send;
    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send;
    const CHANNEL: Option<Measure>;
    const MUTEX: Option<Measure>;
}

fn works<R: Runtime>(work: &str) -> Option<Measure> {
    Some(match work {
        "yield-2" => |n| R::block_on(timed(n, yields::<R, 2>)),
        "yield-1000" => |n| R::block_on(timed(n, yields::<R, 1000>)),
        "spawn-1" => |n| R::block_on(timed(n, spawn_one_by_one::<R>)),
        "spawn-1000" => |n| R::block_on(timed(n, spawn_in_batches::<R>)),
        "channel" => return R::CHANNEL,
        "mutex" => return R::MUTEX,
        "sleep-100000" | "sleep-1000000" => |n| R::block_on(asleep::<R>(n)),
        "sleep-again-1000000" => |n| R::block_on(asleep_again::<R>(n)),
        _ => return None,
    })
}

/// As `work::timed`.
async fn timed<F: Future<Output = ()> + Send>(n: u32, f: impl Fn(u32) -> F + Send) -> Figure {
    f(n / 10 + 1).await;
    let begin = std::time::Instant::now();
    f(n).await;
    Figure {
        time: begin.elapsed().as_secs_f64() * 1e9 / f64::from(n),
        memory: None,
    }
}

async fn yields<R: Runtime, const TASKS: u32>(n: u32) {
    let mut handles = Vec::new();
    for _ in 0..TASKS {
        handles.push(R::spawn(async move {
            for _ in 0..n / TASKS {
                R::yield_now().await;
            }
            0
        }));
    }
    for handle in handles {
        handle.await;
    }
}

async fn spawn_one_by_one<R: Runtime>(n: u32) {
    for i in 0..n {
        black_box(R::spawn(async move { i }).await);
    }
}

async fn spawn_in_batches<R: Runtime>(n: u32) {
    for _ in 0..n.div_ceil(1000) {
        let handles: Vec<_> = (0..1000).map(|i| R::spawn(async move { i })).collect();
        for handle in handles {
            black_box(handle.await);
        }
    }
}

async fn asleep<R: Runtime>(n: u32) -> Figure {
    let sleeping = Sleeping::begin(n);
    let until = sleeping.until;
    let spawn = |_| {
        R::spawn(async move {
            R::sleep(Sleeping::left(until)).await;
            0
        })
    };
    let handles: Vec<_> = (0..n).map(spawn).collect();
    R::sleep(Sleeping::left(sleeping.look())).await;
    let memory = resident_bytes();
    for handle in handles {
        handle.await;
    }
    sleeping.end(n, memory)
}

async fn asleep_again<R: Runtime>(n: u32) -> Figure {
    let sleeping = Sleeping::begin(n);
    let times = [sleeping.until, sleeping.again(n)];
    let spawn = |_| {
        R::spawn(async move {
            for until in times {
                R::sleep(Sleeping::left(until)).await;
            }
            0
        })
    };
    let handles: Vec<_> = (0..n).map(spawn).collect();
    R::sleep(Sleeping::left(sleeping.look())).await;
    let processor = processor_seconds();
    R::sleep(Sleeping::left(times[1] - Sleeping::BEFORE)).await;
    let figure = one_sleep(n, processor);
    for handle in handles {
        handle.await;
    }
    figure
}

/// `$channel` makes one of any length whose `send` does not wait; `$mutex` has an async `lock`.
macro_rules! ping_pong {
    ($runtime:ty, $channel:path) => {
        Some(|n| {
            <$runtime>::block_on(timed(n, |n| async move {
                let (ping, mut pinged) = $channel();
                let (pong, mut ponged) = $channel();
                let other = <$runtime>::spawn(async move {
                    while let Some(i) = pinged.recv().await {
                        _ = pong.send(i);
                    }
                    0
                });
                for i in 0..n / 2 {
                    _ = ping.send(i);
                    black_box(ponged.recv().await.expect("it answers"));
                }
                drop(ping);
                other.await;
            }))
        })
    };
}

macro_rules! hand_over {
    ($runtime:ty, $mutex:ty) => {
        Some(|n| {
            <$runtime>::block_on(timed(n, |n| async move {
                let mutex = Arc::new(<$mutex>::new(0));
                let spawn = |_| {
                    let mutex = Arc::clone(&mutex);
                    <$runtime>::spawn(async move {
                        for _ in 0..n / 2 {
                            let mut guard = mutex.lock().await;
                            *guard += 1;
                            <$runtime>::yield_now().await;
                        }
                        0
                    })
                };
                let handles: Vec<_> = (0..2).map(spawn).collect();
                for handle in handles {
                    handle.await;
                }
            }))
        })
    };
}

macro_rules! tokio {
    ($name:ident, $builder:expr) => {
        struct $name;

        impl Runtime for $name {
            fn block_on<F: Future<Output = Figure> + Send + 'static>(f: F) -> Figure {
                let runtime = $builder.enable_time().build().expect("the runtime starts");
                runtime.block_on(async { tokio::spawn(f).await.expect("no panic") })
            }

            fn spawn<F: Future<Output = u32> + Send + 'static>(f: F) -> impl Future<Output = u32> + Send {
                let handle = tokio::spawn(f);
                async { handle.await.expect("no panic") }
            }

            fn yield_now() -> impl Future<Output = ()> + Send {
                tokio::task::yield_now()
            }

            fn sleep(duration: Duration) -> impl Future<Output = ()> + Send {
                tokio::time::sleep(duration)
            }

            const CHANNEL: Option<Measure> = ping_pong!($name, tokio::sync::mpsc::unbounded_channel);
            const MUTEX: Option<Measure> = hand_over!($name, tokio::sync::Mutex<u32>);
        }
    };
}

tokio!(TokioHere, tokio::runtime::Builder::new_current_thread());
tokio!(
    TokioMulti,
    tokio::runtime::Builder::new_multi_thread().worker_threads(1)
);

struct Smol;

thread_local! {
    static SMOL: &'static smol::LocalExecutor<'static> = Box::leak(Box::new(smol::LocalExecutor::new()));
}

impl Runtime for Smol {
    fn block_on<F: Future<Output = Figure> + Send + 'static>(f: F) -> Figure {
        let executor = SMOL.with(|executor| *executor);
        smol::block_on(executor.run(executor.spawn(f)))
    }

    fn spawn<F: Future<Output = u32> + Send + 'static>(f: F) -> impl Future<Output = u32> + Send {
        SMOL.with(|executor| executor.spawn(f))
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        smol::future::yield_now()
    }

    async fn sleep(duration: Duration) {
        smol::Timer::after(duration).await;
    }

    const CHANNEL: Option<Measure> = Some(|n| {
        Smol::block_on(timed(n, |n| async move {
            let (ping, pinged) = smol::channel::unbounded();
            let (pong, ponged) = smol::channel::unbounded();
            let other = Smol::spawn(async move {
                while let Ok(i) = pinged.recv().await {
                    pong.send(i).await.expect("it waits for it");
                }
                0
            });
            for i in 0..n / 2 {
                ping.send(i).await.expect("it waits for it");
                black_box(ponged.recv().await.expect("it answers"));
            }
            drop(ping);
            other.await;
        }))
    });
    const MUTEX: Option<Measure> = hand_over!(Smol, smol::lock::Mutex<u32>);
}

struct Monoio;

/// monoio's futures stay on their thread, and so does all that is measured here.
struct OnThisThread<F>(F);

// SAFETY: monoio runs one thread, and moves nothing from it.
unsafe impl<F> Send for OnThisThread<F> {}

impl<F: Future> Future for OnThisThread<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: the field is pinned with the whole.
        unsafe { self.map_unchecked_mut(|this| &mut this.0) }.poll(context)
    }
}

/// monoio has none of its own.
struct YieldNow(bool);

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Runtime for Monoio {
    fn block_on<F: Future<Output = Figure> + Send + 'static>(f: F) -> Figure {
        let runtime = monoio::RuntimeBuilder::<monoio::FusionDriver>::new()
            .enable_timer()
            .build();
        runtime
            .expect("the runtime starts")
            .block_on(async { monoio::spawn(f).await })
    }

    fn spawn<F: Future<Output = u32> + Send + 'static>(f: F) -> impl Future<Output = u32> + Send {
        OnThisThread(monoio::spawn(f))
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        YieldNow(false)
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send {
        OnThisThread(monoio::time::sleep(duration))
    }

    // Of the crate that monoio's authors have for it.
    const CHANNEL: Option<Measure> = Some(|n| {
        Monoio::block_on(timed(n, |n| {
            OnThisThread(async move {
                let (ping, mut pinged) = local_sync::mpsc::unbounded::channel();
                let (pong, mut ponged) = local_sync::mpsc::unbounded::channel();
                let other = Monoio::spawn(OnThisThread(async move {
                    while let Some(i) = pinged.recv().await {
                        _ = pong.send(i);
                    }
                    0
                }));
                for i in 0..n / 2 {
                    _ = ping.send(i);
                    black_box(ponged.recv().await.expect("it answers"));
                }
                drop(ping);
                other.await;
            })
        }))
    });
    const MUTEX: Option<Measure> = None;
}
