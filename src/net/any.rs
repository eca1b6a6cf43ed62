//! Any descriptor that the kernel can wait for.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::task::{Context, Poll};

use crate::perform::{Patience, when_ready};
use crate::reactor::Source;
use crate::sched::Worker;
use crate::sys::{self, Direction};
use crate::watcher::{Slots, Watchable, Watched};

/// A descriptor of whatever kind, with waiting: a timer, an `inotify`, a terminal, a pipe, a socket of another family, what a
/// library has opened. What it is to do when the wait is over is the caller's own call, or that of `T`.
///
/// ```
/// use kapok::net::Async;
/// use std::io::{Read, Write};
/// # fn pipe() -> std::io::Result<(std::fs::File, std::fs::File)> {
/// #     let (a, b) = std::os::unix::net::UnixStream::pair()?;
/// #     Ok((std::os::fd::OwnedFd::from(a).into(), std::os::fd::OwnedFd::from(b).into()))
/// # }
///
/// kapok::run(|| -> std::io::Result<()> {
///     let (reader, mut writer) = pipe()?;
///     let mut reader = Async::new(reader)?;
///     let waiting = kapok::spawn(move || -> std::io::Result<String> {
///         let mut text = String::new();
///         reader.read_to_string(&mut text)?; // suspends the fiber, not the thread
///         Ok(text)
///     });
///     writer.write_all(b"hello")?;
///     drop(writer);
///     assert_eq!(waiting.join().unwrap()?, "hello");
///     Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// [`as_fd`](AsFd::as_fd) of `T` has to name the same descriptor for as long as it lives. The kernel has to have a way to wait
/// for it: regular files are always ready, and [`kapok::fs`](crate::fs) is for them. And it has to be nobody else's in Kapok: for
/// that of one of its sockets, or of another `Async`, take a duplicate ([`BorrowedFd::try_clone_to_owned`]). Else the waits of the
/// one end those of the other, with `ECANCELED`.
///
/// [`BorrowedFd::try_clone_to_owned`]: std::os::fd::BorrowedFd::try_clone_to_owned
pub struct Async<T: AsFd> {
    /// The tasks that wait for it: withdrawn before the descriptor is closed, as the first of the fields.
    polled: Slots,
    /// `None` only while it is being taken apart.
    io: Option<T>,
    source: Source,
}

impl<T: AsFd> Async<T> {
    /// Puts the descriptor into non-blocking mode, for everybody who has the same open file: for one that is shared with other
    /// processes take [`new_shared`](Async::new_shared).
    ///
    /// # Errors
    /// Those of `fcntl(2)`.
    pub fn new(io: T) -> io::Result<Async<T>> {
        sys::set_nonblocking(io.as_fd(), true)?;
        Ok(Async::new_shared(io))
    }

    /// Leaves the mode as it is. Where that is blocking, [`readable`](Async::readable) and [`writable`](Async::writable) work; but
    /// what is done afterwards blocks the thread if somebody else has been faster, and so does what reads or writes more than is
    /// there.
    #[must_use]
    pub fn new_shared(io: T) -> Async<T> {
        let source = Source::new(io.as_fd().as_raw_fd());
        Async {
            io: Some(io),
            source,
            polled: Slots::default(),
        }
    }

    /// Waits until a read would not wait: there is something, or the end, or an error. It may be gone again by the time that
    /// the caller reads.
    ///
    /// # Errors
    /// Where the kernel cannot wait for this descriptor.
    pub fn readable(&self) -> io::Result<()> {
        self.ready(Direction::Read)
    }

    /// Waits until a write would not wait.
    ///
    /// # Errors
    /// As [`readable`](Async::readable).
    pub fn writable(&self) -> io::Result<()> {
        self.ready(Direction::Write)
    }

    fn ready(&self, direction: Direction) -> io::Result<()> {
        // SAFETY: there are no buffers.
        #[expect(unsafe_code, reason = "an operation without buffers")]
        unsafe { crate::perform::perform(self.source, crate::reactor::Kind::Ready(direction), Patience::Unlimited) }
            .map(drop)
    }

