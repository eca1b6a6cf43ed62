//! What may follow `SET` and `GETEX`, and times as clients say them.

use std::borrow::Cow;

use super::{SYNTAX, integer};
use crate::store::{Keep, Time};

/// When `SET` sets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Only {
    Always,
    IfAbsent,
    IfPresent,
}

/// Of a moment, as it was said.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) milliseconds: i64,
    /// Counted from 1970, not from now.
    pub(super) is_absolute: bool,
}

pub(super) const SECONDS: Unit = Unit {
    milliseconds: 1000,
    is_absolute: false,
};
pub(super) const MILLISECONDS: Unit = Unit {
    milliseconds: 1,
    is_absolute: false,
};

impl Unit {
    /// Since 1970.
    pub(super) const fn absolute(self) -> Unit {
        Unit {
            is_absolute: true,
            ..self
        }
    }

    /// The moment; `None` where there is no such.
    pub(super) fn moment(self, count: i64, now: Time) -> Option<Time> {
        let milliseconds = count.checked_mul(self.milliseconds)?;
        // In the dawn, when the log is replayed, nothing is counted from now.
        if self.is_absolute {
            Some(milliseconds)
        } else {
            milliseconds.checked_add(now)
        }
    }

    /// The moment, of a count above 0.
    pub(super) fn later(self, text: &[u8], now: Time, command: &str) -> Result<Time, Cow<'static, str>> {
        let count = integer(text)?;
        let moment = self.moment(count, now).filter(|_| count > 0);
        moment.ok_or_else(|| invalid(command))
    }
}

pub(super) fn invalid(command: &str) -> Cow<'static, str> {
    format!("ERR invalid expire time in '{command}' command").into()
}

/// For how long, as it was said.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lasts<'a> {
    Unsaid,
    /// `KEEPTTL`
    AsBefore,
    /// `PERSIST`
    ForEver,
    Until(Unit, &'a [u8]),
}

/// The options of `SET`, or those of `GETEX`.
pub(super) struct Options<'a> {
    pub(super) only: Only,
    pub(super) wants_old: bool,
    pub(super) lasts: Lasts<'a>,
}

impl<'a> Options<'a> {
    pub(super) fn of_set(options: impl Iterator<Item = &'a [u8]>) -> Result<Options<'a>, Cow<'static, str>> {
        Options::parse(options, true)
    }

    pub(super) fn of_getex(options: impl Iterator<Item = &'a [u8]>) -> Result<Options<'a>, Cow<'static, str>> {
        Options::parse(options, false)
    }

    fn parse(mut options: impl Iterator<Item = &'a [u8]>, sets: bool) -> Result<Options<'a>, Cow<'static, str>> {
        let mut found = Options {
            only: Only::Always,
            wants_old: false,
            lasts: Lasts::Unsaid,
        };
        while let Some(option) = options.next() {
            let unit = match &*option.to_ascii_lowercase() {
                b"get" if sets => {
                    found.wants_old = true;
                    continue;
                }
                b"nx" if sets && found.only != Only::IfPresent => {
                    found.only = Only::IfAbsent;
                    continue;
                }
                b"xx" if sets && found.only != Only::IfAbsent => {
                    found.only = Only::IfPresent;
                    continue;
                }
                _ if !matches!(found.lasts, Lasts::Unsaid) => return Err(SYNTAX),
                b"keepttl" if sets => {
                    found.lasts = Lasts::AsBefore;
                    continue;
                }
                b"persist" if !sets => {
                    found.lasts = Lasts::ForEver;
                    continue;
                }
                b"ex" => SECONDS,
                b"px" => MILLISECONDS,
                b"exat" => SECONDS.absolute(),
                b"pxat" => MILLISECONDS.absolute(),
                _ => return Err(SYNTAX),
            };
            found.lasts = Lasts::Until(unit, options.next().ok_or(SYNTAX)?);
        }
        Ok(found)
    }

    /// For how long what is set is kept.
    pub(super) fn keep(&self, now: Time, command: &str) -> Result<Keep, Cow<'static, str>> {
        Ok(match self.lasts {
            Lasts::Unsaid | Lasts::ForEver => Keep::ForEver,
            Lasts::AsBefore => Keep::AsBefore,
            Lasts::Until(unit, text) => Keep::Until(unit.later(text, now, command)?),
        })
    }
}
