//! TCP listeners.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use super::resolve::{ToSocketAddrs, each_address};
use super::socket::Socket;
use super::stream::TcpStream;
use crate::perform::Patience;
use crate::sys::socket;

/// How many connections the kernel holds until they are accepted; it cuts this to its own limit (`somaxconn`).
const BACKLOG: libc::c_int = 4096;

/// A TCP socket that takes connections. As [`std::net::TcpListener`].
///
/// See [`TcpStream`] for an example, and for how it differs from std's.
pub struct TcpListener(Socket);

/// The option that makes the kernel distribute connections.
const DISTRIBUTED: Option<libc::c_int> = {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "dragonfly"))]
    {
        Some(libc::SO_REUSEPORT)
    }
    #[cfg(target_os = "freebsd")]
    {
        Some(libc::SO_REUSEPORT_LB)
    }
    #[cfg(not(any(
        target_os = "linux",
        target_os = "android",
        target_os = "dragonfly",
        target_os = "freebsd"
    )))]
    {
        None
    }
};

/// Listens on one address, with these options of the socket set.
fn listen(address: SocketAddr, options: &[libc::c_int]) -> io::Result<TcpListener> {
    let socket = Socket::new(socket::stream_socket(&address)?);
    // SO_REUSEADDR as std: a server that was restarted does not have to wait for connections of the one before.
    for &option in options {
        socket::set_option(socket.raw(), libc::SOL_SOCKET, option, &(1 as libc::c_int))?;
    }
    socket::bind(socket.raw(), &address.into())?;
    socket::listen(socket.raw(), BACKLOG)?;
    Ok(TcpListener(socket))
}

impl TcpListener {
    /// `accept(2)` cannot be told not to block but by the mode.
    const CLONES_NEED_NONBLOCKING: bool = true;

    /// Listens on one of the addresses, tried in turn. As [`std::net::TcpListener::bind`].
    ///
    /// # Errors
    /// That of the look-up, or of the last attempt.
    pub fn bind<A: ToSocketAddrs>(address: A) -> io::Result<TcpListener> {
        each_address(address, |address| listen(address, &[libc::SO_REUSEADDR]))
    }

