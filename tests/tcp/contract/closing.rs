//! How connections end.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

use super::net::TcpStream;
use super::pair::{let_others_wait, pair};
use super::{run, thread};

/// Reads until the end.
fn all(mut stream: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Writes until that fails, and gives the kind of the error.
fn write_until_it_fails(mut stream: impl Write) -> ErrorKind {
    loop {
        if let Err(error) = stream.write_all(&[0; 4_096]) {
            return error.kind();
        }
    }
}

#[test]
fn end_is_read_again_and_again() {
    run(|| {
        let (client, mut server) = pair();
        drop(client);
        for _ in 0..5 {
            assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
            assert_eq!(server.peek(&mut [0; 8]).unwrap(), 0);
        }
    });
}

#[test]
fn end_comes_after_the_data() {
    run(|| {
        for size in [1, 1_000, 100_000, 1_000_000] {
            let (mut client, server) = pair();
            let writer = thread::spawn(move || client.write_all(&vec![7; size]).unwrap());
            let bytes = all(server);
            assert!(bytes.len() == size && bytes.iter().all(|&byte| byte == 7));
            writer.join().unwrap();
        }
    });
}

#[test]
fn end_reaches_one_who_waits() {
    run(|| {
        let (client, mut server) = pair();
        let reader = thread::spawn(move || server.read(&mut [0; 8]).unwrap());
        let_others_wait();
        drop(client);
        assert_eq!(reader.join().unwrap(), 0);
    });
}

#[test]
fn half_closed_connection_works_in_the_other_direction() {
    run(|| {
        let (mut client, mut server) = pair();
        client.write_all(b"question").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(all(&server), b"question");
        assert_eq!(client.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        // Long after the end of the one direction the other still takes more than fits into buffers.
        let reader = thread::spawn(move || all(client).len());
        for _ in 0..100 {
            server.write_all(&[1; 50_000]).unwrap();
        }
        assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
        server.shutdown(Shutdown::Write).unwrap();
        assert_eq!(reader.join().unwrap(), 5_000_000);
    });
}

#[test]
fn shutdown_of_reading() {
    run(|| {
        let (mut client, mut server) = pair();
        server.shutdown(Shutdown::Read).unwrap();
        for _ in 0..3 {
            assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
        }
        server.write_all(b"still there").unwrap();
        let mut buf = [0; 11];
        client.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"still there");
    });
}

#[test]
fn shutdown_of_both() {
    run(|| {
        let (mut client, mut server) = pair();
        server.shutdown(Shutdown::Both).unwrap();
        assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
        assert_eq!(server.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    });
}

#[test]
fn shutdown_wakes_a_reader() {
    run(|| {
        for how in [Shutdown::Read, Shutdown::Both] {
            let (_client, server) = pair();
            let server = Arc::new(server);
            let theirs = Arc::clone(&server);
            let reader = thread::spawn(move || (&*theirs).read(&mut [0; 8]).unwrap());
            let_others_wait();
            assert!(!reader.is_finished());
            server.shutdown(how).unwrap();
            assert_eq!(reader.join().unwrap(), 0);
        }
    });
}

#[test]
fn shutdown_wakes_a_writer() {
    run(|| {
        for how in [Shutdown::Write, Shutdown::Both] {
            let (_client, server) = pair();
            let server = Arc::new(server);
            let theirs = Arc::clone(&server);
            let writer = thread::spawn(move || write_until_it_fails(&*theirs));
            // It has filled the buffers when this sees no further progress: nobody reads.
            let_others_wait();
            server.shutdown(how).unwrap();
            assert_eq!(writer.join().unwrap(), ErrorKind::BrokenPipe);
        }
    });
}

#[test]
fn shutdown_through_one_handle_is_seen_through_the_other() {
    run(|| {
        let (client, mut server) = pair();
        let mut clone = client.try_clone().unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(clone.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
        server.write_all(b"x").unwrap();
        assert_eq!(clone.read(&mut [0; 8]).unwrap(), 1);
    });
}

/// A connection that is closed before everything was read is reset.
fn reset(mut stream: TcpStream, peer: &mut TcpStream) {
    peer.write_all(b"never read").unwrap();
    assert_eq!(stream.peek(&mut [0; 1]).unwrap(), 1);
    stream.write_all(b"lost").unwrap();
    drop(stream);
}

#[test]
fn reset_is_told_once() {
    run(|| {
        for _ in 0..20 {
            let (client, mut server) = pair();
            reset(client, &mut server);
            let error = loop {
                match server.read(&mut [0; 8]) {
                    // What arrived before the reset may or may not be there still.
                    Ok(n) => assert_ne!(n, 0, "a reset is no end"),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
            assert_eq!(server.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        }
    });
}

#[test]
fn reset_reaches_one_who_waits() {
    run(|| {
        let (client, mut server) = pair();
        server.write_all(b"never read").unwrap();
        assert_eq!(client.peek(&mut [0; 1]).unwrap(), 1);
        let reader = thread::spawn(move || server.read(&mut [0; 8]).unwrap_err().kind());
        let_others_wait();
        assert!(!reader.is_finished());
        drop(client);
        assert_eq!(reader.join().unwrap(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn reset_reaches_one_who_waits_to_write() {
    run(|| {
        let (client, server) = pair();
        let writer = thread::spawn(move || write_until_it_fails(&server));
        assert_eq!(client.peek(&mut [0; 1]).unwrap(), 1);
        let_others_wait();
        drop(client);
        let kind = writer.join().unwrap();
        assert!(
            matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
            "{kind:?}"
        );
    });
}

/// An error, and not a signal that ends the process.
#[test]
fn writing_to_one_who_is_gone_fails() {
    run(|| {
        let (client, server) = pair();
        drop(client);
        let kind = write_until_it_fails(&server);
        assert!(
            matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
            "{kind:?}"
        );
        assert_eq!((&server).write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        let parts = [std::io::IoSlice::new(b"x")];
        assert_eq!(
            (&server).write_vectored(&parts).unwrap_err().kind(),
            ErrorKind::BrokenPipe
        );
    });
}

#[test]
fn connection_is_closed_with_its_last_handle() {
    run(|| {
        let (client, mut server) = pair();
        let clones = [client.try_clone().unwrap(), client.try_clone().unwrap()];
        drop(client);
        for mut clone in clones {
            server.write_all(b"x").unwrap();
            assert_eq!(clone.read(&mut [0; 8]).unwrap(), 1);
            clone.write_all(b"y").unwrap();
            assert_eq!(server.read(&mut [0; 8]).unwrap(), 1);
        }
        assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
    });
}

/// The kernel may still watch the first handle's descriptor when its number belongs to another connection.
#[test]
fn clone_works_while_its_origin_and_number_come_and_go() {
    run(|| {
        let (mut client, server) = pair();
        let mut handle = server;
        for _ in 0..20 {
            // Waits once, so that it is known to the kernel's watch, if there is one.
            let clone = handle.try_clone().unwrap();
            let reader = thread::spawn(move || {
                let mut handle = handle;
                handle.read(&mut [0; 8]).unwrap()
            });
            let_others_wait();
            client.write_all(b"x").unwrap();
            assert_eq!(reader.join().unwrap(), 1);
            // The number of the one that is gone is the next one's.
            let (mut other_client, mut other_server) = pair();
            let other = thread::spawn(move || other_server.read(&mut [0; 8]).unwrap());
            let_others_wait();
            assert!(!other.is_finished());
            client.write_all(b"yy").unwrap();
            let mut same = clone;
            assert_eq!(same.read(&mut [0; 8]).unwrap(), 2);
            assert!(!other.is_finished(), "that was for somebody else");
            other_client.write_all(b"zzz").unwrap();
            assert_eq!(other.join().unwrap(), 3);
            handle = same;
        }
    });
}
