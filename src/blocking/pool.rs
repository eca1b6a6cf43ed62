//! The threads that do blocking work, and the line in front of them.

use std::collections::VecDeque;
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// At most so many threads, where nothing else is said. They wait for disks and name servers, not for processors.
pub const DEFAULT_MAX_THREADS: usize = 64;

const VARIABLE: &str = "KAPOK_BLOCKING_THREADS";

/// What [`set_max_threads`] was told; 0 is nothing.
static MAX_SET: AtomicUsize = AtomicUsize::new(0);

/// What the environment said when a runtime last looked; 0 is nothing.
static MAX_OF_ENV: AtomicUsize = AtomicUsize::new(0);

/// How long a thread waits for more work before it ends, in milliseconds.
static KEEP_ALIVE_MS: AtomicU64 = AtomicU64::new(10_000);

/// How much of the pool is in use; see [`stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Threads that there are.
    pub threads: usize,
    /// Threads that wait for work. One that has just done some is not idle at once.
    pub idle: usize,
    /// Work that waits for a thread.
    pub queued: usize,
    /// Work that was done, up to now.
    pub completed: u64,
    /// The most threads that there were at a time.
    pub peak_threads: usize,
    /// The most work that waited at a time.
    pub peak_queued: usize,
    /// What [`max_threads`] says.
    pub max_threads: usize,
}

/// How the pool of [`blocking`](crate::blocking()) is doing.
///
/// ```
/// kapok::run(|| kapok::blocking(|| ()))?;
/// let stats = kapok::blocking::stats();
/// assert!(stats.completed > 0 && stats.threads <= stats.max_threads);
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn stats() -> Stats {
    let pool = Pool::get();
    let state = pool.lock();
    Stats {
        threads: state.threads,
        idle: state.idle,
        queued: state.jobs.len(),
        completed: pool.completed.load(Ordering::Relaxed),
        peak_threads: state.peak_threads,
        peak_queued: state.peak_queued,
        max_threads: max_threads(),
    }
}

/// How many threads there may be: what [`set_max_threads`] was told, or else what `KAPOK_BLOCKING_THREADS` said when a runtime
/// was last set up, or else [`DEFAULT_MAX_THREADS`].
#[must_use]
pub fn max_threads() -> usize {
    let told = [&MAX_SET, &MAX_OF_ENV].map(|max| max.load(Ordering::Relaxed));
    told.into_iter().find(|&max| max > 0).unwrap_or(DEFAULT_MAX_THREADS)
}

/// Sets how many threads there may be, for the whole process, from now on.
///
/// Where there are more, the surplus ends when it has done what it is doing; where work waits, more are started.
///
/// # Panics
/// For 0: somebody has to do the work.
pub fn set_max_threads(max: usize) {
    assert!(max > 0, "kapok::blocking::set_max_threads: there has to be one");
    MAX_SET.store(max, Ordering::Relaxed);
    let pool = Pool::get();
    let queued = pool.lock().jobs.len();
    for _ in 0..queued {
        if pool.starts_another(pool.lock()) != Started::Yes {
            break;
        }
    }
    // Those that are too many look, and go.
    pool.work.notify_all();
}

/// Sets how long a thread waits for more work before it ends; 10 s where nothing else is said. In milliseconds, rounded down.
/// Threads that wait already may heed it when they next have nothing to do.
pub fn set_keep_alive(time: Duration) {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    KEEP_ALIVE_MS.store(ms, Ordering::Relaxed);
}

/// Heeds the environment.
///
/// # Errors
/// Where the variable is no number, or 0.
pub(crate) fn read_env() -> io::Result<()> {
    let max = match std::env::var_os(VARIABLE).filter(|text| !text.is_empty()) {
        None => 0,
        Some(text) => {
            let text = text.to_string_lossy();
            text.parse().ok().filter(|&max| max > 0).ok_or_else(|| {
                let text = format!("{VARIABLE}: {text:?} is not a number of threads, of which there has to be one");
                io::Error::new(io::ErrorKind::InvalidInput, text)
            })?
        }
    };
    MAX_OF_ENV.store(max, Ordering::Relaxed);
    Ok(())
}

