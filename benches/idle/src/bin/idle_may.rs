//! The loop of `idle` on may.

use std::io::{Read, Write};

use may::net::TcpListener;

const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

fn main() -> std::io::Result<()> {
    may::config().set_workers(2);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    loop {
        let (mut stream, _) = listener.accept()?;
        may::go!(move || {
            let mut bytes = [0; 1024];
            while stream.read(&mut bytes).is_ok_and(|len| len > 0) && stream.write_all(ANSWER).is_ok() {}
        });
    }
}
