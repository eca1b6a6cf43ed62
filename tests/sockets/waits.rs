//! How waiting in these sockets ends otherwise: cancelled, closed, refused; and what travels beside the bytes.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use kapok::net::{UdpSocket, UnixDatagram, UnixListener, UnixStream};
use kapok::{fiber, no_suspend, spawn, timeout};

use crate::support::{all_is_closed_since, child, panics, run, run_on_one, says};

const SOON: Duration = Duration::from_millis(10);

#[test]
fn a_receive_that_is_cancelled_has_taken_nothing() {
    run(|| {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        timeout(SOON, || udp.recv_from(&mut [0; 8])).unwrap_err();
        timeout(SOON, || udp.recv(&mut [0; 8])).unwrap_err();
        udp.send_to(b"later", udp.local_addr().unwrap()).unwrap();
        assert_eq!(udp.recv(&mut [0; 8]).unwrap(), 5);

        let (mut a, mut b) = UnixStream::pair().unwrap();
        timeout(SOON, || b.read(&mut [0; 8])).unwrap_err();
        timeout(SOON, || b.recv_with_fds(&mut [0; 8])).unwrap_err();
        a.write_all(b"later").unwrap();
        assert_eq!(b.read(&mut [0; 8]).unwrap(), 5);

        let (a, b) = UnixDatagram::pair().unwrap();
        timeout(SOON, || b.recv_from(&mut [0; 8])).unwrap_err();
        a.send(b"later").unwrap();
        assert_eq!(b.recv(&mut [0; 8]).unwrap(), 5);
    });
}

#[test]
fn closing_a_listener_ends_those_who_wait() {
    run(|| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let clone = listener.try_clone().unwrap();
        let acceptor = spawn(move || clone.incoming().map(|stream| drop(stream.unwrap())).count());
        drop(UnixStream::connect(&path).unwrap());
        while !acceptor.is_finished() {
            fiber::sleep(Duration::from_micros(100));
            listener.close();
        }
        assert!(acceptor.join().unwrap() <= 1);
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!((&listener).into_iter().count(), 0);
    });
}

#[test]
fn no_suspend_refuses_what_would_wait_and_nothing_else() {
    run_on_one(|| {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        says(&panics(|| no_suspend(|| udp.recv(&mut [0]))), &["no_suspend"]);
        no_suspend(|| {
            udp.send_to(b"abc", address).unwrap();
            assert_eq!(udp.recv_from(&mut [0; 8]).unwrap(), (3, address));
        });
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        let refused = no_suspend(|| panics(|| while sender.send_to(b"x", &path).is_ok() {}));
        says(&refused, &["no_suspend"]);
        no_suspend(|| receiver.recv(&mut [0])).unwrap();
    });
}

#[test]
fn descriptors_travel_with_bytes() {
    child::undisturbed("waits::descriptors_travel_with_bytes", || {
        let path = crate::support::open_descriptors();
        run(|| {
            let (a, b) = UnixStream::pair().unwrap();
            let files: Vec<File> = (0..100u8)
                .map(|i| {
                    let mut file = tempfile::tempfile().unwrap();
                    file.write_all(&[i]).unwrap();
                    file.rewind().unwrap();
                    file
                })
                .collect();
            let fds: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
            let receiver = spawn(move || {
                let mut buf = [0; 16];
                let (n, fds) = b.recv_with_fds(&mut buf).unwrap();
                assert_eq!((&buf[..n], fds.len()), (&b"files"[..], 100));
                for (i, fd) in fds.into_iter().enumerate() {
                    assert!(is_closed_on_exec(&fd));
                    let mut byte = [0];
                    File::from(fd).read_exact(&mut byte).unwrap();
                    assert_eq!(usize::from(byte[0]), i);
                }
                // Without any; and one that is not asked for is closed.
                assert_eq!(b.recv_with_fds(&mut buf[..1]).unwrap().1.len(), 0);
                (&b).read_exact(&mut buf[..1]).unwrap();
                b
            });
            assert_eq!(a.send_with_fds(b"files", &fds).unwrap(), 5);
            assert_eq!(a.send_with_fds(b"x", &[]).unwrap(), 1);
            assert_eq!(a.send_with_fds(b"y", &fds[..1]).unwrap(), 1);
            drop(receiver.join().unwrap());
            assert_eq!(
                a.send_with_fds(b"", &fds[..1]).unwrap_err().kind(),
                ErrorKind::InvalidInput
            );
            let many = vec![a.as_fd(); 254];
            assert_eq!(
                a.send_with_fds(b"x", &many).unwrap_err().kind(),
                ErrorKind::InvalidInput
            );

            let (a, b) = UnixDatagram::pair().unwrap();
            a.send_with_fds(b"", &fds[..2]).unwrap();
            assert_eq!(b.recv_with_fds(&mut [0; 4]).unwrap().1.len(), 2);
        });
        all_is_closed_since(path);
    });
}

fn is_closed_on_exec(fd: &OwnedFd) -> bool {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()));
    let Ok(info) = info else { return true };
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    u32::from_str_radix(flags.trim(), 8).unwrap() & 0o2_000_000 != 0
}

#[test]
fn who_is_at_the_other_end() {
    run(|| {
        let (a, _b) = UnixStream::pair().unwrap();
        let credentials = a.peer_cred().unwrap();
        if cfg!(target_os = "linux") {
            assert_eq!(credentials.pid, Some(i32::try_from(std::process::id()).unwrap()));
        }
        let owner = std::os::unix::fs::MetadataExt::uid(&tempfile::tempfile().unwrap().metadata().unwrap());
        assert_eq!(credentials.uid, owner);
    });
}

#[test]
fn from_std_and_back() {
    run(|| {
        let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
        let (mut a, mut b) = (UnixStream::from(a), UnixStream::from(b));
        let reader = spawn(move || {
            b.read_exact(&mut [0; 3]).unwrap();
            std::os::unix::net::UnixStream::from(b)
        });
        a.write_all(b"abcrest").unwrap();
        drop(a);
        let mut rest = String::new();
        // It blocks again, and there is something.
        reader.join().unwrap().read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "rest");
        let udp = UdpSocket::from(std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
        udp.send_to(b"x", udp.local_addr().unwrap()).unwrap();
        assert_eq!(std::net::UdpSocket::from(udp).recv(&mut [0; 4]).unwrap(), 1);
        let directory = tempfile::tempdir().unwrap();
        let listener = std::os::unix::net::UnixListener::bind(directory.path().join("s")).unwrap();
        drop(std::os::unix::net::UnixListener::from(UnixListener::from(listener)));
        let (a, b) = std::os::unix::net::UnixDatagram::pair().unwrap();
        UnixDatagram::from(OwnedFd::from(a)).send(b"abc").unwrap();
        assert_eq!(b.recv(&mut [0; 4]).unwrap(), 3);
    });
}
