//! Queues that are full, of sockets that the kernel does not watch for those who wait.

use std::io::ErrorKind;
#[cfg(target_os = "linux")]
use std::io::Write;
#[cfg(target_os = "linux")]
use std::sync::Arc;
use std::time::Duration;

#[cfg(target_os = "linux")]
use kapok::fiber;
use kapok::net::UnixDatagram;
#[cfg(target_os = "linux")]
use kapok::net::{UnixListener, UnixStream};
use kapok::spawn;

use crate::support::run;

#[test]
fn a_message_to_a_receiver_without_room_waits_until_there_is() {
    for connected in [false, true] {
        run(|| {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("receiver");
            let receiver = UnixDatagram::bind(&path).unwrap();
            let sender = UnixDatagram::unbound().unwrap();
            if connected {
                sender.connect(&path).unwrap();
            }
            let send = move |sender: &UnixDatagram, number: u32| {
                let bytes = number.to_le_bytes();
                if connected {
                    sender.send(&bytes)
                } else {
                    sender.send_to(&bytes, &path)
                }
            };
            // It tells that it is full where nobody waits, and when the time is up.
            sender.set_nonblocking(true).unwrap();
            let mut count = 0;
            while send(&sender, count).is_ok() {
                count += 1;
            }
            sender.set_nonblocking(false).unwrap();
            sender.set_write_timeout(Some(Duration::from_millis(10))).unwrap();
            assert_eq!(send(&sender, count).unwrap_err().kind(), ErrorKind::WouldBlock);
            sender.set_write_timeout(None).unwrap();
            let total = count + 100;
            let sender = spawn(move || (count..total).for_each(|number| assert_eq!(send(&sender, number).unwrap(), 4)));
            for number in 0..total {
                let mut bytes = [0; 4];
                assert_eq!(receiver.recv(&mut bytes).unwrap(), 4);
                assert_eq!(u32::from_le_bytes(bytes), number);
            }
            sender.join().unwrap();
        });
    }
}

#[test]
fn who_waits_for_room_can_be_cancelled_and_loses_nothing() {
    run(|| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("receiver");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        sender.set_nonblocking(true).unwrap();
        let mut count = 0;
        while sender.send_to(b"x", &path).is_ok() {
            count += 1;
        }
        sender.set_nonblocking(false).unwrap();
        kapok::timeout(Duration::from_millis(10), || sender.send_to(b"y", &path)).unwrap_err();
        receiver.set_nonblocking(true).unwrap();
        let mut buf = [0];
        for _ in 0..count {
            receiver.recv(&mut buf).unwrap();
            assert_eq!(&buf, b"x");
        }
        assert_eq!(receiver.recv(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_connect_to_a_full_listener_waits_and_can_be_cancelled() {
    run(|| {
        let directory = tempfile::tempdir().unwrap();
        let path = Arc::new(directory.path().join("listener"));
        let listener = std::os::unix::net::UnixListener::bind(&*path).unwrap();
        // A queue of one, and another one in it.
        // SAFETY: no pointers.
        #[expect(unsafe_code, reason = "std cannot say how long the queue is")]
        let listens = unsafe { libc::listen(std::os::fd::AsRawFd::as_raw_fd(&listener), 0) };
        assert_eq!(listens, 0);
        let listener = UnixListener::from(listener);
        let first = UnixStream::connect(&*path).unwrap();
        kapok::timeout(Duration::from_millis(10), || UnixStream::connect(&*path)).unwrap_err();
        let theirs = Arc::clone(&path);
        let waiter = spawn(move || UnixStream::connect(&*theirs).unwrap().write_all(b"here").unwrap());
        fiber::yield_now();
        assert!(!waiter.is_finished());
        drop(listener.accept().unwrap());
        let second = listener.accept().unwrap();
        waiter.join().unwrap();
        drop((first, second));
    });
}
