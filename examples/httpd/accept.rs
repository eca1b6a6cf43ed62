//! Who gets in: the accept loop, and what it does when the machine has no descriptor left for another connection.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kapok::net::TcpListener;

use crate::connections::Seat;
use crate::{Server, conversation};

/// Accepts until the listener is closed, and starts one fiber for each connection.
pub(crate) fn accept_all(listener: &TcpListener, server: &Arc<Server>) {
    let mut shortage = Shortage::default();
    loop {
        match listener.accept() {
            Ok((stream, address)) => {
                shortage.is_over();
                if let Some(seat) = Seat::take(server, stream, address) {
                    start(move || conversation::converse(&seat));
                }
            }
            Err(error) => match error.kind() {
                ErrorKind::NotConnected => return,
                // The client gave up while it stood in line: no concern of anyone else's.
                ErrorKind::ConnectionAborted | ErrorKind::Interrupted => {}
                _ => shortage.wait_out(&error),
            },
        }
    }
}

fn start(connection: impl FnOnce() + Send + 'static) {
    // A fiber that cannot start drops its closure, and with it the connection.
    if let Err(error) = kapok::fiber::Builder::new()
        .name("connection".to_owned())
        .spawn(connection)
    {
        log::warn!("a connection was closed, for no fiber could be started for it: {error}");
    }
}

/// A time in which `accept` fails, as a rule because the process or the system has run out of descriptors.
///
/// The connection that could not be accepted stays in the kernel's line, so trying again at once would only spin. Clients
/// that leave give descriptors back; a short sleep finds them soon enough.
#[derive(Default)]
struct Shortage {
    pause: Duration,
    last_warning: Option<Instant>,
}

impl Shortage {
    const FIRST_PAUSE: Duration = Duration::from_millis(50);
    const LONGEST_PAUSE: Duration = Duration::from_millis(400);
    const BETWEEN_WARNINGS: Duration = Duration::from_secs(10);

    fn wait_out(&mut self, error: &io::Error) {
        if self
            .last_warning
            .is_none_or(|at| at.elapsed() >= Self::BETWEEN_WARNINGS)
        {
            self.last_warning = Some(Instant::now());
            log::warn!("cannot accept connections for now, new ones have to wait: {error}");
        }
        self.pause = (self.pause * 2).clamp(Self::FIRST_PAUSE, Self::LONGEST_PAUSE);
        kapok::fiber::sleep(self.pause);
    }

    fn is_over(&mut self) {
        self.pause = Duration::ZERO;
    }
}
