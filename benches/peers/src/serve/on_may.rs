//! may, with one worker, one coroutine a connection.

use std::io;

use may::net::TcpListener;

use crate::conversation::Mode;

pub(crate) fn serve(mode: Mode) -> io::Result<()> {
    may::config().set_workers(1);
    let accepting = may::go!(move || -> io::Result<()> {
        // It has no way to take a listener that is there already, and its line is shorter: 1024.
        let listener = TcpListener::bind("127.0.0.1:0")?;
        println!("listening on {}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept()?;
            stream.set_nodelay(mode == Mode::Http)?;
            may::go!(move || crate::converse(stream, mode));
        }
    });
    accepting
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("it has panicked")))
}
