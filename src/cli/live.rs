//! The view of an active run on a terminal: computed from its events, as lines of text. Pure.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use serde_json::{Value, json};
use slotquake::facts::FaultTable;
use slotquake::history::{Event, EventKind};
use slotquake::journal::Counts;
use slotquake::plan::Plan;
use slotquake::report::seconds;
use slotquake::slot::Deal;
use slotquake::suite::Step;
use slotquake::topology::{Health, Role, View};
use slotquake::units::NodeNo;
use slotquake_judge::words::count;

/// The window over which rates are averaged.
const RATE_OVER_NS: u64 = 1_000_000_000;

/// The largest number of nodes that are all listed. In larger clusters, only unhealthy nodes are listed.
const MOST_NODES: usize = 12;

/// The state of one run, as its events show it.
#[derive(Debug)]
pub struct Live {
    label: String,
    steps: Vec<Step>,
    deal: Deal,
    phase: String,
    step: Option<usize>,
    nodes: Vec<NodeNo>,
    /// The latest view of each node, and whether it answers.
    views: BTreeMap<NodeNo, (View, bool)>,
    faults: FaultTable,
    /// Times within the last second, with the numbers of operations completed and acknowledged by then.
    counted: VecDeque<(u64, u64, u64)>,
}

impl Live {
    /// The state of a run that is about to begin.
    pub fn new(label: &str, plan: &Plan) -> Self {
        Self {
            label: label.to_owned(),
            steps: plan.steps.clone(),
            deal: plan.deal(),
            phase: "boot".to_owned(),
            step: None,
            nodes: plan.nodes.iter().map(|planned| planned.node).collect(),
            views: BTreeMap::new(),
            faults: FaultTable::default(),
            counted: VecDeque::new(),
        }
    }

    /// Updates the state with an event.
    pub fn hear(&mut self, event: &Event) {
        self.faults.add(event);
        match &event.kind {
            EventKind::Phase { name } => self.phase.clone_from(name),
            EventKind::StepBegan { step } => self.step = Some(*step),
            EventKind::StepsEnded => self.step = None,
            EventKind::Viewed { node, view } => drop(self.views.insert(*node, (view.clone(), true))),
            EventKind::Silent { node, .. } => {
                if let Some((_, answers)) = self.views.get_mut(node) {
                    *answers = false;
                }
            }
            _ => {}
        }
    }

    /// The view at a time, in nanoseconds from the start of the run.
    pub fn lines(&mut self, at_ns: u64, counts: &Counts) -> Vec<String> {
        let clock = |ns: u64| seconds(ns as f64 / 1e6);
        let mut lines = vec![format!("{}  {}  phase {}", self.label, clock(at_ns), self.phase)];
        if let Some(step) = self.step {
            let what = self.steps.get(step).map(words).unwrap_or_default();
            lines.push(format!("  step {} of {}  {what}", step + 1, self.steps.len()));
        }
        lines.push(format!("  {}", self.rates(at_ns, counts)));
        lines.extend(self.node_lines());
        for fault in self.faults.active().filter(|fault| fault.kind.has_name()) {
            lines.push(format!("  active fault: {} {}", fault.kind, fault.name));
        }
        for ((shard, of), since_ns) in &counts.unserved {
            lines.push(format!("  outage: {of} of {shard}, for {}", clock(at_ns.saturating_sub(*since_ns))));
        }
        lines
    }

    fn rates(&mut self, at_ns: u64, counts: &Counts) -> String {
        self.counted.push_back((at_ns, counts.completed, counts.acknowledged));
        while self.counted.len() > 2 && self.counted[1].0 + RATE_OVER_NS <= at_ns {
            self.counted.pop_front();
        }
        let (since_ns, completed, acknowledged) = self.counted[0];
        let per_second = |count: u64| {
            let passed = at_ns.saturating_sub(since_ns) as f64 / 1e9;
            if passed > 0.0 { (count as f64 / passed).round() as u64 } else { 0 }
        };
        format!(
            "{} op/s, {} acknowledged/s; {} operations in total",
            per_second(counts.completed - completed),
            per_second(counts.acknowledged - acknowledged),
            counts.completed
        )
    }

    fn node_lines(&self) -> Vec<String> {
        let told: Vec<(bool, String)> = self.nodes.iter().map(|&node| self.node_line(node)).collect();
        if told.len() <= MOST_NODES {
            return told.into_iter().map(|(_, line)| line).collect();
        }
        let well = told.iter().filter(|(is_well, _)| *is_well).count();
        let unwell = told.into_iter().filter(|(is_well, _)| !is_well).map(|(_, line)| line);
        unwell.take(MOST_NODES).chain([format!("  {} healthy", count(well as u64, "node"))]).collect()
    }

