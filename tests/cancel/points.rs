//! Every call that can suspend is a suspension point: at its beginning, and while it waits.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kapok::net::{TcpListener, TcpStream};
use kapok::sync::Baton;
use kapok::{CancelToken, Cancelled, cancel, fiber, fs, spawn, timeout};

use crate::support::{child, run_on_one};
use crate::{FOREVER, SOON};

/// Runs `f` in a runtime in a process of its own, whose descriptors can be counted.
pub(crate) fn alone_in(module: &str, test: &str, f: impl FnOnce()) {
    if let Some(ended) = child::alone(&child::path(module, test), |_| (), || run_on_one(f)) {
        ended.success();
    }
}

fn alone(test: &str, f: impl FnOnce()) {
    alone_in(module_path!(), test, f);
}

/// Two ends of a connection.
pub(crate) fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

/// Writes until the peer's buffers are full and the fiber has to wait.
pub(crate) fn fill(mut stream: &TcpStream) {
    let block = [7; 64 * 1024];
    loop {
        stream.write_all(&block).unwrap();
    }
}

/// Runs `waits`, which never ends by itself, in a fiber that is cancelled before its first call, at the deadline, and by
/// a thread.
fn is_a_point(name: &str, waits: impl Fn() + Send + Sync + Clone + 'static) {
    let token = CancelToken::new();
    token.cancel();
    assert_eq!(
        token.run(&waits),
        Err(Cancelled),
        "{name}: when it is cancelled already"
    );
    assert!(timeout(SOON, &waits).is_err(), "{name}: at a deadline");
    let theirs = waits.clone();
    let fiber = spawn(theirs);
    fiber::sleep(SOON);
    std::thread::scope(|s| {
        s.spawn(|| fiber.cancel());
    });
    assert!(fiber.join().unwrap_err().is::<Cancelled>(), "{name}: by a thread");
}

#[test]
fn sleeping_and_waiting() {
    run_on_one(|| {
        is_a_point("sleep", || fiber::sleep(FOREVER));
        is_a_point("sleep for ever", || fiber::sleep(Duration::MAX));
        is_a_point("sleep_until", || fiber::sleep_until(Instant::now() + FOREVER));
        is_a_point("park", fiber::park);
        is_a_point("park_timeout", || fiber::park_timeout(FOREVER));
        is_a_point("yield_now", || {
            loop {
                fiber::yield_now();
            }
        });
        is_a_point("checkpoint", || {
            loop {
                cancel::checkpoint();
                kapok::shield(fiber::yield_now);
            }
        });
        is_a_point("Baton::wait", || Baton::new().wait());
        is_a_point("Baton::wait_timeout", || assert!(Baton::new().wait_timeout(FOREVER)));
        is_a_point("Baton::wait_deadline", || {
            assert!(Baton::new().wait_deadline(Instant::now() + FOREVER));
        });
        let posted = Arc::new(Baton::new());
        posted.post();
        is_a_point("a Baton that is posted", move || {
            loop {
                posted.wait();
                kapok::shield(fiber::yield_now);
            }
        });
        is_a_point("join", || {
            let never = Arc::new(Baton::new());
            let theirs = Arc::clone(&never);
            let fiber = spawn(move || theirs.wait());
            let _lets_it_go = crate::support::OnDrop(|| never.post());
            drop(fiber.join());
        });
        is_a_point("join of a scope's", || {
            fiber::scope(|s| drop(s.spawn(fiber::park).join()));
            fiber::yield_now();
        });
        is_a_point("scope", || {
            fiber::scope(|s| drop(s.spawn(fiber::park)));
            fiber::yield_now();
        });
        is_a_point("race", || kapok::race(fiber::park, || fiber::sleep(FOREVER)));
    });
}

