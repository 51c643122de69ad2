//! `slotquake gc`.

use super::containers;
use super::exit::{Exit, Trouble};

/// Remove what dead runs left in the container engine
///
/// Containers, networks and volumes of runs whose harness was killed. What belongs to a run that is
/// under way, to another system, or to anybody else is not touched. Every `slotquake run --backend
/// docker` does the same when it starts.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Removes, and says what.
pub fn main(_args: &Args) -> Result<Exit, Trouble> {
    containers::collect_dead()
}
