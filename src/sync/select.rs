//! Waiting for the first of several things: what [`select!`](crate::select!) is made of.
//!
//! ```text
//!   1. try each, in random order        one is ready: done
//!   2. join all lines, with one Choice  one has become ready: leave them all, and try again
//!   3. wait on the Choice's baton       whoever calls one of the waiters has chosen it; calls of the others fail
//!   4. leave all lines                  the chosen one finds in its token what it was given
//! ```
//!
//! Only one of several waiters is ever called (`queue.rs`), so no message is taken that is not given to the caller.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use super::channel::{Channel, NotSent, Patience, Receiving, Sending};
use super::queue::{Choice, about_to_wait, checkpoint};
use super::{mpmc, mpsc, oneshot};
use crate::fiber::{self, JoinHandle};
use crate::reactor::Outcome;
use crate::sched::Interest;
use crate::sys::{self, Direction};
use crate::watcher::{self, Watchable, Watched};

/// Nobody was chosen, and nobody will be.
const GIVEN_UP: usize = usize::MAX - 1;

/// Waits for the first of several things, and does what belongs to it.
///
/// ```
/// use kapok::sync::mpsc::{channel, sync_channel};
/// use std::time::Duration;
///
/// kapok::run(|| {
///     let (questions, asked) = channel();
///     let (answers, told) = sync_channel(0);
///     let other = kapok::spawn(move || told.recv());
///     questions.send(6).unwrap();
///     let mut answer = 0;
///     while !other.is_finished() {
///         kapok::select! {
///             recv(asked) -> question => if let Ok(question) = question { answer = question * 7 },
///             send(answers, answer) -> sent => drop(sent), // when told, the other one goes
///             join(other) => {},
///             after(Duration::from_secs(60)) => panic!("nothing has come"),
///         }
///     }
///     assert!(other.join().unwrap().is_ok());
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// | arm                      | it is ready when                                          | what it gives                  |
/// |--------------------------|-----------------------------------------------------------|--------------------------------|
/// | `recv(receiver) -> r`    | there is a message, or all senders are gone               | what `recv` gives; of [`mpsc`], [`mpmc`], [`oneshot`] |
/// | `send(sender, value) -> r` | there is room or a receiver, or all receivers are gone  | what `send` gives; of [`mpsc::SyncSender`], [`mpmc`] |
/// | `join(handle)`           | the fiber of the [`JoinHandle`] has ended: `join` does not wait then | nothing             |
/// | `readable(socket) -> r`, `writable(socket) -> r` | a read, or a write, would not wait: of the sockets of [`net`](crate::net) and [`Async`](crate::net::Async) | `Ok`, or an [`Error`](std::io::Error) where the kernel cannot wait for it |
/// | `after(duration)`, `at(instant)` | the time has come                                 | nothing                        |
/// | `when(function)`         | the function has returned, which waits in a fiber of its own, and is cancelled when another arm is first. It should take nothing | nothing |
/// | `default`, as the last   | no other is                                               | nothing                        |
///
/// The arguments are evaluated once, all of them; what a `send` that was not chosen would have sent is dropped. The value of the arm that is
/// chosen is the value of the whole.
///
/// **Fairness:** the arms are tried in a random order, anew each time: of several that are ready each is chosen with the same
/// probability, so none starves. While it waits, the first that becomes ready is chosen.
///
/// It is a suspension point, unless there is a `default`; cancelled, it has taken and sent nothing.
/// All but `join` and `when` work on plain threads, too; these two need a runtime.
///
/// `readable` and `writable` take nothing: what was found ready may be gone again when somebody else is faster, so read in
/// non-blocking mode where there may be others.
///
/// ```
/// use kapok::net::UnixStream;
/// use std::io::{Read, Write};
/// use std::time::Duration;
///
/// kapok::run(|| -> std::io::Result<()> {
///     let (mut here, mut there) = UnixStream::pair()?;
///     let (stop, stopped) = kapok::sync::mpsc::channel::<()>();
///     let writes = kapok::spawn(move || there.write_all(b"hello"));
///     let text = kapok::select! {
///         readable(here) -> ready => { ready?; let mut text = [0; 5]; here.read_exact(&mut text)?; text },
///         recv(stopped) -> _ => unreachable!("nobody says so"),
///         after(Duration::from_secs(60)) => panic!("nothing has come"),
///     };
///     assert_eq!(&text, b"hello");
///     drop(stop);
///     writes.join().unwrap()
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Panics
/// Where it would have to wait in a section of [`no_suspend`](crate::no_suspend()). On a plain thread, with `join` and `when`, where it
/// would have to wait.
#[macro_export]
macro_rules! select {
    // All arms are read: try them, and do what belongs to the chosen one.
    (@arms $blocks:expr, [$(($case:ident, $pattern:pat, $body:expr))*], $default:expr;) => {{
        let chosen = $crate::sync::select::first(&mut [$(&mut $case),*], $blocks);
        $crate::select!(@chosen chosen, 0_usize, [$(($case, $pattern, $body))*], $default)
    }};
    (@chosen $chosen:ident, $index:expr, [], $default:expr) => { $default };
    (@chosen $chosen:ident, $index:expr, [($case:ident, $pattern:pat, $body:expr) $($rest:tt)*], $default:expr) => {
        if $chosen == Some($index) {
            let $pattern = $case.take();
            $body
        } else {
            $crate::select!(@chosen $chosen, $index + 1_usize, [$($rest)*], $default)
        }
    };
    (@arms $blocks:expr, [$($done:tt)*], $default:expr; default => $body:expr $(,)?) => {
        $crate::select!(@arms false, [$($done)*], $body;)
    };
    (@arms $blocks:expr, [$($done:tt)*], $default:expr; recv($receiver:expr) -> $pattern:pat => $body:expr $(, $($rest:tt)*)?) => {{
        match $crate::sync::select::ReceiveFrom::case(&$receiver) {
            mut case => $crate::select!(@arms $blocks, [$($done)* (case, $pattern, $body)], $default; $($($rest)*)?),
        }
    }};
    (@arms $blocks:expr, [$($done:tt)*], $default:expr;
        send($sender:expr, $value:expr) -> $pattern:pat => $body:expr $(, $($rest:tt)*)?) => {{
        match $crate::sync::select::SendTo::case(&$sender, $value) {
            mut case => $crate::select!(@arms $blocks, [$($done)* (case, $pattern, $body)], $default; $($($rest)*)?),
        }
    }};
    (@arms $blocks:expr, [$($done:tt)*], $default:expr; join($handle:expr) => $body:expr $(, $($rest:tt)*)?) => {{
        match $crate::sync::select::join(&$handle) {
            mut case => $crate::select!(@arms $blocks, [$($done)* (case, (), $body)], $default; $($($rest)*)?),
        }
    }};
    (@arms $blocks:expr, [$($done:tt)*], $default:expr; readable($socket:expr) -> $pattern:pat => $body:expr $(, $($rest:tt)*)?) => {{
        match $crate::sync::select::readable(&$socket) {
            mut case => $crate::select!(@arms $blocks, [$($done)* (case, $pattern, $body)], $default; $($($rest)*)?),
        }
    }};
    (@arms $blocks:expr, [$($done:tt)*], $default:expr; writable($socket:expr) -> $pattern:pat => $body:expr $(, $($rest:tt)*)?) => {{
        match $crate::sync::select::writable(&$socket) {
            mut case => $crate::select!(@arms $blocks, [$($done)* (case, $pattern, $body)], $default; $($($rest)*)?),
        }
    }};
    (@arms $blocks:expr, [$($done:tt)*], $default:expr; after($duration:expr) => $body:expr $(, $($rest:tt)*)?) => {{
        match $crate::sync::select::after($duration) {
            mut case => $crate::select!(@arms $blocks, [$($done)* (case, (), $body)], $default; $($($rest)*)?),
        }
    }};
    (@arms $blocks:expr, [$($done:tt)*], $default:expr; at($instant:expr) => $body:expr $(, $($rest:tt)*)?) => {{
        match $crate::sync::select::at($instant) {
            mut case => $crate::select!(@arms $blocks, [$($done)* (case, (), $body)], $default; $($($rest)*)?),
        }
    }};
    (@arms $blocks:expr, [$($done:tt)*], $default:expr; when($function:expr) => $body:expr $(, $($rest:tt)*)?) => {{
        match $crate::sync::select::when($function) {
            mut case => $crate::select!(@arms $blocks, [$($done)* (case, (), $body)], $default; $($($rest)*)?),
        }
    }};
    (@arms $($wrong:tt)*) => {
        compile_error!("an arm of select! is recv(..) -> pattern, send(..) -> pattern, join(..), readable(..) -> pattern, writable(..) -> pattern, after(..), at(..), when(..) or, as the last, default")
    };
    ($($arms:tt)+) => {
        $crate::select!(@arms true, [], ::std::unreachable!("one of them is chosen"); $($arms)+)
    };
}

