//! What the tests of the contract have in common.

use std::net::SocketAddr;

use super::net::{TcpListener, TcpStream};
use super::thread;

/// A listener on a port that the kernel has chosen.
pub(super) fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

/// The two ends of a connection.
pub(super) fn pair() -> (TcpStream, TcpStream) {
    let (listener, address) = listen();
    let client = TcpStream::connect(address).expect("the kernel accepts it");
    let (server, _) = listener.accept().expect("it was connected");
    (client, server)
}

/// Gives others every chance to get to where they have to wait.
pub(super) fn let_others_wait() {
    (0..20).for_each(|_| thread::yield_now());
}
