//! No room: writes that have to wait, and what becomes of them.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::super::channel;
use super::super::run::{Check, Entry, Runner};
use super::super::script::{Channel, Relief, WriteForm};
use super::super::submission::{Measure, Task};
use super::{said, shut};
use crate::sys::Direction;

/// Writes until one has to wait for room.
const MOST_WRITES: usize = 5000;

impl Runner<'_> {
    pub(super) fn fill(&mut self, slot: usize, len: usize, more: usize) -> Check {
        let Some(place) = self.usable(slot) else { return Ok(()) };
        let fits = place.channel.can_write()
            && !matches!(place.channel, Channel::Udp | Channel::Unconnected) // never full
            && place.theirs.is_some()
            && !(place.outgoing.full || place.outgoing.closed || place.incoming.reset);
        if !fits {
            return Ok(());
        }
        let (form, len) = match place.channel {
            Channel::PipeWriter => (WriteForm::Plain, len),
            channel if channel.has_messages() => (WriteForm::Send, len.min(4000)),
            _ if more == 0 => (WriteForm::Message(2), len),
            _ => (WriteForm::Send, len),
        };
        self.settle()?;
        let task = Task::Write(form, len);
        for _ in 0..MOST_WRITES {
            let number = self.submit(slot, task, Measure::InSum)?;
            if self.waits_for_room(slot, number)? {
                self.slot(slot).outgoing.full = true;
                for _ in 0..more {
                    self.submit(slot, task, Measure::InSum)?;
                }
                return self.settle();
            }
            if let Some(Err(_)) = self.submissions[number].outcome {
                return Ok(()); // it was shut down
            }
        }
        Err(format!("{MOST_WRITES} writes, and there is still room"))
    }

    /// Whether a write has come to wait, or has ended.
    pub(super) fn waits_for_room(&mut self, slot: usize, number: usize) -> Check<bool> {
        let fd = self.slot(slot).fd();
        let deadline = Instant::now() + self.patience();
        let mut quiet = 0;
        while self.submissions[number].outcome.is_none() {
            if quiet == 2 {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Err(format!("operation {number} waits for ever for room that is there"));
            }
            self.turn(Duration::ZERO)?;
            let has_room = said("poll", channel::state_of(fd, libc::POLLOUT))? != 0;
            quiet = if has_room { 0 } else { quiet + 1 };
        }
        Ok(false)
    }

    pub(super) fn relieve(&mut self, slot: usize, relief: Relief) -> Check {
        let Some(place) = self.usable(slot) else { return Ok(()) };
        if !place.outgoing.full {
            return Ok(());
        }
        if place.channel == Channel::Unconnected {
            return self.give_up_connecting(slot, relief);
        }
        let channel = place.channel;
        let relief = match relief {
            Relief::PeerCloses if channel == Channel::UnixDatagrams => Relief::Drain, // to find out is to lose what has come
            Relief::Shutdown if !channel.has_halves() => Relief::Drain,
            relief => relief,
        };
        self.settle()?;
        let writes = self.waiting(slot, Direction::Write);
        match relief {
            Relief::Drain => {}
            Relief::Cancel => writes.iter().take(1).for_each(|&number| self.cancel(number)),
            Relief::CancelAll => self.cancel_all(slot),
            Relief::Shutdown => {
                shut(self.slot(slot).fd(), Shutdown::Write)?;
            }
            Relief::PeerCloses => {
                let place = self.slot(slot);
                place.incoming.ended |= channel.can_read();
                place.incoming.reset = channel.can_read();
                place.theirs = None;
            }
        }
        self.turn_until("a write that has room now, or never will", |runner| {
            while said("the peer reads", runner.slot(slot).pull())? {}
            Ok(runner.slot(slot).waits(Direction::Write).is_empty())
        })?;
        let failed = self.how_it_was_relieved(relief, &writes)?;
        self.note(Entry::Relieved { slot, failed });
        self.slot(slot).outgoing.full = false;
        self.settle()?;
        self.slot(slot).pull_all()?;
        self.slot(slot).settled();
        Ok(())
    }

    /// Whether writes failed that had waited for room: as they had to, or had to not.
    pub(super) fn how_it_was_relieved(&self, relief: Relief, writes: &[usize]) -> Check<bool> {
        let outcomes: Vec<_> = writes
            .iter()
            .filter_map(|&number| self.submissions[number].outcome)
            .collect();
        let broken = |outcome| matches!(outcome, Err(libc::EPIPE | libc::ECONNRESET));
        let wanted = match relief {
            Relief::Drain => outcomes.iter().all(Result::is_ok),
            Relief::Cancel | Relief::CancelAll => outcomes
                .iter()
                .all(|outcome| outcome.is_ok() || *outcome == Err(libc::ECANCELED)),
            // There may have been room for the first in the meantime.
            Relief::PeerCloses | Relief::Shutdown => {
                outcomes.iter().skip(1).all(|&outcome| broken(outcome))
                    && outcomes
                        .iter()
                        .take(1)
                        .all(|&outcome| broken(outcome) || outcome.is_ok())
            }
        };
        if wanted {
            Ok(matches!(relief, Relief::PeerCloses | Relief::Shutdown))
        } else {
            Err(format!("{relief:?} ended what waited for room in {outcomes:?}"))
        }
    }
}
