//! Accepting and connecting.

use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};

use super::*;

pub(super) fn accept_waits_for_a_connection(reactor: &mut Reactor) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let accept = Pending::accept(Source::new(listener.as_raw_fd()));
    accept.submit_pending(reactor);
    nothing_completes(reactor);
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    completions(reactor, 1);
    let accepted = accepted_of(&accept);
    assert_eq!(accepted.peer_addr().unwrap(), client.local_addr().unwrap());
    // SAFETY: reads flags.
    let fd_flags = unsafe { libc::fcntl(accepted.as_raw_fd(), libc::F_GETFD) };
    // SAFETY: reads flags.
    let file_flags = unsafe { libc::fcntl(accepted.as_raw_fd(), libc::F_GETFL) };
    assert_ne!(fd_flags & libc::FD_CLOEXEC, 0);
    assert_ne!(file_flags & libc::O_NONBLOCK, 0);
}

pub(super) fn connect_completes_or_fails(reactor: &mut Reactor) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let outcome = |reactor: &mut Reactor| {
        let socket = socket::internet_socket(&address, libc::SOCK_STREAM).unwrap();
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

pub(super) fn connections_are_accepted_by_those_who_wait_in_order(reactor: &mut Reactor) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let source = Source::new(listener.as_raw_fd());
    let accepts = [(); 3].map(|()| Pending::accept(source));
    for accept in &accepts {
        accept.submit_pending(reactor);
    }
    accepts[1].cancel(reactor);
    completions(reactor, 1);
    let clients = [(); 3].map(|()| TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    assert_eq!(completions(reactor, 2), [accepts[0].ptr(), accepts[2].ptr()]);
    for (accept, client) in [(&accepts[0], &clients[0]), (&accepts[2], &clients[1])] {
        assert_eq!(accepted_of(accept).peer_addr().unwrap(), client.local_addr().unwrap());
    }
    // The third waits for whoever comes next.
    let late = Pending::accept(source);
    let fd = finish(&late, reactor).unwrap();
    assert_eq!(owned(fd).peer_addr().unwrap(), clients[2].local_addr().unwrap());
    reactor.forget(source, false);
}

fn accepted_of(accept: &Pending) -> TcpStream {
    owned(accept.op.outcome().unwrap().unwrap())
}

fn owned(accepted: usize) -> TcpStream {
    // SAFETY: a descriptor that accept has just made.
    unsafe { TcpStream::from_raw_fd(i32::try_from(accepted).unwrap()) }
}

/// A listener whose queue is full only answers later, perhaps.
#[cfg(target_os = "linux")]
pub(super) fn a_connect_that_takes_for_ever_can_be_ended(reactor: &mut Reactor) {
    use crate::sys::socket;
    for by_forgetting in [false, true] {
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = socket::internet_socket(&any, libc::SOCK_STREAM).unwrap();
        socket::bind(listener.as_raw_fd(), &any.into()).unwrap();
        socket::listen(listener.as_raw_fd(), 0).unwrap();
        let address = socket::local_address(listener.as_raw_fd()).unwrap();
        let _first = TcpStream::connect(address).unwrap();
        crate::sys::wait_ready(listener.as_raw_fd(), Direction::Read, None).unwrap();
        let ours = socket::internet_socket(&address, libc::SOCK_STREAM).unwrap();
        let source = Source::new(ours.as_raw_fd());
        let connect = Pending::connect(source, address);
        connect.submit_pending(reactor);
        nothing_completes(reactor);
        if by_forgetting {
            reactor.forget(source, false);
        } else {
            connect.cancel(reactor);
        }
        completions(reactor, 1);
        assert_eq!(connect.op.outcome(), Some(Err(libc::ECANCELED)));
        reactor.forget(source, false);
    }
}
