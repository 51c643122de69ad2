//! Tells a run in words as it happens: phases, faults, waits, and who becomes master of what.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Event, EventKind, FaultKind, StepProblem};
use crate::plan::Plan;
use crate::slot::Deal;
use crate::suite::Step;
use crate::topology::{Health, Peer, Role, View};
use crate::units::{NodeNo, ShardNo};
use crate::words::{first_line, list, seconds};

/// Remembers what was told, so that only news is.
pub struct Narrator {
    steps: Vec<Step>,
    deal: Deal,
    verbose: bool,
    phase: String,
    booted: bool,
    /// The last view of every node that answers.
    views: BTreeMap<NodeNo, View>,
    /// What each node last said of itself, whether or not it answers now.
    selves: BTreeMap<NodeNo, Peer>,
    failed: BTreeSet<NodeNo>,
    /// What each fault is, and what is healed when it is undone.
    faults: BTreeMap<u32, (FaultKind, String)>,
    /// How often each master sent all its data.
    full_syncs: BTreeMap<NodeNo, u64>,
}

impl Narrator {
    /// A narrator of a plan's run; `verbose` adds what only matters when something is puzzling.
    pub fn new(plan: &Plan, verbose: bool) -> Self {
        Self {
            steps: plan.steps.clone(),
            deal: plan.deal(),
            verbose,
            phase: "boot".to_owned(),
            booted: false,
            views: BTreeMap::new(),
            selves: BTreeMap::new(),
            failed: BTreeSet::new(),
            faults: BTreeMap::new(),
            full_syncs: BTreeMap::new(),
        }
    }

    /// The phase that the run is in.
    pub fn phase(&self) -> &str {
        &self.phase
    }

    /// What an event means, as lines without time; mostly none or one.
    pub fn tell(&mut self, event: &Event) -> Vec<String> {
        match &event.kind {
            EventKind::Viewed { node, view } => self.viewed(*node, view),
            EventKind::Silent { node, reason } => {
                self.views.remove(node);
                if self.verbose { vec![format!("{node} is silent: {reason}")] } else { Vec::new() }
            }
            kind => self.happened(kind).into_iter().collect(),
        }
    }

    fn happened(&mut self, kind: &EventKind) -> Option<String> {
        match kind {
            EventKind::Booted { nodes, took_ms } => {
                self.booted = true;
                Some(format!("cluster of {} nodes is ready after {}", nodes.len(), seconds(*took_ms)))
            }
            EventKind::Phase { name } => {
                self.phase.clone_from(name);
                Some(format!("phase {name}"))
            }
            EventKind::StepBegan { step } => self.step_began(*step),
            EventKind::StepEnded { step, problem: Some(problem) } => {
                let (StepProblem::Suite(text) | StepProblem::Unmet(text) | StepProblem::Harness(text)) = problem;
                Some(format!("step {} did not do what it says: {text}", step + 1))
            }
            EventKind::Commanded { node, reply, .. } => Some(format!("{node} answers {}", first_line(reply))),
            EventKind::Expected { node, reply, met: true, .. } => {
                Some(format!("{node} answers as expected: {}", first_line(reply)))
            }
            EventKind::Expected { node, expected, reply, .. } => {
                Some(format!("{node} answers {}, but expected is {expected}", first_line(reply)))
            }
            EventKind::Awaited { condition, met: true, waited_ms, .. } => {
                Some(format!("{condition} after {}", seconds(*waited_ms)))
            }
            EventKind::Awaited { condition, within_ms, last, .. } => {
                Some(format!("{condition} did not come within {}: {last}", seconds(*within_ms)))
            }
            EventKind::StepsEnded => Some("steps are over, healing".to_owned()),
            EventKind::Recovered { recovered: true, took_ms, .. } => {
                Some(format!("recovered after {}", seconds(*took_ms)))
            }
            EventKind::Recovered { took_ms, last, .. } => {
                Some(format!("not recovered after {}: {last}", seconds(*took_ms)))
            }
            EventKind::Interrupted { by } => Some(format!("interrupted by {by}")),
            EventKind::HealFailed { fault, reason } => Some(format!("fault {fault} could not be undone: {reason}")),
            EventKind::LeftBehind { what } => Some(format!("left behind: {what}")),
            EventKind::Note { text } => Some(text.clone()),
            EventKind::Hooked { hook, node, took_ms, output, .. }
                if self.verbose || !matches!(hook.as_str(), "state" | "knock") =>
            {
                Some(format!("hook {hook} for {node} took {}{}", seconds(*took_ms), said(output)))
            }
            EventKind::Stalled { by_ms } if self.verbose => {
                Some(format!("the harness itself was late by {}", seconds(*by_ms)))
            }
            EventKind::Synced { master, full, partial, .. } => self.synced(*master, *full, *partial),
            EventKind::FaultInjected { .. }
            | EventKind::NetworkFaultInjected { .. }
            | EventKind::FaultProven { .. }
            | EventKind::FaultEnded { .. }
            | EventKind::FaultHealed { .. }
            | EventKind::HealProven { .. } => self.fault(kind),
            _ => None,
        }
    }

