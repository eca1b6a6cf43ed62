//! Commands about keys: which there are.

use super::{Outcome, SYNTAX};
use crate::glob;
use crate::request::Arguments;
use crate::session::Session;
use crate::store;

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
    session.now = store::now();
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
