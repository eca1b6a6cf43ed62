//! Figures for programs: one JSON object, with the environment in it. Times are nanoseconds.

use serde_json::{Value, json};

use crate::measure::{Plan, Row, Table};

/// Of measurements in groups, each of which has a name.
pub(crate) fn json(
    environment: &[(&'static str, String)],
    plan: Plan,
    references: &[(&str, f64)],
    groups: &[(&str, &[Table])],
) -> String {
    let mut all = serde_json::Map::new();
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)));
    all.insert("environment".into(), Value::Object(environment.collect()));
    all.insert("rounds".into(), json!(plan.rounds));
    let references = references.iter().map(|(what, ns)| json!({ "what": what, "ns": ns }));
    all.insert("references".into(), references.collect());
    for (name, tables) in groups {
        all.insert((*name).to_owned(), tables.iter().map(table).collect());
    }
    format!("{:#}\n", Value::Object(all))
}

fn table(table: &Table) -> Value {
    let rows: Vec<_> = table.rows.iter().map(row).collect();
    json!({ "work": table.work, "rows": rows })
}

fn row(row: &Row) -> Value {
    json!({
        "subject": row.subject,
        "times": row.times,
        "min": row.min(),
        "median": row.median(),
        "max": row.max(),
        "syscalls": row.calls,
        "all": row.ns,
    })
}
