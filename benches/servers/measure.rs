//! The measuring itself: every server under every load, taking turns.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use crate::builds::{self, Programs};
use crate::count;
use crate::generator::Figures;
use crate::loads::Load;
use crate::options::Options;
use crate::process::{Places, Role, Running};
use crate::servers::Server;
use crate::table;

/// How often a server is measured in one round if other programs disturb it.
const TRIES: usize = 3;

pub(crate) fn all(options: &Options) -> io::Result<()> {
    let programs = builds::all()?;
    let places = Places::find(!options.no_fifo);
    // A descriptor a connection; where the limit cannot be raised, a server or the generator will say so.
    let _limit = rlimit::increase_nofile_limit(u64::MAX);
    println!("{}", places.describe());
    if let Some(counted) = options.count {
        return count::all(counted, &programs, places, options);
    }
    if options.test {
        check_patience(places)?;
    }
    println!("window {:?} after {:?}", options.window, options.warm_up);
    for &load in &options.loads {
        let servers: Vec<_> = options.servers.iter().filter(|server| server.serves(load)).collect();
        let mut figures = vec![Vec::new(); servers.len()];
        for round in 0..usize::from(options.rounds) {
            for turn in 0..servers.len() {
                let index = (turn + round) % servers.len();
                let server = servers[index];
                let measured = measure_undisturbed(server, load, &programs, places, options)
                    .map_err(|error| io::Error::other(format!("{} under {load}: {error}", server.name)))?;
                figures[index].push(measured);
            }
        }
        table::print(load, &servers, &figures);
    }
    Ok(())
}

/// Once more if others had the processors, but not for ever: they may go on having them.
fn measure_undisturbed(
    server: &Server,
    load: Load,
    programs: &Programs,
    places: Places,
    options: &Options,
) -> io::Result<Figures> {
    let mut figures = measure(server, load, programs, places, options)?;
    for _ in 0..if options.test { 0 } else { TRIES - 1 } {
        if !figures.is_disturbed() {
            break;
        }
        figures = measure(server, load, programs, places, options)?;
    }
    Ok(figures)
}

/// One server, newly started, under one load.
fn measure(server: &Server, load: Load, programs: &Programs, places: Places, options: &Options) -> io::Result<Figures> {
    let mut running = Running::start(server.command(programs, load), places, Role::Server)?;
    let times = [
        ("--generator-warm-up", options.warm_up.as_secs_f64().to_string()),
        ("--generator-window", options.window.as_secs_f64().to_string()),
    ];
    generate(&mut running, load, places, &times)
}

/// Puts a server that has just been started under `load`. `options` are the generator's.
pub(crate) fn generate(
    server: &mut Running,
    load: Load,
    places: Places,
    options: &[(&str, String)],
) -> io::Result<Figures> {
    let address = server.address()?;
    let mut generate = generator(load, address, server.id())?;
    for (name, value) in options {
        generate.args([name, value.as_str()]);
    }
    if places.are_two() {
        generate.arg("--spin");
    }
    let mut generator = Running::start(generate, places, Role::Generator)?;
    generator.line()?.parse().map_err(io::Error::other)
}

/// The generator, to put the server of process `pid` under load.
fn generator(load: Load, address: SocketAddr, pid: u32) -> io::Result<Command> {
    let mut generate = Command::new(std::env::current_exe()?);
    for (name, value) in [
        ("--generate", load.to_string()),
        ("--address", address.to_string()),
        ("--pid", pid.to_string()),
    ] {
        generate.args([name, &value]);
    }
    Ok(generate)
}

/// A server that takes connections and says nothing has to be an error.
fn check_patience(places: Places) -> io::Result<()> {
    let mute = TcpListener::bind("127.0.0.1:0")?;
    let load = "echo-2".parse().map_err(io::Error::other)?;
    let mut generate = generator(load, mute.local_addr()?, std::process::id())?;
    generate.args(["--patience", "0.2"]);
    let said = Running::start(generate, places, Role::Generator)?.line()?;
    if said.contains("has not answered for 200ms: 2 connections") {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "of a server that does not answer the generator said: {said}"
    )))
}
