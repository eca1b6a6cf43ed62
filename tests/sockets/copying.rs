//! `copy` and `copy_bidirectional`: all bytes, all ends.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use kapok::net::{Copied, TcpListener, TcpStream, UnixStream, copy, copy_bidirectional, copy_bidirectional_counted};
use kapok::{fiber, spawn, timeout};

use crate::support::{Random, all_is_closed_since, child, open_descriptors, run, watchdog};

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// More than all the buffers on the way hold, and not a multiple of anything.
const LARGE: usize = 3_000_017;

/// A client sends `there` and closes that direction; the server sends `back`, and does so after it has read everything.
fn exchange(there: Vec<u8>, back: Vec<u8>) {
    let ((client, a), (b, server)) = (tcp_pair(), UnixStream::pair().unwrap());
    let proxy = spawn(move || copy_bidirectional(&a, &b).unwrap());
    let counts = (there.len() as u64, back.len() as u64);
    let (asked, answered) = (there.clone(), back.clone());
    let server = spawn(move || {
        let mut got = Vec::new();
        (&server).read_to_end(&mut got).unwrap();
        assert!(got == asked);
        (&server).write_all(&back).unwrap();
    });
    (&client).write_all(&there).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut got = Vec::new();
    (&client).read_to_end(&mut got).unwrap();
    assert!(got == answered);
    server.join().unwrap();
    assert_eq!(proxy.join().unwrap(), counts);
}

#[test]
fn both_ways_with_one_closed_before_the_other() {
    child::undisturbed("copying::both_ways_with_one_closed_before_the_other", || {
        let before = open_descriptors();
        run(|| {
            let mut random = Random::new(5);
            for (there, back) in [(0, 0), (1, 0), (0, 1), (70_000, 5), (LARGE, LARGE)] {
                exchange(random.bytes(there), random.bytes(back));
            }
        });
        all_is_closed_since(before);
    });
}

#[test]
fn through_a_buffer_where_no_pipe_can_be_had() {
    child::undisturbed("copying::through_a_buffer_where_no_pipe_can_be_had", || {
        run(|| {
            let ((client, a), (b, server)) = (tcp_pair(), tcp_pair());
            let (_, hard) = rlimit::getrlimit(rlimit::Resource::NOFILE).unwrap();
            rlimit::setrlimit(rlimit::Resource::NOFILE, 256, hard).unwrap();
            let _taken: Vec<_> = std::iter::repeat_with(|| std::fs::File::open("/dev/null"))
                .map_while(Result::ok)
                .collect();
            let proxy = spawn(move || copy(&a, &b).map(|count| (count, b)));
            let sent = Random::new(6).bytes(LARGE);
            let theirs = sent.clone();
            let writer = spawn(move || (&client).write_all(&theirs).unwrap());
            let mut got = vec![0; LARGE];
            (&server).read_exact(&mut got).unwrap();
            assert!(got == sent);
            writer.join().unwrap();
            let (count, b) = proxy.join().unwrap().unwrap();
            assert_eq!(count, LARGE as u64);
            // It shuts nothing down.
            b.set_nonblocking(true).unwrap();
            assert_eq!((&b).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        });
    });
}

#[test]
fn on_plain_threads() {
    let _watchdog = watchdog();
    let ((client, a), (b, server)) = (tcp_pair(), tcp_pair());
    let proxy = thread::spawn(move || copy_bidirectional(&a, &b).unwrap());
    let server = thread::spawn(move || {
        let mut got = Vec::new();
        (&server).read_to_end(&mut got).unwrap();
        (&server).write_all(b"done").unwrap();
        got.len()
    });
    (&client).write_all(&vec![1; LARGE]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    (&client).read_to_string(&mut text).unwrap();
    assert_eq!(text, "done");
    assert_eq!(server.join().unwrap(), LARGE);
    assert_eq!(proxy.join().unwrap(), (LARGE as u64, 4));
}

#[test]
fn what_was_copied_is_known_after_it_was_cancelled() {
    run(|| {
        let ((client, a), (b, server)) = (tcp_pair(), tcp_pair());
        let copied = Copied::new();
        (&client).write_all(b"question").unwrap();
        (&server).write_all(b"answer").unwrap();
        let outcome = timeout(Duration::from_millis(100), || {
            copy_bidirectional_counted(&a, &b, &copied)
        });
        outcome.unwrap_err();
        assert_eq!((copied.a_to_b(), copied.b_to_a()), (8, 6));
        let mut buf = [0; 8];
        (&server).read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"question");
    });
}

#[test]
fn a_connection_that_breaks_ends_both_directions() {
    run(|| {
        let ((client, a), (b, server)) = (tcp_pair(), tcp_pair());
        let proxy = spawn(move || copy_bidirectional(&a, &b));
        (&client).write_all(b"x").unwrap();
        (&server).read_exact(&mut [0]).unwrap();
        // Closing with something unread resets the connection.
        (&client).write_all(b"never read").unwrap();
        let waits_for_it = spawn(move || {
            while server.peek(&mut [0]).unwrap() == 0 {}
            drop(server);
        });
        waits_for_it.join().unwrap();
        let error = proxy.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        // The client that only waits for an answer hears of it.
        assert_eq!((&client).read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn time_outs_are_heeded() {
    run(|| {
        let ((_client, a), (b, _server)) = (tcp_pair(), tcp_pair());
        a.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        assert_eq!(copy(&a, &b).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(copy_bidirectional(&a, &b).unwrap_err().kind(), ErrorKind::WouldBlock);
        let ((client, a), (b, _server)) = (tcp_pair(), tcp_pair());
        b.set_write_timeout(Some(Duration::from_millis(10))).unwrap();
        let copying = spawn(move || copy(&a, &b));
        let writer = spawn(move || while (&client).write(&[0; 65536]).is_ok() {});
        assert_eq!(copying.join().unwrap().unwrap_err().kind(), ErrorKind::WouldBlock);
        writer.join().unwrap();
        fiber::yield_now();
    });
}
