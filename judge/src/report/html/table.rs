//! A table of a page.

/// The most bytes of a table's cells. A page has about ten tables and stays below 2 MB.
const MOST_BYTES: usize = 120_000;

/// The most bytes of a cell.
const LONGEST: usize = 2_000;

/// The room that is left on a page for texts from outside, in bytes of HTML.
pub struct Room(pub usize);

impl Room {
    /// Takes the room for a text; false if it does not fit.
    pub fn take(&mut self, text: &str) -> bool {
        let length = html_length(text);
        let fits = length <= self.0;
        self.0 = self.0.saturating_sub(length);
        fits
    }
}

/// A special character becomes up to five.
fn html_length(text: &str) -> usize {
    text.len() + 4 * text.bytes().filter(|byte| b"<>&\"'".contains(byte)).count()
}

/// A text of at most `most` bytes, with a note of what is left out.
pub fn short(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{} ... ({} more bytes)", &text[..end], text.len() - end)
}

/// Longer tables are cut. The page shows how many rows are left out.
const MOST_ROWS: usize = 1000;

/// A table.
#[derive(Default)]
pub struct Table {
    /// The caption.
    pub caption: String,
    /// The headings of the columns.
    pub head: Vec<&'static str>,
    /// The cells by row.
    pub rows: Vec<Vec<String>>,
    /// The number of rows that are left out.
    pub cut: usize,
    /// The first column of figures. Figures are aligned to the right.
    pub figures_from: usize,
}

impl Table {
    pub(super) fn new(
        caption: &str,
        head: &[&'static str],
        figures_from: usize,
        rows: impl IntoIterator<Item = Vec<String>>,
    ) -> Self {
        let mut room = Room(MOST_BYTES);
        let mut kept: Vec<Vec<String>> = Vec::new();
        let mut cut = 0;
        for row in rows {
            let row: Vec<String> = row.iter().map(|cell| short(cell, LONGEST)).collect();
            if cut == 0 && kept.len() < MOST_ROWS && row.iter().all(|cell| room.take(cell)) {
                kept.push(row);
            } else {
                cut += 1;
            }
        }
        let rows = kept;
        Self { caption: caption.to_owned(), head: head.to_vec(), rows, cut, figures_from }
    }
}
