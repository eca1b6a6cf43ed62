//! Messages between processes of one machine.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use super::super::common::{any_socket, conversions, waiting};
use super::super::socket::{Extras, Socket};
use super::{SocketAddr, address_of, bound, local_address, peer_address, with_pauses};
use crate::perform::Patience;
use crate::sys::socket::{self, Address};
use crate::sys::{Direction, unix};

/// A Unix socket for messages, which neither get lost nor change their order. As [`std::os::unix::net::UnixDatagram`].
///
/// ```
/// use kapok::net::UnixDatagram;
///
/// kapok::run(|| -> std::io::Result<()> {
///     let directory = tempfile::tempdir()?;
///     let path = directory.path().join("socket");
///     let server = UnixDatagram::bind(&path)?;
///     let client = UnixDatagram::unbound()?;
///     kapok::spawn(move || client.send_to(b"hello", path));
///     let mut buf = [0; 16];
///     let (n, from) = server.recv_from(&mut buf)?;
///     assert_eq!(&buf[..n], b"hello");
///     assert!(from.is_unnamed());
///     Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A message to a receiver that has no room waits. Where the socket is connected, the kernel says when there is; for
/// [`send_to`](UnixDatagram::send_to) it does not, and that tries again after pauses of up to 20 ms.
pub struct UnixDatagram(Socket);

impl UnixDatagram {
    /// Each of its system calls says for itself that it must not block.
    const CLONES_NEED_NONBLOCKING: bool = false;

