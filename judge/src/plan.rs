//! The plan: a suite with its overrides applied and all settings resolved, bounded and explicit. Pure: the
//! same suite, overrides and seed give the same plan.

mod bounds;
mod invariants;
pub mod matrix;
mod needs;
mod network;
mod random;
mod replicas;
mod sides;
mod steps;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::fault::{Action, Means};
use crate::seeded::Seeded;
use crate::slot::{Deal, SLOTS};
use crate::suite::{
    Await, CLUSTER_SERVER, ClusterSpec, IfImpossible, Invariant, LoadError, RoleIs, Source, SpeedSetting, Step, Suite,
    UPGRADE_TO, WorkloadSpec,
};
use crate::target::{Group, Member, Owner, Target};
use crate::units::{Directive, NodeNo, ShardNo, Span, Speed};

pub use crate::fault::Need;

/// Everything that a run does, as far as it is known before a cluster exists. The seed has replaced `any/...` by
/// a shard; other symbolic targets stay, because roles change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// The suite's name.
    pub name: String,
    /// What the suite does, and what the operator expects.
    pub about: String,
    /// Determines `any/...`, and the order of the workload's keys and operations.
    pub seed: u64,
    /// The server that the suite or the command line requests.
    pub server: String,
    /// All nodes, ordered by number.
    pub nodes: Vec<PlannedNode>,
    /// All directives from the suite and the defaults. Options that depend on the server version are added
    /// when a server starts.
    pub config: BTreeMap<String, Directive>,
    /// The workload.
    pub workload: WorkloadSpec,
    /// The steps of the run, in order.
    pub steps: Vec<Step>,
    /// The properties that must hold.
    pub invariants: Vec<Invariant>,
    /// See [`Suite::recover_within`].
    pub recover_within: Span,
    /// See [`Suite::max_duration`].
    pub max_duration: Span,
    /// See [`Suite::if_impossible`].
    #[serde(default, skip_serializing_if = "IfImpossible::is_end")]
    pub if_impossible: IfImpossible,
    /// See [`Suite::speed`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<SpeedSetting>,
    /// The settings that `run --matrix` varied, by path, with their values in this run.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub matrix: BTreeMap<String, String>,
}

/// A node of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedNode {
    /// The number of the node.
    pub node: NodeNo,
    /// The shard of the node at boot.
    pub shard: ShardNo,
    /// The master that the node replicates at boot; None for a master.
    pub replica_of: Option<NodeNo>,
    /// The slots that the node owns at boot, as ranges of first and last slot; empty for a replica.
    #[serde(default, deserialize_with = "ranges_or_one")]
    #[schemars(with = "Option<StoredSlots>")]
    pub slots: Vec<(u16, u16)>,
}

/// The slots of a node as histories and reports store them. Old ones, from when a master had at most one range, have a pair
/// or null.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected slot ranges of first and last slot")]
enum StoredSlots {
    /// Ranges of first and last slot.
    Ranges(Vec<(u16, u16)>),
    /// One range, in old files.
    One((u16, u16)),
}

fn ranges_or_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(u16, u16)>, D::Error> {
    Ok(match Option::deserialize(deserializer)? {
        None => Vec::new(),
        Some(StoredSlots::One(range)) => vec![range],
        Some(StoredSlots::Ranges(ranges)) => ranges,
    })
}

/// The slots of each shard, from the slots of its master. The error says what is wrong with them.
fn deal(nodes: &[PlannedNode]) -> Result<Deal, String> {
    let mut masters: Vec<&PlannedNode> = nodes.iter().filter(|node| node.replica_of.is_none()).collect();
    masters.sort_by_key(|master| master.shard);
    let misnumbered = masters.iter().enumerate().find(|(index, master)| usize::from(master.shard.0) != index + 1);
    if let Some((_, master)) = misnumbered {
        return Err(format!("{} is the master of {}, of {} shards", master.node, master.shard, masters.len()));
    }
    Deal::new(masters.iter().map(|master| &master.slots)).map_err(|error| error.to_string())
}

