//! `slotquake gc`.

use slotquake::cluster::attach::{ledgers, ledgers_folder};

use super::exit::{Exit, Trouble};
use super::{containers, screen};

/// Remove what dead runs left in the container engine, and tell what they left elsewhere
///
/// Containers, networks and volumes of runs whose harness was killed. What belongs to a run that is
/// under way, to another system, or to anybody else is not touched. Every `slotquake run --backend
/// docker` does the same when it starts.
///
/// What killed runs with `--backend attach` have changed on clusters is told, with the command that puts
/// it back; no cluster is asked. Every such run to the same cluster puts it back first.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Removes, and says what.
pub fn main(_args: &Args) -> Result<Exit, Trouble> {
    let owed = tell_owed()?;
    Ok(containers::collect_dead()?.max(owed))
}

/// Says what is to be put back on clusters that are not ours.
fn tell_owed() -> Result<Exit, Trouble> {
    let mut exit = Exit::Pass;
    // Without a folder for them there are none.
    let found = ledgers_folder().map(|folder| ledgers(&folder)).unwrap_or_default();
    for ledger in found {
        let line = match ledger {
            Ok(ledger) if ledger.is_alive => {
                format!("left alone: {} is under way on a cluster that is not ours", ledger.changes.whose())
            }
            Ok(ledger) => {
                let changes = ledger.changes;
                format!("to be put back: {}", changes.owed())
            }
            Err(error) => {
                exit = Exit::Harness;
                error.to_string()
            }
        };
        screen::print(&line)?;
    }
    Ok(exit)
}
