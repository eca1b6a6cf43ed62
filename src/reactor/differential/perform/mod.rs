//! What each action of a script does. Where the reactor may have got differently far with what was begun before, and it
//! would matter, it takes its turn first.

mod connections;
mod ends;
mod room;
mod transfer;

use std::net::Shutdown;
use std::os::fd::RawFd;
use std::time::Instant;

use super::super::Backend;
use super::channel::{self, Ends};
use super::run::{Check, Runner};
use super::script::{Action, Afterwards, Channel, Duplicate};
use super::slot::Slot;
use crate::sys::socket;

/// What may lie unread in a channel, in bytes and in messages or connections, without anybody having to wait for room.
const MOST_BYTES: usize = 3000;
const MOST_MESSAGES: usize = 3;
/// Operations in line in one direction.
const MOST_WAITING: usize = 6;

fn said<T>(what: &str, result: std::io::Result<T>) -> Check<T> {
    result.map_err(|error| format!("{what}: {error}"))
}

/// Shuts a direction down; both ends may have done so already.
fn shut(fd: RawFd, how: Shutdown) -> Check {
    match socket::shutdown(fd, how) {
        Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => Ok(()),
        result => said("shutdown", result),
    }
}

impl Runner<'_> {
    pub(super) fn perform(&mut self, action: Action) -> Check {
        match action {
            Action::Open { slot, channel } => self.open(slot, channel),
            Action::Read { slot, form, len } => self.read(slot, form, len),
            Action::Write { slot, form, len } => self.write(slot, form, len),
            Action::Accept { slot } => self.accept(slot),
            Action::Connect { slot, target, behind } => self.connect(slot, target, behind),
            Action::PeerWrites { slot, len } => self.peer_writes(slot, len),
            Action::PeerReads { slot } => self.peer_reads(slot),
            Action::PeerConnects { slot } => self.peer_connects(slot),
            Action::Shutdown { slot, half } => self.shutdown(slot, half),
            Action::PeerShutsDown { slot, half } => self.peer_shuts_down(slot, half),
            Action::PeerCloses { slot, reset } => self.peer_closes(slot, reset),
            Action::Cancel { slot, nth, twice } => self.cancel_one(slot, nth, twice),
            Action::CancelAll { slot } => self.cancel_slot(slot),
            Action::CancelLate { slot, nth, arrival } => self.cancel_late(slot, nth, arrival),
            Action::Forget { slot, duplicate, then } => self.forget(slot, duplicate, then),
            Action::Haunt => self.haunt(),
            Action::Fill { slot, len, more } => self.fill(slot, len, more),
            Action::Relieve { slot, relief } => self.relieve(slot, relief),
            Action::Drain { slot, len } => self.drain(slot, len),
            Action::Urgent { slot, before, after } => self.urgent(slot, before, after),
            Action::Ring => self.ring(),
        }
    }

    /// The place, if there is something in it with which something can be done.
    fn usable(&mut self, slot: usize) -> Option<&mut Slot> {
        self.slots[slot].as_mut().filter(|place| !place.spoilt)
    }

    fn open(&mut self, slot: usize, channel: Channel) -> Check {
        if self.slots[slot].is_some() {
            return Ok(());
        }
        let mut ends = said("open", Ends::open(self.ground, channel))?;
        ends.ours = said("dup", channel::move_to(ends.ours, self.number_of(slot)))?;
        self.slots[slot] = Some(Slot::new(channel, ends));
        Ok(())
    }

    fn ring(&mut self) -> Check {
        let begin = Instant::now();
        self.reactor().bell().ring();
        let patience = self.patience();
        self.turn(patience)?;
        if begin.elapsed() >= patience {
            return Err("a ring of the bell was lost".to_owned());
        }
        self.settle() // how far that turn came is a backend's own affair
    }

    /// Reads and has read what is left at the end of a script.
    pub(super) fn finish_slot(&mut self, slot: usize) -> Check {
        if self.usable(slot).is_none() {
            return Ok(());
        }
        self.peer_reads(slot)?;
        self.drain(slot, 1000)
    }

    pub(super) fn close(&mut self, slot: usize) -> Check {
        self.forget(slot, Duplicate::None, Afterwards::Close)
    }
}
