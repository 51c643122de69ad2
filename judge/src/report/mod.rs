//! The report: what a run did and what was judged of it, and how that is shown. Rendering decides
//! nothing.

mod anatomy_table;
mod annotations;
mod compare;
mod compare_table;
mod events;
mod explain;
#[cfg(test)]
pub(crate) mod fixture;
pub mod html;
mod json;
mod junit;
mod markdown;
mod matrix;
mod measure;
mod narrate;
mod reproduce;
mod run;
mod skipped;
pub mod statistics;
mod store;
mod summary;
mod summary_markdown;
mod table;
mod verdict_table;

pub use crate::check::FigureKind;
pub use crate::words::seconds;
pub use annotations::annotations;
pub use compare::{Comparison, InvariantChange, Pair, RunKey, SkippedRun, compare};
pub use compare_table::{render_comparison, render_comparison_markdown};
pub use explain::explain;
pub use json::document;
pub use junit::junit;
pub use measure::{Change, FigureChange, Side};
pub use narrate::Narrator;
pub use reproduce::{Reproduce, reproduce};
pub use run::{PhaseReport, Report};
pub use skipped::{SKIPPED_FILE, Skipped, SkippedFile, skipped};
pub use store::{FILE_NAME, ReportError, io_error, parse, read, read_all};
pub use summary::{Course, Figures, LongestOutage, Recorded, Standing, Summary, short_server};
pub use summary_markdown::render_markdown;
pub use table::{Style, render, wrapped};
pub use verdict_table::render_verdicts;
