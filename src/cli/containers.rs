//! What the subcommands need from the docker backend.

use std::collections::BTreeMap;

use slotquake::batch::Environment;
use slotquake::cluster::Reach;
use slotquake::cluster::attach::{ComposeProject, ServerAccessSettings};
use slotquake::cluster::docker::{self, Collected, DockerError, Engine};
use slotquake::plan::Plan;
use slotquake::run::BackendSettings;
use slotquake::server::Server;
use slotquake_judge::words::count;
use tokio::runtime::Runtime;

use super::exit::{Exit, Trouble};
use super::runtime::{listening, runtime};
use super::screen;
use super::signals::Signals;

/// Connects to the engine, removes what dead runs left there, and finds the servers of the plans. The images, of servers
/// and of sidecars, are None for the default ones.
pub fn take(
    (image, netfault_image): (Option<String>, Option<String>),
    reach: Reach,
    plans: &[Plan],
) -> Result<(BTreeMap<String, Server>, Environment, Runtime, Signals), Trouble> {
    let (runtime, mut signals) = listening()?;
    let ended = |name: &str| Trouble {
        exit: Exit::Interrupted,
        message: format!("interrupted by {name} before the first run"),
    };
    let (servers, environment) = runtime.block_on(async {
        let engine = tokio::select! {
            engine = Engine::connect(image, netfault_image) => engine.map_err(|error| trouble(&error))?,
            name = signals.next() => return Err(ended(name)),
        };
        let engine = engine.reached_by(reach).map_err(|error| trouble(&error))?;
        tokio::select! {
            found = find(&engine, plans) => found.map_err(|error| trouble(&error)),
            name = signals.next() => {
                if let Some(left) = engine.collect_own().await.map_err(|error| trouble(&error))?.leftover() {
                    return Err(Trouble::harness(left));
                }
                Err(ended(name))
            }
        }
    })?;
    Ok((servers, environment, runtime, signals))
}

/// The access to servers that are containers of a Compose project.
pub fn compose(
    project: &str,
    netfault_image: Option<String>,
    runtime: &Runtime,
) -> Result<ServerAccessSettings, Trouble> {
    let engine = runtime.block_on(Engine::connect(None, netfault_image));
    let engine = engine.and_then(|engine| engine.reached_by(Reach::Address)).map_err(|error| trouble(&error))?;
    Ok(ServerAccessSettings::Compose(ComposeProject { engine, name: project.to_owned() }))
}

/// Removes what runs of this process left in the engine, for example after a panic.
pub fn collect_own(backend: &BackendSettings, runtime: &Runtime) {
    let BackendSettings::Docker(engine) = backend else { return };
    match runtime.block_on(engine.collect_own()) {
        Ok(collected) => tell(&collected, "removed what the runs left"),
        Err(error) => screen::say(&error.to_string()),
    }
}

/// Removes what dead runs left in the engine, and lists it.
pub fn collect_dead() -> Result<Exit, Trouble> {
    if !docker::IS_BUILT_IN {
        screen::print("no containers were looked for, because this program was built without support for them")?;
        return Ok(Exit::Pass);
    }
    let runtime = runtime()?;
    let collected = runtime
        .block_on(async { Engine::connect(None, None).await?.collect_dead().await })
        .map_err(|error| trouble(&error))?;
    screen::print(&format!("removed {collected}"))?;
    for name in collected.containers.iter().chain(&collected.networks).chain(&collected.volumes) {
        screen::print(&format!("  {name}"))?;
    }
    if !collected.alive.is_empty() {
        screen::print(&format!("left alone: {}", count(collected.alive.len() as u64, "active run")))?;
    }
    if !collected.unknown.is_empty() {
        let runs: Vec<&str> = collected.unknown.iter().map(String::as_str).collect();
        screen::print(&format!(
            "left alone: runs of another system, or from before it restarted: {} (hint: if they are yours, run `docker rm -fv \
             $(docker ps -aq --filter label=slotquake.run=RUN)` and `docker network rm slotquake-RUN`)",
            runs.join(", ")
        ))?;
    }
    match collected.leftover() {
        Some(leftover) if !collected.failed.is_empty() => Err(Trouble::harness(leftover)),
        // Trying again cannot remove what the engine has lost track of.
        Some(leftover) => screen::print(&leftover).map(|()| Exit::Pass),
        None => Ok(Exit::Pass),
    }
}

/// Removes what dead runs left, and finds the servers of the plans.
async fn find(engine: &Engine, plans: &[Plan]) -> Result<(BTreeMap<String, Server>, Environment), DockerError> {
    let collected = engine.collect_dead().await?;
    tell(&collected, "removed what dead runs left");
    let mut servers = BTreeMap::new();
    for plan in plans {
        for name in plan.servers() {
            if !servers.contains_key(name) {
                let server = engine.server(name, &|notice| screen::say(notice)).await?;
                servers.insert(name.to_owned(), server);
            }
        }
    }
    let environment = Environment::containers(engine.clone(), plans, &servers).await;
    Ok((servers, environment))
}

fn tell(collected: &Collected, removed: &str) {
    if !collected.is_empty() {
        screen::say(&format!("{removed}: {collected}"));
    }
    if let Some(leftover) = collected.leftover() {
        screen::say(&leftover);
    }
}

fn trouble(error: &DockerError) -> Trouble {
    if error.is_usage() { Trouble::usage(error) } else { Trouble::unavailable(error) }
}
