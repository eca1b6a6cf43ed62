//! Cancelling where nothing can be unwound; `main.rs` builds this with `panic = "abort"`. A panic in here ends it.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kapok::net::{TcpListener, TcpStream};
use kapok::sync::Baton;
use kapok::{CancelToken, fiber, fs, is_cancelled, race, shield, spawn, timeout};

const FOREVER: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(1);

fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

fn is_ecanceled<T>(result: std::io::Result<T>) -> bool {
    result.err().and_then(|error| error.raw_os_error()) == Some(libc::ECANCELED)
}

fn sockets() {
    let (mut stream, mut peer) = connection();
    let outcome = timeout(SOON, || {
        assert!(!is_cancelled());
        assert!(is_ecanceled(stream.read(&mut [0; 10])), "the one that waits");
        assert!(is_cancelled());
        assert!(is_ecanceled(stream.write(b"never")), "and the next one");
        shield(|| stream.write_all(b"shielded")).unwrap();
    });
    assert_eq!(outcome, Ok(()));
    assert!(!is_cancelled());
    stream.write_all(b" and after").unwrap();
    drop(stream);
    let mut text = String::new();
    peer.read_to_string(&mut text).unwrap();
    assert_eq!(text, "shielded and after");
}

fn acceptors() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = spawn(move || {
        while !is_cancelled() {
            assert!(is_ecanceled(listener.accept().map(drop)));
        }
        "stopped"
    });
    fiber::sleep(SOON);
    std::thread::scope(|s| {
        s.spawn(|| server.cancel());
    });
    assert_eq!(server.join().unwrap(), "stopped");
}

fn sleeps_and_yields() {
    let token = CancelToken::new();
    let outcome = token.run(|| {
        token.cancel();
        fiber::sleep(FOREVER);
        fiber::yield_now();
        kapok::cancel::checkpoint();
        7
    });
    assert_eq!(outcome, Ok(7));
    assert_eq!(timeout(SOON, || fiber::sleep(FOREVER)), Ok(()));
    // Others run meanwhile.
    let other = spawn(|| (0..10).for_each(|_| fiber::yield_now()));
    let busy = spawn(move || {
        while !other.is_finished() {
            fiber::sleep(FOREVER);
        }
    });
    busy.cancel();
    busy.join().unwrap();
}

fn waits_go_on() {
    let baton = Arc::new(Baton::new());
    let theirs = Arc::clone(&baton);
    let fiber = spawn(move || {
        let first = is_cancelled();
        theirs.wait();
        (first, is_cancelled(), kapok::blocking(|| 3))
    });
    fiber::yield_now();
    fiber.cancel();
    fiber::sleep(SOON);
    assert!(!fiber.is_finished());
    baton.post();
    assert_eq!(fiber.join().unwrap(), (false, true, 3));
    assert_eq!(timeout(SOON, || Baton::new().wait_timeout(SOON * 3)), Ok(false));
}

fn fibers_begin_when_they_are_cancelled() {
    let fiber = spawn(is_cancelled);
    fiber.cancel();
    assert!(fiber.join().unwrap());
}

fn scopes_and_races() {
    let cancelled = AtomicUsize::new(0);
    let poll = || {
        while !is_cancelled() {
            fiber::yield_now();
        }
        cancelled.fetch_add(1, Ordering::Relaxed);
    };
    fiber::scope(|s| {
        s.spawn(poll);
        s.spawn(poll);
        fiber::sleep(SOON);
        s.cancel();
    });
    assert_eq!(
        race(
            || {
                poll();
                1
            },
            || 2
        ),
        2
    );
    let late = timeout(SOON, || fiber::scope(|s| s.spawn(poll).join().unwrap()));
    assert_eq!(late, Ok(()));
    assert_eq!(cancelled.into_inner(), 4);
}

fn files() {
    let path = std::env::temp_dir().join(format!("kapok-abort-{}", std::process::id()));
    let token = CancelToken::new();
    let written = token.run(|| {
        let mut file = fs::File::create(&path).unwrap();
        token.cancel();
        let result = file.write_all(b"content");
        // In a ring it is refused, in the pool it is done.
        assert!(result.is_ok() || is_ecanceled(result));
        file.close()
    });
    written.unwrap().unwrap();
    fs::remove_file(&path).unwrap();
}

fn main() {
    let tests: [(&str, fn()); 7] = [
        ("sockets", sockets),
        ("acceptors", acceptors),
        ("sleeps and yields", sleeps_and_yields),
        ("waits go on", waits_go_on),
        ("fibers begin", fibers_begin_when_they_are_cancelled),
        ("scopes and races", scopes_and_races),
        ("files", files),
    ];
    for (name, test) in tests {
        kapok::run(test).unwrap();
        println!("{name}");
    }
    println!("all {}", tests.len());
}