/// The properties of an existing cluster that replace those of the suite.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The server's name in reports, such as `redis:6.2.14`.
    pub server: String,
    /// All nodes, ordered by number.
    pub nodes: Vec<PlannedNode>,
    /// The current values of directives.
    pub config: BTreeMap<String, Directive>,
}

/// A problem of a suite. `at` is a path such as `steps[3].stop`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {message}")]
pub struct PlanError {
    /// The path of the value in the suite.
    pub at: String,
    /// The problem, with a hint where a fix is known.
    pub message: String,
}

/// The default directives of every node.
const DEFAULT_CONFIG: [(&str, &str); 5] = [
    ("cluster-node-timeout", "5000"),
    ("appendonly", "yes"),
    ("cluster-require-full-coverage", "no"),
    ("cluster-allow-reads-when-down", "yes"),
    ("protected-mode", "no"),
];

impl Plan {
    /// Resolves a suite. All `any/...` targets of a plan mean the same shard, so that a later step can wait for the
    /// stopped node or start it.
    ///
    /// # Errors
    /// All problems of the suite, not only the first one.
    pub fn new(suite: &Suite, seed: u64) -> Result<Self, Vec<PlanError>> {
        Self::resolve(suite, seed, None)
    }

    /// Resolves a suite for an existing cluster, with its nodes, its server and its directives.
    pub fn on_found(suite: &Suite, seed: u64, found: &Found) -> Result<Self, Vec<PlanError>> {
        Self::resolve(suite, seed, Some(found))
    }

    fn resolve(suite: &Suite, seed: u64, found: Option<&Found>) -> Result<Self, Vec<PlanError>> {
        let mut problems = Problems::default();
        bounds::suite(suite, &mut problems);
        bounds::config(&suite.cluster, &mut problems);
        bounds::workload(&suite.workload, &mut problems);
        let phases = steps::phases(suite, &mut problems);
        let shape = match found {
            None => bounds::shape(&suite.cluster, &mut problems),
            Some(found) => Shape::found(found.nodes.clone(), &suite.cluster)
                .map_err(|message| problems.add("cluster", message))
                .ok(),
        };
        if let Some(shape) = &shape {
            steps::check(suite, shape, &mut problems);
            network::check(suite, shape, &mut problems);
            bounds::wait(&suite.workload, shape, &mut problems);
            invariants::check(suite, &phases, shape, &mut problems);
        }
        let Some(shape) = shape.filter(|_| problems.0.is_empty()) else {
            return Err(problems.0);
        };
        let steps = random::expand(&suite.steps, &shape, seed);
        let mut config: BTreeMap<String, Directive> = match found {
            None => DEFAULT_CONFIG.iter().map(|&(name, value)| (name.to_owned(), value.into())).collect(),
            Some(found) => found.config.clone(),
        };
        config.extend(suite.cluster.config.clone());
        let mut plan = Self {
            name: suite.name.clone(),
            about: suite.about.trim().to_owned(),
            seed,
            server: found.map_or_else(|| suite.cluster.server.clone(), |found| found.server.clone()),
            nodes: shape.nodes.clone(),
            config,
            workload: WorkloadSpec { keys: Some(suite.workload.keys()), ..suite.workload.clone() },
            steps,
            invariants: suite.invariants.clone(),
            recover_within: suite.recover_within,
            max_duration: suite.max_duration,
            if_impossible: suite.if_impossible,
            speed: suite.speed,
            matrix: BTreeMap::new(),
        };
        plan.draw(shape.deal.count());
        let upgrade_to = suite.cluster.upgrade_to.as_deref();
        plan.name_servers(upgrade_to).map_err(|problem| vec![problem])?;
        Ok(plan)
    }

