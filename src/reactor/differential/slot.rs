//! What should be true of a channel: what has come for the reactor's end and was not read, and what was written. It is kept
//! by the script's side alone, so that what a backend says can be held against it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::super::op::Source;
use super::channel::{self, Ends};
use super::script::Channel;
use crate::sys::Direction;

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) channel: Channel,
    pub(super) source: Source,
    pub(super) ours: OwnedFd,
    pub(super) theirs: Option<OwnedFd>,
    /// What else has to stay open.
    pub(super) company: Vec<OwnedFd>,
    pub(super) incoming: Incoming,
    pub(super) outgoing: Outgoing,
    /// Numbers of the operations that wait, in the order in which they have to end; the two directions.
    waiting: [VecDeque<usize>; 2],
    pub(super) since: Since,
    /// Of an unconnected socket: a connect was tried.
    pub(super) tried: bool,
    /// Nothing more can be foretold of it; it is only good for being forgotten.
    pub(super) spoilt: bool,
}

/// What comes.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// Bytes sent, which is where in the pattern the next one is.
    pub(super) sent: usize,
    pub(super) received: usize,
    /// Messages that were not received, by their length.
    pub(super) messages: VecDeque<usize>,
    /// Who connected and was not accepted.
    pub(super) clients: VecDeque<(u8, OwnedFd)>,
    pub(super) connected: u8,
    /// Nothing more comes, and no read waits.
    pub(super) ended: bool,
    /// An error waits for whoever asks next, in either direction.
    pub(super) error: bool,
    /// The connection was reset: which direction hears of it first is nobody's business.
    pub(super) reset: bool,
}

/// What goes.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// Where in the pattern the next write begins.
    pub(super) position: usize,
    /// What the kernel took and the peer has not been seen to read, one for each write.
    taken: VecDeque<Vec<u8>>,
    /// What the peer has read and was not compared.
    got: VecDeque<Vec<u8>>,
    /// There is no room, and what waits may go on waiting.
    pub(super) full: bool,
    /// Writes fail, or are of no use.
    pub(super) closed: bool,
}

/// What has happened to a channel since the reactor was last seen to have done all it could. Backends may have got
/// differently far with it, so no decision may depend on that.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Since {
    pub(super) reads: usize,
    pub(super) writes: usize,
    /// Bytes or connections have come.
    pub(super) came: bool,
    pub(super) ended: bool,
    pub(super) cancelled: bool,
    /// Operations of a direction that waited then.
    pub(super) waited: [usize; 2],
    /// A read would have waited then.
    pub(super) dry: bool,
    /// What could be read then, and what has come since.
    pub(super) unread: usize,
    /// What the peer could have read then, and what was written since.
    pub(super) unseen: usize,
}

impl Slot {
    pub(super) fn new(channel: Channel, ends: Ends) -> Slot {
        let source = Source::new(ends.ours.as_raw_fd());
        let mut slot = Slot {
            channel,
            source,
            ours: ends.ours,
            theirs: ends.theirs,
            company: Vec::new(),
            incoming: Incoming::default(),
            outgoing: Outgoing::default(),
            waiting: Default::default(),
            since: Since::default(),
            tried: false,
            spoilt: false,
        };
        slot.settled();
        slot
    }

    pub(super) fn fd(&self) -> RawFd {
        self.ours.as_raw_fd()
    }

    pub(super) fn waiting(&mut self, direction: Direction) -> &mut VecDeque<usize> {
        &mut self.waiting[index_of(direction)]
    }

    pub(super) fn waits(&self, direction: Direction) -> &VecDeque<usize> {
        &self.waiting[index_of(direction)]
    }

    /// Operations of a direction may be under way.
    pub(super) fn is_busy(&self, direction: Direction) -> bool {
        let begun = match direction {
            Direction::Read => self.since.reads,
            Direction::Write => self.since.writes,
        };
        self.since.waited[index_of(direction)] + begun > 0
    }

    /// The reactor has done all it could.
    pub(super) fn settled(&mut self) {
        self.since = Since {
            waited: [self.waiting[0].len(), self.waiting[1].len()],
            dry: !self.can_read(),
            unread: self.unread(),
            unseen: self.unseen(),
            ..Since::default()
        };
    }

    /// Bytes, messages or connections that are there.
    pub(super) fn unread(&self) -> usize {
        if self.channel.has_messages() {
            self.incoming.messages.len()
        } else if self.channel.is_listener() {
            self.incoming.clients.len()
        } else {
            self.incoming.sent - self.incoming.received
        }
    }

