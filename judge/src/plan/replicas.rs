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
        let all_are_there = now.values().sum::<usize>() >= planned.values().sum();
        let keeps = |wanted: usize| if all_are_there { wanted.min(usize::max(barrier, 1)) } else { wanted };
        let (shard, wanted) = planned.iter().find(|(shard, wanted)| has(shard) < keeps(**wanted))?;
        Some(format!("{shard} has {} of {}", has(shard), count(*wanted as u64, "replica")))
    }

    /// The number of replicas of a shard at boot.
    pub fn replicas_of(&self, shard: ShardNo) -> usize {
        self.nodes.iter().filter(|node| node.shard == shard && node.replica_of.is_some()).count()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite;

    #[test]
    fn a_shard_misses_replicas_by_its_own_plan() {
        let text = "name: uneven\nabout: One shard has no replica.\ncluster: { replicas-per-master: [2, 1, 0] }\n\
                    steps: [{ settle: 1s }]\ninvariants: [{ epochs: {} }]\n";
        let plan = Plan::new(&suite::parse(text, "uneven.yaml".as_ref()).expect("it reads"), 1).expect("it plans");
        for (now, expected) in [
            ([2, 1, 0], None),
            ([1, 1, 0], Some("shard-1 has 1 of 2 replicas")),
            ([2, 0, 0], Some("shard-2 has 0 of 1 replica")),
            // Replica migration.
            ([1, 2, 0], None),
            ([1, 1, 1], None),
            ([0, 2, 1], Some("shard-1 has 0 of 2 replicas")),
        ] {
            let now_of: BTreeMap<ShardNo, usize> =
                now.iter().enumerate().map(|(index, number)| (ShardNo::from_index(index), *number)).collect();
            assert_eq!(plan.missing_replicas(&now_of).as_deref(), expected, "{now:?}");
        }
    }
}
