//! Writes files for CI systems: `junit.xml`, `summary.md` and, for GitHub, the job's summary and annotations.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use slotquake::report::{self, Summary};
use slotquake::reports;

use super::exit::Trouble;
use super::screen;

/// Writes the files into the folder of reports and, in a GitHub workflow, the job's summary and annotations.
pub fn leave(runs: &[Summary], out: &Path) -> Result<(), Trouble> {
    write(runs, out)?;
    if env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true") {
        for line in report::annotations(runs) {
            screen::say(&line);
        }
    }
    job_summary(&report::render_markdown(runs))
}

/// Appends Markdown to the summary of a job in GitHub Actions; elsewhere it does nothing.
pub fn job_summary(markdown: &str) -> Result<(), Trouble> {
    match env::var_os("GITHUB_STEP_SUMMARY").filter(|file| !file.is_empty()) {
        Some(file) => append(Path::new(&file), markdown),
        None => Ok(()),
    }
}

/// Writes `junit.xml` and `summary.md`.
pub fn write(runs: &[Summary], out: &Path) -> Result<(), Trouble> {
    for (name, text) in [("junit.xml", report::junit(runs)), ("summary.md", report::render_markdown(runs))] {
        reports::write_page(out, name, &text).map_err(Trouble::unavailable)?;
    }
    Ok(())
}

/// Appends, because other steps of the job may have written to the file.
fn append(file: &Path, text: &str) -> Result<(), Trouble> {
    let written =
        OpenOptions::new().append(true).create(true).open(file).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        Trouble::unavailable(format!(
            "cannot write the job's summary ($GITHUB_STEP_SUMMARY), {}: {error}",
            file.display()
        ))
    })
}
