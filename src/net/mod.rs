//! Sockets with the names and signatures of [`std::net`]: a call that would block a thread there suspends the fiber here.
//!
//! Unix sockets are in [`unix`], and their names here, too.
//!
//! Outside of a runtime, on a plain thread, the same calls block that thread.
//!
//! Two fibers may use one socket at the same time, one reading and one writing, through shared references: `&TcpStream`
//! implements [`Read`](std::io::Read) and [`Write`](std::io::Write), as in `std`.

mod accepting;
mod common;
mod listener;
mod resolve;
mod socket;
mod stream;
mod udp;
pub mod unix;

pub use std::net::{AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6};

pub use listener::{Incoming, IntoIncoming, TcpListener};
pub use resolve::ToSocketAddrs;
pub use stream::TcpStream;
pub use udp::UdpSocket;
pub use unix::{UnixDatagram, UnixListener, UnixStream};
