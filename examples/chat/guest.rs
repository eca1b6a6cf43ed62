//! One guest: what is said here, in one fiber, and what is heard, in another.

use std::io::{self, BufReader, ErrorKind, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};

use kapok::fiber;
use kapok::net::TcpStream;
use kapok::sync::broadcast::{Receiver, RecvError};
use kapok::sync::{Mutex, PoisonError};

use crate::Options;
use crate::common::limit;
use crate::common::server::Connection;
use crate::line::{self, Line};
use crate::room::{Room, Said, Seat};

/// How much is written at a time.
const ENOUGH: usize = 16 * 1024;

const HELP: &str = "* /nick NAME, /who, /msg NAME TEXT, /quit; all else is said to everybody";

/// Serves one guest until it leaves.
pub(crate) fn serve(room: &Room, connection: &Connection, options: &Options) {
    let result = converse(room, connection, options);
    if let Err(error) = result {
        log::debug!("guest {}: {error}", connection.id);
    }
}

fn converse(room: &Room, connection: &Connection, options: &Options) -> io::Result<()> {
    let stream = &*connection.stream;
    stream.set_read_timeout(limit(options.idle_timeout))?;
    stream.set_write_timeout(limit(options.write_timeout))?;
    // Lines are written whole: one fiber writes what others say, the other one answers.
    let out = Out(Mutex::new(stream));
    let (mut seat, heard) = room.enter(connection.id);
    out.line(&format!("* welcome, {}; /help tells what you can do", seat.name()))?;
    let leaving = AtomicBool::new(false);
    fiber::scope(|scope| {
        let writer = scope.spawn(|| {
            if let Err(error) = pass_on(heard, connection.id, &out, &leaving) {
                log::debug!("guest {} does not read: {error}", connection.id);
                // It may still be talking.
                let _gone = stream.shutdown(Shutdown::Both);
            }
        });
        let last_word = match listen(&mut seat, stream, &out, options.max_line) {
            _ if connection.is_stopping() => "* the server stops",
            Ok(()) => "* bye",
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                "* you have said nothing for too long"
            }
            Err(error) => {
                writer.cancel();
                return Err(error);
            }
        };
        // After all that has been said before. If it is too late for that, the writer finds that it has missed something.
        leaving.store(true, Ordering::Release);
        seat.last_word(last_word);
        drop(writer.join());
        Ok(())
    })
}

/// Does what the guest says, until there is no more.
fn listen(seat: &mut Seat<'_>, stream: &TcpStream, out: &Out<'_>, max_line: usize) -> io::Result<()> {
    let mut input = BufReader::with_capacity(4096, stream);
    while let Some(line) = line::read(&mut input, max_line)? {
        let text = match line {
            Line::Text(text) => text,
            Line::TooLong => {
                out.line(&format!("* a line has at most {max_line} bytes"))?;
                continue;
            }
        };
        let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
        match word {
            "" if rest.is_empty() => {}
            "/quit" => return Ok(()),
            "/help" => out.line(HELP)?,
            "/who" => out.line(&format!("* here are: {}", seat.who().join(", ")))?,
            "/nick" => match seat.rename(rest.trim()) {
                Ok(()) => out.line(&format!("* you are now {}", seat.name()))?,
                Err(why) => out.line(&format!("* {why}"))?,
            },
            "/msg" => match rest.split_once(' ') {
                Some((name, text)) => {
                    if let Err(why) = seat.whisper(name, text) {
                        out.line(&format!("* {why}"))?;
                    }
                }
                None => out.line("* /msg NAME TEXT")?,
            },
            command if command.starts_with('/') => out.line(&format!("* what is {command}? {}", &HELP[2..]))?,
            _ => seat.say(&text),
        }
    }
    Ok(())
}

/// Writes what others say, as much at a time as there is, until the last word.
fn pass_on(mut heard: Receiver<Said>, id: u64, out: &Out<'_>, leaving: &AtomicBool) -> io::Result<()> {
    let mut lines = String::new();
    loop {
        let mut is_last = false;
        let mut next = heard.recv();
        // What has come meanwhile leaves in the same write.
        loop {
            match next {
                Ok(said) => is_last = said.add_to(&mut lines, id),
                Err(RecvError::Lagged(count)) => {
                    lines += &format!("* you have missed {count} lines\n");
                    is_last = leaving.load(Ordering::Acquire);
                }
                Err(RecvError::Empty) => break,
                Err(RecvError::Closed) => is_last = true,
            }
            if is_last || lines.len() >= ENOUGH {
                break;
            }
            next = heard.try_recv();
        }
        if !lines.is_empty() {
            out.write(&lines)?;
            lines.clear();
        }
        if is_last {
            return Ok(());
        }
    }
}

/// The way to one guest, for several fibers.
struct Out<'s>(Mutex<&'s TcpStream>);

impl Out<'_> {
    fn line(&self, line: &str) -> io::Result<()> {
        self.write(&format!("{line}\n"))
    }

    fn write(&self, lines: &str) -> io::Result<()> {
        // Held while it is written: nobody else's line comes in between.
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stream.write_all(lines.as_bytes())
    }
}