/// One of several things to wait for.
#[doc(hidden)]
pub trait Case {
    /// Does it if that needs no waiting.
    fn try_now(&mut self) -> bool;

    /// Joins the line; false if there is no need to wait.
    fn enlist(&mut self, _: &Ticket<'_>) -> bool {
        true
    }

    /// Leaves the line, having been chosen or not.
    fn leave(&mut self, _was_chosen: bool) {}

    /// When to look again at the latest.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// What waits in a fiber of its own.
    fn helper(&mut self) -> Option<Box<dyn FnOnce()>> {
        None
    }
}

/// With whom, and as which of them, to wait.
#[doc(hidden)]
#[derive(Debug)]
pub struct Ticket<'a>(&'a Arc<Choice>, usize);

/// Those that have joined a line. When this is dropped they leave.
struct Waiting<'a, 'c> {
    cases: &'a mut [&'c mut dyn Case],
    choice: Arc<Choice>,
    helpers: Vec<JoinHandle<()>>,
}

impl Drop for Waiting<'_, '_> {
    fn drop(&mut self) {
        self.choice.choose(GIVEN_UP);
        let chosen = self.choice.chosen();
        // Before anything else runs here: afterwards nobody waits for what the helpers waited for.
        self.helpers.iter().for_each(JoinHandle::cancel);
        for (i, case) in self.cases.iter_mut().enumerate() {
            case.leave(chosen == Some(i));
        }
    }
}

