//! UDP.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::common::{any_socket, conversions, ttl, waiting};
use super::resolve::{ToSocketAddrs, each_address};
use super::socket::{Extras, Socket};
use crate::sys::socket::{self, Address};

/// A UDP socket. As [`std::net::UdpSocket`].
///
/// ```
/// use kapok::net::UdpSocket;
///
/// kapok::run(|| -> std::io::Result<()> {
///     let server = UdpSocket::bind("127.0.0.1:0")?;
///     let address = server.local_addr()?;
///     kapok::spawn(move || -> std::io::Result<()> {
///         let mut buf = [0; 1500];
///         loop {
///             let (n, peer) = server.recv_from(&mut buf)?;
///             server.send_to(&buf[..n], peer)?;
///             if n == 0 {
///                 return Ok(());
///             }
///         }
///     });
///     let client = UdpSocket::bind("127.0.0.1:0")?;
///     client.connect(address)?;
///     client.send(b"hello")?;
///     let mut buf = [0; 16];
///     assert_eq!(client.recv(&mut buf)?, 5);
///     client.send(b"")?;
///     Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// How it differs from std's is told at [`TcpStream`](super::TcpStream#differences-from-std). Several fibers may receive from
/// one socket; each message goes to one of them.
pub struct UdpSocket(Socket);

/// What the systems want for the multicast options of IPv4: a byte, but Linux and some others take an `int`.
#[cfg(any(
    target_os = "dragonfly",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd"
))]
type Multicast = u8;
#[cfg(not(any(
    target_os = "dragonfly",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd"
)))]
type Multicast = libc::c_int;

#[cfg(any(target_os = "linux", target_os = "android"))]
const JOIN_V6: libc::c_int = libc::IPV6_ADD_MEMBERSHIP;
#[cfg(any(target_os = "linux", target_os = "android"))]
const LEAVE_V6: libc::c_int = libc::IPV6_DROP_MEMBERSHIP;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const JOIN_V6: libc::c_int = libc::IPV6_JOIN_GROUP;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const LEAVE_V6: libc::c_int = libc::IPV6_LEAVE_GROUP;

impl UdpSocket {
    /// Each of its system calls says for itself that it must not block.
    const CLONES_NEED_NONBLOCKING: bool = false;

    /// A socket with one of the addresses, tried in turn. As [`std::net::UdpSocket::bind`].
    ///
    /// # Errors
    /// That of the look-up, or of the last attempt.
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<UdpSocket> {
        each_address(addr, |address| {
            let socket = Socket::new(socket::internet_socket(&address, libc::SOCK_DGRAM)?);
            socket::bind(socket.raw(), &address.into())?;
            Ok(UdpSocket(socket))
        })
    }

