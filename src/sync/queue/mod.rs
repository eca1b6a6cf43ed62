//! The line of those who wait for something: what every primitive of this module is made of, on top of the Baton.
//!
//! ```text
//!   Queue = lock { state, lists }               lists[0]      front                      back
//!                    |      |                               +--------+   +--------+   +--------+
//!                    |      +-----------------------------> | Node   |<->| Node   |<->| Node   |
//!                    |                                      | token  |   | token  |   | token  |
//!           what the primitive knows                        | baton  |   | baton  |   | baton  |
//!                                                           +--------+   +--------+   +--------+
//!                                                       each in the frame of the one that waits in it
//!
//!   wait:  locks, joins a list, unlocks, waits for its own baton
//!   call:  takes the front out, under the lock, perhaps leaves something in its token; posts its baton after unlocking
//! ```
//!
//! Whoever waits has been called, or gives up (its time is over, or it is cancelled), and the lock decides which: who gives
//! up takes its node out of the list, before it is resumed. Where somebody has called it just then, there is nothing to take
//! out, and it has been called: it uses what it was given, and is unwound at its next suspension point, if it was cancelled.
//! So nothing that was given gets lost, and there is nothing to pass on.
//!
//! The lock is one of threads ([`super::spin`]), and held for some stores, and now and then while memory for what is kept is
//! taken. Nobody waits, or calls a program's code, while holding it.
//!
//! # Invariant
//! A node that is in a list, or in the chain of a [`Locked`] that has called it, is alive: its frame does not end before
//! the node was taken out under the lock on its own behalf, or its baton was posted, which is the last that whoever called
//! it does with it. Links and token are touched by whoever holds the lock, while the node is in a list; by whoever has
//! called it, until the post; and then by its frame.

#![allow(
    unsafe_code,
    reason = "waiters lie on other stacks and are reached by their addresses"
)]

mod chain;

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::spin::SpinLock;
use crate::baton::Baton;
use crate::no_suspend;
use crate::sched::{FiberRef, UNWINDS, Worker};
use chain::Chain;

/// A lock around `S`, and `N` lists of waiters, each with a token `T`.
///
/// # Invariant
/// `inner` belongs to whoever holds the lock.
pub(super) struct Queue<S, T, const N: usize = 1> {
    lock: SpinLock,
    inner: UnsafeCell<Inner<S, T, N>>,
}

struct Inner<S, T, const N: usize> {
    state: S,
    lists: [List<T>; N],
    /// Empty where the lock is free.
    called: Chain<T>,
}

// SAFETY: the nodes are reached as the module's invariant says, so a token is used by one thread at a time.
unsafe impl<S: Send, T: Send, const N: usize> Send for Queue<S, T, N> {}
// SAFETY: as above; and by the invariant one thread at a time has the rest.
unsafe impl<S: Send, T: Send, const N: usize> Sync for Queue<S, T, N> {}

struct List<T> {
    front: Option<NonNull<Node<T>>>,
    back: Option<NonNull<Node<T>>>,
    len: usize,
}

/// One that waits. See the module's invariant.
struct Node<T> {
    links: UnsafeCell<Links<T>>,
    /// Which list it is in; `None` if it was taken out. Touched under the lock alone.
    list: UnsafeCell<Option<usize>>,
    token: UnsafeCell<Option<T>>,
    /// Posted last of all.
    baton: Baton,
    /// With whom, and as which of several, it waits for the first one: only one of them is called.
    choice: Option<(Arc<Choice>, usize)>,
}

struct Links<T> {
    prev: Option<NonNull<Node<T>>>,
    next: Option<NonNull<Node<T>>>,
}

/// What the nodes of one `select` have in common: which of them was called.
#[derive(Debug)]
pub(super) struct Choice {
    chosen: AtomicUsize,
    pub(super) baton: Baton,
}

const NOBODY: usize = usize::MAX;

impl Choice {
    pub(super) fn new() -> Choice {
        Choice {
            chosen: AtomicUsize::new(NOBODY),
            baton: Baton::new(),
        }
    }

