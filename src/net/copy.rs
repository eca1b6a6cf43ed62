//! Moving bytes from one stream to another until it ends.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};

use super::socket::Socket;
use super::{TcpStream, UnixStream};
use crate::fiber;

/// As much is moved at once.
const AT_ONCE: usize = 64 * 1024;

/// A stream that [`copy`] reads from and writes to: a [`TcpStream`], a [`UnixStream`], or a reference to one.
pub trait Duplex: private::HasSocket + Sync {}

impl<T: private::HasSocket + Sync> Duplex for T {}

mod private {
    use super::Socket;

    /// What is behind a public stream.
    #[expect(
        unnameable_types,
        private_interfaces,
        reason = "nobody else is to implement or call it"
    )]
    pub trait HasSocket {
        fn socket(&self) -> &Socket;
    }
}

#[expect(private_interfaces, reason = "nobody else is to call it")]
impl private::HasSocket for TcpStream {
    fn socket(&self) -> &Socket {
        TcpStream::socket(self)
    }
}

#[expect(private_interfaces, reason = "nobody else is to call it")]
impl private::HasSocket for UnixStream {
    fn socket(&self) -> &Socket {
        UnixStream::socket(self)
    }
}

#[expect(private_interfaces, reason = "nobody else is to call it")]
impl<T: private::HasSocket> private::HasSocket for &T {
    fn socket(&self) -> &Socket {
        (**self).socket()
    }
}

/// How many bytes have been written, while [`copy_bidirectional_counted`] goes on and after it: nothing is lost when that
/// fails or is cancelled.
#[derive(Default)]
pub struct Copied {
    a_to_b: AtomicU64,
    b_to_a: AtomicU64,
}

impl Copied {
    /// None yet.
    #[must_use]
    pub const fn new() -> Copied {
        Copied {
            a_to_b: AtomicU64::new(0),
            b_to_a: AtomicU64::new(0),
        }
    }

    /// How many bytes of the first stream have been written to the second.
    #[must_use]
    pub fn a_to_b(&self) -> u64 {
        self.a_to_b.load(Ordering::Relaxed)
    }

    /// How many bytes of the second stream have been written to the first.
    #[must_use]
    pub fn b_to_a(&self) -> u64 {
        self.b_to_a.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Copied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Copied")
            .field("a_to_b", &self.a_to_b())
            .field("b_to_a", &self.b_to_a())
            .finish()
    }
}

/// Writes to `to` what `from` has, until that ends; gives the number of bytes. The other direction is left alone, and nothing is
/// shut down.
///
/// On Linux the bytes do not leave the kernel (`splice(2)`); where that cannot be had, they go through a buffer. Time-outs
/// and modes of the streams are heeded.
///
/// ```
/// use kapok::net::{self, UnixStream};
/// use std::io::{Read, Write};
///
/// kapok::run(|| -> std::io::Result<()> {
///     let ((mut a, b), (c, mut d)) = (UnixStream::pair()?, UnixStream::pair()?);
///     let copying = kapok::spawn(move || net::copy(&b, &c));
///     a.write_all(b"hello")?;
///     drop(a);
///     assert_eq!(copying.join().unwrap()?, 5);
///     let mut text = String::new();
///     d.read_to_string(&mut text)?;
///     assert_eq!(text, "hello");
///     Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// When it fails, or is [cancelled](crate::cancel), a part may have been read that was not written: close both streams. What
/// has been written, [`copy_bidirectional_counted`] tells all the same.
///
/// # Errors
/// Those of reading and writing; `WouldBlock` when a time-out is up.
pub fn copy<R: Duplex + ?Sized, W: Duplex + ?Sized>(from: &R, to: &W) -> io::Result<u64> {
    let count = AtomicU64::new(0);
    copy_counted(from.socket(), to.socket(), &count)?;
    Ok(count.into_inner())
}

/// Copies both ways between two streams, until both have ended; gives the numbers of bytes from `a` to `b`, and from `b` to
/// `a`. For proxies.
///
/// When one of them ends, that direction of the other one is shut down, after all has been written, and the other direction goes
/// on: a client that has no more to say still gets its answer. When one direction fails, be it that the read time-out of a
/// stream is up that only listens, both streams are shut down, so that
/// the other direction ends, too.
///
/// The second direction is copied by a fiber of its own, on a plain thread by a thread. See [`copy`] for how.
///
/// ```
/// use kapok::net::{self, TcpListener, TcpStream};
/// use std::time::Duration;
///
/// /// Serves one connection of a proxy.
/// fn serve(client: TcpStream, upstream: &str) -> std::io::Result<(u64, u64)> {
///     let server = kapok::timeout(Duration::from_secs(3), || TcpStream::connect(upstream))??;
///     net::copy_bidirectional(&client, &server)
/// }
/// # kapok::run(|| -> std::io::Result<()> {
/// #     let upstream = TcpListener::bind("127.0.0.1:0")?;
/// #     let address = upstream.local_addr()?.to_string();
/// #     let client = TcpListener::bind("127.0.0.1:0")?;
/// #     let stream = TcpStream::connect(client.local_addr()?)?;
/// #     let serving = kapok::spawn(move || serve(client.accept()?.0, &address));
/// #     drop((stream, upstream.accept()?));
/// #     assert_eq!(serving.join().unwrap()?, (0, 0));
/// #     Ok(())
/// # })??;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// The first one of either direction, as [`copy`].
pub fn copy_bidirectional<A: Duplex + ?Sized, B: Duplex + ?Sized>(a: &A, b: &B) -> io::Result<(u64, u64)> {
    let copied = Copied::new();
    copy_bidirectional_counted(a, b, &copied)?;
    Ok((copied.a_to_b(), copied.b_to_a()))
}