pub(super) type Job = Box<dyn FnOnce() + Send + 'static>;

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    /// Threads that were ever started, for their names.
    started: usize,
    peak_threads: usize,
    peak_queued: usize,
}

#[derive(Default)]
struct Pool {
    state: Mutex<State>,
    work: Condvar,
    completed: AtomicU64,
}

/// The pool of this process; null before it is first used, and in the child of a fork. There the threads are gone, and the lock
/// may be held by one of them for ever, so a child begins anew.
static POOL: AtomicPtr<Pool> = AtomicPtr::new(ptr::null_mut());

extern "C" fn in_forked_child() {
    POOL.store(ptr::null_mut(), Ordering::Relaxed);
}

/// What came of an attempt to start a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Started {
    Yes,
    /// There are enough, or as many as there may be.
    NotNeeded,
    /// The system has refused, and there is none.
    NoneAtAll,
}

impl Pool {
    fn get() -> &'static Pool {
        let pool = POOL.load(Ordering::Acquire);
        // SAFETY: null, or leaked by `make`, whose exchange made visible what it points to.
        unsafe { pool.as_ref() }.unwrap_or_else(Pool::make)
    }

    #[cold]
    fn make() -> &'static Pool {
        static WATCHES_FORKS: AtomicBool = AtomicBool::new(false);
        if !WATCHES_FORKS.swap(true, Ordering::Relaxed) {
            // SAFETY: the handler does no more than a store. For want of memory it is not registered: no fork is likely then.
            unsafe { libc::pthread_atfork(None, None, Some(in_forked_child)) };
        }
        let new = Box::into_raw(Box::<Pool>::default());
        match POOL.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: just leaked, for good.
            Ok(_) => unsafe { &*new },
            Err(other) => {
                // SAFETY: ours alone; another thread was faster.
                drop(unsafe { Box::from_raw(new) });
                // SAFETY: leaked for good by that one.
                unsafe { &*other }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No job runs under the lock, so a panic leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a thread where work would have to wait for one, and one more may be started.
    fn starts_another(&'static self, mut state: MutexGuard<'_, State>) -> Started {
        if state.idle >= state.jobs.len() || state.threads >= max_threads() {
            return Started::NotNeeded;
        }
        state.threads += 1;
        state.started += 1;
        state.peak_threads = state.peak_threads.max(state.threads);
        let name = format!("kapok-block-{}", state.started);
        drop(state);
        match thread::Builder::new().name(name).spawn(|| self.serve()) {
            Ok(_) => Started::Yes,
            Err(error) => {
                log::warn!("cannot start a thread for blocking work: {error}");
                let mut state = self.lock();
                state.threads -= 1;
                if state.threads == 0 {
                    Started::NoneAtAll
                } else {
                    Started::NotNeeded
                }
            }
        }
    }

    /// The life of a thread of the pool.
    fn serve(&self) {
        let mut state = self.lock();
        loop {
            // Of several that are too many each goes, and one at least stays, since the bound is not 0.
            if state.threads > max_threads() {
                state.threads -= 1;
                // It may have been woken for work.
                self.work.notify_one();
                return;
            }
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                state = self.lock();
                continue;
            }
            state.idle += 1;
            let keep_alive = Duration::from_millis(KEEP_ALIVE_MS.load(Ordering::Relaxed));
            let (after, timeout) = self
                .work
                .wait_timeout(state, keep_alive)
                .unwrap_or_else(PoisonError::into_inner);
            state = after;
            state.idle -= 1;
            if timeout.timed_out() && state.jobs.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

/// Queues a job and sees to it that a thread comes; hands all jobs back, whose ever they are, where none can.
pub(super) fn submit(job: Job) -> VecDeque<Job> {
    let pool = Pool::get();
    let mut state = pool.lock();
    state.jobs.push_back(job);
    let queued = state.jobs.len();
    state.peak_queued = state.peak_queued.max(queued);
    if state.idle >= queued {
        pool.work.notify_one();
    } else if pool.starts_another(state) == Started::NoneAtAll {
        // Others may have found the same, and counted until then; the last one sees to everything.
        return std::mem::take(&mut pool.lock().jobs);
    }
    VecDeque::new()
}

pub(super) fn count_as_completed() {
    Pool::get().completed.fetch_add(1, Ordering::Relaxed);
}
