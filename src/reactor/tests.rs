//! The contract of `backend.rs`, case by case, for every backend of this build.
//!
//! A case is a function over `&mut Reactor`; `contract!` makes a test of each for each backend, so that the list of cases is
//! the list of functions. Operations are driven by hand here, without fibers.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::time::{Duration, Instant};

use super::op::OpList;
use super::*;
use crate::sys::socket::Address;

macro_rules! contract {
    ($($case:ident),* $(,)?) => {
        #[cfg(kapok_io_uring)]
        contract!(@ io_uring IoUring: $($case),*);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        contract!(@ epoll Epoll: $($case),*);
        #[cfg(kqueue)]
        contract!(@ kqueue_batched = Some(kqueues::open(Changes::Batched)); $($case),*);
        #[cfg(kqueue)]
        contract!(@ kqueue_immediate = Some(kqueues::open(Changes::Immediate)); $($case),*);
        #[cfg(kqueue)]
        contract!(@ kqueue_pipe = Some(kqueues::open_with_pipe()); $($case),*);
        contract!(@ poll Poll: $($case),*);
    };
    (@ $module:ident $kind:ident: $($case:ident),*) => {
        contract!(@ $module = open(ReactorKind::$kind); $($case),*);
    };
    (@ $module:ident = $open:expr; $($case:ident),*) => {
        mod $module {
            use super::*;
            $(
                #[test]
                fn $case() {
                    if let Some(mut reactor) = $open {
                        super::$case(&mut reactor);
                    }
                }
            )*
        }
    };
}

contract!(
    done_at_once_when_nothing_has_to_wait,
    pending_until_data_comes,
    one_completion_each_in_order_of_submission,
    directions_are_independent,
    cancelled_completes_once_with_ecanceled,
    cancel_after_completion_changes_nothing,
    cancel_all_ends_both_directions,
    forget_cancels_and_lets_the_number_come_back,
    events_of_an_earlier_use_of_a_number_are_ignored,
    accept_waits_for_a_connection,
    connect_completes_or_fails,
    end_of_file_and_reset_are_outcomes,
    data_and_end_in_one_segment_are_both_seen,
    short_reads_lose_nothing,
    peek_leaves_the_bytes_and_the_readiness,
    zero_timeout_does_not_wait,
    timeout_is_never_early,
    bell_rung_before_the_turn_is_not_lost,
    bell_ends_a_turn_from_another_thread,
    many_rings_are_one,
    more_ready_descriptors_than_one_batch,
    duplicate_left_open_does_not_confuse_the_next_owner,
);

/// Opens one; `None`, visibly, where the system forbids what it needs, unless `KAPOK_REQUIRE_REACTORS` names it.
pub(super) fn open(kind: ReactorKind) -> Option<Reactor> {
    match Reactor::open(Some(kind)) {
        Ok(reactor) => Some(reactor),
        Err(error) => {
            let required = std::env::var("KAPOK_REQUIRE_REACTORS").unwrap_or_default();
            let may_be_refused = kind == ReactorKind::IoUring && !required.split(',').any(|name| name == kind.name());
            assert!(may_be_refused, "{error}");
            writeln!(io::stderr(), "SKIP {kind}: {error}").unwrap();
            None
        }
    }
}

/// One operation with its buffer, pinned on the heap instead of in a fiber's frame.
pub(super) struct Pending {
    pub(super) op: Pin<Box<Op>>,
    pub(super) buf: Box<[u8]>,
    _address: Box<Cell<Address>>,
}

impl Pending {
    fn new(source: Source, len: usize, kind: impl FnOnce(NonNull<u8>, NonNull<Address>) -> Kind) -> Pending {
        let mut buf = vec![0; len].into_boxed_slice();
        let address = Box::new(Cell::new(Address::empty()));
        let kind = kind(NonNull::from(&mut *buf).cast(), NonNull::new(address.as_ptr()).unwrap());
        Pending {
            op: Box::pin(Op::new(source, kind, ptr::null())),
            buf,
            _address: address,
        }
    }