    /// Chooses one of them; false if one has been chosen already.
    pub(super) fn choose(&self, which: usize) -> bool {
        self.chosen
            .compare_exchange(NOBODY, which, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    pub(super) fn chosen(&self) -> Option<usize> {
        Some(self.chosen.load(Ordering::Acquire)).filter(|&which| which != NOBODY)
    }
}

/// Where in a list to begin to wait.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Front,
    Back,
}

/// How a wait ended.
pub(super) enum Waited<'a, S, T, const N: usize> {
    /// Somebody has called, and left this in the token.
    Called(T),
    /// The time is over, and nobody has called. Still locked: what depends on who waits can be put right.
    TimedOut(Locked<'a, S, T, N>, T),
}

// As a `Mutex`: a panic under the lock leaves the lists as they were.
impl<S, T, const N: usize> UnwindSafe for Queue<S, T, N> {}
impl<S, T, const N: usize> RefUnwindSafe for Queue<S, T, N> {}

impl<S, T, const N: usize> Queue<S, T, N> {
    pub(super) const fn new(state: S) -> Queue<S, T, N> {
        let lists = [const {
            List {
                front: None,
                back: None,
                len: 0,
            }
        }; N];
        Queue {
            lock: SpinLock::new(),
            inner: UnsafeCell::new(Inner {
                state,
                lists,
                called: Chain::EMPTY,
            }),
        }
    }

    #[inline]
    pub(super) fn lock(&self) -> Locked<'_, S, T, N> {
        self.lock.lock();
        Locked { queue: self }
    }
}

/// The queue while it is locked. Whoever was called in this time goes on when it is unlocked. A panic unlocks it, and leaves
/// the lists as they are.
///
/// One word, which is handed on in a register.
///
/// # Invariant
/// While there is one, the lock is held for it.
pub(super) struct Locked<'a, S, T, const N: usize = 1> {
    queue: &'a Queue<S, T, N>,
}

impl<S, T, const N: usize> Locked<'_, S, T, N> {
    #[inline]
    fn inner(&self) -> &Inner<S, T, N> {
        // SAFETY: the invariants of both.
        unsafe { &*self.queue.inner.get() }
    }

    #[inline]
    fn inner_mut(&mut self) -> &mut Inner<S, T, N> {
        // SAFETY: as above.
        unsafe { &mut *self.queue.inner.get() }
    }
}

impl<S, T, const N: usize> Drop for Locked<'_, S, T, N> {
    #[inline]
    fn drop(&mut self) {
        let called = std::mem::replace(&mut self.inner_mut().called, Chain::EMPTY);
        self.queue.lock.unlock();
        drop(called);
    }
}

impl<S, T, const N: usize> Deref for Locked<'_, S, T, N> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.inner().state
    }
}

impl<S, T, const N: usize> DerefMut for Locked<'_, S, T, N> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.inner_mut().state
    }
}

impl<'a, S, T, const N: usize> Locked<'a, S, T, N> {
    pub(super) fn is_empty(&self, list: usize) -> bool {
        self.inner().lists[list].front.is_none()
    }

    /// How many wait there.
    pub(super) fn len(&self, list: usize) -> usize {
        self.inner().lists[list].len
    }

    /// The token of who is next.
    pub(super) fn front(&self, list: usize) -> Option<&T> {
        let node = self.inner().lists[list].front?;
        // SAFETY: in a list, so alive, by the invariant.
        let node = unsafe { node.as_ref() };
        // SAFETY: the lock is held.
        unsafe { &*node.token.get() }.as_ref()
    }

    /// Takes the front out, whose wait is thereby over; it finds in its token what is left there.
    pub(super) fn call(&mut self, list: usize) -> Option<&mut T> {
        self.call_if(list, |_, _| true)
    }

