//! `slotquake schema`.

use slotquake::{report, suite};

use super::exit::{Exit, Trouble};
use super::screen;

/// Print the JSON Schema of a suite file, or of what slotquake writes for programs
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  slotquake schema > suite.schema.json
  slotquake schema report > report.schema.json")]
pub struct Args {
    /// What to describe
    #[arg(value_enum, default_value_t = Of::Suite)]
    of: Of,
}

/// What has a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Of {
    /// A suite file, for editors.
    Suite,
    /// The file report.json of a run.
    Report,
    /// What `run --format json` and `check --format json` print.
    Run,
    /// What `compare --format json` prints.
    Compare,
}

/// Prints the schema.
pub fn main(args: &Args) -> Result<Exit, Trouble> {
    let schema = match args.of {
        Of::Suite => suite::schema(),
        Of::Report => report::report_schema(),
        Of::Run => report::run_schema(),
        Of::Compare => report::compare_schema(),
    };
    screen::print(&serde_json::to_string_pretty(&schema).map_err(Trouble::harness)?)?;
    Ok(Exit::Pass)
}
