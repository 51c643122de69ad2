//! Where runs take place: in the sandbox, outside of it, or in containers; and what can be done there.

#[cfg(feature = "docker")]
use slotquake::cluster::docker::Engine;
use slotquake::network::{Network, netem};
use slotquake::plan::Plan;
use slotquake::run::Place;
use slotquake::sandbox::{Entered, Mode, enter};

use super::exit::Trouble;

const UNASKED: &str = "no suite asked for it";

/// Where runs take place. A plan needs capabilities, a place has them or says why not.
pub struct Ground {
    /// What runs the nodes.
    pub place: Place,
    /// Whether links can be cut, or why not, with a hint.
    links: Result<(), String>,
    /// Whether packets can be delayed, or why not, with a hint.
    delays: Result<(), String>,
}

/// What is needed of a place beside nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Links that can be cut.
    pub links: bool,
    /// Packets that can be delayed.
    pub delays: bool,
}

impl Needs {
    /// Of any of the plans.
    pub fn of(plans: &[Plan]) -> Self {
        Self { links: plans.iter().any(Plan::needs_network_faults), delays: plans.iter().any(Plan::needs_netem) }
    }
}

impl Ground {
    /// Processes of this machine: enters the sandbox as `mode` says, and tries what is needed.
    /// Inside, it returns in another process; call it while there is one thread.
    pub fn take(mode: Mode, needs: Needs) -> Result<Self, Trouble> {
        let inside = match enter(mode).map_err(Trouble::harness)? {
            Entered::Inside(inside) => inside,
            Entered::No { reason, hint } => {
                let why = format!("no sandbox: {reason} (hint: {hint})");
                let place = Place::Local { scratch: None, network: None };
                return Ok(Self { place, links: Err(why.clone()), delays: Err(why) });
            }
        };
        // nft and tc are not run where nobody would miss them.
        let network = if needs.links {
            Network::open(&inside).map_err(|error| error.to_string())
        } else {
            Err(UNASKED.to_owned())
        };
        let delays = if needs.delays {
            netem::detect(&inside).map_err(|error| error.to_string())
        } else {
            Err(UNASKED.to_owned())
        };
        match &network {
            Err(error) if mode == Mode::Require && needs.links => {
                Err(Trouble::harness(format!("no network faults: {error}")))
            }
            _ => {
                let links = network.as_ref().map(|_| ()).map_err(Clone::clone);
                let place = Place::Local { scratch: Some(inside.scratch().to_owned()), network: network.ok() };
                Ok(Self { place, links, delays })
            }
        }
    }

    /// Containers of an engine.
    #[cfg(feature = "docker")]
    pub async fn containers(engine: Engine, plans: &[Plan]) -> Self {
        let links = if plans.iter().any(Plan::needs_network_faults) {
            engine.network_obstacle().await.map_or(Ok(()), Err)
        } else {
            Err(UNASKED.to_owned())
        };
        let delays = Err("packets cannot be delayed in containers yet (hint: use --backend local)".to_owned());
        Self { place: Place::Docker(engine), links, delays }
    }

    /// Why what is needed is not to be had here, with a hint.
    pub fn obstacle(&self, needs: Needs) -> Option<&str> {
        let links = self.links.as_ref().err().filter(|_| needs.links);
        let delays = self.delays.as_ref().err().filter(|_| needs.delays);
        links.or(delays).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use slotquake::suite::{self, Step};

    use super::*;

    #[test]
    fn only_what_a_plan_needs_keeps_it_from_running() {
        let plan = |steps: &str| {
            let mut plan = Plan::new(&suite::load("formation").expect("a suite"), 1).expect("a plan");
            plan.steps = serde_json::from_str::<Vec<Step>>(steps).expect("steps");
            plan
        };
        let plain = plan(r#"[{"settle": "1s"}]"#);
        let cut = plan(r#"[{"partition": {"between": ["node-1", "others"]}}]"#);
        let slow = plan(r#"[{"slow": {"between": ["node-1", "others"], "latency": "10ms"}}]"#);
        let place = Place::Local { scratch: None, network: None };
        let ground = Ground { place, links: Err("no nft".to_owned()), delays: Err("no netem".to_owned()) };
        let obstacles = [plain, cut, slow].map(|plan| ground.obstacle(Needs::of(&[plan])));
        assert_eq!(obstacles, [None, Some("no nft"), Some("no nft")]);
    }
}
