//! Request bodies: nothing here wants one, but what follows it on the connection can only be found by reading it.

use std::time::Instant;

use crate::options::Limits;
use crate::reply::{Refusal, Status};
use crate::request::{Body, Request};
use crate::wire::{End, Wire};

/// Size of the trailer fields after a chunked body.
const TRAILERS_MAX: usize = 16 * 1024;

/// Reads the request's body, if it has one, and throws it away.
pub(crate) fn discard(wire: &mut Wire<'_>, request: &Request<'_>, limits: Limits) -> Result<(), End> {
    if request.body == Body::None {
        return Ok(());
    }
    if matches!(request.body, Body::Length(length) if length > limits.body) {
        return Err(too_large().into());
    }
    if request.expects_continue && !wire.has_input() {
        // The client waits to hear whether its body is welcome, and need not send one that is not.
        if let Some(refusal) = request.method_refusal() {
            return Err(refusal.into());
        }
        wire.output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
    }
    let deadline = Instant::now() + limits.request;
    match request.body {
        Body::None => Ok(()),
        Body::Length(length) => wire.skip(length, deadline),
        Body::Chunked => discard_chunks(wire, limits.body, deadline),
    }
}

fn discard_chunks(wire: &mut Wire<'_>, limit: u64, deadline: Instant) -> Result<(), End> {
    let mut total = 0_u64;
    loop {
        let size = chunk_size(wire.line(deadline)?)?;
        if size == 0 {
            return discard_trailers(wire, deadline);
        }
        total = total.saturating_add(size);
        if total > limit {
            return Err(too_large().into());
        }
        wire.skip(size, deadline)?;
        if !wire.line(deadline)?.is_empty() {
            return Err(malformed().into());
        }
    }
}

fn discard_trailers(wire: &mut Wire<'_>, deadline: Instant) -> Result<(), End> {
    let mut total = 0;
    loop {
        let line = wire.line(deadline)?;
        total += line.len();
        if line.is_empty() {
            return Ok(());
        }
        if total > TRAILERS_MAX {
            return Err(Refusal {
                status: Status::HeadTooLarge,
                reason: "the trailer fields are too large",
            }
            .into());
        }
    }
}

/// The number at the start of a chunk: hexadecimal digits, then nothing or an extension.
fn chunk_size(line: &[u8]) -> Result<u64, Refusal> {
    let number = line
        .split(|&byte| byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii_end();
    // Sixteen digits are the most that fit; `from_str_radix` alone would take a sign as well.
    if number.len() > 16 || !number.iter().all(u8::is_ascii_hexdigit) {
        return Err(malformed());
    }
    let digits = std::str::from_utf8(number).unwrap_or_default();
    u64::from_str_radix(digits, 16).map_err(|_| malformed())
}

fn malformed() -> Refusal {
    Refusal {
        status: Status::BadRequest,
        reason: "the chunked body is malformed",
    }
}

fn too_large() -> Refusal {
    Refusal {
        status: Status::ContentTooLarge,
        reason: "the request body is too large",
    }
}
