//! Links on which connections are answered with a TCP reset instead of silence.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Drawn, FaultKind, FaultSpec, LinkEffect, LinkNature, LinksFault, Nature, Need, Only, Sides};

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

impl Refuse {
    /// The fault of links that it is.
    pub fn links(&self) -> LinksFault<'_> {
        LinksFault {
            kind: FaultKind::Refuse,
            between: Some(&self.between),
            shape: None,
            one_way: false,
            only: self.only,
            name: self.name.as_deref(),
            effect: LinkEffect::Refuse,
            problems: Vec::new(),
        }
    }
}