    /// Whether a node is healthy, and its line.
    fn node_line(&self, node: NodeNo) -> (bool, String) {
        let role = self.role(node);
        let name = node.to_string();
        let mut matters: Vec<String> = Vec::new();
        let fault = self.faults.active().find(|fault| fault.kind.holds_process() && fault.name == name);
        match (fault, self.views.get(&node)) {
            (Some(fault), _) => matters.push(fault.kind.spec().past.trim_start_matches("was ").to_owned()),
            (_, Some((_, true))) => {}
            _ => matters.push("silent".to_owned()),
        }
        if let Some((view, true)) = self.views.get(&node)
            && !view.state_ok
        {
            matters.push("reports cluster_state:fail".to_owned());
        }
        let others = || self.views.iter().filter(|(by, (_, answers))| *answers && **by != node);
        for (health, word) in [(Health::Fail, "flagged FAIL"), (Health::Pfail, "suspected (PFAIL)")] {
            let says =
                others().filter(|(_, (view, _))| view.peers.get(&node).is_some_and(|peer| peer.health == health));
            match says.count() {
                0 => {}
                count => matters.push(format!("{word} by {count} of {}", others().count())),
            }
        }
        let matter = if matters.is_empty() { String::new() } else { format!("  {}", matters.join(", ")) };
        (matters.is_empty(), format!("  {name:<8} {role:<20}{matter}").trim_end().to_owned())
    }

    /// The role of a node: by its own view while it answers, then by the latest knowledge of those that do. What it last said of
    /// itself may be long outdated.
    fn role(&self, node: NodeNo) -> String {
        let own = self.views.get(&node).and_then(|(view, answers)| Some((view.peers.get(&node)?, *answers)));
        let others = self.views.iter().filter(|(by, (_, answers))| *answers && **by != node);
        let of_others =
            others.max_by_key(|(_, (view, _))| view.current_epoch).and_then(|(_, (view, _))| view.peers.get(&node));
        let (peer, is_outdated) = match (own, of_others) {
            (Some((own, true)), _) => (own, false),
            (_, Some(known)) => (known, false),
            (Some((own, false)), None) => (own, true),
            (None, None) => return "-".to_owned(),
        };
        let role = match peer.role {
            Role::Master if peer.slots.is_empty() => "master without slots".to_owned(),
            Role::Master => format!("master of {}", self.shards_of(&peer.slots)),
            Role::ReplicaOf(master) => format!("replica of {master}"),
            Role::ReplicaOfUnknown => "replica of an unknown node".to_owned(),
        };
        if is_outdated { format!("was {role}") } else { role }
    }

    /// The shards whose first slot is in these ranges.
    fn shards_of(&self, slots: &[(u16, u16)]) -> String {
        let owned = self.deal.shards().filter(|&shard| self.deal.is_owned_by(shard, slots));
        owned.map(|shard| shard.to_string()).collect::<Vec<_>>().join(", ")
    }
}

/// A step or an invariant as in the suite, on one line.
pub(super) fn words(item: &impl Serialize) -> String {
    let Value::Object(item) = json!(item) else { unreachable!("it is a mapping with one key") };
    let say = |(key, value): (String, Value)| match value {
        Value::String(text) => format!("{key}: {text}"),
        value => format!("{key}: {}", value.to_string().replace('"', "").replace(',', ", ").replace(':', ": ")),
    };
    item.into_iter().map(say).collect()
}

#[cfg(test)]
mod tests {
    use slotquake::history::FaultKind;
    use slotquake::plan::PlannedNode;
    use slotquake::suite::{self, OpKind};
    use slotquake::topology::Peer;
    use slotquake::units::ShardNo;

    use super::*;

    /// The view of `by` after node 4 took over shard 1, with this health of nodes 1 and 4.
    fn view(by: u16, node_1: Health) -> EventKind {
        let peers = (1..=6u16).map(|node| {
            let master = [4, 2, 3][usize::from((node - 1) % 3)];
            let peer = Peer {
                role: if node == master { Role::Master } else { Role::ReplicaOf(NodeNo(master)) },
                health: if node == 1 { node_1 } else { Health::Ok },
                epoch: 7,
                link_connected: true,
                left_addr: None,
                slots: if node == master {
                    Deal::even(3).slots(ShardNo((node - 1) % 3 + 1)).to_vec()
                } else {
                    Vec::new()
                },
            };
            (NodeNo(node), peer)
        });
        let view = View {
            peers: peers.collect(),
            strangers: Vec::new(),
            state_ok: by != 6,
            slots_assigned: 16384,
            slots_ok: 16384,
            slots_pfail: 0,
            slots_fail: 0,
            known_nodes: 6,
            size: 3,
            current_epoch: 7,
            link_up: None,
        };
        EventKind::Viewed { node: NodeNo(by), view }
    }

    fn live(nodes: usize, events: Vec<EventKind>) -> Live {
        let mut plan = Plan::new(&suite::load("role-swap").expect("a suite"), 1).expect("a plan");
        let again = PlannedNode { node: NodeNo(1), ..plan.nodes[3].clone() };
        plan.nodes.resize(nodes, again);
        let mut live = Live::new("role-swap redis:6.2", &plan);
        for kind in events {
            live.hear(&Event { at_ns: 0, kind });
        }
        live
    }

