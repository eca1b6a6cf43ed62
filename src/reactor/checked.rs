//! The contract of [`backend`](super::backend), checked while it is used: in debug builds, and so in all tests.
//!
//! A backend that breaks it writes to a stack that somebody else has by then, and is found out long after. Here it ends in a
//! sentence, where it happens. In release builds nothing of this is left.

use std::io;
use std::ptr::NonNull;
use std::time::Duration;

use super::backend::{Backend, Submitted};
use super::bell::Bell;
use super::file::FileVerb;
#[cfg(debug_assertions)]
use super::ledger::Ledger;
use super::op::{Op, Outcome, Source};

/// A backend, and in debug builds what it has been given and not given back.
#[derive(Debug)]
pub(crate) struct Checked<B> {
    // Dropped first: when it is gone, it has let go of all operations.
    pub(super) backend: B,
    #[cfg(debug_assertions)]
    ledger: Ledger,
}

impl<B: Backend> Checked<B> {
    pub(super) fn new(backend: B) -> Checked<B> {
        Checked {
            backend,
            #[cfg(debug_assertions)]
            ledger: Ledger::new(),
        }
    }

    /// To be called when the backend may have got or given operations.
    #[inline]
    fn compare(&self) {
        #[cfg(debug_assertions)]
        self.ledger.check_count(self.backend.pending());
    }
}

impl<B: Backend> Backend for Checked<B> {
    fn takes(&self, verb: FileVerb) -> bool {
        self.backend.takes(verb)
    }

    #[inline]
    fn send_at_once(&mut self, source: Source, bytes: &[u8], flags: libc::c_int) -> Option<Outcome> {
        self.backend.send_at_once(source, bytes, flags)
    }

    #[inline]
    unsafe fn submit(&mut self, op: NonNull<Op>) -> Submitted {
        // Before, since a backend may look up all that it has.
        #[cfg(debug_assertions)]
        // SAFETY: alive, by the caller's promise.
        self.ledger.submit(unsafe { op.as_ref() });
        // SAFETY: the caller's promise is passed on.
        let submitted = unsafe { self.backend.submit(op) };
        #[cfg(debug_assertions)]
        if let Submitted::Done(_) = submitted {
            // SAFETY: alive, by the caller's promise.
            self.ledger.done(unsafe { op.as_ref() });
        }
        self.compare();
        submitted
    }

    unsafe fn cancel(&mut self, op: NonNull<Op>) {
        #[cfg(debug_assertions)]
        // SAFETY: alive, by the caller's promise.
        self.ledger.check_pending(unsafe { op.as_ref() });
        // SAFETY: the caller's promise is passed on.
        unsafe { self.backend.cancel(op) };
        self.compare();
    }

    fn cancel_all(&mut self, source: Source) {
        self.backend.cancel_all(source);
        self.compare();
    }

    fn forget(&mut self, source: Source, still_open: bool) {
        self.backend.forget(source, still_open);
        #[cfg(debug_assertions)]
        self.ledger.check_forgotten(source);
        self.compare();
    }

    fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let turned = self.backend.turn(timeout);
        self.compare();
        turned
    }

    #[inline]
    fn next_completed(&mut self) -> Option<NonNull<Op>> {
        let op = self.backend.next_completed();
        #[cfg(debug_assertions)]
        if let Some(op) = op {
            // SAFETY: alive until its owner is told, by the contract that is checked here.
            self.ledger.complete(unsafe { op.as_ref() });
        }
        self.compare();
        op
    }

    #[inline]
    fn pending(&self) -> usize {
        self.backend.pending()
    }

    fn bell(&self) -> Bell {
        self.backend.bell()
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use std::collections::VecDeque;
    use std::process::Command;

    use super::super::op::Kind;
    use super::*;
    use crate::sys::Direction;

    /// A backend that does what a test tells it to.
    #[derive(Debug, Default)]
    struct Puppet {
        done: bool,
        lost: usize,
        submitted: usize,
        to_hand_out: VecDeque<NonNull<Op>>,
    }

    impl Puppet {
        fn end(&mut self, op: &Op, outcome: Outcome) {
            op.complete(outcome);
            self.to_hand_out.push_back(NonNull::from(op));
        }
    }

    impl Backend for Puppet {
        fn takes(&self, _verb: FileVerb) -> bool {
            true
        }

        unsafe fn submit(&mut self, _op: NonNull<Op>) -> Submitted {
            if self.done {
                return Submitted::Done(Ok(0));
            }
            self.submitted += 1;
            Submitted::Pending
        }

        unsafe fn cancel(&mut self, _op: NonNull<Op>) {}

        fn cancel_all(&mut self, _source: Source) {}

        fn forget(&mut self, _source: Source, _still_open: bool) {}

        fn turn(&mut self, _timeout: Option<Duration>) -> io::Result<()> {
            Ok(())
        }

        fn next_completed(&mut self) -> Option<NonNull<Op>> {
            let op = self.to_hand_out.pop_front()?;
            self.submitted = self.submitted.saturating_sub(1);
            Some(op)
        }

        fn pending(&self) -> usize {
            self.submitted - self.lost
        }

        fn bell(&self) -> Bell {
            unreachable!("nobody waits")
        }
    }

    const SOURCE: Source = Source { fd: 5, generation: 7 };

    fn wait() -> Op {
        Op::new(SOURCE, Kind::Ready(Direction::Read))
    }

    fn checked() -> Checked<Puppet> {
        Checked::new(Puppet::default())
    }

    // What is submitted in these tests is declared before the one that it is submitted to, and outlives it.
    fn submit(checked: &mut Checked<Puppet>, op: &Op) -> Submitted {
        // SAFETY: it outlives `checked`, and has no buffers.
        unsafe { checked.submit(NonNull::from(op)) }
    }

    #[test]
    fn what_keeps_the_contract_is_let_pass() {
        let (first, second, third) = (wait(), wait(), wait());
        let mut checked = checked();
        for op in [&first, &second] {
            assert_eq!(submit(&mut checked, op), Submitted::Pending);
        }
        checked.backend.done = true;
        assert_eq!(submit(&mut checked, &third), Submitted::Done(Ok(0)));
        // SAFETY: it is pending.
        unsafe { checked.cancel(NonNull::from(&second)) };
        checked.backend.end(&second, Err(libc::ECANCELED)); // before its turn
        checked.backend.end(&first, Ok(0));
        checked.forget(SOURCE, false);
        assert_eq!(checked.next_completed(), Some(NonNull::from(&second)));
        assert_eq!(checked.next_completed(), Some(NonNull::from(&first)));
        assert_eq!(checked.next_completed(), None);
    }

    #[test]
    #[should_panic(expected = "submitted twice")]
    fn a_second_submission_is_seen() {
        let op = wait();
        let mut checked = checked();
        submit(&mut checked, &op);
        submit(&mut checked, &op);
    }

    #[test]
    #[should_panic(expected = "this operation is not pending")]
    fn a_second_completion_is_seen() {
        let op = wait();
        let mut checked = checked();
        submit(&mut checked, &op);
        checked.backend.end(&op, Ok(0));
        checked.backend.to_hand_out.push_back(NonNull::from(&op));
        checked.next_completed();
        checked.next_completed();
    }

    #[test]
    #[should_panic(expected = "this operation is not pending")]
    fn a_completion_of_what_was_done_at_once_is_seen() {
        let op = wait();
        let mut checked = checked();
        checked.backend.done = true;
        submit(&mut checked, &op);
        checked.backend.to_hand_out.push_back(NonNull::from(&op));
        checked.next_completed();
    }

    #[test]
    #[should_panic(expected = "without an outcome")]
    fn an_end_without_an_outcome_is_seen() {
        let op = wait();
        let mut checked = checked();
        submit(&mut checked, &op);
        checked.backend.to_hand_out.push_back(NonNull::from(&op));
        checked.next_completed();
    }

    #[test]
    #[should_panic(expected = "operations were lost")]
    fn a_loss_is_seen() {
        let op = wait();
        let mut checked = checked();
        checked.backend.lost = 1;
        submit(&mut checked, &op);
    }

    #[test]
    #[should_panic(expected = "has overtaken another")]
    fn the_wrong_order_is_seen() {
        let (first, second) = (wait(), wait());
        let mut checked = checked();
        submit(&mut checked, &first);
        submit(&mut checked, &second);
        checked.backend.end(&second, Ok(0));
        checked.next_completed();
    }

    #[test]
    #[should_panic(expected = "was changed, or freed")]
    fn other_content_is_seen() {
        let op = wait();
        let mut checked = checked();
        submit(&mut checked, &op);
        op.set_user((&raw const op).cast());
        checked.backend.end(&op, Ok(0));
        checked.next_completed();
    }

    #[test]
    #[should_panic(expected = "this operation is not pending")]
    fn cancelling_what_is_not_pending_is_seen() {
        let op = wait();
        // SAFETY: the one that is cancelled does nothing with it.
        unsafe { checked().cancel(NonNull::from(&op)) };
    }

    #[test]
    #[should_panic(expected = "goes on although its descriptor was forgotten")]
    fn what_goes_on_without_its_descriptor_is_seen() {
        let op = wait();
        let mut checked = checked();
        submit(&mut checked, &op);
        checked.forget(SOURCE, false);
    }

    /// It ends the process, so it is another one.
    #[test]
    fn a_pending_operation_that_dies_is_seen() {
        const CHILD: &str = "KAPOK_TEST_DYING_OPERATION";
        if std::env::var_os(CHILD).is_some() {
            let mut checked = checked();
            submit(&mut checked, &wait());
            unreachable!("it has died");
        }
        let (_crate, module) = module_path!().split_once("::").unwrap();
        let name = format!("{module}::a_pending_operation_that_dies_is_seen");
        let mut child = Command::new(std::env::current_exe().unwrap());
        let ended = child
            .args(["--exact", "--nocapture", &name])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(
            !ended.status.success() && said.contains("died while it was pending"),
            "{said}"
        );
    }
}