    /// As many listeners on one address, among which the kernel distributes the connections (`SO_REUSEPORT`, see
    /// `socket(7)`), so that accepting can be done on several workers at once. Each connection belongs to the listener that
    /// the kernel chose: one that nobody accepts from leaves its connections waiting.
    ///
    /// ```
    /// use kapok::net::{TcpListener, TcpStream};
    /// use std::sync::Arc;
    ///
    /// # #[cfg(target_os = "linux")]
    /// kapok::run(|| -> std::io::Result<()> {
    ///     let runtime = kapok::runtime::Handle::current();
    ///     let group = Arc::new(TcpListener::bind_group("127.0.0.1:0", runtime.workers())?);
    ///     let address = group[0].local_addr()?;
    ///     for index in 0..group.len() {
    ///         let group = Arc::clone(&group);
    ///         kapok::fiber::Builder::new().worker(index).spawn(move || {
    ///             for stream in group[index].incoming() {
    ///                 kapok::spawn(move || drop(stream)); // serves it
    ///             }
    ///         })?;
    ///     }
    ///     assert_eq!(TcpStream::connect(address)?.peer_addr()?, address);
    ///     group.iter().for_each(TcpListener::close);
    ///     Ok(())
    /// })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`bind`](TcpListener::bind); `InvalidInput` for a group of none; `Unsupported` where the kernel does not distribute:
    /// other systems than Linux, FreeBSD and `DragonFly`.
    pub fn bind_group<A: ToSocketAddrs>(address: A, count: usize) -> io::Result<Vec<TcpListener>> {
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a group of no listeners"));
        }
        let Some(shared) = DISTRIBUTED else {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this kernel does not distribute connections among listeners of one address",
            ));
        };
        each_address(address, |address| {
            let options = [libc::SO_REUSEADDR, shared];
            let first = listen(address, &options)?;
            // The first one's port may have been chosen by the kernel.
            let address = first.local_addr()?;
            let others = (1..count).map(|_| listen(address, &options));
            std::iter::once(Ok(first)).chain(others).collect()
        })
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        socket::local_address(self.0.raw())
    }

    /// A second handle to the same listener.
    ///
    /// # Errors
    /// Where no descriptor is left.
    pub fn try_clone(&self) -> io::Result<TcpListener> {
        self.0.try_clone().map(TcpListener)
    }

    /// Waits for a connection, and takes it.
    ///
    /// # Errors
    /// Those of `accept(2)`, among them a limit of descriptors: then the connection stays with the kernel, and the next
    /// call fails at once, so wait before it. `NotConnected` after [`close`](TcpListener::close).
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            let accepting = self.0.accepting();
            let closed = accepting.is_none();
            let patience = if closed || self.0.is_nonblocking() {
                Patience::None
            } else {
                Patience::Unlimited
            };
            let mut address = socket::Address::empty();
            return match self.0.accept(&mut address, patience) {
                Ok(fd) => {
                    let stream = TcpStream::from_socket(Socket::new(owned(fd)));
                    Ok((stream, address.to_std()?))
                }
                // It was closed while this fiber waited: now take what is there.
                Err(_) if !closed && self.0.is_closed() => continue,
                Err(error) if closed && !is_about_a_connection(&error) => {
                    Err(io::Error::new(io::ErrorKind::NotConnected, "the listener was closed"))
                }
                Err(error) => Err(error),
            };
        }
    }

    /// The connections, one after the other; it ends when the listener is [closed](TcpListener::close).
    #[must_use]
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming(self)
    }

    /// As [`incoming`](TcpListener::incoming), owning the listener.
    #[must_use]
    pub fn into_incoming(self) -> IntoIncoming {
        IntoIncoming(self)
    }

    /// Ends the waiting for connections: fibers in [`accept`](TcpListener::accept), and later calls of it, get what the
    /// kernel has taken already, and then an error of the kind `NotConnected`. [`incoming`](TcpListener::incoming) ends.
    ///
    /// For a server that stops: whoever has connected is served, then the listener is dropped. Until it is, the kernel goes
    /// on taking connections, and a later `accept` gets them. Where a plain thread waits, who connects in that very moment
    /// is reset.
    pub fn close(&self) {
        self.0.close();
    }

    /// `IP_TTL` of the connections that it takes.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        socket::set_option(self.0.raw(), libc::IPPROTO_IP, libc::IP_TTL, &ttl)
    }

    /// The value of `IP_TTL`.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn ttl(&self) -> io::Result<u32> {
        socket::get_option(self.0.raw(), libc::IPPROTO_IP, libc::IP_TTL)
    }

    /// The pending error of the socket, which reading clears.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        socket::take_error(self.0.raw())
    }

    /// In non-blocking mode, `accept` fails with `WouldBlock` instead of suspending the fiber.
    ///
    /// # Errors
    /// None; the result is std's.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.0.set_nonblocking(nonblocking);
        Ok(())
    }
}

#[expect(unsafe_code, reason = "takes the ownership of a new descriptor")]
fn owned(fd: RawFd) -> OwnedFd {
    // SAFETY: `accept` has just made it, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Errors of `accept(2)` that concern one connection or the lack of something, and not the listener.
fn is_about_a_connection(error: &io::Error) -> bool {
    !matches!(
        error.raw_os_error(),
        Some(libc::EAGAIN | libc::ECANCELED | libc::EINVAL)
    )
}

/// The connections of a listener. As [`std::net::Incoming`], but it ends when the listener is
/// [closed](TcpListener::close).
#[derive(Debug)]
pub struct Incoming<'a>(&'a TcpListener);

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        next_connection(self.0)
    }
}

/// The connections of a listener that it owns.
#[derive(Debug)]
pub struct IntoIncoming(TcpListener);

impl Iterator for IntoIncoming {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        next_connection(&self.0)
    }
}

fn next_connection(listener: &TcpListener) -> Option<io::Result<TcpStream>> {
    match listener.accept() {
        Ok((stream, _)) => Some(Ok(stream)),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => None,
        Err(error) => Some(Err(error)),
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpListener");
        if let Ok(address) = self.local_addr() {
            debug.field("addr", &address);
        }
        debug.field("fd", &self.0.raw()).finish()
    }
}

super::socket::conversions!(TcpListener);
