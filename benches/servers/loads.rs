//! What is asked of the servers.

use std::str::FromStr;

/// Requests that are under way on a connection at a time, where they are pipelined.
pub(crate) const DEPTH: usize = 16;

/// The language that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// 64 bytes go and come back, then the next 64.
    Echo,
    /// `GET /plaintext` on a connection that stays open, one request at a time.
    Http,
    /// The same, with [`DEPTH`] requests at once: the next ones go out when all of these were answered.
    Pipelined,
    /// Messages of 512 bytes go out for as long as not too many are under way, and come back.
    Stream,
    /// 64 bytes go and come back, and the connection is closed; then the next connection.
    Connect,
}

impl Protocol {
    /// What the raw servers are told.
    pub(crate) fn mode(self) -> &'static str {
        match self {
            Protocol::Echo | Protocol::Stream | Protocol::Connect => "echo",
            Protocol::Http | Protocol::Pipelined => "http",
        }
    }

    /// What names of loads begin with.
    fn name(self) -> &'static str {
        match self {
            Protocol::Echo => "echo",
            Protocol::Http => "http",
            Protocol::Pipelined => "http-pipe",
            Protocol::Stream => "stream",
            Protocol::Connect => "connect",
        }
    }
}

const PROTOCOLS: [Protocol; 5] = [
    Protocol::Echo,
    Protocol::Http,
    Protocol::Pipelined,
    Protocol::Stream,
    Protocol::Connect,
];

/// A protocol on a number of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) protocol: Protocol,
    pub(crate) connections: usize,
    /// How many requests are to be sent in a second. `None`: the next one as soon as the last one was answered.
    pub(crate) rate: Option<u32>,
}

/// Those that are measured unless others are named. One connection measures how long waking up takes, so it ranks nobody.
pub(crate) const ALL: &[&str] = &[
    "echo-64",
    "echo-1000",
    "http-64",
    "http-1000",
    "http-pipe-64",
    "http-1",
    "stream-4",
];

impl FromStr for Load {
    type Err = String;

    fn from_str(name: &str) -> Result<Load, String> {
        let error = || {
            format!(
                "a load is echo-N, http-N, http-pipe-N, stream-N or connect-N, with N connections; echo-N@R or http-N@R \
                 with R requests in a second: not {name}"
            )
        };
        let (protocol, rest) = name.rsplit_once('-').ok_or_else(error)?;
        let (connections, rate) = match rest.split_once('@') {
            Some((connections, rate)) => (connections, Some(rate.parse().map_err(|_| error())?)),
            None => (rest, None),
        };
        let mut protocols = PROTOCOLS.into_iter();
        let protocol = protocols.find(|other| other.name() == protocol).ok_or_else(error)?;
        let may_have_rate = matches!(protocol, Protocol::Echo | Protocol::Http);
        if matches!(rate, Some(0)) || rate.is_some() && !may_have_rate {
            return Err(error());
        }
        match connections.parse() {
            Ok(connections @ 1..=20_000) => Ok(Load {
                protocol,
                connections,
                rate,
            }),
            _ => Err(error()),
        }
    }
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.protocol.name(), self.connections)?;
        match self.rate {
            Some(rate) => write!(f, "@{rate}"),
            None => Ok(()),
        }
    }
}