    /// Resolves a suite that was read from a file. The error shows every problem with its place in the file.
    pub fn from_source(source: &Source, seed: u64) -> Result<Self, LoadError> {
        Self::new(&source.suite, seed).map_err(|errors| {
            let shown: Vec<String> = errors.iter().map(|error| source.explain(&error.at, &error.message)).collect();
            LoadError(shown.join("\n\n"))
        })
    }

    /// The reason why a target is not exactly one node of this cluster; None if it is.
    pub fn refuse_one(&self, target: &Target) -> Option<String> {
        self.shape().refuse_one(target)
    }

    fn shape(&self) -> Shape {
        Shape::of(self.nodes.clone(), self.deal())
    }

    /// Checks a step that is requested while the cluster runs, by the rules for a step of a suite, and draws
    /// `any/...` from `seed`. It does not check whether the step is possible in the cluster's current state.
    pub fn admit(&self, step: Step, seed: u64) -> Result<Step, Vec<PlanError>> {
        let shape = self.shape();
        let mut problems = Problems::default();
        steps::check_alone(&step, &shape, &mut problems);
        let population = sides::Population { shape: &shape, clients: self.workload.clients };
        network::check_alone(&step, &population, &mut problems);
        if !problems.0.is_empty() {
            return Err(problems.0);
        }
        let mut plan = Self { seed, steps: vec![step], invariants: Vec::new(), ..self.clone() };
        plan.draw(shape.deal.count());
        plan.name_servers(None).map_err(|problem| vec![problem])?;
        Ok(plan.steps.remove(0))
    }

    /// The name of the suite, with the settings that a matrix varied: `role-swap cluster-node-timeout=1000`.
    pub fn variant(&self) -> String {
        matrix::variant(&self.name, &self.matrix)
    }

    /// The number of shards.
    pub fn shards(&self) -> u16 {
        self.nodes.iter().filter(|node| node.replica_of.is_none()).count() as u16
    }

    /// The slots of each shard at boot.
    ///
    /// # Panics
    /// If the plan is [impossible](Self::impossible).
    pub fn deal(&self) -> Deal {
        deal(&self.nodes).expect("the slots were checked when the plan was made or read")
    }

    /// The reason why a plan from a stored run is invalid; None if it is valid. An invalid plan cannot be judged.
    pub fn impossible(&self) -> Option<String> {
        let keys = self.workload.keys();
        let wrong = |error| format!("invalid slots in its plan: {error}");
        let too_many = || (keys > bounds::KEYS_MAX).then(|| format!("too many keys in its plan: {keys}"));
        deal(&self.nodes).err().map(wrong).or_else(too_many)
    }

    /// The planned `cluster-node-timeout`.
    pub fn node_timeout(&self) -> std::time::Duration {
        let ms = self.config.get("cluster-node-timeout").and_then(|value| value.0.parse().ok()).unwrap_or(15_000);
        std::time::Duration::from_millis(ms)
    }

    /// How fast to run it, if the command line asks for that, and the machine can keep `found`. What cannot be faithful at
    /// speed runs in real time.
    pub fn speed(&self, asked: Option<SpeedSetting>, found: Speed) -> Speed {
        if self.only_in_real_time().is_some() {
            return Speed::REAL;
        }
        match (asked.map(|asked| asked.or_found(found)), self.speed) {
            (None, own) => own.map_or(Speed::REAL, |own| own.or_found(found)),
            (Some(asked), Some(SpeedSetting::Fixed(most))) => asked.min(most),
            (Some(asked), None | Some(SpeedSetting::Auto)) => asked,
        }
    }

