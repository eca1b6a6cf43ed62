//! The workers of one runtime, and what they have in common.
//!
//! ```text
//!   a fiber spawns --> its worker's queue  --+          a plain thread spawns --> injector --+
//!                  \-> the post of a worker  |                                               |
//!                      with fewer fibers  ---+--> whoever is idle takes some of it <---------+
//! ```
//!
//! What lies in the queues, the posts and the injector has not started: it has neither a stack nor a control block, and
//! may go to any worker. Once it has started it stays.
//!
//! **Balance.** A fiber that has started cannot be moved to where there is room, so whoever starts one looks first: where
//! a worker has noticeably more fibers than another, the next one goes to that other worker's post. For the same reason an
//! idle worker with noticeably more fibers than a busy one leaves it its work for [`PATIENCE`], before it helps out.
//!
//! **The end.** Fibers are counted where that costs nothing: each worker counts for itself what it spawns and what ends. The
//! sums are compared by a worker that is about to sleep, which first reads what ended, then what was spawned. They
//! are equal only if there was a moment without a fiber, since each fiber was counted before whatever came of it; and from
//! then on only plain threads could spawn, who have to go through `closed`.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::fresh::{Fresh, Queue};
use super::inbox::Inbox;
use super::search::Search;
use super::stop::Running;
use super::task::TaskRef;
use super::worker::Config;
use crate::stack::Room;

/// How long an idle worker leaves the work of one that has fewer fibers alone.
pub(super) const PATIENCE: Duration = Duration::from_millis(1);

/// The most closures that are taken at once.
const MAX_BATCH: usize = 32;

/// Counted by one thread, read by all.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicUsize);

impl Count {
    #[inline]
    pub(super) fn add(&self, n: usize) {
        self.0
            .store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Release);
    }

    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// What the others know of one worker. Padded, so that its counting does not slow down theirs.
#[repr(align(128))]
pub(crate) struct Member {
    pub(super) inbox: Arc<Inbox>,
    /// What its fibers have spawned and what it has taken. For each there is a turn in its run queue, at least.
    pub(super) fresh: Queue,
    /// What others have handed over.
    post: Queue,
    /// Fibers that its fibers have spawned, wherever they run.
    pub(super) spawned: Count,
    /// Fibers that were placed here, to stay.
    pub(super) placed: Count,
    /// Fibers that have ended here.
    pub(super) ended: Count,
    /// Closures that it took from others.
    pub(super) stolen: Count,
    pub(super) running: Running,
    /// Handed over and not started yet.
    handed: AtomicUsize,
}

impl Member {
    pub(super) fn new(inbox: Arc<Inbox>) -> Member {
        Member {
            inbox,
            fresh: Queue::default(),
            post: Queue::default(),
            spawned: Count::default(),
            placed: Count::default(),
            ended: Count::default(),
            stolen: Count::default(),
            running: Running::default(),
            handed: AtomicUsize::new(0),
        }
    }

    /// How many fibers it has to itself.
    fn load(&self) -> usize {
        // In this order, so that the difference is never less than nothing.
        let ended = self.ended.get();
        let here = self.placed.get().wrapping_sub(ended);
        here.saturating_add(self.handed.load(Ordering::Relaxed))
    }

    fn has_fresh(&self) -> bool {
        !self.fresh.is_empty() || !self.post.is_empty()
    }
}

/// More fibers than another worker's `load` plus this is noticeably more.
fn margin(load: usize) -> usize {
    8 + load / 64
}

/// What a worker sees when it looks for work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// There is something for it.
    Work,
    /// There is something that it leaves to another for a while.
    OthersWork,
    Nothing,
}

/// The workers of one runtime.
pub(crate) struct Crew {
    config: Config,
    members: Box<[Member]>,
    /// What plain threads have spawned.
    injector: Queue,
    search: Search,
    /// Fibers that plain threads have spawned.
    injected: AtomicUsize,
    /// Plain threads must not spawn any more.
    closed: Mutex<bool>,
    /// It ends when no fiber is left.
    ends: AtomicBool,
    /// No fiber is left, and none will come.
    done: AtomicBool,
    /// See [`super::stop`].
    pub(super) stopping: AtomicBool,
}