    fn poll_ready(&self, direction: Direction, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.polled.poll(self.source, direction, context)
    }

    crate::watcher::polling!(self => self.poll_ready);

    /// Calls `f`, which must not block, and again whenever there is something to read, until it gives something else than
    /// `WouldBlock`.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use kapok::net::Async;
    /// use std::net::UdpSocket;
    ///
    /// kapok::run(|| -> std::io::Result<()> {
    ///     let socket = Async::new(UdpSocket::bind("127.0.0.1:0")?)?;
    ///     socket.get_ref().send_to(b"hello", socket.get_ref().local_addr()?)?;
    ///     let mut buf = [0; 16];
    ///     assert_eq!(socket.read_with(|socket| socket.recv(&mut buf))?, 5);
    ///     Ok(())
    /// })??;
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of `f` and of [`readable`](Async::readable).
    pub fn read_with<R>(&self, mut f: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        when_ready(self.source, Direction::Read, Patience::Unlimited, || f(self.get_ref()))
    }

    /// As [`read_with`](Async::read_with), for writing.
    ///
    /// # Errors
    /// Those of `f` and of [`writable`](Async::writable).
    pub fn write_with<R>(&self, mut f: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        when_ready(self.source, Direction::Write, Patience::Unlimited, || f(self.get_ref()))
    }

    /// What it was made of.
    pub fn get_ref(&self) -> &T {
        self.io()
    }

    /// What it was made of, again. The mode stays.
    #[must_use]
    pub fn into_inner(mut self) -> T {
        self.forget();
        self.take()
    }

    fn io(&self) -> &T {
        self.io.as_ref().expect("there until it is dropped")
    }

    fn take(&mut self) -> T {
        self.io.take().expect("there until it is dropped")
    }

    fn parts(&mut self) -> (Source, &mut T) {
        (self.source, self.io.as_mut().expect("there until it is dropped"))
    }

    #[cfg(feature = "futures-io")]
    pub(super) fn polled_parts(&mut self) -> (&Slots, Source, &mut T) {
        let io = self.io.as_mut().expect("there until it is dropped");
        (&self.polled, self.source, io)
    }

    fn forget(&self) {
        // Nobody knows who else has this open file.
        Worker::with(|worker| worker.into_iter().for_each(|worker| worker.forget(self.source, true)));
    }
}

impl<T: AsFd> Watchable for Async<T> {
    fn watched(&self) -> Watched<'_> {
        Watched::new(self.source)
    }
}

impl<T: AsFd> Drop for Async<T> {
    fn drop(&mut self) {
        if self.io.is_some() {
            self.forget();
        }
    }
}

impl<T: AsFd + Read> Read for Async<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (source, io) = self.parts();
        when_ready(source, Direction::Read, Patience::Unlimited, || io.read(buf))
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let (source, io) = self.parts();
        when_ready(source, Direction::Read, Patience::Unlimited, || io.read_vectored(bufs))
    }
}

impl<T: AsFd + Write> Write for Async<T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let (source, io) = self.parts();
        when_ready(source, Direction::Write, Patience::Unlimited, || io.write(buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let (source, io) = self.parts();
        when_ready(source, Direction::Write, Patience::Unlimited, || {
            io.write_vectored(bufs)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        let (source, io) = self.parts();
        when_ready(source, Direction::Write, Patience::Unlimited, || io.flush())
    }
}

impl<T: AsFd> Read for &Async<T>
where
    for<'a> &'a T: Read,
{
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_with(|mut io| io.read(buf))
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.read_with(|mut io| io.read_vectored(bufs))
    }
}

impl<T: AsFd> Write for &Async<T>
where
    for<'a> &'a T: Write,
{
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_with(|mut io| io.write(buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_with(|mut io| io.write_vectored(bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_with(|mut io| io.flush())
    }
}

impl<T: AsFd> AsFd for Async<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

impl<T: AsFd> AsRawFd for Async<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.source.fd
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for Async<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Async").field(self.get_ref()).finish()
    }
}
