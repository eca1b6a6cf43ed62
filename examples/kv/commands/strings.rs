//! Commands that read and write values.

use std::time::Instant;

use super::{NO_INTEGER, Outcome, SYNTAX, duration, integer, wrong_number};
use crate::request::{self, Arguments};
use crate::session::Session;
use crate::store::Keep;

pub(super) fn get(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let key = arguments.at(1);
    let mut keys = session.server.store.of(key);
    session.replies.bulk_or_null(keys.get(key, session.now));
    Ok(())
}

/// When `SET` sets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Only {
    Always,
    IfAbsent,
    IfPresent,
}

pub(super) fn set(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let (key, value, now) = (arguments.at(1), arguments.at(2), session.now);
    let (mut only, mut keep, mut wants_old) = (Only::Always, Keep::ForEver, false);
    let mut options = arguments.from(3);
    while let Some(option) = options.next() {
        let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
        if is("get") {
            wants_old = true;
        } else if is("nx") && only != Only::IfPresent {
            only = Only::IfAbsent;
        } else if is("xx") && only != Only::IfAbsent {
            only = Only::IfPresent;
        } else if keep != Keep::ForEver {
            return Err(SYNTAX);
        } else if is("keepttl") {
            keep = Keep::AsBefore;
        } else if is("ex") {
            keep = Keep::Until(now + duration(options.next().ok_or(SYNTAX)?, 1000, "set")?);
        } else if is("px") {
            keep = Keep::Until(now + duration(options.next().ok_or(SYNTAX)?, 1, "set")?);
        } else {
            return Err(SYNTAX);
        }
    }
    // Before the lock: the less is done with it, the less others wait.
    let value = value.to_vec();
    let mut keys = session.server.store.of(key);
    let sets = match only {
        Only::Always => true,
        Only::IfAbsent => keys.get(key, now).is_none(),
        Only::IfPresent => keys.get(key, now).is_some(),
    };
    if wants_old {
        session.replies.bulk_or_null(keys.get(key, now));
    }
    if sets {
        keys.set(key, value, keep, now);
    }
    match (wants_old, sets) {
        (true, _) => {}
        (false, true) => session.replies.ok(),
        (false, false) => session.replies.null(),
    }
    Ok(())
}

pub(super) fn strlen(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let key = arguments.at(1);
    let length = session
        .server
        .store
        .of(key)
        .get(key, session.now)
        .map_or(0, <[u8]>::len);
    session.replies.count(length);
    Ok(())
}

pub(super) fn append(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let (key, more) = (arguments.at(1), arguments.at(2));
    let mut keys = session.server.store.of(key);
    let value = keys.value_mut(key, session.now);
    if value.len() + more.len() > session.server.limits.argument {
        return Err("ERR string exceeds maximum allowed size (proto-max-bulk-len)".into());
    }
    value.extend_from_slice(more);
    let length = value.len();
    drop(keys);
    session.replies.count(length);
    Ok(())
}

pub(super) fn incr(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    add(session, arguments.at(1), 1)
}

pub(super) fn decr(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    add(session, arguments.at(1), -1)
}

pub(super) fn incrby(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    add(session, arguments.at(1), integer(arguments.at(2))?)
}

pub(super) fn decrby(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let by = integer(arguments.at(2))?;
    let by = by.checked_neg().ok_or("ERR decrement would overflow")?;
    add(session, arguments.at(1), by)
}

fn add(session: &mut Session<'_>, key: &[u8], by: i64) -> Outcome {
    let mut keys = session.server.store.of(key);
    let before = match keys.get(key, session.now) {
        Some(text) => request::number(text).ok_or(NO_INTEGER)?,
        None => 0,
    };
    let sum = before
        .checked_add(by)
        .ok_or("ERR increment or decrement would overflow")?;
    *keys.value_mut(key, session.now) = sum.to_string().into_bytes();
    drop(keys);
    session.replies.integer(sum);
    Ok(())
}

pub(super) fn mget(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let mut shards = session.server.store.of_all(arguments.from(1));
    session.replies.array(arguments.len() - 1);
    for key in arguments.from(1) {
        session.replies.bulk_or_null(shards.of(key).get(key, session.now));
    }
    Ok(())
}

pub(super) fn mset(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    if arguments.len() % 2 == 0 {
        return Err(wrong_number("mset"));
    }
    let pairs = || arguments.from(1).step_by(2).zip(arguments.from(2).step_by(2));
    let mut shards = session.server.store.of_all(pairs().map(|(key, _)| key));
    let now = Instant::now();
    for (key, value) in pairs() {
        shards.of(key).set(key, value.to_vec(), Keep::ForEver, now);
    }
    drop(shards);
    session.replies.ok();
    Ok(())
}
