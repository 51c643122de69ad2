//! `slotquake list`.

use std::fmt::Write;
use std::path::Path;

use slotquake::report::wrapped;
use slotquake::suite;

use super::exit::{Exit, Trouble};
use super::screen;

/// List the built-in suites
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  slotquake list")]
pub struct Args {}

/// Prints each suite's name and description.
pub fn main(_: &Args) -> Result<Exit, Trouble> {
    let mut text = String::new();
    let longest = suite::shipped_names().iter().map(|name| name.len()).max().unwrap_or(0);
    let width = screen::style(false).width.unwrap_or(100);
    for (name, source) in suite::shipped() {
        let suite = suite::parse(source, Path::new(name)).map_err(Trouble::harness)?;
        let about = wrapped(&suite.about, longest + 2, Some(width));
        let _ = writeln!(text, "{name:longest$}  {about}");
    }
    screen::print(&text)?;
    Ok(Exit::Pass)
}
