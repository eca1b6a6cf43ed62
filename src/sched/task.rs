//! What the scheduler asks of the layer that defines what a fiber is.

use std::any::Any;
use std::io;
use std::sync::Arc;

/// The work of one fiber.
pub(crate) trait Task: Send + Sync {
    /// Runs it, on the fiber's own stack, once. Lets no panic out.
    fn run(&self);

    /// Called instead of `run` where no stack could be had.
    fn fail(&self, error: io::Error);

    /// Fills `slot` with what the layer above keeps of a task, if that is what the slot is for. The scheduler does not
    /// know that type: it lies above.
    fn provide(self: Arc<Self>, slot: &mut dyn Any);
}
