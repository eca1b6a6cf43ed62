//! tokio, its runtime for the current thread.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::conversation::{Conversation, Mode};

pub(crate) fn serve(mode: Mode) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(crate::listen_nonblocking()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(mode == Mode::Http)?;
            tokio::spawn(converse(stream, mode));
        }
    })
}

async fn converse(mut stream: TcpStream, mode: Mode) -> io::Result<()> {
    let mut conversation = Conversation::new(mode);
    loop {
        let count = stream.read(conversation.room()).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(conversation.received(count)?).await?;
    }
}
