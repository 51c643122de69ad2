//! Links on which a share of the packets vanishes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Drawn, FaultKind, FaultSpec, FaultStep, LinkEffect, LinkNature, LinksFault, Nature, Need, Only, Settings, Sides,
};
use crate::target::Target;
use crate::units::Percent;

pub(super) const SPEC: FaultSpec = FaultSpec {
    word: "lossy",
    past: "had lossy links",
    needs: &[Need::Links, Need::Impairments, Need::Loss],
    drawn: Drawn::Hindered,
    nature: Nature::Links(LinkNature { severs: false }),
};

/// A loss below this could not be seen.
const LOSS_MIN: f64 = 0.0001;

/// Settings of `lossy`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Lossy {
    /// The two sides.
    #[schemars(length(equal = 2))]
    pub between: Sides,
    /// The share of packets that vanishes.
    pub percent: Percent,
    /// Which traffic.
    #[serde(default)]
    pub only: Only,
    /// The name by which `heal` undoes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Settings for Lossy {
    fn fault(&self, kind: FaultKind) -> FaultStep<'_> {
        FaultStep::Links(LinksFault {
            kind,
            between: Some(&self.between),
            shape: None,
            one_way: false,
            only: self.only,
            name: self.name.as_deref(),
            effect: LinkEffect::Lossy(self.percent),
            problems: self.problems(),
        })
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        self.between.iter_mut().flat_map(|side| &mut side.0).collect()
    }
}

impl Lossy {
    /// What is impossible about it: the key, empty for the whole, and why.
    fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let share = self.percent.fraction();
        if share < LOSS_MIN {
            problems.push(("percent", format!("a loss of {} is none (hint: at least 0.01%)", self.percent)));
        } else if share >= 1.0 {
            problems.push(("percent", "a loss of 100% is a cut (hint: `partition`)".to_owned()));
        }
        problems
    }
}
