//! Where runs take place, and which of their plans' needs are met there.

use std::collections::{BTreeMap, BTreeSet};

use super::Fitted;
use crate::cluster::NO_LOGS;
use crate::cluster::attach::{Attach, AttachError};
use crate::cluster::docker::Engine;
use crate::cluster::local::address_obstacle;
use crate::network::{Network, netem};
use crate::plan::{Need, Plan};
use crate::run::BackendSettings;
use crate::sandbox::{self, Entered, Inside, Mode, SandboxError, visit};
use crate::server::Server;
use crate::speed;
use crate::suite::Step;

/// Why no suite can run.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EnvironmentError {
    /// The sandbox could not be entered.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// `require` was given, and links cannot be cut in the sandbox.
    #[error("no network faults: {0}")]
    Links(String),
    /// A suite is not allowed on an attached cluster.
    #[error("{0}")]
    Refused(String),
    /// The attached cluster could not be queried.
    #[error(transparent)]
    Attach(#[from] AttachError),
}

/// A suite by name, with the values that a matrix gave it.
type Variant = (String, BTreeMap<String, String>);

fn variant(plan: &Plan) -> Variant {
    (plan.name.clone(), plan.matrix.clone())
}

/// The environment of runs: a backend, and the reasons why it does not meet some needs of plans.
#[derive(Debug, Clone)]
pub struct Environment {
    /// What runs the nodes.
    pub backend: BackendSettings,
    /// The needs that it does not meet, each with the reason and a hint. Needs that no plan has may be missing.
    lacks: BTreeMap<Need, String>,
    /// The suites, by name and values of a matrix, that an attached cluster does not fit, and why.
    unfit: BTreeMap<Variant, String>,
    /// The servers, by name, for which a need is not met because the library cannot be loaded into them, and why.
    without_library: BTreeMap<(Need, String), String>,
}

impl Environment {
    /// Runs nodes as processes of this machine. Enters the sandbox according to `mode`, and tests what the plans need.
    /// If it enters, it returns in another process; call it while there is one thread (see [`sandbox::enter`]).
    pub fn enter(mode: Mode, plans: &[Plan]) -> Result<Self, EnvironmentError> {
        match sandbox::enter(mode)? {
            Entered::Inside(inside) => Self::inside(&inside, mode, plans),
            Entered::No { reason, hint } => Ok(Self::without_sandbox(&no_sandbox(&reason, &hint))),
        }
    }

    /// Why each of the plans could not run after [`Self::enter`]; None for those that could. Tests this in another
    /// process; call it while there is one thread.
    pub fn survey(mode: Mode, plans: &[Plan]) -> Vec<Option<String>> {
        let obstacles = |environment: Self| -> Vec<Option<String>> {
            plans.iter().map(|plan| environment.obstacle(plan).map(str::to_owned)).collect()
        };
        let all = |why: &str| obstacles(Self::without_sandbox(why));
        if mode == Mode::Off {
            return obstacles(Self::outside());
        }
        let said = visit(|inside| {
            // `enter` reports what is required and missing.
            let found = Self::inside(inside, Mode::Auto, plans).map_or_else(|error| all(&error.to_string()), obstacles);
            serde_json::to_string(&found).expect("texts")
        });
        match said {
            Ok(said) => serde_json::from_str(&said).unwrap_or_else(|error| all(&error.to_string())),
            Err(SandboxError::Refused { reason, hint }) => all(&no_sandbox(&reason, &hint)),
            Err(error) => all(&error.to_string()),
        }
    }

