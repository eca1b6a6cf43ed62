//! What the public sockets have in common, word for word: macros, for there is no trait for it in std either.

/// Methods about waiting, within the `impl` of a socket that is a [`Socket`](super::socket::Socket).
macro_rules! waiting {
    () => {
        /// How long receiving waits before it fails with `WouldBlock`; `None` is for ever.
        ///
        /// # Errors
        /// `InvalidInput` for a duration of zero.
        pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
            self.0.set_read_timeout(timeout)
        }

        /// How long sending waits before it fails with `WouldBlock`; `None` is for ever.
        ///
        /// # Errors
        /// `InvalidInput` for a duration of zero.
        pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
            self.0.set_write_timeout(timeout)
        }

        /// The time-out for receiving.
        ///
        /// # Errors
        /// None; the result is std's.
        pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
            Ok(self.0.read_timeout())
        }

        /// The time-out for sending.
        ///
        /// # Errors
        /// None; the result is std's.
        pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
            Ok(self.0.write_timeout())
        }
    };
}
pub(super) use waiting;

/// Methods that listeners have, too.
macro_rules! any_socket {
    ($name:ident) => {
        /// A second handle to the same socket, which shares its options, mode and time-outs.
        ///
        /// # Errors
        /// Where no descriptor is left.
        pub fn try_clone(&self) -> io::Result<$name> {
            self.0.try_clone().map($name)
        }

        /// The pending error of the socket, which reading clears.
        ///
        /// # Errors
        /// Those of `getsockopt(2)`.
        pub fn take_error(&self) -> io::Result<Option<io::Error>> {
            crate::sys::socket::take_error(self.0.raw())
        }

        crate::watcher::polling!(self => self.0.poll_ready);

        /// In non-blocking mode, what would suspend the fiber fails with `WouldBlock` instead.
        ///
        /// # Errors
        /// None; the result is std's.
        pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
            self.0.set_nonblocking(nonblocking);
            Ok(())
        }
    };
}
pub(super) use any_socket;

/// `IP_TTL`.
macro_rules! ttl {
    () => {
        /// `IP_TTL`: how many hops a packet may make.
        ///
        /// # Errors
        /// Those of `setsockopt(2)`.
        pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
            socket::set_option(self.0.raw(), libc::IPPROTO_IP, libc::IP_TTL, &ttl)
        }

        /// The value of `IP_TTL`.
        ///
        /// # Errors
        /// Those of `getsockopt(2)`.
        pub fn ttl(&self) -> io::Result<u32> {
            socket::get_option(self.0.raw(), libc::IPPROTO_IP, libc::IP_TTL)
        }
    };
}
pub(super) use ttl;

/// [`Read`](std::io::Read) and [`Write`](std::io::Write) of a stream, shared and owned.
macro_rules! stream {
    ($name:ident) => {
        impl std::io::Read for &$name {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                self.0.recv(buf, 0)
            }

            fn read_vectored(&mut self, bufs: &mut [std::io::IoSliceMut<'_>]) -> io::Result<usize> {
                self.0.recv_vectored(bufs)
            }
        }

        impl std::io::Write for &$name {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                self.0.send(buf)
            }

            fn write_vectored(&mut self, bufs: &[std::io::IoSlice<'_>]) -> io::Result<usize> {
                self.0.send_vectored(bufs)
            }

            /// There is no buffer here.
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        impl std::io::Read for $name {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                (&*self).read(buf)
            }

            fn read_vectored(&mut self, bufs: &mut [std::io::IoSliceMut<'_>]) -> io::Result<usize> {
                (&*self).read_vectored(bufs)
            }
        }

        impl std::io::Write for $name {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                (&*self).write(buf)
            }

            fn write_vectored(&mut self, bufs: &[std::io::IoSlice<'_>]) -> io::Result<usize> {
                (&*self).write_vectored(bufs)
            }

            fn flush(&mut self) -> io::Result<()> {
                (&*self).flush()
            }
        }
    };
}
pub(super) use stream;

/// Lets `select!` and futures wait for a socket.
macro_rules! watchable {
    ($name:ident) => {
        impl crate::watcher::Watchable for $name {
            fn watched(&self) -> crate::watcher::Watched<'_> {
                crate::watcher::Watched::new(self.0.source)
            }
        }
    };
}
pub(super) use watchable;

/// The conversions from and to descriptors and std's own socket that std's sockets have.
macro_rules! conversions {
    ($name:ident, $std:path) => {
        crate::net::common::watchable!($name);

        impl std::os::fd::AsFd for $name {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                std::os::fd::AsFd::as_fd(&self.0)
            }
        }

        impl std::os::fd::AsRawFd for $name {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                self.0.raw()
            }
        }

        impl From<std::os::fd::OwnedFd> for $name {
            /// Puts the descriptor into non-blocking mode.
            fn from(fd: std::os::fd::OwnedFd) -> $name {
                $name(Socket::adopt(fd))
            }
        }

        impl From<$name> for std::os::fd::OwnedFd {
            /// Puts the descriptor back into blocking mode, unless `set_nonblocking(true)` was called. (A listener of which
            /// there are clones stays as it is: they share the mode, and must not block.)
            fn from(socket: $name) -> std::os::fd::OwnedFd {
                socket.0.into_fd($name::CLONES_NEED_NONBLOCKING)
            }
        }

        impl From<$std> for $name {
            /// Puts the socket into non-blocking mode.
            fn from(socket: $std) -> $name {
                std::os::fd::OwnedFd::from(socket).into()
            }
        }

        impl From<$name> for $std {
            /// Puts the socket back into blocking mode, unless `set_nonblocking(true)` was called.
            fn from(socket: $name) -> $std {
                std::os::fd::OwnedFd::from(socket).into()
            }
        }

        impl std::os::fd::FromRawFd for $name {
            #[expect(unsafe_code, reason = "the trait's contract is passed on")]
            unsafe fn from_raw_fd(fd: std::os::fd::RawFd) -> $name {
                // SAFETY: the caller owns the descriptor, which is this trait's contract.
                unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) }.into()
            }
        }

        impl std::os::fd::IntoRawFd for $name {
            fn into_raw_fd(self) -> std::os::fd::RawFd {
                std::os::fd::IntoRawFd::into_raw_fd(std::os::fd::OwnedFd::from(self))
            }
        }
    };
}
pub(super) use conversions;
