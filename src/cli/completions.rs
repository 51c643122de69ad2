//! `slotquake completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use super::exit::{Exit, Trouble};
use super::{Cli, screen};

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  slotquake completions bash > ~/.local/share/bash-completion/completions/slotquake")]
pub struct Args {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub fn main(args: &Args) -> Result<Exit, Trouble> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "slotquake", &mut script);
    screen::print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Pass)
}
