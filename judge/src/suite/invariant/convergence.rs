//! Settings of `convergence`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Look, Settings};
use crate::fault::FaultStep;
use crate::target::Target;
use crate::units::Bound;

/// Settings of `convergence`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Convergence {
    /// The bound, from the healing of the last network fault.
    pub within: Bound,
}

impl Settings for Convergence {
    fn check(&self, look: &mut Look<'_>) {
        let is_of_links = |fault: &FaultStep<'_>| fault.kind().hits_links();
        look.needs_fault(
            "",
            is_of_links,
            "no step begins a network fault, so there is nothing to heal (hint: `agreement`)",
        );
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        Vec::new()
    }
}
