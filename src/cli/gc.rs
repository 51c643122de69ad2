//! `slotquake gc`.

use slotquake::cluster::docker::{DockerError, Engine};

use super::exit::{Exit, Trouble};
use super::screen;

/// Remove what dead runs left in the container engine
///
/// Containers, networks and volumes of runs whose harness was killed. What belongs to a run that is
/// under way, to another system, or to anybody else is not touched. Every `slotquake run --backend
/// docker` does the same when it starts.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Removes, and says what.
pub fn main(_args: &Args) -> Result<Exit, Trouble> {
    let runtime = super::run::runtime()?;
    let collected = runtime
        .block_on(async { Engine::connect(None, None).await?.collect_dead().await })
        .map_err(|error| trouble(&error))?;
    screen::print(&format!("removed {collected}"))?;
    for name in collected.containers.iter().chain(&collected.networks).chain(&collected.volumes) {
        screen::print(&format!("  {name}"))?;
    }
    if !collected.alive.is_empty() {
        screen::print(&format!("left alone: {} runs that are under way", collected.alive.len()))?;
    }
    if !collected.unknown.is_empty() {
        let runs: Vec<&str> = collected.unknown.iter().map(String::as_str).collect();
        screen::print(&format!(
            "left alone: runs of another system, or from before its restart: {} (hint: if they are yours, `docker rm -fv \
             $(docker ps -aq --filter label=slotquake.run=RUN)`, and `docker network rm slotquake-RUN`)",
            runs.join(", ")
        ))?;
    }
    if collected.failed.is_empty() {
        return Ok(Exit::Pass);
    }
    Err(Trouble::harness(format!("could not be removed: {}", collected.failed.join("; "))))
}

/// What was asked for wrongly is the user's to mend.
pub fn trouble(error: &DockerError) -> Trouble {
    match error {
        DockerError::Asked { .. } | DockerError::Image { .. } | DockerError::TooMany { .. } => Trouble::usage(error),
        _ => Trouble::harness(error),
    }
}
