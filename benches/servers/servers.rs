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
    /// An example of Kapok's on one of its reactors; from the target directory, unless told otherwise.
    Kapok {
        reactor: String,
        directory: Option<PathBuf>,
    },
}

/// Those that are measured unless others are named.
pub(crate) const ALL: &[&str] = &[RAW_EPOLL, RAW_URING, "kapok_epoll", "kapok_io_uring"];

/// What else can be named.
pub(crate) const HELP: &str = "Servers; also kapok_poll, kapok_NAME@DIR (with the programs in DIR), raw_NAME+OPTION";

/// The two that the others are compared with.
pub(crate) const RAW_EPOLL: &str = "raw_epoll";
pub(crate) const RAW_URING: &str = "raw_uring";

impl Server {
    /// The command line that serves `load`.
    pub(crate) fn command(&self, programs: &Programs, load: Load) -> Command {
        match &self.kind {
            Kind::Raw { program, options } => {
                let mut command = Command::new(programs.raw.join(program));
                command.arg(load.protocol.mode()).args(options);
                command
            }
            Kind::Kapok { reactor, directory } => {
                let directory = directory.as_ref().unwrap_or(&programs.examples);
                let program = match load.protocol {
                    Protocol::Echo | Protocol::Stream => "echo",
                    Protocol::Http => "httpd",
                };
                let mut command = Command::new(directory.join(program));
                command.args(["--listen", "127.0.0.1:0", "--reactor", reactor]);
                command
            }
        }
    }
}

impl FromStr for Server {
    type Err = String;

    fn from_str(name: &str) -> Result<Server, String> {
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
            "kapok_epoll" | "kapok_io_uring" | "kapok_poll" if options.is_empty() => Kind::Kapok {
                reactor: program.trim_start_matches("kapok_").to_owned(),
                directory,
            },
            _ => {
                let known = ALL.join(", ");
                return Err(format!("there is no server {name}: give {known} or kapok_poll"));
            }
        };
        Ok(Server {
            name: name.to_owned(),
            kind,
        })
    }
}