    pub(super) fn recv(source: Source, len: usize) -> Pending {
        Pending::recv_with(source, len, 0)
    }

    pub(super) fn recv_with(source: Source, len: usize, flags: libc::c_int) -> Pending {
        Pending::new(source, len, |buf, _| Kind::Recv { buf, len, flags })
    }

    pub(super) fn send(source: Source, len: usize) -> Pending {
        Pending::new(source, len, |buf, _| Kind::Send {
            buf,
            len,
            flags: crate::sys::socket::NO_SIGNAL,
        })
    }

    pub(super) fn accept(source: Source) -> Pending {
        Pending::new(source, 0, |_, address| Kind::Accept { address })
    }

    pub(super) fn connect(source: Source, to: std::net::SocketAddr) -> Pending {
        Pending::new(source, 0, |_, address| {
            // SAFETY: the box that it points into is kept beside the operation.
            unsafe { *address.as_ptr() = to.into() };
            Kind::Connect {
                address,
                started: false.into(),
            }
        })
    }

    pub(super) fn ptr(&self) -> NonNull<Op> {
        NonNull::from(&*self.op)
    }

    pub(super) fn submit(&self, reactor: &mut Reactor) -> Submitted {
        // SAFETY: pinned on the heap, with its buffers, until the test ends, which is after it has completed.
        unsafe { reactor.submit(self.ptr()) }
    }

    pub(super) fn submit_pending(&self, reactor: &mut Reactor) {
        assert_eq!(self.submit(reactor), Submitted::Pending);
    }

    pub(super) fn cancel(&self, reactor: &mut Reactor) {
        // SAFETY: submitted, and not handed out.
        unsafe { reactor.cancel(self.ptr()) };
    }
}

/// A connected pair: ours does not block and is known by its source, theirs is a plain blocking socket.
pub(super) fn pair() -> (TcpStream, Source, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    theirs.set_nodelay(true).unwrap();
    ours.set_nonblocking(true).unwrap();
    let source = Source::new(ours.as_raw_fd());
    (ours, source, theirs)
}

/// Turns until `count` operations have completed; they are returned in order.
#[track_caller]
pub(super) fn completions(reactor: &mut Reactor, count: usize) -> Vec<NonNull<Op>> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut done = Vec::new();
    while done.len() < count {
        assert!(
            Instant::now() < deadline,
            "{} of {count} operations have completed",
            done.len()
        );
        reactor.turn(Some(Duration::from_secs(1))).unwrap();
        done.extend(std::iter::from_fn(|| reactor.next_completed()));
    }
    assert_eq!(done.len(), count);
    done
}

#[track_caller]
pub(super) fn nothing_completes(reactor: &mut Reactor) {
    reactor.turn(Some(Duration::from_millis(20))).unwrap();
    assert!(reactor.next_completed().is_none());
}

fn done_at_once_when_nothing_has_to_wait(reactor: &mut Reactor) {
    let (_ours, source, mut theirs) = pair();
    let send = Pending::send(source, 3);
    assert_eq!(send.submit(reactor), Submitted::Done(Ok(3)));
    theirs.write_all(b"hello").unwrap();
    // The bytes may take a moment on their way; what counts is that a submitted operation that is done stays silent.
    let first = Pending::recv(source, 5);
    if first.submit(reactor) == Submitted::Pending {
        completions(reactor, 1);
    }
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert!(reactor.next_completed().is_none());
    assert_eq!(reactor.pending(), 0);
}

fn pending_until_data_comes(reactor: &mut Reactor) {
    let (_ours, source, mut theirs) = pair();
    let recv = Pending::recv(source, 16);
    recv.submit_pending(reactor);
    assert_eq!(reactor.pending(), 1);
    nothing_completes(reactor);
    theirs.write_all(b"hello").unwrap();
    assert_eq!(completions(reactor, 1), [recv.ptr()]);
    assert_eq!(recv.op.outcome(), Some(Ok(5)));
    assert_eq!(&recv.buf[..5], b"hello");
    assert_eq!(reactor.pending(), 0);
}

