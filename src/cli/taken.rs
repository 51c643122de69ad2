//! What a subcommand is asked to run, and what it has prepared to run it.

use std::collections::BTreeMap;

use slotquake::batch::Environment;
use slotquake::plan::Plan;
use slotquake::plan::matrix::Axis;
use slotquake::server::Server;
use tokio::runtime::Runtime;

use super::prepare::Overrides;
use super::signals::Signals;

/// The suites to run, and the servers to run them on.
pub struct Wanted<'a> {
    pub suites: &'a [String],
    pub servers: &'a [String],
    /// The settings that have several values each.
    pub matrix: &'a [Axis],
    pub overrides: &'a Overrides,
    pub seed: u64,
}

/// Everything that runs need.
pub struct Taken {
    pub plans: Vec<Plan>,
    /// By the name that the plans use.
    pub servers: BTreeMap<String, Server>,
    pub environment: Environment,
    pub runtime: Runtime,
    pub signals: Signals,
}
