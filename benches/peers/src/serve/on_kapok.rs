//! Kapok, one fiber a connection, without what the examples `echo` and `httpd` do beside.

use std::io;

use kapok::net::TcpListener;

use crate::conversation::Mode;

pub(crate) fn serve(mode: Mode) -> io::Result<()> {
    kapok::runtime::Builder::new().workers(1).run(move || {
        let listener = TcpListener::from(crate::listen()?);
        loop {
            let (stream, _) = listener.accept()?;
            stream.set_nodelay(mode == Mode::Http)?;
            drop(kapok::spawn(move || crate::converse(&stream, mode)));
        }
    })?
}
