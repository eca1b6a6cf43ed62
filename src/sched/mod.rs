//! The scheduler: who runs next, on which thread.
//!
//! Each thread that runs fibers is a [`Worker`] with a run queue, timers and a reactor of its own. A fiber that has started
//! stays with its worker for life. Start at [`switch`], which has the picture; then [`worker`], the loop around it; then
//! [`wait`]. [`inbox`] is how other threads reach a worker, [`crew`] what the workers of a runtime have in common: above all,
//! what has not started yet; and [`mod@cancel`] how a fiber is made to end early.

#![allow(
    unsafe_code,
    reason = "switches stacks, and reaches what lies on suspended ones by pointer"
)]

mod abort;
mod cancel;
mod carrier;
mod control;
mod crew;
mod errand;
mod fresh;
mod inbox;
#[cfg(all(loom, test))]
mod model;
mod overflow;
mod search;
pub(crate) mod slots;
mod stop;
mod switch;
mod task;
mod timers;
mod wait;
mod watch;
mod worker;

pub(crate) use abort::AbortOnUnwind;
pub use cancel::Cancelled;
pub(crate) use cancel::{Frame, Life, Members, ScopeFrame, UNWINDS, cancel, leave_scope, tell};
pub(crate) use control::{FiberRef, Kept};
pub(crate) use crew::{Crew, Member};
pub(crate) use inbox::{Inbox, WakeUp};
pub(crate) use stop::{Left, Roll};
pub(crate) use task::{Task, TaskRef, Who};
pub(crate) use wait::{Cut, wake};
pub(crate) use watch::{Interest, wake_task};
pub(crate) use worker::{Candidate, Config, Worker};
