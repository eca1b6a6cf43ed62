//! Commands about keys: which there are, and for how long.

use std::time::Instant;

use super::{Outcome, SYNTAX, duration, integer};
use crate::glob;
use crate::request::Arguments;
use crate::session::Session;

pub(super) fn del(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let mut shards = session.server.store.of_all(arguments.from(1));
    let removed: Vec<_> = arguments
        .from(1)
        .filter_map(|key| shards.of(key).remove(key, session.now))
        .collect();
    drop(shards);
    session.replies.count(removed.len());
    Ok(())
}

pub(super) fn exists(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let mut shards = session.server.store.of_all(arguments.from(1));
    let count = arguments
        .from(1)
        .filter(|key| shards.of(key).get(key, session.now).is_some())
        .count();
    session.replies.count(count);
    Ok(())
}

pub(super) fn type_of(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let key = arguments.at(1);
    let is_there = session.server.store.of(key).get(key, session.now).is_some();
    session.replies.simple(if is_there { "string" } else { "none" });
    Ok(())
}

pub(super) fn expire(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    expire_in(session, arguments, 1000, "expire")
}

pub(super) fn pexpire(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    expire_in(session, arguments, 1, "pexpire")
}

fn expire_in(session: &mut Session<'_>, arguments: Arguments<'_>, milliseconds_each: u64, name: &str) -> Outcome {
    let (key, time) = (arguments.at(1), arguments.at(2));
    // In the past, it expires at once.
    let at = if integer(time)? <= 0 {
        None
    } else {
        Some(session.now + duration(time, milliseconds_each, name)?)
    };
    let mut keys = session.server.store.of(key);
    let is_there = keys.get(key, session.now).is_some();
    let removed = match at {
        Some(_) if is_there => {
            keys.expire(key, at);
            None
        }
        Some(_) => None,
        None => keys.remove(key, session.now),
    };
    drop(keys);
    drop(removed);
    session.replies.count(usize::from(is_there));
    Ok(())
}

pub(super) fn persist(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let key = arguments.at(1);
    let mut keys = session.server.store.of(key);
    let expired = keys.expires(key, session.now).flatten();
    if expired.is_some() {
        keys.expire(key, None);
    }
    drop(keys);
    session.replies.count(usize::from(expired.is_some()));
    Ok(())
}

pub(super) fn ttl(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let left = left(session, arguments.at(1));
    // To the nearest second, as Redis does.
    session
        .replies
        .integer(if left < 0 { left } else { (left + 500) / 1000 });
    Ok(())
}

pub(super) fn pttl(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let left = left(session, arguments.at(1));
    session.replies.integer(left);
    Ok(())
}

/// Milliseconds, -1 for ever, -2 for what is not there.
fn left(session: &Session<'_>, key: &[u8]) -> i64 {
    match session.server.store.of(key).expires(key, session.now) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => i64::try_from(at.duration_since(session.now).as_millis()).unwrap_or(i64::MAX),
    }
}

pub(super) fn dbsize(session: &mut Session<'_>, _: Arguments<'_>) -> Outcome {
    session.replies.count(session.server.store.len());
    Ok(())
}

pub(super) fn keys(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let pattern = arguments.at(1);
    let found = session.server.store.keys(|key| glob::matches(pattern, key));
    session.replies.array(found.len());
    found.iter().for_each(|key| session.replies.bulk(key));
    // That may have taken a while.
    session.now = Instant::now();
    Ok(())
}

pub(super) fn flushall(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let is_known = |how: &[u8]| how.eq_ignore_ascii_case(b"sync") || how.eq_ignore_ascii_case(b"async");
    if arguments.len() > 2 || !arguments.get(1).is_none_or(is_known) {
        return Err(SYNTAX);
    }
    session.server.store.clear();
    session.replies.ok();
    Ok(())
}
