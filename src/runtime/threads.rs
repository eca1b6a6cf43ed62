//! The threads of a runtime: each opens a reactor, and becomes a worker when all the others have one, too.
//!
//! ```text
//!   whoever starts them              each thread
//!   -------------------              -----------
//!   start the threads                hook, reactor
//!   all have one?        <---------- a Member, or why not
//!   a Crew of the members ---------> a Worker of the crew: runs until all is over
//!   or nothing, and they end         hook
//! ```

use std::any::Any;
use std::io;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, JoinHandle};

use super::builder::Settings;
use crate::baton::Baton;
use crate::reactor::ReactorKind;
use crate::sched::{Candidate, Crew, Member, Worker};

/// What is called when a thread begins or ceases to be a worker.
pub(super) type Hook = Arc<dyn Fn() + Send + Sync>;

/// Why a thread has not become a worker.
enum Failure {
    Refused(io::Error),
    Panicked(Box<dyn Any + Send>),
}

impl Failure {
    fn into_error(self) -> io::Error {
        match self {
            Failure::Refused(error) => error,
            Failure::Panicked(panic) => resume_unwind(panic),
        }
    }
}

type Report = Result<(Member, ReactorKind), Failure>;

/// Threads that have a reactor each, and wait for their crew.
#[derive(Default)]
struct Applicants {
    threads: Vec<JoinHandle<()>>,
    crews: Vec<SyncSender<Arc<Crew>>>,
}

impl Applicants {
    /// Starts threads, and collects their members. Gives the reactor that they use, if it starts any.
    fn call(
        &mut self,
        settings: &Arc<Settings>,
        indices: Range<usize>,
        reactor: Option<ReactorKind>,
        leaving: Option<&Leaving>,
        members: &mut Vec<Member>,
    ) -> Result<Option<ReactorKind>, Failure> {
        let mut reports = Vec::with_capacity(indices.len());
        for index in indices {
            let (report, reported) = mpsc::sync_channel(1);
            let (crew, hired) = mpsc::sync_channel(1);
            let (theirs, leaving) = (Arc::clone(settings), leaving.cloned());
            let thread = thread::Builder::new()
                .name(format!("{}-{index}", settings.thread_name))
                .spawn(move || {
                    let _leaving = leaving;
                    serve(&theirs, index, reactor, &report, &hired);
                })
                .map_err(|error| Failure::Refused(cannot_start(settings, index, error)))?;
            self.threads.push(thread);
            self.crews.push(crew);
            reports.push((index, reported));
        }
        let mut kind = None;
        for (index, reported) in reports {
            match reported.recv().expect("a thread reports before it ends") {
                Ok((member, used)) => {
                    members.push(member);
                    kind = Some(used);
                }
                Err(Failure::Refused(error)) => return Err(Failure::Refused(cannot_start(settings, index, error))),
                Err(failure) => return Err(failure),
            }
        }
        Ok(kind)
    }

    /// Lets them run.
    fn hire(self, crew: &Arc<Crew>) -> Vec<JoinHandle<()>> {
        for theirs in self.crews {
            theirs.send(Arc::clone(crew)).expect("a thread waits for its crew");
        }
        self.threads
    }

    /// Sends them home.
    fn dismiss(self) {
        drop(self.crews);
        // What happened is known to the caller, who has to tell of one thing only.
        drop(join(self.threads));
    }
}

fn cannot_start(settings: &Settings, index: usize, error: io::Error) -> io::Error {
    let count = settings.workers;
    if index == 0 {
        return error; // it is not their number
    }
    let limits = if error.kind() == io::ErrorKind::WouldBlock {
        "; threads are limited by RLIMIT_NPROC (raise it by ulimit -u), pids.max of the control group and kernel.threads-max"
    } else {
        ""
    };
    io::Error::new(
        error.kind(),
        format!(
            "worker {index} of {count} cannot start: {error}{limits}; nothing was run; ask for fewer by KAPOK_WORKERS or the builder"
        ),
    )
}

/// The life of a thread.
fn serve(
    settings: &Settings,
    index: usize,
    reactor: Option<ReactorKind>,
    report: &SyncSender<Report>,
    hired: &Receiver<Arc<Crew>>,
) {
    let tell = |what: Report| drop(report.send(what)); // whoever has found a failure does not listen any more
    if let Err(panic) = call(settings.on_thread_start.as_ref()) {
        return tell(Err(Failure::Panicked(panic)));
    }
    match Candidate::new(reactor) {
        Ok(candidate) => {
            tell(Ok((candidate.member(), candidate.reactor_kind())));
            if let Ok(crew) = hired.recv() {
                Worker::new(candidate, crew, index).run();
            }
        }
        Err(error) => tell(Err(Failure::Refused(error))),
    }
    if let Some(hook) = &settings.on_thread_stop {
        hook();
    }
}

