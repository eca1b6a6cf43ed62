//! `futures-io`'s traits for streams: what async code reads and writes through.
//!
//! A call that would block has the task woken when the socket is ready ([`Slots`](crate::watcher::Slots)), so one task may
//! wait in both directions, and for many sockets.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

use super::any::Async;
use super::socket::Socket;
use super::{TcpStream, UnixStream};
use crate::perform::{self, Patience};
use crate::sys::Direction;

/// Calls `attempt`, which never waits, until it does something else than fail with `WouldBlock`; `poll` says when that is worth
/// while.
fn poll_with<T>(
    context: &mut Context<'_>,
    mut attempt: impl FnMut() -> io::Result<T>,
    poll: impl Fn(&mut Context<'_>) -> Poll<io::Result<()>>,
) -> Poll<io::Result<T>> {
    // To be suspended here would keep the other parts of the task waiting, and what it has locked.
    if perform::is_to_let_others_run() {
        context.waker().wake_by_ref();
        return Poll::Pending;
    }
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(poll(context))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return Poll::Ready(result),
        }
    }
}

fn poll_read(socket: &Socket, context: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
    let attempt = || socket.recv_with(buf, 0, Patience::None);
    poll_with(context, attempt, |context| socket.poll_ready(Direction::Read, context))
}

fn poll_write(socket: &Socket, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
    let attempt = || socket.send_with(buf, Patience::None);
    poll_with(context, attempt, |context| socket.poll_ready(Direction::Write, context))
}

fn poll_write_vectored(socket: &Socket, context: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
    // As std, whose writev(2) asks the socket nothing then.
    if bufs.iter().all(|buf| buf.is_empty()) {
        return Poll::Ready(Ok(0));
    }
    let attempt = || socket.send_message(bufs, None, &[], Patience::None);
    poll_with(context, attempt, |context| socket.poll_ready(Direction::Write, context))
}

/// There is no buffer to be sent first. A peer that has gone already needs not be told.
fn close(socket: &Socket) -> io::Result<()> {
    match socket.shutdown(Shutdown::Write) {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        result => result,
    }
}

macro_rules! stream {
    ($($stream:ty),*) => {
        $(
            /// With the feature `futures-io`. Time-outs and the non-blocking mode of the stream are not heeded. One task at a
            /// time waits in a direction, see `poll_readable`.
            impl AsyncRead for $stream {
                fn poll_read(
                    self: Pin<&mut Self>,
                    context: &mut Context<'_>,
                    buf: &mut [u8],
                ) -> Poll<io::Result<usize>> {
                    poll_read(self.socket(), context, buf)
                }
            }

            /// With the feature `futures-io`, as reading. Closing ends the direction of writing.
            impl AsyncWrite for $stream {
                fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                    poll_write(self.socket(), context, buf)
                }

                fn poll_write_vectored(
                    self: Pin<&mut Self>,
                    context: &mut Context<'_>,
                    bufs: &[IoSlice<'_>],
                ) -> Poll<io::Result<usize>> {
                    poll_write_vectored(self.socket(), context, bufs)
                }

                fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                    Poll::Ready(Ok(()))
                }

                fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                    Poll::Ready(close(self.socket()))
                }
            }
        )*
    };
}

stream!(TcpStream, &TcpStream, UnixStream, &UnixStream);

/// With the feature `futures-io`. For a descriptor in non-blocking mode: what `T` does must not block.
impl<T: AsFd + Read + Unpin> AsyncRead for Async<T> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_io(Direction::Read, context, |io| io.read(buf))
    }
}

/// With the feature `futures-io`, as reading. Closing flushes, and no more.
impl<T: AsFd + Write + Unpin> AsyncWrite for Async<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_io(Direction::Write, context, |io| io.write(buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_io(Direction::Write, context, |io| io.write_vectored(bufs))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_io(Direction::Write, context, |io| io.flush())
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}

impl<T: AsFd> Async<T> {
    fn poll_io<R>(
        &mut self,
        direction: Direction,
        context: &mut Context<'_>,
        mut attempt: impl FnMut(&mut T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        let (polled, source, io) = self.polled_parts();
        poll_with(
            context,
            || attempt(io),
            |context| polled.poll(source, direction, context),
        )
    }
}
