//! Executes a script on one reactor, holds what it says against what should be true, and writes down what is to be compared.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use super::super::op::{Op, Outcome};
use super::super::{Backend, Reactor, Submitted};
use super::channel::{self, Ground};
use super::script::{Channel, Ending, SLOTS, Script};
use super::slot::Slot;
use super::submission::{Measure, Submission, Task};
use crate::sys::socket::Address;
use crate::sys::{self, Direction};

/// What is compared between two reactors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// An operation ended.
    Ended { label: usize, task: Task, how: How },
    /// An operation was cancelled too late for it to be foretold how it ends.
    Raced { label: usize },
    /// Operations read so many bytes, or messages, together.
    Drained { slot: usize, count: usize },
    /// What waited for room came to its end; it got room, or not.
    Relieved { slot: usize, failed: bool },
    /// The reactor had done all it could, after this step.
    Settled { step: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// A count, and whether a message was cut off, where that was asked.
    Count(usize, Option<bool>),
    /// A connection, from whom it was to be.
    Accepted,
    Failed(i32),
    /// The connection was reset, and another operation may have been told by which errno.
    Broken,
}

/// What came of a script.
#[derive(Debug, Default)]
pub(super) struct Trace {
    pub(super) entries: Vec<Entry>,
    /// What no reactor may do.
    pub(super) violation: Option<String>,
}

pub(super) type Check<T = ()> = Result<T, String>;

/// How long an operation may wait for what is there.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Runner<'a> {
    // First, so that it is dropped first: the kernel may write to the buffers of what is under way.
    pub(super) reactor: Option<Reactor>,
    pub(super) submissions: Vec<Submission>,
    pub(super) slots: [Option<Slot>; SLOTS],
    /// Closed, but their open file lives on in a duplicate: that, and the peer.
    pub(super) ghosts: Vec<(OwnedFd, OwnedFd)>,
    pub(super) ground: &'a Ground,
    /// Numbers of descriptors from here on are the script's.
    base: RawFd,
    patience: Duration,
    entries: Vec<Entry>,
    /// What has ended since it was last settled.
    fresh: Vec<usize>,
    step: usize,
    /// Operations that are compared one by one.
    labelled: usize,
    outstanding: usize,
}

/// Runs `script` on `reactor`.
pub(super) fn run(script: &Script, reactor: Reactor, ground: &Ground, base: RawFd, patience: Duration) -> Trace {
    let mut runner = Runner {
        reactor: Some(reactor),
        submissions: Vec::new(),
        slots: Default::default(),
        ghosts: Vec::new(),
        ground,
        base,
        patience,
        entries: Vec::new(),
        fresh: Vec::new(),
        step: 0,
        labelled: 0,
        outstanding: 0,
    };
    let result = runner.all(script);
    Trace {
        violation: result.err().map(|error| format!("step {}: {error}", runner.step)),
        entries: std::mem::take(&mut runner.entries),
    }
}