/// As [`copy_bidirectional`], with numbers that can be looked at meanwhile, and after it has failed or was cancelled: they count
/// what has been written.
///
/// ```
/// use kapok::net::{self, Copied, UnixStream};
/// use std::io::Write;
/// use std::time::Duration;
///
/// kapok::run(|| -> std::io::Result<()> {
///     let ((mut client, a), (b, _server)) = (UnixStream::pair()?, UnixStream::pair()?);
///     client.write_all(b"hello")?;
///     let copied = Copied::new();
///     let outcome = kapok::timeout(Duration::from_millis(50), || net::copy_bidirectional_counted(&a, &b, &copied));
///     assert!(outcome.is_err()); // the server is silent
///     assert_eq!((copied.a_to_b(), copied.b_to_a()), (5, 0));
///     Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// As [`copy_bidirectional`].
pub fn copy_bidirectional_counted<A: Duplex + ?Sized, B: Duplex + ?Sized>(
    a: &A,
    b: &B,
    copied: &Copied,
) -> io::Result<()> {
    let (a, b) = (a.socket(), b.socket());
    let there = || one_way(a, b, &copied.a_to_b);
    let back = || one_way(b, a, &copied.b_to_a);
    let (there, back) = if crate::perform::is_in_fiber() {
        fiber::scope(|scope| {
            let back = scope.spawn(back);
            (there(), back.join())
        })
    } else {
        std::thread::scope(|scope| {
            let back = scope.spawn(back);
            (there(), back.join())
        })
    };
    match (there, back.unwrap_or_else(|panic| resume_unwind(panic))) {
        (Ok(()), Ok(())) => Ok(()),
        // The one that came first has shut the other's streams down, which then ends in good order, or says that it cannot write.
        (Err(first), Err(second)) if is_a_consequence(&first) => Err(second),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

fn is_a_consequence(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// One direction of two, and what follows from its end for the other.
fn one_way(from: &Socket, to: &Socket, count: &AtomicU64) -> io::Result<()> {
    let copied = copy_counted(from, to, count);
    let ended = match &copied {
        Ok(()) => to.shutdown(Shutdown::Write),
        Err(_) => from.shutdown(Shutdown::Both).and(to.shutdown(Shutdown::Both)),
    };
    if let Err(error) = ended {
        // Somebody else has done so, or the peer is gone.
        log::trace!("shutdown of descriptor {} or {}: {error}", from.raw(), to.raw());
    }
    copied
}

fn copy_counted(from: &Socket, to: &Socket, count: &AtomicU64) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if splicing::copy(from, to, count)? {
        return Ok(());
    }
    let mut buf = vec![0; AT_ONCE];
    loop {
        let received = from.recv(&mut buf, 0)?;
        if received == 0 {
            return Ok(());
        }
        let mut rest = &buf[..received];
        while !rest.is_empty() {
            let sent = to.send(rest)?;
            count.fetch_add(sent as u64, Ordering::Relaxed);
            rest = &rest[sent..];
        }
    }
}

/// Through a pipe, whose pages are the sockets' own: nothing is copied.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod splicing {
    use std::io;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::super::socket::Socket;
    use super::AT_ONCE;
    use crate::sys::{Direction, splice};

    /// False where it cannot be done, and nothing has been.
    pub(super) fn copy(from: &Socket, to: &Socket, count: &AtomicU64) -> io::Result<bool> {
        // Two descriptors more: where there are none left, a buffer does, too.
        let Ok((pipe_out, pipe_in)) = splice::pipe() else {
            return Ok(false);
        };
        loop {
            let received = match from.when_ready(Direction::Read, || splice::splice(from, &pipe_in, AT_ONCE)) {
                // Not for this socket, not on this kernel, or not in this sandbox.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS | libc::EPERM)) => {
                    return Ok(false);
                }
                result => result?,
            };
            if received == 0 {
                return Ok(true);
            }
            let mut left = received;
            while left > 0 {
                let sent = to.when_ready(Direction::Write, || splice::splice(&pipe_out, to, left))?;
                count.fetch_add(sent as u64, Ordering::Relaxed);
                left -= sent;
            }
        }
    }
}
