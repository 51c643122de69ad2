//! What a suite gives its invariants to observe.

use super::{ClientSet, Moment, OpKind, RoleIs, ShardSet};
use crate::fault::{FaultStep, LinksFault};
use crate::suite::{DataKind, Loop, Step, Suite, nearest};
use crate::target::Target;
use crate::units::{Percent, ShardNo};

/// The nodes that a suite has. Each method gives the reason why a setting is invalid; None if it is valid.
pub(crate) trait Nodes {
    /// Whether any master has a replica at boot.
    fn has_replicas(&self) -> bool;
    /// Whether the master of a shard has a replica at boot.
    fn has_replica(&self, shard: ShardNo) -> bool;
    /// Why a target is not exactly one node.
    fn refuse_one(&self, target: &Target) -> Option<String>;
    /// Why that node cannot have that role.
    fn refuse_role(&self, target: &Target, is: RoleIs) -> Option<String>;
    /// Why the shard does not exist.
    fn refuse_shard(&self, shard: ShardNo) -> Option<String>;
}

/// One invariant of a suite, and the problems of its settings that were found so far. A key is that of the settings,
/// empty for the invariant as a whole.
pub(crate) struct Look<'a> {
    /// The suite.
    pub suite: &'a Suite,
    /// The names of its phases.
    pub phases: &'a [&'a str],
    /// Its nodes.
    pub nodes: &'a dyn Nodes,
    /// The path of the invariant in the suite: `invariants[0].role`.
    pub at: String,
    /// The problems: the path of each in the suite, and what is wrong.
    pub problems: Vec<(String, String)>,
}

impl Look<'_> {
    /// Adds a problem of a key.
    pub fn problem(&mut self, key: &str, message: impl Into<String>) {
        let at = if key.is_empty() { self.at.clone() } else { format!("{}.{key}", self.at) };
        self.problems.push((at, message.into()));
    }

    fn note(&mut self, key: &str, message: Option<String>) {
        if let Some(message) = message {
            self.problem(key, message);
        }
    }

    /// The target is exactly one node.
    pub fn one_node(&mut self, key: &str, target: &Target) {
        self.note(key, self.nodes.refuse_one(target));
    }

    /// The node can have the role.
    pub fn role(&mut self, key: &str, node: &Target, is: RoleIs) {
        self.note(key, self.nodes.refuse_role(node, is));
    }

    /// Operations are issued when they are due, or what was not sent during an outage would count as nothing.
    pub fn needs_open_loop(&mut self) {
        if self.suite.workload.pacing == Loop::Closed {
            let message = "clients of a closed loop wait instead of sending, so nobody knows what would have been served \
                           (hint: `workload.loop: open`)";
            self.problem("", message);
        }
    }

    /// The shard exists.
    pub fn shard(&mut self, key: &str, shard: ShardNo) {
        self.note(key, self.nodes.refuse_shard(shard));
    }

    /// The shards exist.
    pub fn shards(&mut self, key: &str, shards: ShardSet) {
        match shards {
            ShardSet::One(shard) => self.shard(key, shard),
            ShardSet::Others | ShardSet::All => {}
        }
    }

    /// Some fault may tell the clients apart.
    pub fn clients(&mut self, key: &str, clients: ClientSet) {
        match clients {
            ClientSet::All => {}
            ClientSet::CutOff | ClientSet::Rest => self.needs_fault(
                key,
                |fault| fault.links().is_some_and(LinksFault::divides_clients),
                "no fault cuts off some clients and not others (hint: name `half-clients` on a side of a `partition`)",
            ),
        }
    }

    /// The phase exists.
    pub fn phase(&mut self, key: &str, name: &str) {
        if self.phases.contains(&name) {
            return;
        }
        let hint = match nearest(name, self.phases.iter().copied()) {
            Some(phase) => format!("did you mean `{phase}`?"),
            None if self.phases.is_empty() => "hint: begin one with `- phase: NAME`".to_owned(),
            None => format!("hint: the phases are `{}`", self.phases.join("`, `")),
        };
        self.problem(key, format!("unknown phase \"{name}\" ({hint})"));
    }

    /// The moment exists.
    pub fn moment(&mut self, key: &str, moment: &Moment) {
        match moment {
            Moment::Phase(phase) => self.phase(key, phase),
            Moment::End | Moment::Throughout => {}
        }
    }

    /// The moment is the end.
    pub fn only_end(&mut self, key: &str, moment: &Moment) {
        if *moment != Moment::End {
            let message = format!("this invariant is checked only at the end, not at \"{moment}\" (hint: `at: end`)");
            self.problem(key, message);
        }
    }

    /// Some master has a replica.
    pub fn needs_replicas(&mut self) {
        if !self.nodes.has_replicas() {
            self.problem("", "no replica to observe: `replicas-per-master` is 0");
        }
    }

    /// The shard, if it exists, has a replica.
    pub fn needs_replica_of(&mut self, key: &str, shard: ShardNo) {
        let exists = self.nodes.refuse_shard(shard).is_none();
        if exists && self.nodes.has_replicas() && !self.nodes.has_replica(shard) {
            self.problem(key, format!("no replica to observe: {shard} has none"));
        }
    }

    /// The workload issues operations of that kind.
    pub fn needs_operations(&mut self, key: &str, kind: OpKind) {
        let reads = self.suite.workload.reads;
        let absent = match kind {
            OpKind::Reads => Percent::new(0.0),
            OpKind::Writes => Percent::new(100.0),
        };
        if reads == absent {
            self.problem(key, format!("no {kind} to observe: `workload.reads` is {reads}"));
        }
    }

    /// The workload has keys of one of these kinds.
    pub fn needs_kind(&mut self, key: &str, kinds: &[DataKind]) {
        if kinds.iter().all(|&kind| self.suite.workload.share(kind) == 0.0) {
            let names = kinds.iter().map(|kind| kind.word()).collect::<Vec<_>>().join("` or `");
            self.problem(key, format!("no such key to observe (hint: give `{names}` a share in `workload.kinds`)"));
        }
    }

    /// Some step injects such a fault; otherwise the message is the problem.
    pub fn needs_fault(&mut self, key: &str, is: impl Fn(&FaultStep<'_>) -> bool, message: &str) {
        if !self.suite.steps.iter().filter_map(Step::fault).any(|fault| is(&fault)) {
            self.problem(key, message);
        }
    }

    /// Some step can make a master fail over, or a replica fall behind; otherwise the message is the problem.
    pub fn needs_disturbance(&mut self, key: &str, message: &str) {
        let disturbs = |step: &Step| step.fault().is_some() || matches!(step, Step::Command(_) | Step::Heal(_));
        if !self.suite.steps.iter().any(disturbs) {
            self.problem(key, message);
        }
    }
}
