//! Awaiting a fiber's end and a baton, in `block_on` and by hand.

use std::future::{Future, IntoFuture};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use kapok::block_on;
use kapok::fiber::JoinHandle;
use kapok::sync::Baton;

use crate::support::{panics, run, run_on_one, says, watchdog};
use crate::{Count, both, poll_once};

#[test]
fn a_fiber_is_awaited_for_its_result() {
    run(|| {
        assert_eq!(block_on(kapok::spawn(|| 1)).unwrap(), 1);
        let panicked = block_on(kapok::spawn(|| std::panic::resume_unwind(Box::new("on purpose"))));
        assert_eq!(*panicked.unwrap_err().downcast::<&str>().unwrap(), "on purpose");
        let parked = kapok::spawn(kapok::fiber::park);
        parked.cancel();
        assert!(block_on(parked).unwrap_err().is::<kapok::Cancelled>());
        let ended = kapok::spawn(|| 2);
        while !ended.is_finished() {
            kapok::fiber::yield_now();
        }
        assert_eq!(block_on(ended).unwrap(), 2);
        let (a, b) = (kapok::spawn(|| 3), kapok::spawn(|| 4));
        let (a, b) = block_on(both(a.into_future(), b.into_future()));
        assert_eq!((a.unwrap(), b.unwrap()), (3, 4));
    });
}

#[test]
fn a_fiber_is_awaited_on_a_thread() {
    let _watchdog = watchdog();
    let runtime = kapok::runtime::Builder::new().workers(2).build().unwrap();
    for i in 0..1000 {
        let fiber = runtime.handle().spawn(move || i).unwrap();
        assert_eq!(block_on(fiber).unwrap(), i);
    }
}

#[test]
fn dropping_the_future_detaches_the_fiber() {
    run(|| {
        let (go, went) = (Arc::new(Baton::new()), Arc::new(Baton::new()));
        let theirs = (Arc::clone(&go), Arc::clone(&went));
        let handle = kapok::spawn(move || {
            theirs.0.wait();
            theirs.1.post();
        });
        let mut future = handle.into_future();
        assert!(poll_once(&mut future, &Arc::default()).is_pending());
        assert!(!future.is_finished());
        drop(future);
        go.post();
        went.wait();
    });
}

#[test]
fn polled_after_its_end_it_panics() {
    run(|| {
        let mut future = kapok::spawn(|| ()).into_future();
        let count = Arc::default();
        while poll_once(&mut future, &count).is_pending() {
            kapok::fiber::yield_now();
        }
        says(&panics(|| poll_once(&mut future, &count)), &["after it was ready"]);
    });
}

#[test]
fn a_baton_is_awaited() {
    run(|| {
        let baton = Arc::new(Baton::new());
        let theirs = Arc::clone(&baton);
        kapok::spawn(move || theirs.post());
        block_on(async {
            baton.posted().await;
            (&*baton).await;
        });
        assert!(baton.try_wait());
    });
}

#[test]
fn a_post_wakes_the_last_waker_once() {
    let _watchdog = watchdog();
    let baton = Baton::new();
    let (first, last) = (Arc::<Count>::default(), Arc::<Count>::default());
    let mut future = baton.posted();
    assert!(poll_once(&mut future, &first).is_pending());
    assert!(poll_once(&mut future, &first).is_pending());
    assert!(poll_once(&mut future, &last).is_pending());
    assert_eq!(Arc::strong_count(&first), 1, "the first is forgotten");
    assert_eq!(Arc::strong_count(&last), 2);
    baton.post();
    baton.post();
    assert_eq!((first.get(), last.get()), (0, 1));
    assert_eq!(Arc::strong_count(&last), 1);
    baton.reset();
    assert!(
        poll_once(&mut future, &last).is_ready(),
        "it was posted while it waited"
    );
    assert!(poll_once(&mut future, &last).is_pending(), "and this is another round");
    baton.post();
    assert!(poll_once(&mut future, &last).is_ready());
    assert!(poll_once(&mut future, &last).is_ready());
}

