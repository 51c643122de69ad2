//! `slotquake merge`.

use std::path::PathBuf;

use slotquake::campaign;
use slotquake::chaos::{Campaign, render_campaign};

use super::exit::{Exit, Trouble};
use super::{chaos, folder, screen};

/// Join the results of a campaign that ran on several machines
///
/// Reads the journals of the folders and writes one index.html, summary.md and junit.xml. A run that is in several of them
/// counts once, and the same failure is one entry.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  slotquake merge part-1 part-2 --out nightly")]
pub struct Args {
    /// The folders of the parts
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// The directory for the joined result
    #[arg(long, value_name = "DIR", default_value = "chaos-merged")]
    out: PathBuf,
}

/// Joins and reports.
pub fn main(args: &Args) -> Result<Exit, Trouble> {
    let mut all = Campaign::default();
    for folder in &args.folders {
        all.merge(campaign::read(folder).map_err(Trouble::usage)?);
    }
    folder::make(&args.out)?;
    chaos::leave(&all, &args.out)?;
    screen::print(&render_campaign(&all))?;
    Ok(chaos::exit(&all, false, false))
}
