//! `slotquake plan`.

use slotquake::batch;

use super::exit::{Exit, Trouble};
use super::prepare::Overrides;
use super::screen;

/// Print the plan of a suite: everything resolved, bounded and explicit, as JSON
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  slotquake plan role-swap --set cluster.config.cluster-node-timeout=1000 --seed 7")]
pub struct Args {
    /// The name of a suite, or the path of a suite file
    suite: String,
    /// The server instead of the suite's own: `redis:6.2`, `valkey:9.1`, or the path of a binary
    #[arg(long)]
    server: Option<String>,
    #[command(flatten)]
    overrides: Overrides,
}

/// Prints the plan.
pub fn main(args: &Args) -> Result<Exit, Trouble> {
    let seed = args.overrides.seed();
    let (server, to) = (args.server.as_deref(), args.overrides.to.as_deref());
    let plan = batch::plan(&args.suite, server, to, &args.overrides.sets, seed).map_err(Trouble::usage)?;
    let text = serde_json::to_string_pretty(&plan).map_err(Trouble::harness)?;
    screen::print(&text)?;
    Ok(Exit::Pass)
}