#[test]
fn a_baton_has_one_waiter_and_dropping_withdraws_it() {
    run_on_one(|| {
        let baton = Baton::new();
        let count = Arc::<Count>::default();
        let mut future = baton.posted();
        assert!(poll_once(&mut future, &count).is_pending());
        says(&panics(|| baton.wait()), &["somebody else"]);
        says(&panics(|| poll_once(&mut baton.posted(), &count)), &["somebody else"]);
        says(&panics(|| baton.reset()), &["waiting on it"]);
        drop(future);
        assert_eq!(Arc::strong_count(&count), 1, "the waker is gone");
        assert!(!baton.wait_timeout(Duration::from_millis(1)));
        baton.post();
        baton.wait();
        assert_eq!(count.get(), 0);
    });
}

#[test]
fn a_forgotten_future_is_woken_without_harm() {
    let _watchdog = watchdog();
    let baton = Baton::new();
    let count = Arc::<Count>::default();
    let mut future = baton.posted();
    assert!(poll_once(&mut future, &count).is_pending());
    #[expect(clippy::mem_forget, reason = "what is tested")]
    std::mem::forget(future);
    baton.post();
    assert_eq!(count.get(), 1);
}

/// A waker that fails its caller.
struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("on purpose");
    }
}

#[test]
fn a_waker_that_panics_harms_neither_the_poster_nor_the_fiber() {
    run(|| {
        let waker = Waker::from(Arc::new(Panics));
        let mut context = Context::from_waker(&waker);
        let baton = Baton::new();
        let mut future = baton.posted();
        assert!(std::pin::pin!(&mut future).poll(&mut context).is_pending());
        baton.post();

        let go = Arc::new(Baton::new());
        let theirs = Arc::clone(&go);
        let mut future = kapok::spawn(move || theirs.wait()).into_future();
        assert!(std::pin::pin!(&mut future).poll(&mut context).is_pending());
        go.post();
        loop {
            match std::pin::pin!(&mut future).poll(&mut context) {
                Poll::Ready(result) => break result.unwrap(),
                Poll::Pending => kapok::fiber::yield_now(),
            }
        }
    });
}

/// Posts on one side, awaits and gives up on the other: each round ends, or hangs, which the watchdog ends.
#[test]
fn no_post_is_lost_between_threads() {
    const ROUNDS: usize = 5_000;
    let _watchdog = watchdog();
    let posts: Arc<Vec<Baton>> = Arc::new((0..ROUNDS).map(|_| Baton::new()).collect());
    let theirs = Arc::clone(&posts);
    let posting = thread::spawn(move || theirs.iter().for_each(Baton::post));
    let awaits = move || {
        for (i, baton) in posts.iter().enumerate() {
            for _ in 0..i % 3 {
                let mut given_up = baton.posted();
                // Ready or not, it is withdrawn.
                let _: Poll<()> = poll_once(&mut given_up, &Arc::default());
            }
            block_on(baton.posted());
        }
    };
    run(awaits);
    posting.join().unwrap();
}

#[test]
fn no_end_is_lost_between_workers() {
    run(|| {
        let spawner = kapok::spawn(|| {
            let fibers: Vec<JoinHandle<usize>> = (0..3_000).map(|i| kapok::spawn(move || i)).collect();
            block_on(async {
                let mut sum = 0;
                for fiber in fibers {
                    sum += fiber.await.unwrap();
                }
                sum
            })
        });
        assert_eq!(spawner.join().unwrap(), 2999 * 3000 / 2);
    });
}

/// What the waker does is not the fiber's doing.
#[test]
fn the_waker_of_a_cancelled_fiber_may_send() {
    struct Sends(kapok::sync::mpsc::Sender<i32>);
    impl Wake for Sends {
        fn wake(self: Arc<Self>) {
            self.0.send(7).unwrap();
        }
    }
    run_on_one(|| {
        let (sender, receiver) = kapok::sync::mpsc::channel();
        let waker = Waker::from(Arc::new(Sends(sender)));
        let parked = kapok::spawn(kapok::fiber::park);
        kapok::fiber::yield_now();
        parked.cancel();
        let mut future = parked.into_future();
        assert!(
            std::pin::pin!(&mut future)
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        drop(waker);
        assert_eq!(receiver.recv_timeout(Duration::from_secs(20)), Ok(7));
        assert!(block_on(future).unwrap_err().is::<kapok::Cancelled>());
    });
}
