//! A stack between two fibers.

use crate::context::Handle;
use crate::stack::Stack;

/// A stack whose fiber has ended, suspended in `switch::carry`, ready for another fiber.
pub(super) struct Carrier {
    pub(super) stack: Stack,
    pub(super) context: Handle,
}
