//! Listeners for connections from processes of the same machine.

use std::fmt;
use std::io;
use std::path::Path;

use super::super::accepting::{BACKLOG, incoming};
use super::super::common::{any_socket, conversions};
use super::super::socket::Socket;
use super::{SocketAddr, UnixStream, address_of, bound, local_address};
use crate::sys::socket::{self, Address};

/// A Unix socket that takes connections. As [`std::os::unix::net::UnixListener`].
///
/// ```
/// use kapok::net::{UnixListener, UnixStream};
/// use std::io::{Read, Write};
///
/// kapok::run(|| -> std::io::Result<()> {
///     let directory = tempfile::tempdir()?;
///     let path = directory.path().join("socket");
///     let listener = UnixListener::bind(&path)?;
///     kapok::spawn(move || -> std::io::Result<()> {
///         for stream in listener.incoming().take(1) {
///             stream?.write_all(b"hello")?;
///         }
///         Ok(())
///     });
///     let mut text = String::new();
///     UnixStream::connect(&path)?.read_to_string(&mut text)?;
///     assert_eq!(text, "hello");
///     Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Dropping it leaves the file, as in std: the next `bind` fails with `AddrInUse` until somebody removes it.
pub struct UnixListener(Socket);

impl UnixListener {
    /// `accept(2)` cannot be told not to block but by the mode.
    const CLONES_NEED_NONBLOCKING: bool = true;

    /// Listens at `path`, which is created. As [`std::os::unix::net::UnixListener::bind`].
    ///
    /// # Errors
    /// Those of `bind(2)`, `AddrInUse` where the path is there already; `InvalidInput` for one that is too long or has a NUL in
    /// it.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixListener> {
        UnixListener::bind_raw(&address_of(path.as_ref())?)
    }

    /// Listens at an address. As [`std::os::unix::net::UnixListener::bind_addr`].
    ///
    /// # Errors
    /// As [`bind`](UnixListener::bind).
    pub fn bind_addr(socket_addr: &SocketAddr) -> io::Result<UnixListener> {
        UnixListener::bind_raw(&Address::of_unix(socket_addr)?)
    }

    fn bind_raw(address: &Address) -> io::Result<UnixListener> {
        let socket = bound(libc::SOCK_STREAM, address)?;
        socket::listen(socket.raw(), BACKLOG)?;
        Ok(UnixListener(socket))
    }

    /// Waits for a connection, and takes it.
    ///
    /// # Errors
    /// Those of `accept(2)`, among them a limit of descriptors: then the connection stays with the kernel, and the next
    /// call fails at once, so wait before it. `NotConnected` after [`close`](UnixListener::close).
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let (socket, address) = self.0.next_connection()?;
        Ok((UnixStream::from_socket(socket), address.to_unix()?))
    }

    any_socket!(UnixListener);

    /// The address that it listens on.
    ///
    /// # Errors
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        local_address(self.0.raw())
    }
}

incoming!(UnixListener gives UnixStream, as "std::os::unix::net::Incoming");

impl<'a> IntoIterator for &'a UnixListener {
    type Item = io::Result<UnixStream>;
    type IntoIter = Incoming<'a>;

    fn into_iter(self) -> Incoming<'a> {
        self.incoming()
    }
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UnixListener");
        debug.field("fd", &self.0.raw());
        if let Ok(address) = self.local_addr() {
            debug.field("local", &address);
        }
        debug.finish()
    }
}

conversions!(UnixListener, std::os::unix::net::UnixListener);
