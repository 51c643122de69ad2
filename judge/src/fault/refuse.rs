//! Links on which connections are answered with a TCP reset instead of silence.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Drawn, FaultKind, FaultSpec, FaultStep, LinkEffect, LinkNature, LinksFault, Nature, Need, Only, Settings, Sides,
};
use crate::target::Target;

pub(super) const SPEC: FaultSpec = FaultSpec {
    word: "refuse",
    past: "was refused connections",
    needs: &[Need::Links, Need::Impairments],
    drawn: Drawn::CutOff,
    nature: Nature::Links(LinkNature { severs: true }),
};

/// Settings of `refuse`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Refuse {
    /// The two sides.
    #[schemars(length(equal = 2))]
    pub between: Sides,
    /// Which traffic.
    #[serde(default)]
    pub only: Only,
    /// The name by which `heal` undoes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Settings for Refuse {
    fn fault(&self, kind: FaultKind) -> FaultStep<'_> {
        FaultStep::Links(LinksFault {
            kind,
            between: Some(&self.between),
            shape: None,
            one_way: false,
            only: self.only,
            name: self.name.as_deref(),
            effect: LinkEffect::Refuse,
            problems: Vec::new(),
        })
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        self.between.iter_mut().flat_map(|side| &mut side.0).collect()
    }
}
