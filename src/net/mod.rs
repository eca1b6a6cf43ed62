//! Sockets with the names and signatures of [`std::net`]: a call that would block a thread there suspends the fiber here.
//!
//! Unix sockets are in [`unix`], and their names here, too.
//!
//! Outside of a runtime, on a plain thread, the same calls block that thread.
//!
//! # Options that are not here
//! Keep-alive, buffer sizes, `SO_REUSEPORT`, `SO_BINDTODEVICE` and the like are set by way of the crate `socket2`, as with std's
//! sockets: what is open, through a reference; what has to be set before, on a socket of that crate that becomes one of these.
//! ([`TcpListener::bind_group`] makes listeners with `SO_REUSEPORT` by itself.)
//!
//! ```
//! use kapok::net::{TcpListener, TcpStream};
//! use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
//! use std::time::Duration;
//!
//! kapok::run(|| -> std::io::Result<()> {
//!     let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
//!     socket.set_recv_buffer_size(256 * 1024)?; // the connections will have it, too
//!     socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
//!     socket.listen(128)?;
//!     let listener = TcpListener::from(std::net::TcpListener::from(socket));
//!
//!     let stream = TcpStream::connect(listener.local_addr()?)?;
//!     let options = SockRef::from(&stream);
//!     options.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(60)))?;
//!     assert!(options.keepalive()?);
//!     Ok(())
//! })??;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Its `SO_RCVTIMEO` and `SO_SNDTIMEO` are without effect: use the time-outs of these types.
//!
//! # Both ways at once
//! Two fibers may use one socket at the same time, one reading and one writing, through shared references: `&TcpStream`
//! implements [`Read`](std::io::Read) and [`Write`](std::io::Write), as in `std`.

mod accepting;
mod any;
mod common;
mod copy;
#[cfg(feature = "futures-io")]
mod futures_io;
mod listener;
mod resolve;
mod socket;
mod stream;
mod udp;
pub mod unix;

pub use std::net::{AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6};

pub use any::Async;
pub use copy::{Copied, Duplex, copy, copy_bidirectional, copy_bidirectional_counted};
pub use listener::{Incoming, IntoIncoming, TcpListener};
pub use resolve::{ToSocketAddrs, lookup_host};
pub use stream::TcpStream;
pub use udp::UdpSocket;
pub use unix::{UnixDatagram, UnixListener, UnixStream};
