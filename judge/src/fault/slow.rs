//! Links on which packets are delayed, where the kernel has netem.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Drawn, FaultKind, FaultSpec, FaultStep, LinkEffect, LinkNature, LinksFault, Nature, Need, Only, Settings, Sides,
};
use crate::target::Target;
use crate::units::Span;

pub(super) const SPEC: FaultSpec = FaultSpec {
    word: "slow",
    past: "had slow links",
    needs: &[Need::Links, Need::Delays],
    drawn: Drawn::Hindered,
    nature: Nature::Links(LinkNature { severs: false }),
};

const LATENCY_MAX: Span = Span::secs(60);

/// Settings of `slow`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Slow {
    /// The two sides.
    #[schemars(length(equal = 2))]
    pub between: Sides,
    /// How much later each packet arrives.
    pub latency: Span,
    /// By how much that varies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Span>,
    /// The name by which `heal` undoes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Settings for Slow {
    fn fault(&self, kind: FaultKind) -> FaultStep<'_> {
        FaultStep::Links(LinksFault {
            kind,
            between: Some(&self.between),
            shape: None,
            one_way: false,
            only: Only::All,
            name: self.name.as_deref(),
            effect: LinkEffect::Slow { latency: self.latency, jitter: self.jitter.unwrap_or_default() },
            problems: self.problems(),
        })
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        self.between.iter_mut().flat_map(|side| &mut side.0).collect()
    }
}

impl Slow {
    /// What is impossible about it: the key, empty for the whole, and why.
    fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.latency.0.is_zero() || self.latency > LATENCY_MAX {
            let message =
                format!("a latency of {} is out of bounds (hint: more than 0s, at most {LATENCY_MAX})", self.latency);
            problems.push(("latency", message));
        }
        if let Some(jitter) = self.jitter.filter(|jitter| *jitter > self.latency && !self.latency.0.is_zero()) {
            let message = format!("a jitter of {jitter} is more than the latency, {}", self.latency);
            problems.push(("jitter", message));
        }
        problems
    }
}
