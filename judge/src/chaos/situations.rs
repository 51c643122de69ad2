//! What a run reached: events that followed each other, with the roles of the nodes, and states of shards.

use std::collections::{BTreeMap, BTreeSet};

use crate::anatomy::{LogEvent, Logs};
use crate::facts::FaultTable;
use crate::history::EventKind;
use crate::report::Report;
use crate::topology::{Health, Role};
use crate::units::NodeNo;

/// Situations that a campaign should reach sometimes. It says which it never did.
pub const SOMETIMES: [&str; 15] = [
    "a master is suspected",
    "a master is marked FAIL",
    "a majority of masters is marked FAIL",
    "the cluster is down for some node",
    "an election begins",
    "two elections for one shard",
    "a vote is denied",
    "a replica is blocked from a failover",
    "a replica is promoted",
    "a manual failover",
    "a partial resync after a promotion",
    "a failover without votes",
    "two masters claim one slot",
    "a replica of a replica",
    "a fault hits a node that a fault made master",
];

/// The situations of a run: those of [`SOMETIMES`] by their names, and pairs of events as `A > B`.
pub fn situations(report: &Report, logs: &Logs) -> BTreeSet<String> {
    let mut found = Found::default();
    found.faults(report);
    found.views(report);
    found.logs(logs);
    found.failovers(report);
    found.all
}

#[derive(Default)]
struct Found {
    all: BTreeSet<String>,
}

impl Found {
    fn add(&mut self, situation: &str) {
        self.all.insert(situation.to_owned());
    }

    fn pairs<'a>(&mut self, words: impl IntoIterator<Item = &'a str>) {
        let mut last: Option<&str> = None;
        for word in words {
            if let Some(last) = last.filter(|last| *last != word) {
                self.all.insert(format!("{last} > {word}"));
            }
            last = Some(word);
        }
    }

    /// The faults in the order in which they began and ended, each with the role of the node that it hit.
    fn faults(&mut self, report: &Report) {
        let mut words: Vec<String> = Vec::new();
        let (mut table, mut begun, mut ended) = (FaultTable::default(), BTreeSet::new(), BTreeSet::new());
        for event in &report.events {
            let Some(span) = table.add(event) else { continue };
            let is_master = span.hits.iter().any(|hit| hit.was_master);
            let word = format!("{} {}", span.kind, if is_master { "master" } else { "replica" });
            if begun.insert(span.fault) {
                words.push(word);
            } else if span.healed_ns.is_some() && ended.insert(span.fault) {
                words.push(format!("end of {word}"));
            }
        }
        self.pairs(words.iter().map(String::as_str));
    }

    fn failovers(&mut self, report: &Report) {
        let mut made: BTreeSet<NodeNo> = BTreeSet::new();
        for failover in &report.failovers {
            let by = failover.kind.map_or("order", |kind| kind.word());
            let end = if failover.new_master.is_some() { "promotion" } else { "no promotion" };
            self.all.insert(format!("{by} of master > {end}"));
            if failover.fault.is_some() && made.contains(&failover.old_master) {
                self.add("a fault hits a node that a fault made master");
            }
            if failover.new_master.is_some() {
                self.add("a replica is promoted");
            }
            if failover.fault.is_some() {
                made.extend(failover.new_master);
            }
        }
    }

    /// Abstract states: how many masters are marked, whether slots have two owners, who replicates whom.
    fn views(&mut self, report: &Report) {
        let shards = report.header.plan.shards();
        let mut claims = Claims::default();
        for event in &report.events {
            if let EventKind::Silent { node, .. } = &event.kind {
                // What it said last is no claim any more.
                claims.set(*node, &[], event.at_ns);
            }
            let EventKind::Viewed { node, view } = &event.kind else { continue };
            claims.set(*node, view.peers.get(node).map_or(&[], |own| own.slots.as_slice()), event.at_ns);
            let flagged =
                |health| view.peers.values().filter(|peer| peer.health == health && !peer.slots.is_empty()).count();
            if flagged(Health::Pfail) > 0 {
                self.add("a master is suspected");
            }
            let failed = flagged(Health::Fail);
            if failed > 0 {
                self.add("a master is marked FAIL");
                self.all.insert(format!("{failed} of {shards} masters FAIL"));
            }
            if failed * 2 > usize::from(shards) {
                self.add("a majority of masters is marked FAIL");
            }
            if !view.state_ok {
                self.add("the cluster is down for some node");
            }
            let is_replica =
                |node: &NodeNo| view.peers.get(node).is_some_and(|peer| matches!(peer.role, Role::ReplicaOf(_)));
            if view.peers.values().any(|peer| matches!(&peer.role, Role::ReplicaOf(master) if is_replica(master))) {
                self.add("a replica of a replica");
            }
        }
        claims.settle(report.events.last().map_or(0, |event| event.at_ns));
        if claims.is_shared {
            self.add("two masters claim one slot");
        }
    }

    /// Lines of logs in the order of their times, which share one clock unless a fault changed it.
    fn logs(&mut self, logs: &Logs) {
        let mut lines: Vec<(i64, NodeNo, &LogEvent)> = logs
            .iter()
            .flat_map(|(&node, lines)| lines.iter().map(move |line| (line.local_ms, node, &line.event)))
            .collect();
        lines.sort_by_key(|(at_ms, node, _)| (*at_ms, *node));
        let mut has_won = false;
        for (_, _, event) in &lines {
            match event {
                LogEvent::Began(_) => self.add("an election begins"),
                LogEvent::Denied { reason, .. } => {
                    self.add("a vote is denied");
                    self.all.insert(format!("vote denied: {}", without_numbers(reason)));
                }
                LogEvent::Blocked(reason) => {
                    self.add("a replica is blocked from a failover");
                    self.all.insert(format!("blocked: {}", without_numbers(reason)));
                }
                LogEvent::ManualAccepted => self.add("a manual failover"),
                LogEvent::TakenOver => self.add("a failover without votes"),
                LogEvent::PartialSync if has_won => self.add("a partial resync after a promotion"),
                LogEvent::Won => has_won = true,
                LogEvent::Starting
                | LogEvent::SyncStarted
                | LogEvent::SyncFinished
                | LogEvent::PartialSync
                | LogEvent::Demoted
                | LogEvent::Pfail(_)
                | LogEvent::Quorum(_)
                | LogEvent::FailReceived { .. }
                | LogEvent::Delayed { .. }
                | LogEvent::Granted { .. }
                | LogEvent::ManualRequested(_)
                | LogEvent::ManualOffset
                | LogEvent::ManualReady
                | LogEvent::Epoch(_) => {}
            }
        }
        let begun = |node: &NodeNo| {
            lines.iter().filter(|(_, by, event)| by == node && matches!(event, LogEvent::Began(_))).count()
        };
        if logs.keys().any(|node| begun(node) > 1) {
            self.add("two elections for one shard");
        }
        self.pairs(lines.iter().filter_map(|(_, _, event)| word(event)));
    }
}