    fn step_began(&self, step: usize) -> Option<String> {
        match self.steps.get(step)? {
            Step::Await(wait) => Some(format!("waiting for {}, at most {}", wait.condition().ok()?, wait.within)),
            Step::Command(command) => Some(format!("sending {} to {}", command.send, command.to)),
            Step::Settle(span) if self.verbose => Some(format!("settling for {span}")),
            _ => None,
        }
    }

    fn fault(&mut self, kind: &EventKind) -> Option<String> {
        match kind {
            EventKind::FaultInjected { fault, kind, target, node, shard, was_master } => {
                self.faults.insert(*fault, (*kind, node.to_string()));
                let role = if *was_master { "master" } else { "replica" };
                let place = shard.map(|shard| format!(" ({role} of {shard})")).unwrap_or_default();
                let written = if *target == node.to_string() { String::new() } else { format!(" as {target}") };
                Some(format!("{kind} {node}{written}{place}"))
            }
            EventKind::NetworkFaultInjected { fault, kind, name, target, hits, .. } => {
                self.faults.insert(*fault, (*kind, name.clone()));
                let nodes: Vec<String> = hits.iter().map(|hit| hit.node.to_string()).collect();
                Some(format!("{kind} {name}: {target}; it hits {}", nodes.join(", ")))
            }
            EventKind::FaultProven { fault, in_effect, proof } if !in_effect => {
                Some(format!("{} is NOT in effect: {proof}", self.fault_name(*fault)))
            }
            EventKind::FaultProven { proof, .. } | EventKind::HealProven { healed: true, proof, .. } => {
                self.verbose.then(|| proof.clone())
            }
            EventKind::FaultEnded { fault, seen, .. } => {
                Some(format!("{} is NOT in effect any more: {seen}", self.fault_name(*fault)))
            }
            EventKind::FaultHealed { fault, by } => {
                let what = self.faults.get(fault).map_or_else(|| format!("fault {fault}"), |(_, what)| what.clone());
                Some(format!("{by} {what}"))
            }
            EventKind::HealProven { fault, proof, .. } => {
                Some(format!("{} is NOT undone: {proof}", self.fault_name(*fault)))
            }
            _ => None,
        }
    }

    fn fault_name(&self, fault: u32) -> String {
        self.faults.get(&fault).map_or_else(|| format!("fault {fault}"), |(kind, what)| kind.of(what))
    }

    /// A partial resynchronisation is the rule; that everything had to be sent again is news.
    fn synced(&mut self, master: NodeNo, full: u64, partial: u64) -> Option<String> {
        let before = self.full_syncs.insert(master, full).unwrap_or_default();
        if self.booted && full > before {
            Some(format!("{master} sends a replica all its data ({full} so far)"))
        } else {
            (self.booted && self.verbose).then(|| format!("{master} counts {full} full and {partial} partial syncs"))
        }
    }

    fn viewed(&mut self, node: NodeNo, view: &View) -> Vec<String> {
        let mut news = Vec::new();
        if let Some(own) = view.peers.get(&node)
            && let Some(old) = self.selves.insert(node, own.clone())
        {
            news.extend(self.role_change(node, &old, own));
        }
        let before = self.views.insert(node, view.clone());
        if before.is_some_and(|before| before.state_ok != view.state_ok) {
            news.push(format!("{node} says cluster_state:{}", if view.state_ok { "ok" } else { "fail" }));
        }
        news.extend(self.failures(node));
        // While a cluster forms, everything changes and nothing is news.
        if self.booted { news } else { Vec::new() }
    }

