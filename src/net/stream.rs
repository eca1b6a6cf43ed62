//! TCP connections.

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use super::common::{any_socket, conversions, stream, ttl, waiting};
use super::resolve::{ToSocketAddrs, each_address};
use super::socket::Socket;
use crate::sys::socket;

/// A TCP connection. As [`std::net::TcpStream`].
///
/// Reading and writing suspend the fiber that calls, not its thread. `&TcpStream` reads and writes, too, so that one fiber
/// may read while another writes.
///
/// ```
/// use kapok::net::{TcpListener, TcpStream};
/// use std::io::{Read, Write};
///
/// kapok::run(|| -> std::io::Result<()> {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let address = listener.local_addr()?;
///     let client = kapok::spawn(move || -> std::io::Result<String> {
///         let mut answer = String::new();
///         TcpStream::connect(address)?.read_to_string(&mut answer)?;
///         Ok(answer)
///     });
///     let (mut stream, _) = listener.accept()?;
///     stream.write_all(b"hello")?;
///     drop(stream);
///     assert_eq!(client.join().unwrap()?, "hello");
///     Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Differences from std
/// The descriptor is in non-blocking mode. That mode belongs to the open file: a `std` socket that was duplicated from it
/// sees it, and may change it without harm. [`set_nonblocking`](TcpStream::set_nonblocking) and the time-outs are kept here and shared
/// with [clones](TcpStream::try_clone).
pub struct TcpStream(Socket);

impl TcpStream {
    /// Each of its system calls says for itself that it must not block.
    const CLONES_NEED_NONBLOCKING: bool = false;

    pub(super) fn from_socket(socket: Socket) -> TcpStream {
        TcpStream(socket)
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.0
    }

    /// Connects to one of the addresses, tried in turn. As [`std::net::TcpStream::connect`].
    ///
    /// # Errors
    /// That of the look-up, or of the last attempt.
    pub fn connect<A: ToSocketAddrs>(address: A) -> io::Result<TcpStream> {
        each_address(address, |address| TcpStream::connect_one(&address, None))
    }

    /// Connects to one address within `timeout`. As [`std::net::TcpStream::connect_timeout`].
    ///
    /// # Errors
    /// `TimedOut` when the time is up, `InvalidInput` for a `timeout` of zero, and those of `connect(2)`.
    pub fn connect_timeout(address: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        if timeout.is_zero() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "cannot set a 0 duration timeout",
            ));
        }
        TcpStream::connect_one(address, Some(timeout)).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "connection timed out"),
            _ => error,
        })
    }

    fn connect_one(address: &SocketAddr, timeout: Option<Duration>) -> io::Result<TcpStream> {
        let socket = Socket::new(socket::internet_socket(address, libc::SOCK_STREAM)?);
        socket.connect(&mut (*address).into(), timeout)?;
        Ok(TcpStream(socket))
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// Those of `getpeername(2)`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        socket::peer_address(self.0.raw())
    }

    /// The address of this end.
    ///
    /// # Errors
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        socket::local_address(self.0.raw())
    }

    /// Ends one direction or both, also for fibers that wait in them: their reads return 0, their writes fail.
    ///
    /// # Errors
    /// Those of `shutdown(2)`.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.shutdown(how)
    }

    any_socket!(TcpStream);
    waiting!();
    ttl!();

    /// Receives without taking: the next read gets the same bytes.
    ///
    /// # Errors
    /// Those of `recv(2)`; `WouldBlock` when the time-out for reading is up.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buf, libc::MSG_PEEK)
    }

    /// `TCP_NODELAY`: sends small segments at once.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        socket::set_option(
            self.0.raw(),
            libc::IPPROTO_TCP,
            libc::TCP_NODELAY,
            &libc::c_int::from(nodelay),
        )
    }

    /// Whether `TCP_NODELAY` is set.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn nodelay(&self) -> io::Result<bool> {
        let value: libc::c_int = socket::get_option(self.0.raw(), libc::IPPROTO_TCP, libc::TCP_NODELAY)?;
        Ok(value != 0)
    }
}

stream!(TcpStream);

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpStream");
        if let Ok(address) = self.local_addr() {
            debug.field("addr", &address);
        }
        if let Ok(peer) = self.peer_addr() {
            debug.field("peer", &peer);
        }
        debug.field("fd", &self.0.raw()).finish()
    }
}

conversions!(TcpStream, std::net::TcpStream);
