//! The report: what a run did, how it was judged, and how that is shown. Rendering decides nothing.
//!
//! The files refer to each other in one direction: `run` is the report, `figures`, `store` and `compare` read it,
//! `summary` is one run with all of that, and every format (`table`, `json`, `junit`, `summary_markdown`, `html`) shows
//! summaries or reports with the texts of `figures`, `grounds` and `layout`.

mod anatomy_table;
mod annotations;
mod compare;
mod compare_sides;
mod compare_table;
mod events;
mod explain;
mod figures;
#[cfg(test)]
pub(crate) mod fixture;
mod grounds;
pub mod html;
mod json;
mod junit;
mod layout;
mod markdown;
mod matrix;
mod measure;
mod narrate;
mod repeats;
mod reproduce;
mod run;
mod schema;
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
pub use compare::{Compared, Comparison, InvariantChange, Pair, SkippedRun, compare};
pub use compare_sides::render_sides;
pub use compare_table::{render_comparison, render_comparison_markdown};
pub use explain::explain;
pub use figures::{Figures, LongestOutage};
pub use json::{comparison_document, document};
pub use junit::junit;
pub use layout::{Style, wrapped};
pub use measure::{Change, FigureChange, Side};
pub use narrate::Narrator;
pub use reproduce::{Reproduce, quoted, reproduce};
pub use run::{PhaseReport, Report, RunKey, short_server};
pub use schema::{compare_schema, report_schema, run_schema};
pub use skipped::{Skipped, SkippedFile, skipped};
pub use store::{FILE_NAME, ReportError, SKIPPED_FILE, Stored, io_error, parse, read, read_all, text};
pub use summary::{Course, Recorded, Standing, Summary};
pub use summary_markdown::render_markdown;
pub use table::render;
pub use verdict_table::render_verdicts;
