//! How the server stops: the signals, and the wait for those whose answer is still on its way.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use kapok::fiber::JoinHandle;
use kapok::sync::Baton;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::connections::Connections;

/// Exit code of a program that was interrupted: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;
/// How long a client that has just been answered gets to send the request that it was about to send anyway.
const LAST_CALL: Duration = Duration::from_millis(100);
/// How often to look whether everyone has gone.
const LOOK: Duration = Duration::from_millis(20);

/// A baton that the first SIGINT or SIGTERM posts. The second one ends the process on the spot.
pub(crate) fn on_signal() -> io::Result<Arc<Baton>> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let stop = Arc::new(Baton::new());
    let posted = Arc::clone(&stop);
    // A thread, not a fiber: it has to work also when the fibers are in trouble.
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut signals = signals.forever();
        signals.next();
        posted.post();
        signals.next();
        signal_hook::low_level::exit(INTERRUPTED);
    })?;
    Ok(stop)
}

/// Waits until everyone has been let in who stood in line, and every connection has ended: idle ones are ended, busy ones
/// get until the end of the grace time.
pub(crate) fn see_off(acceptor: &JoinHandle<()>, connections: &Connections, grace: Duration) {
    say(&format!("stopping: {} s for what is in progress", grace.as_secs_f32()));
    let last_call_ends = Instant::now() + LAST_CALL.min(grace);
    let patience_ends = Instant::now() + grace;
    let mut told = false;
    while connections.count() > 0 || !acceptor.is_finished() {
        let now = Instant::now();
        if now >= patience_ends {
            let cut = connections.cut_all();
            if !told {
                log::warn!("{cut} connections were cut, for they did not finish in time");
            }
            told = true;
        } else if now >= last_call_ends {
            connections.close_idle();
        }
        kapok::fiber::sleep(LOOK);
    }
    say("stopped");
}

/// A line to stdout; whoever does not read it does not keep the server from stopping.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _unread = writeln!(out, "{line}").and_then(|()| out.flush());
}
