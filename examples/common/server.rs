//! A server's life: it listens, starts a fiber for each connection, and when a signal comes sees everybody off.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use kapok::net::{TcpListener, TcpStream};
use kapok::runtime::Handle;
use kapok::signal::{SIGINT, SIGTERM, Signals};
use kapok::sync::{Event, Mutex, PoisonError};
use kapok::{CancelToken, fiber, spawn, timeout};

/// How long to listen to a client that has been told good-bye.
const LINGER: Duration = Duration::from_secs(1);

/// A server that listens already.
pub(crate) struct Server {
    listener: TcpListener,
    signals: Signals,
    connections: Arc<Connections>,
}

/// All open connections.
pub(crate) struct Connections {
    max: usize,
    next_id: AtomicU64,
    stopping: AtomicBool,
    open: Mutex<HashMap<u64, Arc<TcpStream>>>,
    /// Set while none is open.
    none_left: Event,
    /// Cancelled when the time is up in which connections could end by themselves.
    patience: CancelToken,
}

/// One connection, for the fiber that serves it.
pub(crate) struct Connection {
    /// Counts from 1.
    pub(crate) id: u64,
    pub(crate) stream: Arc<TcpStream>,
    pub(crate) peer: SocketAddr,
    all: Arc<Connections>,
}

impl Server {
    /// Listens, and says where: `scheme` is what the address is announced with, such as `http://`.
    pub(crate) fn bind(address: &str, scheme: &str, max_connections: usize) -> io::Result<Server> {
        let listener = TcpListener::bind(address)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))?;
        // From here on a signal is a request to stop.
        let signals = Signals::new([SIGINT, SIGTERM])?;
        let (at, runtime) = (listener.local_addr()?, Handle::current());
        let (reactor, workers) = (runtime.reactor(), runtime.workers());
        writeln!(
            kapok::stdio::stdout(),
            "listening on {scheme}{at} (reactor {reactor}, workers {workers})"
        )?;
        let connections = Arc::new(Connections {
            max: max_connections,
            next_id: AtomicU64::new(1),
            stopping: AtomicBool::new(false),
            open: Mutex::default(),
            none_left: Event::new(),
            patience: CancelToken::new(),
        });
        connections.none_left.set();
        Ok(Server {
            listener,
            signals,
            connections,
        })
    }

    /// Serves until a signal comes, and then until the connections have ended, or `grace` is over. `stop` is called in between,
    /// to tell them.
    pub(crate) fn serve(
        self,
        grace: Duration,
        connection: impl Fn(&Connection) + Send + Sync + 'static,
        stop: impl FnOnce(&Connections),
    ) -> io::Result<()> {
        let (listener, connections) = (Arc::new(self.listener), self.connections);
        let (accepting, theirs) = (Arc::clone(&listener), Arc::clone(&connections));
        let accepting = spawn(move || accept_all(&accepting, &theirs, &Arc::new(connection)));
        self.signals.recv()?;
        connections.stopping.store(true, Ordering::Relaxed);
        listener.close();
        // Who stood in line already is let in, and told with the others.
        accepting
            .join()
            .map_err(|_| io::Error::other("the accepting fiber panicked"))?;
        stop(&connections);
        let all_have_ended = timeout(grace, || {
            // A second signal is the end of patience.
            kapok::race(|| drop(self.signals.recv()), || connections.none_left.wait());
        });
        if all_have_ended.is_err() {
            log::info!("connections are cut off");
        }
        connections.patience.cancel();
        connections.none_left.wait();
        Ok(())
    }
}

fn accept_all<F>(listener: &TcpListener, all: &Arc<Connections>, serve: &Arc<F>)
where
    F: Fn(&Connection) + Send + Sync + 'static,
{
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                // Above the limit it is closed, without a word: each protocol would need its own.
                let Some(connection) = Connection::enter(all, stream, peer) else {
                    log::warn!("a connection was refused: there are {} already", all.max);
                    continue;
                };
                let serve = Arc::clone(serve);
                drop(spawn(move || {
                    if connection.all.patience.run(|| serve(&connection)).is_err() {
                        log::info!("a connection was cut off");
                    }
                }));
            }
            Err(error) => match error.kind() {
                ErrorKind::NotConnected => return,
                // The client gave up while it stood in line.
                ErrorKind::ConnectionAborted => {}
                // As a rule the process is out of descriptors, and clients that leave give some back.
                _ => fiber::sleep(Duration::from_millis(50)),
            },
        }
    }
}

impl Connections {
    /// Lets everybody who waits for input see its end. What has arrived is still read, and may be answered.
    pub(crate) fn end_input(&self) {
        for stream in self.open.lock().unwrap_or_else(PoisonError::into_inner).values() {
            // An error means that the connection is gone already, and its fiber knows.
            let _gone = stream.shutdown(Shutdown::Read);
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether the first signal has come.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

impl Connection {
    fn enter(all: &Arc<Connections>, stream: TcpStream, peer: SocketAddr) -> Option<Connection> {
        let stream = Arc::new(stream);
        let id = all.next_id.fetch_add(1, Ordering::Relaxed);
        let mut open = all.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= all.max {
            return None;
        }
        open.insert(id, Arc::clone(&stream));
        all.none_left.reset();
        drop(open);
        Some(Connection {
            id,
            stream,
            peer,
            all: Arc::clone(all),
        })
    }
}

impl Connection {
    /// Says that nothing follows, and hears the client out for a while: closing a socket that has unread bytes resets it, and
    /// the reset can overtake the last answer.
    pub(crate) fn part(&self) {
        let mut stream = &*self.stream;
        if stream.shutdown(Shutdown::Write).is_ok() {
            let mut rest = [0; 1024];
            let _too_late = timeout(LINGER, || while stream.read(&mut rest).is_ok_and(|count| count > 0) {});
        }
    }
}

impl Deref for Connection {
    type Target = Connections;

    fn deref(&self) -> &Connections {
        &self.all
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut open = self.all.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&self.id);
        if open.is_empty() {
            self.all.none_left.set();
        }
    }
}
