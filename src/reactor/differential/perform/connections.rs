//! Accepting, connecting.

use std::os::fd::AsFd;

use super::super::channel;
use super::super::run::{Check, Runner};
use super::super::script::{Channel, Relief, Target, WriteForm};
use super::super::submission::{Measure, Task};
use super::{MOST_MESSAGES, MOST_WAITING, said};
use crate::sys::{self, Direction};

impl Runner<'_> {
    pub(super) fn accept(&mut self, slot: usize) -> Check {
        let Some(place) = self.usable(slot) else { return Ok(()) };
        if !place.channel.is_listener() || place.since.waited[0] + place.since.reads >= MOST_WAITING {
            return Ok(());
        }
        self.submit(slot, Task::Accept, Measure::Exact).map(drop)
    }

    pub(super) fn peer_connects(&mut self, slot: usize) -> Check {
        let Some(place) = self.usable(slot) else { return Ok(()) };
        if !place.channel.is_listener() || place.since.unread >= MOST_MESSAGES {
            return Ok(());
        }
        if place.since.cancelled {
            self.settle()?;
        }
        self.peer_connects_now(slot)
    }

    pub(super) fn peer_connects_now(&mut self, slot: usize) -> Check {
        let place = self.slot(slot);
        let (fd, channel, id) = (place.fd(), place.channel, place.incoming.connected);
        place.incoming.connected = id.wrapping_add(1);
        let client = said("the peer connects", channel::connect_client(fd, channel, id))?;
        place.incoming.clients.push_back((id, client));
        place.since.came = true;
        place.since.unread += 1;
        self.await_arrival(slot)
    }

    pub(super) fn connect(&mut self, slot: usize, target: Target, behind: usize) -> Check {
        let Some(place) = self.usable(slot) else { return Ok(()) };
        let again = place.tried && !cfg!(target_os = "linux"); // elsewhere a socket can be tried once
        let no_queue = target == Target::Full && !cfg!(target_os = "linux"); // elsewhere a queue is longer than was asked
        if place.channel != Channel::Unconnected || place.outgoing.full || again || no_queue {
            return Ok(());
        }
        self.settle()?;
        let to = match target {
            Target::Listener => said("listener", self.ground.listener())?,
            Target::Closed => said("port", self.ground.closed())?,
            Target::Full => {
                let (address, company) = said("a full listener", self.ground.full_listener())?;
                let place = self.slot(slot);
                place.company = company;
                place.outgoing.full = true;
                address
            }
        };
        self.slot(slot).tried = true;
        let number = self.submit_to(slot, Task::Connect, Measure::Exact, Some(to))?;
        if target == Target::Listener && behind > 0 {
            self.submit(slot, Task::Write(WriteForm::Send, behind), Measure::Exact)?;
        }
        self.settle()?;
        if self.submissions[number].outcome == Some(Ok(0)) {
            let theirs = said("accept", self.ground.accept())?;
            said("mode", sys::set_nonblocking(theirs.as_fd(), true))?;
            let place = self.slot(slot);
            place.theirs = Some(theirs);
            place.channel = Channel::Tcp;
            place.settled();
        }
        Ok(())
    }

    /// Ends a connect that takes for ever.
    pub(super) fn give_up_connecting(&mut self, slot: usize, relief: Relief) -> Check {
        match relief {
            Relief::Cancel => {
                for number in self.waiting(slot, Direction::Write) {
                    self.cancel(number);
                }
            }
            Relief::CancelAll => self.cancel_all(slot),
            _ => return Ok(()),
        }
        self.settle()?;
        self.slot(slot).spoilt = true;
        Ok(())
    }
}
