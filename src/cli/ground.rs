//! Where runs take place, in the sandbox or outside, and what can be done there.

use std::path::PathBuf;

use slotquake::network::{Network, netem};
use slotquake::plan::Plan;
use slotquake::sandbox::{Entered, Mode, enter};

use super::exit::Trouble;

/// Where runs take place.
pub struct Ground {
    /// Where data directories go; None for the system's temporary directory.
    pub scratch: Option<PathBuf>,
    /// The network whose links can be cut, or why there is none, with a hint.
    network: Result<Network, String>,
    /// Whether packets can be delayed, or why not, with a hint.
    delays: Result<(), String>,
}

impl Ground {
    /// Enters the sandbox as `mode` says, and tries what the plans need. Inside, it returns in another
    /// process; call it while there is one thread.
    pub fn take(mode: Mode, plans: &[Plan]) -> Result<Self, Trouble> {
        const UNASKED: &str = "no suite asked for it";
        let inside = match enter(mode).map_err(Trouble::harness)? {
            Entered::Inside(inside) => inside,
            Entered::No { reason, hint } => {
                let why = format!("no sandbox: {reason} (hint: {hint})");
                return Ok(Self { scratch: None, network: Err(why.clone()), delays: Err(why) });
            }
        };
        // nft and tc are not run for plans that do not need them: nobody would miss them.
        let asked = |needs: fn(&Plan) -> bool| plans.iter().any(needs);
        let network = if asked(Plan::needs_network_faults) {
            Network::open(&inside).map_err(|error| error.to_string())
        } else {
            Err(UNASKED.to_owned())
        };
        let delays = if asked(Plan::needs_netem) {
            netem::detect(&inside).map_err(|error| error.to_string())
        } else {
            Err(UNASKED.to_owned())
        };
        match &network {
            Err(error) if mode == Mode::Require && asked(Plan::needs_network_faults) => {
                Err(Trouble::harness(format!("no network faults: {error}")))
            }
            _ => Ok(Self { scratch: Some(inside.scratch().to_owned()), network, delays }),
        }
    }

    /// Why a plan cannot be run here, with a hint.
    pub fn obstacle(&self, plan: &Plan) -> Option<&str> {
        let network = self.network.as_ref().err().filter(|_| plan.needs_network_faults());
        let delays = self.delays.as_ref().err().filter(|_| plan.needs_netem());
        network.or(delays).map(String::as_str)
    }

    /// The network whose links can be cut, if there is one.
    pub fn network(&self) -> Option<Network> {
        self.network.as_ref().ok().cloned()
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
        let ground = Ground { scratch: None, network: Err("no nft".to_owned()), delays: Err("no netem".to_owned()) };
        let obstacles = [&plain, &cut, &slow].map(|plan| ground.obstacle(plan));
        assert_eq!(obstacles, [None, Some("no nft"), Some("no nft")]);
    }
}
