//! What the subcommands need of the docker backend; `no_containers` is there in its place where the
//! feature `docker` is left out.

use std::collections::BTreeMap;

use slotquake::batch::Ground;
use slotquake::cluster::Reach;
use slotquake::cluster::attach::{ComposeProject, ServerAccessSettings};
use slotquake::cluster::containers::{Collected, DockerError, Engine};
use slotquake::plan::Plan;
use slotquake::run::Place;
use slotquake::server::Server;
use tokio::runtime::Runtime;

use super::exit::{Exit, Trouble};
use super::runtime::{listening, runtime};
use super::screen;
use super::signals::Signals;

/// Reaches the engine, tidies up there, and finds what the plans need. The images, of servers and of sidecars, are
/// None for the usual ones.
pub fn take(
    (image, netfault_image): (Option<String>, Option<String>),
    reach: Reach,
    plans: &[Plan],
) -> Result<(BTreeMap<String, Server>, Ground, Runtime, Signals), Trouble> {
    let (runtime, mut signals) = listening()?;
    let ended =
        |name: &str| Trouble { exit: Exit::Interrupted, message: format!("{name} ended it before anything was run") };
    let (servers, ground) = runtime.block_on(async {
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
    Ok((servers, ground, runtime, signals))
}

/// The way to servers that are containers of a Compose project.
pub fn compose(
    project: &str,
    netfault_image: Option<String>,
    runtime: &Runtime,
) -> Result<ServerAccessSettings, Trouble> {
    let engine = runtime.block_on(Engine::connect(None, netfault_image));
    let engine = engine.and_then(|engine| engine.reached_by(Reach::Address)).map_err(|error| trouble(&error))?;
    Ok(ServerAccessSettings::Compose(ComposeProject { engine, name: project.to_owned() }))
}

/// Removes what this process left: of a run that panicked something may be there, and of one that said so.
pub fn collect_own(place: &Place, runtime: &Runtime) {
    let Place::Docker(engine) = place else { return };
    match runtime.block_on(engine.collect_own()) {
        Ok(collected) => tell(&collected, "removed what runs left"),
        Err(error) => screen::say(&error.to_string()),
    }
}

/// Removes what dead runs left, and says what.
pub fn collect_dead() -> Result<Exit, Trouble> {
    let runtime = runtime()?;
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
    match collected.leftover() {
        Some(leftover) if !collected.failed.is_empty() => Err(Trouble::harness(leftover)),
        // Nobody can do more about what the engine lost.
        Some(leftover) => screen::print(&leftover).map(|()| Exit::Pass),
        None => Ok(Exit::Pass),
    }
}

/// Tidies up, and finds what the plans need.
async fn find(engine: &Engine, plans: &[Plan]) -> Result<(BTreeMap<String, Server>, Ground), DockerError> {
    let collected = engine.collect_dead().await?;
    tell(&collected, "removed what dead runs left");
    let mut servers = BTreeMap::new();
    for plan in plans {
        if !servers.contains_key(&plan.server) {
            let server = engine.server(&plan.server, &|notice| screen::say(notice)).await?;
            servers.insert(plan.server.clone(), server);
        }
    }
    Ok((servers, Ground::containers(engine.clone(), plans).await))
}

fn tell(collected: &Collected, removed: &str) {
    if !collected.is_empty() {
        screen::say(&format!("{removed}: {collected}"));
    }
    if let Some(leftover) = collected.leftover() {
        screen::say(&leftover);
    }
}

/// What was asked for wrongly is the user's to mend.
fn trouble(error: &DockerError) -> Trouble {
    match error {
        DockerError::Asked { .. } | DockerError::Image { .. } | DockerError::TooMany { .. } => Trouble::usage(error),
        _ => Trouble::harness(error),
    }
}
