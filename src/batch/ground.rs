//! Where runs take place: in the sandbox, outside of it, or in containers; and what can be done there.

use std::collections::BTreeMap;

use super::Fitted;
use crate::cluster::attach::{Attach, AttachError};
#[cfg(feature = "docker")]
use crate::cluster::containers::Engine;
use crate::network::{Network, netem};
use crate::plan::{Need, Plan};
use crate::run::Place;
use crate::sandbox::{Entered, Inside, Mode, SandboxError, enter, visit};

/// Why there is no ground to run on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GroundError {
    /// The sandbox could not be entered.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// Links cannot be cut in the sandbox, and everything was required.
    #[error("no network faults: {0}")]
    Links(String),
    /// A suite must not be run on a cluster that is not ours.
    #[error("{0}")]
    Refused(String),
    /// That cluster could not be asked.
    #[error(transparent)]
    Attach(#[from] AttachError),
}

/// Where runs take place. A plan has needs, and a place meets them or says why not.
#[derive(Debug, Clone)]
pub struct Ground {
    /// What runs the nodes.
    pub place: Place,
    /// What cannot be done here, and why, with a hint. Of what no plan needs nothing is said.
    lacks: BTreeMap<Need, String>,
    /// Suites, by name, that the place is not as they want it to be for, and why.
    unfit: BTreeMap<String, String>,
}

impl Ground {
    /// Processes of this machine: enters the sandbox as `mode` says, and tries what the plans need.
    /// Inside, it returns in another process; call it while there is one thread (see [`enter`]).
    pub fn take(mode: Mode, plans: &[Plan]) -> Result<Self, GroundError> {
        match enter(mode)? {
            Entered::Inside(inside) => Self::inside(&inside, mode, plans),
            Entered::No { reason, hint } => Ok(Self::without_sandbox(&no_sandbox(&reason, &hint))),
        }
    }

    /// Why each of the plans could not be run after [`Self::take`]; None for those that could. It tries in
    /// another process; call it while there is one thread.
    pub fn survey(mode: Mode, plans: &[Plan]) -> Vec<Option<String>> {
        let obstacles = |ground: Self| -> Vec<Option<String>> {
            plans.iter().map(|plan| ground.obstacle(plan).map(str::to_owned)).collect()
        };
        let all = |why: &str| obstacles(Self::without_sandbox(why));
        if mode == Mode::Off {
            return obstacles(Self::outside());
        }
        let said = visit(|inside| {
            // That something is required is for `take` to say.
            let found = Self::inside(inside, Mode::Auto, plans).map_or_else(|error| all(&error.to_string()), obstacles);
            serde_json::to_string(&found).expect("texts")
        });
        match said {
            Ok(said) => serde_json::from_str(&said).unwrap_or_else(|error| all(&error.to_string())),
            Err(SandboxError::Refused { reason, hint }) => all(&no_sandbox(&reason, &hint)),
            Err(error) => all(&error.to_string()),
        }
    }

    fn inside(inside: &Inside, mode: Mode, plans: &[Plan]) -> Result<Self, GroundError> {
        // nft and tc are not run for plans that do not need them: nobody would miss them.
        let asked = |need: Need| plans.iter().any(|plan| plan.needs_to(need));
        let mut lacks = BTreeMap::new();
        let mut network = None;
        if asked(Need::Links) || asked(Need::Isolate) {
            match Network::open(inside) {
                Ok(open) => network = Some(open),
                Err(error) if mode == Mode::Require => {
                    return Err(GroundError::Links(error.to_string()));
                }
                Err(error) => lacks.extend([Need::Isolate, Need::Links].map(|need| (need, error.to_string()))),
            }
        }
        if asked(Need::Delays)
            && let Err(error) = netem::detect(inside)
        {
            lacks.insert(Need::Delays, error.to_string());
        }
        Ok(Self {
            place: Place::Local { scratch: Some(inside.scratch().to_owned()), network },
            lacks,
            unfit: BTreeMap::new(),
        })
    }

