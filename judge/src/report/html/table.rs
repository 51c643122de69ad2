//! A table of a page.

/// Longer tables are cut, and say so: what is left out stands in `report.json`.
const MOST_ROWS: usize = 1000;

/// A table.
#[derive(Default)]
pub struct Table {
    /// What it is about.
    pub caption: String,
    /// The heads of its columns.
    pub head: Vec<&'static str>,
    /// Its rows.
    pub rows: Vec<Vec<String>>,
    /// How many rows were left out.
    pub cut: usize,
    /// From which column on figures stand, which are aligned to the right.
    pub figures_from: usize,
}

impl Table {
    pub(super) fn new(
        caption: &str,
        head: &[&'static str],
        figures_from: usize,
        rows: impl IntoIterator<Item = Vec<String>>,
    ) -> Self {
        let mut rows: Vec<_> = rows.into_iter().collect();
        let cut = rows.len().saturating_sub(MOST_ROWS);
        rows.truncate(MOST_ROWS);
        Self { caption: caption.to_owned(), head: head.to_vec(), rows, cut, figures_from }
    }
}
