//! Connections between processes of one machine.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use super::super::common::{any_socket, conversions, stream, waiting};
use super::super::socket::{Extras, Socket};
use super::{SocketAddr, address_of, local_address, peer_address, with_pauses};
use crate::perform::Patience;
use crate::sys::socket::{self, Address};
use crate::sys::unix;

/// A connection of two Unix sockets. As [`std::os::unix::net::UnixStream`].
///
/// ```
/// use kapok::net::UnixStream;
/// use std::io::{Read, Write};
///
/// kapok::run(|| -> std::io::Result<()> {
///     let (mut ours, mut theirs) = UnixStream::pair()?;
///     let answer = kapok::spawn(move || -> std::io::Result<String> {
///         let mut text = String::new();
///         theirs.read_to_string(&mut text)?;
///         Ok(text)
///     });
///     ours.write_all(b"hello")?;
///     drop(ours);
///     assert_eq!(answer.join().unwrap()?, "hello");
///     Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// How it differs from std's is told at [`TcpStream`](crate::net::TcpStream#differences-from-std).
pub struct UnixStream(Socket);

/// Who is at the other end of a connection: who called `connect`, `listen` or `pair`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UCred {
    /// The user.
    pub uid: libc::uid_t,
    /// The group.
    pub gid: libc::gid_t,
    /// The process, where the system tells it: on Linux.
    pub pid: Option<libc::pid_t>,
}

impl UnixStream {
    /// Each of its system calls says for itself that it must not block.
    pub(in crate::net) const CLONES_NEED_NONBLOCKING: bool = false;

    pub(super) fn from_socket(socket: Socket) -> UnixStream {
        UnixStream(socket)
    }

    pub(in crate::net) fn socket(&self) -> &Socket {
        &self.0
    }

    /// Connects to the socket that listens at `path`. As [`std::os::unix::net::UnixStream::connect`].
    ///
    /// Where the listener has no room for one more, it tries again after a pause, for ever: give it a
    /// [`timeout`](crate::timeout()).
    ///
    /// # Errors
    /// Those of `connect(2)`; `InvalidInput` for a path that is too long or has a NUL in it.
    pub fn connect<P: AsRef<Path>>(path: P) -> io::Result<UnixStream> {
        UnixStream::connect_raw(&address_of(path.as_ref())?)
    }

    /// Connects to the socket that listens at an address. As [`std::os::unix::net::UnixStream::connect_addr`].
    ///
    /// # Errors
    /// As [`connect`](UnixStream::connect).
    pub fn connect_addr(socket_addr: &SocketAddr) -> io::Result<UnixStream> {
        UnixStream::connect_raw(&Address::of_unix(socket_addr)?)
    }

    fn connect_raw(address: &Address) -> io::Result<UnixStream> {
        let socket = Socket::new(socket::socket(libc::AF_UNIX, libc::SOCK_STREAM)?);
        // It is connected at once, or not at all.
        with_pauses(Patience::Unlimited, || {
            crate::sys::retry(|| socket::connect_at_once(socket.raw(), address))
        })?;
        Ok(UnixStream(socket))
    }

    /// Two sockets that are connected to each other. As [`std::os::unix::net::UnixStream::pair`].
    ///
    /// # Errors
    /// Where no descriptor is left.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (a, b) = socket::pair(libc::SOCK_STREAM)?;
        Ok((UnixStream(Socket::new(a)), UnixStream(Socket::new(b))))
    }

    any_socket!(UnixStream);
    waiting!();

    /// The address of this end.
    ///
    /// # Errors
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        local_address(self.0.raw())
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// Those of `getpeername(2)`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        peer_address(self.0.raw())
    }

    /// Who is at the other end. (std's is unstable as yet.)
    ///
    /// ```
    /// kapok::run(|| -> std::io::Result<()> {
    ///     let (ours, _theirs) = kapok::net::UnixStream::pair()?;
    ///     println!("{:?}", ours.peer_cred()?);
    ///     # #[cfg(target_os = "linux")]
    ///     assert_eq!(ours.peer_cred()?.pid, Some(std::process::id() as i32));
    ///     Ok(())
    /// })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of `getsockopt(2)`, or of `getpeereid(3)`.
    pub fn peer_cred(&self) -> io::Result<UCred> {
        let (uid, gid, pid) = unix::peer_credentials(self.0.raw())?;
        Ok(UCred { uid, gid, pid })
    }

    /// Ends one direction or both, also for fibers that wait in them: their reads return 0, their writes fail.
    ///
    /// # Errors
    /// Those of `shutdown(2)`.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.shutdown(how)
    }

    /// Receives without taking: the next read gets the same bytes. (std's is unstable as yet.)
    ///
    /// # Errors
    /// Those of `recv(2)`; `WouldBlock` when the time-out for receiving is up.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buf, libc::MSG_PEEK)
    }

    /// Sends bytes together with descriptors, of which the other end gets duplicates (`SCM_RIGHTS`, see `unix(7)`). They travel
    /// with the first of the bytes. std has no stable counterpart.
    ///
    /// ```
    /// use kapok::net::UnixStream;
    /// use std::fs::File;
    /// use std::io::{Read, Seek, Write};
    /// use std::os::fd::AsFd;
    ///
    /// kapok::run(|| -> std::io::Result<()> {
    ///     let mut file = tempfile::tempfile()?;
    ///     file.write_all(b"handed over")?;
    ///     let (ours, theirs) = UnixStream::pair()?;
    ///     ours.send_with_fds(b"a file", &[file.as_fd()])?;
    ///
    ///     let mut buf = [0; 16];
    ///     let (n, mut files) = theirs.recv_with_fds(&mut buf)?;
    ///     assert_eq!(&buf[..n], b"a file");
    ///     let mut file = File::from(files.remove(0));
    ///     file.rewind()?;
    ///     let mut text = String::new();
    ///     file.read_to_string(&mut text)?;
    ///     assert_eq!(text, "handed over");
    ///     Ok(())
    /// })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of `sendmsg(2)`; `InvalidInput` for descriptors without a byte to go with them, or more than 253 of them; `WouldBlock`
    /// when the time-out for sending is up.
    pub fn send_with_fds(&self, buf: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        if buf.is_empty() && !fds.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "descriptors travel with a byte at least",
            ));
        }
        let patience = self.0.send_patience();
        self.0.send_message(&[IoSlice::new(buf)], None, fds, patience)
    }

    /// Receives bytes, and the descriptors that come with them; they are closed on exec. What a plain `read` receives comes
    /// without: the kernel closes its descriptors, and those that this process may not have for its limit, too.
    ///
    /// # Errors
    /// Those of `recvmsg(2)`; `WouldBlock` when the time-out for receiving is up.
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
}

stream!(UnixStream);

impl fmt::Debug for UnixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UnixStream");
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

conversions!(UnixStream, std::os::unix::net::UnixStream);
