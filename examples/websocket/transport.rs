//! What tungstenite is given to read and write.

use std::io::{self, Read, Write};

use kapok::net::TcpStream;

/// A stream whose reads wait or do not, as it is told; its writes always do.
#[derive(Clone, Copy)]
pub(crate) struct Transport<'s> {
    pub(crate) stream: &'s TcpStream,
    pub(crate) waits: bool,
}

impl Read for Transport<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.waits {
            return self.stream.read(buf);
        }
        // The mode is Kapok's own: no system call is made for it.
        self.stream.set_nonblocking(true)?;
        let result = self.stream.read(buf);
        self.stream.set_nonblocking(false)?;
        result
    }
}

impl Write for Transport<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.stream.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
