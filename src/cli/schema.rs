//! `slotquake schema`.

use slotquake::suite;

use super::exit::{Exit, Trouble};
use super::screen;

/// Print the JSON Schema of a suite file, for editors
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  slotquake schema > suite.schema.json")]
pub struct Args {}

/// Prints the schema.
pub fn main(_: &Args) -> Result<Exit, Trouble> {
    let text = serde_json::to_string_pretty(&suite::schema()).map_err(Trouble::harness)?;
    screen::print(&text)?;
    Ok(Exit::Pass)
}
