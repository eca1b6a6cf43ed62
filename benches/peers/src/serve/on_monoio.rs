//! monoio on `io_uring`, or on epoll by its driver for older systems. Buffers travel into the operations and back, so it has a loop of its own.

use std::io;

use monoio::buf::{IoBufMut, SliceMut};
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

use crate::conversation::{self, Mode};

const PIECE: usize = 4096;

pub(crate) fn serve(mode: Mode) -> io::Result<()> {
    let mut runtime = RuntimeBuilder::<IoUringDriver>::new().with_entries(4096).build()?;
    runtime.block_on(accept(mode))
}

pub(crate) fn serve_on_epoll(mode: Mode) -> io::Result<()> {
    let mut runtime = RuntimeBuilder::<LegacyDriver>::new().build()?;
    runtime.block_on(accept(mode))
}

async fn accept(mode: Mode) -> io::Result<()> {
    let listener = TcpListener::from_std(crate::listen_nonblocking()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(mode == Mode::Http)?;
        monoio::spawn(async move {
            match mode {
                Mode::Echo => echo(stream).await,
                Mode::Http => http(stream).await,
            }
        });
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(PIECE);
    loop {
        let (count, read) = stream.read(bytes).await;
        if count? == 0 {
            return Ok(());
        }
        let (written, back) = stream.write_all(read).await;
        written?;
        bytes = back;
    }
}

async fn http(mut stream: TcpStream) -> io::Result<()> {
    let (mut input, mut output) = (Vec::with_capacity(PIECE), Vec::new());
    loop {
        // The vector's length is what is there of a request, and grows by what comes.
        let filled = input.len();
        if filled == PIECE {
            return Err(io::Error::other("the request is too long"));
        }
        let (count, read): (_, SliceMut<Vec<u8>>) = stream.read(input.slice_mut(filled..PIECE)).await;
        input = read.into_inner();
        if count? == 0 {
            return Ok(());
        }
        output.clear();
        let used = conversation::answer(&input, &mut output)?;
        input.drain(..used);
        if !output.is_empty() {
            let (written, back) = stream.write_all(output).await;
            written?;
            output = back;
        }
    }
}