#[test]
fn sockets() {
    run_on_one(|| {
        let (one, other) = connection();
        let (one, other) = (Arc::new(one), Arc::new(other));
        let stream = Arc::clone(&one);
        is_a_point("read", move || drop((&*stream).read(&mut [0; 10])));
        let stream = Arc::clone(&one);
        is_a_point("read_vectored", move || {
            let (mut a, mut b) = ([0; 5], [0; 5]);
            let mut bufs = [std::io::IoSliceMut::new(&mut a), std::io::IoSliceMut::new(&mut b)];
            drop((&*stream).read_vectored(&mut bufs));
        });
        let stream = Arc::clone(&one);
        is_a_point("peek", move || drop(stream.peek(&mut [0; 10])));
        let stream = Arc::clone(&one);
        is_a_point("write", move || fill(&stream));
        // They are as good as before.
        let drain = spawn(move || {
            let mut rest = Vec::new();
            (&*other).read_to_end(&mut rest).unwrap();
            rest
        });
        (&*one).write_all(b"the end").unwrap();
        one.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(drain.join().unwrap().ends_with(b"the end"));

        let listener = Arc::new(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let theirs = Arc::clone(&listener);
        is_a_point("accept", move || drop(theirs.accept()));
        let address = listener.local_addr().unwrap();
        let client = spawn(move || TcpStream::connect(address).unwrap());
        let (stream, peer) = listener.accept().unwrap();
        assert_eq!(client.join().unwrap().local_addr().unwrap(), peer);
        drop(stream);
    });
}

#[test]
fn connecting() {
    alone("connecting", || {
        let before = crate::support::open_descriptors();
        // A listener whose queue is full answers nobody.
        let listener = socket_with_full_queue();
        let address = listener.1;
        let waits = move || drop(TcpStream::connect(address));
        is_a_point("connect", waits);
        drop(listener);
        fiber::yield_now();
        crate::support::all_is_closed_since(before);
    });
}

/// A listener that takes no more connections, and those that it has.
fn socket_with_full_queue() -> ((std::net::TcpListener, Vec<std::net::TcpStream>), SocketAddr) {
    use std::os::fd::AsRawFd;
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    // SAFETY: listening again changes the length of the queue.
    #[expect(unsafe_code, reason = "std has no way to say how long the queue is to be")]
    let listening = unsafe { libc::listen(listener.as_raw_fd(), 0) };
    assert_eq!(listening, 0);
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
        queued.push(stream);
        assert!(queued.len() < 100, "a queue of no length takes so many");
    }
    ((listener, queued), address)
}

#[test]
fn blocking_is_waited_for_and_tells_its_result() {
    run_on_one(|| {
        let calls = AtomicUsize::new(0);
        let token = CancelToken::new();
        let outcome = token.run(|| {
            let canceller = token.clone();
            let value = kapok::blocking(|| {
                canceller.cancel();
                std::thread::sleep(SOON);
                calls.fetch_add(1, Ordering::SeqCst) + 10
            });
            assert_eq!(value, 10);
            // Where the job was done before this thread came to wait for it, it has not looked at what others say.
            while !kapok::is_cancelled() {
                kapok::shield(fiber::yield_now);
            }
            kapok::blocking(|| calls.fetch_add(1, Ordering::SeqCst));
        });
        assert_eq!(outcome, Err(Cancelled));
        assert_eq!(
            calls.load(Ordering::SeqCst),
            1,
            "it is not begun in a fiber that is cancelled"
        );
    });
}

#[test]
fn files() {
    alone("files", || {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, b"content").unwrap();
        let before = crate::support::open_descriptors();
        let file = fs::File::open(&path).unwrap();
        let token = CancelToken::new();
        token.cancel();
        let calls: [(&str, &dyn Fn()); 7] = [
            ("open", &|| drop(fs::File::open(&path))),
            ("create", &|| drop(fs::File::create(directory.path().join("never")))),
            ("sync", &|| drop(file.sync_all())),
            ("remove", &|| drop(fs::remove_file(&path))),
            ("metadata", &|| drop(fs::metadata(&path))),
            ("fs::read", &|| drop(fs::read(&path))),
            ("rename", &|| drop(fs::rename(&path, directory.path().join("never")))),
        ];
        for (name, call) in calls {
            assert_eq!(token.run(call), Err(Cancelled), "{name}");
        }
        // To close is not to be kept from it, nor is a file lost.
        assert_eq!(token.run(|| drop(file.close())), Err(Cancelled));
        crate::support::all_is_closed_since(before);
        assert!(!directory.path().join("never").exists());
        assert_eq!(fs::read(&path).unwrap(), b"content");
    });
}

#[test]
fn what_never_waits_is_no_point() {
    run_on_one(|| {
        let token = CancelToken::new();
        let (mut stream, mut peer) = connection();
        stream.set_nonblocking(true).unwrap();
        let outcome = token.run(|| {
            token.cancel();
            let baton = Baton::new();
            assert!(!baton.try_wait() && !baton.wait_timeout(Duration::ZERO));
            assert!(!baton.wait_deadline(Instant::now()));
            fiber::sleep(Duration::ZERO);
            assert!(stream.read(&mut [0; 1]).is_err());
            stream.write_all(b"x").unwrap();
            drop(spawn(|| ()));
            fiber::current().unpark();
        });
        assert_eq!(outcome, Ok(()));
        let mut got = [0; 1];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"x");
    });
}
