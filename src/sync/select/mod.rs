//! Waiting for the first of several things: what [`select!`](crate::select!) is made of.
//!
//! ```text
//!   1. try each, in random order        one is ready: done
//!   2. join all lines, with one Choice  one has become ready: leave them all, and try again
//!   3. wait on the Choice's baton       whoever calls one of the waiters has chosen it; calls of the others fail
//!   4. leave all lines                  the chosen one finds in its token what it was given
//! ```
//!
//! Only one of several waiters is ever called (`queue`), so no message is taken that is not given to the caller.

mod channels;
mod ends;
mod given;
mod readiness;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use super::queue::{Choice, about_to_wait, checkpoint};
use crate::fiber::{self, JoinHandle};
use crate::sched::Worker;

#[doc(hidden)]
pub use channels::{Changed, ReceiveFrom, Recv, RecvBroadcast, Send, SendTo, changed};
#[doc(hidden)]
pub use ends::{Join, Time, When, after, at, join, when};
#[doc(hidden)]
pub use given::{Acquire, IsSet, acquire, wait};
#[doc(hidden)]
pub use readiness::{Readiness, readable, writable};

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
/// | `recv(receiver) -> r`    | there is a message, or all senders are gone; of `broadcast`, or some are lost | what `recv` gives; of [`mpsc`](crate::sync::mpsc), [`mpmc`](crate::sync::mpmc), [`oneshot`](crate::sync::oneshot), [`broadcast`](crate::sync::broadcast) |
/// | `send(sender, value) -> r` | there is room or a receiver, or all receivers are gone  | what `send` gives; of [`SyncSender`](crate::sync::mpsc::SyncSender), [`mpmc`](crate::sync::mpmc) |
/// | `changed(receiver) -> r` | the value has changed since the [`watch::Receiver`](crate::sync::watch::Receiver) has seen a change, or all senders are gone | what `changed` gives |
/// | `acquire(semaphore) -> r`, `acquire(semaphore, n) -> r` | the [`Semaphore`](crate::sync::Semaphore) has a permit, or `n`, or is closed | what `acquire` gives |
/// | `wait(event)`            | the [`Event`](crate::sync::Event) is set                  | nothing                        |
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
/// It is a suspension point, unless there is a `default`; cancelled, it has taken and sent nothing. A fiber
/// that comes to the `default` 64 times in a row lets others run, but not within [`no_suspend`](crate::no_suspend()).
/// All but `join` and `when` work on plain threads, too; these two need a runtime.
///
/// Several `acquire` arms on one semaphore stand in its line in the order in which they are written: while it waits,
/// one that wants few permits comes after one before it that wants many.
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
    (@arms $blocks:expr, [$($done:tt)*], $default:expr; changed($receiver:expr) -> $pattern:pat => $body:expr $(, $($rest:tt)*)?) => {{
        match $crate::sync::select::changed(&$receiver) {
            mut case => $crate::select!(@arms $blocks, [$($done)* (case, $pattern, $body)], $default; $($($rest)*)?),
        }
    }};
    (@arms $blocks:expr, [$($done:tt)*], $default:expr; wait($event:expr) => $body:expr $(, $($rest:tt)*)?) => {{
        match $crate::sync::select::wait(&$event) {
            mut case => $crate::select!(@arms $blocks, [$($done)* (case, (), $body)], $default; $($($rest)*)?),
        }
    }};
    (@arms $blocks:expr, [$($done:tt)*], $default:expr; acquire($semaphore:expr) -> $pattern:pat => $body:expr $(, $($rest:tt)*)?) => {{
        match $crate::sync::select::acquire(&$semaphore, 1) {
            mut case => $crate::select!(@arms $blocks, [$($done)* (case, $pattern, $body)], $default; $($($rest)*)?),
        }
    }};
    (@arms $blocks:expr, [$($done:tt)*], $default:expr;
        acquire($semaphore:expr, $permits:expr) -> $pattern:pat => $body:expr $(, $($rest:tt)*)?) => {{
        match $crate::sync::select::acquire(&$semaphore, $permits) {
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
        compile_error!("an arm of select! is recv(..) -> pattern, send(..) -> pattern, changed(..) -> pattern, acquire(..) -> pattern, wait(..), join(..), readable(..) -> pattern, writable(..) -> pattern, after(..), at(..), when(..) or, as the last, default")
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

    /// Whether it is done, having been chosen and left; else somebody was faster, and it has to wait again.
    fn is_done(&mut self) -> bool {
        true
    }

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
        if ready.is_none() && !blocks {
            Worker::looked_in_vain();
        }
        if ready.is_some() || !blocks {
            return ready;
        }
        about_to_wait();
        let chosen = wait_for_one(cases).filter(|&i| cases[i].is_done());
        if chosen.is_some() {
            return chosen;
        }
    }
}

/// Waits until one is chosen, or has perhaps become ready, or the fiber is cancelled.
fn wait_for_one(cases: &mut [&mut dyn Case]) -> Option<usize> {
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
