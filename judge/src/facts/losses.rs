//! Lost writes over time.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cause, Window};
use crate::units::ShardNo;

/// Acknowledged writes of a shard that were lost by the same cause and acknowledged one soon after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LossSpan {
    /// The shard of their keys.
    pub shard: ShardNo,
    /// What lost them.
    pub cause: Cause,
    /// From the first acknowledgement to the moment after the last.
    #[serde(flatten)]
    pub window: Window,
    /// How many there are, in the end or before they were overwritten.
    pub lost: u64,
}

impl LossSpan {
    /// The most spans of a ledger.
    pub const MOST: usize = 200;
}

/// The largest pause within a span, unless there are too many spans.
const PAUSE_NS: u64 = 250_000_000;

/// Gathers lost writes.
#[derive(Debug, Default)]
pub(super) struct Losses(BTreeMap<(ShardNo, Cause), Vec<u64>>);

impl Losses {
    /// Adds a lost write by the time of its acknowledgement, in nanoseconds from the start of the run.
    pub fn add(&mut self, shard: ShardNo, cause: Cause, acked_ns: u64) {
        self.0.entry((shard, cause)).or_default().push(acked_ns);
    }

    /// All of them in order of time: every write is in exactly one span, and there are at most [`LossSpan::MOST`], unless that
    /// many shards and causes have losses.
    pub fn spans(mut self) -> Vec<LossSpan> {
        for moments in self.0.values_mut() {
            moments.sort_unstable();
        }
        let mut pause_ns = PAUSE_NS;
        loop {
            let mut spans: Vec<LossSpan> =
                self.0.iter().flat_map(|(&(shard, cause), moments)| joined(shard, cause, moments, pause_ns)).collect();
            if spans.len() <= LossSpan::MOST.max(self.0.len()) {
                spans.sort_by_key(|span| (span.window.from_ns, span.shard, span.cause));
                return spans;
            }
            pause_ns = pause_ns.saturating_mul(2);
        }
    }
}

fn joined(shard: ShardNo, cause: Cause, moments: &[u64], pause_ns: u64) -> Vec<LossSpan> {
    let alike = moments.chunk_by(|before, after| after - before <= pause_ns);
    let span = |moments: &[u64]| LossSpan {
        shard,
        cause,
        window: Window { from_ns: moments[0], to_ns: moments[moments.len() - 1] + 1 },
        lost: moments.len() as u64,
    };
    alike.map(span).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_that_follow_soon_are_one_span() {
        let mut losses = Losses::default();
        for ms in [1000, 3000, 1200, 3250, 1450] {
            losses.add(ShardNo(1), Cause::Failover, ms * 1_000_000);
        }
        losses.add(ShardNo(1), Cause::Restart, 1_100_000_000);
        losses.add(ShardNo(2), Cause::Failover, 1_100_000_000);
        let spans = losses.spans();
        let shape: Vec<_> = spans
            .iter()
            .map(|span| (span.shard.0, span.cause, span.window.from_ns / 1_000_000, span.window.length_ns(), span.lost))
            .collect();
        assert_eq!(
            shape,
            [
                (1, Cause::Failover, 1000, 450_000_001, 3),
                (1, Cause::Restart, 1100, 1, 1),
                (2, Cause::Failover, 1100, 1, 1),
                (1, Cause::Failover, 3000, 250_000_001, 2),
            ]
        );
    }

    #[test]
    fn the_number_of_spans_is_bounded_and_no_loss_is_left_out() {
        let mut losses = Losses::default();
        for second in 0..5000 {
            losses.add(ShardNo(1), Cause::Unknown, second * 1_000_000_000);
        }
        let spans = losses.spans();
        assert!(spans.len() <= LossSpan::MOST, "{}", spans.len());
        assert_eq!(spans.iter().map(|span| span.lost).sum::<u64>(), 5000);
    }
}