    fn role_change(&self, node: NodeNo, old: &Peer, own: &Peer) -> Option<String> {
        let (had, has) = (self.shards_of(old), self.shards_of(own));
        match own.role {
            Role::Master if has.difference(&had).next().is_some() => {
                Some(format!("{node} promoted to master of {} (epoch {})", list(&has), own.epoch))
            }
            Role::ReplicaOf(master) if old.role != own.role => Some(format!("{node} is now a replica of {master}")),
            _ => None,
        }
    }

    /// The shards whose first slot a node owns.
    fn shards_of(&self, peer: &Peer) -> BTreeSet<ShardNo> {
        self.deal.shards().filter(|&shard| self.deal.is_owned_by(shard, &peer.slots)).collect()
    }

    /// Who is flagged FAIL by anybody now and was not, or the reverse.
    fn failures(&mut self, by: NodeNo) -> Vec<String> {
        let now: BTreeSet<NodeNo> = self
            .views
            .values()
            .flat_map(|view| &view.peers)
            .filter(|(_, peer)| peer.health == Health::Fail)
            .map(|(&node, _)| node)
            .collect();
        let before = std::mem::replace(&mut self.failed, now.clone());
        let flagged = now.difference(&before).map(|node| format!("{node} flagged FAIL, first seen at {by}"));
        let cleared = before.difference(&now).map(|node| format!("{node} is flagged FAIL by nobody any more"));
        flagged.chain(cleared).collect()
    }
}