/// Which of them it was, which is ready now; `None` if none is, and it is not to wait.
#[doc(hidden)]
pub fn first(cases: &mut [&mut dyn Case], blocks: bool) -> Option<usize> {
    if blocks {
        checkpoint();
    }
    let mut order: Vec<usize> = (0..cases.len()).collect();
    loop {
        shuffle(&mut order);
        let ready = order.iter().copied().find(|&i| cases[i].try_now());
        if ready.is_some() || !blocks {
            return ready;
        }
        about_to_wait();
        let chosen = wait(cases);
        if chosen.is_some() {
            return chosen;
        }
    }
}

/// Waits until one is chosen, or has perhaps become ready, or the fiber is cancelled.
fn wait(cases: &mut [&mut dyn Case]) -> Option<usize> {
    let choice = Arc::new(Choice::new());
    let deadline = cases.iter().filter_map(|case| case.deadline()).min();
    let mut waiting = Waiting {
        cases,
        choice: Arc::clone(&choice),
        helpers: Vec::new(),
    };
    let mut has_to_wait = true;
    for (i, case) in waiting.cases.iter_mut().enumerate() {
        has_to_wait = has_to_wait && case.enlist(&Ticket(&choice, i));
        if let (true, Some(helper)) = (has_to_wait, case.helper()) {
            let choice = Arc::clone(&choice);
            waiting.helpers.push(fiber::spawn_local(move || {
                helper();
                if choice.choose(i) {
                    choice.baton.post();
                }
            }));
        }
    }
    if has_to_wait {
        choice.baton.wait_until_cancelled(deadline);
    }
    drop(waiting);
    choice.chosen().filter(|&which| which != GIVEN_UP)
}

/// A random order; each is as likely as the others, as far as that goes with numbers of 64 bits.
fn shuffle(order: &mut [usize]) {
    thread_local!(static STATE: Cell<u64> = const { Cell::new(0) });
    STATE.with(|state| {
        let mut x = state.get();
        if x == 0 {
            // Different on each thread.
            x = (&raw const *state).addr() as u64 | 1;
        }
        for i in (1..order.len()).rev() {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            let number = x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
            order.swap(i, usize::try_from(number).expect("32 bits") % (i + 1));
        }
        state.set(x);
    });
}

/// What `recv` takes.
#[doc(hidden)]
pub trait ReceiveFrom<T> {
    fn case(&self) -> Recv<'_, T>;
}

impl<T> ReceiveFrom<T> for mpsc::Receiver<T> {
    fn case(&self) -> Recv<'_, T> {
        Recv::new(&self.channel)
    }
}

impl<T> ReceiveFrom<T> for mpmc::Receiver<T> {
    fn case(&self) -> Recv<'_, T> {
        Recv::new(&self.0)
    }
}

impl<T> ReceiveFrom<T> for oneshot::Receiver<T> {
    fn case(&self) -> Recv<'_, T> {
        Recv::new(&self.0.0)
    }
}

impl<T, R: ReceiveFrom<T>> ReceiveFrom<T> for &R {
    fn case(&self) -> Recv<'_, T> {
        R::case(self)
    }
}

