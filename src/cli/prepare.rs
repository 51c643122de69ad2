//! What must be right before any cluster boots: every suite reads, every plan is possible, every
//! server is there.

use std::collections::BTreeMap;

use clap::Args;
use slotquake::plan::Plan;
use slotquake::server::{self, Server, ServerError};
use slotquake::suite::{LoadError, Source};

use super::exit::Trouble;
use super::screen::say;

/// The arguments that change what a suite says.
#[derive(Debug, Args)]
pub struct Overrides {
    /// Override a value of the suite, such as `cluster.config.cluster-node-timeout=1000`; may be repeated
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub sets: Vec<String>,
    /// Draw random choices from this seed; without it one is drawn, shown and recorded
    #[arg(long)]
    pub seed: Option<u64>,
}

impl Overrides {
    /// The seed given, or one drawn now.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(drawn_seed)
    }
}

/// A seed that nobody chose. The hasher's keys are the random numbers that std has; 32 bits are short
/// enough to type and exact in every reader of JSON.
pub fn drawn_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one("seed") >> 32
}

/// Loads a suite, applies overrides, the server's last, and resolves it; the error says everything
/// that is wrong, and where.
pub fn plan(suite: &str, server: Option<&str>, sets: &[String], seed: u64) -> Result<Plan, LoadError> {
    let mut source = Source::load(suite)?;
    for assignment in sets {
        source.set(assignment)?;
    }
    if let Some(server) = server {
        server.clone_into(&mut source.suite.cluster.server);
    }
    Plan::from_source(&source, seed)
}

/// The plan of every suite on every server. An error in any of them is an error of all.
pub fn plans(suites: &[String], servers: &[String], overrides: &Overrides, seed: u64) -> Result<Vec<Plan>, Trouble> {
    let servers: Vec<Option<&str>> =
        if servers.is_empty() { vec![None] } else { servers.iter().map(|server| Some(server.as_str())).collect() };
    let mut plans = Vec::new();
    let mut errors: Vec<LoadError> = Vec::new();
    for suite in suites {
        for &server in &servers {
            match plan(suite, server, &overrides.sets, seed) {
                Ok(plan) => plans.push(plan),
                // What is wrong on one server is mostly wrong on the others too.
                Err(error) if errors.contains(&error) => {}
                Err(error) => errors.push(error),
            }
        }
    }
    if errors.is_empty() {
        return Ok(plans);
    }
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    Err(Trouble::usage(texts.join("\n\n")))
}

/// Finds, or fetches, each server that the plans ask for, once.
pub fn servers(plans: &[Plan]) -> Result<BTreeMap<String, Server>, Trouble> {
    let mut found = BTreeMap::new();
    for plan in plans {
        if !found.contains_key(&plan.server) {
            let server = server::find(&plan.server, &|notice| say(notice)).map_err(no_server)?;
            found.insert(plan.server.clone(), server);
        }
    }
    Ok(found)
}

/// A server that was asked for wrongly is the user's to mend; one that cannot be had is not.
fn no_server(error: ServerError) -> Trouble {
    match error {
        ServerError::Asked { .. } | ServerError::Binary { .. } | ServerError::Unknown { .. } => Trouble::usage(error),
        ServerError::Fetch { .. } | ServerError::Cache { .. } | ServerError::NoCache => Trouble::harness(error),
    }
}
