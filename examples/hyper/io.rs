//! hyper's view of a runtime: a stream that tasks read and write, and timers.

use std::future::{Future, IntoFuture};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{self, ReadBufCursor};
use kapok::fiber;
use kapok::future::JoinFuture;
use kapok::net::TcpStream;

/// A Kapok stream in non-blocking mode, with which hyper waits in both directions at once.
pub(crate) struct Io(TcpStream);

impl Io {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Io> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Io(stream))
    }
}

/// Repeats what would block, each time when the stream is `ready`.
fn poll<T>(
    mut attempt: impl FnMut() -> io::Result<T>,
    mut ready: impl FnMut() -> Poll<io::Result<()>>,
) -> Poll<io::Result<T>> {
    loop {
        match attempt() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => ready!(ready())?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return Poll::Ready(result),
        }
    }
}

impl rt::Read for Io {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        // What hyper lends is not initialised, and a slice of safe code has to be.
        let mut buf = [0; 8192];
        let room = into.remaining().min(buf.len());
        let count = ready!(poll(
            || (&self.0).read(&mut buf[..room]),
            || self.0.poll_readable(context)
        ))?;
        into.put_slice(&buf[..count]);
        Poll::Ready(Ok(()))
    }
}

impl rt::Write for Io {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        poll(|| (&self.0).write(buf), || self.0.poll_writable(context))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        poll(|| (&self.0).write_vectored(bufs), || self.0.poll_writable(context))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0.shutdown(Shutdown::Write) {
            Err(error) if error.kind() == ErrorKind::NotConnected => Poll::Ready(Ok(())), // it has gone already
            result => Poll::Ready(result),
        }
    }
}

/// Timers for hyper: each is a fiber that sleeps.
#[derive(Clone, Debug)]
pub(crate) struct Timers;

impl rt::Timer for Timers {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(Sleep::until(deadline))
    }
}

/// Ends the fiber when it is dropped.
pub(crate) struct Sleep(JoinFuture<()>);

impl Sleep {
    pub(crate) fn until(deadline: Instant) -> Sleep {
        Sleep(kapok::spawn_local(move || fiber::sleep_until(deadline)).into_future())
    }
}

impl rt::Sleep for Sleep {}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // It may be polled again when it is over.
        if self.0.is_finished() {
            return Poll::Ready(());
        }
        Pin::new(&mut self.0).poll(context).map(drop)
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