/// What `send` takes.
#[doc(hidden)]
pub trait SendTo<T> {
    fn case(&self, value: T) -> Send<'_, T>;
}

impl<T> SendTo<T> for mpsc::SyncSender<T> {
    fn case(&self, value: T) -> Send<'_, T> {
        Send::new(&self.0, value)
    }
}

impl<T> SendTo<T> for mpmc::Sender<T> {
    fn case(&self, value: T) -> Send<'_, T> {
        Send::new(&self.0, value)
    }
}

impl<T, S: SendTo<T>> SendTo<T> for &S {
    fn case(&self, value: T) -> Send<'_, T> {
        S::case(self, value)
    }
}

#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "nobody sees it")]
pub struct Recv<'a, T> {
    channel: &'a Channel<T>,
    receiving: Option<Receiving<'a, T>>,
    received: Option<Result<T, RecvError>>,
}

impl<'a, T> Recv<'a, T> {
    fn new(channel: &'a Channel<T>) -> Recv<'a, T> {
        Recv {
            channel,
            receiving: None,
            received: None,
        }
    }

    pub fn take(&mut self) -> Result<T, RecvError> {
        self.received.take().expect("it was chosen")
    }
}

impl<T> Case for Recv<'_, T> {
    fn try_now(&mut self) -> bool {
        self.received = match self.channel.recv(Patience::None) {
            Ok(message) => Some(Ok(message)),
            Err(RecvTimeoutError::Disconnected) => Some(Err(RecvError)),
            Err(RecvTimeoutError::Timeout) => None,
        };
        self.received.is_some()
    }

    fn enlist(&mut self, ticket: &Ticket<'_>) -> bool {
        self.receiving = self.channel.enlist_receiver(ticket.0, ticket.1);
        self.receiving.is_some()
    }

    fn leave(&mut self, was_chosen: bool) {
        let token = self.receiving.take().and_then(Receiving::leave);
        if was_chosen {
            self.received = Some(token.ok_or(RecvError));
        }
    }
}

#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "nobody sees it")]
pub struct Send<'a, T> {
    channel: &'a Channel<T>,
    message: Option<T>,
    sending: Option<Sending<'a, T>>,
    sent: Option<Result<(), SendError<T>>>,
}

impl<'a, T> Send<'a, T> {
    fn new(channel: &'a Channel<T>, message: T) -> Send<'a, T> {
        Send {
            channel,
            message: Some(message),
            sending: None,
            sent: None,
        }
    }

    pub fn take(&mut self) -> Result<(), SendError<T>> {
        self.sent.take().expect("it was chosen")
    }
}

impl<T> Case for Send<'_, T> {
    fn try_now(&mut self) -> bool {
        let message = self.message.take().expect("it has not been sent");
        match self.channel.send(message, Patience::None) {
            Ok(()) => self.sent = Some(Ok(())),
            Err(NotSent::Disconnected(message)) => self.sent = Some(Err(SendError(message))),
            Err(NotSent::Full(message)) => self.message = Some(message),
        }
        self.sent.is_some()
    }

    fn enlist(&mut self, ticket: &Ticket<'_>) -> bool {
        let message = self.message.take().expect("it has not been sent");
        match self.channel.enlist_sender(message, ticket.0, ticket.1) {
            Ok(sending) => self.sending = Some(sending),
            Err(message) => self.message = Some(message),
        }
        self.sending.is_some()
    }

    fn leave(&mut self, was_chosen: bool) {
        let Some(sending) = self.sending.take() else { return };
        match sending.leave() {
            Some(message) if was_chosen => self.sent = Some(Err(SendError(message))),
            None => self.sent = Some(Ok(())),
            message => self.message = message,
        }
    }
}

#[doc(hidden)]
#[derive(Debug)]
pub struct Time(Option<Instant>);

/// `None` is never.
#[doc(hidden)]
#[must_use]
pub fn after(duration: Duration) -> Time {
    Time(Instant::now().checked_add(duration))
}

#[doc(hidden)]
#[must_use]
pub fn at(instant: Instant) -> Time {
    Time(Some(instant))
}

impl Time {
    pub fn take(&mut self) {}
}

impl Case for Time {
    fn try_now(&mut self) -> bool {
        self.0.is_some_and(|at| at <= Instant::now())
    }

    fn deadline(&self) -> Option<Instant> {
        self.0
    }
}

