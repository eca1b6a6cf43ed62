//! What came out, as a table for each load.

use crate::generator::Figures;
use crate::loads::Load;
use crate::servers::{self, Server};
use crate::spread::Spread;

const HEADINGS: [&str; 9] = [
    "server",
    "requests/s: median (min - max)",
    "CPU ns/request: median (min - max)",
    "busy: server, generator",
    "requests/CPU s: best, median",
    "/ raw_epoll: best, median, by round",
    "/ raw_uring: best, median, by round",
    "/ the best that is not Kapok: best, median",
    "µs: p50, p99, p99.9",
];

/// Prints a line for each server. `figures` has one list for each, a figure a round.
pub(crate) fn print(load: Load, servers: &[&Server], figures: &[Vec<Figures>]) {
    let rounds = figures.first().map_or(0, Vec::len);
    let disturbed = figures
        .iter()
        .flatten()
        .filter(|figures| figures.is_disturbed())
        .count();
    println!("\n{load}, rounds: {rounds}, disturbed measurements: {disturbed}\n");
    let of = |name: &str| {
        let index = servers.iter().position(|server| server.name == name)?;
        Some(&figures[index][..])
    };
    let (epoll, uring) = (of(servers::RAW_EPOLL), of(servers::RAW_URING));
    let others = servers.iter().zip(figures).filter(|(server, _)| !server.is_kapok());
    let others = Best::of(others.map(|(_, figures)| &figures[..]));
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(
        servers
            .iter()
            .zip(figures)
            .map(|(server, mine)| row(&server.name, mine, epoll, uring, others)),
    );
    let widths: [usize; 9] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    for (index, row) in rows.iter().enumerate() {
        line(&widths, row);
        if index == 0 {
            line(&widths, &widths.map(|width| "-".repeat(width)));
        }
    }
}

fn line(widths: &[usize; 9], cells: &[String; 9]) {
    for (cell, width) in cells.iter().zip(widths) {
        print!("| {cell:<width$} ");
    }
    println!("|");
}

/// The least that a request costs any of some servers: in their best rounds, and in their median ones.
#[derive(Clone, Copy)]
struct Best {
    min: f64,
    median: f64,
}

impl Best {
    fn of<'f>(servers: impl Iterator<Item = &'f [Figures]>) -> Option<Best> {
        servers
            .map(|figures| Spread::of(figures.iter().map(cost)))
            .map(|Spread { min, median, .. }| Best { min, median })
            .reduce(|one, other| Best {
                min: one.min.min(other.min),
                median: one.median.min(other.median),
            })
    }
}

fn row(
    name: &str,
    mine: &[Figures],
    epoll: Option<&[Figures]>,
    uring: Option<&[Figures]>,
    others: Option<Best>,
) -> [String; 9] {
    let rate = Spread::of(mine.iter().map(rate));
    let cost = Spread::of(mine.iter().map(cost));
    let busy = |time: fn(&Figures) -> u64| Spread::of(mine.iter().map(|f| per(time(f), f.window))).median;
    let latency = |time: fn(&Figures) -> u64| Spread::of(mine.iter().map(|f| per(time(f), 1000))).median;
    [
        name.to_owned(),
        format!("{:.0} ({:.0} - {:.0})", rate.median, rate.min, rate.max),
        format!("{:.0} ({:.0} - {:.0})", cost.median, cost.min, cost.max),
        format!("{:.2}, {:.2}", busy(|f| f.server), busy(|f| f.generator)),
        format!("{:.0}, {:.0}", 1e9 / cost.min, 1e9 / cost.median),
        compared(mine, epoll),
        compared(mine, uring),
        others.map_or("-".to_owned(), |best| {
            format!("{:.3}, {:.3}", best.min / cost.min, best.median / cost.median)
        }),
        format!(
            "{:.0}, {:.0}, {:.0}",
            latency(|f| f.p50),
            latency(|f| f.p99),
            latency(|f| f.p999)
        ),
    ]
}

/// How many times as many requests `mine` serves with the same processor time as `base`: in the best rounds, in the median
/// ones, and the median of the ratios of each round. Above 1 is better.
fn compared(mine: &[Figures], base: Option<&[Figures]>) -> String {
    let Some(base) = base else {
        return "-".to_owned();
    };
    let (my_cost, base_cost) = (Spread::of(mine.iter().map(cost)), Spread::of(base.iter().map(cost)));
    let by_round = Spread::of(mine.iter().zip(base).map(|(mine, base)| cost(base) / cost(mine)));
    format!(
        "{:.3}, {:.3}, {:.3}",
        base_cost.min / my_cost.min,
        base_cost.median / my_cost.median,
        by_round.median
    )
}

fn rate(figures: &Figures) -> f64 {
    per(figures.requests, figures.window) * 1e9
}

/// Processor time of the server for a request, in nanoseconds.
fn cost(figures: &Figures) -> f64 {
    per(figures.server, figures.requests)
}

#[expect(clippy::cast_precision_loss, reason = "a ratio of measured figures")]
fn per(figure: u64, of: u64) -> f64 {
    figure as f64 / of as f64
}
