//! One connection: what it sends when, and what becomes of it. Where it ends, another one takes its place.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use kapok::fiber;
use kapok::net::TcpStream;
use kapok::sync::Mutex;

use crate::plan::{Plan, Schedule};
use crate::response::Responses;
use crate::tally::{Tally, lock};

const ROOM: usize = 64 * 1024;
/// How long to wait before another attempt, where one has failed.
const PAUSE: Duration = Duration::from_millis(10);

struct Client<'p> {
    plan: &'p Plan,
    tally: &'p Mutex<Tally>,
    schedule: Option<Schedule>,
    /// When the requests under way were due.
    waiting: VecDeque<Instant>,
    /// There are no more to be made.
    is_last: bool,
    output: Vec<u8>,
    input: Vec<u8>,
    /// How much of the input has come and not been looked at.
    unread: usize,
}

/// Why a connection cannot be used any more, in words that errors are counted by.
struct Failure(String);

impl Failure {
    fn of(what: &str, error: &io::Error) -> Failure {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Failure(format!("{what}: timed out")),
            kind => Failure(format!("{what}: {kind}")),
        }
    }
}

/// Makes requests until there are no more to be made, or it is cancelled, or the time is up.
pub(crate) fn run(plan: &Plan, number: u32, tally: &Mutex<Tally>) {
    let mut client = Client {
        plan,
        tally,
        schedule: Schedule::of(plan, number),
        waiting: VecDeque::new(),
        is_last: false,
        output: Vec::new(),
        input: vec![0; ROOM],
        unread: 0,
    };
    match plan.end {
        // What is under way then is not counted: it is no error of the server.
        Some(end) => drop(kapok::deadline(end, || client.make_requests())),
        None => client.make_requests(),
    }
}

impl Client<'_> {
    fn make_requests(&mut self) {
        while !self.is_last {
            if let Err(Failure(kind)) = self.connection() {
                // Those that wait for an answer get none.
                lock(self.tally).error(&kind, self.waiting.len().max(1) as u64);
                self.waiting.clear();
                self.output.clear();
                fiber::sleep(PAUSE);
            }
        }
    }

    /// One connection's life.
    fn connection(&mut self) -> Result<(), Failure> {
        self.unread = 0;
        if !self.plan.keep_alive {
            // Connecting is a part of it.
            self.wait_until_due();
            self.begin_one();
            if self.waiting.is_empty() {
                return Ok(());
            }
        } else if self.requests_are_used_up() {
            return Ok(());
        }
        let stream = match TcpStream::connect_timeout(&self.plan.address, self.plan.timeout) {
            Ok(stream) => stream,
            Err(error) => {
                // A request fails with it, so that there is an end to it.
                if self.plan.keep_alive {
                    self.begin_one();
                }
                let was_for_one = !self.waiting.is_empty();
                return if was_for_one {
                    Err(Failure::of("connect", &error))
                } else {
                    Ok(())
                };
            }
        };
        lock(self.tally).connected += 1;
        stream
            .set_nodelay(true)
            .map_err(|error| Failure::of("connect", &error))?;
        let mut responses = Responses::new(self.plan.is_head);
        loop {
            self.send(&stream)?;
            if self.waiting.is_empty() {
                if self.is_last {
                    return Ok(());
                }
                self.wait_until_due();
                continue;
            }
            if self.receive(&stream, &mut responses)? {
                return if self.waiting.is_empty() {
                    Ok(())
                } else {
                    Err(Failure("closed before the answer".to_owned()))
                };
            }
        }
    }

    fn requests_are_used_up(&mut self) -> bool {
        self.is_last |= self.plan.requests.is_some_and(|requests| self.plan.taken() >= requests);
        self.is_last
    }

    fn wait_until_due(&self) {
        if let Some(schedule) = &self.schedule {
            fiber::sleep_until(schedule.due());
        }
    }

    /// Notes that a request is made, if there is one to be made.
    fn begin_one(&mut self) {
        if self.is_last || !self.plan.take() {
            self.is_last = true;
            return;
        }
        self.waiting.push_back(match &mut self.schedule {
            Some(schedule) => {
                let due = schedule.due();
                schedule.advance();
                due
            }
            None => Instant::now(),
        });
        self.output.extend_from_slice(&self.plan.request);
    }

    /// Sends what is due, in one write.
    fn send(&mut self, stream: &TcpStream) -> Result<(), Failure> {
        let is_due = |schedule: &Option<Schedule>| {
            schedule
                .as_ref()
                .is_none_or(|schedule| schedule.due() <= Instant::now())
        };
        while self.plan.keep_alive && !self.is_last && self.waiting.len() < self.plan.pipeline && is_due(&self.schedule)
        {
            self.begin_one();
        }
        if !self.output.is_empty() {
            let sent = write(stream, &self.output, self.plan.timeout);
            self.output.clear();
            sent.map_err(|error| Failure::of("send", &error))?;
        }
        Ok(())
    }

    /// Receives some answers, or a part of one, or nothing where the next request is due. Whether the connection has ended.
    fn receive(&mut self, mut stream: &TcpStream, responses: &mut Responses) -> Result<bool, Failure> {
        let failed = |error: &io::Error| Failure::of("receive", error);
        let mut patience = self.plan.timeout;
        let may_send = self.waiting.len() < self.plan.pipeline && self.plan.keep_alive && !self.is_last;
        if let Some(schedule) = self.schedule.as_ref().filter(|_| may_send) {
            let until_due = schedule.due().saturating_duration_since(Instant::now());
            patience = patience.min(until_due.max(Duration::from_nanos(1)));
        }
        stream
            .set_read_timeout(Some(patience))
            .map_err(|error| failed(&error))?;
        if self.unread == self.input.len() {
            self.input.resize(2 * self.unread, 0);
        }
        let count = match stream.read(&mut self.input[self.unread..]) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(false),
            Err(error) if error.kind() == ErrorKind::WouldBlock && patience < self.plan.timeout => return Ok(false),
            Err(error) => return Err(failed(&error)),
        };
        let now = Instant::now();
        let mut tally = lock(self.tally);
        tally.received += count as u64;
        if count == 0 {
            if let (Some(answer), Some(due)) = (responses.end(), self.waiting.pop_front()) {
                tally.answer(answer.status, now - due);
                return Ok(true);
            }
            return Err(Failure("closed before the answer".to_owned()));
        }
        let (end, mut begin) = (self.unread + count, 0);
        while begin < end {
            let parsed = responses.parse(&self.input[begin..end]);
            let (used, answer) = parsed.map_err(|_| Failure("the answer is no HTTP".to_owned()))?;
            begin += used;
            let Some(answer) = answer else { break };
            let due = self.waiting.pop_front();
            let due = due.ok_or_else(|| Failure("an answer that nobody asked for".to_owned()))?;
            tally.answer(answer.status, now.saturating_duration_since(due));
            if answer.closes || !self.plan.keep_alive {
                return Ok(true);
            }
        }
        self.input.copy_within(begin..end, 0);
        self.unread = end - begin;
        Ok(false)
    }
}

/// Writes all of it, unless the server takes nothing for that long.
fn write(mut stream: &TcpStream, bytes: &[u8], timeout: Duration) -> io::Result<()> {
    stream.set_write_timeout(Some(timeout))?;
    stream.write_all(bytes)
}
