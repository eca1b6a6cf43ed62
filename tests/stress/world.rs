//! What the fibers have in common, and what one of them does next.

use std::any::Any;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use kapok::fiber::{self, JoinHandle};
use kapok::net::{TcpListener, TcpStream};
use kapok::runtime::Handle;
use kapok::sync::Baton;
use kapok::{CancelToken, Cancelled, blocking, cancel, race, shield, spawn, timeout};

use crate::handover::Exchange;
use crate::support::{OnDrop, Random};

/// Those that are alive start no more than this many, all together.
pub(crate) const ROOM: usize = 20_000;

/// How deep what can be cancelled is nested.
const DEPTH: usize = 3;

/// Pairs of sockets at once, which are two descriptors each.
const PAIRS: usize = 100;

/// Connections over TCP, of a short run and of a long one. Each takes a number of a port for a minute.
const CONNECTIONS: [usize; 2] = [200, 2000];

/// What one of the fibers panics with, on purpose.
struct OnPurpose;

/// What can be done.
const NAMES: [&str; 18] = [
    "yield",
    "sleep",
    "time-out",
    "token",
    "cancel token",
    "cancel fiber",
    "cancel itself",
    "wait",
    "send",
    "receive",
    "read",
    "write",
    "pair",
    "connection",
    "race",
    "scope",
    "shield",
    "blocking",
];

#[derive(Default)]
pub(crate) struct Counts {
    /// Fibers: of the controller, and others.
    started: AtomicUsize,
    children: AtomicUsize,
    /// Bodies.
    began: AtomicUsize,
    returned: AtomicUsize,
    over: AtomicUsize,
    /// By `NAMES`: begun and done.
    begun: [AtomicUsize; NAMES.len()],
    done: [AtomicUsize; NAMES.len()],
}

fn sum(counts: &[AtomicUsize]) -> usize {
    counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
}

impl Counts {
    /// How many fibers the controller has started.
    pub(crate) fn started(&self) -> usize {
        self.started.load(Ordering::Relaxed)
    }

    /// A fiber has ended with this.
    pub(crate) fn note_end(&self, payload: Box<dyn Any + Send>) {
        if !payload.is::<Cancelled>() {
            resume_unwind(payload);
        }
    }

    /// Calls the body of a fiber.
    fn body(&self, f: impl FnOnce()) {
        self.began.fetch_add(1, Ordering::Relaxed);
        let _over = OnDrop(|| _ = self.over.fetch_add(1, Ordering::Relaxed));
        f();
        self.returned.fetch_add(1, Ordering::Relaxed);
    }
}

/// The most that there was of something.
#[derive(Default)]
pub(crate) struct Peaks {
    live: AtomicUsize,
}

impl Peaks {
    pub(crate) fn look(&self) {
        self.live.fetch_max(Handle::current().live_fibers(), Ordering::Relaxed);
    }
}

pub(crate) struct World {
    handles: Vec<Mutex<Option<JoinHandle<()>>>>,
    /// Places of fibers that have ended, or are about to.
    free: Mutex<Vec<usize>>,
    one_is_free: Baton,
    /// Nobody starts anything any more, nor waits for long.
    closed: AtomicBool,
    tokens: Vec<Mutex<CancelToken>>,
    exchanges: Vec<Exchange>,
    /// Connected, each with the next.
    sockets: Vec<(TcpStream, TcpStream)>,
    listeners: Vec<TcpListener>,
    workers: usize,
    /// What is there at the moment.
    children: AtomicUsize,
    pairs: AtomicUsize,
    connections: AtomicUsize,
    max_connections: usize,
    pub(crate) counts: Counts,
    pub(crate) peaks: Peaks,
}

/// Two ends that are connected, which take no port.
fn pair() -> (TcpStream, TcpStream) {
    let (one, other) = UnixStream::pair().expect("a pair of sockets can be had");
    (OwnedFd::from(one).into(), OwnedFd::from(other).into())
}