#[doc(hidden)]
#[derive(Debug)]
pub struct Readiness<'a> {
    watched: Watched<'a>,
    direction: Direction,
    interest: Option<Interest>,
    found: Option<io::Result<()>>,
}

#[doc(hidden)]
#[must_use]
pub fn readable<W: Watchable + ?Sized>(socket: &W) -> Readiness<'_> {
    Readiness::new(socket.watched(), Direction::Read)
}

#[doc(hidden)]
#[must_use]
pub fn writable<W: Watchable + ?Sized>(socket: &W) -> Readiness<'_> {
    Readiness::new(socket.watched(), Direction::Write)
}

/// What the reactor wakes for one of several.
struct Chooses(Arc<Choice>, usize);

impl Wake for Chooses {
    fn wake(self: Arc<Self>) {
        if self.0.choose(self.1) {
            self.0.baton.post();
        }
    }
}

impl<'a> Readiness<'a> {
    fn new(watched: Watched<'a>, direction: Direction) -> Readiness<'a> {
        Readiness {
            watched,
            direction,
            interest: None,
            found: None,
        }
    }

    pub fn take(&mut self) -> io::Result<()> {
        self.found.take().expect("it was chosen")
    }
}

impl Case for Readiness<'_> {
    fn try_now(&mut self) -> bool {
        if self.found.is_none() {
            self.found = match sys::is_ready(self.watched.0.fd, self.direction) {
                Ok(is_ready) => is_ready.then_some(Ok(())),
                Err(error) => Some(Err(error)),
            };
        }
        self.found.is_some()
    }

    fn enlist(&mut self, ticket: &Ticket<'_>) -> bool {
        let waker = Waker::from(Arc::new(Chooses(Arc::clone(ticket.0), ticket.1)));
        match watcher::watch(self.watched.0, self.direction, &waker).map(|it| (it.outcome(), it)) {
            Ok((None, interest)) => self.interest = Some(interest),
            // Ready by now. Where another thread has found that out, it chooses this case, or is about to.
            Ok((Some(outcome), _)) => self.found = Some(found(outcome)),
            Err(error) => self.found = Some(Err(error)),
        }
        self.interest.is_some()
    }

    fn leave(&mut self, was_chosen: bool) {
        // Without an interest it was over when it was to join the line, and what was found then stays.
        let Some(interest) = self.interest.take() else { return };
        if was_chosen {
            self.found = interest.outcome().map(found);
        }
    }
}

fn found(outcome: Outcome) -> io::Result<()> {
    match outcome {
        // Nobody watches any more, because the listener was closed: a call will say so.
        Ok(_) | Err(libc::ECANCELED) => Ok(()),
        Err(errno) => Err(io::Error::from_raw_os_error(errno)),
    }
}

#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "nobody sees it")]
pub struct Join<'a, T>(&'a JoinHandle<T>);

#[doc(hidden)]
pub fn join<T: 'static>(handle: &JoinHandle<T>) -> Join<'_, T> {
    Join(handle)
}

impl<T> Join<'_, T> {
    pub fn take(&mut self) {}
}

impl<T: 'static> Case for Join<'_, T> {
    fn try_now(&mut self) -> bool {
        self.0.is_finished()
    }

    fn helper(&mut self) -> Option<Box<dyn FnOnce()>> {
        Some(self.0.wait_for_its_end())
    }
}

#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "nobody sees it")]
pub struct When<F>(Option<F>, bool);

#[doc(hidden)]
pub fn when<F: FnOnce() + Clone + 'static>(function: F) -> When<F> {
    When(Some(function), false)
}

impl<F> When<F> {
    pub fn take(&mut self) {}
}

impl<F: FnOnce() + Clone + 'static> Case for When<F> {
    fn try_now(&mut self) -> bool {
        self.1
    }

    fn leave(&mut self, was_chosen: bool) {
        self.1 = was_chosen;
    }

    fn helper(&mut self) -> Option<Box<dyn FnOnce()>> {
        let function = self.0.clone()?;
        Some(Box::new(function))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another thread may find it ready, and choose it, before it has looked how that ended.
    #[test]
    fn what_is_ready_when_it_joins_the_line_may_be_chosen_all_the_same() {
        let listener = crate::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut case = readable(&listener);
        let choice = Arc::new(Choice::new());
        // On this thread nobody watches: it looks once, and the kernel says that it is ready.
        assert!(!case.enlist(&Ticket(&choice, 0)));
        assert!(choice.choose(0));
        case.leave(choice.chosen() == Some(0));
        case.take().unwrap();
    }
}
