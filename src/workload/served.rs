//! Tracks which shards serve the workload.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::facts::KeyShards;
use crate::history::{OpParts, kind_of, workload_keys};
use crate::plan::Plan;
use crate::suite::OpKind;
use crate::units::ShardNo;

/// The time of issue of the last served operation, for each kind of operation and each shard that the workload uses.
#[derive(Debug)]
pub struct Served {
    shards: KeyShards,
    last_ns: Mutex<BTreeMap<(OpKind, ShardNo), Option<u64>>>,
}

impl Served {
    /// Nothing is served yet.
    pub fn new(plan: &Plan) -> Self {
        let shards = KeyShards::new(plan);
        let reads = plan.workload.reads.fraction();
        let kinds = [(OpKind::Reads, reads > 0.0), (OpKind::Writes, reads < 1.0)];
        let kinds = kinds.into_iter().filter_map(|(kind, is_issued)| is_issued.then_some(kind));
        let last_ns = kinds
            .flat_map(|kind| workload_keys(&plan.workload).map(move |key| (kind, key)))
            .filter(|&(kind, key)| kind == OpKind::Writes || kind_of(key).0.is_read())
            .map(|(kind, key)| ((kind, shards.of(key)), None))
            .collect();
        Self { shards, last_ns: Mutex::new(last_ns) }
    }

    /// Records a served operation.
    pub fn note(&self, op: &OpParts) {
        let shard = self.shards.of(op.key);
        let mut last_ns = self.last_ns.lock().expect("no holder panics");
        // Loading writes every key, even if the workload itself only reads.
        if let Some(last_ns) = last_ns.get_mut(&(op.kind, shard)) {
            *last_ns = Some(op.invoke_ns).max(*last_ns);
        }
    }

    /// Whether every kind and shard has served an operation that was issued at `from_ns` or later.
    pub fn all_since(&self, from_ns: u64) -> bool {
        self.last_ns.lock().expect("no holder panics").values().all(|last_ns| *last_ns >= Some(from_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Outcome;

    #[test]
    fn requires_every_kind_in_every_shard_with_keys() {
        let suite = crate::suite::load("formation").unwrap();
        let plan = |reads: &str, keys: u32| {
            let mut plan = Plan::new(&suite, 1).unwrap();
            plan.workload = serde_json::from_value(serde_json::json!({"reads": reads, "keys": keys})).unwrap();
            plan
        };
        let op = |kind, key, invoke_ns| OpParts {
            due_ns: invoke_ns,
            invoke_ns,
            complete_ns: invoke_ns + 5,
            key,
            value: 1,
            client: 0,
            node: 1,
            kind,
            redirects: 0,
            outcome: Outcome::Ok,
        };
        let both = Served::new(&plan("50%", 600));
        let of = |shard| (0..600).find(|key| both.shards.of(*key) == ShardNo(shard)).unwrap();
        for kind in [OpKind::Reads, OpKind::Writes] {
            for shard in 1..=3 {
                assert!(!both.all_since(10), "{kind:?} of shard-{shard} is missing");
                both.note(&op(kind, of(shard), 10));
                both.note(&op(kind, of(shard), 4));
            }
        }
        assert!(both.all_since(10) && !both.all_since(11));
        let reads = Served::new(&plan("100%", 1));
        reads.note(&op(OpKind::Writes, 0, 10));
        assert!(!reads.all_since(10));
        reads.note(&op(OpKind::Reads, 0, 10));
        assert!(reads.all_since(10), "one key is in one shard");
    }
}
