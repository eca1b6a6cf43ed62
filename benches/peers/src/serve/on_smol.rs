//! smol, its executor for one thread.

use std::io;
use std::rc::Rc;

use smol::LocalExecutor;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};

use crate::conversation::{Conversation, Mode};

pub(crate) fn serve(mode: Mode) -> io::Result<()> {
    let executor = Rc::new(LocalExecutor::new());
    smol::block_on(executor.run(async {
        let listener = TcpListener::try_from(crate::listen_nonblocking()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(mode == Mode::Http)?;
            executor.spawn(converse(stream, mode)).detach();
        }
    }))
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