    /// Why it always runs in real time; None if it may be faster. How long a loss of packets lasts depends on which packet is
    /// lost, and TCP sends it again in real time.
    pub fn only_in_real_time(&self) -> Option<&'static str> {
        self.needs_to(Need::Loss).then_some("it loses packets, which TCP sends again in real time")
    }

    /// The name of every server that a run needs: the cluster's, then those that steps start.
    pub fn servers(&self) -> Vec<&str> {
        let changed = self.steps.iter().filter_map(|step| step.change()?.server.as_deref());
        let mut names = vec![self.server.as_str()];
        for name in changed {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Replaces every `cluster.server` and `cluster.upgrade-to` in steps by the server that it means.
    fn name_servers(&mut self, upgrade_to: Option<&str>) -> Result<(), PlanError> {
        for (index, step) in self.steps.iter_mut().enumerate() {
            let Step::Start(start) = step else { continue };
            let Some(server) = &mut start.change.server else { continue };
            if server == CLUSTER_SERVER {
                server.clone_from(&self.server);
            } else if server == UPGRADE_TO {
                let message = || {
                    "the suite does not say what to upgrade to (hint: set `cluster.upgrade-to`, or use `--to`)"
                        .to_owned()
                };
                let at = || format!("steps[{index}].start.server");
                upgrade_to.ok_or_else(|| PlanError { at: at(), message: message() })?.clone_into(server);
            }
        }
        Ok(())
    }

    /// Replaces every `any` by the shard that the seed determines: one that has a replica if any target needs it.
    fn draw(&mut self, shards: u16) {
        let with_replicas: BTreeSet<ShardNo> =
            self.nodes.iter().filter(|node| node.replica_of.is_some()).map(|node| node.shard).collect();
        let awaits_sync = self.steps.iter().any(|step| {
            let Step::Await(Await { in_sync: Some(nodes), .. }) = step else { return false };
            nodes.0.iter().any(|target| matches!(target, Target::Member(Owner::Any, _)))
        });
        let is_replica =
            |target: &Target| matches!(target, Target::Member(Owner::Any, Member::Replica | Member::Replicas));
        let needs_replica = awaits_sync || self.targets_mut().any(|target| is_replica(target));
        let all = (0..shards).map(|index| ShardNo::from_index(index.into()));
        let candidates: Vec<ShardNo> = all.filter(|shard| !needs_replica || with_replicas.contains(shard)).collect();
        let drawn = Seeded::new(self.seed, "any").below(candidates.len().max(1) as u64) as usize;
        let Some(&drawn) = candidates.get(drawn) else { return };
        let resolve = |target: &mut Target| {
            if let Target::Member(owner @ Owner::Any, _) = target {
                *owner = Owner::Shard(drawn);
            }
        };
        self.targets_mut().for_each(resolve);
    }

    fn targets_mut(&mut self) -> impl Iterator<Item = &mut Target> {
        let of_steps = self.steps.iter_mut().flat_map(Step::targets_mut);
        of_steps.chain(self.invariants.iter_mut().flat_map(Invariant::targets_mut))
    }
}

/// The problems found so far.
#[derive(Default)]
struct Problems(Vec<PlanError>);

impl Problems {
    fn add(&mut self, at: impl Into<String>, message: impl Into<String>) {
        self.0.push(PlanError { at: at.into(), message: message.into() });
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}

/// The nodes and shards of a cluster.
struct Shape {
    deal: Deal,
    /// The largest number of replicas of a master.
    replicas: u16,
    nodes: Vec<PlannedNode>,
    /// For an existing cluster: the nodes of the cluster that the suite describes.
    written_for: Vec<PlannedNode>,
}

impl Shape {
    /// The shape with so many replicas of each master. Orders the nodes: all masters, then the first replica of each shard
    /// that has one, then the second.
    fn planned(replicas: &[u16]) -> Self {
        let deal = Deal::even(replicas.len() as u16);
        let most = replicas.iter().copied().max().unwrap_or(0);
        let round = |number: u16| (0..replicas.len()).filter(move |&shard| replicas[shard] >= number);
        let nodes = (0..=most)
            .flat_map(|number| round(number).map(move |shard| (number, shard)))
            .enumerate()
            .map(|(index, (number, shard_index))| {
                let (shard, is_master) = (ShardNo::from_index(shard_index), number == 0);
                PlannedNode {
                    node: NodeNo::from_index(index),
                    shard,
                    replica_of: (!is_master).then(|| NodeNo::from_index(shard_index)),
                    slots: if is_master { deal.slots(shard).to_vec() } else { Vec::new() },
                }
            })
            .collect();
        Self { deal, replicas: most, nodes, written_for: Vec::new() }
    }

    /// The shape of an existing cluster, which may differ from the one that the suite describes.
    fn found(nodes: Vec<PlannedNode>, cluster: &ClusterSpec) -> Result<Self, String> {
        let deal = deal(&nodes)?;
        let written = cluster.replicas_per_master.of_each(cluster.masters.clamp(1, SLOTS));
        let written_for = Self::planned(&written).nodes;
        Ok(Self { written_for, ..Self::of(nodes, deal) })
    }

    fn of(nodes: Vec<PlannedNode>, deal: Deal) -> Self {
        let replicas = |master: NodeNo| nodes.iter().filter(|node| node.replica_of == Some(master)).count();
        let masters = nodes.iter().filter(|node| node.replica_of.is_none());
        let most = masters.map(|master| replicas(master.node)).max().unwrap_or(0);
        Self { deal, replicas: most as u16, written_for: Vec::new(), nodes }
    }

    fn node_count(&self) -> u16 {
        self.nodes.len() as u16
    }

    fn nodes(&self) -> Vec<PlannedNode> {
        self.nodes.clone()
    }

    fn replicas_of(&self, shard: ShardNo) -> usize {
        self.nodes.iter().filter(|node| node.shard == shard && node.replica_of.is_some()).count()
    }

    /// The nodes that a target may resolve to. Nodes never leave their shard.
    fn candidates(&self, target: &Target) -> Vec<NodeNo> {
        match target {
            Target::Node(node) => vec![*node],
            Target::Member(owner, _) => {
                let shard = owner.shard(&self.deal);
                self.nodes()
                    .into_iter()
                    .filter(|node| shard.is_none_or(|shard| node.shard == shard))
                    .map(|node| node.node)
                    .collect()
            }
            Target::Clients(_) | Target::Others => Vec::new(),
            Target::Group(_) => self.nodes().into_iter().map(|node| node.node).collect(),
        }
    }

    /// The reason why a target is invalid in this cluster; None if it is valid.
    fn refuse(&self, target: &Target) -> Option<String> {
        match target {
            Target::Node(node) => self.refuse_node(*node),
            Target::Group(Group::Replicas) => self.refuse_replica(target),
            Target::Group(_) => None,
            Target::Clients(_) | Target::Others => {
                Some(format!("\"{target}\" is valid only on a side of a network fault"))
            }
            Target::Member(owner, member) => {
                let shard = match owner {
                    Owner::Shard(shard) => self.refuse_shard(*shard),
                    _ => None,
                };
                shard.or_else(|| match member {
                    Member::Replica | Member::Replicas => self
                        .refuse_replica(target)
                        .or_else(|| owner.shard(&self.deal).and_then(|shard| self.refuse_bare(target, shard))),
                    Member::Master | Member::Every => None,
                    Member::Down => Some(format!("\"{target}\" is valid only for `start`")),
                    Member::Paused => Some(format!("\"{target}\" is valid only for `resume`")),
                })
            }
        }
    }

    /// The same check for a step that acts on processes: what undoes a fault may mean those that one hit.
    fn refuse_for(&self, action: Action, target: &Target) -> Option<String> {
        match (target, action.means()) {
            (Target::Member(owner, Member::Down), Means::Start)
            | (Target::Member(owner, Member::Paused), Means::Thaw) => {
                self.refuse(&Target::Member(owner.clone(), Member::Every))
            }
            _ => self.refuse(target),
        }
    }

    /// The same check for a setting that needs exactly one node.
    fn refuse_one(&self, target: &Target) -> Option<String> {
        self.refuse(target).or_else(|| {
            (!target.is_one()).then(|| {
                format!("\"{target}\" may be several nodes (hint: name one node, such as `node-1` or `shard-1/master`)")
            })
        })
    }

    fn refuse_role(&self, target: &Target, is: RoleIs) -> Option<String> {
        match is {
            RoleIs::ReplicaOf(node) if Target::Node(node) == *target => Some(format!("{node} cannot replicate itself")),
            RoleIs::ReplicaOf(node) => self.refuse_node(node),
            RoleIs::Replica if self.replicas == 0 => {
                Some("there are no replicas: `replicas-per-master` is 0".to_owned())
            }
            RoleIs::Master | RoleIs::Replica => None,
        }
    }

    fn refuse_replica(&self, target: &Target) -> Option<String> {
        (self.replicas == 0).then(|| format!("\"{target}\" matches no node: `replicas-per-master` is 0"))
    }

    /// The shard without a replica whose nodes a target means.
    fn bare_shard(&self, target: &Target) -> Option<ShardNo> {
        let shard = match target {
            Target::Node(node) => self.nodes.get(node.index())?.shard,
            Target::Member(owner, Member::Master | Member::Every) => owner.shard(&self.deal)?,
            Target::Member(_, Member::Replica | Member::Replicas | Member::Down | Member::Paused)
            | Target::Group(_)
            | Target::Clients(_)
            | Target::Others => return None,
        };
        (shard.0 <= self.deal.count() && self.replicas_of(shard) == 0).then_some(shard)
    }

    /// Some shards may have replicas and others none.
    fn refuse_bare(&self, target: &Target, shard: ShardNo) -> Option<String> {
        (self.replicas_of(shard) == 0)
            .then(|| format!("\"{target}\" matches no node: {shard} of this cluster has no replica"))
    }

    fn refuse_node(&self, node: NodeNo) -> Option<String> {
        let last = self.node_count();
        if node.0 > last {
            return Some(format!("{node} does not exist (the cluster has node-1 to node-{last})"));
        }
        let (here, written) = (self.nodes.get(node.index())?, self.written_for.get(node.index())?);
        let place = |node: &PlannedNode| match node.replica_of {
            None => format!("the master of {}", node.shard),
            Some(master) => format!("a replica of {master}"),
        };
        (place(here) != place(written)).then(|| {
            format!(
                "{node} is {} in this cluster, but {} in the cluster that the suite describes (hint: name nodes by \
                 role, such as `shard-1/replica`)",
                place(here),
                place(written)
            )
        })
    }

    fn refuse_shard(&self, shard: ShardNo) -> Option<String> {
        let last = self.deal.count();
        (shard.0 > last).then(|| format!("{shard} does not exist (the cluster has shard-1 to shard-{last})"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_slots_of_this_and_earlier_versions() {
        let read = |slots: serde_json::Value| {
            let node = json!({"node": "node-1", "shard": "shard-1", "replica-of": null, "slots": slots});
            serde_json::from_value::<PlannedNode>(node).map(|node| node.slots).map_err(|error| error.to_string())
        };
        for (slots, expected) in [
            (json!([0, 5460]), vec![(0, 5460)]),
            (json!(null), vec![]),
            (json!([]), vec![]),
            (json!([[0, 5460]]), vec![(0, 5460)]),
            (json!([[0, 99], [7, 7]]), vec![(0, 99), (7, 7)]),
        ] {
            assert_eq!(read(slots.clone()), Ok(expected), "{slots}");
        }
        for slots in [json!([0]), json!([0, 1, 2]), json!("0-5460"), json!([[0]]), json!([0, 65536])] {
            assert_eq!(read(slots.clone()), Err("expected slot ranges of first and last slot".to_owned()), "{slots}");
        }
        let replica = json!({"node": "node-4", "shard": "shard-1", "replica-of": "node-1"});
        assert_eq!(serde_json::from_value::<PlannedNode>(replica).expect("a node").slots, []);
    }
}
