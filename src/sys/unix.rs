//! Addresses of Unix sockets, who is at the other end, and descriptors that travel.

use std::ffi::{OsStr, c_int};
use std::io;
use std::mem::{MaybeUninit, offset_of, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;

use super::socket::{Address, family};
use super::syscall;

/// Where the name begins in the kernel's form of an address.
const PATH: usize = offset_of!(libc::sockaddr_un, sun_path);

impl Address {
    /// The kernel's form of a Unix socket's address.
    pub(crate) fn of_unix(address: &SocketAddr) -> io::Result<Address> {
        // SAFETY: all zeroes is a valid sockaddr_un.
        let mut sun = unsafe { MaybeUninit::<libc::sockaddr_un>::zeroed().assume_init() };
        sun.sun_family = family(libc::AF_UNIX);
        // A path ends with a NUL that counts; a name begins with one, and takes all bytes that it is given.
        let (start, name, after) = if let Some(path) = address.as_pathname() {
            (0, path.as_os_str().as_bytes(), 1)
        } else if let Some(name) = abstract_name(address) {
            (1, name, 0)
        } else {
            (0, &[][..], 0)
        };
        let room = sun.sun_path.get_mut(start..start + name.len()).ok_or_else(too_long)?;
        for (to, from) in room.iter_mut().zip(name) {
            *to = libc::c_char::from_ne_bytes([*from]);
        }
        let mut raw = Address::empty();
        // SAFETY: the family is AF_UNIX.
        unsafe { raw.write(sun) };
        let len = PATH + start + name.len() + after;
        raw.len = libc::socklen_t::try_from(len).expect("a hundred bytes or so");
        Ok(raw)
    }

    /// What std calls it, where it is the address of a Unix socket.
    pub(crate) fn to_unix(self) -> io::Result<SocketAddr> {
        let len = usize::try_from(self.len).expect("a hundred bytes or so");
        if len == 0 {
            return SocketAddr::from_pathname(""); // some systems say nothing of a socket without a name
        }
        if c_int::from(self.storage.ss_family) != libc::AF_UNIX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "file descriptor did not correspond to a Unix socket",
            ));
        }
        const { assert!(size_of::<libc::sockaddr_un>() <= size_of::<libc::sockaddr_storage>()) };
        // SAFETY: the family says that it is one, and the storage has room for it.
        let sun = unsafe { (&raw const self.storage).cast::<libc::sockaddr_un>().read() };
        let len = len.saturating_sub(PATH).min(sun.sun_path.len());
        let bytes: Vec<u8> = sun.sun_path[..len]
            .iter()
            .map(|byte| u8::from_ne_bytes(byte.to_ne_bytes()))
            .collect();
        match bytes.split_first() {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Some((0, name)) => abstract_address(name),
            _ => {
                let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(len);
                SocketAddr::from_pathname(OsStr::from_bytes(&bytes[..end]))
            }
        }
    }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "path must be shorter than SUN_LEN")
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)
}

#[cfg(target_os = "android")]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    <SocketAddr as std::os::android::net::SocketAddrExt>::from_abstract_name(name)
}

#[cfg(target_os = "linux")]
fn abstract_name(address: &SocketAddr) -> Option<&[u8]> {
    std::os::linux::net::SocketAddrExt::as_abstract_name(address)
}

#[cfg(target_os = "android")]
fn abstract_name(address: &SocketAddr) -> Option<&[u8]> {
    std::os::android::net::SocketAddrExt::as_abstract_name(address)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn abstract_name(_address: &SocketAddr) -> Option<&[u8]> {
    None
}

/// Who connected, or listened, at the other end: user, group, and, where the system tells it, process.
pub(crate) fn peer_credentials(fd: RawFd) -> io::Result<(libc::uid_t, libc::gid_t, Option<libc::pid_t>)> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let mut credentials = libc::ucred { pid: 1, uid: 1, gid: 1 };
        let mut len = libc::socklen_t::try_from(size_of::<libc::ucred>()).expect("twelve bytes");
        let place = (&raw mut credentials).cast();
        // `credentials` has room for `len` bytes.
        syscall!(getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, place, &raw mut len))?;
        Ok((credentials.uid, credentials.gid, Some(credentials.pid)))
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let (mut uid, mut gid) = (1, 1);
        // Room for one of each.
        syscall!(getpeereid(fd, &raw mut uid, &raw mut gid))?;
        Ok((uid, gid, None))
    }
}

/// As many descriptors as one message may carry (`SCM_MAX_FD` on Linux, less elsewhere).
pub(crate) const MAX_DESCRIPTORS: usize = 253;

