//! What is no stream socket: datagrams, and pipes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU8, Ordering};

use super::*;

pub(super) fn pipes_are_read_and_written_and_end(reactor: &mut Reactor) {
    let (reader, writer) = io::pipe().unwrap();
    for end in [reader.as_fd(), writer.as_fd()] {
        crate::sys::set_nonblocking(end, true).unwrap();
    }
    let [from, to] = [reader.as_raw_fd(), writer.as_raw_fd()].map(Source::new);
    let [first, second] = [(); 2].map(|()| Pending::read(from, 4));
    for read in [&first, &second] {
        read.submit_pending(reactor);
    }
    (&writer).write_all(b"hello").unwrap();
    assert_eq!(completions(reactor, 2), [first.ptr(), second.ptr()]);
    assert_eq!((first.op.outcome(), second.op.outcome()), (Some(Ok(4)), Some(Ok(1))));
    // Fill it, until a write waits, and read that out again.
    let mut written = 0;
    let waiting = loop {
        let write = Pending::write(to, 10_000);
        match write.submit(reactor) {
            Submitted::Done(outcome) => written += outcome.unwrap(),
            Submitted::Pending => break write,
        }
    };
    nothing_completes(reactor);
    while waiting.op.outcome().is_none() {
        written -= (&reader).read(&mut [0; 4096]).unwrap();
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(completions(reactor, 1), [waiting.ptr()]);
    written += waiting.op.outcome().unwrap().unwrap();
    while written > 0 {
        let read = Pending::read(from, 10_000);
        let outcome = match read.submit(reactor) {
            Submitted::Done(outcome) => outcome,
            Submitted::Pending => {
                completions(reactor, 1);
                read.op.outcome().unwrap()
            }
        };
        written -= outcome.unwrap();
    }
    let last = Pending::read(from, 1);
    last.submit_pending(reactor);
    reactor.forget(to, false);
    drop(writer);
    completions(reactor, 1);
    assert_eq!(last.op.outcome(), Some(Ok(0)));
    reactor.forget(from, false);
}

/// Two datagram sockets that know each other: ours does not block.
fn datagrams() -> (UdpSocket, Source, UdpSocket) {
    let address = an_address_of_its_own();
    let [ours, theirs] = [(); 2].map(|()| UdpSocket::bind((address, 0)).unwrap());
    ours.connect(theirs.local_addr().unwrap()).unwrap();
    theirs.connect(ours.local_addr().unwrap()).unwrap();
    ours.set_nonblocking(true).unwrap();
    let source = Source::new(ours.as_raw_fd());
    (ours, source, theirs)
}

/// Where no other test opens a port that was just closed; only Linux has all of 127/8.
fn an_address_of_its_own() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    if !cfg!(target_os = "linux") {
        return Ipv4Addr::LOCALHOST;
    }
    let process = std::process::id().to_le_bytes();
    Ipv4Addr::new(127, 128 | process[1], process[0], NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(super) fn a_short_message_does_not_hide_the_next(reactor: &mut Reactor) {
    let (_ours, source, theirs) = datagrams();
    let first = Message::new(source, 100);
    assert_eq!(first.submit(reactor), Submitted::Pending);
    for text in ["one", "", "three"] {
        theirs.send(text.as_bytes()).unwrap();
    }
    completions(reactor, 1);
    assert_eq!(first.outcome(), Some(Ok(3)));
    // An empty one is no end.
    for (len, truncated, expected) in [(100, false, 0), (2, true, 2)] {
        let next = Message::new(source, len);
        if next.submit(reactor) == Submitted::Pending {
            completions(reactor, 1);
            assert_eq!(next.outcome(), Some(Ok(expected)));
        }
        assert_eq!(next.is_truncated(), truncated);
    }
    let none = Message::new(source, 100);
    assert_eq!(none.submit(reactor), Submitted::Pending);
    nothing_completes(reactor);
    theirs.send(b"last").unwrap();
    completions(reactor, 1);
    assert_eq!(none.outcome(), Some(Ok(4)));
}

pub(super) fn a_message_that_nobody_takes_is_an_error_once(reactor: &mut Reactor) {
    let (_ours, source, theirs) = datagrams();
    drop(theirs);
    let recv = Message::new(source, 100);
    assert_eq!(recv.submit(reactor), Submitted::Pending);
    nothing_completes(reactor);
    assert_eq!(finish(&Pending::send(source, 3), reactor), Ok(3));
    completions(reactor, 1);
    assert_eq!(recv.outcome(), Some(Err(libc::ECONNREFUSED)));
    let recv = Message::new(source, 100);
    assert_eq!(recv.submit(reactor), Submitted::Pending);
    nothing_completes(reactor);
    reactor.forget(source, false);
    completions(reactor, 1);
}

/// A message to be received, with what it points to.
struct Message {
    op: Pin<Box<Op>>,
    _buf: Box<[u8]>,
    _part: Box<libc::iovec>,
    header: Box<libc::msghdr>,
}

impl Message {
    fn new(source: Source, len: usize) -> Message {
        let mut buf = vec![0; len].into_boxed_slice();
        let mut part = Box::new(libc::iovec {
            iov_base: buf.as_mut_ptr().cast(),
            iov_len: len,
        });
        // SAFETY: all zeroes is a valid msghdr.
        let mut header: Box<libc::msghdr> = Box::new(unsafe { std::mem::MaybeUninit::zeroed().assume_init() });
        header.msg_iov = &raw mut *part;
        header.msg_iovlen = 1;
        let kind = Kind::RecvMsg {
            message: NonNull::from(&mut *header),
            flags: 0,
        };
        Message {
            op: Box::pin(Op::new(source, kind)),
            _buf: buf,
            _part: part,
            header,
        }
    }

    fn submit(&self, reactor: &mut Reactor) -> Submitted {
        // SAFETY: pinned on the heap, with all it points to, until the case ends, which is after it has completed.
        unsafe { reactor.submit(NonNull::from(&*self.op)) }
    }

    fn outcome(&self) -> Option<Outcome> {
        self.op.outcome()
    }

    fn is_truncated(&self) -> bool {
        self.header.msg_flags & libc::MSG_TRUNC != 0
    }
}
