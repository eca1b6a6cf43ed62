//! The bytes of one connection: buffered, limited in size, and limited in time.

use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::net::Shutdown;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::connections::Peer;
use crate::head_scan::HeadScan;
use crate::options::Limits;
use crate::reply::{Refusal, Status};
use crate::room::{NEAR, Room};
use crate::spare;

/// Longest line of a chunked body.
const LINE_MAX: usize = 8 * 1024;
/// Room for input that a connection keeps from one request to the next.
const SMALL: usize = 4 * 1024;
/// How long a connection may wait before it gives back what it does not need for waiting.
const REST: Duration = Duration::from_secs(1);
/// How much of pipelined answers may pile up before it is written.
const OUTPUT_ENOUGH: usize = 64 * 1024;
/// How long to listen to a client that has been told good-bye.
const LINGER: Duration = Duration::from_secs(2);

/// Why a conversation is over.
pub(crate) enum End {
    /// The client closed, or was idle for too long. Nothing is owed to it.
    Left,
    /// An answer said `Connection: close`.
    Agreed,
    /// The client is to be told what it did wrong; after that, where its next request starts is unknowable.
    Refused(Refusal),
    /// The connection or the file failed.
    Broken(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// One connection's two directions.
///
/// It holds two rules of its own. What is in `output` is written before anyone waits for the client: so answers to pipelined
/// requests leave together, and a lone request costs one `read` and one `write`. And who waits for a request has no memory but
/// its stack, and for a second the room that the request before has taken, if that was a large one.
pub(crate) struct Wire<'c> {
    peer: &'c Peer,
    limits: Limits,
    /// `unread` says which part of it holds any.
    input: Room<'c>,
    unread: Range<usize>,
    /// What the socket's time-out for reading is; zero is none.
    read_timeout: Duration,
    /// Whether the last read filled all the room it had: the kernel may hold more.
    more_is_waiting: bool,
    /// What has been said but not written yet.
    pub(crate) output: Vec<u8>,
}

impl<'c> Wire<'c> {
    pub(crate) fn new(peer: &'c Peer, limits: Limits, near: &'c mut [u8; NEAR]) -> Self {
        // Answers leave in as few writes as there can be: nothing is gained by the kernel holding one back. These calls
        // fail only for a connection that is gone, which the first read tells as well.
        let _gone = peer.stream.set_nodelay(true);
        let _gone = peer.stream.set_write_timeout(Some(limits.write));
        Self {
            peer,
            limits,
            input: Room::new(near),
            unread: 0..0,
            read_timeout: Duration::ZERO,
            more_is_waiting: false,
            output: Vec::new(),
        }
    }

    /// Moves the next request's head into `head`, blank line included; waits for it if need be.
    pub(crate) fn read_head(&mut self, head: &mut Vec<u8>) -> Result<(), End> {
        head.clear();
        let mut scan = HeadScan::default();
        let mut deadline = None;
        let mut blank_line_skipped = false;
        loop {
            if self.unread.is_empty() {
                spare::give_back(mem::take(head));
                self.wait_for_a_request()?;
                *head = spare::take();
            }
            // Old clients end a request body with one CRLF too many.
            if !blank_line_skipped && self.unread().starts_with(b"\r\n") {
                blank_line_skipped = true;
                self.consume(2);
                scan = HeadScan::default();
                continue;
            }
            if let Some(length) = scan.find_end(self.unread())? {
                let start = self.unread.start;
                head.extend_from_slice(&self.input.bytes()[start..start + length]);
                self.consume(length);
                return Ok(());
            }
            // One moment is the limit for the whole head: a byte a minute does not extend it.
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + self.limits.request);
            self.fill_until(deadline)?;
        }
    }

    /// Drops the next `count` bytes of input.
    pub(crate) fn skip(&mut self, count: u64, deadline: Instant) -> Result<(), End> {
        let mut left = count;
        loop {
            let here = usize::try_from(left).unwrap_or(usize::MAX).min(self.unread.len());
            self.consume(here);
            left -= here as u64;
            if left == 0 {
                return Ok(());
            }
            self.fill_until(deadline)?;
        }
    }