    /// Processes of this machine, outside of the sandbox.
    pub fn outside() -> Self {
        Self::without_sandbox("no sandbox was entered (hint: `Ground::take`, while there is one thread)")
    }

    fn without_sandbox(why: &str) -> Self {
        let lacks = [Need::Isolate, Need::Links, Need::Delays].map(|need| (need, why.to_owned())).into();
        Self { place: Place::Local { scratch: None, network: None }, lacks, unfit: BTreeMap::new() }
    }

    /// Containers of an engine. Without rules a node can still be taken off its network.
    #[cfg(feature = "docker")]
    pub async fn containers(engine: Engine, plans: &[Plan]) -> Self {
        let delays = "packets cannot be delayed in containers yet (hint: use --backend local)".to_owned();
        let mut lacks = BTreeMap::from([(Need::Delays, delays)]);
        if plans.iter().any(|plan| plan.needs_to(Need::Links))
            && let Some(why) = engine.network_obstacle().await
        {
            lacks.insert(Need::Links, why);
        }
        if let Some(why) = engine.clients_obstacle() {
            // Nor can a node be cut off from them.
            lacks.extend([Need::Isolate, Need::Clients].map(|need| (need, why.clone())));
        }
        Self { place: Place::Docker(engine), lacks, unfit: BTreeMap::new() }
    }

    /// A cluster that somebody else started. The error says which plan must not be run there.
    pub async fn attached(attach: Attach, plans: &[Fitted]) -> Result<Self, GroundError> {
        let mut unfit = BTreeMap::new();
        for fitted in plans {
            let why = match (&fitted.unfit, attach.refusal(&fitted.plan)) {
                (Some(why), _) => Some(why.clone()),
                (None, Some(refusal)) => return Err(GroundError::Refused(refusal)),
                (None, None) => attach.obstacle(&fitted.plan).await?,
            };
            unfit.extend(why.map(|why| (fitted.plan.name.clone(), why)));
        }
        let lacks = attach.lacks();
        Ok(Self { place: Place::Attach(attach), lacks, unfit })
    }

    /// Why a plan cannot be run here, with a hint.
    pub fn obstacle(&self, plan: &Plan) -> Option<&str> {
        let lacking = plan.needs().iter().find_map(|need| self.lacks.get(need));
        self.unfit.get(&plan.name).or(lacking).map(String::as_str)
    }
}

fn no_sandbox(reason: &str, hint: &str) -> String {
    format!("no sandbox: {reason} (hint: {hint})")
}

#[cfg(test)]
mod tests {
    use crate::suite::{self, Step};

    use super::*;

    #[test]
    fn only_what_a_plan_needs_keeps_it_from_running() {
        let plan = |steps: &str| {
            let mut plan = Plan::new(&suite::load("formation").expect("a suite"), 1).expect("a plan");
            plan.steps = serde_json::from_str::<Vec<Step>>(steps).expect("steps");
            plan
        };
        let plain = plan(r#"[{"settle": "1s"}]"#);
        let alone = plan(r#"[{"partition": {"between": ["node-1", "others"]}}]"#);
        let cut = plan(r#"[{"partition": {"between": ["node-1", "node-2"]}}]"#);
        let slow = plan(r#"[{"slow": {"between": ["node-1", "others"], "latency": "10ms"}}]"#);
        let place = Place::Local { scratch: None, network: None };
        let lacks = [(Need::Links, "no nft".to_owned()), (Need::Delays, "no netem".to_owned())].into();
        let ground = Ground { place, lacks, unfit: BTreeMap::new() };
        let obstacles = [&plain, &alone, &cut, &slow].map(|plan| ground.obstacle(plan));
        assert_eq!(obstacles, [None, None, Some("no nft"), Some("no nft")]);
    }
}
