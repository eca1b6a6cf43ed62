//! What UDP sockets do.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::net::UdpSocket;
use super::{run, thread};

fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

#[test]
fn messages_arrive_whole_with_their_senders_address() {
    run(|| {
        let ((a, a_address), (b, b_address)) = (socket(), socket());
        let echo = thread::spawn(move || {
            for len in [0, 1, 1500, 60_000] {
                let mut buf = vec![0; 65536];
                let (n, from) = b.recv_from(&mut buf).unwrap();
                assert_eq!((n, from), (len, a_address));
                assert_eq!(b.send_to(&buf[..n], from).unwrap(), n);
            }
        });
        for len in [0, 1, 1500, 60_000] {
            assert_eq!(a.send_to(&vec![7; len], b_address).unwrap(), len);
            let mut buf = vec![0; 65536];
            assert_eq!(a.recv_from(&mut buf).unwrap(), (len, b_address));
            assert!(buf[..len].iter().all(|&byte| byte == 7) && buf[len..].iter().all(|&byte| byte == 0));
        }
        echo.join().unwrap();
    });
}

#[test]
fn short_messages_do_not_hide_others_and_long_ones_are_cut() {
    run(|| {
        let ((a, _), (b, b_address)) = (socket(), socket());
        a.connect(b_address).unwrap();
        for text in ["one", "", "three", "and four"] {
            a.send(text.as_bytes()).unwrap();
        }
        let mut buf = [0; 5];
        for text in ["one", "", "three", "and f"] {
            assert_eq!(b.peek(&mut buf).unwrap(), text.len());
            assert_eq!(b.peek_from(&mut buf).unwrap(), (text.len(), a.local_addr().unwrap()));
            buf = [0; 5];
            assert_eq!(b.recv(&mut buf).unwrap(), text.len());
            assert_eq!(&buf[..text.len()], text.as_bytes());
        }
        b.set_nonblocking(true).unwrap();
        assert_eq!(b.recv(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn connected_sockets_hear_one_peer_only_and_of_its_absence() {
    run(|| {
        let ((a, a_address), (b, b_address), (stranger, _)) = (socket(), socket(), socket());
        a.connect(&[b_address][..]).unwrap();
        assert_eq!(a.peer_addr().unwrap(), b_address);
        assert_eq!(b.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!(
            b.send(b"x").unwrap_err().kind(),
            std::io::Error::from_raw_os_error(libc::EDESTADDRREQ).kind()
        );
        stranger.send_to(b"not for you", a_address).unwrap();
        b.send_to(b"for you", a_address).unwrap();
        let mut buf = [0; 16];
        assert_eq!(a.recv(&mut buf).unwrap(), 7);
        drop(b);
        a.send(b"nobody").unwrap();
        assert_eq!(a.recv(&mut buf).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let none: &[SocketAddr] = &[];
        assert_eq!(a.send_to(b"x", none).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(a.connect(none).unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn time_outs_and_clones() {
    run(|| {
        let (a, address) = socket();
        let clone = a.try_clone().unwrap();
        clone.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        assert!(a.read_timeout().unwrap().is_some() && a.write_timeout().unwrap().is_none());
        assert_eq!(a.recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(
            a.set_read_timeout(Some(Duration::ZERO)).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
        a.set_read_timeout(None).unwrap();
        let reader = thread::spawn(move || clone.recv(&mut [0; 8]).unwrap());
        a.send_to(b"to a", address).unwrap();
        assert_eq!(reader.join().unwrap(), 4);
    });
}

#[test]
fn options() {
    run(|| {
        let (a, address) = socket();
        for on in [true, false] {
            a.set_broadcast(on).unwrap();
            a.set_multicast_loop_v4(on).unwrap();
            assert_eq!((a.broadcast().unwrap(), a.multicast_loop_v4().unwrap()), (on, on));
        }
        a.set_multicast_ttl_v4(7).unwrap();
        a.set_ttl(9).unwrap();
        assert_eq!((a.multicast_ttl_v4().unwrap(), a.ttl().unwrap()), (7, 9));
        a.set_ttl(0).unwrap_err();
        assert!(a.take_error().unwrap().is_none());
        assert!(
            format!("{a:?}").starts_with(&format!("UdpSocket {{ addr: {address}, fd: ")),
            "{a:?}"
        );
        if let Ok(six) = UdpSocket::bind("[::1]:0") {
            six.set_multicast_loop_v6(false).unwrap();
            assert!(!six.multicast_loop_v6().unwrap());
            let nowhere = Ipv6Addr::LOCALHOST;
            six.join_multicast_v6(&nowhere, 0).unwrap_err();
            six.leave_multicast_v6(&nowhere, 0).unwrap_err();
        }
    });
}

#[test]
fn groups_on_the_loopback() {
    run(|| {
        let group = Ipv4Addr::new(239, 255, 77, 77);
        let member = UdpSocket::bind((group, 0)).unwrap();
        let port = member.local_addr().unwrap().port();
        member.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap();
        member.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // From the loopback's address, so that it goes out there.
        let (sender, _) = socket();
        if let Err(error) = sender.send_to(b"to all", (group, port)) {
            crate::support::show(&format!("SKIP nothing can be sent to a group: {error}"));
            return;
        }
        let mut buf = [0; 16];
        assert_eq!(member.recv(&mut buf).unwrap(), 6);
        member.leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap();
        member.leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap_err();
    });
}