    /// A read does not have to wait.
    pub(super) fn can_read(&self) -> bool {
        let unconnected = self.channel == Channel::Unconnected && !self.outgoing.full && !self.spoilt;
        self.unread() > 0 || self.incoming.ended || self.incoming.error || unconnected
    }

    /// Bytes or messages that the peer has not been seen to read.
    pub(super) fn unseen(&self) -> usize {
        if self.channel.has_messages() {
            self.outgoing.taken.len()
        } else {
            self.outgoing.taken.iter().map(Vec::len).sum()
        }
    }

    /// The bytes that the peer sends next.
    pub(super) fn next_incoming(&mut self, len: usize) -> Vec<u8> {
        let from = self.incoming.sent;
        self.incoming.sent += len;
        if self.channel.has_messages() {
            self.incoming.messages.push_back(len);
        }
        pattern(from, len)
    }

    /// What a read of `len` bytes that got `n` has to be held against; an error says what is wrong.
    pub(super) fn take(&mut self, len: usize, n: usize, bytes: &[u8], peek: bool) -> Result<(), String> {
        let from = self.incoming.received;
        let mut whole = n;
        if self.channel.has_messages() {
            let Some(&message) = self.incoming.messages.front() else {
                return if self.incoming.ended && n == 0 {
                    Ok(())
                } else {
                    Err(format!("{n} bytes of no message"))
                };
            };
            if n != message.min(len) {
                return Err(format!("{n} bytes of a message of {message}, into {len}"));
            }
            whole = message;
            if !peek {
                self.incoming.messages.pop_front();
            }
        } else if n > self.unread() {
            return Err(format!("{n} bytes, where {} had come", self.unread()));
        } else if n == 0 && (self.unread() > 0 || !self.incoming.ended) {
            return Err(format!("an end, before {} bytes more", self.unread()));
        }
        if bytes != pattern(from, n) {
            return Err(format!("other bytes than were sent, from {from} on"));
        }
        if !peek {
            self.incoming.received += whole;
        }
        Ok(())
    }

    /// The kernel took these bytes of a write.
    pub(super) fn wrote(&mut self, bytes: &[u8]) {
        self.outgoing.taken.push_back(bytes.to_vec());
    }

    /// The peer reads once, if there is something.
    pub(super) fn pull(&mut self) -> io::Result<bool> {
        let Some(theirs) = &self.theirs else { return Ok(false) };
        let mut buf = vec![0; 64 << 10];
        match channel::read_some(theirs.as_raw_fd(), &mut buf)? {
            None | Some(0) => Ok(false),
            Some(n) => {
                buf.truncate(n);
                self.outgoing.got.push_back(buf);
                Ok(true)
            }
        }
    }

    /// The peer reads all that the kernel took, and finds it in order.
    pub(super) fn pull_all(&mut self) -> Result<(), String> {
        let Some(theirs) = self.theirs.as_ref().map(AsRawFd::as_raw_fd) else {
            return Ok(());
        };
        let messages = self.channel.has_messages();
        let size = |list: &VecDeque<Vec<u8>>| {
            if messages {
                list.len()
            } else {
                list.iter().map(Vec::len).sum()
            }
        };
        while size(&self.outgoing.got) < size(&self.outgoing.taken) {
            match self.pull() {
                Ok(true) => {}
                Ok(false) => channel::wait_for(theirs, libc::POLLIN).map_err(|error| {
                    let (got, taken) = (size(&self.outgoing.got), size(&self.outgoing.taken));
                    format!("the peer has got {got} of {taken}: {error}")
                })?,
                Err(error) => return Err(format!("the peer cannot read: {error}")),
            }
        }
        let taken = std::mem::take(&mut self.outgoing.taken);
        let got = std::mem::take(&mut self.outgoing.got);
        let equal = if messages {
            got == taken
        } else {
            got.iter().flatten().eq(taken.iter().flatten())
        };
        if equal {
            Ok(())
        } else {
            Err("the peer has got other bytes than were written".to_owned())
        }
    }
}

fn index_of(direction: Direction) -> usize {
    match direction {
        Direction::Read => 0,
        Direction::Write => 1,
    }
}

/// Bytes that repeat only far away, so that what is lost, doubled or exchanged shows.
pub(super) fn pattern(from: usize, len: usize) -> Vec<u8> {
    (from..from + len)
        .map(|position| ((position as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect()
}
