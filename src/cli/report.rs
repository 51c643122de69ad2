//! `slotquake report`.

use std::path::{Path, PathBuf};

use slotquake::anatomy;
use slotquake::facts::Facts;
use slotquake::history::{self, History};
use slotquake::report::{self, Report, ReportError, Summary};
use slotquake::reports;

use super::exit::{Exit, Trouble};
use super::{ci, screen};

/// Write report.html again, from a stored report and its history
///
/// Does not judge again: the page shows what report.json contains. Without a history, the page has no throughput,
/// latency and lag. A history without a report, which a killed run leaves, is judged only for the page. In a folder of
/// reports, writes a page for each, and index.html, junit.xml and summary.md for all of them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  slotquake report reports/latest")]
pub struct Args {
    /// The folder of a report, or a folder of such folders
    #[arg(required = true, value_name = "REPORT_DIR")]
    folders: Vec<PathBuf>,
}

/// Writes the pages and prints where they are.
pub fn main(args: &Args) -> Result<Exit, Trouble> {
    for given in &args.folders {
        let folder = if given.is_file() { given.parent().unwrap_or(given) } else { given };
        if reports::is_run(folder) {
            page(folder)?;
            continue;
        }
        let below =
            reports::folders(folder).map_err(|error| Trouble::usage(format!("{}: {error}", folder.display())))?;
        if below.is_empty() {
            return Err(Trouble::usage(report::read(folder).map_or_else(|error| error.to_string(), |_| String::new())));
        }
        let mut summaries = Vec::new();
        for folder in &below {
            // An unreadable report must not prevent the pages of the others.
            match page(folder) {
                Ok(summary) => summaries.push(summary),
                Err(trouble) => screen::say(&format!("left out: {}", trouble.message)),
            }
        }
        if summaries.is_empty() {
            return Err(Trouble::usage(format!("none of the reports in {} can be read", folder.display())));
        }
        write(folder, "index.html", &report::html::index(&summaries, folder))?;
        ci::write(&summaries, folder)?;
    }
    Ok(Exit::Pass)
}

fn page(folder: &Path) -> Result<Summary, Trouble> {
    let history = history(folder);
    let report = match (report::read(folder), &history) {
        (Ok(report), _) => report,
        (Err(ReportError::Unfinished(_)), Ok(Some(history))) => {
            screen::say(&format!("{} has no report.json: judged from its history", folder.display()));
            let nodes = history.header.plan.nodes.iter().map(|planned| planned.node);
            Report::with_logs(history, &anatomy::logs(folder, nodes))
        }
        (Err(error), _) => return Err(Trouble::usage(error)),
    };
    let history = history.unwrap_or_else(|why| {
        screen::say(&format!("{}: drawn without the history: {why}", folder.display()));
        None
    });
    write(folder, "report.html", &report::html::page(&report, history.as_ref().map(Facts::new).as_ref()))?;
    Ok(Summary::new(&report, folder))
}

fn history(folder: &Path) -> Result<Option<History>, String> {
    if history::file(folder).is_none() {
        return Ok(None);
    }
    history::read(folder).map(Some).map_err(|error| error.to_string())
}

fn write(folder: &Path, name: &str, page: &str) -> Result<(), Trouble> {
    let path = reports::write_page(folder, name, page).map_err(Trouble::unavailable)?;
    screen::print(&path.display().to_string())
}
