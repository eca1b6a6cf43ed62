//! Readiness as a future, on workers and on plain threads: woken, and withdrawn when nobody waits any more.

use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Read, Write};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use kapok::block_on;
use kapok::future::{readable, writable};
use kapok::net::{Async, UnixStream};
use kapok::runtime::Builder;
use kapok::sync::Baton;

use crate::support::{run, watchdog};
use crate::{Count, both, poll_once};

/// In a fiber, and on a plain thread.
fn on_both(test: impl Fn()) {
    let _watchdog = watchdog();
    test();
    run(test);
}

#[test]
fn a_task_waits_until_something_comes() {
    on_both(|| {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        block_on(writable(&here)).unwrap();
        let writes = thread::spawn(move || {
            there.write_all(b"hello").unwrap();
            there
        });
        block_on(readable(&here)).unwrap();
        let mut text = [0; 5];
        here.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"hello");
        drop(writes.join().unwrap());
        block_on(readable(&here)).unwrap(); // the end
        assert_eq!(here.read(&mut text).unwrap(), 0);
    });
}

/// Reads all, as async code does: by `poll_readable` after a call that would block.
async fn read_all(stream: &UnixStream) -> Vec<u8> {
    let mut all = Vec::new();
    poll_fn(|context| {
        loop {
            let mut buf = [0; 100];
            match (&mut &*stream).read(&mut buf) {
                Ok(0) => return Poll::Ready(()),
                Ok(n) => all.extend(&buf[..n]),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    if stream.poll_readable(context).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    })
    .await;
    all
}

#[test]
fn one_task_waits_for_many_sockets() {
    on_both(|| {
        let pairs: Vec<_> = (0..50).map(|_| UnixStream::pair().unwrap()).collect();
        let (here, mut there): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        here.iter().for_each(|stream| stream.set_nonblocking(true).unwrap());
        let writes = thread::spawn(move || {
            for round in 0..20_u8 {
                there.iter_mut().for_each(|stream| stream.write_all(&[round]).unwrap());
            }
        });
        let mut futures: Vec<_> = here.iter().map(|stream| Box::pin(read_all(stream))).collect();
        let mut ended = vec![None; futures.len()];
        block_on(poll_fn(|context| {
            for (future, slot) in futures.iter_mut().zip(&mut ended) {
                if slot.is_none() {
                    if let Poll::Ready(all) = future.as_mut().poll(context) {
                        *slot = Some(all);
                    }
                }
            }
            if ended.iter().all(Option::is_some) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }));
        let expected: Vec<u8> = (0..20).collect();
        assert!(ended.into_iter().all(|all| all.unwrap() == expected));
        writes.join().unwrap();
    });
}

/// Waits until `done`, running what else there is.
fn until(done: impl Fn() -> bool) {
    while !done() {
        kapok::fiber::yield_now();
    }
}

#[test]
fn dropping_the_future_withdraws_it() {
    on_both(|| {
        let (here, mut there) = UnixStream::pair().unwrap();
        let (withdrawn, stays) = (Arc::<Count>::default(), Arc::<Count>::default());
        let mut first = readable(&here);
        let mut second = readable(&here);
        assert!(poll_once(&mut first, &withdrawn).is_pending());
        assert!(poll_once(&mut second, &stays).is_pending());
        drop(first);
        assert_eq!(Arc::strong_count(&withdrawn), 1, "its waker is gone");
        there.write_all(b"!").unwrap();
        until(|| stays.get() == 1);
        assert!(poll_once(&mut second, &stays).is_ready());
        assert_eq!(withdrawn.get(), 0);
    });
}

#[test]
fn dropping_the_socket_withdraws_it() {
    on_both(|| {
        for _ in 0..100 {
            let (here, there) = UnixStream::pair().unwrap();
            let count = Arc::<Count>::default();
            let waker = Waker::from(Arc::clone(&count));
            let mut context = Context::from_waker(&waker);
            assert!(here.poll_readable(&mut context).is_pending());
            assert!(here.poll_writable(&mut context).is_ready());
            drop(waker);
            drop(here);
            until(|| Arc::strong_count(&count) == 1);
            // It was closed, in the kernel too, and the number may be the next one's.
            until(|| (&there).write(b"?").is_err());
        }
    });
}

/// Wherever it is dropped: the descriptor's number comes back while the first worker may not have heard of it.
#[test]
fn sockets_are_dropped_on_other_threads_than_those_that_watch() {
    const ROUNDS: usize = 300;
    on_both(|| {
        for round in 0..ROUNDS {
            let (here, there) = UnixStream::pair().unwrap();
            let count = Arc::<Count>::default();
            let waker = Waker::from(Arc::clone(&count));
            assert!(here.poll_readable(&mut Context::from_waker(&waker)).is_pending());
            let elsewhere = thread::spawn(move || drop(here));
            if round % 3 == 0 {
                elsewhere.join().unwrap();
            }
            let (mut other, mut peer) = UnixStream::pair().unwrap();
            let writes = thread::spawn(move || peer.write_all(b"for the new one").unwrap());
            block_on(readable(&other)).unwrap();
            let mut text = String::new();
            other.read_to_string(&mut text).unwrap();
            assert_eq!(text, "for the new one");
            writes.join().unwrap();
            drop(there);
        }
    });
}

#[test]
fn a_task_outlives_the_worker_that_watches_for_it() {
    let _watchdog = watchdog();
    let (here, mut there) = UnixStream::pair().unwrap();
    let here = Box::leak(Box::new(here));
    let count = Arc::<Count>::default();
    let runtime = Builder::new().workers(2).build().unwrap();
    let theirs = Arc::clone(&count);
    let watched: &'static UnixStream = here;
    let mut future = runtime.run(move || {
        let mut future = readable(watched);
        assert!(poll_once(&mut future, &theirs).is_pending());
        future
    });
    drop(runtime);
    assert_eq!(count.get(), 1, "it is told");
    assert!(poll_once(&mut future, &count).is_pending());
    there.write_all(b"!").unwrap();
    assert!(block_on(future).is_ok());
}

#[test]
fn descriptors_of_every_kind_and_those_that_cannot_be_waited_for() {
    on_both(|| {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let ours = Async::new(ours).unwrap();
        let writes = thread::spawn(move || theirs.write_all(b"!"));
        block_on(poll_fn(|context| ours.poll_readable(context))).unwrap();
        writes.join().unwrap().unwrap();
        block_on(both(readable(&ours), readable(&ours))).0.unwrap();
    });
}

/// Fibers' own reads, and tasks that wait for the same socket, beside each other.
#[test]
fn reads_of_fibers_and_waits_of_tasks_share_a_socket() {
    run(|| {
        for _ in 0..50 {
            let (here, mut there) = UnixStream::pair().unwrap();
            let (here, begun) = (Arc::new(here), Arc::new(Baton::new()));
            let (mine, begins) = (Arc::clone(&here), Arc::clone(&begun));
            let reads = kapok::spawn(move || {
                begins.post();
                let mut buf = [0; 1];
                (&mut &*mine).read_exact(&mut buf).unwrap();
            });
            begun.wait();
            let mut waits = pin!(readable(&*here));
            assert!(kapok::timeout(Duration::from_micros(50), || block_on(waits.as_mut())).is_err());
            there.write_all(b"ab").unwrap();
            block_on(waits).unwrap();
            reads.join().unwrap();
        }
    });
}

/// Tasks that are dropped at random while bytes come: none is lost, and who stays is woken.
#[test]
fn no_readiness_is_lost() {
    on_both(|| {
        let (here, mut there) = UnixStream::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        let writes = thread::spawn(move || {
            for i in 0..2000_u32 {
                there.write_all(&[1]).unwrap();
                if i % 64 == 0 {
                    thread::yield_now();
                }
            }
        });
        let (mut read, begin) = (0, Instant::now());
        loop {
            let mut given_up = readable(&here);
            assert!(matches!(
                poll_once(&mut given_up, &Arc::default()),
                Poll::Pending | Poll::Ready(Ok(()))
            ));
            if read % 2 == 0 {
                drop(given_up);
            }
            block_on(readable(&here)).unwrap();
            let mut buf = [0; 3];
            match (&mut &here).read(&mut buf) {
                Ok(0) => break,
                Ok(n) => read += n,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            assert!(begin.elapsed() < Duration::from_secs(150));
        }
        assert_eq!(read, 2000);
        writes.join().unwrap();
    });
}

/// One that asks anew from within the wake, as some executors do, is not asked for ever by a runtime that ends.
#[test]
fn a_waker_that_polls_again_finds_another_to_watch() {
    struct Polls {
        stream: UnixStream,
        woken: Count,
    }
    impl std::task::Wake for Polls {
        fn wake(self: Arc<Self>) {
            self.woken.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            self.ask();
        }
    }
    impl Polls {
        fn ask(self: &Arc<Self>) {
            let waker = Waker::from(Arc::clone(self));
            _ = self.stream.poll_readable(&mut Context::from_waker(&waker)).is_ready();
        }
    }
    let _watchdog = watchdog();
    let (here, mut there) = UnixStream::pair().unwrap();
    let polls = Arc::new(Polls {
        stream: here,
        woken: Count::default(),
    });
    let theirs = Arc::clone(&polls);
    run(move || {
        theirs.ask();
        assert_eq!(theirs.woken.get(), 0);
    });
    let seen = polls.woken.get();
    assert!(seen >= 1, "the runtime that watched has ended");
    there.write_all(b"x").unwrap();
    while polls.woken.get() == seen {
        thread::sleep(Duration::from_millis(1));
    }
}
