//! What Unix sockets do.

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use super::unix::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use super::{run, thread};

#[test]
fn streams_by_path() {
    run(|| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), ErrorKind::NotFound);
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(UnixListener::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(&*path));
        let server = thread::spawn(move || {
            for stream in listener.incoming().take(2) {
                let mut stream = stream.unwrap();
                let mut text = String::new();
                stream.read_to_string(&mut text).unwrap();
                stream.write_all(text.to_uppercase().as_bytes()).unwrap();
            }
            listener
        });
        let by_address = SocketAddr::from_pathname(&path).unwrap();
        for mut stream in [
            UnixStream::connect(&path).unwrap(),
            UnixStream::connect_addr(&by_address).unwrap(),
        ] {
            assert_eq!(stream.peer_addr().unwrap().as_pathname(), Some(&*path));
            assert!(stream.local_addr().unwrap().is_unnamed());
            stream.write_all(b"text").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            assert_eq!(text, "TEXT");
        }
        drop(server.join().unwrap());
        assert_eq!(
            UnixStream::connect(&path).unwrap_err().kind(),
            ErrorKind::ConnectionRefused
        );
    });
}

#[test]
#[cfg(target_os = "linux")]
fn abstract_names() {
    use std::os::linux::net::SocketAddrExt;

    run(|| {
        // A NUL within, and as long as can be.
        for len in [1, 107] {
            let mut name = format!("{}-{:p}\0", std::process::id(), &len).into_bytes();
            name.resize(len.max(name.len()), b'x');
            let address = SocketAddr::from_abstract_name(&name).unwrap();
            let listener = UnixListener::bind_addr(&address).unwrap();
            assert_eq!(listener.local_addr().unwrap().as_abstract_name(), Some(&name[..]));
            let stream = UnixStream::connect_addr(&address).unwrap();
            let (theirs, from) = listener.accept().unwrap();
            assert!(from.is_unnamed() && theirs.peer_addr().unwrap().is_unnamed());
            assert_eq!(stream.peer_addr().unwrap().as_abstract_name(), Some(&name[..]));
            let receiver = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name[1..]).unwrap()).unwrap();
            let sender = UnixDatagram::unbound().unwrap();
            sender.send_to_addr(b"x", &receiver.local_addr().unwrap()).unwrap();
            assert_eq!(receiver.recv(&mut [0; 4]).unwrap(), 1);
        }
    });
}

#[test]
fn names_that_cannot_be() {
    run(|| {
        let long = "x".repeat(200);
        for name in [&*long, "with\0nul"] {
            let kinds = [
                UnixStream::connect(name).unwrap_err().kind(),
                UnixListener::bind(name).unwrap_err().kind(),
                UnixDatagram::bind(name).unwrap_err().kind(),
                UnixDatagram::unbound().unwrap().send_to(b"x", name).unwrap_err().kind(),
                UnixDatagram::unbound().unwrap().connect(name).unwrap_err().kind(),
            ];
            assert_eq!(kinds, [ErrorKind::InvalidInput; 5]);
        }
    });
}

#[test]
fn pairs_carry_vectors_and_end() {
    run(|| {
        let (mut a, mut b) = UnixStream::pair().unwrap();
        assert!(a.local_addr().unwrap().is_unnamed() && a.peer_addr().unwrap().is_unnamed());
        let parts = [IoSlice::new(b"in "), IoSlice::new(b""), IoSlice::new(b"parts")];
        assert_eq!(a.write_vectored(&parts).unwrap(), 8);
        let (mut first, mut second) = ([0; 2], [0; 20]);
        let n = b
            .read_vectored(&mut [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)])
            .unwrap();
        assert_eq!((n, &first, &second[..6]), (8, b"in", &b" parts"[..]));
        let mut clone = b.try_clone().unwrap();
        let reader = thread::spawn(move || clone.read(&mut [0]).unwrap());
        drop(a);
        assert_eq!(reader.join().unwrap(), 0);
        assert_eq!(b.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert!(b.take_error().unwrap().is_none());
    });
}

#[test]
fn time_outs_and_modes() {
    run(|| {
        let (mut a, _b) = UnixStream::pair().unwrap();
        a.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        a.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        assert!(a.read_timeout().unwrap().is_some() && a.write_timeout().unwrap().is_some());
        assert_eq!(a.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let full = std::iter::repeat_with(|| a.write(&[0; 65536]))
            .find_map(Result::err)
            .unwrap();
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        assert_eq!(
            a.set_read_timeout(Some(Duration::ZERO)).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
        a.set_read_timeout(None).unwrap();
        a.set_nonblocking(true).unwrap();
        assert_eq!(a.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);

        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn datagrams() {
    run(|| {
        let directory = tempfile::tempdir().unwrap();
        let [a_path, b_path] = ["a", "b"].map(|name| directory.path().join(name));
        let (a, b) = (
            UnixDatagram::bind(&a_path).unwrap(),
            UnixDatagram::bind(&b_path).unwrap(),
        );
        assert_eq!(a.send_to(b"to b", &b_path).unwrap(), 4);
        let mut buf = [0; 16];
        let (n, from) = b.recv_from(&mut buf).unwrap();
        assert_eq!((n, from.as_pathname()), (4, Some(&*a_path)));
        b.connect(&a_path).unwrap();
        assert_eq!(b.peer_addr().unwrap().as_pathname(), Some(&*a_path));
        for text in ["one", "", "three"] {
            b.send(text.as_bytes()).unwrap();
        }
        for text in ["one", "", "three"] {
            assert_eq!(a.recv(&mut buf).unwrap(), text.len());
        }
        a.send_to(b"x", directory.path().join("c")).unwrap_err();
        let (c, d) = UnixDatagram::pair().unwrap();
        let reader = thread::spawn(move || {
            let mut buf = [0; 16];
            let (n, from) = d.recv_from(&mut buf).unwrap();
            (n, from.is_unnamed(), d.recv(&mut buf).unwrap(), d)
        });
        c.send(b"pair").unwrap();
        c.send(b"").unwrap();
        let (n, unnamed, empty, _d) = reader.join().unwrap();
        assert_eq!((n, unnamed, empty), (4, true, 0));
        c.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        assert_eq!(c.recv(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
        c.shutdown(Shutdown::Both).unwrap();
        assert_eq!(c.send(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}