fn one_completion_each_in_order_of_submission(reactor: &mut Reactor) {
    let (_ours, source, mut theirs) = pair();
    let all: Vec<_> = (0..10).map(|_| Pending::recv(source, 1)).collect();
    for recv in &all {
        recv.submit_pending(reactor);
    }
    theirs.write_all(b"0123456789").unwrap();
    let expected: Vec<_> = all.iter().map(Pending::ptr).collect();
    assert_eq!(completions(reactor, 10), expected);
    assert_eq!(all.iter().map(|recv| recv.buf[0]).collect::<Vec<_>>(), b"0123456789");
    nothing_completes(reactor);
}

fn directions_are_independent(reactor: &mut Reactor) {
    let (_ours, source, mut theirs) = pair();
    let recv = Pending::recv(source, 16);
    recv.submit_pending(reactor);
    // Fill the connection, so that a send has to wait while the recv does.
    let mut sends = Vec::new();
    loop {
        let send = Pending::send(source, 1 << 16);
        let submitted = send.submit(reactor);
        sends.push(send);
        if submitted == Submitted::Pending {
            break;
        }
    }
    theirs.write_all(b"hello").unwrap();
    assert_eq!(completions(reactor, 1), [recv.ptr()]);
    let waiting = sends.pop().unwrap();
    assert_eq!(waiting.op.outcome(), None);
    let mut drained = vec![0; 1 << 16];
    while reactor.pending() > 0 && waiting.op.outcome().is_none() {
        assert!(theirs.read(&mut drained).unwrap() > 0);
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(completions(reactor, 1), [waiting.ptr()]);
    assert!(matches!(waiting.op.outcome(), Some(Ok(n)) if n > 0));
}

fn cancelled_completes_once_with_ecanceled(reactor: &mut Reactor) {
    let (_ours, source, mut theirs) = pair();
    let [first, second, third] = [(); 3].map(|()| Pending::recv(source, 1));
    for recv in [&first, &second, &third] {
        recv.submit_pending(reactor);
    }
    second.cancel(reactor);
    assert_eq!(completions(reactor, 1), [second.ptr()]);
    assert_eq!(second.op.outcome(), Some(Err(libc::ECANCELED)));
    theirs.write_all(b"ab").unwrap();
    assert_eq!(completions(reactor, 2), [first.ptr(), third.ptr()]);
    nothing_completes(reactor);
}

fn cancel_after_completion_changes_nothing(reactor: &mut Reactor) {
    let (_ours, source, mut theirs) = pair();
    let recv = Pending::recv(source, 1);
    recv.submit_pending(reactor);
    theirs.write_all(b"a").unwrap();
    while recv.op.outcome().is_none() {
        reactor.turn(Some(Duration::from_secs(1))).unwrap();
    }
    recv.cancel(reactor);
    assert_eq!(completions(reactor, 1), [recv.ptr()]);
    assert_eq!(recv.op.outcome(), Some(Ok(1)));
}

fn cancel_all_ends_both_directions(reactor: &mut Reactor) {
    let (_ours, source, _theirs) = pair();
    let recv = Pending::recv(source, 1);
    recv.submit_pending(reactor);
    let mut sends = vec![Pending::send(source, 1 << 20)];
    while sends.last().unwrap().submit(reactor) != Submitted::Pending {
        sends.push(Pending::send(source, 1 << 20));
    }
    reactor.cancel_all(source);
    assert_eq!(completions(reactor, 2).len(), 2);
    assert_eq!(recv.op.outcome(), Some(Err(libc::ECANCELED)));
    assert_eq!(sends.last().unwrap().op.outcome(), Some(Err(libc::ECANCELED)));
    reactor.cancel_all(source);
    nothing_completes(reactor);
}

fn forget_cancels_and_lets_the_number_come_back(reactor: &mut Reactor) {
    let (ours, source, _theirs) = pair();
    let recv = Pending::recv(source, 1);
    recv.submit_pending(reactor);
    reactor.forget(source, false);
    completions(reactor, 1);
    drop(ours);
    // The same number, as the kernel hands out the lowest, for another socket.
    let (ours, source, mut theirs) = pair();
    let recv = Pending::recv(source, 5);
    recv.submit_pending(reactor);
    theirs.write_all(b"hello").unwrap();
    completions(reactor, 1);
    assert_eq!(&*recv.buf, b"hello");
    reactor.forget(source, false);
    drop(ours);
}

fn events_of_an_earlier_use_of_a_number_are_ignored(reactor: &mut Reactor) {
    // The open file lives on in a duplicate, so the kernel keeps its registration and goes on to report it under the old
    // number; the new owner of the number must not hear of it.
    let (ours, source, mut old_peer) = pair();
    let recv = Pending::recv(source, 1);
    recv.submit_pending(reactor);
    recv.cancel(reactor);
    completions(reactor, 1);
    let _duplicate = ours.try_clone().unwrap();
    let number = ours.into_raw_fd();
    reactor.forget(source, false);
    let (other, _, mut new_peer) = pair();
    // SAFETY: dup2 onto a number that this test owns: it closes the old and makes it a duplicate of `other`.
    assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), number) }, number);
    let new = Source::new(number);
    let recv = Pending::recv(new, 16);
    recv.submit_pending(reactor);
    old_peer.write_all(b"for the old one").unwrap();
    nothing_completes(reactor);
    new_peer.write_all(b"for the new one").unwrap();
    assert_eq!(completions(reactor, 1), [recv.ptr()]);
    assert_eq!(&recv.buf[..15], b"for the new one");
    reactor.forget(new, true);
    // SAFETY: the duplicate that dup2 made above.
    unsafe { libc::close(number) };
}

