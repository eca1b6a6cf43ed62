//! Who takes part.

use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;

use crate::builds::Programs;
use crate::loads::{Load, Protocol};

/// A server as it was named.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) name: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// A C program of this directory, with its options.
    Raw {
        program: &'static str,
        options: Vec<String>,
    },
    /// Any program that is given `echo` or `http` as its last argument, and prints the address that it listens on.
    Other { command: Vec<String>, http_only: bool },
    /// An example of Kapok's on one of its reactors; from the target directory, unless told otherwise.
    Kapok {
        reactor: String,
        engine: Option<String>,
        directory: Option<PathBuf>,
    },
}

/// Those that are measured unless others are named.
pub(crate) const ALL: &[&str] = &[RAW_EPOLL, RAW_URING, "kapok_epoll", "kapok_io_uring"];

/// What else can be named.
pub(crate) const HELP: &str = "Servers; also kapok_poll, kapok_NAME@DIR (with the programs in DIR), kapok_NAME+ENGINE, \
     raw_NAME+OPTION; NAME=COMMAND is any program that is given echo or http as its last argument and prints its address, \
     NAME:http=COMMAND one that serves nothing else";

/// The two that the others are compared with.
pub(crate) const RAW_EPOLL: &str = "raw_epoll";
pub(crate) const RAW_URING: &str = "raw_uring";

impl Server {
    /// Whether it can serve `load`.
    pub(crate) fn serves(&self, load: Load) -> bool {
        !matches!(self.kind, Kind::Other { http_only: true, .. }) || load.protocol.mode() == "http"
    }

    /// Whether it is Kapok that is measured, and not what it is compared with.
    pub(crate) fn is_kapok(&self) -> bool {
        self.name.starts_with("kapok")
    }

    /// The command line that serves `load`.
    pub(crate) fn command(&self, programs: &Programs, load: Load) -> Command {
        match &self.kind {
            Kind::Raw { program, options } => {
                let mut command = Command::new(programs.raw.join(program));
                command.arg(load.protocol.mode()).args(options);
                command
            }
            Kind::Other { command: words, .. } => {
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]).arg(load.protocol.mode());
                command
            }
            Kind::Kapok {
                reactor,
                engine,
                directory,
            } => {
                let directory = directory.as_ref().unwrap_or(&programs.examples);
                let program = match load.protocol {
                    Protocol::Echo | Protocol::Stream | Protocol::Connect => "echo",
                    Protocol::Http | Protocol::Pipelined => "httpd",
                };
                let mut command = Command::new(directory.join(program));
                command.args(["--listen", "127.0.0.1:0", "--reactor", reactor]);
                if let Some(engine) = engine {
                    command.env("KAPOK_SWITCH", engine);
                }
                command
            }
        }
    }
}

impl Server {
    fn other(name: &str, command: &str) -> Result<Server, String> {
        let command: Vec<_> = command.split_whitespace().map(str::to_owned).collect();
        if name.is_empty() || command.is_empty() {
            return Err("give a name and a command: NAME=COMMAND".to_owned());
        }
        let (name, http_only) = match name.strip_suffix(":http") {
            Some(name) => (name, true),
            None => (name, false),
        };
        Ok(Server {
            name: name.to_owned(),
            kind: Kind::Other { command, http_only },
        })
    }
}

impl FromStr for Server {
    type Err = String;

    fn from_str(name: &str) -> Result<Server, String> {
        if let Some((name, command)) = name.split_once('=').filter(|(name, _)| !name.contains('+')) {
            return Server::other(name, command);
        }
        let mut words = name.split('+');
        let first = words.next().unwrap_or_default();
        let options: Vec<_> = words.map(str::to_owned).collect();
        let (program, directory) = match first.split_once('@') {
            Some((program, directory)) => (program, Some(PathBuf::from(directory))),
            None => (first, None),
        };
        let kind = match program {
            RAW_EPOLL | RAW_URING if directory.is_none() => Kind::Raw {
                program: if program == RAW_EPOLL { RAW_EPOLL } else { RAW_URING },
                options,
            },
            "kapok_epoll" | "kapok_io_uring" | "kapok_poll" if options.len() <= 1 => Kind::Kapok {
                reactor: program.trim_start_matches("kapok_").to_owned(),
                engine: options.into_iter().next(),
                directory,
            },
            _ => {
                let known = ALL.join(", ");
                return Err(format!(
                    "there is no server {name}: give {known}, kapok_poll or NAME=COMMAND"
                ));
            }
        };
        Ok(Server {
            name: name.to_owned(),
            kind,
        })
    }
}