impl Runner<'_> {
    fn all(&mut self, script: &Script) -> Check {
        for (number, step) in script.steps.iter().enumerate() {
            self.step = number;
            self.perform(step.action)?;
            if step.turn {
                self.settle()?;
            }
        }
        self.step = script.steps.len();
        self.settle()?;
        for slot in 0..SLOTS {
            self.finish_slot(slot)?;
        }
        match script.ending {
            Ending::Forget => {
                for slot in 0..SLOTS {
                    self.close(slot)?;
                }
                if self.reactor().pending() != 0 {
                    return Err(format!("{} operations are left over", self.reactor().pending()));
                }
            }
            Ending::Drop => self.drop_under_way()?,
        }
        self.reactor = None;
        match self
            .submissions
            .iter()
            .position(|submission| submission.outcome.is_some() && !submission.is_sealed())
        {
            Some(number) => Err(format!("the buffer of operation {number} was written to after its end")),
            None => Ok(()),
        }
    }

    pub(super) fn reactor(&mut self) -> &mut Reactor {
        self.reactor.as_mut().expect("it is there until the end")
    }

    pub(super) fn slot(&mut self, slot: usize) -> &mut Slot {
        self.slots[slot].as_mut().expect("looked at before")
    }

    /// Where the descriptor of a place is to be found, if it is free.
    pub(super) fn number_of(&self, slot: usize) -> RawFd {
        self.base + RawFd::try_from(slot).expect("a handful")
    }

    pub(super) fn note(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    // ---- operations in -----------------------------------------------------------------------------------------------

    /// Submits an operation; its number.
    pub(super) fn submit(&mut self, slot: usize, task: Task, measure: Measure) -> Check<usize> {
        self.submit_to(slot, task, measure, None)
    }

    pub(super) fn submit_to(
        &mut self,
        slot: usize,
        task: Task,
        measure: Measure,
        to: Option<SocketAddr>,
    ) -> Check<usize> {
        let (number, label) = (self.submissions.len(), self.labelled);
        self.labelled += usize::from(measure == Measure::Exact);
        let place = self.slot(slot);
        let bytes = match task {
            Task::Write(_, len) => {
                let from = place.outgoing.position;
                place.outgoing.position += len;
                super::slot::pattern(from, len)
            }
            _ => Vec::new(),
        };
        let to = to.map_or_else(Address::empty, Address::from);
        let mut submission = Submission::new(place.source, slot, number, task, &bytes, to);
        submission.measure = measure;
        submission.label = label;
        let direction = submission.direction();
        match direction {
            Direction::Read => place.since.reads += 1,
            Direction::Write => {
                place.since.writes += 1;
                place.since.unseen += if place.channel.has_messages() { 1 } else { bytes.len() };
            }
        }
        let alone = place.waits(direction).is_empty();
        let op = submission.ptr();
        self.submissions.push(submission);
        // SAFETY: pinned on the heap, with its buffers, until the runner ends, which drops its reactor first.
        match unsafe { self.reactor().submit(op) } {
            Submitted::Pending => {
                self.outstanding += 1;
                self.slot(slot).waiting(direction).push_back(number);
            }
            Submitted::Done(_) if !alone => return Err(format!("operation {number} overtook those before it")),
            Submitted::Done(outcome) => self.ended(number, outcome)?,
        }
        self.check_pending()?;
        Ok(number)
    }

    pub(super) fn cancel(&mut self, number: usize) {
        self.submissions[number].cancelled = true;
        let op = self.submissions[number].ptr();
        // SAFETY: it was submitted and has not been handed out, as it is among those that wait.
        unsafe { self.reactor().cancel(op) };
    }

    pub(super) fn cancel_all(&mut self, slot: usize) {
        self.mark_cancelled(slot);
        let source = self.slot(slot).source;
        self.reactor().cancel_all(source);
    }

    /// All that waits on a place is to end early.
    pub(super) fn mark_cancelled(&mut self, slot: usize) {
        for direction in [Direction::Read, Direction::Write] {
            for number in self.waiting(slot, direction) {
                self.submissions[number].cancelled = true;
            }
        }
    }

    /// What waits to read may end so or so, and so may have what has ended since the reactor was last settled.
    pub(super) fn mark_raced(&mut self, slot: usize) {
        let waiting = self.waiting(slot, Direction::Read);
        for number in waiting.into_iter().chain(self.fresh.iter().copied()) {
            let submission = &mut self.submissions[number];
            let concerned = submission.slot == slot && submission.direction() == Direction::Read;
            if concerned && submission.measure == Measure::Exact {
                submission.measure = Measure::Raced;
            }
        }
    }

    pub(super) fn waiting(&mut self, slot: usize, direction: Direction) -> Vec<usize> {
        self.slot(slot).waits(direction).iter().copied().collect()
    }

    // ---- completions out ---------------------------------------------------------------------------------------------

    pub(super) fn turn(&mut self, timeout: Duration) -> Check {
        self.reactor()
            .turn(Some(timeout))
            .map_err(|error| format!("turn: {error}"))?;
        self.collect()
    }

    /// Takes what has completed.
    pub(super) fn collect(&mut self) -> Check {
        while let Some(op) = self.reactor().next_completed() {
            let number = self.number_behind(op)?;
            let submission = &self.submissions[number];
            let Some(outcome) = submission.told() else {
                return Err(format!("operation {number} was handed out without an outcome"));
            };
            let (slot, direction) = (submission.slot, submission.direction());
            let early = submission.cancelled && outcome == Err(libc::ECANCELED);
            let waiting = self.slot(slot).waiting(direction);
            let place = waiting.iter().position(|&other| other == number).expect("it waits");
            waiting.remove(place);
            let before = self.waiting(slot, direction);
            let overtaken = before[..place]
                .iter()
                .find(|&&other| !self.submissions[other].cancelled);
            if let (false, Some(other)) = (early, overtaken) {
                return Err(format!(
                    "operation {number} ended before operation {other}, which came first"
                ));
            }
            self.outstanding -= 1;
            self.ended(number, outcome)?;
        }
        self.check_pending()
    }

    /// Which of those that wait was handed out.
    fn number_behind(&mut self, op: std::ptr::NonNull<Op>) -> Check<usize> {
        let waiting = self.slots.iter().flatten().flat_map(|slot| {
            [Direction::Read, Direction::Write]
                .into_iter()
                .flat_map(|direction| slot.waits(direction))
        });
        waiting
            .copied()
            .find(|&number| self.submissions[number].ptr() == op)
            .ok_or_else(|| {
                "an operation was handed out that does not wait: a second time, or never submitted".to_owned()
            })
    }

    fn check_pending(&mut self) -> Check {
        let (said, outstanding) = (self.reactor().pending(), self.outstanding);
        if said == outstanding {
            Ok(())
        } else {
            Err(format!("{said} operations pending, where {outstanding} are"))
        }
    }

    /// Holds an outcome against what should be true.
    fn ended(&mut self, number: usize, outcome: Outcome) -> Check {
        self.submissions[number].seal(outcome);
        self.fresh.push(number);
        let submission = &self.submissions[number];
        let place = self.slots[submission.slot]
            .as_mut()
            .expect("its operations end before it goes");
        let wrong = |text: String| format!("operation {number} ({:?}): {text}", submission.task);
        match (submission.task, outcome) {
            (_, Err(libc::ECANCELED)) if !submission.cancelled => Err(wrong("nobody cancelled it".to_owned())),
            (_, Err(libc::EAGAIN | libc::EINTR | libc::EINPROGRESS)) => Err(wrong(format!("{outcome:?}"))),
            (_, Err(libc::ECANCELED)) => Ok(()),
            (_, Err(_)) => {
                place.incoming.error = false;
                Ok(())
            }
            (Task::Read(..), Ok(n)) if n > submission.len() => Err(wrong(format!("{n} bytes into a smaller buffer"))),
            (Task::Read(..), Ok(n)) if !submission.is_untouched_from(n) => {
                Err(wrong(format!("more was written than the {n} bytes that were read")))
            }
            (Task::Read(..), Ok(n)) => place
                .take(submission.len(), n, submission.bytes(n), submission.peeks())
                .map_err(wrong),
            (Task::Write(..), Ok(n)) if n > submission.len() => Err(wrong(format!("{n} bytes of fewer"))),
            (Task::Write(..), Ok(n)) => {
                place.wrote(submission.bytes(n));
                // Nobody is there: that will be told.
                place.incoming.error |= place.channel == Channel::Udp && place.theirs.is_none();
                Ok(())
            }
            (Task::Connect, Ok(n)) => {
                if n == 0 {
                    Ok(())
                } else {
                    Err(wrong(format!("a count of {n}")))
                }
            }
            (Task::Accept, Ok(fd)) => {
                let fd = RawFd::try_from(fd).map_err(|_| wrong("no descriptor".to_owned()))?;
                // SAFETY: a descriptor that accept has just made.
                let accepted = unsafe { OwnedFd::from_raw_fd(fd) };
                let who = (place.channel == Channel::TcpListener).then(|| submission.address());
                accepted_is_right(&accepted, place, who).map_err(wrong)
            }
        }
    }

    // ---- when all is done that can be --------------------------------------------------------------------------------

    /// Has the reactor do all it can, and writes down what has ended.
    pub(super) fn settle(&mut self) -> Check {
        let deadline = Instant::now() + self.patience;
        self.collect()?;
        while let Some(number) = self.overdue() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let task = self.submissions[number].task;
                return Err(format!(
                    "operation {number} ({task:?}) waits for ever, with what it waits for there"
                ));
            }
            self.turn(left)?;
        }
        for _ in 0..2 {
            self.turn(Duration::ZERO)?;
        }
        let mut fresh = std::mem::take(&mut self.fresh);
        fresh.sort_unstable();
        for number in fresh {
            self.compare(number);
        }
        let step = self.step;
        self.note(Entry::Settled { step });
        for slot in self.slots.iter_mut().flatten() {
            slot.settled();
        }
        Ok(())
    }

    /// An operation that waits although it does not have to.
    fn overdue(&self) -> Option<usize> {
        self.slots.iter().flatten().find_map(|slot| {
            let cancelled = |&&number: &&usize| self.submissions[number].cancelled;
            let reads = slot.waits(Direction::Read);
            let writes = slot.waits(Direction::Write);
            let read = reads
                .front()
                .filter(|_| slot.can_read())
                .or_else(|| reads.iter().find(cancelled));
            let write = writes
                .front()
                .filter(|_| !slot.outgoing.full)
                .or_else(|| writes.iter().find(cancelled));
            read.or(write).copied()
        })
    }

    /// Writes down how an operation ended, where it could only end in one way.
    fn compare(&mut self, number: usize) {
        let submission = &self.submissions[number];
        let is_reset = self.slots[submission.slot]
            .as_ref()
            .is_some_and(|slot| slot.incoming.reset);
        let (label, task) = (submission.label, submission.task);
        let how = match (submission.outcome.expect("it has ended"), task) {
            (Err(libc::ECONNRESET | libc::EPIPE) | Ok(0), _) if is_reset => How::Broken,
            (Err(errno), _) => How::Failed(errno),
            (Ok(_), Task::Accept) => How::Accepted,
            (Ok(n), _) => How::Count(n, submission.is_truncated().filter(|_| matches!(task, Task::Read(..)))),
        };
        match submission.measure {
            Measure::Exact => self.note(Entry::Ended { label, task, how }),
            Measure::Raced => self.note(Entry::Raced { label }),
            Measure::InSum => {}
        }
    }

    /// Turns until `done`, with a deadline; `what` is said when it has passed.
    pub(super) fn turn_until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> Check<bool>) -> Check {
        let deadline = Instant::now() + self.patience;
        while !done(self)? {
            if Instant::now() >= deadline {
                return Err(format!("it takes for ever: {what}"));
            }
            self.turn(Duration::ZERO)?;
        }
        Ok(())
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// The peers write to operations whose reactor is gone. They end with it, or never; nothing is written to them.
    fn drop_under_way(&mut self) -> Check {
        self.reactor = None;
        let unfinished: Vec<usize> = (0..self.submissions.len())
            .filter(|&number| self.submissions[number].outcome.is_none())
            .collect();
        for slot in self.slots.iter_mut().flatten() {
            if let (Some(theirs), true) = (&slot.theirs, slot.channel.can_read() && !slot.incoming.ended) {
                channel::write_all(theirs.as_raw_fd(), b"too late").map_err(|error| format!("the peer: {error}"))?;
            }
        }
        for number in unfinished {
            let submission = &self.submissions[number];
            if matches!(submission.task, Task::Read(..)) && !submission.is_untouched_from(0) {
                return Err(format!(
                    "the buffer of operation {number} was written to after the reactor was dropped"
                ));
            }
        }
        Ok(())
    }
}

