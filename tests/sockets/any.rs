//! Descriptors of other kinds.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use kapok::net::{Async, lookup_host};
use kapok::{no_suspend, spawn, timeout};

use crate::support::{panics, run, run_on_one, says};

#[test]
fn a_pipe_of_a_child_is_read_while_others_run() {
    run(|| {
        let mut child = Command::new("sh")
            .args(["-c", "read line; echo got $line; cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = Async::new(child.stdin.take().unwrap()).unwrap();
        let mut stdout = Async::new(child.stdout.take().unwrap()).unwrap();
        let sent = vec![b'x'; 500_000];
        let reader = spawn(move || {
            let mut got = Vec::new();
            stdout.read_to_end(&mut got).unwrap();
            got
        });
        stdin.write_all(b"this\n").unwrap();
        stdin.write_all(&sent).unwrap();
        stdin.flush().unwrap();
        drop(stdin);
        let got = reader.join().unwrap();
        assert!(got.starts_with(b"got this\n") && got[9..] == sent);
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn waiting_can_be_cancelled_and_refused_and_takes_nothing() {
    run_on_one(|| {
        let (a, mut b) = UnixStream::pair().unwrap();
        let a = Async::new(a).unwrap();
        timeout(Duration::from_millis(5), || a.readable())
            .unwrap_err()
            .to_string();
        timeout(Duration::from_millis(5), || (&a).read(&mut [0])).unwrap_err();
        says(&panics(|| no_suspend(|| a.readable())), &["no_suspend"]);
        a.writable().unwrap();
        b.write_all(b"xy").unwrap();
        no_suspend(|| a.readable()).unwrap();
        a.readable().unwrap();
        assert_eq!(a.read_with(|mut a| a.read(&mut [0; 1])).unwrap(), 1);
        a.readable().unwrap();
        assert_eq!((&a).read(&mut [0; 8]).unwrap(), 1);
        // Errors of the caller's own come through.
        let error = a.write_with(|_| Err::<(), _>(ErrorKind::Other.into())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other);
        let number = a.as_raw_fd();
        let a = a.into_inner();
        assert_eq!(a.as_raw_fd(), number);
        drop(b);
        let shared = Async::new_shared(OwnedFd::from(a));
        shared.readable().unwrap();
    });
}

#[test]
fn hosts_are_looked_up() {
    run(|| {
        assert!(
            lookup_host(("localhost", 80))
                .unwrap()
                .all(|address| address.port() == 80)
        );
        assert_eq!(lookup_host("127.0.0.1:1").unwrap().count(), 1);
        assert_eq!(lookup_host("no address").err().unwrap().kind(), ErrorKind::InvalidInput);
    });
}
