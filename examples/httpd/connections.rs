//! Who is connected: how many there may be, who is idle, and how they are told to go.

use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kapok::net::TcpStream;

use crate::Server;

/// Seats beyond the limit, for those who are told 503. A flood beyond these too is closed without the courtesy.
const SPARE_SEATS: usize = 256;

/// All open connections.
pub(crate) struct Connections {
    max: usize,
    next_id: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Peer>>>,
}

/// What others than its own fiber need to know of a connection.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    pub(crate) address: SocketAddr,
    /// Set while the fiber waits for the first byte of a request, the only time at which nothing is owed to the client.
    pub(crate) idle: AtomicBool,
}

/// One connection's place among the others, given up when it is dropped.
pub(crate) struct Seat {
    pub(crate) server: Arc<Server>,
    pub(crate) peer: Arc<Peer>,
    /// Whether this is a seat beyond the limit.
    pub(crate) is_spare: bool,
    id: u64,
}

impl Connections {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            next_id: AtomicU64::new(0),
            open: Mutex::default(),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.open().len()
    }

    /// Ends the wait of everyone who waits for a request. One that has arrived already is still read and answered.
    pub(crate) fn close_idle(&self) {
        for peer in self.open().values().filter(|peer| peer.idle.load(Ordering::Relaxed)) {
            // An error means that the connection is gone already, and its fiber knows.
            let _gone = peer.stream.shutdown(Shutdown::Read);
        }
    }

    /// Breaks every connection off, whatever it is doing, and says how many there were.
    pub(crate) fn cut_all(&self) -> usize {
        let open = self.open();
        for peer in open.values() {
            let _gone = peer.stream.shutdown(Shutdown::Both);
        }
        open.len()
    }

    /// The lock is never held across anything that suspends, so no fiber waits for it and the thread never blocks.
    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<Peer>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// A seat for a new connection; `None`, and the connection closed, when not even a spare one is free.
    pub(crate) fn take(server: &Arc<Server>, stream: TcpStream, address: SocketAddr) -> Option<Self> {
        let connections = &server.connections;
        let id = connections.next_id.fetch_add(1, Ordering::Relaxed);
        let peer = Arc::new(Peer {
            stream,
            address,
            idle: AtomicBool::new(false),
        });
        let mut open = connections.open();
        let is_spare = open.len() >= connections.max;
        if open.len() >= connections.max.saturating_add(SPARE_SEATS) {
            return None;
        }
        open.insert(id, Arc::clone(&peer));
        drop(open);
        Some(Self {
            server: Arc::clone(server),
            peer,
            is_spare,
            id,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.server.connections.open().remove(&self.id);
    }
}