fn accept_waits_for_a_connection(reactor: &mut Reactor) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let accept = Pending::accept(Source::new(listener.as_raw_fd()));
    accept.submit_pending(reactor);
    nothing_completes(reactor);
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    completions(reactor, 1);
    let fd = accept.op.outcome().unwrap().unwrap();
    // SAFETY: a descriptor that accept has just made.
    let accepted = unsafe { <TcpStream as std::os::fd::FromRawFd>::from_raw_fd(i32::try_from(fd).unwrap()) };
    assert_eq!(accepted.peer_addr().unwrap(), client.local_addr().unwrap());
    // SAFETY: reads flags.
    let fd_flags = unsafe { libc::fcntl(accepted.as_raw_fd(), libc::F_GETFD) };
    // SAFETY: reads flags.
    let file_flags = unsafe { libc::fcntl(accepted.as_raw_fd(), libc::F_GETFL) };
    assert_ne!(fd_flags & libc::FD_CLOEXEC, 0);
    assert_ne!(file_flags & libc::O_NONBLOCK, 0);
}

fn connect_completes_or_fails(reactor: &mut Reactor) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let outcome = |reactor: &mut Reactor| {
        let socket = crate::sys::socket::stream_socket(&address).unwrap();
        let source = Source::new(socket.as_raw_fd());
        let connect = Pending::connect(source, address);
        let outcome = match connect.submit(reactor) {
            Submitted::Done(outcome) => outcome,
            Submitted::Pending => {
                completions(reactor, 1);
                connect.op.outcome().unwrap()
            }
        };
        reactor.forget(source, false);
        outcome
    };
    assert_eq!(outcome(reactor), Ok(0));
    drop(listener);
    assert_eq!(outcome(reactor), Err(libc::ECONNREFUSED));
}

fn end_of_file_and_reset_are_outcomes(reactor: &mut Reactor) {
    let (_ours, source, theirs) = pair();
    let recv = Pending::recv(source, 1);
    recv.submit_pending(reactor);
    theirs.shutdown(std::net::Shutdown::Write).unwrap();
    completions(reactor, 1);
    assert_eq!(recv.op.outcome(), Some(Ok(0)));
    // At the end it stays at the end, without waiting.
    let recv = Pending::recv(source, 1);
    assert_eq!(recv.submit(reactor), Submitted::Done(Ok(0)));

    let (mut ours, source, theirs) = pair();
    let recv = Pending::recv(source, 1);
    recv.submit_pending(reactor);
    ours.write_all(b"never read").unwrap();
    // Closing with unread data resets the connection.
    let mut one = [0];
    theirs.peek(&mut one).unwrap();
    drop(theirs);
    completions(reactor, 1);
    assert_eq!(recv.op.outcome(), Some(Err(libc::ECONNRESET)));
}

