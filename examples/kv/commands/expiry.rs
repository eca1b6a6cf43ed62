//! Commands about how long keys are kept.

use std::borrow::Cow;

use super::options::{MILLISECONDS, SECONDS, Unit, invalid};
use super::{Outcome, integer};
use crate::request::Arguments;
use crate::session::Session;
use crate::store::Time;

pub(super) fn expire(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    expire_at(session, arguments, SECONDS, "expire")
}

pub(super) fn pexpire(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    expire_at(session, arguments, MILLISECONDS, "pexpire")
}

pub(super) fn expireat(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    expire_at(session, arguments, SECONDS.absolute(), "expireat")
}

pub(super) fn pexpireat(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    expire_at(session, arguments, MILLISECONDS.absolute(), "pexpireat")
}

/// When a key's time may be changed.
#[derive(Default)]
struct Conditions {
    never_before: bool,
    before: bool,
    later: bool,
    earlier: bool,
}

impl Conditions {
    fn parse<'a>(options: impl Iterator<Item = &'a [u8]>) -> Result<Conditions, Cow<'static, str>> {
        let mut found = Conditions::default();
        for option in options {
            match &*option.to_ascii_lowercase() {
                b"nx" => found.never_before = true,
                b"xx" => found.before = true,
                b"gt" => found.later = true,
                b"lt" => found.earlier = true,
                _ => return Err(format!("ERR Unsupported option {}", option.escape_ascii()).into()),
            }
        }
        if found.never_before && (found.before || found.later || found.earlier) {
            return Err("ERR NX and XX, GT or LT options at the same time are not compatible".into());
        }
        if found.later && found.earlier {
            return Err("ERR GT and LT options at the same time are not compatible".into());
        }
        Ok(found)
    }

    /// For ever is later than any time.
    fn allow(&self, before: Option<Time>, at: Time) -> bool {
        !(self.never_before && before.is_some()
            || self.before && before.is_none()
            || self.later && before.is_none_or(|before| at <= before)
            || self.earlier && before.is_some_and(|before| at >= before))
    }
}

fn expire_at(session: &mut Session<'_>, arguments: Arguments<'_>, unit: Unit, name: &str) -> Outcome {
    let (key, now) = (arguments.at(1), session.now);
    let conditions = Conditions::parse(arguments.from(3))?;
    let at = unit
        .moment(integer(arguments.at(2))?, now)
        .ok_or_else(|| invalid(name))?;
    let mut keys = session.server.store.of(key);
    let is_set = keys
        .expires(key, now)
        .is_some_and(|before| conditions.allow(before, at))
        && keys.expire(key, Some(at), now);
    drop(keys);
    session.replies.count(usize::from(is_set));
    Ok(())
}

pub(super) fn persist(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let key = arguments.at(1);
    let mut keys = session.server.store.of(key);
    let expired = keys.expires(key, session.now).flatten();
    if expired.is_some() {
        keys.expire(key, None, session.now);
    }
    drop(keys);
    session.replies.count(usize::from(expired.is_some()));
    Ok(())
}

pub(super) fn ttl(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    tell(session, arguments.at(1), |at, now| in_seconds((at - now).max(0)))
}

pub(super) fn pttl(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    tell(session, arguments.at(1), |at, now| (at - now).max(0))
}

pub(super) fn expiretime(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    tell(session, arguments.at(1), |at, _| in_seconds(at))
}

pub(super) fn pexpiretime(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    tell(session, arguments.at(1), |at, _| at)
}

/// To the nearest second, as Redis does.
fn in_seconds(milliseconds: i64) -> i64 {
    milliseconds.saturating_add(500) / 1000
}

/// -1 for ever, -2 for what is not there.
fn tell(session: &mut Session<'_>, key: &[u8], of: impl Fn(Time, Time) -> i64) -> Outcome {
    let expires = session.server.store.of(key).expires(key, session.now);
    session.replies.integer(match expires {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => of(at, session.now),
    });
    Ok(())
}
