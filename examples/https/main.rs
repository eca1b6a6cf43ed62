//! A small HTTPS server: rustls as it is, over a Kapok stream, one fiber a connection.
//!
//! ```sh
//! cargo run --release --example https -- --listen 127.0.0.1:8443
//! curl --insecure https://127.0.0.1:8443/
//! ```
//!
//! Without `--cert` and `--key` it makes a certificate of its own for `localhost`, which clients have to be told to trust:
//! `--save-cert FILE`, and then `curl --cacert FILE https://localhost:8443/`. Read `session.rs` first.

#[path = "../common/mod.rs"]
mod common;

mod identity;
mod request;
mod session;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use common::server::{Connection, Connections, Server};
use common::{RuntimeOptions, seconds};
use rustls::ServerConfig;

/// A small HTTPS server on Kapok fibers and rustls.
#[derive(Clone, Parser)]
struct Options {
    /// Address to listen on; port 0 takes a free one and prints it
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8443")]
    listen: String,
    /// Certificate chain in PEM; without it, a self-signed one is made
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its private key in PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Where to write the certificate that was made
    #[arg(long, value_name = "FILE", conflicts_with = "cert")]
    save_cert: Option<PathBuf>,
    /// Seconds for the handshake
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    handshake_timeout: Duration,
    /// Seconds that a client may stay quiet between two requests, or take none of an answer
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    idle_timeout: Duration,
    /// Seconds that a request may take to arrive
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    request_timeout: Duration,
    /// Largest request body
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    max_body: usize,
    /// Connections at a time; further ones are closed
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_connections: usize,
    /// Seconds that answers in progress have after SIGINT or SIGTERM
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    grace: Duration,
    #[command(flatten)]
    runtime: RuntimeOptions,
}

fn main() -> ExitCode {
    let options = Options::parse();
    options.runtime.clone().run("https", || serve(options))
}

fn serve(options: Options) -> io::Result<()> {
    let config = Arc::new(configure(&options)?);
    let server = Server::bind(&options.listen, "https://", options.max_connections)?;
    let grace = options.grace;
    let serve = move |connection: &Connection| session::serve(&config, connection, &options);
    server.serve(grace, serve, Connections::end_input)
}

fn configure(options: &Options) -> io::Result<ServerConfig> {
    let identity = match (&options.cert, &options.key) {
        (Some(cert), Some(key)) => identity::read(cert, key)?,
        _ => {
            let (identity, pem) = identity::make()?;
            if let Some(path) = &options.save_cert {
                kapok::fs::write(path, pem).map_err(|error| {
                    io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()))
                })?;
            }
            identity
        }
    };
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| {
            config
                .with_no_client_auth()
                .with_single_cert(identity.chain, identity.key)
        });
    let mut config = config.map_err(|error| io::Error::other(format!("the certificate cannot be used: {error}")))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
