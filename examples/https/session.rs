//! One connection: the handshake, requests and answers, and an end that is told to the client.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use kapok::net::TcpStream;
use kapok::timeout;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::Options;
use crate::common::limit;
use crate::common::server::Connection;
use crate::request::{self, Bad, Request};

/// What rustls makes of a connection: it only knows that it can be read and written.
type Tls<'s> = StreamOwned<ServerConnection, &'s TcpStream>;

/// Serves one client until it leaves.
pub(crate) fn serve(config: &Arc<ServerConfig>, connection: &Connection, options: &Options) {
    if let Err(error) = converse(config, connection, options) {
        log::debug!("{}: {error}", connection.peer);
    }
}

fn converse(config: &Arc<ServerConfig>, connection: &Connection, options: &Options) -> io::Result<()> {
    let stream = &*connection.stream;
    stream.set_nodelay(true)?;
    let session = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    let mut tls = StreamOwned::new(session, stream);
    // As a whole: a byte a minute does not extend it.
    timeout(options.handshake_timeout, || tls.conn.complete_io(&mut tls.sock))??;

    stream.set_read_timeout(limit(options.idle_timeout))?;
    stream.set_write_timeout(limit(options.idle_timeout))?;
    let answered = answer_all(&mut tls, connection, options);
    // Without it a client cannot tell the end from an attack that cuts the connection off.
    tls.conn.send_close_notify();
    let told = tls.flush();
    connection.part();
    answered.and(told)
}

/// Answers requests until there are no more.
fn answer_all(tls: &mut Tls<'_>, connection: &Connection, options: &Options) -> io::Result<()> {
    let mut input = Vec::new();
    loop {
        // Idle is what a client may be before the first byte; then the request has to come.
        if input.is_empty() && !wait_for_input(tls, &mut input)? {
            return Ok(());
        }
        let next = timeout(options.request_timeout, || {
            request::read(tls, &mut input, options.max_body)
        });
        let request = match next.unwrap_or(Err(Bad::Refused(408))) {
            Ok(request) => request,
            Err(Bad::End) => return Ok(()),
            Err(Bad::Refused(status)) => return reply(tls, status, "", "", false),
            Err(Bad::Broken(error)) => return Err(error),
        };
        let keep_alive = request.keep_alive && !connection.is_stopping();
        answer(tls, &request, keep_alive)?;
        if !keep_alive {
            return Ok(());
        }
    }
}

/// Waits for the first bytes of a request; false at the end of the connection, or where none come.
fn wait_for_input(tls: &mut Tls<'_>, input: &mut Vec<u8>) -> io::Result<bool> {
    let mut room = [0; 4096];
    loop {
        match tls.read(&mut room) {
            Ok(count) => {
                input.extend_from_slice(&room[..count]);
                return Ok(count > 0);
            }
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => {}
                // It has been idle, or has left without a word, as many do.
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::UnexpectedEof => return Ok(false),
                _ => return Err(error),
            },
        }
    }
}

fn answer(tls: &mut Tls<'_>, request: &Request, keep_alive: bool) -> io::Result<()> {
    let path = request.target.split('?').next().unwrap_or_default();
    match (request.method.as_str(), path) {
        ("GET" | "HEAD", "/") => {
            let version = tls.conn.protocol_version().and_then(|version| version.as_str());
            let suite = tls.conn.negotiated_cipher_suite().map(|suite| suite.suite());
            let suite = suite.and_then(|suite| suite.as_str()).unwrap_or("?");
            let text = format!("Hello over {}, {suite}!\n", version.unwrap_or("?"));
            reply(tls, 200, &request.method, &text, keep_alive)
        }
        ("POST", "/echo") => reply_with(tls, 200, &request.method, &request.body, keep_alive),
        (_, "/" | "/echo") => reply(tls, 405, &request.method, "", keep_alive),
        _ => reply(tls, 404, &request.method, "", keep_alive),
    }
}

/// An answer with a text; where there is none, the status says it.
fn reply(tls: &mut Tls<'_>, status: u16, method: &str, text: &str, keep_alive: bool) -> io::Result<()> {
    if text.is_empty() {
        let text = format!("{status} {}\n", reason(status));
        return reply_with(tls, status, method, text.as_bytes(), keep_alive);
    }
    reply_with(tls, status, method, text.as_bytes(), keep_alive)
}

fn reply_with(tls: &mut Tls<'_>, status: u16, method: &str, body: &[u8], keep_alive: bool) -> io::Result<()> {
    let connection = if keep_alive { "keep-alive" } else { "close" };
    let head = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n",
        reason(status),
        body.len()
    );
    // In one write, so that a small answer is one record.
    let body = if method == "HEAD" { &[] } else { body };
    tls.write_all(&[head.as_bytes(), body].concat())?;
    tls.flush()
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        _ => "Not Implemented",
    }
}