/// The slots that each node says it owns. Nodes are asked one after the other, so two of them claim a slot only if they do for
/// a while: a handover between two answers looks the same for a moment.
#[derive(Default)]
struct Claims {
    slots: BTreeMap<NodeNo, Vec<(u16, u16)>>,
    /// Since when two nodes claim a slot.
    both: BTreeMap<(NodeNo, NodeNo), u64>,
    is_shared: bool,
}

/// Several times as long as a node is left without a question.
const CLAIMED_NS: u64 = 1_000_000_000;

impl Claims {
    /// A node says what it owns.
    fn set(&mut self, node: NodeNo, slots: &[(u16, u16)], at_ns: u64) {
        if self.slots.get(&node).is_some_and(|known| known == slots) {
            return;
        }
        for (_, since) in self.both.iter().filter(|((a, b), _)| [*a, *b].contains(&node)) {
            self.is_shared |= at_ns.saturating_sub(*since) >= CLAIMED_NS;
        }
        self.both.retain(|(a, b), _| ![*a, *b].contains(&node));
        self.slots.insert(node, slots.to_vec());
        let overlaps = |theirs: &[(u16, u16)]| {
            slots.iter().any(|mine| theirs.iter().any(|theirs| mine.0 <= theirs.1 && theirs.0 <= mine.1))
        };
        let others = self.slots.iter().filter(|(other, theirs)| **other != node && overlaps(theirs));
        self.both.extend(others.map(|(other, _)| ((node.min(*other), node.max(*other)), at_ns)));
    }

    /// Nobody is asked any more.
    fn settle(&mut self, at_ns: u64) {
        self.is_shared |= self.both.values().any(|since| at_ns.saturating_sub(*since) >= CLAIMED_NS);
    }
}

fn word(event: &LogEvent) -> Option<&'static str> {
    Some(match event {
        LogEvent::Pfail(_) => "suspected",
        LogEvent::Quorum(_) | LogEvent::FailReceived { .. } => "marked FAIL",
        LogEvent::Began(_) => "election",
        LogEvent::Granted { .. } => "vote",
        LogEvent::Denied { .. } => "denial",
        LogEvent::Blocked(_) => "blocked",
        LogEvent::ManualAccepted => "manual failover",
        LogEvent::TakenOver => "takeover",
        LogEvent::Won => "won",
        LogEvent::Starting => "start of a server",
        LogEvent::SyncStarted => "sync",
        LogEvent::SyncFinished => "synced",
        LogEvent::PartialSync => "partial sync",
        LogEvent::Demoted => "demoted",
        LogEvent::Delayed { .. }
        | LogEvent::ManualRequested(_)
        | LogEvent::ManualOffset
        | LogEvent::ManualReady
        | LogEvent::Epoch(_) => return None,
    })
}

/// A reason without what differs from run to run.
fn without_numbers(reason: &str) -> String {
    let begin = reason.split(['(', '[']).next().unwrap_or(reason);
    begin
        .split(|letter: char| letter.is_ascii_digit())
        .next()
        .unwrap_or(begin)
        .trim_end_matches([' ', '.', ':', '#'])
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn two_nodes_claim_a_slot_only_if_they_do_for_a_while() {
        let (one, four) = (NodeNo(1), NodeNo(4));
        for (what, at, expected) in
            [("a handover between two answers", SECOND / 5, false), ("a master that nobody told", 2 * SECOND, true)]
        {
            let mut claims = Claims::default();
            claims.set(one, &[(0, 5460)], 0);
            claims.set(four, &[(0, 5460)], 10 * SECOND);
            // Another claim of the same does not begin it anew.
            claims.set(four, &[(0, 5460)], 10 * SECOND + at / 2);
            claims.set(one, &[], 10 * SECOND + at);
            claims.settle(20 * SECOND);
            assert_eq!(claims.is_shared, expected, "{what}");
        }
        let mut claims = Claims::default();
        claims.set(one, &[(0, 5460)], 0);
        claims.set(four, &[(5461, 10922)], 0);
        claims.settle(20 * SECOND);
        assert!(!claims.is_shared, "other slots");
    }
}
