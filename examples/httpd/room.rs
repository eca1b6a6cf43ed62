//! Room for input.

/// What a request without cookies takes.
pub(crate) const NEAR: usize = 1024;

/// Room for input: near at hand as much as most requests take, and elsewhere where that does not do.
pub(crate) struct Room<'c> {
    near: &'c mut [u8; NEAR],
    far: Vec<u8>,
}

impl<'c> Room<'c> {
    pub(crate) fn new(near: &'c mut [u8; NEAR]) -> Self {
        Self { near, far: Vec::new() }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        if self.far.is_empty() { self.near } else { &self.far }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        if self.far.is_empty() { self.near } else { &mut self.far }
    }

    /// Makes it twice as large; what is in it stays.
    pub(crate) fn grow(&mut self) {
        if self.far.is_empty() {
            self.far.extend_from_slice(self.near);
        }
        self.far.resize(self.far.len() * 2, 0);
    }

    /// Makes it as small as it was; what was in it is lost.
    pub(crate) fn shrink(&mut self) {
        self.far = Vec::new();
    }
}
