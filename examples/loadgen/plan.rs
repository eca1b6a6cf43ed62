//! What is to be done: which bytes to send to whom, how often, and until when.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::options::Options;

pub(crate) struct Plan {
    pub(crate) url: String,
    pub(crate) connections: u32,
    pub(crate) address: SocketAddr,
    /// A whole request, as it is sent.
    pub(crate) request: Vec<u8>,
    /// Its answer has no body, whatever the answer says.
    pub(crate) is_head: bool,
    pub(crate) keep_alive: bool,
    pub(crate) pipeline: usize,
    pub(crate) timeout: Duration,
    /// Requests a second, in all.
    pub(crate) rate: Option<f64>,
    pub(crate) begin: Instant,
    pub(crate) end: Option<Instant>,
    /// How many there are to be.
    pub(crate) requests: Option<u64>,
    taken: AtomicU64,
}

impl Plan {
    pub(crate) fn new(options: &Options) -> io::Result<Plan> {
        let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
        let wrong_url = || invalid(format!("{} is no http://host[:port][/path]", options.url));
        let rest = options.url.strip_prefix("http://").ok_or_else(wrong_url)?;
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let named = if has_port {
            authority.to_owned()
        } else {
            format!("{authority}:80")
        };
        if authority.is_empty() || path.contains(|c: char| c.is_ascii_control() || c == ' ') {
            return Err(wrong_url());
        }
        let address = kapok::net::lookup_host(&*named)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot look up {named}: {error}")))?
            .next()
            .ok_or_else(|| invalid(format!("{named} has no address")))?;

        let body = match options.body.as_deref().map(|body| (body, body.strip_prefix('@'))) {
            None => Vec::new(),
            Some((text, None)) => text.as_bytes().to_vec(),
            Some((_, Some(file))) => kapok::fs::read(file)
                .map_err(|error| io::Error::new(error.kind(), format!("cannot read {file}: {error}")))?,
        };
        let has = |name: &str| {
            let names = options.headers.iter().filter_map(|header| header.split_once(':'));
            names.into_iter().any(|(own, _)| own.trim().eq_ignore_ascii_case(name))
        };
        let mut head = format!("{} {path} HTTP/1.1\r\n", options.method);
        if !has("host") {
            head += &format!("Host: {authority}\r\n");
        }
        if options.body.is_some() && !has("content-length") {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        if options.no_keep_alive {
            head += "Connection: close\r\n";
        }
        for header in &options.headers {
            if !header.contains(':') || header.contains(['\r', '\n']) {
                return Err(invalid(format!("{header:?} is no header: give NAME: VALUE")));
            }
            head += &format!("{header}\r\n");
        }
        head += "\r\n";
        let begin = Instant::now();
        let until = options
            .duration
            .or(options.requests.is_none().then_some(Duration::from_secs(10)));
        Ok(Plan {
            url: options.url.clone(),
            connections: options.connections,
            address,
            request: [head.as_bytes(), &body].concat(),
            is_head: options.method == "HEAD",
            keep_alive: !options.no_keep_alive,
            pipeline: if options.no_keep_alive {
                1
            } else {
                options.pipeline.into()
            },
            timeout: options.timeout,
            rate: options.rate,
            begin,
            end: until.map(|duration| begin + duration),
            requests: options.requests,
            taken: AtomicU64::new(0),
        })
    }

    /// Whether there is another request to be made. Each that is promised has to be made.
    pub(crate) fn take(&self) -> bool {
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        self.requests.is_none_or(|requests| before < requests)
    }

    /// How many have been begun.
    pub(crate) fn taken(&self) -> u64 {
        let taken = self.taken.load(Ordering::Relaxed);
        self.requests.map_or(taken, |requests| taken.min(requests))
    }
}

/// When one connection's requests are due.
pub(crate) struct Schedule {
    due: Instant,
    period: Duration,
}

impl Schedule {
    /// The connections take turns; `None` if nothing is due at any time.
    pub(crate) fn of(plan: &Plan, number: u32) -> Option<Schedule> {
        let rate = plan.rate?;
        Some(Schedule {
            due: plan.begin + Duration::from_secs_f64(f64::from(number) / rate),
            period: Duration::from_secs_f64(f64::from(plan.connections) / rate),
        })
    }

    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    pub(crate) fn advance(&mut self) {
        self.due += self.period;
    }
}
