//! `slotquake down`.

use slotquake::run::Ask;

use super::exit::{Exit, Trouble};
use super::screen;
use super::socket::{Response, Which};

/// End a cluster of `slotquake up`
///
/// Returns when all servers have ended.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
}

/// Ends the cluster.
pub fn main(args: &Args) -> Result<Exit, Trouble> {
    if let Response::Lines(lines) = args.which.ask(&Ask::Down)? {
        screen::print(&lines.join("\n"))?;
    }
    Ok(Exit::Pass)
}
