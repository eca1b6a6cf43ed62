//! Where a panic must not pass.

/// Ends the process where unwinding would leave something half done that nothing can put right.
pub(crate) struct AbortOnUnwind(());

impl AbortOnUnwind {
    pub(crate) fn arm() -> Self {
        AbortOnUnwind(())
    }

    #[expect(clippy::mem_forget, reason = "its drop is what is to be avoided")]
    pub(crate) fn disarm(self) {
        std::mem::forget(self);
    }
}

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        std::process::abort();
    }
}
