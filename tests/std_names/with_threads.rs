//! The program as it was written.

use std::{process, sync, thread};

/// `std::fs`, and what `std::os` has for it.
mod fs {
    pub(super) use std::fs::*;
    pub(super) use std::os::unix::fs::{chown, fchown, lchown, symlink};
}

/// Sockets of both families, which std has in two places.
mod net {
    pub(super) use std::net::{TcpListener, TcpStream, UdpSocket};
    pub(super) use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
}

fn run<T>(f: impl FnOnce() -> T) -> T {
    let _watchdog = crate::support::watchdog();
    f()
}

#[path = "program.rs"]
mod program;
#[path = "signatures.rs"]
mod signatures;
