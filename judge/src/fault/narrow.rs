//! Links whose rate is limited.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Drawn, FaultKind, FaultSpec, FaultStep, LinkEffect, LinkNature, LinksFault, Nature, Need, Only, Settings, Sides,
};
use crate::target::Target;
use crate::units::ByteRate;

pub(super) const SPEC: FaultSpec = FaultSpec {
    word: "narrow",
    past: "had narrow links",
    needs: &[Need::Links, Need::Impairments],
    drawn: Drawn::Hindered,
    nature: Nature::Links(LinkNature { severs: false }),
};

/// Below this nothing would get through any more.
const RATE_MIN_BYTES: u64 = 1000;

/// Settings of `narrow`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Narrow {
    /// The two sides.
    #[schemars(length(equal = 2))]
    pub between: Sides,
    /// Bytes per second that pass, over all links of the fault together: `20kB/s`.
    pub rate: ByteRate,
    /// Which traffic.
    #[serde(default)]
    pub only: Only,
    /// The name by which `heal` undoes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Settings for Narrow {
    fn fault(&self, kind: FaultKind) -> FaultStep<'_> {
        FaultStep::Links(LinksFault {
            kind,
            between: Some(&self.between),
            shape: None,
            one_way: false,
            only: self.only,
            name: self.name.as_deref(),
            effect: LinkEffect::Narrow(self.rate),
            problems: self.problems(),
        })
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        self.between.iter_mut().flat_map(|side| &mut side.0).collect()
    }
}

impl Narrow {
    /// What is impossible about it: the key, empty for the whole, and why.
    fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.rate.bytes_per_second < RATE_MIN_BYTES {
            let message =
                format!("{} is too narrow for anything to pass (hint: at least 1kB/s, or `partition`)", self.rate);
            problems.push(("rate", message));
        }
        problems
    }
}
