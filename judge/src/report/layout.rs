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
    /// The columns of the terminal; None, as in a pipe, for as wide as it gets.
    pub width: Option<usize>,
    /// Whether verdicts are coloured.
    pub colour: bool,
    /// Whether invariants that hold are listed too. Of a single run they always are.
    pub verbose: bool,
}

impl Style {
    pub(super) fn paint(self, text: &str, colour: &Color) -> String {
        if self.colour { colour.colorize(text) } else { text.to_owned() }
    }
}

/// Draws a table whose first row is its head: columns right of `word_column` are figures, and
/// `word_column` itself gets the colours, one a row.
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

/// The look that all tables share.
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

/// Breaks a text between words so that its lines fit behind an indent of that many columns; the first
/// line stands where the caller puts it. Words that are wider than a line are left whole, so that
/// paths can be copied.
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
