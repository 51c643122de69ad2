//! `slotquake check`.

use std::path::{Path, PathBuf};

use slotquake::anatomy;
use slotquake::history::{self, FILE_NAME, HistoryError, LINES_FILE_NAME};
use slotquake::report::{self, Recorded, Report, ReportError, Summary};

use super::exit::{Exit, Trouble};
use super::{Format, screen};

/// Judge stored histories again, offline
///
/// Reads the history in a report's folder, judges every invariant again, and shows where the result differs from the
/// report. Writes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  slotquake check reports/latest")]
pub struct Args {
    /// The folder of a report, or a folder of such folders
    #[arg(required = true, value_name = "REPORT_DIR")]
    folders: Vec<PathBuf>,
    /// The format of the result
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Also show the invariants that hold
    #[arg(short, long)]
    verbose: bool,
}

/// Judges each history and prints the same tables as `run`.
pub fn main(args: &Args) -> Result<Exit, Trouble> {
    let mut summaries = Vec::new();
    let mut exits = Vec::new();
    for given in &args.folders {
        for folder in folders_with_history(given)? {
            let history = history::read(&folder).map_err(|error| unreadable(&error, &folder))?;
            let logs = anatomy::logs(&folder, history.header.plan.nodes.iter().map(|planned| planned.node));
            let again = Report::with_logs(&history, &logs);
            let mut summary = Summary::new(&again, &folder);
            match report::read(&folder) {
                Ok(recorded) => summary.recorded = Some(Recorded::new(&recorded, &again)),
                Err(ReportError::Unfinished(_)) => {
                    let folder = folder.display();
                    screen::say(&format!("{folder} has no report.json to compare with; judged from its history alone"));
                }
                // The hint is this command.
                Err(ReportError::Mendable(error, _)) => screen::say(&format!("judged without its report: {error}")),
                Err(error) => screen::say(&format!("judged without its report: {error}")),
            }
            exits.push(Exit::of(&again));
            summaries.push(summary);
        }
    }
    let exit = Exit::worst(exits);
    match args.format {
        Format::Table => screen::print(&report::render(&summaries, screen::style(args.verbose)))?,
        Format::Json => screen::print(&report::document(&summaries, exit.number()))?,
    }
    Ok(exit)
}

/// A history that cannot be judged, and whether its report can be shown instead.
fn unreadable(error: &HistoryError, folder: &Path) -> Trouble {
    let shown = folder.display();
    Trouble::usage(match report::read(folder) {
        Ok(_) => format!("{error}; `slotquake report {shown}` shows the verdicts of the run from report.json"),
        Err(ReportError::Unfinished(_) | ReportError::NoReport(_) | ReportError::Missing(_)) => error.to_string(),
        Err(_) => format!("{error}; its report.json cannot be read either"),
    })
}

/// The folder itself, the folder of a given file, or the folders directly in it, in the order of their names. Skips
/// links such as `latest`.
fn folders_with_history(given: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let ours = [FILE_NAME, LINES_FILE_NAME, report::FILE_NAME];
    let is_ours = given.file_name().is_some_and(|name| ours.iter().any(|ours| name == *ours));
    if given.is_file() && !is_ours {
        return Err(Trouble::usage(format!(
            "{} is not a report (hint: give the folder of one, such as reports/latest; `slotquake run` runs a suite)",
            given.display()
        )));
    }
    let folder = match given.parent() {
        Some(folder) if given.is_file() && folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) if given.is_file() => folder,
        _ => given,
    };
    if history::file(folder).is_some() {
        return Ok(vec![folder.to_owned()]);
    }
    let trouble = |error: std::io::Error| Trouble::usage(format!("{}: {error}", folder.display()));
    let mut below = Vec::new();
    for entry in folder.read_dir().map_err(trouble)? {
        let path = entry.map_err(trouble)?.path();
        if history::file(&path).is_some() && !path.is_symlink() {
            below.push(path);
        }
    }
    if below.is_empty() {
        return Err(Trouble::usage(format!(
            "{} holds no history ({FILE_NAME}) to judge (hint: give the folder of a report, or one of such folders)",
            given.display()
        )));
    }
    below.sort();
    Ok(below)
}