fn call(hook: Option<&Hook>) -> thread::Result<()> {
    hook.map_or(Ok(()), |hook| panic::catch_unwind(AssertUnwindSafe(|| hook())))
}

/// Waits for threads; gives what the first one panicked with, which only a hook can.
pub(super) fn join(threads: Vec<JoinHandle<()>>) -> thread::Result<()> {
    let mut all = Ok(());
    for thread in threads {
        let one = thread.join();
        all = all.and(one);
    }
    all
}

/// Runs `f` with the worker that the calling thread is meanwhile, beside the others. Gives what `f` gave, and what a hook
/// panicked with at the end.
///
/// # Errors
/// Where a worker cannot start; `f` was not called then.
pub(super) fn run_with_caller<T>(
    settings: &Arc<Settings>,
    f: impl FnOnce(&Worker) -> T,
) -> io::Result<(T, thread::Result<()>)> {
    call(settings.on_thread_start.as_ref()).unwrap_or_else(|panic| resume_unwind(panic));
    let result = run_as_first(settings, f);
    let stopped = call(settings.on_thread_stop.as_ref());
    let (result, others_stopped) = result.map_err(Failure::into_error)?;
    Ok((result, others_stopped.and(stopped)))
}

fn run_as_first<T>(settings: &Arc<Settings>, f: impl FnOnce(&Worker) -> T) -> Result<(T, thread::Result<()>), Failure> {
    let candidate = Candidate::new(settings.reactor).map_err(Failure::Refused)?;
    // The first one decides for all.
    let kind = candidate.reactor_kind();
    let mut members = vec![candidate.member()];
    let mut others = Applicants::default();
    if let Err(failure) = others.call(settings, 1..settings.workers, Some(kind), None, &mut members) {
        others.dismiss();
        return Err(failure);
    }
    let crew = Arc::new(Crew::new(settings.config(kind), members));
    let worker = Worker::new(candidate, Arc::clone(&crew), 0);
    let threads = others.hire(&crew);
    let result = f(&worker);
    drop(worker);
    Ok((result, join(threads)))
}

/// Threads that run a runtime by themselves.
pub(super) struct Background {
    pub(super) crew: Arc<Crew>,
    pub(super) threads: Vec<JoinHandle<()>>,
    /// Posted when all of them have ended, or are about to.
    pub(super) ended: Arc<Baton>,
}

/// Starts as many.
///
/// # Errors
/// Where a worker cannot start.
pub(super) fn start(settings: &Arc<Settings>) -> io::Result<Background> {
    let ended = Arc::new(Baton::new());
    let leaving = Leaving::new(Arc::clone(&ended));
    let (mut applicants, mut members) = (Applicants::default(), Vec::new());
    let mut call = |indices, reactor| applicants.call(settings, indices, reactor, Some(&leaving), &mut members);
    // The first one decides for all.
    let called = call(0..1, settings.reactor).and_then(|kind| {
        let kind = kind.expect("it has started one");
        call(1..settings.workers, Some(kind)).map(|_| kind)
    });
    match called {
        Ok(kind) => {
            let crew = Arc::new(Crew::new(settings.config(kind), members));
            let threads = applicants.hire(&crew);
            Ok(Background { crew, threads, ended })
        }
        Err(failure) => {
            applicants.dismiss();
            Err(failure.into_error())
        }
    }
}

/// Held by each thread; the last one that lets go posts the baton.
struct Leaving(Arc<(AtomicUsize, Arc<Baton>)>);

impl Leaving {
    fn new(ended: Arc<Baton>) -> Leaving {
        Leaving(Arc::new((AtomicUsize::new(1), ended)))
    }
}

impl Clone for Leaving {
    fn clone(&self) -> Leaving {
        self.0.0.fetch_add(1, Ordering::Relaxed);
        Leaving(Arc::clone(&self.0))
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let (left, ended) = &*self.0;
        if left.fetch_sub(1, Ordering::AcqRel) == 1 {
            ended.post();
        }
    }
}