    /// As [`call`](Locked::call), if that is true of the front's token. Of several that wait together, another one may have been
    /// called: then it is asked about the next.
    pub(super) fn call_if(&mut self, list: usize, is_right: impl Fn(&S, &T) -> bool) -> Option<&mut T> {
        loop {
            if !self
                .front(list)
                .is_some_and(|token| is_right(&self.inner().state, token))
            {
                return None;
            }
            let node = self.inner_mut().pop_front(list)?;
            // SAFETY: alive until it is posted, by the chain that it is put into.
            let is_chosen = unsafe { node.as_ref() }
                .choice
                .as_ref()
                .is_none_or(|(choice, which)| choice.choose(*which));
            self.inner_mut().called.push(node, is_chosen);
            if is_chosen {
                // SAFETY: alive, as above.
                let token = unsafe { node.as_ref() }.token.get();
                // SAFETY: whoever has called it is us.
                return unsafe { &mut *token }.as_mut();
            }
        }
    }

    /// Calls all of a list; each token is as its owner has left it.
    pub(super) fn call_all(&mut self, list: usize) {
        while self.call(list).is_some() {}
    }

    /// Whether somebody waits in `list` who could be called, and does not belong to `choice`.
    pub(super) fn has_other(&self, list: usize, choice: &Choice) -> bool {
        let mut next = self.inner().lists[list].front;
        while let Some(node) = next {
            // SAFETY: in a list, so alive.
            let node = unsafe { node.as_ref() };
            match &node.choice {
                Some((theirs, _)) if std::ptr::eq(&raw const **theirs, choice) || theirs.chosen().is_some() => {}
                _ => return true,
            }
            // SAFETY: the lock is held.
            next = unsafe { &*node.links.get() }.next;
        }
        false
    }

    /// Waits in `list` until somebody calls, at most until `deadline`; if that has passed, not at all. It is a suspension
    /// point, and refused by `no_suspend` before anything was done.
    ///
    /// `then` is called when the waiter is in the list, and the queue unlocked. `gone` is called when the fiber was
    /// cancelled, and is about to be unwound, with the waiter out of the list: what depends on who waits can be put right.
    /// Neither may panic, and `gone` may not drop a program's values, as the queue is locked.
    pub(super) fn wait(
        self,
        list: usize,
        place: Place,
        token: T,
        deadline: Option<Instant>,
        then: impl FnOnce(),
        gone: impl FnOnce(&mut Locked<'a, S, T, N>),
    ) -> Waited<'a, S, T, N> {
        Worker::with_fiber(|here| self.wait_here(here, list, place, token, deadline, then, gone))
    }

