//! `slotquake show`.

use slotquake::suite;

use super::exit::{Exit, Trouble};
use super::screen;

/// Print the text of a built-in suite
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  slotquake show role-swap
  slotquake show role-swap > my-suite.yaml")]
pub struct Args {
    /// The name of a suite (see `slotquake list`)
    suite: String,
}

/// Prints the text as it is.
pub fn main(args: &Args) -> Result<Exit, Trouble> {
    match suite::shipped().iter().find(|(name, _)| *name == args.suite) {
        Some((_, text)) => screen::print(text).map(|()| Exit::Pass),
        // It knows the nearest name.
        None => Err(match suite::load(&args.suite) {
            Err(error) => Trouble::usage(error),
            Ok(_) => Trouble::usage(format!("\"{}\" is a file, not a built-in suite", args.suite)),
        }),
    }
}
