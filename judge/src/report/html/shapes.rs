//! What pictures consist of: rows of rectangles and lines over one time axis. Horizontal places are percentages, so that
//! a picture is as wide as its screen without its text being stretched.

use super::series::Grid;
use crate::facts::Window;

/// More outages, phases, faults or marks than this are not drawn, only listed.
pub(super) const MOST_SHAPES: usize = 300;

/// A time at the axis.
pub struct Tick {
    /// Its place in percent.
    pub x: String,
    /// `12 s`.
    pub label: String,
}

/// A line through all rows.
pub struct Guide {
    /// Its place in percent.
    pub x: String,
    /// How it looks.
    pub class: &'static str,
}

/// One row.
#[derive(Default)]
pub struct Row {
    /// Above the row, where a group of rows begins.
    pub heading: String,
    /// Left of it.
    pub label: String,
    /// Below the label, smaller.
    pub note: String,
    /// Its height in pixels.
    pub height_px: u32,
    /// How it looks.
    pub class: &'static str,
    /// Its series in [`Picture::data`].
    pub series: Option<usize>,
    /// Behind the lines.
    pub shapes: Vec<Shape>,
    /// Lines and areas, in units of buckets across and thousandths of the height down.
    pub paths: Vec<Path>,
    /// The width in these units.
    pub units: usize,
    /// The vertical scale.
    pub scale: Vec<Scale>,
}

/// A rectangle with a text in it.
#[derive(Default)]
pub struct Shape {
    /// Its place in percent.
    pub x: String,
    /// Its width in percent.
    pub w: String,
    /// Its place from the top in pixels.
    pub y_px: u32,
    /// Its height, in pixels or percent.
    pub h: String,
    /// How it looks.
    pub class: String,
    /// Told when it is pointed at.
    pub title: String,
    /// Written in it, cut where it does not fit.
    pub text: String,
    /// Where the text stands: `start` or `end`.
    pub anchor: &'static str,
}

/// A line or area.
pub struct Path {
    /// How it looks.
    pub class: &'static str,
    /// Its course.
    pub d: String,
}

/// A mark at a vertical scale.
pub struct Scale {
    /// From the top in percent.
    pub y: String,
    /// `100 ms`.
    pub label: String,
}

pub(super) fn percent(part: f64) -> String {
    let text = format!("{:.3}", part * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Place and width of a span; what has no width is still seen.
pub(super) fn place(window: Window, grid: &Grid) -> (String, String) {
    let (from, to) = (grid.part(window.from_ns), grid.part(window.to_ns));
    (percent(from), percent((to - from).max(0.001)))
}
