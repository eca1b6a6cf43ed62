//! What a backend has been given and has not given back.

use std::mem::{Discriminant, discriminant};
use std::os::fd::RawFd;
use std::process;
use std::ptr::NonNull;

use super::op::{Kind, Op, Source};
use crate::sys::Direction;

/// Every operation from its submission until it is handed out.
///
/// Lists in a list, and not a table: it is used on fibers' stacks, which may be small, and nothing is optimized.
///
/// # Invariant
/// What is noted is alive: an operation that is dropped before it was taken out ends the process.
#[derive(Debug)]
pub(super) struct Ledger {
    /// By descriptor, those without one first; each list in the order of submission.
    lines: Vec<Vec<Note>>,
    count: usize,
    process: u32,
}

/// What does not change while an operation is pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Note {
    op: NonNull<Op>,
    source: Source,
    user: *const (),
    kind: Discriminant<Kind>,
    /// Operations on files have none.
    direction: Option<Direction>,
}

impl Note {
    fn of(op: &Op) -> Note {
        Note {
            op: NonNull::from(op),
            source: op.source,
            user: op.user(),
            kind: discriminant(&op.kind),
            direction: match op.kind {
                Kind::File { .. } => None,
                _ => Some(op.direction()),
            },
        }
    }

    fn op(&self) -> &Op {
        // SAFETY: alive, by the invariant of `Ledger`.
        unsafe { self.op.as_ref() }
    }

    fn has_ended(&self) -> bool {
        self.op().outcome().is_some()
    }

    /// Whether it is to end before `other`, which was submitted later.
    fn precedes(&self, other: &Note) -> bool {
        self.source == other.source && self.direction.is_some() && self.direction == other.direction
    }

    #[track_caller]
    fn check(&self) {
        let now = Note::of(self.op());
        assert_eq!(now, *self, "an operation was changed, or freed, while it was pending");
    }
}

impl Ledger {
    pub(super) fn new() -> Ledger {
        Ledger {
            lines: Vec::new(),
            count: 0,
            process: process::id(),
        }
    }

    #[track_caller]
    pub(super) fn submit(&mut self, op: &Op) {
        assert!(!op.is_pending(), "an operation was submitted twice: {op:?}");
        assert!(
            op.outcome().is_none(),
            "an operation was submitted that is over: {op:?}"
        );
        let line = index_of(op.source.fd);
        if line >= self.lines.len() {
            self.lines.resize_with(line + 1, Vec::new);
        }
        self.lines[line].push(Note::of(op));
        self.count += 1;
        op.set_pending(true);
    }

    /// It was over when it was submitted, and is its owner's again.
    #[track_caller]
    pub(super) fn done(&mut self, op: &Op) {
        assert!(
            op.outcome().is_none(),
            "an operation was done at once, and completed: {op:?}"
        );
        let (line, place) = self.find(op);
        self.lines[line].remove(place);
        self.count -= 1;
        op.set_pending(false);
    }

    /// It was handed out.
    #[track_caller]
    pub(super) fn complete(&mut self, op: &Op) {
        let (line, place) = self.find(op);
        let note = self.lines[line].remove(place);
        self.count -= 1;
        op.set_pending(false);
        note.check();
        let Some(outcome) = op.outcome() else {
            panic!("an operation was handed out without an outcome: {op:?}");
        };
        let mut earlier = self.lines[line][..place].iter();
        let overtaken = earlier.find(|other| other.precedes(&note) && !other.has_ended());
        if let (Some(other), true) = (overtaken, outcome != Err(libc::ECANCELED)) {
            panic!("an operation has overtaken another: {op:?}, {:?}", other.op());
        }
    }

    #[track_caller]
    pub(super) fn check_pending(&self, op: &Op) {
        let (line, place) = self.find(op);
        self.lines[line][place].check();
    }

    /// All operations on `source` have ended. (In a child process they are the parent's.)
    #[track_caller]
    pub(super) fn check_forgotten(&self, source: Source) {
        let mut line = self.lines.get(index_of(source.fd)).into_iter().flatten();
        let left = line.find(|note| note.source == source && !note.has_ended());
        if let Some(note) = left.filter(|_| process::id() == self.process) {
            panic!(
                "an operation goes on although its descriptor was forgotten: {:?}",
                note.op()
            );
        }
    }

    #[track_caller]
    pub(super) fn check_count(&self, pending: usize) {
        assert_eq!(pending, self.count, "operations were lost, or are counted wrongly");
    }

    #[track_caller]
    fn find(&self, op: &Op) -> (usize, usize) {
        let line = index_of(op.source.fd);
        let notes = self.lines.get(line).into_iter().flatten();
        let place = notes.into_iter().position(|note| note.op == NonNull::from(op));
        (
            line,
            place.unwrap_or_else(|| panic!("this operation is not pending: {op:?}")),
        )
    }
}

impl Drop for Ledger {
    /// The backend is gone, and with it the promise to stay alive.
    fn drop(&mut self) {
        for note in self.lines.iter().flatten() {
            note.op().set_pending(false);
        }
    }
}

fn index_of(fd: RawFd) -> usize {
    usize::try_from(fd).map_or(0, |fd| fd + 1)
}
