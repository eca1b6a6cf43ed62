//! The life of one connection: request after request, until one side has had enough.

use crate::connections::Seat;
use crate::files::{self, Found};
use crate::reply::{self, Manner, Persistence, Refusal, Sent, Status};
use crate::request::{Method, Request, Slots};
use crate::room::NEAR;
use crate::target::Target;
use crate::wire::{End, Wire};
use crate::{Server, body, spare};

/// Talks to one client for as long as it has requests.
pub(crate) fn converse(seat: &Seat) {
    // Room for input, in the page of the stack that the frames of what follows are in: a connection that waits needs no other
    // memory. Not among them, since a frame is fetched into the cache as a whole before its fiber goes on.
    talk(seat, &mut [0; NEAR]);
}

#[inline(never)]
fn talk(seat: &Seat, near: &mut [u8; NEAR]) {
    let mut wire = Wire::new(&seat.peer, seat.server.limits, near);
    let mut head = Vec::new();
    let end = if seat.is_spare {
        End::Refused(Refusal {
            status: Status::Unavailable,
            reason: "too many connections, try again later",
        })
    } else {
        loop {
            match exchange(seat, &mut wire, &mut head) {
                Ok(Persistence::Close) => break End::Agreed,
                Ok(_) => {}
                Err(end) => break end,
            }
        }
    };
    match end {
        End::Left => {}
        End::Agreed => part(&seat.server, &mut wire),
        End::Refused(refusal) => {
            let manner = Manner {
                persistence: Persistence::Close,
                head_only: false,
            };
            let sent = reply::refuse(&mut wire.output, manner, refusal);
            record(seat, &head, sent);
            wire.linger();
        }
        End::Broken(error) => log::debug!("connection of {} broken off: {error}", seat.peer.address),
    }
    spare::give_back(head);
    spare::give_back(wire.output);
}

/// One request and its answer. The answer may stay in the output buffer: it leaves before the next wait for the client.
fn exchange(seat: &Seat, wire: &mut Wire<'_>, head: &mut Vec<u8>) -> Result<Persistence, End> {
    wire.read_head(head)?;
    respond(seat, wire, head)
}

/// What follows a head. Apart: the fiber waits for the head, and its frames are to take one page of the stack then.
#[inline(never)]
fn respond(seat: &Seat, wire: &mut Wire<'_>, head: &[u8]) -> Result<Persistence, End> {
    let mut slots = Slots::new();
    let request = Request::parse(head, &mut slots)?;
    body::discard(wire, &request, seat.server.limits)?;

    let manner = Manner {
        persistence: persistence(&seat.server, &request, wire),
        head_only: request.method == Method::Head,
    };
    let mut sent = Sent::default();
    let answered = answer(seat, wire, &request, manner, &mut sent);
    record(seat, head, sent);
    answered?;
    wire.flush_if_large()?;
    Ok(manner.persistence)
}

/// Writes the answer. `sent` is right also when the client goes away in the middle of it.
fn answer(seat: &Seat, wire: &mut Wire<'_>, request: &Request<'_>, manner: Manner, sent: &mut Sent) -> Result<(), End> {
    if let Some(refusal) = request.method_refusal() {
        *sent = reply::refuse(&mut wire.output, manner, refusal);
        return Ok(());
    }
    if request.path() == "/plaintext" {
        *sent = reply::plaintext(&mut wire.output, manner);
        return Ok(());
    }
    answer_from_root(seat, wire, request, manner, sent)
}

/// The answer to a request for a file. Apart, as its frame is large, and the ones above it are to lie close together.
#[inline(never)]
fn answer_from_root(
    seat: &Seat,
    wire: &mut Wire<'_>,
    request: &Request<'_>,
    manner: Manner,
    sent: &mut Sent,
) -> Result<(), End> {
    match look_up(seat, request) {
        Ok(Found::File(file)) => files::send(file, wire, request, manner, sent)?,
        Ok(Found::Listing(html)) => *sent = reply::html(&mut wire.output, manner, &html),
        Ok(Found::Elsewhere(location)) => *sent = reply::redirect(&mut wire.output, manner, &location),
        Err(refusal) => *sent = reply::refuse(&mut wire.output, manner, refusal),
    }
    Ok(())
}

/// Asks the file system in one hop to the blocking pool, so that a slow disk holds up this connection alone.
fn look_up(seat: &Seat, request: &Request<'_>) -> Result<Found, Refusal> {
    let target = Target::parse(request.target)?;
    let server = seat.server.clone();
    let read_if_small = request.wants_all_of_it();
    kapok::blocking(move || files::look_up(&server.root, &target, read_if_small))
}

/// Whether the connection stays open after this answer, which the answer has to announce.
fn persistence(server: &Server, request: &Request<'_>, wire: &Wire<'_>) -> Persistence {
    // A server that stops still answers what has been sent to it: only the last answer says that there is no next.
    let is_last = server.is_stopping() && wire.is_drained();
    match (request.keep_alive && !is_last, request.minor_version) {
        (false, _) => Persistence::Close,
        (true, 0) => Persistence::KeepAliveSaid,
        (true, _) => Persistence::KeepAlive,
    }
}

/// Closes after an answer that said so.
fn part(server: &Server, wire: &mut Wire<'_>) {
    // Closing a socket that has unread bytes resets it, and the reset can overtake the answer. A client that asked for
    // the close sends nothing more; one that is told of it by a stopping server may have been sending already.
    if server.is_stopping() || !wire.is_drained() {
        wire.linger();
    } else if let Err(End::Broken(error)) = wire.flush() {
        log::debug!("the last answer could not be written: {error}");
    }
}

fn record(seat: &Seat, head: &[u8], sent: Sent) {
    if let Some(log) = &seat.server.log {
        log.record(seat.peer.address.ip(), head, sent);
    }
}
