//! Settings of `replicas`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Look, Moment, Settings, ShardSet};
use crate::target::Target;
use crate::units::Span;

/// Settings of `replicas`. `exactly`, or at least one of `at-least` and `at-most`, is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Replicas {
    /// Which shards; each is judged on its own.
    #[serde(default)]
    pub shard: ShardSet,
    /// The number of replicas that a shard has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exactly: Option<u16>,
    /// The least number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<u16>,
    /// The largest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u16>,
    /// When.
    #[serde(default = "Moment::end")]
    pub at: Moment,
    /// How long after the last fault was undone (by a step or by the final healing), or after the last CLUSTER command,
    /// the number may still be another. It must stay from then on. Only with `at: end`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
}

impl Replicas {
    /// Whether a shard may have so many.
    pub fn allows(&self, number: usize) -> bool {
        self.exactly.is_none_or(|exactly| number == usize::from(exactly))
            && self.at_least.is_none_or(|least| number >= usize::from(least))
            && self.at_most.is_none_or(|most| number <= usize::from(most))
    }

    /// Whether any number is demanded.
    pub fn demands(&self) -> bool {
        self.exactly.is_some() || self.at_least.is_some() || self.at_most.is_some()
    }
}

impl Settings for Replicas {
    fn check(&self, look: &mut Look<'_>) {
        look.shards("shard", self.shard);
        look.moment("at", &self.at);
        if !self.demands() {
            look.problem("", "replicas needs a number (hint: `exactly`, `at-least` or `at-most`)");
        }
        if self.exactly.is_some() && (self.at_least.is_some() || self.at_most.is_some()) {
            look.problem("exactly", "`exactly` cannot be combined with `at-least` or `at-most`");
        }
        if let (Some(least), Some(most)) = (self.at_least, self.at_most)
            && least > most
        {
            look.problem("at-least", format!("at least {least} and at most {most} is no number"));
        }
        if self.at_least == Some(0) && self.at_most.is_none() {
            look.problem("at-least", "every shard has at least 0 replicas (hint: `at-least: 1`)");
        }
        if self.within.is_some() {
            if self.at != Moment::End {
                let message = format!("`within` counts to the end, not to \"{}\" (hint: `at: end`)", self.at);
                look.problem("within", message);
            }
            look.needs_disturbance(
                "within",
                "no step begins a fault or sends a command, so there is nothing to count from",
            );
        }
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        Vec::new()
    }
}
