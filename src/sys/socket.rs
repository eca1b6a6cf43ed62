//! Socket calls, without a thought about who waits.

use std::ffi::c_int;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use super::{retry, syscall};

/// A socket address in the kernel's form.
#[derive(Clone, Copy)]
pub(crate) struct Address {
    pub(super) storage: libc::sockaddr_storage,
    pub(super) len: libc::socklen_t,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Address")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "sizes of C structs of a few dozen bytes")]
const fn socklen<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

impl Address {
    /// Room for an address that the kernel will write.
    pub(crate) fn empty() -> Address {
        // SAFETY: all zeroes is a valid sockaddr_storage (family AF_UNSPEC).
        let storage = unsafe { MaybeUninit::<libc::sockaddr_storage>::zeroed().assume_init() };
        Address {
            storage,
            len: socklen::<libc::sockaddr_storage>(),
        }
    }

    pub(crate) fn as_ptr(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }

    pub(crate) fn len(&self) -> libc::socklen_t {
        self.len
    }

    /// The places of an address and of its length for a kernel that writes them, which may read the length first: it is
    /// all the room there is.
    pub(crate) fn out_pointers(&mut self) -> (*mut libc::sockaddr, *mut libc::socklen_t) {
        self.len = socklen::<libc::sockaddr_storage>();
        ((&raw mut self.storage).cast(), &raw mut self.len)
    }

    /// How much of the room the kernel has written.
    pub(crate) fn set_len(&mut self, len: libc::socklen_t) {
        self.len = len.min(socklen::<libc::sockaddr_storage>());
    }

    /// # Safety
    /// `T` is the C struct of the family that is set.
    pub(super) unsafe fn write<T>(&mut self, value: T) {
        const { assert!(size_of::<T>() <= size_of::<libc::sockaddr_storage>()) };
        // SAFETY: sockaddr_storage is large enough for every sockaddr (asserted) and aligned for it (POSIX).
        unsafe { (&raw mut self.storage).cast::<T>().write(value) };
        self.len = socklen::<T>();
    }

