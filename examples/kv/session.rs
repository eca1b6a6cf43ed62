//! One client's life: its requests come in batches, and the answers to a batch leave in one write.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::Ordering;

use crate::common::limit;
use crate::common::server::Connection;
use crate::reply::Replies;
use crate::request::Parser;
use crate::store::{self, Time};
use crate::{Server, commands};

/// How much is read at a time, and what an idle connection keeps.
const ROOM: usize = 16 * 1024;
/// How much of answers may pile up before they are written, though more requests are there.
const ENOUGH: usize = 256 * 1024;

/// What commands know of who has sent them.
pub(crate) struct Session<'s> {
    pub(crate) server: &'s Server,
    /// `None` while the append-only file is replayed.
    pub(crate) client: Option<&'s Connection>,
    /// Whether it has given the password, if one is required.
    pub(crate) is_known: bool,
    pub(crate) name: Vec<u8>,
    pub(crate) replies: Replies,
    /// When the batch has come.
    pub(crate) now: Time,
    /// Whether something was changed since answers were written.
    pub(crate) has_changed: bool,
    /// Whether it is to be closed after the answers.
    pub(crate) has_quit: bool,
}

impl<'s> Session<'s> {
    pub(crate) fn new(server: &'s Server, client: Option<&'s Connection>) -> Session<'s> {
        Session {
            server,
            client,
            is_known: client.is_none() || server.password.is_none(),
            name: Vec::new(),
            replies: Replies::default(),
            now: store::now(),
            has_changed: false,
            has_quit: false,
        }
    }

    pub(crate) fn id(&self) -> i64 {
        self.client
            .map_or(0, |client| i64::try_from(client.id).unwrap_or(i64::MAX))
    }
}

/// Serves one client until it leaves.
pub(crate) fn serve(server: &Server, connection: &Connection) {
    server.clients.fetch_add(1, Ordering::Relaxed);
    let mut session = Session::new(server, Some(connection));
    match converse(&mut session, connection) {
        Ok(()) => connection.part(),
        Err(error) => log::debug!("client {}: {error}", connection.id),
    }
}

fn converse(session: &mut Session<'_>, connection: &Connection) -> io::Result<()> {
    let mut stream = &*connection.stream;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(limit(session.server.idle_timeout))?;
    stream.set_write_timeout(limit(session.server.write_timeout))?;
    let mut parser = Parser::new(session.server.limits);
    // What has been read, up to `end`.
    let (mut input, mut end) = (vec![0; ROOM], 0);
    while !session.has_quit {
        let count = match stream.read(&mut input[end..]) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        end += count;
        session.now = store::now();
        let used = answer_all(session, &mut parser, &input[..end], stream)?;
        flush(session, stream)?;
        input.copy_within(used..end, 0);
        end -= used;
        // Room for what is known to come, but never more than twice what has come: a length is only a promise.
        if end == input.len() {
            let room = parser.expects().min(2 * end).max(end + ROOM);
            input.resize(room, 0);
        } else if end == 0 && input.len() > 4 * ROOM {
            input = vec![0; ROOM];
        }
    }
    Ok(())
}

/// Answers all requests that are complete, and gives how many bytes those were.
fn answer_all(
    session: &mut Session<'_>,
    parser: &mut Parser,
    input: &[u8],
    stream: impl Write + Copy,
) -> io::Result<usize> {
    let (mut used, mut count) = (0, 0);
    while !session.has_quit {
        // The request before may have been the password.
        parser.is_known = session.is_known;
        match parser.parse(&input[used..]) {
            Ok(Some(length)) => {
                commands::run(session, parser.arguments(&input[used..]));
                parser.finish();
                used += length;
                count += 1;
            }
            Ok(None) => break,
            Err(broken) => {
                session.replies.error(&format!("ERR Protocol error: {broken}"));
                session.has_quit = true;
            }
        }
        // Bounds what a client that does not read can make the server hold.
        if session.replies.bytes.len() >= ENOUGH {
            flush(session, stream)?;
        }
    }
    session.server.commands.fetch_add(count, Ordering::Relaxed);
    Ok(used)
}

fn flush(session: &mut Session<'_>, mut stream: impl Write) -> io::Result<()> {
    if !session.replies.bytes.is_empty() {
        if let Some(log) = session.server.store.log() {
            // Where it cannot be written, those who only look are answered all the same.
            if session.has_changed || log.is_written() {
                log.commit()?;
            }
        }
        session.has_changed = false;
        stream.write_all(&session.replies.bytes)?;
        session.replies.bytes.clear();
        session.replies.bytes.shrink_to(4 * ROOM);
    }
    Ok(())
}
