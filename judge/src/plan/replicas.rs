//! How many replicas each shard must have in the end.

use std::collections::BTreeMap;

use super::Plan;
use crate::suite::Step;
use crate::units::ShardNo;
use crate::words::count;

impl Plan {
    /// Why some shard has too few replicas, given the number of each shard's replicas. None if every shard has as many as
    /// planned, or if a step of the suite sends a CLUSTER command that may change who replicates whom.
    ///
    /// A replica that moved to another shard by replica migration is not missing: a master gives one away as long as it
    /// keeps `cluster-migration-barrier` others (1 by default).
    pub fn missing_replicas(&self, now: &BTreeMap<ShardNo, usize>) -> Option<String> {
        if self.steps.iter().any(changes_replicas) {
            return None;
        }
        let planned = self.planned_replicas();
        let barrier = self.config.get("cluster-migration-barrier").and_then(|value| value.0.parse().ok()).unwrap_or(1);
        let has = |shard: &ShardNo| now.get(shard).copied().unwrap_or(0);
        let all_are_there = planned.keys().map(has).sum::<usize>() >= planned.values().sum();
        let keeps = |wanted: usize| if all_are_there { wanted.min(usize::max(barrier, 1)) } else { wanted };
        let (shard, wanted) = planned.iter().find(|(shard, wanted)| has(shard) < keeps(**wanted))?;
        Some(format!("{shard} has {} of {}", has(shard), count(*wanted as u64, "replica")))
    }

    fn planned_replicas(&self) -> BTreeMap<ShardNo, usize> {
        let mut planned = BTreeMap::new();
        for node in self.nodes.iter().filter(|node| node.replica_of.is_some()) {
            *planned.entry(node.shard).or_default() += 1;
        }
        planned
    }
}

/// A failover swaps a master and its replica, so it keeps their numbers.
fn changes_replicas(step: &Step) -> bool {
    let Step::Command(command) = step else { return false };
    let words = &command.send.0;
    let is = |position: usize, word: &str| words.get(position).is_some_and(|each| each.eq_ignore_ascii_case(word));
    is(0, "cluster") && !is(1, "failover")
}
