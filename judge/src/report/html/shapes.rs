//! The parts of a picture: rows with rectangles and lines over one time axis. Horizontal positions are percentages, so a
//! picture fits every screen without stretching its text.

use super::series::Grid;
use crate::facts::Window;

/// More outages, phases, faults or marks than this are not drawn, only listed.
pub(super) const MOST_SHAPES: usize = 300;

/// A labelled time on the axis.
pub struct Tick {
    /// Its horizontal position in percent.
    pub x: String,
    /// The label: `12 s`.
    pub label: String,
    /// Which part of the label is at that position: `start`, `middle` or `end`.
    pub anchor: &'static str,
}

impl Tick {
    /// A tick at a part of the axis from 0 to 1. At the edges a label in the middle would be cut off.
    pub(super) fn new(part: f64, label: String) -> Self {
        let anchor = match part {
            low if low < 0.03 => "start",
            high if high > 0.97 => "end",
            _ => "middle",
        };
        Self { x: percent(part), label, anchor }
    }
}

/// A line through all rows.
pub struct Guide {
    /// Its horizontal position in percent.
    pub x: String,
    /// Its class in the style sheet.
    pub class: &'static str,
}

/// A row with its label.
#[derive(Default)]
pub struct Row {
    /// The heading above the row, if it begins a group.
    pub heading: String,
    /// The label to its left.
    pub label: String,
    /// A small note below the label.
    pub note: String,
    /// Its height in pixels.
    pub height_px: u32,
    /// Its class in the style sheet.
    pub class: &'static str,
    /// The index of its series in the numbers for the script; None for rows without operations.
    pub series: Option<usize>,
    /// Rectangles, behind the lines.
    pub shapes: Vec<Shape>,
    /// Lines and areas, in units of buckets across and thousandths of the height down.
    pub paths: Vec<Path>,
    /// The width in buckets.
    pub units: usize,
    /// The vertical scale.
    pub scale: Vec<Scale>,
}

/// A rectangle with a text in it; without a width, a mark.
#[derive(Default)]
pub struct Shape {
    /// Its left edge in percent.
    pub x: String,
    /// Its width in percent; empty for a mark.
    pub w: String,
    /// Its top edge in pixels from the top of the row.
    pub y_px: u32,
    /// Its height in pixels, or `100%`.
    pub h: String,
    /// Its classes in the style sheet.
    pub class: String,
    /// Its tooltip.
    pub title: String,
    /// The text in it, or beside it.
    pub text: String,
    /// Where the text is if it has no room within: `before` or `after`.
    pub beside: &'static str,
    /// The edge next to that text, in percent.
    pub beside_x: String,
    /// Where the text of a mark begins: `start` or `end`.
    pub anchor: &'static str,
}

/// A line or an area.
pub struct Path {
    /// Its class in the style sheet.
    pub class: &'static str,
    /// Its SVG path data.
    pub d: String,
}

/// A labelled value on the vertical scale.
pub struct Scale {
    /// Its position from the top in percent.
    pub y: String,
    /// The label: `100 ms`.
    pub label: String,
}

pub(super) fn percent(part: f64) -> String {
    let text = format!("{:.3}", part * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Left edge and width of a window in percent. The width is at least 0.1, so that it can be seen.
pub(super) fn place(window: Window, grid: &Grid) -> (String, String) {
    let (from, to) = (grid.part(window.from_ns), grid.part(window.to_ns));
    (percent(from), percent((to - from).max(0.001)))
}
