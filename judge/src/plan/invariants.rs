//! Invariants: the nodes, shards and phases that they name must exist, and they must have something to observe. What
//! that means for each stands with its settings.

use super::{Problems, Shape};
use crate::suite::{Look, Nodes, RoleIs, Suite};
use crate::target::Target;
use crate::units::ShardNo;

pub(super) fn check(suite: &Suite, phases: &[&str], shape: &Shape, problems: &mut Problems) {
    for (index, invariant) in suite.invariants.iter().enumerate() {
        let at = format!("invariants[{index}].{}", invariant.name());
        let mut look = Look { suite, phases, nodes: shape, at, problems: Vec::new() };
        invariant.check(&mut look);
        for (at, message) in look.problems {
            problems.add(at, message);
        }
    }
}

impl Nodes for Shape {
    fn has_replicas(&self) -> bool {
        self.replicas > 0
    }

    fn has_replica(&self, shard: ShardNo) -> bool {
        self.replicas_of(shard) > 0
    }

    fn refuse_one(&self, target: &Target) -> Option<String> {
        self.refuse_one(target)
    }

    fn refuse_role(&self, target: &Target, is: RoleIs) -> Option<String> {
        self.refuse_role(target, is)
    }

    fn refuse_shard(&self, shard: ShardNo) -> Option<String> {
        self.refuse_shard(shard)
    }
}
