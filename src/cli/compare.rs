//! `slotquake compare`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;
use slotquake::history::SCHEMA_VERSION;
use slotquake::report::{self, Comparison, Report};

use super::exit::{Exit, Trouble};
use super::screen;

/// Compare two reports, two folders of them, or two sets of repeated runs
///
/// Runs are matched by suite and server; several reports of one suite are repeated runs (`run
/// --repeat`). Shows which verdicts, safety figures and times differ. Times are compared as
/// distributions (Mann-Whitney U, Hodges-Lehmann with its 95 % interval). `~` means that the runs are too few
/// to tell, with the approximate number of runs that each side needs. If one side is a single report, only its
/// suite is compared.
///
/// If plan, configuration, server, host or speed differ, the runs are not comparable: the command lists the differences
/// and exits with 2, unless you allow them. Times on different hosts are shown, but never count as a regression.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  slotquake compare reports/baseline reports/latest
  slotquake compare before after --fail-on any-change --format markdown
  slotquake compare redis-6.2 valkey-9.1 --allow-different

Exit codes: 0 no such finding, 1 a finding that --fail-on names, 2 not comparable, 3 undecided")]
pub struct Args {
    /// What to compare with: the folder or file of a report, or a folder of reports
    base: PathBuf,
    /// What to compare
    new: PathBuf,
    /// The format of the result
    #[arg(long, value_enum, default_value_t = Output::Table)]
    format: Output,
    /// Compare even if plan, configuration, server, host or speed differ
    #[arg(long)]
    allow_different: bool,
    /// What makes it exit with 1
    #[arg(long, value_enum, default_value_t = FailOn::Regression)]
    fail_on: FailOn,
    /// Also show undecided figures
    #[arg(short, long)]
    verbose: bool,
}

/// How a comparison is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// One JSON document.
    Json,
    /// For a pull request or a job's summary.
    Markdown,
    /// Markdown with verdicts alone, a row for each suite: the same suites on two servers or backends.
    Verdicts,
}

/// Which findings fail the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    /// A verdict or a safety figure got worse, a time got slower beyond chance, or what BASE judged is not in NEW.
    Regression,
    /// Anything that changed beyond chance, for better or worse.
    AnyChange,
    /// Nothing.
    Never,
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
    let skipped = |path| report::skipped(path).map_err(Trouble::usage);
    let comparison = report::compare(&base, &new).with_skipped(&skipped(&args.base)?, &skipped(&args.new)?);
    if comparison.pairs.is_empty() {
        return Err(Trouble::usage("nothing in common: no suite is on both sides"));
    }
    let differences = comparison.differences();
    if !args.allow_different && !differences.is_empty() {
        let lines = differences.join("\n  ");
        return Err(Trouble::usage(format!(
            "these are not the same experiment:\n  {lines}\n(hint: `--allow-different` compares them anyway)"
        )));
    }
    let exit = exit(&comparison, args.fail_on);
    match args.format {
        Output::Table => screen::print(&report::render_comparison(&comparison, screen::style(args.verbose)))?,
        Output::Markdown => screen::print(&report::render_comparison_markdown(&comparison))?,
        Output::Verdicts => {
            screen::print(&report::render_verdicts(&comparison, sides(&base, &new)))?;
        }
        Output::Json => {
            let document = json!({
                "schema_version": SCHEMA_VERSION,
                "exit_code": exit.number(),
                "worse": comparison.worse(),
                "regressed": comparison.regressed(),
                "changed": comparison.changed(),
                "undecided": comparison.undecided(),
                "comparison": comparison,
            });
            screen::print(&format!("{document:#}"))?;
        }
    }
    Ok(exit)
}

fn exit(comparison: &Comparison, fail_on: FailOn) -> Exit {
    let failed = match fail_on {
        FailOn::Regression => comparison.regressed(),
        FailOn::AnyChange => comparison.changed(),
        FailOn::Never => false,
    };
    match failed {
        true => Exit::Failed,
        // The runs are too few to tell whether it got worse.
        false if comparison.undecided() && fail_on != FailOn::Never => Exit::Inconclusive,
        false => Exit::Pass,
    }
}

/// The names of the sides: their backends if these differ.
fn sides<'a>(base: &'a [Report], new: &'a [Report]) -> [&'a str; 2] {
    let backend = |reports: &'a [Report]| {
        let backends: BTreeSet<&str> = reports.iter().map(|report| report.header.host.backend.word()).collect();
        backends.first().copied().filter(|_| backends.len() == 1)
    };
    match (backend(base), backend(new)) {
        (Some(base), Some(new)) if base != new => [base, new],
        _ => ["base", "new"],
    }
}

fn is_single(path: &Path) -> bool {
    path.is_file() || path.join("report.json").exists()
}

/// Keeps only the reports with which a single report can be compared.
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
