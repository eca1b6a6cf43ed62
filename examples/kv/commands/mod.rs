//! What can be asked: the table of commands, and who does what.

mod connection;
mod expiry;
mod keys;
mod options;
mod server;
mod strings;

use std::borrow::Cow;

use crate::aof::Log;
use crate::reply::Replies;
use crate::request::{self, Arguments};
use crate::session::Session;

/// What a client is told of a request that is wrong: a kind, and a sentence.
type Outcome = Result<(), Cow<'static, str>>;

const SYNTAX: Cow<'static, str> = Cow::Borrowed("ERR syntax error");
const NO_INTEGER: Cow<'static, str> = Cow::Borrowed("ERR value is not an integer or out of range");

struct Command {
    name: &'static str,
    /// Of arguments, with the name; if negative, at least as many.
    arity: i32,
    /// What Redis says of it to those who ask.
    flags: &'static [&'static str],
    /// The first key, the last one, and how far one is from the next.
    keys: (i64, i64, i64),
    run: fn(&mut Session<'_>, Arguments<'_>) -> Outcome,
}

const NO_KEYS: (i64, i64, i64) = (0, 0, 0);
const FIRST: (i64, i64, i64) = (1, 1, 1);
const ALL: (i64, i64, i64) = (1, -1, 1);
const READS: &[&str] = &["readonly", "fast"];
const WRITES: &[&str] = &["write", "denyoom", "fast"];
const SPEAKS: &[&str] = &["fast", "loading", "stale"];
/// Also those who have not given the password.
const ANYBODY: &[&str] = &["fast", "loading", "stale", "no_auth"];

/// What is asked for most is first.
#[rustfmt::skip]
const COMMANDS: &[Command] = &[
    Command { name: "get", arity: 2, flags: READS, keys: FIRST, run: strings::get },
    Command { name: "set", arity: -3, flags: WRITES, keys: FIRST, run: strings::set },
    Command { name: "incr", arity: 2, flags: WRITES, keys: FIRST, run: strings::incr },
    Command { name: "del", arity: -2, flags: &["write"], keys: ALL, run: keys::del },
    Command { name: "mget", arity: -2, flags: READS, keys: ALL, run: strings::mget },
    Command { name: "mset", arity: -3, flags: WRITES, keys: (1, -1, 2), run: strings::mset },
    Command { name: "exists", arity: -2, flags: READS, keys: ALL, run: keys::exists },
    Command { name: "expire", arity: -3, flags: WRITES, keys: FIRST, run: expiry::expire },
    Command { name: "ttl", arity: 2, flags: READS, keys: FIRST, run: expiry::ttl },
    Command { name: "ping", arity: -1, flags: SPEAKS, keys: NO_KEYS, run: connection::ping },
    Command { name: "append", arity: 3, flags: WRITES, keys: FIRST, run: strings::append },
    Command { name: "auth", arity: -2, flags: ANYBODY, keys: NO_KEYS, run: connection::auth },
    Command { name: "client", arity: -2, flags: SPEAKS, keys: NO_KEYS, run: connection::client },
    Command { name: "command", arity: -1, flags: SPEAKS, keys: NO_KEYS, run: server::command },
    Command { name: "config", arity: -2, flags: &["admin"], keys: NO_KEYS, run: server::config },
    Command { name: "dbsize", arity: 1, flags: READS, keys: NO_KEYS, run: keys::dbsize },
    Command { name: "decr", arity: 2, flags: WRITES, keys: FIRST, run: strings::decr },
    Command { name: "decrby", arity: 3, flags: WRITES, keys: FIRST, run: strings::decrby },
    Command { name: "echo", arity: 2, flags: SPEAKS, keys: NO_KEYS, run: connection::echo },
    Command { name: "expireat", arity: -3, flags: WRITES, keys: FIRST, run: expiry::expireat },
    Command { name: "expiretime", arity: 2, flags: READS, keys: FIRST, run: expiry::expiretime },
    Command { name: "flushall", arity: -1, flags: &["write"], keys: NO_KEYS, run: keys::flushall },
    Command { name: "flushdb", arity: -1, flags: &["write"], keys: NO_KEYS, run: keys::flushall },
    Command { name: "getdel", arity: 2, flags: WRITES, keys: FIRST, run: strings::getdel },
    Command { name: "getex", arity: -2, flags: WRITES, keys: FIRST, run: strings::getex },
    Command { name: "getset", arity: 3, flags: WRITES, keys: FIRST, run: strings::getset },
    Command { name: "hello", arity: -1, flags: ANYBODY, keys: NO_KEYS, run: connection::hello },
    Command { name: "incrby", arity: 3, flags: WRITES, keys: FIRST, run: strings::incrby },
    Command { name: "info", arity: -1, flags: SPEAKS, keys: NO_KEYS, run: server::info },
    Command { name: "keys", arity: 2, flags: &["readonly"], keys: NO_KEYS, run: keys::keys },
    Command { name: "persist", arity: 2, flags: WRITES, keys: FIRST, run: expiry::persist },
    Command { name: "pexpire", arity: -3, flags: WRITES, keys: FIRST, run: expiry::pexpire },
    Command { name: "pexpireat", arity: -3, flags: WRITES, keys: FIRST, run: expiry::pexpireat },
    Command { name: "pexpiretime", arity: 2, flags: READS, keys: FIRST, run: expiry::pexpiretime },
    Command { name: "psetex", arity: 4, flags: WRITES, keys: FIRST, run: strings::psetex },
    Command { name: "pttl", arity: 2, flags: READS, keys: FIRST, run: expiry::pttl },
    Command { name: "quit", arity: -1, flags: ANYBODY, keys: NO_KEYS, run: connection::quit },
    Command { name: "select", arity: 2, flags: SPEAKS, keys: NO_KEYS, run: connection::select },
    Command { name: "setex", arity: 4, flags: WRITES, keys: FIRST, run: strings::setex },
    Command { name: "setnx", arity: 3, flags: WRITES, keys: FIRST, run: strings::setnx },
    Command { name: "strlen", arity: 2, flags: READS, keys: FIRST, run: strings::strlen },
    Command { name: "type", arity: 2, flags: READS, keys: FIRST, run: keys::type_of },
    Command { name: "unlink", arity: -2, flags: &["write"], keys: ALL, run: keys::del },
];

