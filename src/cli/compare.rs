//! `slotquake compare`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;
use slotquake::history::SCHEMA_VERSION;
use slotquake::report::{self, Comparison, Report};

use super::exit::{Exit, Trouble};
use super::{Format, screen};

/// Compare two reports, or two folders of them
///
/// Runs are matched by suite and server. Shows which verdicts and figures differ, and what else is
/// not the same: plan, configuration, server, seed, host. Given a single report and a folder, only
/// that report's suite is looked up in the folder.
///
/// Exits with 1 when a verdict got worse; with 3 when none did, but something that BASE judged is not
/// in NEW.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  slotquake compare reports/baseline reports/latest")]
pub struct Args {
    /// What to compare with: the folder or file of a report, or a folder of reports
    base: PathBuf,
    /// What to compare
    new: PathBuf,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Compares and prints.
pub fn main(args: &Args) -> Result<Exit, Trouble> {
    let mut base = report::read_all(&args.base).map_err(Trouble::usage)?;
    let mut new = report::read_all(&args.new).map_err(Trouble::usage)?;
    match (is_single(&args.base), is_single(&args.new)) {
        (true, false) => keep_suites_of(&base, &mut new),
        (false, true) => keep_suites_of(&new, &mut base),
        _ => {}
    }
    let comparison = report::compare(&base, &new);
    let exit = exit(&comparison);
    match args.format {
        Format::Table => screen::print(&report::render_comparison(&comparison, screen::style(false)))?,
        Format::Json => {
            let document = json!({
                "schema_version": SCHEMA_VERSION,
                "exit_code": exit.number(),
                "worse": comparison.worse(),
                "comparison": comparison,
            });
            screen::print(&format!("{document:#}"))?;
        }
    }
    Ok(exit)
}

fn exit(comparison: &Comparison) -> Exit {
    if comparison.worse() {
        Exit::Failed
    } else if comparison.lost_sight() {
        Exit::Inconclusive
    } else {
        Exit::Pass
    }
}

fn is_single(path: &Path) -> bool {
    path.is_file() || path.join("report.json").exists()
}

/// Leaves, of a whole folder, only what one report can be compared with.
fn keep_suites_of(asked: &[Report], all: &mut Vec<Report>) {
    let key = |report: &Report| (report.header.plan.name.clone(), report.header.server.asked.clone());
    let keys: BTreeSet<_> = asked.iter().map(key).collect();
    let suites: BTreeSet<_> = keys.iter().map(|(suite, _)| suite).collect();
    let same_server = all.iter().any(|report| keys.contains(&key(report)));
    all.retain(|report| {
        let key = key(report);
        if same_server { keys.contains(&key) } else { suites.contains(&key.0) }
    });
}