fn data_and_end_in_one_segment_are_both_seen(reactor: &mut Reactor) {
    for _ in 0..100 {
        let (_ours, source, mut theirs) = pair();
        let recv = Pending::recv(source, 16);
        recv.submit_pending(reactor);
        theirs.write_all(b"bye").unwrap();
        drop(theirs);
        completions(reactor, 1);
        assert_eq!(recv.op.outcome(), Some(Ok(3)));
        // That was a short read; the end must be seen all the same, whether its edge came with the data or after it.
        let recv = Pending::recv(source, 16);
        if recv.submit(reactor) == Submitted::Pending {
            completions(reactor, 1);
            assert_eq!(recv.op.outcome(), Some(Ok(0)));
        }
        reactor.forget(source, false);
    }
}

fn short_reads_lose_nothing(reactor: &mut Reactor) {
    let (_ours, source, mut theirs) = pair();
    let writer = std::thread::spawn(move || {
        for i in 0..20_000_u32 {
            theirs.write_all(&i.to_be_bytes()[..1 + (i % 4) as usize]).unwrap();
        }
    });
    let expected: usize = (0..20_000).map(|i| 1 + i % 4).sum();
    let mut received = 0;
    while received < expected {
        let recv = Pending::recv(source, 1 + received % 300);
        let outcome = match recv.submit(reactor) {
            Submitted::Done(outcome) => outcome,
            Submitted::Pending => {
                completions(reactor, 1);
                recv.op.outcome().unwrap()
            }
        };
        received += outcome.unwrap();
    }
    assert_eq!(received, expected);
    writer.join().unwrap();
}

fn peek_leaves_the_bytes_and_the_readiness(reactor: &mut Reactor) {
    let (_ours, source, mut theirs) = pair();
    let peek = Pending::recv_with(source, 16, libc::MSG_PEEK);
    peek.submit_pending(reactor);
    theirs.write_all(b"hello").unwrap();
    completions(reactor, 1);
    assert_eq!(peek.op.outcome(), Some(Ok(5)));
    let recv = Pending::recv(source, 16);
    assert_eq!(recv.submit(reactor), Submitted::Done(Ok(5)));
    assert_eq!(&recv.buf[..5], b"hello");
}

