//! The charts of the report, as SVG to be put into HTML.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::measure::Table;
use crate::table::{Group, figure};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Colours that are told apart by those who see few, too.
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 86, 86),
];
const INK: RGBColor = RGBColor(34, 34, 34);
const FAINT: RGBColor = RGBColor(221, 221, 221);

fn text(size: u32, horizontal: HPos) -> TextStyle<'static> {
    ("sans-serif", size)
        .into_text_style(&(800, 600))
        .color(&INK)
        .pos(Pos::new(horizontal, VPos::Center))
}

fn draw(size: (u32, u32), paint: impl FnOnce(&Area<'_>) -> Result<(), Box<dyn std::error::Error>>) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        // The backend writes to memory.
        area.fill(&WHITE).expect("nothing can fail");
        paint(&area).expect("nothing can fail");
        area.present().expect("nothing can fail");
    }
    svg
}

#[expect(clippy::cast_possible_truncation, reason = "pixels")]
fn pixel(x: f64) -> i32 {
    x.round() as i32
}

#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "few rows")]
fn row_at(index: usize, height: i32) -> i32 {
    index as i32 * height
}

/// One work: a bar for each subject.
pub(crate) fn bars(table: &Table, base: &str) -> String {
    let (left, right, top_line, row_height) = (90, 370, 44, 30);
    let height = top_line + row_at(table.rows.len(), row_height) + 8;
    let most = table.rows.iter().map(|row| row.max()).fold(0.0, f64::max);
    let at = |ns: f64| left + pixel(ns / most * f64::from(right - left));
    draw((500, height.unsigned_abs()), |area| {
        area.draw(&Text::new(table.work.to_owned(), (8, 18), text(16, HPos::Left)))?;
        for (i, row) in table.rows.iter().enumerate() {
            let (top, middle) = (
                top_line + row_at(i, row_height),
                top_line + row_at(i, row_height) + row_height / 2 - 3,
            );
            let colour = COLOURS[i % COLOURS.len()];
            area.draw(&Text::new(
                row.subject.clone(),
                (left - 8, middle),
                text(14, HPos::Right),
            ))?;
            area.draw(&Rectangle::new(
                [(left, top), (at(row.median()).max(left + 1), top + row_height - 7)],
                colour.filled(),
            ))?;
            area.draw(&PathElement::new(
                [(at(row.min()), middle), (at(row.max()), middle)],
                INK.stroke_width(1),
            ))?;
            for end in [row.min(), row.max()] {
                area.draw(&PathElement::new(
                    [(at(end), middle - 4), (at(end), middle + 4)],
                    INK.stroke_width(1),
                ))?;
            }
            let ratio = table.row(base).map(|base| row.median() / base.median());
            let ratio = ratio.map(|ratio| format!("  ({ratio:.3})")).unwrap_or_default();
            let label = format!("{}{ratio}", figure(row.median()));
            let x = at(row.max()) + 8;
            area.draw(&Text::new(label, (x, middle), text(14, HPos::Left)))?;
        }
        Ok(())
    })
}

/// All works of a group on one logarithmic scale: a dot for each subject.
pub(crate) fn overview(group: &Group) -> String {
    let (left, right, top_line, row_height) = (250, 960, 60, 26);
    let medians = || {
        group
            .tables
            .iter()
            .flat_map(|table| &table.rows)
            .map(|row| row.median())
            .filter(|&ns| ns > 0.0) // a clock may be too coarse
    };
    let least = medians().reduce(f64::min).unwrap_or(1.0).log10().floor();
    let most = medians().fold(0.0, f64::max).log10().ceil().max(least + 1.0);
    let at = |log: f64| left + pixel((log - least) / (most - least) * f64::from(right - left));
    let bottom = top_line + row_at(group.tables.len(), row_height);
    draw((1000, (bottom + 34).unsigned_abs()), |area| {
        let mut decade = least;
        while decade <= most {
            let x = at(decade);
            area.draw(&PathElement::new(
                [(x, top_line - 6), (x, bottom)],
                FAINT.stroke_width(1),
            ))?;
            let label = format!("{} ns", 10_f64.powf(decade));
            area.draw(&Text::new(label, (x, bottom + 14), text(13, HPos::Center)))?;
            decade += 1.0;
        }
        let subjects = group.tables.first().map(|table| &table.rows[..]).unwrap_or_default();
        for (i, row) in subjects.iter().enumerate() {
            let x = left + row_at(i, 120);
            area.draw(&Circle::new((x + 6, 22), 6, COLOURS[i % COLOURS.len()].filled()))?;
            area.draw(&Text::new(row.subject.clone(), (x + 18, 22), text(14, HPos::Left)))?;
        }
        for (index, table) in group.tables.iter().enumerate() {
            let y = top_line + row_at(index, row_height) + row_height / 2;
            area.draw(&Text::new(table.work.to_owned(), (left - 14, y), text(14, HPos::Right)))?;
            area.draw(&PathElement::new([(left, y), (right, y)], FAINT.stroke_width(1)))?;
            for (i, row) in table.rows.iter().enumerate() {
                let dot = (at(row.median().log10().max(least)), y);
                area.draw(&Circle::new(dot, 6, COLOURS[i % COLOURS.len()].filled()))?;
            }
        }
        Ok(())
    })
}
