//! What is asked of the servers.

use std::str::FromStr;

/// The language that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// 64 bytes go and come back, then the next 64.
    Echo,
    /// `GET /plaintext` on a connection that stays open, one request at a time.
    Http,
    /// Messages of 512 bytes go out for as long as not too many are under way, and come back.
    Stream,
}

impl Protocol {
    /// What the raw servers are told.
    pub(crate) fn mode(self) -> &'static str {
        match self {
            Protocol::Echo | Protocol::Stream => "echo",
            Protocol::Http => "http",
        }
    }
}

/// A protocol on a number of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) protocol: Protocol,
    pub(crate) connections: usize,
    /// How many requests are to be sent in a second. `None`: the next one as soon as the last one was answered.
    pub(crate) rate: Option<u32>,
}

/// Those that are measured unless others are named. One connection measures how long waking up takes, so it ranks nobody.
pub(crate) const ALL: &[&str] = &["echo-64", "echo-1000", "http-64", "http-1000", "http-1", "stream-4"];

impl FromStr for Load {
    type Err = String;

    fn from_str(name: &str) -> Result<Load, String> {
        let error = || {
            format!(
                "a load is echo-N, http-N or stream-N, with N connections; echo-N@R or http-N@R with R requests in a \
                 second: not {name}"
            )
        };
        let (protocol, rest) = name.split_once('-').ok_or_else(error)?;
        let (connections, rate) = match rest.split_once('@') {
            Some((connections, rate)) => (connections, Some(rate.parse().map_err(|_| error())?)),
            None => (rest, None),
        };
        let protocol = match protocol {
            "echo" => Protocol::Echo,
            "http" => Protocol::Http,
            "stream" => Protocol::Stream,
            _ => return Err(error()),
        };
        if matches!(rate, Some(0)) || rate.is_some() && protocol == Protocol::Stream {
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
        let protocol = match self.protocol {
            Protocol::Echo => "echo",
            Protocol::Http => "http",
            Protocol::Stream => "stream",
        };
        write!(f, "{protocol}-{}", self.connections)?;
        match self.rate {
            Some(rate) => write!(f, "@{rate}"),
            None => Ok(()),
        }
    }
}