fn zero_timeout_does_not_wait(reactor: &mut Reactor) {
    let (_ours, source, _theirs) = pair();
    let recv = Pending::recv(source, 1);
    recv.submit_pending(reactor);
    // A hundred thousand turns would take a day if each waited for a second.
    for _ in 0..100_000 {
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    assert!(reactor.next_completed().is_none());
    reactor.forget(source, false);
    completions(reactor, 1);
}

fn timeout_is_never_early(reactor: &mut Reactor) {
    for timeout in [1, 50_000, 100_000, 999_999, 3_100_000, 20_000_000].map(Duration::from_nanos) {
        let begin = Instant::now();
        reactor.turn(Some(timeout)).unwrap();
        assert!(begin.elapsed() >= timeout, "{:?} of {timeout:?}", begin.elapsed());
    }
}

fn bell_rung_before_the_turn_is_not_lost(reactor: &mut Reactor) {
    for _ in 0..1_000 {
        reactor.bell().ring();
        reactor.turn(None).unwrap(); // would hang
    }
}

fn bell_ends_a_turn_from_another_thread(reactor: &mut Reactor) {
    let bell = reactor.bell();
    let (rung, was_rung) = std::sync::mpsc::channel();
    let ringer = std::thread::spawn(move || {
        for _ in 0..1_000 {
            bell.ring();
            was_rung.recv().unwrap();
        }
    });
    for _ in 0..1_000 {
        reactor.turn(None).unwrap(); // would hang
        rung.send(()).unwrap();
    }
    ringer.join().unwrap();
}

fn many_rings_are_one(reactor: &mut Reactor) {
    for _ in 0..10_000 {
        reactor.bell().ring();
    }
    reactor.turn(None).unwrap();
    let begin = Instant::now();
    let quiet = Duration::from_millis(20);
    reactor.turn(Some(quiet)).unwrap();
    assert!(begin.elapsed() >= quiet);
}

fn more_ready_descriptors_than_one_batch(reactor: &mut Reactor) {
    const MANY: usize = 1_500;
    let limit = rlimit::increase_nofile_limit(3 * MANY as u64 + 100).unwrap();
    assert!(
        limit > 3 * MANY as u64,
        "this test wants {} descriptors; see ulimit -n",
        3 * MANY
    );
    // Not over TCP, where so many connections of so many backends would use the ports up.
    let mut all: Vec<_> = (0..MANY)
        .map(|_| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            let source = Source::new(ours.as_raw_fd());
            (ours, source, theirs)
        })
        .collect();
    let recvs: Vec<_> = all.iter().map(|(_, source, _)| Pending::recv(*source, 1)).collect();
    for recv in &recvs {
        recv.submit_pending(reactor);
    }
    for (_, _, theirs) in &mut all {
        theirs.write_all(b"x").unwrap();
    }
    completions(reactor, MANY);
    assert!(
        recvs
            .iter()
            .all(|recv| recv.op.outcome() == Some(Ok(1)) && recv.buf[0] == b'x')
    );
}

fn duplicate_left_open_does_not_confuse_the_next_owner(reactor: &mut Reactor) {
    // The very same open file comes back under the very same number: the kernel says EEXIST.
    let (ours, source, mut theirs) = pair();
    let recv = Pending::recv(source, 1);
    recv.submit_pending(reactor);
    recv.cancel(reactor);
    completions(reactor, 1);
    reactor.forget(source, false);
    let again = Source::new(ours.as_raw_fd());
    let recv = Pending::recv(again, 5);
    recv.submit_pending(reactor);
    theirs.write_all(b"hello").unwrap();
    completions(reactor, 1);
    assert_eq!(&*recv.buf, b"hello");
}

#[cfg(kqueue)]
use super::kqueue::Changes;

/// Both ways to hand over changes, and the bell of a kernel without user events.
#[cfg(kqueue)]
mod kqueues {
    use super::super::Readiness;
    use super::super::kqueue::{Changes, Kqueue};
    use super::Reactor;

    pub(super) fn open(changes: Changes) -> Reactor {
        Reactor::Kqueue(Readiness::new(Kqueue::with_user_bell(changes).unwrap()))
    }

    pub(super) fn open_with_pipe() -> Reactor {
        Reactor::Kqueue(Readiness::new(Kqueue::with_pipe_bell(Changes::Batched).unwrap()))
    }
}

#[test]
fn lists_keep_their_order_when_members_leave() {
    let source = Source::new(0);
    let ops: Vec<_> = (0..4).map(|_| Pending::recv(source, 0)).collect();
    let mut list = OpList::default();
    for op in &ops {
        // SAFETY: in no list, and kept until the end.
        unsafe { list.push_back(op.ptr()) };
    }
    for removed in [2, 0, 3] {
        assert!(list.contains(ops[removed].ptr()));
        // SAFETY: in this list.
        unsafe { list.remove(ops[removed].ptr()) };
        assert!(!list.contains(ops[removed].ptr()));
    }
    assert_eq!(list.pop_front(), Some(ops[1].ptr()));
    assert_eq!(list.pop_front(), None);
    assert!(list.is_empty());
}

#[test]
fn a_reactor_that_does_not_exist_is_named_with_those_that_do() {
    let error = "iocp".parse::<ReactorKind>().unwrap_err().to_string();
    assert!(error.contains("\"iocp\"") && error.contains("epoll"), "{error}");
}
