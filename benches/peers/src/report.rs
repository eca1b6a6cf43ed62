//! What came out: a table for each work, and all of it as JSON.

use serde_json::{Map, Value, json};

use crate::spread::Spread;
use crate::work::{BASE, Figure, Peer, Work};

type Figures = Result<Vec<Figure>, String>;

struct Row {
    time: Spread,
    memory: Option<Spread>,
}

fn row(figures: &Figures) -> Result<Row, &str> {
    let figures = figures.as_ref().map_err(String::as_str)?;
    let memory: Vec<_> = figures.iter().filter_map(|figure| figure.memory).collect();
    Ok(Row {
        time: Spread::of(figures.iter().map(|figure| figure.time)),
        memory: (!memory.is_empty()).then(|| Spread::of(memory.into_iter())),
    })
}

pub(crate) fn print(work: &Work, peers: &[&Peer], figures: &[Figures]) {
    println!("\n{}: {}, ns", work.name, work.what);
    println!("| peer | best | median | max | Kapok / it: best, median | bytes for each |");
    println!("|:--|--:|--:|--:|--:|--:|");
    let base = base(peers, figures);
    for (peer, figures) in peers.iter().zip(figures) {
        match row(figures) {
            Err(why) => println!("| `{}` | SKIP {why} | | | | |", peer.name),
            Ok(Row { time, memory }) => {
                let ratio = base.as_ref().map_or("-".to_owned(), |base| {
                    format!("{:.2}, {:.2}", base.time.min / time.min, base.time.median / time.median)
                });
                let memory = memory.map_or("-".to_owned(), |memory| format!("{:.0}", memory.median));
                println!(
                    "| `{}` | {:.1} | {:.1} | {:.1} | {ratio} | {memory} |",
                    peer.name, time.min, time.median, time.max
                );
            }
        }
    }
}

fn base(peers: &[&Peer], figures: &[Figures]) -> Option<Row> {
    let index = peers.iter().position(|peer| peer.name == BASE)?;
    row(&figures[index]).ok()
}

pub(crate) fn json(work: &Work, peers: &[&Peer], figures: &[Figures]) -> Value {
    let base = base(peers, figures);
    let results: Map<_, _> = peers
        .iter()
        .zip(figures)
        .map(|(peer, figures)| {
            let value = match row(figures) {
                Err(why) => json!({ "skipped": why }),
                Ok(Row { time, memory }) => json!({
                    "ns": { "best": time.min, "median": time.median, "max": time.max },
                    "bytes": memory.map(|memory| memory.median),
                    "kapok_by_it": base.as_ref().map(|base| json!({
                        "best": base.time.min / time.min,
                        "median": base.time.median / time.median,
                    })),
                    "rounds": figures.iter().flatten().map(|figure| figure.time).collect::<Vec<_>>(),
                }),
            };
            (peer.name.to_owned(), value)
        })
        .collect();
    json!({ "work": work.name, "what": work.what, "peers": results })
}

pub(crate) fn with_environment(environment: &[(&str, String)], load_after: &str, results: Vec<Value>) -> String {
    let mut all: Map<_, _> = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    all.insert("load average after".to_owned(), json!(load_after));
    let all = json!({ "environment": all, "results": results });
    serde_json::to_string_pretty(&all).expect("it is made of numbers and texts") + "\n"
}
