//! `report.html`: one file that needs no network, with the picture that explains a failover, and
//! everything also as tables. The templates escape whatever is text; pictures are numbers.

mod anatomy;
mod charts;
mod index;
mod lanes;
mod page;
mod picture;
mod series;
mod tables;
mod words;

use askama::Template;

use super::Report;
use crate::history::History;

pub use index::index;

/// The page of a run. Without its history, as when only `report.json` was kept, it has lanes and
/// tables but no throughput, latency or lag. Pure.
pub fn page(report: &Report, history: Option<&History>) -> String {
    let from_report;
    let history = if let Some(history) = history {
        history
    } else {
        from_report = without_operations(report);
        &from_report
    };
    page::Page::new(report, history).render().expect("the template only writes into memory")
}

/// What a report keeps of its history.
fn without_operations(report: &Report) -> History {
    History {
        header: report.header.clone(),
        ops: Vec::new(),
        reasons: Vec::new(),
        events: report.events.clone(),
        complete: report.complete,
    }
}
