//! `slotquake gc`.

use slotquake::cluster::attach::{ledgers, ledgers_folder};

use super::exit::{Exit, Trouble};
use super::{containers, screen};

/// Remove what killed runs left in the container engine, and list their changes to other clusters
///
/// Removes containers, networks and volumes of runs whose harness was killed. Does not touch anything of a running
/// harness, of another system, or of other tools. Every `slotquake run --backend docker` does the same when it
/// starts.
///
/// Lists the changes that killed runs with `--backend attach` made to clusters, with the command that undoes them;
/// it does not contact the clusters. The next such run on the same cluster undoes them first.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Removes leftovers and lists them.
pub fn main(_args: &Args) -> Result<Exit, Trouble> {
    let pending = list_pending()?;
    Ok(containers::collect_dead()?.max(pending))
}

/// Lists changes to undo on clusters that slotquake did not start.
fn list_pending() -> Result<Exit, Trouble> {
    let mut exit = Exit::Pass;
    // Without a state directory there are no ledgers.
    let found = ledgers_folder().map(|folder| ledgers(&folder)).unwrap_or_default();
    for ledger in found {
        let line = match ledger {
            Ok(ledger) if ledger.is_alive => {
                format!("left alone: {} is running on an attached cluster", ledger.changes.whose())
            }
            Ok(ledger) => {
                let changes = ledger.changes;
                format!("not undone: {}", changes.pending())
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
