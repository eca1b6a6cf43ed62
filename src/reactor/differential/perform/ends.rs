//! Ends: of a direction, of the peer, of operations, of what the reactor knows.

use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use super::super::super::Backend;
use super::super::super::op::Source;
use super::super::channel::{self, Ends};
use super::super::run::{Check, PATIENCE, Runner};
use super::super::script::{Afterwards, Arrival, Channel, Duplicate, Half, Relief};
use super::super::slot::Slot;
use super::{said, shut};
use crate::sys::{Direction, socket};

impl Runner<'_> {
    pub(super) fn shutdown(&mut self, slot: usize, half: Half) -> Check {
        let Some(place) = self.usable(slot) else { return Ok(()) };
        let gone = place.theirs.is_none() || place.incoming.reset;
        if !place.channel.has_halves() || place.outgoing.full || gone {
            return Ok(());
        }
        self.settle()?;
        let place = self.slot(slot);
        if half == Half::Read {
            place.incoming.ended = true;
            place.since.ended = true;
            return shut(place.fd(), Shutdown::Read);
        }
        shut(place.fd(), Shutdown::Write)
    }

    pub(super) fn peer_shuts_down(&mut self, slot: usize, half: Half) -> Check {
        let Some(place) = self.usable(slot) else { return Ok(()) };
        let over_tcp = place.channel == Channel::Tcp;
        let quiet = half == Half::Read && over_tcp; // no word of it reaches the other end
        if !place.channel.has_halves() || place.outgoing.full || quiet || place.theirs.is_none() {
            return Ok(());
        }
        if place.since.writes > 0 || place.since.cancelled || half == Half::Read {
            self.settle()?;
        }
        if half == Half::Read {
            self.slot(slot).pull_all()?;
        }
        let place = self.slot(slot);
        let theirs = place.theirs.as_ref().expect("looked at above").as_raw_fd();
        if half == Half::Read {
            return shut(theirs, Shutdown::Read);
        }
        place.incoming.ended = true;
        place.since.ended = true;
        shut(theirs, Shutdown::Write)
    }

    pub(super) fn peer_closes(&mut self, slot: usize, reset: bool) -> Check {
        let Some(place) = self.usable(slot) else { return Ok(()) };
        if place.outgoing.full {
            return self.relieve(slot, Relief::PeerCloses);
        }
        if place.theirs.is_none() || place.channel.is_listener() {
            return Ok(());
        }
        let over_tcp = place.channel == Channel::Tcp;
        // Sockets for messages tell of an error before they give what came earlier; and what has ended may end again, in
        // an error.
        let overtakes = place.channel.has_messages() && place.since.unread > 0;
        let ends_again = place.incoming.ended && place.is_busy(Direction::Read);
        let refuses = place.channel == Channel::Udp;
        if place.since.writes > 0 || place.since.cancelled || overtakes || ends_again || refuses {
            self.settle()?;
        }
        if over_tcp && !reset {
            self.peer_reads(slot)?; // what is unread would make it a reset
        }
        let place = self.slot(slot);
        let theirs = place.theirs.take().expect("looked at above");
        match place.channel {
            Channel::Udp => {}
            Channel::UnixDatagrams => place.outgoing.closed = true, // to find out is to lose what has come
            Channel::Tcp => {
                place.incoming.ended = true;
                place.since.ended = true;
                place.incoming.reset = reset;
                place.outgoing.closed = !reset; // the first write would still succeed, or not
                if reset {
                    said("linger", channel::set_reset_on_close(&theirs))?;
                }
            }
            _ => {
                place.incoming.ended = true;
                place.since.ended = true;
            }
        }
        let fd = place.fd();
        drop(theirs);
        if over_tcp && reset {
            said("the reset is to come", channel::wait_for(fd, 0))?;
        }
        Ok(())
    }

    // ---- ends of operations ------------------------------------------------------------------------------------------

    /// What waits in reading, and can only end by being cancelled.
    pub(super) fn stuck(&mut self, slot: usize) -> Check<Vec<usize>> {
        let Some(place) = self.usable(slot) else {
            return Ok(Vec::new());
        };
        if !place.since.dry || place.since.came || place.since.ended || place.incoming.error {
            self.settle()?;
        }
        let place = self.slot(slot);
        if place.can_read() {
            return Ok(Vec::new());
        }
        let waiting = self.waiting(slot, Direction::Read);
        Ok(waiting
            .into_iter()
            .filter(|&number| !self.submissions[number].cancelled)
            .collect())
    }

    pub(super) fn cancel_one(&mut self, slot: usize, nth: usize, twice: bool) -> Check {
        let stuck = self.stuck(slot)?;
        if stuck.is_empty() {
            return Ok(());
        }
        let number = stuck[nth % stuck.len()];
        self.cancel(number);
        // Where the first was enough, it is over and waits to be handed out: that may be cancelled, too.
        if twice {
            self.cancel(number);
        }
        self.slot(slot).since.cancelled = true;
        Ok(())
    }

    pub(super) fn cancel_slot(&mut self, slot: usize) -> Check {
        let Some(place) = self.usable(slot) else { return Ok(()) };
        if place.outgoing.full {
            return self.relieve(slot, Relief::CancelAll);
        }
        if place.since.writes > 0 {
            self.settle()?;
        }
        let stuck = self.stuck(slot)?;
        if !stuck.is_empty() {
            self.cancel_all(slot);
            self.slot(slot).since.cancelled = true;
        }
        Ok(())
    }

    pub(super) fn cancel_late(&mut self, slot: usize, nth: usize, arrival: Arrival) -> Check {
        if self.usable(slot).is_none_or(|place| place.outgoing.full) {
            return Ok(());
        }
        self.settle()?;
        let stuck = self.stuck(slot)?;
        let place = self.slot(slot);
        let listens = place.channel.is_listener();
        let ends = arrival == Arrival::End;
        if stuck.is_empty() || (!listens && place.theirs.is_none()) || (ends && !place.channel.has_halves()) {
            return Ok(());
        }
        match arrival {
            _ if listens => self.peer_connects_now(slot)?,
            Arrival::Something(len) => self.peer_writes_now(slot, len)?,
            Arrival::End => self.peer_shuts_down(slot, Half::Write)?,
        }
        self.mark_raced(slot);
        self.cancel(stuck[nth % stuck.len()]);
        self.turn(Duration::ZERO)?;
        self.cancel_all(slot);
        self.settle()?;
        self.drain_now(slot, 100)
    }

    pub(super) fn forget(&mut self, slot: usize, duplicate: Duplicate, then: Afterwards) -> Check {
        let Some(place) = &self.slots[slot] else { return Ok(()) };
        // What is under way would end so or so, which is of no account where nothing comes after it.
        let news = place.since.came || place.since.ended || !place.since.dry;
        let begun = place.since.writes > 0 || (place.since.reads > 0 && news);
        if then == Afterwards::Again || begun || place.incoming.reset {
            self.settle()?;
        }
        let place = self.slot(slot);
        if place.since.came || place.since.ended || !place.since.dry {
            self.mark_raced(slot);
        }
        let place = self.slot(slot);
        let ghost = match (duplicate, &place.theirs) {
            (Duplicate::None, _) | (_, None) => None,
            _ => Some(said("dup", socket::duplicate(&place.ours))?),
        };
        let announced = ghost.is_some() && duplicate == Duplicate::Announced;
        self.forget_now(slot, announced)?;
        if then == Afterwards::Again {
            return self.go_on(slot);
        }
        let Some(place) = self.slots[slot].take() else {
            return Ok(());
        };
        let Slot {
            channel,
            ours,
            theirs,
            company,
            incoming,
            ..
        } = place;
        match then {
            Afterwards::Replace(next) => {
                let ends = said("open", Ends::open(self.ground, next))?;
                said("dup2", channel::replace(&ours, ends.ours))?;
                self.slots[slot] = Some(Slot::new(
                    next,
                    Ends {
                        ours,
                        theirs: ends.theirs,
                    },
                ));
            }
            _ => drop(ours),
        }
        drop((company, incoming));
        match (ghost, theirs) {
            (Some(ghost), Some(theirs)) => self.ghosts.push((ghost, theirs)),
            // Nobody has it open any more: neither the reactor nor the kernel on its behalf.
            (None, Some(theirs)) => sees_the_end(channel, theirs.as_raw_fd())?,
            _ => {}
        }
        Ok(())
    }

    /// Has the reactor forget a source, and sees that all its operations have ended by then.
    pub(super) fn forget_now(&mut self, slot: usize, still_open: bool) -> Check {
        self.mark_cancelled(slot);
        let source = self.slot(slot).source;
        self.reactor().forget(source, still_open);
        self.collect()?;
        for direction in [Direction::Read, Direction::Write] {
            if let Some(number) = self.slot(slot).waits(direction).front() {
                return Err(format!("operation {number} waits on a source that was forgotten"));
            }
        }
        Ok(())
    }

    /// A new source of the same open file.
    pub(super) fn go_on(&mut self, slot: usize) -> Check {
        let place = self.slot(slot);
        place.source = Source::new(place.fd());
        if place.channel == Channel::Unconnected && place.outgoing.full {
            place.spoilt = true; // it goes on to connect
        }
        place.outgoing.full = false;
        self.settle()?;
        self.peer_reads(slot)
    }

    pub(super) fn haunt(&mut self) -> Check {
        for (ghost, theirs) in &self.ghosts {
            // It can be that it has ended.
            for _ in 0..2 {
                if let Err(error) = channel::write_all(theirs.as_raw_fd(), b"boo") {
                    log::trace!("a ghost: {error}");
                }
            }
            let mut buf = [0; 64];
            if let Err(error) = channel::read_some(ghost.as_raw_fd(), &mut buf) {
                log::trace!("a ghost: {error}");
            }
        }
        Ok(())
    }
}

/// The peer of what was closed gets to know it.
fn sees_the_end(channel: Channel, theirs: RawFd) -> Check {
    if matches!(channel, Channel::Udp | Channel::UnixDatagrams) {
        return Ok(()); // there is no end
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let state = said("poll", channel::state_of(theirs, 0))?;
        if state & (libc::POLLHUP | libc::POLLERR) != 0 {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err("what was closed is still open".to_owned());
        }
        std::thread::yield_now();
    }
}