    /// The next line of input without its CRLF.
    pub(crate) fn line(&mut self, deadline: Instant) -> Result<&[u8], End> {
        let bad_line = Refusal {
            status: Status::BadRequest,
            reason: "a line of the chunked body is too long or not ended by CRLF",
        };
        let mut searched = 0;
        let length = loop {
            if let Some(at) = self.unread()[searched..].iter().position(|&byte| byte == b'\n') {
                break searched + at;
            }
            searched = self.unread.len();
            if searched > LINE_MAX {
                return Err(bad_line.into());
            }
            self.fill_until(deadline)?;
        };
        let start = self.unread.start;
        self.consume(length + 1);
        match self.input.bytes()[start..start + length].strip_suffix(b"\r") {
            Some(line) if !line.contains(&b'\r') => Ok(line),
            _ => Err(bad_line.into()),
        }
    }

    /// Writes everything that has been said so far.
    pub(crate) fn flush(&mut self) -> Result<(), End> {
        if !self.output.is_empty() {
            (&self.peer.stream).write_all(&self.output)?;
            self.output.clear();
        }
        Ok(())
    }

    /// Bounds what a client that pipelines but does not read can make the server hold.
    pub(crate) fn flush_if_large(&mut self) -> Result<(), End> {
        if self.output.len() >= OUTPUT_ENOUGH {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Whether everything that the client has sent, as far as can be known, has been looked at.
    pub(crate) fn is_drained(&self) -> bool {
        self.unread.is_empty() && !self.more_is_waiting
    }

    /// Whether input is at hand without another read.
    pub(crate) fn has_input(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Writes what is left to say, says that nothing follows, and hears the client out for a while.
    ///
    /// A plain close with unread input would reset the connection and destroy an answer that is still on its way.
    pub(crate) fn linger(&mut self) {
        if self.flush().is_err() || self.peer.stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let deadline = Instant::now() + LINGER;
        self.unread = 0..0;
        while self.fill_until(deadline).is_ok() {
            self.unread = 0..0;
        }
    }

    /// Waits for the first bytes of a request; the one wait that a stopping server may end.
    fn wait_for_a_request(&mut self) -> Result<(), End> {
        self.flush()?;
        spare::give_back(mem::take(&mut self.output));
        if self.input.bytes().len() > SMALL {
            self.input.shrink();
        }
        self.peer.idle.store(true, Ordering::Relaxed);
        let arrived = match self.fill(self.limits.idle.min(REST)) {
            Err(End::Broken(error)) if is_timeout(&error) && self.limits.idle > REST => {
                self.rest(self.limits.idle - REST)
            }
            other => other,
        };
        self.peer.idle.store(false, Ordering::Relaxed);
        match arrived {
            Ok(()) => {
                self.output = spare::take();
                Ok(())
            }
            Err(End::Broken(error)) if is_timeout(&error) => Err(End::Left),
            other => other,
        }
    }

    /// Goes on waiting with next to nothing: many clients come back late, or never.
    #[cold]
    #[inline(never)]
    fn rest(&mut self, timeout: Duration) -> Result<(), End> {
        self.input.shrink();
        kapok::stack::shrink();
        self.fill(timeout)
    }

    /// Waits for more input until a deadline that a client must not miss.
    fn fill_until(&mut self, deadline: Instant) -> Result<(), End> {
        let late = End::Refused(Refusal {
            status: Status::RequestTimeout,
            reason: "the request took too long to arrive",
        });
        match deadline.checked_duration_since(Instant::now()) {
            None | Some(Duration::ZERO) => Err(late),
            Some(left) => match self.fill(left) {
                Err(End::Broken(error)) if is_timeout(&error) => Err(late),
                other => other,
            },
        }
    }

    /// Reads once, into room that grows with need. What has been said is written first.
    fn fill(&mut self, timeout: Duration) -> Result<(), End> {
        self.flush()?;
        if self.unread.start > 0 {
            self.input.bytes_mut().copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        if self.unread.end == self.input.bytes().len() {
            self.input.grow();
        }
        if self.read_timeout != timeout {
            self.peer.stream.set_read_timeout(Some(timeout))?;
            self.read_timeout = timeout;
        }
        let room = &mut self.input.bytes_mut()[self.unread.end..];
        let count = loop {
            match (&self.peer.stream).read(room) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.more_is_waiting = count == room.len();
        self.unread.end += count;
        if count == 0 { Err(End::Left) } else { Ok(()) }
    }

    fn unread(&self) -> &[u8] {
        &self.input.bytes()[self.unread.clone()]
    }

    fn consume(&mut self, count: usize) {
        self.unread.start += count;
        if self.unread.is_empty() {
            self.unread = 0..0;
        }
    }
}

/// The socket's time-outs show as `WouldBlock`, as in std on Unix.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
