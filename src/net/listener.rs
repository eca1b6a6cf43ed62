//! TCP listeners.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use super::accepting::{BACKLOG, incoming};
use super::common::{any_socket, conversions, ttl};
use super::resolve::{ToSocketAddrs, each_address};
use super::socket::Socket;
use super::stream::TcpStream;
use crate::sys::socket;

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
    let socket = Socket::new(socket::internet_socket(&address, libc::SOCK_STREAM)?);
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

    any_socket!(TcpListener);
    ttl!();

    /// `IPV6_V6ONLY`, which has no effect any more on a listener that listens.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    #[deprecated(note = "this option can only be set before the socket is bound")]
    pub fn set_only_v6(&self, only_v6: bool) -> io::Result<()> {
        let value = libc::c_int::from(only_v6);
        socket::set_option(self.0.raw(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, &value)
    }

    /// The value of `IPV6_V6ONLY`.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    #[deprecated(note = "this option can only be set before the socket is bound")]
    pub fn only_v6(&self) -> io::Result<bool> {
        let value: libc::c_int = socket::get_option(self.0.raw(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY)?;
        Ok(value != 0)
    }

    /// Waits for a connection, and takes it.
    ///
    /// # Errors
    /// Those of `accept(2)`, among them a limit of descriptors: then the connection stays with the kernel, and the next
    /// call fails at once, so wait before it. `NotConnected` after [`close`](TcpListener::close).
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (socket, address) = self.0.next_connection()?;
        Ok((TcpStream::from_socket(socket), address.to_std()?))
    }
}

incoming!(TcpListener gives TcpStream, as "std::net::Incoming");

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpListener");
        if let Ok(address) = self.local_addr() {
            debug.field("addr", &address);
        }
        debug.field("fd", &self.0.raw()).finish()
    }
}

conversions!(TcpListener, std::net::TcpListener);
