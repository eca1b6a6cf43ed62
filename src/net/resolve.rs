//! From what a user calls an address to socket addresses, without blocking the worker.

use std::io;
use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::option;
use std::slice;
use std::vec;

use crate::blocking;

/// What can be turned into socket addresses, as [`std::net::ToSocketAddrs`]; names are looked up without blocking the
/// worker: the fiber waits, others run.
///
/// It is a trait of its own because the look-up happens on another thread, which std's trait does not allow for. It is
/// implemented for what std's is, with the same method.
///
/// ```
/// use kapok::net::ToSocketAddrs;
///
/// kapok::run(|| {
///     let mut addresses = "localhost:80".to_socket_addrs()?;
///     assert!(addresses.all(|address| address.ip().is_loopback()));
///     Ok::<(), std::io::Error>(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait ToSocketAddrs {
    /// The addresses, one after the other.
    type Iter: Iterator<Item = SocketAddr>;

    /// Looks them up.
    ///
    /// # Errors
    /// Where a name cannot be resolved, or the text is no address.
    fn to_socket_addrs(&self) -> io::Result<Self::Iter>;
}

macro_rules! is_an_address {
    ($($ty:ty),*) => {$(
        impl ToSocketAddrs for $ty {
            type Iter = option::IntoIter<SocketAddr>;

            fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
                Ok(Some(SocketAddr::from(*self)).into_iter())
            }
        }
    )*};
}

is_an_address!(
    SocketAddr,
    SocketAddrV4,
    SocketAddrV6,
    (IpAddr, u16),
    (Ipv4Addr, u16),
    (Ipv6Addr, u16)
);

/// Looks a name up on another thread, with std's own resolver.
fn look_up<A>(name: A) -> io::Result<vec::IntoIter<SocketAddr>>
where
    A: std::net::ToSocketAddrs<Iter = vec::IntoIter<SocketAddr>> + Send,
{
    blocking(move || name.to_socket_addrs())
}

impl ToSocketAddrs for (&str, u16) {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        let (host, port) = *self;
        match host.parse::<IpAddr>() {
            Ok(ip) => Ok(vec![SocketAddr::new(ip, port)].into_iter()),
            Err(_) => look_up((host, port)),
        }
    }
}

impl ToSocketAddrs for (String, u16) {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        (&*self.0, self.1).to_socket_addrs()
    }
}

impl ToSocketAddrs for str {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        match self.parse::<SocketAddr>() {
            Ok(address) => Ok(vec![address].into_iter()),
            Err(_) => look_up(self),
        }
    }
}

impl ToSocketAddrs for String {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        (**self).to_socket_addrs()
    }
}

impl<'a> ToSocketAddrs for &'a [SocketAddr] {
    type Iter = iter::Cloned<slice::Iter<'a, SocketAddr>>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        Ok(self.iter().cloned())
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {
    type Iter = T::Iter;

    fn to_socket_addrs(&self) -> io::Result<T::Iter> {
        (**self).to_socket_addrs()
    }
}

/// The addresses of a host, looked up without blocking the worker; by the name that tokio gives it. The same as
/// [`to_socket_addrs`](ToSocketAddrs::to_socket_addrs).
///
/// ```
/// kapok::run(|| -> std::io::Result<()> {
///     for address in kapok::net::lookup_host("localhost:80")? {
///         assert!(address.ip().is_loopback());
///     }
///     Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A look-up that is [cancelled](crate::cancel) is waited for: the system's resolver cannot be stopped.
///
/// # Errors
/// Where a name cannot be resolved, or the text is no address.
pub fn lookup_host<A: ToSocketAddrs>(host: A) -> io::Result<A::Iter> {
    host.to_socket_addrs()
}

/// Tries `attempt` with each of the addresses, until one works.
///
/// # Errors
/// That of the look-up, or of the last attempt.
pub(super) fn each_address<A, T>(addresses: A, attempt: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T>
where
    A: ToSocketAddrs,
{
    let mut last = None;
    for address in addresses.to_socket_addrs()? {
        match attempt(address) {
            Ok(value) => return Ok(value),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "could not resolve to any addresses")))
}
