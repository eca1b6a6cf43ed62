//! Options, time-outs, and sockets that do not wait.

use std::io::{ErrorKind, IoSliceMut, Read, Write};
use std::time::{Duration, Instant};

use super::net::TcpStream;
use super::pair::{let_others_wait, pair};
use super::{run, thread};

const SHORT: Duration = Duration::from_millis(20);
/// Longer than any test may take.
const LONG: Duration = Duration::from_secs(10_000);

#[test]
fn options() {
    run(|| {
        let (client, _server) = pair();
        for nodelay in [true, false] {
            client.set_nodelay(nodelay).unwrap();
            assert_eq!(client.nodelay().unwrap(), nodelay);
            assert_eq!(client.try_clone().unwrap().nodelay().unwrap(), nodelay);
        }
        client.set_ttl(77).unwrap();
        assert_eq!(client.ttl().unwrap(), 77);
        client.set_ttl(0).unwrap_err();
        assert_eq!(client.ttl().unwrap(), 77);
        assert!(client.take_error().unwrap().is_none());
    });
}

#[test]
fn time_outs_are_kept_and_shared_by_clones() {
    run(|| {
        let (client, _server) = pair();
        let clone = client.try_clone().unwrap();
        assert_eq!(
            (client.read_timeout().unwrap(), client.write_timeout().unwrap()),
            (None, None)
        );
        client.set_read_timeout(Some(SHORT)).unwrap();
        clone.set_write_timeout(Some(LONG)).unwrap();
        for stream in [&client, &clone, &client.try_clone().unwrap()] {
            assert_eq!(stream.read_timeout().unwrap(), Some(SHORT));
            assert_eq!(stream.write_timeout().unwrap(), Some(LONG));
        }
        clone.set_read_timeout(None).unwrap();
        assert_eq!(client.read_timeout().unwrap(), None);
        let error = client.set_read_timeout(Some(Duration::ZERO)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let error = client.set_write_timeout(Some(Duration::ZERO)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(client.write_timeout().unwrap(), Some(LONG), "as before");
    });
}

/// A read of any kind that finds nothing.
type Attempt = fn(&mut TcpStream) -> std::io::Result<usize>;

const READS: [Attempt; 3] = [
    |stream| stream.read(&mut [0; 8]),
    |stream| stream.peek(&mut [0; 8]),
    |stream| stream.read_vectored(&mut [IoSliceMut::new(&mut [0; 8])]),
];

#[test]
fn read_gives_up_when_its_time_is_up() {
    run(|| {
        let (mut client, mut server) = pair();
        server.set_read_timeout(Some(SHORT)).unwrap();
        for read in READS {
            let start = Instant::now();
            assert_eq!(read(&mut server).unwrap_err().kind(), ErrorKind::WouldBlock);
            // The kernel counts a socket's time in ticks of its own, which may be a little short.
            assert!(start.elapsed() >= SHORT / 2);
        }
        client.write_all(b"not lost").unwrap();
        let mut text = [0; 8];
        server.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"not lost");
        server.write_all(b"the other way").unwrap();
        server.set_read_timeout(None).unwrap();
        let reader = thread::spawn(move || server.read(&mut [0; 8]).unwrap());
        let_others_wait();
        drop(client);
        assert_eq!(reader.join().unwrap_or(0), 0);
    });
}

#[test]
fn data_in_time_is_read() {
    run(|| {
        let (mut client, mut server) = pair();
        server.set_read_timeout(Some(LONG)).unwrap();
        let reader = thread::spawn(move || {
            let mut text = [0; 3];
            server.read_exact(&mut text).unwrap();
            text
        });
        for byte in b"abc" {
            let_others_wait();
            client.write_all(&[*byte]).unwrap();
        }
        assert_eq!(&reader.join().unwrap(), b"abc");
    });
}

#[test]
fn reads_that_time_out_between_pieces_lose_nothing() {
    run(|| {
        let (mut client, mut server) = pair();
        server.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let writer = thread::spawn(move || {
            for i in 0..100_u8 {
                if i % 3 == 0 {
                    thread::sleep(Duration::from_millis(2));
                }
                client.write_all(&[i; 10]).unwrap();
            }
        });
        let mut received = Vec::new();
        let mut buf = [0; 64];
        loop {
            match server.read(&mut buf) {
                Ok(0) => break,
                Ok(n) => received.extend_from_slice(&buf[..n]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        writer.join().unwrap();
        assert!(received.iter().copied().eq((0..100).flat_map(|i| [i; 10])));
    });
}

/// Writes until there is no room for more; gives how much went in.
fn fill(stream: &mut TcpStream) -> usize {
    let mut total = 0;
    loop {
        match stream.write(&[9; 10_000]) {
            Ok(n) => total += n,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return total;
            }
        }
    }
}

/// Reads this many bytes, which is all that there is.
fn drain(mut stream: TcpStream, mut expected: usize) {
    let mut buf = vec![0; 100_000];
    while expected > 0 {
        let n = stream.read(&mut buf).unwrap();
        assert!(0 < n && n <= expected && buf[..n].iter().all(|&byte| byte == 9));
        expected -= n;
    }
    assert_eq!(stream.read(&mut buf).unwrap(), 0, "and no more than that");
}

#[test]
fn write_gives_up_when_its_time_is_up() {
    run(|| {
        let (mut client, server) = pair();
        client.set_write_timeout(Some(SHORT)).unwrap();
        let start = Instant::now();
        let mut written = fill(&mut client);
        assert!(start.elapsed() >= SHORT / 2);
        written += fill(&mut client);
        // Reading has its own limit, which is none.
        client.set_write_timeout(None).unwrap();
        let rest = 3_000_000;
        let reader = thread::spawn(move || drain(server, written + rest));
        client.write_all(&vec![9; rest]).unwrap();
        drop(client);
        reader.join().unwrap();
    });
}

#[test]
fn sockets_that_do_not_wait() {
    run(|| {
        let (mut client, mut server) = pair();
        server.set_nonblocking(true).unwrap();
        for _ in 0..3 {
            for read in READS {
                assert_eq!(read(&mut server).unwrap_err().kind(), ErrorKind::WouldBlock);
            }
        }
        client.write_all(b"there").unwrap();
        let mut buf = [0; 8];
        let n = loop {
            match server.read(&mut buf) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
                result => break result.unwrap(),
            }
        };
        assert_eq!(&buf[..n], b"there");
        let written = fill(&mut server);
        server.set_nonblocking(false).unwrap();
        let reader = thread::spawn(move || drain(client, written + 2_000_000));
        server.write_all(&[9; 2_000_000]).unwrap();
        server.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(server.read(&mut buf).unwrap(), 0, "it waits for the end");
        reader.join().unwrap();
    });
}

#[test]
fn clones_wait_or_do_not_wait_together() {
    run(|| {
        let (mut client, mut server) = pair();
        let mut clone = server.try_clone().unwrap();
        clone.set_nonblocking(true).unwrap();
        assert_eq!(server.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let mut later = server.try_clone().unwrap();
        assert_eq!(later.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        server.set_nonblocking(false).unwrap();
        let reader = thread::spawn(move || clone.read(&mut [0; 8]).unwrap());
        let_others_wait();
        client.write_all(b"x").unwrap();
        assert_eq!(reader.join().unwrap(), 1);
    });
}

#[test]
fn time_out_of_a_clone_is_the_time_out() {
    run(|| {
        let (_client, server) = pair();
        let mut clone = server.try_clone().unwrap();
        server.set_read_timeout(Some(SHORT)).unwrap();
        drop(server);
        assert_eq!(clone.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn a_waiting_read_does_not_keep_a_write_from_its_time_out() {
    run(|| {
        let (_client, server) = pair();
        let server = std::sync::Arc::new(server);
        let theirs = std::sync::Arc::clone(&server);
        let reader = thread::spawn(move || (&*theirs).read(&mut [0; 8]).unwrap());
        let_others_wait();
        server.set_write_timeout(Some(SHORT)).unwrap();
        let kind = loop {
            if let Err(error) = (&*server).write(&[0; 100_000]) {
                break error.kind();
            }
        };
        assert_eq!(kind, ErrorKind::WouldBlock);
        assert!(!reader.is_finished());
        server.shutdown(std::net::Shutdown::Both).unwrap();
        assert_eq!(reader.join().unwrap(), 0);
    });
}