/// What was accepted is in the modes that the contract promises, and is who connected first.
fn accepted_is_right(accepted: &OwnedFd, place: &mut Slot, who: Option<Address>) -> Check {
    let fd = accepted.as_raw_fd();
    let Some((id, client)) = place.incoming.clients.pop_front() else {
        return Err("nobody has connected".to_owned());
    };
    let flags = |command| sys::syscall!(fcntl(fd, command)).map_err(|error| format!("fcntl: {error}"));
    if flags(libc::F_GETFD)? & libc::FD_CLOEXEC == 0 || flags(libc::F_GETFL)? & libc::O_NONBLOCK == 0 {
        return Err("what was accepted blocks, or is kept on exec".to_owned());
    }
    let text = |error: std::io::Error| format!("what was accepted: {error}");
    let mut said = [0];
    channel::wait_for(fd, libc::POLLIN).map_err(text)?;
    channel::read_some(fd, &mut said).map_err(text)?;
    if said != [id] {
        return Err(format!("client {said:?} was accepted, where {id} came first"));
    }
    if let Some(who) = who {
        let (said, is) = (
            who.to_std().map_err(text)?,
            sys::socket::local_address(client.as_raw_fd()).map_err(text)?,
        );
        if said != is {
            return Err(format!("accept said {said} of {is}"));
        }
        channel::set_reset_on_close(accepted).map_err(text)?;
    }
    Ok(())
}