#[expect(clippy::cast_possible_truncation, reason = "at most a thousand")]
const DATA_LEN: libc::c_uint = (MAX_DESCRIPTORS * size_of::<RawFd>()) as libc::c_uint;
const ROOM: usize = room();

const fn room() -> usize {
    // SAFETY: a computation.
    let room = unsafe { libc::CMSG_SPACE(DATA_LEN) };
    room as usize
}

/// A descriptor's number, in memory that may be aligned for nothing.
type Number = [u8; size_of::<RawFd>()];

/// The control data of a message that carries descriptors.
#[repr(C)]
pub(crate) struct Control {
    /// For the alignment of what is in it.
    _header: [libc::cmsghdr; 0],
    bytes: [u8; ROOM],
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}

/// What keeps a descriptor that arrives from being inherited; where there is no such flag, it is set afterwards.
#[cfg(not(target_vendor = "apple"))]
pub(crate) const CLOEXEC: c_int = libc::MSG_CMSG_CLOEXEC;
#[cfg(target_vendor = "apple")]
pub(crate) const CLOEXEC: c_int = 0;

impl Control {
    /// On the heap: a fiber's stack may be small.
    pub(crate) fn new() -> Box<Control> {
        Box::new(Control {
            _header: [],
            bytes: [0; ROOM],
        })
    }

    /// Has `message` receive into it.
    pub(crate) fn receive(&mut self, message: &mut libc::msghdr) {
        message.msg_control = self.bytes.as_mut_ptr().cast();
        message.msg_controllen = ROOM as _; // an int on some systems, a size_t on others
    }

    /// Has `message` carry `descriptors`.
    pub(crate) fn send(&mut self, message: &mut libc::msghdr, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        if descriptors.is_empty() {
            return Ok(());
        }
        if descriptors.len() > MAX_DESCRIPTORS {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "more descriptors than a message can carry",
            ));
        }
        let len = libc::c_uint::try_from(size_of_val(descriptors)).expect("at most a thousand");
        self.receive(message);
        // SAFETY: a computation.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(len) } as _;
        // SAFETY: the control data has room for a header, and is aligned for it.
        let header = unsafe { libc::CMSG_FIRSTHDR(message) };
        // SAFETY: as above.
        let header = unsafe { &mut *header };
        header.cmsg_level = libc::SOL_SOCKET;
        header.cmsg_type = libc::SCM_RIGHTS;
        // SAFETY: a computation.
        header.cmsg_len = unsafe { libc::CMSG_LEN(len) } as _;
        // SAFETY: the data follows the header.
        let mut place = unsafe { libc::CMSG_DATA(header) }.cast::<Number>();
        for descriptor in descriptors {
            // SAFETY: there is room for MAX_DESCRIPTORS of them.
            unsafe { place.write(descriptor.as_raw_fd().to_ne_bytes()) };
            // SAFETY: as above.
            place = unsafe { place.add(1) };
        }
        Ok(())
    }

    /// The descriptors that have arrived with `message`, which was received into this.
    pub(crate) fn take(&mut self, message: &libc::msghdr) -> Vec<OwnedFd> {
        let mut descriptors = Vec::new();
        // SAFETY: the kernel has written whole messages, and said how many bytes.
        let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
        // SAFETY: it is null after the last one.
        while let Some(it) = unsafe { header.as_ref() } {
            if it.cmsg_level == libc::SOL_SOCKET && it.cmsg_type == libc::SCM_RIGHTS {
                // SAFETY: the data follows the header.
                let data = unsafe { libc::CMSG_DATA(it) };
                let before = data.addr() - header.addr();
                #[expect(
                    clippy::allow_attributes,
                    reason = "a size_t on some systems, and other things on others"
                )]
                #[allow(clippy::unnecessary_cast, reason = "as above")]
                let count = (it.cmsg_len as usize - before) / size_of::<RawFd>();
                for i in 0..count {
                    // SAFETY: within the data.
                    let place = unsafe { data.cast::<Number>().add(i) };
                    // SAFETY: the kernel has written a number there.
                    let number = unsafe { place.read() };
                    // SAFETY: the kernel has made it for this process, and nobody else knows it.
                    let fd = unsafe { OwnedFd::from_raw_fd(RawFd::from_ne_bytes(number)) };
                    #[cfg(target_vendor = "apple")]
                    drop(super::set_cloexec(&fd)); // it cannot fail for an open descriptor
                    descriptors.push(fd);
                }
            }
            // SAFETY: `header` is within the control data of `message`.
            header = unsafe { libc::CMSG_NXTHDR(message, header) };
        }
        descriptors
    }
}
