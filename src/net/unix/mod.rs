//! Unix sockets, with the names and signatures of [`std::os::unix::net`].
//!
//! An address is std's own [`SocketAddr`]: a path, no name at all, or on Linux an abstract name, which
//! `std::os::linux::net::SocketAddrExt` makes and tells, and which goes away with the socket.
//!
//! ```
//! # #[cfg(target_os = "linux")] {
//! use kapok::net::unix::{SocketAddr, UnixListener, UnixStream};
//! use std::io::{Read, Write};
//! use std::os::linux::net::SocketAddrExt;
//!
//! kapok::run(|| -> std::io::Result<()> {
//!     let address = SocketAddr::from_abstract_name(format!("kapok-{}", std::process::id()))?;
//!     let listener = UnixListener::bind_addr(&address)?;
//!     let client = kapok::spawn(move || UnixStream::connect_addr(&address)?.write_all(b"hello"));
//!     let mut text = String::new();
//!     listener.accept()?.0.read_to_string(&mut text)?;
//!     assert_eq!(text, "hello");
//!     client.join().unwrap()
//! })??;
//! # }
//! # Ok::<(), std::io::Error>(())
//! ```

mod datagram;
mod listener;
mod stream;

use std::io;
use std::os::fd::RawFd;
use std::path::Path;
use std::time::{Duration, Instant};

pub use std::os::unix::net::SocketAddr;

pub use datagram::UnixDatagram;
pub use listener::{Incoming, IntoIncoming, UnixListener};
pub use stream::{UCred, UnixStream};

use super::socket::Socket;
use crate::fiber;
use crate::perform::{Patience, checkpoint, count_as_done};
use crate::sys::socket::{self, Address};

/// The kernel's form of a path that is to be a socket's name.
fn address_of(path: &Path) -> io::Result<Address> {
    Address::of_unix(&SocketAddr::from_pathname(path)?)
}

fn local_address(fd: RawFd) -> io::Result<SocketAddr> {
    socket::local_name(fd)?.to_unix()
}

fn peer_address(fd: RawFd) -> io::Result<SocketAddr> {
    socket::peer_name(fd)?.to_unix()
}

/// A new socket with that name.
fn bound(kind: libc::c_int, address: &Address) -> io::Result<Socket> {
    let socket = Socket::new(socket::socket(libc::AF_UNIX, kind)?);
    socket::bind(socket.raw(), address)?;
    Ok(socket)
}

/// Repeats what fails with `WouldBlock` for as long as `patience` says: when a Unix socket's queue is full to which one is
/// not connected, the kernel tells nobody when there is room.
fn with_pauses<T>(patience: Patience, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    const FIRST: Duration = Duration::from_micros(100);
    const LONGEST: Duration = Duration::from_millis(20);
    let deadline = match patience {
        Patience::Limited(timeout) => Instant::now().checked_add(timeout),
        _ => None,
    };
    let mut pause = FIRST;
    checkpoint();
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && patience != Patience::None => {
                let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
                if left.is_some_and(|left| left.is_zero()) {
                    return Err(error);
                }
                // Of a fiber that cannot be unwound, or is being, nobody waits for the rest.
                if crate::is_cancelled() {
                    return Err(io::Error::from_raw_os_error(libc::ECANCELED));
                }
                fiber::sleep(left.map_or(pause, |left| left.min(pause)));
                pause = (pause * 2).min(LONGEST);
            }
            result => {
                count_as_done();
                return result;
            }
        }
    }
}