    /// As [`wait`](Locked::wait), for a caller that knows what [`Worker::with_fiber`] tells.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "one more than `wait`")]
    pub(super) fn wait_here(
        self,
        here: Here<'_>,
        list: usize,
        place: Place,
        token: T,
        deadline: Option<Instant>,
        then: impl FnOnce(),
        gone: impl FnOnce(&mut Locked<'a, S, T, N>),
    ) -> Waited<'a, S, T, N> {
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            // What goes with `then` may wake others, which is too much for under the lock.
            let queue = self.queue;
            drop(self);
            drop(then);
            return Waited::TimedOut(queue.lock(), token);
        }
        // Should anything unwind, the token goes after the lock.
        let (token, this) = (token, self);
        if here.is_some_and(may_not_wait) {
            // A panic calls the program's hook, which may want this lock, and the search for who catches it takes time.
            drop(this);
            about_to_wait();
            unreachable!("nothing has changed");
        }
        let node = Node::new(list, token, None);
        let queue = this.queue;
        // In this frame, which does not end before the wait has, and that not while it is in the list, or before whoever has
        // called it has posted.
        let place_of_it = NonNull::from(&node);
        // SAFETY: this queue's, alive, and the lock is held.
        let leave = move || unsafe { queue.lock().inner_mut().unlink(place_of_it) };
        // Twice the same, so that the first is inlined: nothing is copied from frame to frame right after it was written.
        let is_called = if let Some((worker, fiber)) = here {
            // SAFETY: new, and alive for long enough.
            let join = || unsafe { this.join(list, place_of_it, place, then) };
            node.baton.wait_in_line(worker, fiber, deadline, join, leave)
        } else {
            let mut both = Some((this, then));
            let mut join = || {
                let (this, then) = both.take().expect("called once");
                // SAFETY: as above.
                unsafe { this.join(list, place_of_it, place, then) };
            };
            node.baton.wait_in_line_in_thread(deadline, &mut join, &leave)
        };
        if is_called {
            return Waited::Called(node.into_token());
        }
        let mut locked = queue.lock();
        if deadline.is_none_or(|deadline| deadline > Instant::now()) {
            gone(&mut locked);
            drop(locked);
            about_to_wait();
            unreachable!("a wait that is neither called nor over was cancelled");
        }
        Waited::TimedOut(locked, node.into_token())
    }

    /// Puts `node` into `list`, unlocks, and calls `then`.
    ///
    /// # Safety
    /// `node` is new, and will be kept as the invariant demands.
    #[inline(always)]
    unsafe fn join(mut self, list: usize, node: NonNull<Node<T>>, place: Place, then: impl FnOnce()) {
        // SAFETY: the caller's promise.
        unsafe { self.inner_mut().link(list, node, place) };
        drop(self);
        then();
    }

    /// Joins `list` as one of several that wait together for the first one to be called.
    pub(super) fn enlist(mut self, list: usize, token: T, choice: &Arc<Choice>, which: usize) -> Enlisted<'a, S, T, N> {
        let node = Box::new(Node::new(list, token, Some((Arc::clone(choice), which))));
        // A leaked box stays where it is, so a forgotten `Enlisted` is harmless.
        let node = NonNull::from(Box::leak(node));
        // SAFETY: new, and `Enlisted` keeps it alive as the invariant demands.
        unsafe { self.inner_mut().link(list, node, Place::Back) };
        Enlisted {
            queue: self.queue,
            node,
        }
    }
}

impl<S, T, const N: usize> Inner<S, T, N> {
    /// # Safety
    /// `node` is new, made for `list`, and will be kept as the invariant demands.
    #[inline(always)]
    unsafe fn link(&mut self, list: usize, node: NonNull<Node<T>>, place: Place) {
        // SAFETY: the caller's promise.
        let links = unsafe { links_of(node) };
        let list = &mut self.lists[list];
        list.len += 1;
        match place {
            Place::Back => links.prev = list.back.replace(node),
            Place::Front => links.next = list.front.replace(node),
        }
        match (links.prev, links.next) {
            // SAFETY: in the list, and the lock is held.
            (Some(prev), _) => unsafe { links_of(prev) }.next = Some(node),
            // SAFETY: as above.
            (_, Some(next)) => unsafe { links_of(next) }.prev = Some(node),
            (None, None) => (list.front, list.back) = (Some(node), Some(node)),
        }
    }

    /// Takes the first of `list` out.
    #[inline]
    fn pop_front(&mut self, list: usize) -> Option<NonNull<Node<T>>> {
        let list = &mut self.lists[list];
        let front = list.front?;
        // SAFETY: in a list, so alive.
        let node = unsafe { front.as_ref() };
        // SAFETY: the lock is held.
        unsafe { *node.list.get() = None };
        // SAFETY: in a list, and the lock is held.
        let next = unsafe { &mut *node.links.get() }.next.take();
        list.front = next;
        list.len -= 1;
        match next {
            // SAFETY: in the list, and the lock is held.
            Some(next) => unsafe { links_of(next) }.prev = None,
            None => list.back = None,
        }
        Some(front)
    }

    /// Takes `node` out; false if that has been done.
    ///
    /// # Safety
    /// It was linked in this queue, and is alive.
    unsafe fn unlink(&mut self, node: NonNull<Node<T>>) -> bool {
        // SAFETY: alive, by the caller's promise.
        let node = unsafe { node.as_ref() };
        // SAFETY: the lock is held.
        let Some(list) = (unsafe { &mut *node.list.get() }).take() else {
            return false;
        };
        // SAFETY: in a list, and the lock is held.
        let links = unsafe { &mut *node.links.get() };
        let (prev, next) = (links.prev.take(), links.next.take());
        let list = &mut self.lists[list];
        list.len -= 1;
        match prev {
            // SAFETY: in the list, and the lock is held.
            Some(prev) => unsafe { links_of(prev) }.next = next,
            None => list.front = next,
        }
        match next {
            // SAFETY: as above.
            Some(next) => unsafe { links_of(next) }.prev = prev,
            None => list.back = prev,
        }
        true
    }
}

