//! Settings of `latency`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClientSet, Look, OpKind, Settings, ShardSet};
use crate::target::Target;
use crate::units::Span;

/// Settings of `latency`. At least one of `p50`, `p99`, `p999` and `max` is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Latency {
    /// Reads, writes, or both together.
    pub of: LatencyOf,
    /// Of which shards: each is judged on its own.
    #[serde(default)]
    pub shard: ShardSet,
    /// Of which clients: `cut-off` (those on the side with fewer nodes of a fault that severs links between clients and nodes),
    /// `rest` (all others), or `all` together.
    #[serde(default, skip_serializing_if = "ClientSet::is_all")]
    pub clients: ClientSet,
    /// Only operations issued in this phase; without it, all from the first phase to the end of the
    /// steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub during: Option<String>,
    /// The most that half of the operations may take. Latencies count from when an operation is due. Needs 2 operations
    /// of a shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50: Option<Span>,
    /// The most that 99 % of the operations may take. Needs 100 operations of a shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99: Option<Span>,
    /// The most that 99.9 % of the operations may take. Needs 1000 operations of a shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p999: Option<Span>,
    /// The most that any operation may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Span>,
}

impl Latency {
    /// The bounds that are given, from the lowest quantile to the highest.
    pub fn bounds(&self) -> impl Iterator<Item = (Quantile, Span)> {
        let Self { of: _, shard: _, clients: _, during: _, p50, p99, p999, max } = self;
        [(Quantile::P50, *p50), (Quantile::P99, *p99), (Quantile::P999, *p999), (Quantile::Max, *max)]
            .into_iter()
            .filter_map(|(quantile, bound)| Some((quantile, bound?)))
    }
}

impl Settings for Latency {
    fn check(&self, look: &mut Look<'_>) {
        look.needs_open_loop();
        match self.of {
            LatencyOf::Reads => look.needs_operations("of", OpKind::Reads),
            LatencyOf::Writes => look.needs_operations("of", OpKind::Writes),
            LatencyOf::All => {}
        }
        look.shards("shard", self.shard);
        look.clients("clients", self.clients);
        if let Some(phase) = &self.during {
            look.phase("during", phase);
        }
        let bounds: Vec<(Quantile, Span)> = self.bounds().collect();
        if bounds.is_empty() {
            look.problem("", "latency needs a bound (hint: `p50`, `p99`, `p999` or `max`)");
        }
        for (quantile, bound) in bounds.iter().filter(|(_, bound)| bound.0.is_zero()) {
            let message = format!("no operation takes {bound} (hint: a bound of more than 0s, such as `50ms`)");
            look.problem(quantile.name(), message);
        }
        for pair in bounds.windows(2) {
            let ((lower, loose), (higher, tight)) = (pair[0], pair[1]);
            if loose > tight {
                let message = format!("`{lower}` {loose} is above `{higher}` {tight}, so it demands nothing");
                look.problem(lower.name(), message);
            }
        }
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        Vec::new()
    }
}

/// Reads, writes, or both together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LatencyOf {
    /// GET.
    Reads,
    /// SET.
    Writes,
    /// GET and SET.
    All,
}

impl LatencyOf {
    /// The kinds of operations.
    pub fn kinds(self) -> &'static [OpKind] {
        match self {
            Self::Reads => &[OpKind::Reads],
            Self::Writes => &[OpKind::Writes],
            Self::All => &[OpKind::Reads, OpKind::Writes],
        }
    }

    /// The noun for one of them: `read`.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Reads => "read",
            Self::Writes => "write",
            Self::All => "operation",
        }
    }
}

impl fmt::Display for LatencyOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reads => "reads",
            Self::Writes => "writes",
            Self::All => "all",
        })
    }
}

/// A quantile of latencies by the nearest rank: the smallest latency that so large a share of the operations does not
/// exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantile {
    /// The median.
    P50,
    /// That of 99 %.
    P99,
    /// That of 99.9 %.
    P999,
    /// The longest.
    Max,
}

impl Quantile {
    /// The key of a suite: `p99`.
    pub fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::P999 => "p999",
            Self::Max => "max",
        }
    }

    /// The fewest operations that have it: with fewer, it is the longest latency of all.
    pub fn fewest(self) -> usize {
        match self {
            Self::P50 => 2,
            Self::P99 => 100,
            Self::P999 => 1000,
            Self::Max => 1,
        }
    }

    /// Its position among so many latencies in ascending order; `count` is not 0.
    pub fn position(self, count: usize) -> usize {
        let share_permille = match self {
            Self::P50 => 500,
            Self::P99 => 990,
            Self::P999 => 999,
            Self::Max => 1000,
        };
        (count * share_permille).div_ceil(1000).max(1) - 1
    }
}

impl fmt::Display for Quantile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_smallest_that_so_large_a_share_does_not_exceed() {
        for (quantile, share_permille) in
            [(Quantile::P50, 500), (Quantile::P99, 990), (Quantile::P999, 999), (Quantile::Max, 1000)]
        {
            for count in 1..3000 {
                let up_to_it = quantile.position(count) + 1;
                assert!(up_to_it <= count && up_to_it * 1000 >= share_permille * count, "{quantile} of {count}");
                assert!((up_to_it - 1) * 1000 < share_permille * count, "{quantile} of {count}");
            }
        }
    }
}
