//! Reading and writing, at both ends.

use std::os::fd::AsRawFd;

use super::super::channel;
use super::super::run::{Check, Entry, Runner};
use super::super::script::{Channel, ReadForm, Relief, WriteForm};
use super::super::submission::{Measure, Task};
use super::{MOST_BYTES, MOST_MESSAGES, MOST_WAITING, said};
use crate::sys::Direction;

impl Runner<'_> {
    pub(super) fn read(&mut self, slot: usize, form: ReadForm, len: usize) -> Check {
        let Some(place) = self.usable(slot) else { return Ok(()) };
        let fits = place.channel.can_read()
            && !(place.channel.has_messages() && matches!(form, ReadForm::Recv | ReadForm::Plain | ReadForm::DontWait))
            && (!place.channel.is_pipe() || form == ReadForm::Plain)
            && !(place.channel == Channel::Unconnected && place.tried)
            && place.since.waited[0] + place.since.reads < MOST_WAITING;
        if !fits {
            return Ok(());
        }
        self.settle_if_shared(slot, Direction::Read)?;
        self.submit(slot, Task::Read(form, len), Measure::Exact)?;
        self.settle_if_refused(slot)
    }

    pub(super) fn write(&mut self, slot: usize, form: WriteForm, len: usize) -> Check {
        let Some(place) = self.usable(slot) else { return Ok(()) };
        let fits = place.channel.can_write()
            && (!place.channel.is_pipe() || form == WriteForm::Plain)
            && !(place.channel == Channel::Unconnected && place.tried)
            && !(place.outgoing.full || place.outgoing.closed)
            && place.since.writes < MOST_WAITING;
        if !fits {
            return Ok(());
        }
        let room = if place.channel.has_messages() {
            place.since.unseen < MOST_MESSAGES
        } else {
            place.since.unseen + len < MOST_BYTES
        };
        if !room {
            self.peer_reads(slot)?;
        }
        self.settle_if_shared(slot, Direction::Write)?;
        self.submit(slot, Task::Write(form, len), Measure::Exact)?;
        self.settle_if_refused(slot)
    }

    /// An error of the socket goes to whoever asks first: the directions must not race for it.
    pub(super) fn settle_if_shared(&mut self, slot: usize, direction: Direction) -> Check {
        let place = self.slot(slot);
        let other = match direction {
            Direction::Read => place.since.writes,
            Direction::Write => place.since.reads,
        };
        let shared = place.incoming.reset
            || place.channel == Channel::Unconnected
            || (place.channel.has_messages() && place.theirs.is_none());
        if shared && (other > 0 || place.since.cancelled || place.since.ended) {
            self.settle()
        } else {
            Ok(())
        }
    }

    /// Where the other end of a datagram socket is gone, each send is followed by an error, which has to be there first.
    pub(super) fn settle_if_refused(&mut self, slot: usize) -> Check {
        let place = self.slot(slot);
        if place.channel != Channel::Udp || place.theirs.is_some() {
            return Ok(());
        }
        let fd = place.fd();
        self.settle()?;
        if self.slot(slot).incoming.error {
            said("an error is to come", channel::wait_for(fd, 0))?;
        }
        Ok(())
    }

    pub(super) fn peer_writes(&mut self, slot: usize, len: usize) -> Check {
        let Some(place) = self.usable(slot) else { return Ok(()) };
        let messages = place.channel.has_messages();
        let room = if messages {
            place.since.unread < MOST_MESSAGES
        } else {
            place.since.unread + len < MOST_BYTES
        };
        let fits = place.channel.can_read()
            && room
            && !place.incoming.ended
            && (len > 0 || matches!(place.channel, Channel::Udp | Channel::UnixDatagrams));
        if place.theirs.is_none() || !fits {
            return Ok(());
        }
        // What is there may be read before more comes, or not.
        let may_split = !messages && place.since.unread > 0 && place.is_busy(Direction::Read);
        if place.since.cancelled || may_split {
            self.settle()?;
        }
        self.peer_writes_now(slot, len)
    }

    pub(super) fn peer_writes_now(&mut self, slot: usize, len: usize) -> Check {
        let place = self.slot(slot);
        let bytes = place.next_incoming(len);
        place.since.came = true;
        place.since.unread += if place.channel.has_messages() { 1 } else { len };
        let theirs = place.theirs.as_ref().expect("looked at before").as_raw_fd();
        said("the peer writes", channel::write_all(theirs, &bytes))?;
        self.await_arrival(slot)
    }

    /// Over TCP bytes are on their way for a moment. Whoever waits for them will see them; who comes later must find them.
    pub(super) fn await_arrival(&mut self, slot: usize) -> Check {
        let place = self.slot(slot);
        let (fd, unread) = (place.fd(), place.unread());
        if !place.waits(Direction::Read).is_empty() || unread == 0 {
            return Ok(());
        }
        match place.channel {
            Channel::Tcp => said("bytes are to come", channel::await_bytes(fd, unread)),
            Channel::Udp | Channel::TcpListener => said("something is to come", channel::wait_for(fd, libc::POLLIN)),
            _ => Ok(()),
        }
    }

    pub(super) fn peer_reads(&mut self, slot: usize) -> Check {
        let Some(place) = self.usable(slot) else { return Ok(()) };
        if place.outgoing.full {
            return self.relieve(slot, Relief::Drain);
        }
        self.settle()?;
        self.slot(slot).pull_all()?;
        self.slot(slot).settled();
        Ok(())
    }

    pub(super) fn drain(&mut self, slot: usize, len: usize) -> Check {
        if self.usable(slot).is_none() {
            return Ok(());
        }
        self.settle()?;
        let place = self.slot(slot);
        if !place.waits(Direction::Read).is_empty() {
            return Ok(());
        }
        let count = place.unread();
        self.note(Entry::Drained { slot, count });
        self.drain_now(slot, len)
    }

    pub(super) fn drain_now(&mut self, slot: usize, len: usize) -> Check {
        let place = self.slot(slot);
        let task = if place.channel.is_listener() {
            Task::Accept
        } else if place.channel.has_messages() {
            Task::Read(ReadForm::Message(1), len)
        } else if place.channel.is_pipe() {
            Task::Read(ReadForm::Plain, len)
        } else {
            Task::Read(ReadForm::Recv, len)
        };
        // Before what there is, sockets for messages may tell of an error, once.
        let mut may_fail = place.incoming.error || place.incoming.ended;
        while self.slot(slot).unread() > 0 {
            let number = self.submit(slot, task, Measure::InSum)?;
            self.turn_until("to read what is there", |runner| {
                Ok(runner.submissions[number].outcome.is_some())
            })?;
            if let Some(Err(errno)) = self.submissions[number].outcome {
                if !std::mem::take(&mut may_fail) {
                    return Err(format!("errno {errno}, where there is something to read"));
                }
            }
        }
        self.settle()
    }

    pub(super) fn urgent(&mut self, slot: usize, before: usize, after: usize) -> Check {
        let Some(place) = self.usable(slot) else { return Ok(()) };
        if place.channel != Channel::Tcp || place.theirs.is_none() || place.incoming.ended {
            return Ok(());
        }
        self.settle()?;
        let place = self.slot(slot);
        if !place.waits(Direction::Read).is_empty() || place.unread() > 0 {
            return Ok(());
        }
        let task = Task::Read(ReadForm::Recv, 200);
        for _ in 0..before % 3 {
            self.submit(slot, task, Measure::InSum)?;
        }
        let theirs = self.slot(slot).theirs.as_ref().expect("looked at above").as_raw_fd();
        for (number, len) in [before, after].into_iter().enumerate() {
            let bytes = self.slot(slot).next_incoming(len);
            if len > 0 {
                said("the peer writes", channel::write_all(theirs, &bytes))?;
            }
            if number == 0 {
                said("the peer writes out of order", channel::write_urgent(theirs))?;
            }
        }
        self.turn_until("to read around an urgent byte", |runner| {
            if runner.slot(slot).unread() == 0 {
                return Ok(true);
            }
            if runner.slot(slot).waits(Direction::Read).is_empty() {
                runner.submit(slot, task, Measure::InSum)?;
            }
            Ok(false)
        })?;
        for number in self.waiting(slot, Direction::Read) {
            self.cancel(number);
        }
        self.note(Entry::Drained {
            slot,
            count: before + after,
        });
        self.settle()
    }
}