/// Has a place in a count for as long as this lives.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(count: &'a AtomicUsize, limit: usize) -> Option<Place<'a>> {
        let place = Place(count);
        (count.fetch_add(1, Ordering::Relaxed) < limit).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl World {
    pub(crate) fn new(places: usize, long: bool) -> World {
        let listen = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port can be had");
        World {
            handles: (0..places).map(|_| Mutex::default()).collect(),
            free: Mutex::default(),
            one_is_free: Baton::new(),
            closed: AtomicBool::new(false),
            tokens: (0..50).map(|_| Mutex::default()).collect(),
            exchanges: (0..20).map(|_| Exchange::default()).collect(),
            sockets: (0..20).map(|_| pair()).collect(),
            listeners: (0..4).map(listen).collect(),
            workers: Handle::current().workers(),
            children: AtomicUsize::new(0),
            pairs: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            max_connections: CONNECTIONS[usize::from(long)],
            counts: Counts::default(),
            peaks: Peaks::default(),
        }
    }

    // ---- for the controller --------------------------------------------------------------------------------------

    pub(crate) fn handle(&self, place: usize) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.handles[place].lock().unwrap()
    }

    /// Starts a fiber that belongs to a place, which is free again when it has ended, whether it began or not.
    pub(crate) fn start(self: &Arc<World>, place: usize, seed: u64) -> JoinHandle<()> {
        struct Frees(Arc<World>, usize);
        impl Drop for Frees {
            fn drop(&mut self) {
                self.0.free.lock().unwrap().push(self.1);
                self.0.one_is_free.post();
            }
        }
        self.counts.started.fetch_add(1, Ordering::Relaxed);
        let frees = Frees(Arc::clone(self), place);
        spawn(move || {
            let world = &*frees.0;
            world.counts.body(|| {
                let mut random = Random::new(seed);
                let steps = 1 + random.below(12);
                for _ in 0..steps {
                    world.step(place, &mut random, DEPTH);
                }
            });
        })
    }

    pub(crate) fn wait_for_one_that_is_free(&self) {
        self.one_is_free.wait_timeout(Duration::from_millis(1));
    }

    pub(crate) fn take_free(&self) -> Vec<usize> {
        self.one_is_free.reset();
        std::mem::take(&mut *self.free.lock().unwrap())
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn cancel_one(&self, place: usize) {
        if let Some(handle) = &*self.handle(place) {
            handle.cancel();
        }
    }

    pub(crate) fn report(&self) -> String {
        let counts = &self.counts;
        let [began, over, returned] =
            [&counts.began, &counts.over, &counts.returned].map(|count| count.load(Ordering::Relaxed));
        let kinds = NAMES.iter().zip(&counts.begun).zip(&counts.done);
        let kinds: Vec<_> = kinds
            .map(|((name, begun), done)| {
                format!(
                    "{name} {}/{}",
                    done.load(Ordering::Relaxed),
                    begun.load(Ordering::Relaxed)
                )
            })
            .collect();
        format!(
            "{} fibers and {} children, {began} of them began, {} of those unwound; at most {} alive at once\n\
             {} operations done of {} begun: {}",
            counts.started(),
            counts.children.load(Ordering::Relaxed),
            over - returned,
            self.peaks.live.load(Ordering::Relaxed),
            sum(&counts.done),
            sum(&counts.begun),
            kinds.join(", "),
        )
    }

    /// Asserts that nothing is under way any more, and that everything was tried if it was `long` enough.
    pub(crate) fn assert_all_is_over(&self, long: bool) {
        let counts = &self.counts;
        let [began, over] = [&counts.began, &counts.over].map(|count| count.load(Ordering::Relaxed));
        assert_eq!(began, over, "each body that began is over once");
        for (name, count) in [("children", &self.children), ("pairs", &self.pairs)] {
            assert_eq!(count.load(Ordering::Relaxed), 0, "{name} are left");
        }
        for exchange in &self.exchanges {
            let [sent, received] = exchange.sums();
            assert_eq!(sent, received, "what was handed over is not lost");
        }
        for (name, done) in NAMES.iter().zip(&counts.done).filter(|_| long) {
            // Who has cancelled itself seldom comes that far.
            assert!(
                done.load(Ordering::Relaxed) > 0 || *name == "cancel itself",
                "{name} was never done"
            );
        }
    }

    // ---- for the fibers ------------------------------------------------------------------------------------------

    /// Starts what may be anybody's, on some worker or on a certain one.
    fn builder(&self, random: &mut Random) -> fiber::Builder {
        let builder = fiber::Builder::new();
        if random.below(2) == 0 {
            builder
        } else {
            builder.worker(random.below(self.workers))
        }
    }

    /// One step of a fiber. What is left half done by a cancellation concerns nobody else.
    fn step(&self, place: usize, random: &mut Random, depth: usize) {
        let kind = random.below(NAMES.len());
        self.counts.begun[kind].fetch_add(1, Ordering::Relaxed);
        self.operation(NAMES[kind], place, random, depth);
        self.counts.done[kind].fetch_add(1, Ordering::Relaxed);
    }

    fn operation(&self, name: &str, place: usize, random: &mut Random, depth: usize) {
        let nap = if self.closed.load(Ordering::Relaxed) {
            Duration::ZERO
        } else {
            random.micros_below(500)
        };
        let inner = |random: &mut Random| {
            if depth > 0 {
                self.step(place, random, depth - 1);
            }
        };
        match name {
            "yield" => fiber::yield_now(),
            "sleep" => fiber::sleep(nap),
            "time-out" => drop(timeout(nap, || inner(random))),
            "token" => {
                let token = self.tokens[random.below(self.tokens.len())].lock().unwrap().clone();
                let outcome = token.run(|| timeout(nap * 4, || inner(random)));
                if outcome.is_err() {
                    cancel::checkpoint();
                }
            }
            "cancel token" => {
                let place = &self.tokens[random.below(self.tokens.len())];
                let old = std::mem::take(&mut *place.lock().unwrap());
                old.cancel();
            }
            // Not too often, or nobody gets far.
            "cancel fiber" if random.below(4) == 0 => self.cancel_one(random.below(self.handles.len())),
            "cancel itself" if random.below(8) == 0 => {
                self.cancel_one(place);
                fiber::yield_now();
            }
            "wait" => self.wait(random, nap),
            "send" => {
                let value = random.next() >> 40;
                for exchange in &self.exchanges {
                    if exchange.send(value) {
                        break;
                    }
                }
            }
            "receive" => drop(self.exchanges[random.below(self.exchanges.len())].receive(nap * 4)),
            "read" => {
                let (one, _) = &self.sockets[random.below(self.sockets.len())];
                drop(timeout(nap, || (&*one).read(&mut [0; 100])));
            }
            "write" => {
                let (_, other) = &self.sockets[random.below(self.sockets.len())];
                drop(timeout(nap, || (&*other).write_all(&[1; 300])));
            }
            "pair" => self.talk(random, nap),
            "connection" => self.connect(random, nap),
            "race" if self.children.load(Ordering::Relaxed) < ROOM => {
                let seeds = [random.next(), random.next()];
                let side = |seed| move || self.child(|| inner(&mut Random::new(seed)));
                race(side(seeds[0]), side(seeds[1]));
            }
            "scope" if self.children.load(Ordering::Relaxed) < ROOM => self.scope(random, &inner),
            "shield" => shield(|| inner(random)),
            "blocking" if random.below(10) == 0 => blocking(|| std::thread::sleep(nap / 10)),
            _ => {}
        }
    }

    /// Calls the body of a fiber that another one has started.
    fn child(&self, f: impl FnOnce()) {
        self.counts.children.fetch_add(1, Ordering::Relaxed);
        let _place = Place::take(&self.children, usize::MAX);
        self.counts.body(f);
    }

    /// Waits for a Baton that one on another worker posts, or not in time.
    fn wait(&self, random: &mut Random, nap: Duration) {
        let baton = Arc::new(Baton::new());
        let theirs = Arc::clone(&baton);
        let parks = random.below(2) == 0;
        let unparks = fiber::current();
        let poster = self.builder(random).spawn(move || {
            fiber::sleep(nap);
            theirs.post();
            unparks.unpark();
        });
        let poster = poster.expect("a fiber can be started");
        if parks {
            fiber::park_timeout(nap);
        } else if !baton.wait_timeout(nap) {
            poster.cancel();
        }
        if random.below(2) == 0 {
            drop(poster.join());
        }
    }

    /// Sends something to a fiber on another worker and waits for the answer.
    fn talk(&self, random: &mut Random, nap: Duration) {
        let Some(_place) = Place::take(&self.pairs, PAIRS) else {
            return;
        };
        let (mut mine, mut theirs) = pair();
        let len = 1 + random.below(20_000);
        let answers = random.below(4) > 0;
        let outcome = timeout(nap * 4, || {
            fiber::scope(|s| {
                let echo = || {
                    self.child(|| {
                        let mut buf = vec![0; len];
                        if theirs.read_exact(&mut buf).is_ok() && answers {
                            drop(theirs.write_all(&buf));
                        }
                    });
                };
                drop(
                    self.builder(random)
                        .spawn_scoped(s, echo)
                        .expect("a fiber can be started"),
                );
                let sent: Vec<u8> = random.bytes(len);
                mine.write_all(&sent).expect("the peer is there");
                let mut back = vec![0; len];
                // Where there is no answer, the time is up.
                mine.read_exact(&mut back).expect("the peer is there");
                assert!(back == sent, "what came back is what was sent");
            });
        });
        assert!(answers || outcome.is_err());
    }

    /// Connects, or accepts; both may be cut short.
    fn connect(&self, random: &mut Random, nap: Duration) {
        let listener = &self.listeners[random.below(self.listeners.len())];
        if random.below(3) > 0 {
            let accepted = timeout(nap, || {
                listener.accept().map(|(mut stream, _)| stream.read(&mut [0; 8]))
            });
            return drop(accepted);
        }
        if self.connections.fetch_add(1, Ordering::Relaxed) >= self.max_connections {
            return;
        }
        let address = listener.local_addr().expect("it listens");
        drop(timeout(nap * 4, || {
            TcpStream::connect(address).and_then(|mut stream| stream.write_all(b"hello"))
        }));
    }

    /// Opens a scope, whose fibers may be cancelled, or panic.
    fn scope(&self, random: &mut Random, inner: &(impl Fn(&mut Random) + Sync)) {
        let (count, ending) = (1 + random.below(4), random.below(8));
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            fiber::scope(|s| {
                for i in 0..count {
                    let seed = random.next();
                    let body = move || self.child(|| inner(&mut Random::new(seed)));
                    let panics = move || {
                        self.child(|| {
                            fiber::yield_now();
                            resume_unwind(Box::new(OnPurpose))
                        });
                    };
                    let builder = self.builder(random);
                    let started = match ending {
                        0 if i == 0 => builder.spawn_scoped(s, panics),
                        _ => builder.spawn_scoped(s, body),
                    };
                    let started = started.expect("a fiber can be started");
                    if ending == 1 {
                        started.cancel();
                    }
                    if ending == 2 {
                        drop(started.join());
                    }
                }
                if ending == 3 {
                    fiber::yield_now();
                    s.cancel();
                }
            });
        }));
        if let Err(payload) = outcome {
            if !payload.is::<OnPurpose>() {
                resume_unwind(payload);
            }
        }
    }
}
