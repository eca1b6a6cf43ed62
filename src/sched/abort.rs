//! Where a panic must not pass.

/// Ends the process where unwinding would leave something half done that nothing can put right.
pub(super) struct AbortOnUnwind(());

impl AbortOnUnwind {
    pub(super) fn arm() -> Self {
        AbortOnUnwind(())
    }

    #[expect(clippy::mem_forget, reason = "its drop is what is to be avoided")]
    pub(super) fn disarm(self) {
        std::mem::forget(self);
    }
}

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        std::process::abort();
    }
}