    #[test]
    fn shows_the_down_nodes_and_outages_of_a_failover() {
        let mut events: Vec<EventKind> = (1..=6).map(|by| view(by, Health::Ok)).collect();
        events.extend([
            EventKind::Phase { name: "master-down".to_owned() },
            EventKind::StepBegan { step: 4 },
            EventKind::FaultInjected {
                fault: 1,
                kind: FaultKind::Stop,
                target: "shard-1/master".to_owned(),
                node: NodeNo(1),
                shard: Some(ShardNo(1)),
                was_master: true,
            },
            EventKind::Silent { node: NodeNo(1), reason: "refused".to_owned() },
            view(2, Health::Fail),
            view(3, Health::Pfail),
            EventKind::Silent { node: NodeNo(5), reason: "timeout".to_owned() },
        ]);
        let mut live = live(6, events);
        let counts = |completed, unserved| Counts { completed, acknowledged: completed - 10, unserved };
        live.lines(1_000_000_000, &counts(400, BTreeMap::new()));
        live.lines(1_500_000_000, &counts(600, BTreeMap::new()));
        let unserved = [((ShardNo(1), OpKind::Writes), 800_000_000)].into();
        let lines = live.lines(2_000_000_000, &counts(780, unserved));
        assert_eq!(
            lines,
            [
                "role-swap redis:6.2  2.0s  phase master-down",
                "  step 5 of 11  await: {promoted: shard-1, within: spec}",
                "  380 op/s, 380 acknowledged/s; 780 operations in total",
                "  node-1   replica of node-4     stopped, flagged FAIL by 1 of 4, suspected (PFAIL) by 1 of 4",
                "  node-2   master of shard-2",
                "  node-3   master of shard-3",
                "  node-4   master of shard-1",
                "  node-5   replica of node-2     silent",
                "  node-6   replica of node-3     reports cluster_state:fail",
                "  outage: writes of shard-1, for 1.2s",
            ]
        );
        live.hear(&Event { at_ns: 0, kind: EventKind::FaultHealed { fault: 1, by: "start".to_owned() } });
        live.hear(&Event { at_ns: 0, kind: view(1, Health::Ok) });
        let lines = live.lines(2_100_000_000, &counts(800, BTreeMap::new()));
        assert!(
            lines.contains(
                &"  node-1   replica of node-4     flagged FAIL by 1 of 4, suspected (PFAIL) by 1 of 4".to_owned()
            ),
            "{lines:?}"
        );
        assert!(!lines.iter().any(|line| line.contains("not served")), "{lines:?}");
    }

    /// As in `shard-loss`: a master is killed, its replica promoted and killed, too.
    #[test]
    fn a_node_that_is_down_has_the_role_that_others_know() {
        let own = |node: u16, role: Role, shard: Option<u16>| {
            let EventKind::Viewed { view, .. } = view(node, Health::Ok) else { unreachable!("it is a view") };
            let slots = shard.map_or_else(Vec::new, |shard| Deal::even(3).slots(ShardNo(shard)).to_vec());
            let peer = Peer { role, slots, ..view.peers[&NodeNo(node)].clone() };
            let mut view = view;
            view.peers.insert(NodeNo(node), peer);
            EventKind::Viewed { node: NodeNo(node), view }
        };
        let silent = |node| EventKind::Silent { node: NodeNo(node), reason: "refused".to_owned() };
        let role = |events| {
            let lines = live(6, events).lines(1, &Counts::default());
            let line = lines.iter().find(|line| line.contains("node-1")).expect("a line").clone();
            line.split("  ").map(str::trim).filter(|part| !part.is_empty()).nth(1).expect("a role").to_owned()
        };
        let before = own(1, Role::Master, Some(1));
        let alone = vec![before.clone(), silent(1)];
        for (events, expected) in [
            (vec![before.clone()], "master of shard-1"),
            (alone.clone(), "was master of shard-1"),
            ([alone.clone(), vec![view(4, Health::Fail)]].concat(), "replica of node-4"),
            // The new master is down, too: others still know.
            (
                [alone.clone(), vec![view(4, Health::Fail), silent(4), view(2, Health::Fail)]].concat(),
                "replica of node-4",
            ),
        ] {
            assert_eq!(role(events), expected);
        }
    }

    #[test]
    fn lists_only_unhealthy_nodes_of_a_large_cluster() {
        let lines = live(20, vec![view(1, Health::Ok)]).lines(1, &Counts::default());
        // All beyond the sixth are node-1 again.
        assert_eq!((lines.len(), lines.last().map(String::as_str)), (8, Some("  15 nodes healthy")), "{lines:?}");
        let lines = live(20, Vec::new()).lines(1, &Counts::default());
        assert_eq!((lines.len(), lines.last().map(String::as_str)), (15, Some("  0 nodes healthy")));
    }
}