    /// Receives one message, and tells where it comes from. What does not fit into `buf` is lost.
    ///
    /// # Errors
    /// Those of `recvmsg(2)`; `WouldBlock` when the time-out for receiving is up.
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.recv_from_with(buf, 0)
    }

    /// As [`recv_from`](UdpSocket::recv_from), without taking it: the next call gets the same message.
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from).
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
        Ok((count, address.to_std()?))
    }

    /// Sends one message to the first of the addresses.
    ///
    /// # Errors
    /// That of the look-up; `InvalidInput` where it gives no address; those of `sendmsg(2)`; `WouldBlock` when the time-out for
    /// sending is up.
    pub fn send_to<A: ToSocketAddrs>(&self, buf: &[u8], addr: A) -> io::Result<usize> {
        let Some(address) = addr.to_socket_addrs()?.next() else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "no addresses to send data to",
            ));
        };
        let patience = self.0.send_patience();
        self.0
            .send_message(&[IoSlice::new(buf)], Some(&address.into()), &[], patience)
    }

    /// Where [`send`](UdpSocket::send) sends to.
    ///
    /// # Errors
    /// Those of `getpeername(2)`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        socket::peer_address(self.0.raw())
    }

    /// The address of this socket.
    ///
    /// # Errors
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        socket::local_address(self.0.raw())
    }

    any_socket!(UdpSocket);
    waiting!();
    ttl!();

    /// Sends to, and receives from, one of the addresses only, tried in turn.
    ///
    /// # Errors
    /// That of the look-up, or of the last attempt.
    pub fn connect<A: ToSocketAddrs>(&self, addr: A) -> io::Result<()> {
        each_address(addr, |address| {
            let address = address.into();
            crate::sys::retry(|| socket::connect_at_once(self.0.raw(), &address))
        })
    }

    /// Sends one message to where it is [connected](UdpSocket::connect).
    ///
    /// # Errors
    /// Those of `send(2)`; `WouldBlock` when the time-out for sending is up.
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        let patience = self.0.send_patience();
        self.0.send_message(&[IoSlice::new(buf)], None, &[], patience)
    }

    /// Receives one message. What does not fit into `buf` is lost.
    ///
    /// # Errors
    /// Those of `recvmsg(2)`; `WouldBlock` when the time-out for receiving is up.
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0
            .recv_message(&mut [IoSliceMut::new(buf)], &mut Extras::default(), 0)
    }

    /// As [`recv`](UdpSocket::recv), without taking it: the next call gets the same message.
    ///
    /// # Errors
    /// As [`recv`](UdpSocket::recv).
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0
            .recv_message(&mut [IoSliceMut::new(buf)], &mut Extras::default(), libc::MSG_PEEK)
    }

    fn set_flag(&self, level: libc::c_int, name: libc::c_int, on: bool) -> io::Result<()> {
        socket::set_option(self.0.raw(), level, name, &libc::c_int::from(on))
    }

    fn flag(&self, level: libc::c_int, name: libc::c_int) -> io::Result<bool> {
        let value: libc::c_int = socket::get_option(self.0.raw(), level, name)?;
        Ok(value != 0)
    }

    /// `SO_BROADCAST`: may send to broadcast addresses.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        self.set_flag(libc::SOL_SOCKET, libc::SO_BROADCAST, broadcast)
    }

    /// Whether `SO_BROADCAST` is set.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn broadcast(&self) -> io::Result<bool> {
        self.flag(libc::SOL_SOCKET, libc::SO_BROADCAST)
    }

    /// `IP_MULTICAST_LOOP`: what it sends to groups of IPv4 comes to this machine, too.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn set_multicast_loop_v4(&self, multicast_loop_v4: bool) -> io::Result<()> {
        let value = Multicast::from(multicast_loop_v4);
        socket::set_option(self.0.raw(), libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP, &value)
    }

    /// Whether `IP_MULTICAST_LOOP` is set.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        let value: Multicast = socket::get_option(self.0.raw(), libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP)?;
        Ok(value != 0)
    }

    /// `IP_MULTICAST_TTL`: how many hops what it sends to groups of IPv4 may make.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    #[expect(
        clippy::allow_attributes,
        reason = "whether it may be cut depends on what the system wants"
    )]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "as std does it"
    )]
    pub fn set_multicast_ttl_v4(&self, multicast_ttl_v4: u32) -> io::Result<()> {
        let value = multicast_ttl_v4 as Multicast;
        socket::set_option(self.0.raw(), libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, &value)
    }

    /// The value of `IP_MULTICAST_TTL`.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        let value: Multicast = socket::get_option(self.0.raw(), libc::IPPROTO_IP, libc::IP_MULTICAST_TTL)?;
        u32::try_from(value).map_err(io::Error::other)
    }

    /// `IPV6_MULTICAST_LOOP`: what it sends to groups of IPv6 comes to this machine, too.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn set_multicast_loop_v6(&self, multicast_loop_v6: bool) -> io::Result<()> {
        self.set_flag(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP, multicast_loop_v6)
    }

    /// Whether `IPV6_MULTICAST_LOOP` is set.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        self.flag(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP)
    }

    /// `IP_ADD_MEMBERSHIP`: receives what is sent to the group `multiaddr`, on the interface with that address, or on one that
    /// the system chooses where it is unspecified.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn join_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        let group = group_v4(multiaddr, interface);
        socket::set_option(self.0.raw(), libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, &group)
    }

    /// `IPV6_ADD_MEMBERSHIP`: receives what is sent to the group `multiaddr`, on the interface with that number, or on one
    /// that the system chooses where it is 0.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn join_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        let group = group_v6(multiaddr, interface);
        socket::set_option(self.0.raw(), libc::IPPROTO_IPV6, JOIN_V6, &group)
    }

    /// `IP_DROP_MEMBERSHIP`: ends what [`join_multicast_v4`](UdpSocket::join_multicast_v4) began.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn leave_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        let group = group_v4(multiaddr, interface);
        socket::set_option(self.0.raw(), libc::IPPROTO_IP, libc::IP_DROP_MEMBERSHIP, &group)
    }

    /// `IPV6_DROP_MEMBERSHIP`: ends what [`join_multicast_v6`](UdpSocket::join_multicast_v6) began.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn leave_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        let group = group_v6(multiaddr, interface);
        socket::set_option(self.0.raw(), libc::IPPROTO_IPV6, LEAVE_V6, &group)
    }
}

fn group_v4(multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> libc::ip_mreq {
    let raw = |address: &Ipv4Addr| libc::in_addr {
        s_addr: u32::from(*address).to_be(),
    };
    libc::ip_mreq {
        imr_multiaddr: raw(multiaddr),
        imr_interface: raw(interface),
    }
}

fn group_v6(multiaddr: &Ipv6Addr, interface: u32) -> libc::ipv6_mreq {
    libc::ipv6_mreq {
        ipv6mr_multiaddr: libc::in6_addr {
            s6_addr: multiaddr.octets(),
        },
        ipv6mr_interface: interface as _, // signed on Android
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UdpSocket");
        if let Ok(address) = self.local_addr() {
            debug.field("addr", &address);
        }
        debug.field("fd", &self.0.raw()).finish()
    }
}

conversions!(UdpSocket, std::net::UdpSocket);