    /// A socket with that path, which is created. As [`std::os::unix::net::UnixDatagram::bind`].
    ///
    /// # Errors
    /// Those of `bind(2)`, `AddrInUse` where the path is there already; `InvalidInput` for one that is too long or has a NUL in
    /// it.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixDatagram> {
        bound(libc::SOCK_DGRAM, &address_of(path.as_ref())?).map(UnixDatagram)
    }

    /// A socket with that address. As [`std::os::unix::net::UnixDatagram::bind_addr`].
    ///
    /// # Errors
    /// As [`bind`](UnixDatagram::bind).
    pub fn bind_addr(socket_addr: &SocketAddr) -> io::Result<UnixDatagram> {
        bound(libc::SOCK_DGRAM, &Address::of_unix(socket_addr)?).map(UnixDatagram)
    }

    /// A socket without a name. As [`std::os::unix::net::UnixDatagram::unbound`].
    ///
    /// # Errors
    /// Where no descriptor is left.
    pub fn unbound() -> io::Result<UnixDatagram> {
        let fd = socket::socket(libc::AF_UNIX, libc::SOCK_DGRAM)?;
        Ok(UnixDatagram(Socket::new(fd)))
    }

    /// Two sockets without names that are connected to each other. As [`std::os::unix::net::UnixDatagram::pair`].
    ///
    /// # Errors
    /// Where no descriptor is left.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (a, b) = socket::pair(libc::SOCK_DGRAM)?;
        Ok((UnixDatagram(Socket::new(a)), UnixDatagram(Socket::new(b))))
    }

    /// Sends to, and receives from, the socket at `path` only.
    ///
    /// # Errors
    /// Those of `connect(2)`; `InvalidInput` for a path that is too long or has a NUL in it.
    pub fn connect<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.connect_raw(&address_of(path.as_ref())?)
    }

    /// Sends to, and receives from, the socket at an address only.
    ///
    /// # Errors
    /// As [`connect`](UnixDatagram::connect).
    pub fn connect_addr(&self, socket_addr: &SocketAddr) -> io::Result<()> {
        self.connect_raw(&Address::of_unix(socket_addr)?)
    }

    fn connect_raw(&self, address: &Address) -> io::Result<()> {
        crate::sys::retry(|| socket::connect_at_once(self.0.raw(), address))
    }

    any_socket!(UnixDatagram);
    waiting!();

    /// The address of this socket.
    ///
    /// # Errors
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        local_address(self.0.raw())
    }

    /// Where [`send`](UnixDatagram::send) sends to.
    ///
    /// # Errors
    /// Those of `getpeername(2)`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        peer_address(self.0.raw())
    }

    /// Receives one message, and tells where it comes from. What does not fit into `buf` is lost.
    ///
    /// # Errors
    /// Those of `recvmsg(2)`; `WouldBlock` when the time-out for receiving is up.
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.recv_from_with(buf, 0)
    }

    /// As [`recv_from`](UnixDatagram::recv_from), without taking it. (std's is unstable as yet.)
    ///
    /// # Errors
    /// As [`recv_from`](UnixDatagram::recv_from).
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.recv_from_with(buf, libc::MSG_PEEK)
    }

    fn recv_from_with(&self, buf: &mut [u8], flags: libc::c_int) -> io::Result<(usize, SocketAddr)> {
        let mut address = Address::empty();
        let mut extras = Extras {
            address: Some(&mut address),
            ..Extras::default()
        };
        let count = self.0.recv_message(&mut [IoSliceMut::new(buf)], &mut extras, flags)?;
        Ok((count, address.to_unix()?))
    }

    /// Receives one message. What does not fit into `buf` is lost.
    ///
    /// # Errors
    /// Those of `recvmsg(2)`; `WouldBlock` when the time-out for receiving is up.
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0
            .recv_message(&mut [IoSliceMut::new(buf)], &mut Extras::default(), 0)
    }

    /// As [`recv`](UnixDatagram::recv), without taking it. (std's is unstable as yet.)
    ///
    /// # Errors
    /// As [`recv`](UnixDatagram::recv).
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0
            .recv_message(&mut [IoSliceMut::new(buf)], &mut Extras::default(), libc::MSG_PEEK)
    }

    /// Sends one message to the socket at `path`.
    ///
    /// # Errors
    /// Those of `sendmsg(2)`; `InvalidInput` for a path that is too long or has a NUL in it; `WouldBlock` when the time-out for
    /// sending is up.
    pub fn send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        self.send_to_raw(buf, &address_of(path.as_ref())?)
    }

    /// Sends one message to the socket at an address.
    ///
    /// # Errors
    /// As [`send_to`](UnixDatagram::send_to).
    pub fn send_to_addr(&self, buf: &[u8], socket_addr: &SocketAddr) -> io::Result<usize> {
        self.send_to_raw(buf, &Address::of_unix(socket_addr)?)
    }

    fn send_to_raw(&self, buf: &[u8], address: &Address) -> io::Result<usize> {
        // The receiver's room is not what this socket's readiness is about.
        with_pauses(self.0.send_patience(), || {
            self.0
                .send_message(&[IoSlice::new(buf)], Some(address), &[], Patience::None)
        })
    }

    /// Sends one message to where it is connected.
    ///
    /// # Errors
    /// Those of `sendmsg(2)`; `WouldBlock` when the time-out for sending is up.
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.send_with_fds(buf, &[])
    }

    /// As [`send`](UnixDatagram::send), together with descriptors; see
    /// [`UnixStream::send_with_fds`](super::UnixStream::send_with_fds). std has no stable counterpart.
    ///
    /// # Errors
    /// As [`send`](UnixDatagram::send); `InvalidInput` for more than 253 descriptors.
    pub fn send_with_fds(&self, buf: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        let bufs = [IoSlice::new(buf)];
        // Not in a ring: where the receiver is full, Linux repeats it there after it has gone through the buffer, and sends an
        // empty message (seen with 6.18).
        self.0.when_ready(Direction::Write, || {
            self.0.send_message(&bufs, None, fds, Patience::None)
        })
    }

    /// As [`recv`](UnixDatagram::recv), with the descriptors that come along; see
    /// [`UnixStream::recv_with_fds`](super::UnixStream::recv_with_fds).
    ///
    /// # Errors
    /// As [`recv`](UnixDatagram::recv).
    pub fn recv_with_fds(&self, buf: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let mut extras = Extras {
            control: Some(unix::Control::new()),
            ..Extras::default()
        };
        let count = self
            .0
            .recv_message(&mut [IoSliceMut::new(buf)], &mut extras, unix::CLOEXEC)?;
        Ok((count, extras.descriptors))
    }

    /// Ends one direction or both, also for fibers that wait in them.
    ///
    /// # Errors
    /// Those of `shutdown(2)`.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.shutdown(how)
    }
}

impl fmt::Debug for UnixDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UnixDatagram");
        debug.field("fd", &self.0.raw());
        if let Ok(address) = self.local_addr() {
            debug.field("local", &address);
        }
        if let Ok(address) = self.peer_addr() {
            debug.field("peer", &address);
        }
        debug.finish()
    }
}

conversions!(UnixDatagram, std::os::unix::net::UnixDatagram);
