//! Commands about the connection, and about the server.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use super::{COMMANDS, NO_INTEGER, Outcome, SYNTAX, find, wrong_number};
use crate::glob;
use crate::request::{self, Arguments};
use crate::session::Session;

/// What we say that we are: clients ask which commands they may use.
const REDIS_VERSION: &str = "6.2.0";

pub(super) fn ping(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    match (arguments.get(1), arguments.len()) {
        (None, _) => session.replies.simple("PONG"),
        (Some(text), 2) => session.replies.bulk(text),
        _ => return Err(wrong_number("ping")),
    }
    Ok(())
}

pub(super) fn echo(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    session.replies.bulk(arguments.at(1));
    Ok(())
}

pub(super) fn quit(session: &mut Session<'_>, _: Arguments<'_>) -> Outcome {
    session.has_quit = true;
    session.replies.ok();
    Ok(())
}

pub(super) fn select(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    match request::number(arguments.at(1)) {
        Some(0) => session.replies.ok(),
        Some(_) => return Err("ERR DB index is out of range".into()),
        None => return Err(NO_INTEGER),
    }
    Ok(())
}

/// `HELLO [version [AUTH user password] [SETNAME name]]`
pub(super) fn hello(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let mut resp3 = session.replies.resp3;
    match arguments.get(1) {
        None => {}
        Some(b"2") => resp3 = false,
        Some(b"3") => resp3 = true,
        Some(_) => return Err("NOPROTO unsupported protocol version".into()),
    }
    let mut options = arguments.from(arguments.len().min(2));
    while let Some(option) = options.next() {
        if option.eq_ignore_ascii_case(b"auth") {
            return Err("ERR AUTH is not supported: this server has no password".into());
        }
        let name = options.next().filter(|_| option.eq_ignore_ascii_case(b"setname"));
        set_name(session, name.ok_or(SYNTAX)?)?;
    }
    let replies = &mut session.replies;
    replies.resp3 = resp3;
    replies.map(7);
    for (name, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        replies.bulk(name.as_bytes());
        replies.bulk(value.as_bytes());
    }
    replies.bulk(b"proto");
    replies.integer(if resp3 { 3 } else { 2 });
    replies.bulk(b"id");
    replies.integer(i64::try_from(session.id).unwrap_or(i64::MAX));
    for (name, value) in [("mode", "standalone"), ("role", "master")] {
        replies.bulk(name.as_bytes());
        replies.bulk(value.as_bytes());
    }
    replies.bulk(b"modules");
    replies.array(0);
    Ok(())
}

pub(super) fn client(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let sub = arguments.at(1).to_ascii_lowercase();
    match (&*sub, arguments.len()) {
        (b"id", 2) => session.replies.integer(i64::try_from(session.id).unwrap_or(i64::MAX)),
        (b"getname", 2) => {
            let name = (!session.name.is_empty()).then_some(&*session.name);
            session.replies.bulk_or_null(name);
        }
        (b"setname", 3) => {
            set_name(session, arguments.at(2))?;
            session.replies.ok();
        }
        // The name and version of a library.
        (b"setinfo", 4) => session.replies.ok(),
        (b"info", 2) => {
            let (id, name) = (session.id, session.name.escape_ascii());
            let protocol = if session.replies.resp3 { 3 } else { 2 };
            let text = format!("id={id} addr={} name={name} db=0 resp={protocol}\n", session.peer);
            session.replies.text(&text);
        }
        _ => return Err(unknown_sub("CLIENT", &sub)),
    }
    Ok(())
}

fn set_name(session: &mut Session<'_>, name: &[u8]) -> Outcome {
    if !name.iter().all(u8::is_ascii_graphic) {
        return Err("ERR Client names cannot contain spaces, newlines or special characters.".into());
    }
    session.name = name.to_vec();
    Ok(())
}

pub(super) fn command(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let replies = &mut session.replies;
    let sub = arguments.get(1).unwrap_or_default().to_ascii_lowercase();
    match &*sub {
        b"" => {
            replies.array(COMMANDS.len());
            COMMANDS.iter().for_each(|command| command.describe(replies));
        }
        b"count" => replies.count(COMMANDS.len()),
        b"list" => {
            replies.array(COMMANDS.len());
            COMMANDS
                .iter()
                .for_each(|command| replies.bulk(command.name.as_bytes()));
        }
        b"info" => {
            replies.array(arguments.len() - 2);
            for name in arguments.from(2) {
                match find(name) {
                    Some(command) => command.describe(replies),
                    None => replies.null(),
                }
            }
        }
        // There are none, and redis-cli goes on without.
        b"docs" => replies.map(0),
        _ => return Err(unknown_sub("COMMAND", &sub)),
    }
    Ok(())
}

pub(super) fn config(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let sub = arguments.at(1).to_ascii_lowercase();
    match (&*sub, arguments.len()) {
        (b"get", 3..) => {
            let limits = session.server.limits;
            let known = [
                ("appendonly", "no".to_owned()),
                ("databases", "1".to_owned()),
                ("maxmemory", "0".to_owned()),
                ("proto-max-bulk-len", limits.argument.to_string()),
                ("save", String::new()),
            ];
            let is_wanted = |name: &str| {
                arguments
                    .from(2)
                    .any(|wanted| glob::matches(&wanted.to_ascii_lowercase(), name.as_bytes()))
            };
            let wanted: Vec<_> = known.iter().filter(|(name, _)| is_wanted(name)).collect();
            session.replies.map(wanted.len());
            for (name, value) in wanted {
                session.replies.bulk(name.as_bytes());
                session.replies.bulk(value.as_bytes());
            }
        }
        (b"set", 4..) => return Err("ERR settings are options of the command line: see --help".into()),
        _ => return Err(unknown_sub("CONFIG", &sub)),
    }
    Ok(())
}

fn unknown_sub(command: &str, sub: &[u8]) -> std::borrow::Cow<'static, str> {
    let sub = sub[..sub.len().min(64)].escape_ascii();
    format!("ERR unknown subcommand or wrong number of arguments for '{sub}'. Try {command} in Redis's manual.").into()
}

/// `INFO [section ...]`: all that a section says which is not named is left out.
pub(super) fn info(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let server = session.server;
    let is_wanted = |section: &str| {
        arguments.len() == 1
            || arguments.from(1).any(|name| {
                [section, "all", "default", "everything"]
                    .iter()
                    .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
            })
    };
    let sections = [
        (
            "Server",
            format!(
                "redis_version:{REDIS_VERSION}\r\nredis_mode:standalone\r\nprocess_id:{}\r\nuptime_in_seconds:{}\r\n",
                std::process::id(),
                server.begun.elapsed().as_secs()
            ),
        ),
        (
            "Clients",
            format!("connected_clients:{}\r\n", session.connections.count()),
        ),
        (
            "Stats",
            format!(
                "total_connections_received:{}\r\ntotal_commands_processed:{}\r\n",
                server.clients.load(Ordering::Relaxed),
                server.commands.load(Ordering::Relaxed)
            ),
        ),
        (
            "Keyspace",
            format!(
                "db0:keys={},expires={}\r\n",
                server.store.len(),
                server.store.expiring()
            ),
        ),
    ];
    let mut text = String::new();
    for (section, facts) in sections.iter().filter(|(section, _)| is_wanted(section)) {
        let gap = if text.is_empty() { "" } else { "\r\n" };
        write!(text, "{gap}# {section}\r\n{facts}").expect("memory takes it");
    }
    session.replies.text(&text);
    Ok(())
}
