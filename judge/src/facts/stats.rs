//! Counts and latencies of operations.

use std::collections::{BTreeMap, BTreeSet};

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::consistency::sort_nearly_sorted;
use crate::history::{History, Op, Outcome, key_name, kind_of, workload_keys};
use crate::plan::Plan;
use crate::slot::Deal;
use crate::suite::{DataKind, OpKind};
use crate::units::ShardNo;

/// An operation that is issued later than this after its due time counts as late.
const LATE_NS: u64 = 1_000_000_000;

/// A half-open span of time in nanoseconds from the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Window {
    /// The first moment in it.
    pub from_ns: u64,
    /// The first moment after it.
    pub to_ns: u64,
}

impl Window {
    /// Whether a moment is in it.
    #[inline]
    pub fn contains(self, at_ns: u64) -> bool {
        (self.from_ns..self.to_ns).contains(&at_ns)
    }

    /// The window of a wait of that many milliseconds until a moment.
    pub fn before(to_ns: u64, waited_ms: f64) -> Self {
        Self { from_ns: to_ns.saturating_sub((waited_ms.max(0.0) * 1e6) as u64), to_ns }
    }

    /// Its length in nanoseconds.
    pub fn length_ns(self) -> u64 {
        self.to_ns.saturating_sub(self.from_ns)
    }

    /// The length of its overlap with another window, in nanoseconds.
    pub fn overlap_ns(self, other: Self) -> u64 {
        self.to_ns.min(other.to_ns).saturating_sub(self.from_ns.max(other.from_ns))
    }
}

/// Statistics of the reads or the writes that were issued in a window, of all shards or one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OpStats {
    /// The number that was issued, or due and not sent.
    pub issued: u64,
    /// The number of acknowledged ones.
    pub ok: u64,
    /// The number that certainly did not happen.
    pub failed: u64,
    /// The number that may have happened.
    pub unknown: u64,
    /// The number that was due and not sent. Reports of earlier versions count them as failed.
    #[serde(default)]
    pub unsent: u64,
    /// The median latency of acknowledged operations in milliseconds, from their due times (not from their issue).
    pub p50_ms: f64,
    /// The 99th percentile of these latencies in milliseconds.
    pub p99_ms: f64,
    /// The longest of these latencies in milliseconds.
    pub max_ms: f64,
    /// The 99th percentile of the delay between due time and issue, in milliseconds.
    pub late_p99_ms: f64,
    /// The number of operations that were not served, by the text of the reason.
    pub reasons: BTreeMap<String, u64>,
}

/// The shard of every key, by the owner of its slot at boot. Each key is hashed once.
#[derive(Debug)]
pub struct KeyShards {
    deal: Deal,
    by_key: BTreeMap<DataKind, Vec<ShardNo>>,
    /// Those of `by_key` for registers, whose keys are their own numbers.
    of_registers: Vec<ShardNo>,
    without_keys: Vec<ShardNo>,
}

impl KeyShards {
    /// The shards of the keys of a plan's workload.
    pub fn new(plan: &Plan) -> Self {
        let deal = plan.deal();
        // The table has only the keys of the plan, so that a key number in a foreign history cannot make it huge. Other keys
        // are hashed on demand.
        let mut by_key: BTreeMap<DataKind, Vec<ShardNo>> = BTreeMap::new();
        for key in workload_keys(&plan.workload) {
            by_key.entry(kind_of(key).0).or_default().push(deal.shard_of_key(key_name(key).as_bytes()));
        }
        let with: BTreeSet<ShardNo> = by_key.values().flatten().copied().collect();
        let without_keys = deal.shards().filter(|shard| !with.contains(shard)).collect();
        let of_registers = by_key.remove(&DataKind::Register).unwrap_or_default();
        Self { deal, by_key, of_registers, without_keys }
    }

    /// The shard of a key.
    #[inline]
    pub fn of(&self, key: u32) -> ShardNo {
        if let Some(&shard) = self.of_registers.get(key as usize) {
            return shard;
        }
        let (kind, number) = kind_of(key);
        let known = self.by_key.get(&kind).and_then(|shards| shards.get(number as usize)).copied();
        known.unwrap_or_else(|| self.deal.shard_of_key(key_name(key).as_bytes()))
    }

    /// The slots of each shard at boot.
    pub fn deal(&self) -> &Deal {
        &self.deal
    }

    /// The shards without a key of the workload. Operations prove nothing about them.
    pub fn without_keys(&self) -> &[ShardNo] {
        &self.without_keys
    }
}