/// # Safety
/// The node is alive, the lock is held or the caller has called it, and nobody else here looks at its links.
unsafe fn links_of<'a, T>(node: NonNull<Node<T>>) -> &'a mut Links<T> {
    // SAFETY: the caller's promise.
    let links = unsafe { node.as_ref() }.links.get();
    // SAFETY: the caller's promise.
    unsafe { &mut *links }
}

impl<T> Node<T> {
    fn new(list: usize, token: T, choice: Option<(Arc<Choice>, usize)>) -> Node<T> {
        Node {
            links: UnsafeCell::new(Links { prev: None, next: None }),
            list: UnsafeCell::new(Some(list)),
            token: UnsafeCell::new(Some(token)),
            baton: Baton::new(),
            choice,
        }
    }

    fn into_token(self) -> T {
        self.token.into_inner().expect("it has not been taken")
    }
}

/// One of several that wait together. It leaves its list when it is dropped.
pub(super) struct Enlisted<'a, S, T, const N: usize> {
    queue: &'a Queue<S, T, N>,
    node: NonNull<Node<T>>,
}

impl<S, T, const N: usize> Enlisted<'_, S, T, N> {
    /// Leaves the list, and gives the token; as it was, if another one was called.
    pub(super) fn leave(self) -> T {
        let mut this = std::mem::ManuallyDrop::new(self);
        // SAFETY: once, since nothing is dropped.
        unsafe { this.take_out() }
    }

    /// # Safety
    /// It is called once.
    unsafe fn take_out(&mut self) -> T {
        let mut locked = self.queue.lock();
        // SAFETY: this queue's, and the lock is held.
        let is_called = !unsafe { locked.inner_mut().unlink(self.node) };
        drop(locked);
        if is_called {
            // SAFETY: our box.
            unsafe { self.node.as_ref() }.baton.wait_to_the_end();
        }
        // SAFETY: nobody has its address any more, and it was leaked for this.
        unsafe { Box::from_raw(self.node.as_ptr()) }.into_token()
    }
}

impl<S, T, const N: usize> Drop for Enlisted<'_, S, T, N> {
    fn drop(&mut self) {
        // SAFETY: `leave` does not drop.
        drop(unsafe { self.take_out() });
    }
}

/// What [`Worker::with_fiber`] tells.
pub(super) type Here<'a> = Option<(&'a Worker, FiberRef)>;

/// Whether [`about_to_wait`] would not return.
#[inline(always)]
fn may_not_wait((worker, fiber): (&Worker, FiberRef)) -> bool {
    no_suspend::depth() > 0 || (UNWINDS && worker.is_pending(fiber))
}

/// A suspension point where something will be waited for: unwinds a fiber that is cancelled.
///
/// # Panics
/// In a section of `no_suspend`.
pub(super) fn about_to_wait() {
    Worker::with_fiber(|here| {
        if let Some((worker, fiber)) = here {
            no_suspend::check();
            worker.checkpoint(fiber);
        }
    });
}

/// A suspension point where perhaps nothing has to be waited for. A fiber that always finds what it wants lets others run
/// now and then.
#[inline(always)]
pub(super) fn checkpoint() {
    Worker::with_fiber(checkpoint_here);
}

/// As [`checkpoint`], for a caller that knows what [`Worker::with_fiber`] tells.
#[inline(always)]
pub(super) fn checkpoint_here(here: Here<'_>) {
    if let Some((worker, fiber)) = here {
        worker.checkpoint(fiber);
        worker.count_unsuspended(fiber);
    }
}
