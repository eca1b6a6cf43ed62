//! Real descriptors for a script: a channel with its peer, which is driven by plain system calls that never wait for ever.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::time::{Duration, Instant};

use super::script::Channel;
use crate::sys::{self, socket, syscall, transfer};

/// What the scripts of one thread share: an address of their own, so that they do not meet the others', and listeners, so
/// that they do not use the ports up.
#[derive(Debug)]
pub(super) struct Ground {
    address: Ipv4Addr,
    listener: TcpListener,
    /// It has a port and does not listen to it.
    closed: OwnedFd,
}

impl Ground {
    pub(super) fn new(number: u8) -> io::Result<Ground> {
        // Only Linux has all of 127/8.
        let address = if cfg!(target_os = "linux") {
            let pid = std::process::id().to_le_bytes();
            Ipv4Addr::new(127, 64 | (pid[1] & 63), pid[0], number + 2)
        } else {
            Ipv4Addr::LOCALHOST
        };
        let any = SocketAddr::from((address, 0));
        let closed = socket::internet_socket(&any, libc::SOCK_STREAM)?;
        socket::bind(closed.as_raw_fd(), &any.into())?;
        Ok(Ground {
            address,
            listener: TcpListener::bind(any)?,
            closed,
        })
    }

    pub(super) fn listener(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub(super) fn closed(&self) -> io::Result<SocketAddr> {
        socket::local_address(self.closed.as_raw_fd())
    }

    /// The other end of the connection that was made to the listener.
    pub(super) fn accept(&self) -> io::Result<OwnedFd> {
        let (theirs, _) = self.listener.accept()?;
        theirs.set_nodelay(true)?;
        Ok(theirs.into())
    }

    /// A listener whose queue is full, and who is in it.
    pub(super) fn full_listener(&self) -> io::Result<(SocketAddr, Vec<OwnedFd>)> {
        let any = SocketAddr::from((self.address, 0));
        let full = socket::internet_socket(&any, libc::SOCK_STREAM)?;
        socket::bind(full.as_raw_fd(), &any.into())?;
        socket::listen(full.as_raw_fd(), 0)?;
        let address = socket::local_address(full.as_raw_fd())?;
        let first = reset_on_close(TcpStream::connect(address)?.into())?;
        wait_for(full.as_raw_fd(), libc::POLLIN)?;
        Ok((address, vec![full, first]))
    }
}

/// A channel as it was opened: our end, which does not block, and the peer's.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) ours: OwnedFd,
    pub(super) theirs: Option<OwnedFd>,
}

impl Ends {
    pub(super) fn open(ground: &Ground, channel: Channel) -> io::Result<Ends> {
        let any = SocketAddr::from((ground.address, 0));
        let (ours, theirs): (OwnedFd, Option<OwnedFd>) = match channel {
            Channel::Unix => both(UnixStream::pair()?),
            Channel::UnixDatagrams => both(UnixDatagram::pair()?),
            Channel::Packets => packets()?,
            Channel::PipeReader => both(io::pipe()?),
            Channel::PipeWriter => {
                let (reader, writer) = io::pipe()?;
                both((writer, reader))
            }
            Channel::Tcp => {
                let theirs = TcpStream::connect(ground.listener()?)?;
                theirs.set_nodelay(true)?;
                (ground.accept()?, Some(theirs.into()))
            }
            Channel::Udp => {
                let (ours, theirs) = (UdpSocket::bind(any)?, UdpSocket::bind(any)?);
                ours.connect(theirs.local_addr()?)?;
                theirs.connect(ours.local_addr()?)?;
                both((ours, theirs))
            }
            Channel::TcpListener => (TcpListener::bind(any)?.into(), None),
            Channel::UnixListener => (unix_listener()?.into(), None),
            Channel::Unconnected => (socket::internet_socket(&any, libc::SOCK_STREAM)?, None),
        };
        for end in [Some(&ours), theirs.as_ref()].into_iter().flatten() {
            sys::set_nonblocking(end.as_fd(), true)?;
            make_small(channel, end)?;
        }
        if matches!(channel, Channel::Tcp | Channel::Unconnected) {
            set_reset_on_close(&ours)?;
        }
        Ok(Ends { ours, theirs })
    }
}

fn both<A: Into<OwnedFd>, B: Into<OwnedFd>>((ours, theirs): (A, B)) -> (OwnedFd, Option<OwnedFd>) {
    (ours.into(), Some(theirs.into()))
}

fn packets() -> io::Result<(OwnedFd, Option<OwnedFd>)> {
    let mut fds = [0; 2];
    // `fds` has room for two.
    syscall!(socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0, fds.as_mut_ptr()))?;
    // SAFETY: new descriptors that nobody else owns.
    let [ours, theirs] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    for end in [&ours, &theirs] {
        sys::set_cloexec(end)?;
    }
    Ok((ours, Some(theirs)))
}

