//! The bell: how other threads end a worker's wait in the kernel.
//!
//! It says *that* something happened; what happened lies in the inbox beside it. Which mechanism serves is a matter of the
//! system and of the selector, and is decided where the selector is made.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod eventfd;
#[cfg(kapok_io_uring)]
mod message;
mod pipe;
#[cfg(kqueue)]
mod user;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use eventfd::EventFd;
#[cfg(kapok_io_uring)]
pub(crate) use message::Message;
pub(crate) use pipe::Pipe;
#[cfg(kqueue)]
pub(crate) use user::User;

/// Something that any thread may ring, and one reactor hears.
#[derive(Clone, Debug)]
pub(crate) enum Bell {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    EventFd(EventFd),
    #[cfg(kapok_io_uring)]
    Message(Message),
    Pipe(Pipe),
    #[cfg(kqueue)]
    User(User),
}

impl Bell {
    /// Ends the current wait of the reactor, or the next one. Rings that were not heard yet count as one.
    pub(crate) fn ring(&self) {
        match self {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Bell::EventFd(bell) => bell.ring(),
            #[cfg(kapok_io_uring)]
            Bell::Message(bell) => bell.ring(),
            Bell::Pipe(bell) => bell.ring(),
            #[cfg(kqueue)]
            Bell::User(bell) => bell.ring(),
        }
    }
}
