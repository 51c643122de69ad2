//! A table of a page.

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
        let mut rows: Vec<_> = rows.into_iter().collect();
        let cut = rows.len().saturating_sub(MOST_ROWS);
        rows.truncate(MOST_ROWS);
        Self { caption: caption.to_owned(), head: head.to_vec(), rows, cut, figures_from }
    }
}