    /// What std calls it, where it is an internet address.
    pub(crate) fn to_std(self) -> io::Result<SocketAddr> {
        match c_int::from(self.storage.ss_family) {
            libc::AF_INET if self.len >= socklen::<libc::sockaddr_in>() => {
                // SAFETY: the family and the length say that it is one.
                let v4 = unsafe { (&raw const self.storage).cast::<libc::sockaddr_in>().read() };
                let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                Ok(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 if self.len >= socklen::<libc::sockaddr_in6>() => {
                // SAFETY: the family and the length say that it is one.
                let v6 = unsafe { (&raw const self.storage).cast::<libc::sockaddr_in6>().read() };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                Ok(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            family => {
                let text = format!(
                    "an address of family {family}, {} bytes, is no internet address",
                    self.len
                );
                Err(io::Error::new(io::ErrorKind::InvalidInput, text))
            }
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        let mut raw = Address::empty();
        match address {
            SocketAddr::V4(v4) => {
                // SAFETY: all zeroes is a valid sockaddr_in.
                let mut sin = unsafe { MaybeUninit::<libc::sockaddr_in>::zeroed().assume_init() };
                sin.sin_family = family(libc::AF_INET);
                sin.sin_port = v4.port().to_be();
                sin.sin_addr.s_addr = u32::from(*v4.ip()).to_be();
                // SAFETY: the family is AF_INET.
                unsafe { raw.write(sin) };
            }
            SocketAddr::V6(v6) => {
                // SAFETY: all zeroes is a valid sockaddr_in6.
                let mut sin6 = unsafe { MaybeUninit::<libc::sockaddr_in6>::zeroed().assume_init() };
                sin6.sin6_family = family(libc::AF_INET6);
                sin6.sin6_port = v6.port().to_be();
                sin6.sin6_addr.s6_addr = v6.ip().octets();
                sin6.sin6_flowinfo = v6.flowinfo();
                sin6.sin6_scope_id = v6.scope_id();
                // SAFETY: the family is AF_INET6.
                unsafe { raw.write(sin6) };
            }
        }
        raw
    }
}

pub(super) fn family(af: c_int) -> libc::sa_family_t {
    libc::sa_family_t::try_from(af).expect("families are small numbers")
}

/// A socket of the address's family that does not block; `kind` is `SOCK_STREAM` or `SOCK_DGRAM`.
pub(crate) fn internet_socket(address: &SocketAddr, kind: c_int) -> io::Result<OwnedFd> {
    let af = if address.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    socket(af, kind)
}

/// A socket that does not block.
pub(crate) fn socket(af: c_int, kind: c_int) -> io::Result<OwnedFd> {
    let fd = syscall!(socket(af, kind | BORN, 0))?;
    // SAFETY: a new descriptor that nobody else owns.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    bring_up(&fd)?;
    Ok(fd)
}

/// Two Unix sockets that are connected to each other, and do not block.
pub(crate) fn pair(kind: c_int) -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // There is room for two.
    syscall!(socketpair(libc::AF_UNIX, kind | BORN, 0, fds.as_mut_ptr()))?;
    // SAFETY: new descriptors that nobody else owns.
    let [a, b] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    bring_up(&a)?;
    bring_up(&b)?;
    Ok((a, b))
}

// A socket does not block, is closed on exec, and is written to without a signal when its peer is gone. Most systems make
// it so, and take the last with each call; Apple's have to be told afterwards.

/// What a socket is made with.
#[cfg(not(target_vendor = "apple"))]
const BORN: c_int = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
#[cfg(target_vendor = "apple")]
const BORN: c_int = 0;

/// What `send` and `sendmsg` take, so that a peer that is gone is an error and not a signal.
#[cfg(not(target_vendor = "apple"))]
pub(crate) const NO_SIGNAL: c_int = libc::MSG_NOSIGNAL;
#[cfg(target_vendor = "apple")]
pub(crate) const NO_SIGNAL: c_int = 0;

/// Does to a new socket what it could not be made with.
#[cfg(not(target_vendor = "apple"))]
#[expect(clippy::unnecessary_wraps, reason = "it may fail on Apple's systems")]
fn bring_up(_fd: &OwnedFd) -> io::Result<()> {
    Ok(())
}

#[cfg(target_vendor = "apple")]
fn bring_up(fd: &OwnedFd) -> io::Result<()> {
    use std::os::fd::AsFd;
    super::set_cloexec(fd)?;
    super::set_nonblocking(fd.as_fd(), true)?;
    set_option::<c_int>(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_NOSIGPIPE, &1)
}

/// `bind(2)`.
pub(crate) fn bind(fd: RawFd, address: &Address) -> io::Result<()> {
    // `address` holds `len` valid bytes.
    syscall!(bind(fd, address.as_ptr(), address.len())).map(drop)
}

/// `listen(2)`.
pub(crate) fn listen(fd: RawFd, backlog: c_int) -> io::Result<()> {
    syscall!(listen(fd, backlog)).map(drop)
}

/// `accept(2)`; the new descriptor does not block and is closed on exec.
pub(crate) fn accept(fd: RawFd, address: &mut Address) -> io::Result<RawFd> {
    let fd = retry(|| {
        let (storage, len) = address.out_pointers();
        // `storage` has room for `len` bytes.
        #[cfg(not(target_vendor = "apple"))]
        return syscall!(accept4(fd, storage, len, BORN));
        // `storage` has room for `len` bytes.
        #[cfg(target_vendor = "apple")]
        return syscall!(accept(fd, storage, len));
    })?;
    // SAFETY: a new descriptor that nobody else owns.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    bring_up(&fd)?;
    Ok(fd.into_raw_fd())
}

/// `connect(2)`: the first call, on a socket that does not block.
pub(crate) fn connect(fd: RawFd, address: &Address) -> io::Result<()> {
    match syscall!(connect(fd, address.as_ptr(), address.len())) {
        // Interrupted, it goes on in the background, and must not be called again.
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            Err(io::Error::from_raw_os_error(libc::EINPROGRESS))
        }
        // It has not begun, for want of a route or a port, so there is nothing to wait for.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::Error::from_raw_os_error(libc::ENOBUFS)),
        result => result.map(drop),
    }
}

/// `connect(2)` where nothing goes on in the background: it only notes the address, or is done, or would have to wait.
pub(crate) fn connect_at_once(fd: RawFd, address: &Address) -> io::Result<()> {
    // `address` holds `len` valid bytes.
    syscall!(connect(fd, address.as_ptr(), address.len())).map(drop)
}

/// How a connect ended that went on in the background; `EINPROGRESS` while it has not.
///
/// `SO_ERROR` says why it failed, but is 0 both for a connection that is made and for one that is not made yet; only a
/// connected socket has a peer.
pub(crate) fn connect_result(fd: RawFd) -> io::Result<()> {
    if let Some(error) = take_error(fd)? {
        return Err(error);
    }
    match peer_name(fd) {
        Ok(_) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => {
            Err(io::Error::from_raw_os_error(libc::EINPROGRESS))
        }
        Err(error) => Err(error),
    }
}

/// `SO_ERROR`, which reading clears.
pub(crate) fn take_error(fd: RawFd) -> io::Result<Option<io::Error>> {
    let errno: c_int = get_option(fd, libc::SOL_SOCKET, libc::SO_ERROR)?;
    if errno == 0 {
        return Ok(taken_error(fd));
    }
    Ok(Some(io::Error::from_raw_os_error(errno)))
}

/// A socket's error that the reactor has come by, where the system that it asks gives it away with that.
fn taken_error(_fd: RawFd) -> Option<io::Error> {
    #[cfg(kapok_libkqueue)]
    return super::kqueue::take_error(_fd);
    #[cfg(not(kapok_libkqueue))]
    None
}

/// What a call that was to transfer bytes has to say. What looks like an end, or like a broken connection, is the socket's
/// error where the kernel does not know that any more.
pub(super) fn transferred(fd: RawFd, result: io::Result<usize>) -> io::Result<usize> {
    let ended = match &result {
        Ok(n) => *n == 0,
        Err(error) => error.raw_os_error() == Some(libc::EPIPE),
    };
    if ended {
        if let Some(error) = taken_error(fd) {
            return Err(error);
        }
    }
    result
}

/// `getsockopt(2)`.
pub(crate) fn get_option<T: Copy + Default>(fd: RawFd, level: c_int, name: c_int) -> io::Result<T> {
    let mut value = T::default();
    let mut len = socklen::<T>();
    // `value` has room for `len` bytes.
    syscall!(getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut len))?;
    Ok(value)
}

/// `setsockopt(2)`.
pub(crate) fn set_option<T>(fd: RawFd, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    // `value` is `socklen::<T>()` valid bytes.
    syscall!(setsockopt(fd, level, name, (&raw const *value).cast(), socklen::<T>())).map(drop)
}

/// `getsockname(2)`.
pub(crate) fn local_name(fd: RawFd) -> io::Result<Address> {
    let mut address = Address::empty();
    // `storage` has room for `len` bytes.
    syscall!(getsockname(fd, (&raw mut address.storage).cast(), &raw mut address.len))?;
    Ok(address)
}

/// `getpeername(2)`.
pub(crate) fn peer_name(fd: RawFd) -> io::Result<Address> {
    let mut address = Address::empty();
    // `storage` has room for `len` bytes.
    syscall!(getpeername(fd, (&raw mut address.storage).cast(), &raw mut address.len))?;
    Ok(address)
}

/// [`local_name`] of an internet socket.
pub(crate) fn local_address(fd: RawFd) -> io::Result<SocketAddr> {
    local_name(fd)?.to_std()
}

/// [`peer_name`] of an internet socket.
pub(crate) fn peer_address(fd: RawFd) -> io::Result<SocketAddr> {
    peer_name(fd)?.to_std()
}

/// `shutdown(2)`.
pub(crate) fn shutdown(fd: RawFd, how: std::net::Shutdown) -> io::Result<()> {
    let how = match how {
        std::net::Shutdown::Read => libc::SHUT_RD,
        std::net::Shutdown::Write => libc::SHUT_WR,
        std::net::Shutdown::Both => libc::SHUT_RDWR,
    };
    syscall!(shutdown(fd, how)).map(drop)
}

/// A second descriptor of the same open file, closed on exec.
pub(crate) fn duplicate(fd: &OwnedFd) -> io::Result<OwnedFd> {
    let fd = syscall!(fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3))?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