/// An answer on one line.
fn said(output: &str) -> String {
    if output.is_empty() { String::new() } else { format!(" and said {}", first_line(output)) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::history::Hit;
    use crate::plan::{Plan, PlannedNode};
    use crate::suite::WorkloadSpec;
    use crate::units::Span;

    use super::*;

    fn plan() -> Plan {
        let node = |number, shard: u16, replica_of: Option<u16>| PlannedNode {
            node: NodeNo(number),
            shard: ShardNo(shard),
            replica_of: replica_of.map(NodeNo),
            slots: if replica_of.is_none() { Deal::even(3).slots(ShardNo(shard)).to_vec() } else { Vec::new() },
        };
        Plan {
            name: "role-swap".to_owned(),
            about: String::new(),
            seed: 7,
            server: "redis:6.2".to_owned(),
            nodes: vec![node(1, 1, None), node(2, 2, None), node(3, 3, None), node(4, 1, Some(1))],
            config: BTreeMap::new(),
            workload: WorkloadSpec::default(),
            steps: vec![
                Step::Settle(Span::secs(2)),
                serde_json::from_str(r#"{"await": {"promoted": "shard-1", "within": "15s"}}"#).expect("a step"),
            ],
            invariants: Vec::new(),
            recover_within: Span::secs(60),
            max_duration: Span::secs(600),
        }
    }

    /// A view of nodes 1 and 4, of which `master` owns the slots of shard 1.
    fn view(master: u16, node_1: Health) -> View {
        let peer = |node: u16| Peer {
            role: if node == master { Role::Master } else { Role::ReplicaOf(NodeNo(master)) },
            health: if node == 1 { node_1 } else { Health::Ok },
            epoch: 8,
            link_connected: true,
            slots: if node == master { vec![(0, 5460)] } else { Vec::new() },
        };
        View {
            peers: [1, 4].map(|node| (NodeNo(node), peer(node))).into(),
            strangers: Vec::new(),
            state_ok: true,
            slots_assigned: 16384,
            slots_ok: 16384,
            slots_pfail: 0,
            slots_fail: 0,
            known_nodes: 2,
            size: 1,
            current_epoch: 8,
            link_up: None,
        }
    }

    fn told(events: Vec<EventKind>) -> Vec<String> {
        let mut narrator = Narrator::new(&plan(), false);
        events.into_iter().flat_map(|kind| narrator.tell(&Event { at_ns: 0, kind })).collect()
    }

    #[test]
    fn a_failover_is_told_as_it_happens() {
        let viewed = |node: u16, view: View| EventKind::Viewed { node: NodeNo(node), view };
        let lines = told(vec![
            viewed(4, view(4, Health::Ok)),
            viewed(1, view(1, Health::Ok)),
            viewed(4, view(1, Health::Ok)),
            EventKind::Booted { nodes: Vec::new(), took_ms: 2040.0 },
            EventKind::Phase { name: "master-down".to_owned() },
            EventKind::StepBegan { step: 0 },
            EventKind::FaultInjected {
                fault: 1,
                kind: FaultKind::Stop,
                target: "shard-1/master".to_owned(),
                node: NodeNo(1),
                shard: Some(ShardNo(1)),
                was_master: true,
            },
            EventKind::FaultProven { fault: 1, in_effect: true, proof: "gone".to_owned() },
            EventKind::Silent { node: NodeNo(1), reason: "refused".to_owned() },
            EventKind::StepBegan { step: 1 },
            viewed(4, view(1, Health::Fail)),
            viewed(4, view(4, Health::Fail)),
            EventKind::FaultHealed { fault: 1, by: "start".to_owned() },
            viewed(4, view(4, Health::Ok)),
            viewed(1, view(4, Health::Ok)),
            EventKind::Recovered { recovered: false, took_ms: 60_000.0, last: "node-1 lags".to_owned() },
            EventKind::End,
        ]);
        assert_eq!(
            lines,
            [
                "cluster of 0 nodes is ready after 2.0s",
                "phase master-down",
                "stop node-1 as shard-1/master (master of shard-1)",
                "waiting for promoted: shard-1, at most 15s",
                "node-1 flagged FAIL, first seen at node-4",
                "node-4 promoted to master of shard-1 (epoch 8)",
                "start node-1",
                "node-1 is flagged FAIL by nobody any more",
                "node-1 is now a replica of node-4",
                "not recovered after 60.0s: node-1 lags",
            ]
        );
    }

    #[test]
    fn network_faults_are_told_by_their_names() {
        let injected = EventKind::NetworkFaultInjected {
            fault: 1,
            name: "cut".to_owned(),
            kind: FaultKind::Partition,
            target: "node-1 | others".to_owned(),
            sides: Vec::new(),
            only: crate::suite::Only::All,
            one_way: false,
            pairs: 10,
            hits: vec![Hit { node: NodeNo(1), shard: Some(ShardNo(1)), was_master: true }],
        };
        let synced = |full| EventKind::Synced { master: NodeNo(4), full, partial: 0, refused: 0 };
        let lines = told(vec![
            synced(1),
            EventKind::Booted { nodes: Vec::new(), took_ms: 2040.0 },
            injected,
            EventKind::FaultProven { fault: 1, in_effect: false, proof: "no packet was hit".to_owned() },
            EventKind::FaultHealed { fault: 1, by: "heal".to_owned() },
            EventKind::HealProven { fault: 1, healed: false, proof: "the probe timed out".to_owned() },
            synced(1),
            synced(2),
        ]);
        assert_eq!(
            lines[1..],
            [
                "partition cut: node-1 | others; it hits node-1",
                "partition cut is NOT in effect: no packet was hit",
                "heal cut",
                "partition cut is NOT undone: the probe timed out",
                "node-4 sends a replica all its data (2 so far)",
            ]
        );
    }

    #[test]
    fn what_went_wrong_is_told_without_verbose() {
        let lines = told(vec![
            EventKind::FaultInjected {
                fault: 1,
                kind: FaultKind::Pause,
                target: "node-1".to_owned(),
                node: NodeNo(1),
                shard: None,
                was_master: false,
            },
            EventKind::FaultProven { fault: 1, in_effect: false, proof: "node-1 answers PING".to_owned() },
            EventKind::HealProven { fault: 1, healed: false, proof: "process 1 is stopped".to_owned() },
            EventKind::StepEnded { step: 0, problem: Some(StepProblem::Suite("node-1 is dead".to_owned())) },
            EventKind::Stalled { by_ms: 900.0 },
        ]);
        assert_eq!(
            lines,
            [
                "pause node-1",
                "pause of node-1 is NOT in effect: node-1 answers PING",
                "pause of node-1 is NOT undone: process 1 is stopped",
                "step 1 did not do what it says: node-1 is dead",
            ]
        );
    }
}