/// The operations of a history by kind and shard, in the order of their issue.
#[derive(Debug)]
pub struct OpIndex<'a> {
    history: &'a History,
    shards: KeyShards,
    by: BTreeMap<(OpKind, ShardNo), Vec<&'a Op>>,
    late: u64,
}

impl<'a> OpIndex<'a> {
    /// Indexes the operations of a history.
    pub fn new(history: &'a History) -> Self {
        let shards = KeyShards::new(&history.header.plan);
        let mut late = 0;
        // By kind and number of the shard. Runs of one shard are rare, so a map would be asked for each operation.
        let mut dense: [Vec<Vec<&Op>>; 2] = [Vec::new(), Vec::new()];
        for op in &history.ops {
            late += u64::from(op.late_ns() > LATE_NS);
            let of_kind = &mut dense[usize::from(op.kind() == OpKind::Writes)];
            let shard = usize::from(shards.of(op.key()).0);
            if shard >= of_kind.len() {
                of_kind.resize_with(shard + 1, Vec::new);
            }
            of_kind[shard].push(op);
        }
        let mut by: BTreeMap<_, Vec<&Op>> = BTreeMap::new();
        for (kind, of_kind) in [OpKind::Reads, OpKind::Writes].into_iter().zip(dense) {
            for (shard, mut ops) in (0..).zip(of_kind).filter(|(_, ops)| !ops.is_empty()) {
                // They are in the order of their completion.
                sort_nearly_sorted(&mut ops, |op| (op.invoke_ns(), op.complete_ns()));
                by.insert((kind, ShardNo(shard)), ops);
            }
        }
        Self { history, shards, by, late }
    }

    /// The number of operations that were issued over a second late.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// The shard of every key.
    pub fn key_shards(&self) -> &KeyShards {
        &self.shards
    }

    /// The operations of a kind and shard that were issued in a window, in the order of their issue.
    pub fn issued(&self, kind: OpKind, shard: ShardNo, window: Window) -> &[&'a Op] {
        let ops = self.by.get(&(kind, shard)).map_or(&[][..], Vec::as_slice);
        let from = ops.partition_point(|op| op.invoke_ns() < window.from_ns);
        let to = ops.partition_point(|op| op.invoke_ns() < window.to_ns);
        &ops[from..to.max(from)]
    }

    /// Statistics of the operations of a kind issued in a window, of one shard or of all.
    pub fn stats(&self, kind: OpKind, shard: Option<ShardNo>, window: Window) -> OpStats {
        let shards = self.by.keys().filter(|(of, each)| *of == kind && shard.is_none_or(|shard| shard == *each));
        count(self.history, shards.flat_map(|&(kind, shard)| self.issued(kind, shard, window)).copied())
    }
}

fn count<'a>(history: &History, ops: impl Iterator<Item = &'a Op>) -> OpStats {
    let mut stats = OpStats::default();
    let mut reasons: BTreeMap<u16, u64> = BTreeMap::new();
    let mut latency_us = histogram();
    let mut late_us = histogram();
    for op in ops {
        stats.issued += 1;
        record(&mut late_us, op.invoke_ns().saturating_sub(op.due_ns()));
        match op.outcome() {
            Outcome::Ok => {
                stats.ok += 1;
                let latency_ns = op.complete_ns().saturating_sub(op.due_ns());
                record(&mut latency_us, latency_ns);
                stats.max_ms = stats.max_ms.max(latency_ns as f64 / 1e6);
            }
            Outcome::Fail(reason) => {
                stats.failed += 1;
                *reasons.entry(reason).or_default() += 1;
            }
            Outcome::Info(reason) => {
                stats.unknown += 1;
                *reasons.entry(reason).or_default() += 1;
            }
            Outcome::Unsent(reason) => {
                stats.unsent += 1;
                *reasons.entry(reason).or_default() += 1;
            }
        }
    }
    let quantile_ms = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    stats.p50_ms = quantile_ms(&latency_us, 0.5);
    // A bucket of the histogram may end above the longest latency.
    stats.p99_ms = quantile_ms(&latency_us, 0.99).min(stats.max_ms);
    stats.p50_ms = stats.p50_ms.min(stats.max_ms);
    stats.late_p99_ms = quantile_ms(&late_us, 0.99);
    for (reason, times) in reasons {
        let explanation = history.reasons.get(usize::from(reason));
        let text = explanation.map_or("(reason missing)", |explanation| explanation.text.as_str());
        *stats.reasons.entry(text.to_owned()).or_default() += times;
    }
    stats
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("3 significant digits are allowed")
}

fn record(histogram_us: &mut Histogram<u64>, ns: u64) {
    // `saturating_record` would not extend the small initial range.
    histogram_us.record(ns / 1000).expect("a histogram without bounds grows");
}
