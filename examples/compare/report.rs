//! The figures for people who look at pictures: one HTML file that needs no other.

use std::fmt::Write;

use crate::chart;
use crate::measure::Plan;
use crate::table::{Group, figure, ratios};

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}\
table{border-collapse:collapse;margin:1em 0}th,td{padding:.15em .8em;text-align:right;border-bottom:1px solid #ddd}\
th:first-child,td:first-child,th:nth-child(2),td:nth-child(2){text-align:left}tr.first td{border-top:2px solid #bbb}\
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(500px,1fr));gap:.5em}svg{max-width:100%;height:auto}\
.environment td,.environment th{text-align:left}";

pub(crate) fn html(
    environment: &[(&'static str, String)],
    plan: Plan,
    references: &[(&str, f64)],
    groups: &[Group],
) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Kapok on this machine</title>\
         <style>{STYLE}</style></head><body>\n<h1>Kapok on this machine</h1>\n<p>Nanoseconds of processor time for each, up to {} rounds in which all \
         take turns. Bars are medians; the line on a bar goes from the best round to the worst. Compare figures of one run \
         only.</p>\n",
        plan.rounds
    );
    for group in groups {
        _ = write!(
            out,
            "<h2>{}</h2>\n{}\n<div class=\"charts\">\n",
            group.title,
            chart::overview(group)
        );
        for table in &group.tables {
            _ = writeln!(out, "{}", chart::bars(table, &group.base));
        }
        out.push_str("</div>\n");
        out.push_str(&html_table(group));
    }
    out.push_str("<h2>For comparison</h2>\n<table class=\"environment\">");
    for (what, ns) in references {
        _ = write!(out, "<tr><th>{}</th><td>{} ns</td></tr>", escaped(what), figure(*ns));
    }
    out.push_str("</table>\n<h2>Where</h2>\n<table class=\"environment\">");
    for (name, value) in environment {
        _ = write!(out, "<tr><th>{name}</th><td>{}</td></tr>", escaped(value));
    }
    out.push_str("</table>\n</body></html>\n");
    out
}

fn html_table(group: &Group) -> String {
    let calls_head = if group.has_calls() { "<th>system calls</th>" } else { "" };
    let mut out = format!(
        "<table><tr><th>work</th><th></th><th>median</th><th>best</th><th>worst</th><th>of {}</th><th>best of its \
         best</th>{calls_head}</tr>\n",
        group.base
    );
    for table in &group.tables {
        for (i, row) in table.rows.iter().enumerate() {
            let (median, best) = ratios(row, table.row(&group.base)).unwrap_or((f64::NAN, f64::NAN));
            let calls = match row.calls {
                Some(calls) => format!("<td>{calls:.2}</td>"),
                None if group.has_calls() => "<td></td>".into(),
                None => String::new(),
            };
            _ = writeln!(
                out,
                "<tr{}><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{median:.3}</td><td>{best:.3}</td>{calls}</tr>",
                if i == 0 { " class=\"first\"" } else { "" },
                if i == 0 { escaped(table.work) } else { String::new() },
                row.subject,
                figure(row.median()),
                figure(row.min()),
                figure(row.max()),
            );
        }
    }
    out.push_str("</table>\n");
    out
}
