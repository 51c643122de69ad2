//! `slotquake send`.

use clap::ArgAction;
use slotquake::run::Ask;
use slotquake::target::Target;

use super::exit::{Exit, Trouble};
use super::screen;
use super::socket::{Response, Which};

/// Send a command to a cluster of `slotquake up`
///
/// Sends it from the address of client-1, so that network faults on clients affect it. Prints the reply, which may be
/// an error, to stdout and the name of the node that replied to stderr.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  slotquake send SET testkey value
  slotquake send --to node-5 --no-follow GET testkey
  slotquake send --to shard-1/replica --readonly --no-follow GET testkey")]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// The node to ask first; by default the first node that answers
    #[arg(long, value_name = "NODE")]
    to: Option<Target>,
    /// Show MOVED and ASK instead of following them
    #[arg(long = "no-follow", action = ArgAction::SetFalse)]
    follow: bool,
    /// Send READONLY first, so that a replica serves reads
    #[arg(long)]
    readonly: bool,
    /// The command
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    words: Vec<String>,
}

/// Sends the command.
pub fn main(args: &Args) -> Result<Exit, Trouble> {
    let ask =
        Ask::Send { to: args.to.clone(), words: args.words.clone(), follow: args.follow, readonly: args.readonly };
    if let Response::Lines(lines) = args.which.ask(&ask)?
        && let [text, by] = lines.as_slice()
    {
        screen::say(&format!("{by}:"));
        screen::print(text)?;
    }
    Ok(Exit::Pass)
}
