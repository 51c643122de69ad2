//! Links between two sides, or in a shape, on which packets vanish.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Drawn, FaultKind, FaultSpec, FaultStep, LinkEffect, LinkNature, LinksFault, Nature, Need, Only, Settings, Shape,
    Sides,
};
use crate::target::Target;

pub(super) const SPEC: FaultSpec = FaultSpec {
    word: "partition",
    past: "was cut off",
    needs: &[Need::Links],
    drawn: Drawn::CutOff,
    nature: Nature::Links(LinkNature { severs: true }),
};

/// Settings of `partition`: `{ between: [A, B] }`, or `{ shape: ring }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Partition {
    /// The two sides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(equal = 2))]
    pub between: Option<Sides>,
    /// A shape among all nodes, instead of two sides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Shape>,
    /// Only packets from the first side to the second vanish.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_way: bool,
    /// Which traffic is cut.
    #[serde(default)]
    pub only: Only,
    /// The name by which `heal` undoes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Settings for Partition {
    fn fault(&self, kind: FaultKind) -> FaultStep<'_> {
        FaultStep::Links(LinksFault {
            kind,
            between: self.between.as_ref(),
            shape: self.shape,
            one_way: self.one_way,
            only: self.only,
            name: self.name.as_deref(),
            effect: LinkEffect::Drop,
            problems: self.problems(),
        })
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        self.between.iter_mut().flatten().flat_map(|side| &mut side.0).collect()
    }
}

impl Partition {
    /// What is impossible about it: the key, empty for the whole, and why.
    fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let Some(_) = self.shape else {
            if self.between.is_none() {
                problems.push(("", "partition needs `between`, two sides, or a `shape` (hint: `{ between: [shard-1/master, others] }`)".to_owned()));
            }
            return problems;
        };
        if self.between.is_some() {
            problems.push(("shape", "partition takes `between` or a `shape`, not both".to_owned()));
        }
        if self.one_way {
            problems.push(("one-way", "a shape is cut both ways (hint: `one-way` goes with `between`)".to_owned()));
        }
        if self.only == Only::Clients {
            problems.push(("only", "a shape is cut among nodes, so `only: clients` hits nothing".to_owned()));
        }
        problems
    }
}
