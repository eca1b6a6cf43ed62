//! The figures for people, as lines of text.

use std::fmt::Write;

use crate::measure::{Row, Table};

/// What was measured with whom: engines, or reactors.
pub(crate) struct Group {
    pub(crate) title: &'static str,
    /// Whose time is 1.
    pub(crate) base: String,
    pub(crate) tables: Vec<Table>,
}

impl Group {
    pub(crate) fn has_calls(&self) -> bool {
        self.tables
            .iter()
            .flat_map(|table| &table.rows)
            .any(|row| row.calls.is_some())
    }
}

/// How many times the base's median a row's is, and so for the best.
pub(crate) fn ratios(row: &Row, base: Option<&Row>) -> Option<(f64, f64)> {
    base.map(|base| (row.median() / base.median(), row.min() / base.min()))
}

/// Three digits that count.
pub(crate) fn figure(x: f64) -> String {
    let digits = if x < 10.0 { 2 } else { usize::from(x < 100.0) };
    format!("{x:.digits$}")
}

pub(crate) fn text(group: &Group) -> String {
    let mut out = format!(
        "{}: ns of processor time for each; the ratios are to {}, of the medians and of the best\n\n{:<34}{:<10}{:>9}{:>9}{:>9}{:>8}{:>8}{}\n",
        group.title,
        group.base,
        "",
        "",
        "best",
        "median",
        "worst",
        "ratio",
        "(best)",
        if group.has_calls() { "  syscalls" } else { "" },
    );
    for table in &group.tables {
        for (i, row) in table.rows.iter().enumerate() {
            let (median, best) = ratios(row, table.row(&group.base)).unwrap_or((f64::NAN, f64::NAN));
            let calls = row.calls.map(|calls| format!("{calls:>10.2}")).unwrap_or_default();
            _ = writeln!(
                out,
                "{:<34}{:<10}{:>9}{:>9}{:>9}{median:>8.3}{best:>8.3}{calls}",
                if i == 0 { table.work } else { "" },
                row.subject,
                figure(row.min()),
                figure(row.median()),
                figure(row.max()),
            );
        }
    }
    out
}
