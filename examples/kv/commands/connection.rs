//! Commands about the connection.

use super::server::REDIS_VERSION;
use super::{NO_INTEGER, Outcome, unknown_sub, wrong_number};
use crate::request::{self, Arguments};
use crate::session::Session;

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

/// `AUTH [user] password`: there is one user, who is called `default`.
pub(super) fn auth(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    match arguments.len() {
        2 if session.server.password.is_none() => {
            return Err(
                "ERR AUTH <password> called without any password configured for the default user. \
                        Are you sure your configuration is correct?"
                    .into(),
            );
        }
        2 => log_in(session, b"default", arguments.at(1))?,
        3 => log_in(session, arguments.at(1), arguments.at(2))?,
        _ => return Err(super::SYNTAX),
    }
    session.replies.ok();
    Ok(())
}

fn log_in(session: &mut Session<'_>, user: &[u8], password: &[u8]) -> Outcome {
    let is_right = session.server.password.as_ref().is_none_or(|right| {
        // How long it takes depends on what was sent only, and says nothing about where they differ.
        let differing = right.bytes().cycle().zip(password).fold(0, |all, (a, b)| all | (a ^ b));
        (std::hint::black_box(differing) == 0) & (right.len() == password.len())
    });
    if user != b"default" || !is_right {
        return Err("WRONGPASS invalid username-password pair or user is disabled.".into());
    }
    session.is_known = true;
    Ok(())
}

/// `HELLO [version [AUTH user password] [SETNAME name]]`
pub(super) fn hello(session: &mut Session<'_>, arguments: Arguments<'_>) -> Outcome {
    let version = arguments.get(1).map(request::number);
    let resp3 = match version {
        None => session.replies.resp3,
        Some(Some(version @ (2 | 3))) => version == 3,
        Some(Some(_)) => return Err("NOPROTO unsupported protocol version".into()),
        Some(None) => return Err("ERR Protocol version is not an integer or out of range".into()),
    };
    let mut options = arguments.from(arguments.len().min(2));
    let mut name = None;
    while let Some(option) = options.next() {
        let wrong = || format!("ERR Syntax error in HELLO option '{}'", option.escape_ascii());
        if option.eq_ignore_ascii_case(b"auth") {
            let (user, password) = options.next().zip(options.next()).ok_or_else(wrong)?;
            log_in(session, user, password)?;
        } else {
            name = options.next().filter(|_| option.eq_ignore_ascii_case(b"setname"));
            name.ok_or_else(wrong)?;
        }
    }
    if !session.is_known {
        return Err("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> \
                    <pass> option can be used to authenticate the client and select the RESP protocol version at the same time"
            .into());
    }
    if let Some(name) = name {
        set_name(session, name)?;
    }
    let id = session.id();
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
    replies.integer(id);
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
        (b"id", 2) => session.replies.integer(session.id()),
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
            let (id, name) = (session.id(), session.name.escape_ascii());
            let address = session.client.map(|client| client.peer.to_string()).unwrap_or_default();
            let protocol = if session.replies.resp3 { 3 } else { 2 };
            let text = format!("id={id} addr={address} name={name} db=0 resp={protocol}\n");
            session.replies.text(&text);
        }
        (b"id" | b"getname" | b"setname" | b"setinfo" | b"info", _) => {
            return Err(wrong_number(&format!("client|{}", sub.escape_ascii())));
        }
        _ => return Err(unknown_sub("CLIENT", arguments.at(1))),
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
