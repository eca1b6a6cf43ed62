//! What is said of it at the end.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::options::Options;
use crate::plan::Plan;
use crate::tally::Tally;

const QUANTILES: [(&str, f64); 6] = [
    ("p50", 0.5),
    ("p75", 0.75),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
];

/// For people.
pub(crate) fn text(plan: &Plan, took: Duration, sum: &Tally) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| writeln!(text, "{name:<24} {value}").expect("memory takes it");
    let seconds = took.as_secs_f64();
    line("asked", format!("{} by {} connections", plan.url, plan.connections));
    line("time", format!("{seconds:.3} s"));
    line("answers", sum.answers().to_string());
    line("answers per second", format!("{:.1}", per_second(sum.answers(), took)));
    line(
        "received",
        format!("{:.1} MiB/s", per_second(sum.received, took) / 1_048_576.0),
    );
    line("connections made", sum.connected.to_string());
    if let Some(late) = not_begun(plan, took) {
        line("due and not begun", late.to_string());
    }
    if sum.answers() > 0 {
        let latencies = &sum.latencies;
        line("latency, min", short(latencies.min()));
        for (name, quantile) in QUANTILES {
            line(
                &format!("latency, {name}"),
                short(latencies.value_at_quantile(quantile)),
            );
        }
        line("latency, max", short(latencies.max()));
        line("latency, mean", format!("{:.3} ms", latencies.mean() / 1e6));
    }
    for (status, count) in &sum.by_status {
        line(&format!("status {status}"), count.to_string());
    }
    for (kind, count) in &sum.errors {
        line("error", format!("{count} {kind}"));
    }
    text
}

/// For programs. Times are in nanoseconds.
pub(crate) fn json(options: &Options, plan: &Plan, took: Duration, sum: &Tally) -> String {
    let latencies = &sum.latencies;
    let mut latency = Map::new();
    if sum.answers() > 0 {
        latency.insert("min".to_owned(), latencies.min().into());
        for (name, quantile) in QUANTILES {
            latency.insert(name.to_owned(), latencies.value_at_quantile(quantile).into());
        }
        latency.insert("max".to_owned(), latencies.max().into());
        latency.insert("mean".to_owned(), latencies.mean().into());
        latency.insert("stdev".to_owned(), latencies.stdev().into());
    }
    let counts = |counts: &mut dyn Iterator<Item = (String, u64)>| -> Value {
        counts
            .map(|(name, count)| (name, Value::from(count)))
            .collect::<Map<_, _>>()
            .into()
    };
    let report = json!({
        "url": plan.url,
        "connections": plan.connections,
        "pipeline": plan.pipeline,
        "keep_alive": plan.keep_alive,
        "rate": options.rate,
        "seconds": took.as_secs_f64(),
        "answers": sum.answers(),
        "answers_per_second": per_second(sum.answers(), took),
        "bytes_received": sum.received,
        "connections_made": sum.connected,
        "due_and_not_begun": not_begun(plan, took),
        "latency_ns": latency,
        "status": counts(&mut sum.by_status.iter().map(|(status, count)| (status.to_string(), *count))),
        "errors": counts(&mut sum.errors.iter().map(|(kind, count)| (kind.clone(), *count))),
    });
    format!("{report:#}\n")
}

/// With a rate: how many requests should have been begun, and were not.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of requests"
)]
fn not_begun(plan: &Plan, took: Duration) -> Option<u64> {
    let due = (plan.rate? * took.as_secs_f64()) as u64;
    Some(
        plan.requests
            .map_or(due, |requests| due.min(requests))
            .saturating_sub(plan.taken()),
    )
}

fn per_second(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64().max(1e-9)
}

fn short(nanoseconds: u64) -> String {
    format!("{:.3} ms", nanoseconds as f64 / 1e6)
}
