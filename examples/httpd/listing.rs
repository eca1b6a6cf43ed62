//! The page for a directory that has no `index.html`.

use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

use crate::target;

/// More than this nobody reads, and a page has to be held in memory.
const ENTRIES_MAX: usize = 10_000;

/// Lists a directory. Blocks on the disk: to be called on the blocking pool.
pub(crate) fn of(directory: &Path, encoded_path: &str) -> io::Result<String> {
    let (names, is_cut) = names(directory)?;
    // The path is percent-encoded and so has nothing to escape.
    let title = format!("Index of {encoded_path}/");
    let mut page = String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">");
    push(
        &mut page,
        format_args!("<title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n<ul>\n"),
    );
    if !encoded_path.is_empty() {
        page.push_str("<li><a href=\"../\">../</a></li>\n");
    }
    for Entry { name, slash } in names {
        // `./` keeps a name with a colon in it from being read as a scheme.
        push(
            &mut page,
            format_args!(
                "<li><a href=\"./{}{slash}\">{}{slash}</a></li>\n",
                target::encode(&name),
                escape(&name)
            ),
        );
    }
    page.push_str("</ul>\n");
    if is_cut {
        push(
            &mut page,
            format_args!("<p>Only {ENTRIES_MAX} entries are shown.</p>\n"),
        );
    }
    page.push_str("</body>\n</html>\n");
    Ok(page)
}

struct Entry {
    name: String,
    slash: &'static str,
}

/// The entries that can be asked for, in order, and whether there are more than are shown.
fn names(directory: &Path) -> io::Result<(Vec<Entry>, bool)> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory)? {
        let Ok(name) = entry?.file_name().into_string() else {
            continue;
        };
        if !target::is_served(&name) {
            continue;
        }
        if entries.len() == ENTRIES_MAX {
            return Ok((sorted(entries), true));
        }
        // Follows links: a link to a directory is a directory to the client. One that leads nowhere is left out.
        let Ok(metadata) = fs::metadata(directory.join(&name)) else {
            continue;
        };
        entries.push(Entry {
            name,
            slash: if metadata.is_dir() { "/" } else { "" },
        });
    }
    Ok((sorted(entries), false))
}

fn sorted(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    entries
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

fn push(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("a String takes all that is written to it");
}
