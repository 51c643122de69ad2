//! Settings of `stale-reads`.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reads::{self, Allowed};
use super::{Look, Settings};
use crate::target::Target;
use crate::units::{ParseError, Span, text_form};

/// Settings of `stale-reads`. At least one of `max-age` and `max-versions` is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StaleReads {
    /// Whose answers are judged: `masters`, `replicas`, or `any`. The figures are split in any case.
    #[serde(default)]
    pub from: Answered,
    /// How old a value may be that a read returns: from the acknowledgement of the first newer write until the read
    /// was sent. `0s` allows no stale read; `measured` counts and shows them, and passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<MaxAge>,
    /// How many acknowledged writes a read may miss, or `measured`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_versions: Option<Allowed>,
    /// Only reads that were sent in this phase; without it, from the first phase to the end of the steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub during: Option<String>,
}

impl Settings for StaleReads {
    fn check(&self, look: &mut Look<'_>) {
        reads::check(look, self.during.as_ref());
        if self.max_age.is_none() && self.max_versions.is_none() {
            look.problem("", "stale-reads needs a bound (hint: `max-age`, `max-versions`, or `max-age: measured`)");
        }
        if self.from == Answered::Replicas {
            look.needs_replicas();
        }
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        Vec::new()
    }
}

/// Who answered a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Answered {
    /// The master of the shard at that moment, or one that had been replaced and may not have known.
    Masters,
    /// Any other node.
    Replicas,
    /// Every node.
    #[default]
    Any,
}

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Masters => "masters",
            Self::Replicas => "replicas",
            Self::Any => "any",
        })
    }
}

/// The bound of an age, or `measured`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxAge {
    /// At most so old.
    AtMost(Span),
    /// Of any age, as long as it is measured.
    Measured,
}

impl fmt::Display for MaxAge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(span) => span.fmt(f),
            Self::Measured => f.write_str("measured"),
        }
    }
}

impl FromStr for MaxAge {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text == "measured" {
            return Ok(Self::Measured);
        }
        let problem = |_| ParseError::new(format!("\"{text}\" is neither a duration nor `measured`"));
        text.parse().map(Self::AtMost).map_err(problem)
    }
}

text_form!(MaxAge, "MaxAge", "A duration such as `2s`, or `measured`.", None);