    fn inside(inside: &Inside, mode: Mode, plans: &[Plan]) -> Result<Self, EnvironmentError> {
        // A machine without nft and tc can still run plans that do not need them.
        let asked = |need: Need| plans.iter().any(|plan| plan.needs_to(need));
        let mut lacks = BTreeMap::new();
        let mut network = None;
        if asked(Need::Links) || asked(Need::Isolate) {
            match Network::open(inside) {
                Ok(open) => network = Some(open),
                Err(error) if mode == Mode::Require => {
                    return Err(EnvironmentError::Links(error.to_string()));
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
            backend: BackendSettings::Local { scratch: Some(inside.scratch().to_owned()), network },
            lacks: of_processes(lacks),
            unfit: BTreeMap::new(),
            without_library: BTreeMap::new(),
        })
    }

    /// Runs nodes as processes of this machine, outside the sandbox.
    pub fn outside() -> Self {
        Self::without_sandbox("no sandbox was entered (hint: call `Environment::enter` while there is one thread)")
    }

    fn without_sandbox(why: &str) -> Self {
        let lacks = [Need::Isolate, Need::Links, Need::Delays].map(|need| (need, why.to_owned())).into();
        let lacks = of_processes(lacks);
        Self {
            backend: BackendSettings::Local { scratch: None, network: None },
            lacks,
            unfit: BTreeMap::new(),
            without_library: BTreeMap::new(),
        }
    }

    /// Runs nodes as containers of an engine. If links cannot be cut, a node can still be disconnected from its network.
    /// The servers are those of the plans, by their names there.
    pub async fn containers(engine: Engine, plans: &[Plan], servers: &BTreeMap<String, Server>) -> Self {
        let delays = "packets cannot be delayed in containers yet (hint: use `--backend local`)".to_owned();
        let mut lacks = BTreeMap::from([(Need::Delays, delays), (Need::Logs, NO_LOGS.to_owned())]);
        lacks.extend(engine.files_obstacle().map(|why| (Need::Damage, why)));
        lacks.extend(engine.addresses_obstacle().map(|why| (Need::NewAddress, why)));
        let mut without_library = BTreeMap::new();
        for need in [Need::Clocks, Need::Disks, Need::PowerLoss] {
            let asking = plans.iter().filter(|plan| plan.needs_to(need)).flat_map(Plan::servers);
            for name in asking.collect::<BTreeSet<_>>() {
                let why = match servers.get(name) {
                    None => None,
                    Some(server) => engine.library_obstacle(server, need).await,
                };
                without_library.extend(why.map(|why| ((need, name.to_owned()), why)));
            }
        }
        let image = engine.given_image();
        let unfit = plans.iter().filter_map(|plan| Some((variant(plan), same_image(plan, image?)?))).collect();
        if plans.iter().any(|plan| plan.needs_to(Need::Links))
            && let Some(why) = engine.network_obstacle().await
        {
            lacks.insert(Need::Links, why);
        }
        if let Some(why) = engine.clients_obstacle() {
            // A node cannot be isolated from clients that cannot be told apart.
            lacks.extend([Need::Isolate, Need::Clients].map(|need| (need, why.clone())));
        }
        Self { backend: BackendSettings::Docker(engine), lacks, unfit, without_library }
    }

    /// Uses a cluster that is already running. The error names a plan that is not allowed there.
    pub async fn attached(attach: Attach, plans: &[Fitted]) -> Result<Self, EnvironmentError> {
        let mut unfit = BTreeMap::new();
        for fitted in plans {
            let why = match (&fitted.unfit, attach.refusal(&fitted.plan)) {
                (Some(why), _) => Some(why.clone()),
                (None, Some(refusal)) => return Err(EnvironmentError::Refused(refusal)),
                (None, None) => attach.obstacle(&fitted.plan).await?,
            };
            unfit.extend(why.map(|why| (variant(&fitted.plan), why)));
        }
        let lacks = attach.lacks();
        Ok(Self { backend: BackendSettings::Attach(attach), lacks, unfit, without_library: BTreeMap::new() })
    }

    /// Why a plan cannot run here, with a hint.
    pub fn obstacle(&self, plan: &Plan) -> Option<&str> {
        let lacking = || plan.needs().iter().find_map(|&need| self.lack(need, plan));
        self.unfit.get(&variant(plan)).map(String::as_str).or_else(lacking)
    }

    /// Checks that a step is possible here on a cluster of that plan, which is up already. The error says why not, with a
    /// hint.
    pub fn admit(&self, step: &Step, plan: &Plan) -> Result<(), String> {
        let alone = Plan { steps: vec![step.clone()], ..plan.clone() };
        if let Some(reason) = self.obstacle(&alone) {
            return Err(reason.to_owned());
        }
        match alone.only_in_real_time().filter(|_| !speed::current().is_real()) {
            Some(reason) => Err(format!(
                "not possible at speed {}: {reason} (hint: start the cluster without `--speed`)",
                speed::current()
            )),
            None => Ok(()),
        }
    }

    /// Why a need cannot be met here for a plan, with a hint; None if it can.
    pub fn lack(&self, need: Need, plan: &Plan) -> Option<&str> {
        let of_server =
            || plan.servers().into_iter().find_map(|server| self.without_library.get(&(need, server.to_owned())));
        let lacking = match need {
            Need::Clocks | Need::Disks | Need::PowerLoss => self.lacks.get(&need).or_else(of_server),
            Need::Stop
            | Need::Kill
            | Need::Start
            | Need::Change
            | Need::NewAddress
            | Need::Logs
            | Need::Damage
            | Need::Freeze
            | Need::Isolate
            | Need::Links
            | Need::Impairments
            | Need::Loss
            | Need::Delays
            | Need::Clients => self.lacks.get(&need),
        };
        lacking.map(String::as_str)
    }
}

/// The lacks of processes of this machine, whose clocks and disks cannot be changed without the library, and which may have
/// no addresses of their own.
fn of_processes(mut lacks: BTreeMap<Need, String>) -> BTreeMap<Need, String> {
    if let Some(why) = speed::obstacle() {
        lacks.extend([Need::Clocks, Need::Disks, Need::PowerLoss].map(|need| (need, why.clone())));
    }
    lacks.extend(address_obstacle().map(|why| (Need::NewAddress, why.to_owned())));
    lacks
}

/// Why a plan that starts another server is pointless if all servers have one image.
fn same_image(plan: &Plan, image: &str) -> Option<String> {
    let [_, other, ..] = plan.servers()[..] else { return None };
    Some(format!(
        "a step starts {other}, but `--image` gives every server the image `{image}` (hint: leave it out, and name images in \
         the suite or with `--server` and `--to`)"
    ))
}

fn no_sandbox(reason: &str, hint: &str) -> String {
    format!("no sandbox: {reason} (hint: {hint})")
}

#[cfg(test)]
mod tests {
    use crate::suite;

    use super::*;

    #[test]
    fn a_plan_is_stopped_only_by_its_own_needs() {
        let plan = |steps: &str| {
            let mut plan = Plan::new(&suite::load("formation").expect("a suite"), 1).expect("a plan");
            plan.steps = serde_json::from_str::<Vec<Step>>(steps).expect("steps");
            plan
        };
        let plain = plan(r#"[{"settle": "1s"}]"#);
        let alone = plan(r#"[{"partition": {"between": ["node-1", "others"]}}]"#);
        let cut = plan(r#"[{"partition": {"between": ["node-1", "node-2"]}}]"#);
        let slow = plan(r#"[{"slow": {"between": ["node-1", "others"], "latency": "10ms"}}]"#);
        let backend = BackendSettings::Local { scratch: None, network: None };
        let lacks = [(Need::Links, "no nft".to_owned()), (Need::Delays, "no netem".to_owned())].into();
        let environment = Environment { backend, lacks, unfit: BTreeMap::new(), without_library: BTreeMap::new() };
        let obstacles = [&plain, &alone, &cut, &slow].map(|plan| environment.obstacle(plan));
        assert_eq!(obstacles, [None, None, Some("no nft"), Some("no nft")]);
    }
}
