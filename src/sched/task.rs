//! What the scheduler asks of the layer that defines what a fiber is.

use std::any::Any;
use std::io;
use std::panic::Location;

use super::cancel::Life;
use crate::pool_arc::PoolArc;
use crate::stack::Description;

/// A fiber's number, which no other has or had, and where it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) id: u64,
    pub(crate) spawned_at: Option<&'static Location<'static>>,
}

/// The work of one fiber.
pub(crate) trait Task: Send + Sync {
    /// Runs it, on the fiber's own stack, once. Lets no panic out.
    fn run(&self);

    /// Called instead of `run`, in its place, where it was cancelled before it began.
    fn cancel(&self);

    /// Called instead of `run` where no stack could be had.
    fn fail(&self, error: io::Error);

    /// Whether it is cancelled.
    fn life(&self) -> &Life;

    /// Who it is, in a form that can be told to other threads without owning anything.
    fn who(&self) -> Who;

    /// Whether it is over, with everything that the fiber had.
    fn has_ended(&self) -> bool;

    /// Who does it. Called by handlers of signals: it only looks.
    fn describe(&self) -> Description<'_>;

    /// What the layer above keeps of whoever does it. The scheduler does not know that type: it lies above.
    fn identity(&self) -> &dyn Any;
}

/// A task that has references in the scheduler and elsewhere.
pub(crate) type TaskRef = PoolArc<dyn Task>;
