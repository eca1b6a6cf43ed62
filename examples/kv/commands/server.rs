//! Commands about the server.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use super::{COMMANDS, Outcome, find, unknown_sub, wrong_number};
use crate::aof::Log;
use crate::glob;
use crate::request::Arguments;
use crate::session::Session;

/// What we say that we are: clients ask which commands they may use.
pub(super) const REDIS_VERSION: &str = "7.0.0";

pub(super) fn command(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let replies = &mut session.replies;
    let sub = arguments.get(1).unwrap_or_default().to_ascii_lowercase();
    match &*sub {
        b"" => {
            replies.array(COMMANDS.len());
            COMMANDS.iter().for_each(|command| command.describe(replies));
        }
        b"count" if arguments.len() > 2 => return Err(wrong_number("command|count")),
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
        _ => return Err(unknown_sub("COMMAND", arguments.at(1))),
    }
    Ok(())
}

pub(super) fn config(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let sub = arguments.at(1).to_ascii_lowercase();
    match (&*sub, arguments.len()) {
        (b"get", 3..) => {
            let (limits, log) = (session.server.limits, session.server.store.log());
            let known = [
                ("appendfsync", log.map_or("everysec", Log::fsync).to_owned()),
                ("appendonly", if log.is_some() { "yes" } else { "no" }.to_owned()),
                ("databases", "1".to_owned()),
                ("maxmemory", "0".to_owned()),
                ("proto-max-bulk-len", limits.argument.to_string()),
                ("requirepass", session.server.password.clone().unwrap_or_default()),
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
        (b"get", _) => return Err(wrong_number("config|get")),
        _ => return Err(unknown_sub("CONFIG", arguments.at(1))),
    }
    Ok(())
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
            format!(
                "connected_clients:{}\r\n",
                session.client.map_or(0, |client| client.count())
            ),
        ),
        ("Persistence", persistence(server.store.log())),
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

fn persistence(log: Option<&Log>) -> String {
    let (is_on, length) = (u8::from(log.is_some()), log.map_or(0, Log::length));
    let status = if log.and_then(Log::trouble).is_some() {
        "err"
    } else {
        "ok"
    };
    format!("loading:0\r\naof_enabled:{is_on}\r\naof_last_write_status:{status}\r\naof_current_size:{length}\r\n")
}
