//! Echo or plaintext HTTP on one of the peers, for `cargo bench --bench servers` to measure: `serve PEER echo|http`.
//!
//! All of them have one thread and the same `Conversation`: what differs is how bytes come and go. It prints
//! the address that it listens on, and serves until it is killed.

mod conversation;
mod on_hyper;
mod on_kapok;
mod on_may;
mod on_monoio;
mod on_smol;
mod on_tokio;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;

use conversation::{Conversation, Mode};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let served = match arguments[..] {
        [peer, "echo"] => serve(peer, Mode::Echo),
        [peer, "http"] => serve(peer, Mode::Http),
        _ => Err(io::Error::other("give a peer, and echo or http")),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("serve: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(peer: &str, mode: Mode) -> io::Result<()> {
    match peer {
        // On the reactor and engine that KAPOK_REACTOR and KAPOK_SWITCH name.
        "kapok" => on_kapok::serve(mode),
        "tokio" => on_tokio::serve(mode),
        "hyper" if mode == Mode::Http => on_hyper::serve(),
        "monoio" => on_monoio::serve(mode),
        "monoio-epoll" => on_monoio::serve_on_epoll(mode),
        "may" => on_may::serve(mode),
        "smol" => on_smol::serve(mode),
        _ => Err(io::Error::other(format!("there is no {peer} for this"))),
    }
}

/// Listens on a free port with a line as long as the raw servers', and says where.
fn listen() -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(4096)?;
    let listener = TcpListener::from(socket);
    println!("listening on {}", listener.local_addr()?);
    Ok(listener)
}

/// The same, for those who want to be told when there is nothing to be accepted.
fn listen_nonblocking() -> io::Result<TcpListener> {
    let listener = listen()?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// For streams that look as if they blocked.
fn converse(mut stream: impl Read + Write, mode: Mode) -> io::Result<()> {
    let mut conversation = Conversation::new(mode);
    loop {
        let count = stream.read(conversation.room())?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(conversation.received(count)?)?;
    }
}
