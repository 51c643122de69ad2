//! `report.html`: one file that needs no network. It shows a run as a picture, and the same as tables. The templates
//! escape all text.
//!
//! The files refer to each other in one direction: `series` and `lanes` gather what is drawn, `shapes` and `table` are
//! the parts of a page, `charts`, `picture`, `unheld`, `anatomy`, `witness` and `tables` make them, and `page`, `overlay` and `index` are whole
//! pages.

mod anatomy;
mod axes;
mod charts;
mod index;
mod lanes;
mod overlay;
mod page;
mod picture;
mod series;
mod shapes;
mod table;
mod tables;
mod unheld;
mod witness;

use askama::Template;

use crate::facts::Facts;
use crate::history::History;
use crate::report::run::Report;

pub use index::index;
pub use overlay::{MOST_DRAWN, Overlaid, comparison};

/// The page of a run. Without the facts of its history, for example if only `report.json` was kept, it has no throughput,
/// latency or lag. Pure.
pub fn page(report: &Report, facts: Option<&Facts<'_>>) -> String {
    let from_report;
    let page = if let Some(facts) = facts {
        page::Page::new(report, facts)
    } else {
        from_report = without_operations(report);
        page::Page::new(report, &Facts::new(&from_report))
    };
    page.render().expect("the template only writes into memory")
}

/// The part of a history that its report contains.
pub fn without_operations(report: &Report) -> History {
    let (events, complete) = (report.events.clone(), report.complete);
    History { events, complete, ..History::new(report.header.clone()) }
}