/// It has a name that goes away with it, where there are such names.
fn unix_listener() -> io::Result<UnixListener> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use std::os::linux::net::SocketAddrExt;
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("kapok-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        UnixListener::bind_addr(&std::os::unix::net::SocketAddr::from_abstract_name(name)?)
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let directory = tempfile::tempdir()?;
        UnixListener::bind(directory.path().join("listener"))
    }
}

/// So that little fills a buffer.
fn make_small(channel: Channel, end: &OwnedFd) -> io::Result<()> {
    let size: libc::c_int = match channel {
        Channel::Unix | Channel::Packets | Channel::UnixDatagrams => 16 << 10,
        Channel::Tcp | Channel::Unconnected => 64 << 10,
        _ => return Ok(()),
    };
    socket::set_option(end.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDBUF, &size)
}

/// Its connection ends with a reset when it is closed, and leaves nothing behind that keeps the port.
pub(super) fn set_reset_on_close(fd: &OwnedFd) -> io::Result<()> {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    socket::set_option(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, &linger)
}

fn reset_on_close(fd: OwnedFd) -> io::Result<OwnedFd> {
    set_reset_on_close(&fd)?;
    Ok(fd)
}

/// Moves a descriptor to `number`, or to the next above it that is free: numbers there come back at once.
pub(super) fn move_to(fd: OwnedFd, number: RawFd) -> io::Result<OwnedFd> {
    let moved = syscall!(fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, number))?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(moved) })
}

/// Closes what the number of `old` stands for and makes it `new`'s, with nothing in between.
pub(super) fn replace(old: &OwnedFd, new: OwnedFd) -> io::Result<()> {
    syscall!(dup2(new.as_raw_fd(), old.as_raw_fd()))?;
    sys::set_cloexec(old)
}

/// How long the kernel may take to do what it has to do.
const LIMIT: Duration = Duration::from_secs(10);

/// Waits until `poll(2)` says one of `events`; an error or a hang-up is the caller's to find out.
pub(super) fn wait_for(fd: RawFd, events: libc::c_short) -> io::Result<()> {
    let mut poll = libc::pollfd { fd, events, revents: 0 };
    let limit = sys::milliseconds_rounded_up(LIMIT);
    // `&raw mut poll` is one valid pollfd.
    match sys::retry(|| syscall!(poll(&raw mut poll, 1, limit)))? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

/// What `poll(2)` says now.
pub(super) fn state_of(fd: RawFd, events: libc::c_short) -> io::Result<libc::c_short> {
    let mut poll = libc::pollfd { fd, events, revents: 0 };
    // `&raw mut poll` is one valid pollfd.
    sys::retry(|| syscall!(poll(&raw mut poll, 1, 0)))?;
    Ok(poll.revents)
}

/// Waits until `count` bytes can be read, of a stream from which nobody reads meanwhile.
pub(super) fn await_bytes(fd: RawFd, count: usize) -> io::Result<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let mut there: libc::c_int = 0;
        // `there` has room for what is written.
        syscall!(ioctl(fd, libc::FIONREAD, &raw mut there))?;
        if usize::try_from(there).is_ok_and(|there| there >= count) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{there} of {count} bytes have come"),
            ));
        }
        std::thread::yield_now();
    }
}

/// One read that does not wait; `None` where it would have to.
pub(super) fn read_some(fd: RawFd, buf: &mut [u8]) -> io::Result<Option<usize>> {
    // SAFETY: `buf` has room for its length.
    match unsafe { sys::read(fd, buf.as_mut_ptr(), buf.len()) } {
        Ok(n) => Ok(Some(n)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes all, by one system call where it goes.
pub(super) fn write_all(fd: RawFd, mut bytes: &[u8]) -> io::Result<()> {
    loop {
        // SAFETY: `bytes` is readable for its length.
        match unsafe { sys::write(fd, bytes.as_ptr(), bytes.len()) } {
            Ok(n) if n == bytes.len() => return Ok(()),
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_for(fd, libc::POLLOUT)?,
            Err(error) => return Err(error),
        }
    }
}

/// Sends one byte out of the order.
pub(super) fn write_urgent(fd: RawFd) -> io::Result<()> {
    // SAFETY: one readable byte.
    unsafe { transfer::send(fd, [0xff].as_ptr(), 1, libc::MSG_OOB | socket::NO_SIGNAL) }.map(drop)
}

/// Who connects to a listener: it says its number, which also waits until the connection is there.
pub(super) fn connect_client(listener: RawFd, channel: Channel, number: u8) -> io::Result<OwnedFd> {
    let client: OwnedFd = if channel == Channel::TcpListener {
        reset_on_close(TcpStream::connect(socket::local_address(listener)?)?.into())?
    } else {
        // SAFETY: borrowed for this statement; the listener is open.
        let listener = unsafe { std::mem::ManuallyDrop::new(UnixListener::from_raw_fd(listener)) };
        UnixStream::connect_addr(&listener.local_addr()?)?.into()
    };
    sys::set_nonblocking(client.as_fd(), true)?;
    write_all(client.as_raw_fd(), &[number])?;
    Ok(client)
}
