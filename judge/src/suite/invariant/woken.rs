//! Settings of `woken`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Allowed, Look, Settings};
use crate::suite::DataKind;
use crate::target::Target;
use crate::units::Span;

/// Settings of `woken`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Woken {
    /// How long a client may go on waiting while an acknowledged element is there, `2s` by default.
    #[serde(default = "within")]
    pub within: Span,
    /// How many may wait for longer, 0 by default, or `measured`: count and show them, and pass.
    #[serde(default)]
    pub may_violate: Allowed,
}

fn within() -> Span {
    Span::secs(2)
}

impl Settings for Woken {
    fn check(&self, look: &mut Look<'_>) {
        look.needs_kind("", &[DataKind::Blocking]);
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        Vec::new()
    }
}