/// Does what is asked, and answers.
pub(crate) fn run(session: &mut Session<'_>, arguments: Arguments<'_>) {
    let Some(name) = arguments.get(0) else {
        // An empty request has no answer.
        return;
    };
    let outcome = match find(name) {
        None => Err(unknown(arguments).into()),
        Some(command) if !command.takes(arguments.len()) => Err(wrong_number(command.name)),
        Some(command) => match command.refusal(session) {
            Some(refusal) => Err(refusal),
            None => {
                session.has_changed |= command.flags.contains(&"write");
                (command.run)(session, arguments)
            }
        },
    };
    if let Err(text) = outcome {
        session.replies.error(&text);
    }
}

fn find(name: &[u8]) -> Option<&'static Command> {
    COMMANDS
        .iter()
        .find(|command| name.eq_ignore_ascii_case(command.name.as_bytes()))
}

impl Command {
    /// Why this client may not ask for that now.
    fn refusal(&self, session: &Session<'_>) -> Option<Cow<'static, str>> {
        if !session.is_known && !self.flags.contains(&"no_auth") {
            return Some("NOAUTH Authentication required.".into());
        }
        let log = session.server.store.log().filter(|_| self.flags.contains(&"write"));
        let trouble = log.and_then(Log::trouble)?;
        Some(format!("MISCONF Errors writing to the AOF file: {trouble}").into())
    }

    fn takes(&self, count: usize) -> bool {
        let needed = usize::try_from(self.arity.unsigned_abs()).unwrap_or(usize::MAX);
        if self.arity < 0 {
            count >= needed
        } else {
            count == needed
        }
    }

    /// What `COMMAND` tells of it.
    fn describe(&self, replies: &mut Replies) {
        replies.array(6);
        replies.bulk(self.name.as_bytes());
        replies.integer(self.arity.into());
        replies.array(self.flags.len());
        self.flags.iter().for_each(|flag| replies.simple(flag));
        let (first, last, step) = self.keys;
        [first, last, step].into_iter().for_each(|place| replies.integer(place));
    }
}

fn wrong_number(name: &str) -> Cow<'static, str> {
    format!("ERR wrong number of arguments for '{name}' command").into()
}

/// As much of it as fits into a line.
fn unknown(arguments: Arguments<'_>) -> String {
    let short = |text: &[u8], room: usize| text[..text.len().min(room)].escape_ascii().to_string();
    let mut first = String::new();
    for text in arguments.from(1) {
        match 128_usize.checked_sub(first.len()) {
            None | Some(0) => break,
            Some(room) => first += &format!("'{}' ", short(text, room)),
        }
    }
    let name = short(arguments.at(0), 128);
    format!("ERR unknown command '{name}', with args beginning with: {first}")
}

fn integer(text: &[u8]) -> Result<i64, Cow<'static, str>> {
    request::number(text).ok_or(NO_INTEGER)
}

/// One that a command does not have.
fn unknown_sub(command: &str, sub: &[u8]) -> Cow<'static, str> {
    let sub = sub[..sub.len().min(128)].escape_ascii();
    format!("ERR unknown subcommand '{sub}'. Try {command} HELP.").into()
}
