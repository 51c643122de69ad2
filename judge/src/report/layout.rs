//! How tables are drawn, and how lines are broken.

use tabled::Table;
use tabled::builder::Builder;
use tabled::settings::formatting::AlignmentStrategy;
use tabled::settings::object::{Columns, Rows};
use tabled::settings::peaker::Priority;
use tabled::settings::style::HorizontalLine;
use tabled::settings::{Alignment, Color, Padding, Style as Frame, Width};

use crate::check::Verdict;

/// How tables are drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// The width of the terminal in columns; None for no limit, as in a pipe.
    pub width: Option<usize>,
    /// Whether to colour verdicts.
    pub colour: bool,
    /// Whether to list invariants that hold, too. For a single run they are always listed.
    pub verbose: bool,
}

impl Style {
    pub(super) fn paint(self, text: &str, colour: &Color) -> String {
        if self.colour { colour.colorize(text) } else { text.to_owned() }
    }
}

/// Draws a table with headings in its first row. `colours` are for the cells of `word_column`, one per row; columns to its
/// right are figures.
pub(super) fn draw(builder: Builder, word_column: usize, colours: impl Iterator<Item = Color>, style: Style) -> String {
    let mut table = builder.build();
    frame(&mut table, style);
    table.modify(Columns::new(word_column + 1..), Alignment::right());
    if style.colour {
        for (row, colour) in colours.enumerate() {
            table.modify((row + 1, word_column), colour);
        }
    }
    drawn(&table)
}

/// The style of all tables.
pub(super) fn frame(table: &mut Table, style: Style) {
    table.with(Frame::empty().horizontals([(1, HorizontalLine::new('-'))])).with(Padding::new(0, 2, 0, 0));
    table.modify(Columns::last(), Padding::zero()).with(AlignmentStrategy::PerLine);
    table.modify(Rows::first(), Alignment::bottom());
    if let Some(width) = style.width {
        table.with(Width::wrap(width).priority(Priority::max(true)).keep_words(true));
    }
}

pub(super) fn drawn(table: &Table) -> String {
    let mut text = String::new();
    for line in table.to_string().lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

pub(super) fn verdict_colour(verdict: Verdict) -> Color {
    match verdict {
        Verdict::Pass => Color::FG_GREEN,
        Verdict::Inconclusive => Color::FG_YELLOW,
        Verdict::Fail => Color::FG_RED,
    }
}

/// Breaks a text between words so that it fits in `width` columns. Each line but the first is indented by `indent` columns.
/// Words that are longer than a line stay whole, so that paths can be copied.
pub fn wrapped(text: &str, indent: usize, width: Option<usize>) -> String {
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(indent).max(20));
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        lines.push(String::new());
        for word in line.split(' ') {
            let last = lines.last_mut().expect("a line was pushed");
            if last.is_empty() {
                last.push_str(word);
            } else if last.chars().count() + 1 + word.chars().count() <= room {
                last.push(' ');
                last.push_str(word);
            } else {
                lines.push(word.to_owned());
            }
        }
    }
    lines.join(&format!("\n{}", " ".repeat(indent)))
}
