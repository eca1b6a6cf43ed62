//! The streams through `futures-io`'s traits: several futures of one task on one stream and on many.

#[path = "support/mod.rs"]
mod support;

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::io::{AsyncReadExt, AsyncWriteExt};
use futures_lite::{StreamExt, future, stream};
use kapok::block_on;
use kapok::net::{Async, TcpListener, TcpStream, UnixStream};

use support::{run, run_on_one, watchdog};

/// In a fiber, and on a plain thread.
fn on_both(test: impl Fn()) {
    let _watchdog = watchdog();
    test();
    run(test);
}

/// Sends and receives `data` at the same time, in one task, more than fits into the socket's buffers.
async fn echo_through<S: AsyncRead + AsyncWrite + Unpin>(ours: &mut S, theirs: &mut S, data: &[u8]) -> Vec<u8> {
    let mut received = vec![0; data.len()];
    let sends = async { ours.write_all(data).await.unwrap() };
    let receives = async { theirs.read_exact(&mut received).await.unwrap() };
    future::zip(sends, receives).await;
    received
}

fn data(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (ours, listener.accept().unwrap().0)
}

#[test]
fn both_directions_make_progress_in_one_task() {
    let data = data(4 << 20);
    on_both(|| {
        let (mut a, mut b) = tcp_pair();
        assert!(block_on(echo_through(&mut a, &mut b, &data)) == data);
        let (mut a, mut b) = UnixStream::pair().unwrap();
        assert!(block_on(echo_through(&mut a, &mut b, &data)) == data);
        let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
        let (mut a, mut b) = (Async::new(a).unwrap(), Async::new(b).unwrap());
        assert!(block_on(echo_through(&mut a, &mut b, &data)) == data);
    });
}

#[test]
fn one_stream_is_read_and_written_at_once() {
    on_both(|| {
        let (ours, mut theirs) = tcp_pair();
        let data = data(2 << 20);
        let echoes = thread::spawn(move || {
            let mut buf = vec![0; 10_000];
            loop {
                match io::Read::read(&mut theirs, &mut buf).unwrap() {
                    0 => return,
                    n => io::Write::write_all(&mut theirs, &buf[..n]).unwrap(),
                }
            }
        });
        let received = block_on(async {
            let (mut reads, mut writes) = (&ours, &ours);
            let sends = async {
                writes.write_all(&data).await.unwrap();
                writes.close().await.unwrap();
            };
            let mut received = Vec::new();
            future::zip(sends, reads.read_to_end(&mut received)).await.1.unwrap();
            received
        });
        assert!(received == data);
        echoes.join().unwrap();
    });
}

#[test]
fn a_hundred_connections_in_one_task() {
    on_both(|| {
        let pairs: Vec<_> = (0..100).map(|_| UnixStream::pair().unwrap()).collect();
        let (ours, theirs): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let writes = thread::spawn(move || {
            for mut stream in theirs {
                io::Write::write_all(&mut stream, &[1; 1000]).unwrap();
            }
        });
        let total = block_on(async {
            let mut all = Vec::new();
            for mut stream in ours {
                all.push(async move {
                    let mut text = Vec::new();
                    stream.read_to_end(&mut text).await.unwrap();
                    text.len()
                });
            }
            let mut futures: Vec<_> = all.into_iter().map(Box::pin).collect();
            let mut total = 0;
            stream::poll_fn(|context| {
                let before = futures.len();
                futures.retain_mut(|future| match Pin::as_mut(future).poll(context) {
                    Poll::Ready(n) => {
                        total += n;
                        false
                    }
                    Poll::Pending => true,
                });
                match futures.len() {
                    0 => Poll::Ready(None),
                    now if now < before => Poll::Ready(Some(())),
                    _ => Poll::Pending,
                }
            })
            .count()
            .await;
            total
        });
        assert_eq!(total, 100_000);
        writes.join().unwrap();
    });
}

#[test]
fn ends_and_errors_are_told() {
    on_both(|| {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        block_on(async {
            ours.close().await.unwrap();
            let mut text = Vec::new();
            theirs.read_to_end(&mut text).await.unwrap();
            theirs.write_all(b"still").await.unwrap();
            drop(theirs);
            ours.read_to_end(&mut text).await.unwrap();
            assert_eq!(text, b"still");
            let error = ours.write_all(b"!").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        });
    });
}

#[test]
fn a_future_that_was_given_up_has_taken_nothing() {
    run(|| {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        for round in 0..50_u8 {
            let given_up = kapok::timeout(Duration::from_micros(50), || {
                block_on(async { AsyncReadExt::read(&mut ours, &mut [0; 8]).await })
            });
            assert!(given_up.is_err());
            io::Write::write_all(&mut theirs, &[round]).unwrap();
            let mut buf = [0];
            // By the fiber, and by a task.
            if round % 2 == 0 {
                io::Read::read_exact(&mut ours, &mut buf).unwrap();
            } else {
                block_on(AsyncReadExt::read_exact(&mut ours, &mut buf)).unwrap();
            }
            assert_eq!(buf, [round]);
        }
    });
}

/// Counts how often it was woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn dropping_the_stream_forgets_the_task() {
    on_both(|| {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let count = Arc::<Count>::default();
        let waker = Waker::from(Arc::clone(&count));
        let mut context = Context::from_waker(&waker);
        for _ in 0..3 {
            assert!(Pin::new(&mut ours).poll_read(&mut context, &mut [0]).is_pending());
        }
        assert_eq!(Arc::strong_count(&count), 3, "one is ours, one the reactor's");
        drop((waker, ours));
        assert_eq!((Arc::strong_count(&count), count.0.load(Ordering::SeqCst)), (1, 0));
        // It is closed when the thread that has watched it has heard of that.
        while io::Write::write(&mut &theirs, b"!").is_ok() {
            thread::yield_now();
        }
    });
}

#[test]
fn a_task_that_always_finds_something_lets_others_run() {
    run_on_one(|| {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        io::Write::write_all(&mut theirs, &[0; 10_000]).unwrap();
        let other = kapok::spawn(kapok::fiber::yield_now);
        block_on(async {
            for _ in 0..10_000 {
                ours.read_exact(&mut [0]).await.unwrap();
            }
        });
        assert!(other.is_finished());
        other.join().unwrap();
    });
}
