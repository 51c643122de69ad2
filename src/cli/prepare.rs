//! The arguments that override values of a suite, and the checks before any cluster boots.

use std::collections::BTreeMap;

use clap::Args;
use slotquake::batch;
use slotquake::plan::Plan;
use slotquake::server::{Server, ServerError};

use super::exit::Trouble;
use super::number::whole;
use super::screen::say;
use super::taken::Wanted;

/// The arguments that override values of a suite.
#[derive(Debug, Args)]
pub struct Overrides {
    /// Override a value of the suite, such as `cluster.config.cluster-node-timeout=1000`; may be repeated
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub sets: Vec<String>,
    /// The server to upgrade to, in suites that upgrade servers: `redis:7.0`, `valkey:9.1`, or the path of a binary
    #[arg(long, value_name = "SERVER")]
    pub to: Option<String>,
    /// The seed of random choices. By default it is random, and printed and recorded
    #[arg(long, value_parser = whole(0..=u64::MAX))]
    pub seed: Option<u64>,
}

impl Overrides {
    /// The given seed, or a random one.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(batch::draw_seed)
    }
}

/// The plan of every suite at every point of the matrix on every server. Fails if one of them has an error.
pub fn plans(wanted: &Wanted<'_>) -> Result<Vec<Plan>, Trouble> {
    let Wanted { suites, servers, matrix, overrides, seed } = *wanted;
    batch::plans(suites, (servers, matrix), overrides.to.as_deref(), &overrides.sets, seed).map_err(Trouble::usage)
}

/// Finds or fetches each server of the plans once.
pub fn servers(plans: &[Plan]) -> Result<BTreeMap<String, Server>, Trouble> {
    batch::servers(plans, &|notice| say(notice)).map_err(no_server)
}

/// A request for an unknown server is a usage error. A server that cannot be fetched is not.
fn no_server(error: ServerError) -> Trouble {
    match error {
        ServerError::Asked { .. } | ServerError::Binary { .. } | ServerError::Unknown { .. } => Trouble::usage(error),
        ServerError::Fetch { .. } | ServerError::Cache { .. } | ServerError::NoCache => Trouble::unavailable(error),
    }
}
