//! Commands that read and write values.

use super::options::{Lasts, MILLISECONDS, Only, Options, SECONDS, Unit};
use super::{NO_INTEGER, Outcome, integer, wrong_number};
use crate::request::{self, Arguments};
use crate::session::Session;
use crate::store::Keep;

pub(super) fn get(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let key = arguments.at(1);
    let mut keys = session.server.store.of(key);
    session.replies.bulk_or_null(keys.get(key, session.now));
    Ok(())
}

pub(super) fn set(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let (key, value, now) = (arguments.at(1), arguments.at(2), session.now);
    let options = Options::of_set(arguments.from(3))?;
    let keep = options.keep(now, "set")?;
    // Before the lock: the less is done with it, the less others wait.
    let value = value.to_vec();
    let mut keys = session.server.store.of(key);
    let sets = match options.only {
        Only::Always => true,
        Only::IfAbsent => keys.get(key, now).is_none(),
        Only::IfPresent => keys.get(key, now).is_some(),
    };
    if options.wants_old {
        session.replies.bulk_or_null(keys.get(key, now));
    }
    let before = if sets { keys.set(key, value, keep, now) } else { None };
    drop(keys);
    drop(before);
    match (options.wants_old, sets) {
        (true, _) => {}
        (false, true) => session.replies.ok(),
        (false, false) => session.replies.null(),
    }
    Ok(())
}

pub(super) fn setnx(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let (key, value) = (arguments.at(1), arguments.at(2).to_vec());
    let mut keys = session.server.store.of(key);
    let is_new = keys.get(key, session.now).is_none();
    if is_new {
        keys.set(key, value, Keep::ForEver, session.now);
    }
    drop(keys);
    session.replies.count(usize::from(is_new));
    Ok(())
}

pub(super) fn setex(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    set_for(session, arguments, SECONDS, "setex")
}

pub(super) fn psetex(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    set_for(session, arguments, MILLISECONDS, "psetex")
}

fn set_for(session: &mut Session<'_>, arguments: Arguments<'_>, unit: Unit, name: &str) -> Outcome {
    let (key, value) = (arguments.at(1), arguments.at(3).to_vec());
    let until = Keep::Until(unit.later(arguments.at(2), session.now, name)?);
    drop(session.server.store.of(key).set(key, value, until, session.now));
    session.replies.ok();
    Ok(())
}

pub(super) fn getset(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let (key, value) = (arguments.at(1), arguments.at(2).to_vec());
    let before = session.server.store.of(key).set(key, value, Keep::ForEver, session.now);
    session.replies.bulk_or_null(before.as_deref());
    Ok(())
}

pub(super) fn getdel(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let key = arguments.at(1);
    let before = session.server.store.of(key).remove(key, session.now);
    session.replies.bulk_or_null(before.as_deref());
    Ok(())
}

pub(super) fn getex(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let (key, now) = (arguments.at(1), session.now);
    let options = Options::of_getex(arguments.from(2))?;
    let mut keys = session.server.store.of(key);
    let Some(value) = keys.get(key, now) else {
        session.replies.null();
        return Ok(());
    };
    // What is wrong with the time is found before there is an answer.
    let keep = options.keep(now, "getex")?;
    session.replies.bulk(value);
    match (options.lasts, keep) {
        (_, Keep::Until(at)) => drop(keys.expire(key, Some(at), now)),
        (Lasts::ForEver, _) if keys.expires(key, now).flatten().is_some() => drop(keys.expire(key, None, now)),
        _ => {}
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
    // What was allowed once is not refused when it is replayed.
    let longest = session.client.map_or(usize::MAX, |_| session.server.limits.argument);
    let length = session.server.store.of(key).append(key, more, longest, session.now);
    let length = length.ok_or("ERR string exceeds maximum allowed size (proto-max-bulk-len)")?;
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
    keys.set(key, sum.to_string().into_bytes(), Keep::AsBefore, session.now);
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
    shards.set_all(pairs(), session.now);
    drop(shards);
    session.replies.ok();
    Ok(())
}
