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
        let inside = match enter(mode).map_err(Trouble::harness)? {
            Entered::Inside(inside) => inside,
            Entered::No { reason, hint } => {
                let why = format!("no sandbox: {reason} (hint: {hint})");
                return Ok(Self { scratch: None, network: Err(why.clone()), delays: Err(why) });
            }
        };
        // nft and tc are not run for plans that do not need them: nobody would miss them.
        let asked = |needs: fn(&Plan) -> bool| plans.iter().any(needs);
        let network = match asked(Plan::needs_network_faults) {
            true => Network::open(&inside).map_err(|error| error.to_string()),
            false => Err("no suite asked for it".to_owned()),
        };
        let delays = match asked(Plan::needs_netem) {
            true => netem::detect(&inside).map_err(|error| error.to_string()),
            false => Err("no suite asked for it".to_owned()),
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