impl Crew {
    pub(crate) fn new(config: Config, members: Vec<Member>) -> Crew {
        Crew {
            config,
            members: members.into_boxed_slice(),
            injector: Queue::default(),
            search: Search::new(),
            injected: AtomicUsize::new(0),
            closed: Mutex::new(false),
            ends: AtomicBool::new(false),
            done: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn member(&self, index: usize) -> &Member {
        &self.members[index]
    }

    // ---- work that has not started -----------------------------------------------------------------------------------

    /// Puts a fiber where every worker finds it; false when the runtime takes no more.
    pub(crate) fn inject(&self, task: TaskRef, room: Room) -> bool {
        let closed = self.door();
        if *closed {
            return false;
        }
        self.injected.fetch_add(1, Ordering::Release);
        self.injector.push(Fresh {
            task,
            room,
            handed_to: None,
        });
        drop(closed);
        self.notify();
        true
    }

    /// Has one worker start a fiber; false when the runtime takes no more.
    pub(crate) fn inject_on(&self, index: usize, task: TaskRef, room: Room) -> bool {
        let closed = self.door();
        if *closed {
            return false;
        }
        self.injected.fetch_add(1, Ordering::Release);
        self.start_on(index, task, room);
        true
    }

    /// Has one worker start a fiber that is counted already.
    pub(super) fn start_on(&self, index: usize, task: TaskRef, room: Room) {
        self.members[index]
            .inbox
            .call(Box::new(move |worker| worker.place_and_queue(task, room)));
    }

    /// A worker to which `from` should give its next fiber. `turn` says whom to look at: one for each call, since a look at
    /// all of them would cost more than it is worth.
    #[inline]
    pub(super) fn lighter_than(&self, from: usize, turn: usize) -> Option<usize> {
        let other = (from + 1 + turn % (self.len() - 1)) % self.len();
        let (mine, theirs) = (self.members[from].load(), self.members[other].load());
        (mine > theirs + margin(theirs)).then_some(other)
    }

    /// Puts a fiber into the post of a worker.
    pub(super) fn hand_over(&self, to: usize, task: TaskRef, room: Room) {
        let member = &self.members[to];
        member.handed.fetch_add(1, Ordering::Relaxed);
        member.post.push(Fresh {
            task,
            room,
            handed_to: u16::try_from(to).ok(),
        });
        fence(Ordering::SeqCst);
        member.inbox.rouse();
    }

    /// To be called with what is about to be placed.
    pub(super) fn arrived(&self, fresh: &Fresh) {
        if let Some(to) = fresh.handed_to {
            self.members[usize::from(to)].handed.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether there is something for `index` in its post or the injector.
    #[inline]
    pub(super) fn has_post(&self, index: usize) -> bool {
        !self.injector.is_empty() || !self.members[index].post.is_empty()
    }

    /// Takes some of the post of `index`, or some of what plain threads have spawned; says how many.
    pub(super) fn take_post(&self, index: usize, into: &mut Vec<Fresh>) -> usize {
        match self.members[index].post.take_half(usize::MAX, into) {
            0 => self.injector.take_half(MAX_BATCH, into),
            count => count,
        }
    }

    /// Takes work from other workers; says how much.
    pub(super) fn steal(&self, thief: usize, impatient: bool, into: &mut Vec<Fresh>) -> usize {
        let mine = self.members[thief].load();
        for victim in self.others(thief).filter(|victim| victim.has_fresh()) {
            let theirs = victim.load();
            let room = (theirs + margin(theirs)).saturating_sub(mine);
            if room == 0 && !impatient {
                continue;
            }
            let limit = room.clamp(1, MAX_BATCH);
            let count = match victim.fresh.take_half(limit, into) {
                0 => victim.post.take_half(limit, into),
                count => count,
            };
            if count > 0 {
                self.members[thief].stolen.add(count);
                return count;
            }
        }
        0
    }

    /// What `index` would find now.
    pub(super) fn view(&self, index: usize, impatient: bool) -> View {
        if self.has_post(index) {
            return View::Work;
        }
        let mine = self.members[index].load();
        let mut view = View::Nothing;
        for victim in self.others(index).filter(|victim| victim.has_fresh()) {
            let theirs = victim.load();
            if impatient || mine < theirs + margin(theirs) {
                return View::Work;
            }
            view = View::OthersWork;
        }
        view
    }

    /// The others, beginning with the neighbour, so that thieves do not all begin with the same.
    fn others(&self, index: usize) -> impl Iterator<Item = &Member> {
        let (before, after) = self.members.split_at(index);
        after.iter().skip(1).chain(before)
    }

    // ---- sleeping and waking -----------------------------------------------------------------------------------------

    /// To be called when something was put where others may take it: wakes one of those who sleep, unless one is on its way.
    #[inline]
    pub(super) fn notify(&self) {
        self.search
            .notify(|| self.rouse_one(), || self.anybody_asleep() && self.has_work());
    }

    /// A worker that was asleep has looked for work. If it has some now, what is left is the next one's.
    pub(super) fn searched(&self, found: bool) {
        if self.search.end() && found && self.has_work() {
            self.notify();
        }
    }

    fn has_work(&self) -> bool {
        !self.injector.is_empty() || self.members.iter().any(Member::has_fresh)
    }

    /// Wakes the one with the fewest fibers of those who sleep.
    #[cold]
    fn rouse_one(&self) -> bool {
        loop {
            let asleep = self.members.iter().filter(|member| member.inbox.is_asleep());
            let Some(member) = asleep.min_by_key(|member| member.load()) else {
                return false;
            };
            if member.inbox.rouse() {
                return true;
            }
        }
    }

    fn anybody_asleep(&self) -> bool {
        self.members.iter().any(|member| member.inbox.is_asleep())
    }

    /// The calling worker has announced its sleep to its inbox, and will look for work once more.
    pub(super) fn going_to_sleep(&self) {
        self.search.going_to_sleep();
    }

    pub(super) fn awake(&self) {
        self.search.awake();
    }

    // ---- the end -----------------------------------------------------------------------------------------------------

    /// From now on it ends when no fiber is left. With `closed` plain threads cannot spawn any more.
    pub(crate) fn end_when_idle(&self, close: bool) {
        *self.door() |= close;
        self.ends.store(true, Ordering::SeqCst);
        self.rouse_all_but(None);
    }

    /// Whether it is over. To be asked by the worker `asking`, which has announced its sleep: of two workers whose last fibers
    /// end at the same time, one at least sees that both have.
    pub(super) fn is_over(&self, asking: usize) -> bool {
        if self.done.load(Ordering::SeqCst) {
            return true;
        }
        if !self.ends.load(Ordering::SeqCst) || self.live() > 0 {
            return false;
        }
        let mut closed = self.door();
        // Somebody may have come in before the door was shut.
        if self.live() > 0 {
            return false;
        }
        *closed = true;
        drop(closed);
        self.done.store(true, Ordering::SeqCst);
        self.rouse_all_but(Some(asking));
        true
    }

    /// How many fibers have not ended; 0 only if there was a moment without any.
    pub(crate) fn live(&self) -> usize {
        let sum = |count: fn(&Member) -> &Count| {
            let counts = self.members.iter().map(|member| count(member).get());
            counts.fold(0, usize::wrapping_add)
        };
        let ended = sum(|member| &member.ended);
        let injected = self.injected.load(Ordering::Acquire);
        sum(|member| &member.spawned).wrapping_add(injected).wrapping_sub(ended)
    }

    fn rouse_all_but(&self, index: Option<usize>) {
        fence(Ordering::SeqCst);
        for (i, member) in self.members.iter().enumerate() {
            if Some(i) != index {
                member.inbox.rouse();
            }
        }
    }

    fn door(&self) -> MutexGuard<'_, bool> {
        // Nothing panics under the lock.
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of one worker: the fibers that it has, those that it had in all, and the closures that it took from others.
    pub(crate) fn figures(&self, index: usize) -> (usize, usize, usize) {
        let member = &self.members[index];
        let ended = member.ended.get();
        let placed = member.placed.get();
        (placed.wrapping_sub(ended), placed, member.stolen.get())
    }
}

impl std::fmt::Debug for Crew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crew")
            .field("workers", &self.len())
            .field("live", &self.live())
            .finish_non_exhaustive()
    }
}
