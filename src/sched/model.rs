//! The inbox, the bell and the search for work, checked by loom: `ci/loom.sh`.
//!
//! What is real here is `inbox.rs` and `search.rs`; the bell is a flag with a condition variable, and the queues are a number.
//! Loom runs each model in all the ways in which threads may take turns, and in which the memory model lets them see each
//! other's writes. A wake-up that is lost leaves a worker asleep for ever, which loom reports as a deadlock.
//!
//! The bounds: two who push into an inbox (one of them twice), or two workers and one or two who put two closures down; and at most
//! as many preemptions as `ci/loom.sh` says. Loom takes sequentially consistent accesses for acquire and release, so a fence stands
//! between those whose order matters (`order_accesses`); the fences of the real program are what they are.

use std::sync::Arc;

use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::control::FiberRef;
use super::inbox::{Inbox, Ring, WakeUp};
use super::search::Search;
use super::search::atomic::{AtomicUsize, Ordering};

/// A bell that one hears, now or when it listens.
struct ModelBell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl ModelBell {
    fn new() -> ModelBell {
        ModelBell {
            rung: Mutex::new(false),
            heard: Condvar::new(),
        }
    }

    fn listen(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.heard.wait(rung).unwrap();
        }
        *rung = false;
    }
}

impl Ring for Arc<ModelBell> {
    fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.heard.notify_one();
    }
}

/// A number that stands for a fiber. Nobody looks behind it.
fn fiber(number: usize) -> FiberRef {
    let address = std::ptr::without_provenance::<()>(64 * (number + 1));
    // SAFETY: not null; and an inbox passes it on and does no more with it.
    unsafe { FiberRef::from_ptr(address) }
}

fn number(fiber: FiberRef) -> usize {
    fiber.as_ptr().addr() / 64 - 1
}

/// Each of these pushes its wake-ups one after the other; the worker sleeps until it has them all.
fn inbox_loses_nothing(pushers: &'static [&'static [usize]]) {
    loom::model(move || {
        let bell = Arc::new(ModelBell::new());
        let inbox = Inbox::new(Arc::clone(&bell));
        let count = pushers.iter().map(|theirs| theirs.len()).sum();
        // They live until all is over, as those on the stacks of suspended fibers do.
        let wake_ups: Arc<Vec<WakeUp>> = Arc::new((0..count).map(|i| WakeUp::new(fiber(i))).collect());
        let threads: Vec<_> = pushers
            .iter()
            .map(|theirs| {
                let (inbox, wake_ups) = (Arc::clone(&inbox), Arc::clone(&wake_ups));
                thread::spawn(move || {
                    for &i in *theirs {
                        // SAFETY: alive, and pushed once.
                        unsafe { inbox.push(&wake_ups[i]) };
                    }
                })
            })
            .collect();
        let mut got = Vec::new();
        loop {
            inbox.drain(|fiber| got.push(number(fiber)), |_| unreachable!("nobody calls"));
            if got.len() == count {
                break;
            }
            if inbox.prepare_sleep() {
                bell.listen();
            }
            inbox.wake();
        }
        // What came from one came in order, and everything came once.
        for theirs in pushers {
            let order: Vec<_> = got.iter().copied().filter(|i| theirs.contains(i)).collect();
            assert_eq!(order, *theirs);
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn inbox_of_one_who_pushes_twice() {
    inbox_loses_nothing(&[&[0, 1]]);
}

#[test]
fn inbox_of_two() {
    inbox_loses_nothing(&[&[0], &[1]]);
}

#[test]
fn inbox_of_two_and_three_wake_ups() {
    inbox_loses_nothing(&[&[0, 1], &[2]]);
}

/// Two workers and their closures.
struct Model {
    search: Search,
    inboxes: [Arc<Inbox<Arc<ModelBell>>>; 2],
    bells: [Arc<ModelBell>; 2],
    /// What was put down and not taken.
    work: AtomicUsize,
    taken: AtomicUsize,
    total: usize,
    /// How many closures run at the moment, where they wait for each other.
    running: Option<(Mutex<usize>, Condvar)>,
}

impl Model {
    fn new(total: usize, together: bool) -> Model {
        let bells = [Arc::new(ModelBell::new()), Arc::new(ModelBell::new())];
        Model {
            search: Search::new(),
            inboxes: [Inbox::new(Arc::clone(&bells[0])), Inbox::new(Arc::clone(&bells[1]))],
            bells,
            work: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            total,
            running: together.then(|| (Mutex::new(0), Condvar::new())),
        }
    }

    /// As `Crew::notify`.
    fn notify(&self) {
        self.search.notify(
            || self.inboxes.iter().any(|inbox| inbox.rouse()),
            || self.inboxes.iter().any(|inbox| inbox.is_asleep()) && self.has_work(),
        );
    }

    fn has_work(&self) -> bool {
        self.work.load(Ordering::Acquire) > 0
    }

    fn put_down_some(&self, count: usize) {
        for _ in 0..count {
            self.work.fetch_add(1, Ordering::Release);
            self.notify();
        }
    }

    fn take(&self) -> bool {
        let taken = self
            .work
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |work| work.checked_sub(1))
            .is_ok();
        if taken {
            self.taken.fetch_add(1, Ordering::AcqRel);
        }
        taken
    }

    /// As `Worker::turn`, and between two turns the closure that was taken.
    fn work(&self, me: usize) {
        let mut woken = false;
        loop {
            let found = self.take();
            if std::mem::take(&mut woken) && self.search.end() && found && self.has_work() {
                self.notify();
            }
            if found {
                self.run();
                continue;
            }
            if !self.inboxes[me].prepare_sleep() {
                continue;
            }
            self.search.going_to_sleep();
            if self.taken.load(Ordering::Acquire) == self.total {
                self.search.awake();
                self.inboxes[me].wake();
                self.inboxes[1 - me].rouse();
                return;
            }
            if !self.has_work() {
                self.bells[me].listen();
            }
            self.inboxes[me].wake();
            self.search.awake();
            woken = true;
        }
    }

    /// A closure, which ends when all have begun, if they are to run together.
    fn run(&self) {
        if let Some((running, changed)) = &self.running {
            let mut count = running.lock().unwrap();
            *count += 1;
            changed.notify_all();
            while *count < self.total {
                count = changed.wait(count).unwrap();
            }
        }
    }
}

fn everything_is_taken(total: usize, together: bool, spawners: usize) {
    loom::model(move || {
        let model = Arc::new(Model::new(total, together));
        let start = |f: fn(&Model, usize), argument| {
            let model = Arc::clone(&model);
            thread::spawn(move || f(&model, argument))
        };
        let others: Vec<_> = (0..2)
            .map(|me| start(Model::work, me))
            .chain((1..spawners).map(|_| start(Model::put_down_some, total / spawners)))
            .collect();
        model.put_down_some(total / spawners);
        others.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn one_closure_is_taken() {
    everything_is_taken(1, false, 1);
}

/// One is taken by a worker that is busy until the other one has been taken, too: somebody has to be woken for it.
#[test]
fn two_closures_run_together() {
    everything_is_taken(2, true, 1);
}

/// One of them may find the other one at it, and leave it to that one, who finds that nobody sleeps.
#[test]
fn two_closures_of_two_who_spawn() {
    everything_is_taken(2, true, 2);
}
