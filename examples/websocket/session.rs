//! One client: waits for what it says and what others say, whichever is first, and passes it on.

use std::borrow::Cow;
use std::io::ErrorKind;
use std::time::Duration;

use kapok::sync::broadcast::{Receiver, RecvError};
use kapok::{fiber, race, timeout};
use tungstenite::error::{CapacityError, Error};
use tungstenite::handshake::server::{Request, Response};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{Message, WebSocket};

use crate::common::server::Connection;
use crate::transport::Transport;
use crate::{Options, Rooms, Said};

/// How many messages of one client are handled before others have their turn.
const TURN: usize = 64;
/// How long a client may take to answer a good-bye, or to take any of a message.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a conversation is over.
enum End {
    /// The client has closed it.
    Closed,
    /// The server closes it, for that reason.
    Close(CloseCode, Cow<'static, str>),
    Broken(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> End {
        match error {
            Error::ConnectionClosed | Error::AlreadyClosed => End::Closed,
            Error::Capacity(error @ CapacityError::MessageTooLong { .. }) => {
                End::Close(CloseCode::Size, error.to_string().into())
            }
            Error::Utf8(_) => End::Close(CloseCode::Invalid, "a text that is none".into()),
            Error::Protocol(error) => End::Close(CloseCode::Protocol, error.to_string().into()),
            error => End::Broken(error),
        }
    }
}

struct Session<'s> {
    socket: WebSocket<Transport<'s>>,
    rooms: &'s Rooms,
    connection: &'s Connection,
    /// Whether all hear what it says.
    is_together: bool,
    heard: Receiver<Said>,
    /// Whether it has said anything, if only that it is there, since it was asked.
    is_there: bool,
}

/// Serves one client until it leaves.
pub(crate) fn serve(rooms: &Rooms, connection: &Connection, options: &Options) {
    let mut session = match accept(rooms, connection, options) {
        Ok(session) => session,
        Err(error) => {
            log::debug!("{}: no handshake: {error}", connection.peer);
            return;
        }
    };
    match session.converse(options.ping) {
        End::Closed => {}
        End::Close(code, reason) => session.close(code, &reason),
        End::Broken(error) => log::debug!("{}: {error}", connection.peer),
    }
    connection.part();
}

fn accept<'s>(rooms: &'s Rooms, connection: &'s Connection, options: &Options) -> std::io::Result<Session<'s>> {
    let stream = &*connection.stream;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(options.max_message))
        .max_frame_size(Some(options.max_message));
    let mut is_together = false;
    #[expect(clippy::result_large_err, reason = "tungstenite's, and never made")]
    let look = |request: &Request, response: Response| {
        is_together = request.uri().path() == "/broadcast";
        Ok(response)
    };
    let transport = Transport { stream, waits: true };
    // As a whole: a byte a minute does not extend it.
    let accepted = timeout(options.handshake_timeout, || {
        let accepted = tungstenite::accept_hdr_with_config(transport, look, Some(config));
        accepted.map_err(|error| std::io::Error::other(error.to_string()))
    });
    let mut socket = accepted??;
    socket.get_mut().waits = false;
    let room = if is_together { &rooms.together } else { &rooms.alone };
    Ok(Session {
        socket,
        rooms,
        connection,
        is_together,
        heard: room.subscribe(),
        is_there: true,
    })
}

impl Session<'_> {
    /// Passes messages on until there is an end.
    fn converse(&mut self, ping: Duration) -> End {
        let end = self.pass_on(ping);
        match end {
            Ok(()) => End::Close(CloseCode::Away, "the server stops".into()),
            Err(end) => end,
        }
    }

    /// Until the server stops.
    fn pass_on(&mut self, ping: Duration) -> Result<(), End> {
        // Who has come in just now may have missed the announcement, and so may one who was too slow for it.
        while !self.connection.is_stopping() {
            let more = self.hear_client()?;
            let next = self.heard.try_recv();
            let is_idle = !more && matches!(next, Err(RecvError::Empty));
            self.hear_others(next)?;
            self.socket.flush()?;
            if is_idle {
                self.wait(ping)?;
            } else {
                // Fibers are not preempted, and it may never have to wait.
                fiber::yield_now();
            }
        }
        Ok(())
    }

    /// Handles what the client has sent already; whether there may be more.
    fn hear_client(&mut self) -> Result<bool, End> {
        for _ in 0..TURN {
            let message = match self.socket.read() {
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                message => message?,
            };
            self.is_there = true;
            match message {
                Message::Text(_) | Message::Binary(_) if self.is_together => {
                    // It is among them, so somebody hears it.
                    drop(self.rooms.together.send(Said::By(self.connection.id, message)));
                }
                Message::Text(_) | Message::Binary(_) => self.socket.write(message)?,
                // Those are answered by tungstenite.
                _ => {}
            }
        }
        Ok(true)
    }

    /// Tells the client what another one has said.
    fn hear_others(&mut self, said: Result<Said, RecvError>) -> Result<(), End> {
        match said {
            Ok(Said::By(id, message)) if id != self.connection.id => self.socket.write(message)?,
            Err(RecvError::Lagged(count)) => {
                let text = format!("{count} messages were lost: too slow");
                self.socket.write(Message::text(text))?;
            }
            Ok(_) | Err(_) => {}
        }
        Ok(())
    }

    /// Waits until the client or another one says something, and asks the client whether it is there if that takes long.
    fn wait(&mut self, ping: Duration) -> Result<(), End> {
        // Kept outside of the race: both may win.
        let mut said = Err(RecvError::Empty);
        let (stream, heard) = (&*self.connection.stream, &mut self.heard);
        let waited = timeout(ping, || {
            // To peek takes nothing; what an error means, the next read tells.
            race(|| drop(stream.peek(&mut [0])), || said = heard.recv());
        });
        self.hear_others(said)?;
        if waited.is_err() {
            if !self.is_there {
                return Err(End::Close(CloseCode::Policy, "are you there?".into()));
            }
            self.is_there = false;
            self.socket.send(Message::Ping("are you there?".into()))?;
        }
        Ok(())
    }

    /// Says why it ends, and waits for the client to agree.
    fn close(&mut self, code: CloseCode, reason: &str) {
        let reason = reason.into();
        let told = self.socket.close(Some(CloseFrame { code, reason }));
        if told.and_then(|()| self.socket.flush()).is_ok() {
            self.socket.get_mut().waits = true;
            let _too_late = timeout(PATIENCE, || while self.socket.read().is_ok() {});
        }
    }
}
