//! Throughput, latency and lag over time, in buckets: a history of any length becomes a picture of bounded size. Pure.

use std::collections::BTreeMap;

use crate::facts::{Facts, Window};
use crate::history::{EventKind, History, Outcome};
use crate::suite::{ClientSet, OpKind};
use crate::units::{NodeNo, ShardNo};

/// The width of buckets, unless the run is too long for it.
const NARROWEST_NS: u64 = 100_000_000;

/// The most buckets of all series of operations together, so that a browser draws a page at once and the page stays below
/// 2 MB.
const ALL_BUCKETS: u64 = 9_000;

/// About so many operations a bucket of a series has at least, on average.
const OPS_IN_BUCKET: u64 = 5;

/// So many buckets are drawn however few operations there are.
const FEWEST_BUCKETS: u64 = 40;

/// A grid of equal buckets over a span of a run's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// The start of the first bucket, in nanoseconds from the start of the run.
    pub from_ns: u64,
    /// The width of each bucket in nanoseconds.
    pub width_ns: u64,
    /// The number of buckets, at least 1.
    pub count: usize,
}

impl Grid {
    /// The grid of the picture: buckets of 100 ms, or wider if there were too many, or so few operations in each that their
    /// number would only tell how they happen to fall. `ops` are the operations of all shards.
    pub fn fine(window: Window, shards: u16, ops: usize) -> Self {
        let series = 2 * u64::from(shards.max(1));
        let most = (ALL_BUCKETS / series).clamp(FEWEST_BUCKETS * 3, 900);
        let filled = ops as u64 / (series * OPS_IN_BUCKET);
        let most = if ops == 0 { most } else { most.min(filled.max(FEWEST_BUCKETS)) };
        Self::new(window, NARROWEST_NS, most)
    }

    /// The grid of the table: buckets of 1 s, or wider if the table were too long.
    pub fn coarse(window: Window, shards: u16) -> Self {
        let most = (2_400 / (2 * u64::from(shards.max(1)))).clamp(20, 60);
        Self::new(window, 10 * NARROWEST_NS, most)
    }

    fn new(window: Window, narrowest_ns: u64, most: u64) -> Self {
        let span_ns = window.length_ns().max(1);
        let mut width_ns = narrowest_ns;
        // 100 ms, 200 ms, 500 ms, 1 s, ...: round widths.
        for step in [2, 5, 10].into_iter().cycle() {
            if span_ns.div_ceil(width_ns) <= most {
                break;
            }
            let decade_ns = match step {
                2 => width_ns,
                5 => width_ns / 2,
                _ => width_ns / 5,
            };
            width_ns = decade_ns.saturating_mul(step);
        }
        Self { from_ns: window.from_ns, width_ns, count: span_ns.div_ceil(width_ns) as usize }
    }

    /// The bucket of a moment; None outside the grid.
    pub fn index(&self, at_ns: u64) -> Option<usize> {
        let index = (at_ns.checked_sub(self.from_ns)? / self.width_ns) as usize;
        (index < self.count).then_some(index)
    }

    /// The position of a moment in the grid, from 0 to 1; moments outside are at the edge.
    pub fn part(&self, at_ns: u64) -> f64 {
        let span_ns = self.width_ns as f64 * self.count as f64;
        ((at_ns as f64 - self.from_ns as f64) / span_ns).clamp(0.0, 1.0)
    }

    /// The start of a bucket in seconds from the start of the run.
    pub fn edge_s(&self, index: usize) -> f64 {
        (self.from_ns as f64 + self.width_ns as f64 * index as f64) / 1e9
    }

    /// The width of a bucket in seconds.
    pub fn width_s(&self) -> f64 {
        self.width_ns as f64 / 1e9
    }
}

/// The outcomes of the operations that were issued in one bucket.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bucket {
    /// The number of acknowledged operations.
    pub ok: u64,
    /// The number that certainly did not happen.
    pub failed: u64,
    /// The number that may have happened.
    pub unknown: u64,
    /// The number that was due and not sent.
    pub unsent: u64,
    /// The latencies of acknowledged operations, from their due times; None if there are none.
    pub latency: Option<Latency>,
}

impl Bucket {
    /// Adds the operations of another bucket. The latencies are then the worst of both.
    pub fn add(&mut self, other: &Self) {
        self.ok += other.ok;
        self.failed += other.failed;
        self.unknown += other.unknown;
        self.unsent += other.unsent;
        self.latency = match (self.latency, other.latency) {
            (Some(a), Some(b)) => Some(Latency {
                p50_ms: a.p50_ms.max(b.p50_ms),
                p99_ms: a.p99_ms.max(b.p99_ms),
                max_ms: a.max_ms.max(b.max_ms),
            }),
            (a, b) => a.or(b),
        };
    }

    /// The number of operations in the bucket.
    pub fn total(&self) -> u64 {
        self.ok + self.failed + self.unknown + self.unsent
    }
}

/// Latencies in milliseconds.
#[allow(clippy::struct_field_names, reason = "units stand last in names")]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency {
    /// Median.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// The operations of one kind and shard over a grid.
#[derive(Debug, Clone, PartialEq)]
pub struct OpSeries {
    /// The shard.
    pub shard: ShardNo,
    /// Reads or writes.
    pub kind: OpKind,
    /// Of which clients.
    pub clients: ClientSet,
    /// One for each bucket of the grid.
    pub buckets: Vec<Bucket>,
}

/// Gathers the operations of a history by shard, side of the clients, and kind, writes first. Kinds without operations on a shard are left out.
pub fn op_series(facts: &Facts<'_>, grid: &Grid) -> Vec<OpSeries> {
    #[derive(Default, Clone)]
    struct Cell {
        failed: u64,
        unknown: u64,
        unsent: u64,
        latencies_ns: Vec<u64>,
    }
    let shards = facts.ops.key_shards();
    let mut cells: BTreeMap<(ShardNo, ClientSet, bool), Vec<Cell>> = BTreeMap::new();
    for op in &facts.history.ops {
        let Some(index) = grid.index(op.invoke_ns()) else { continue };
        let shard = shards.of(op.key());
        let clients = facts.clients.set_of(op.client());
        let row = cells
            .entry((shard, clients, op.kind() == OpKind::Reads))
            .or_insert_with(|| vec![Cell::default(); grid.count]);
        match op.outcome() {
            Outcome::Ok => row[index].latencies_ns.push(op.complete_ns().saturating_sub(op.due_ns())),
            Outcome::Fail(_) => row[index].failed += 1,
            Outcome::Info(_) => row[index].unknown += 1,
            Outcome::Unsent(_) => row[index].unsent += 1,
        }
    }
    let finished = |cell: Cell| Bucket {
        ok: cell.latencies_ns.len() as u64,
        failed: cell.failed,
        unknown: cell.unknown,
        unsent: cell.unsent,
        latency: latency(cell.latencies_ns),
    };
    cells
        .into_iter()
        .map(|((shard, clients, reads), row)| OpSeries {
            shard,
            clients,
            kind: if reads { OpKind::Reads } else { OpKind::Writes },
            buckets: row.into_iter().map(finished).collect(),
        })
        .collect()
}

/// Percentiles by nearest rank: each is the latency of an operation.
fn latency(mut latencies_ns: Vec<u64>) -> Option<Latency> {
    latencies_ns.sort_unstable();
    let last = latencies_ns.len().checked_sub(1)?;
    let rank_ms = |percent: usize| latencies_ns[(latencies_ns.len() * percent).div_ceil(100) - 1] as f64 / 1e6;
    Some(Latency { p50_ms: rank_ms(50), p99_ms: rank_ms(99), max_ms: latencies_ns[last] as f64 / 1e6 })
}

/// The lag of one replica over a grid.
#[derive(Debug, Clone, PartialEq)]
pub struct LagSeries {
    /// The replica.
    pub replica: NodeNo,
    /// The largest lag in each bucket, in bytes; None without a sample.
    pub most_bytes: Vec<Option<u64>>,
}

/// Gathers the samples of replication lag by replica.
pub fn lag_series(history: &History, grid: &Grid) -> Vec<LagSeries> {
    let mut by_replica: BTreeMap<NodeNo, Vec<Option<u64>>> = BTreeMap::new();
    for event in &history.events {
        let EventKind::Lag { replica, bytes, .. } = event.kind else { continue };
        let Some(index) = grid.index(event.at_ns) else { continue };
        let most = &mut by_replica.entry(replica).or_insert_with(|| vec![None; grid.count])[index];
        *most = Some(most.unwrap_or(0).max(bytes));
    }
    by_replica.into_iter().map(|(replica, most_bytes)| LagSeries { replica, most_bytes }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Event, Explanation, Op, OpParts};
    use crate::report::fixture;

    fn window(to_ms: u64) -> Window {
        Window { from_ns: 0, to_ns: to_ms * 1_000_000 }
    }

    #[test]
    fn buckets_widen_with_the_run() {
        for (to_ms, shards, width_ms, count) in [
            (0, 3, 100, 1),
            (1, 3, 100, 1),
            (25_000, 3, 100, 250),
            (90_000, 3, 100, 900),
            (90_001, 3, 200, 451),
            (200_000, 3, 500, 400),
            (600_000, 3, 1000, 600),
            (3_600_000, 3, 5000, 720),
            (60_000, 20, 500, 120),
            (60_000, u16::MAX, 500, 120),
        ] {
            let grid = Grid::fine(window(to_ms), shards, 0);
            assert_eq!((grid.width_ns / 1_000_000, grid.count), (width_ms, count), "{to_ms} ms, {shards} shards");
        }
        let endless = Grid::fine(Window { from_ns: 0, to_ns: u64::MAX }, 3, 0);
        assert!(endless.count <= 900, "{endless:?}");
    }

    #[test]
    fn buckets_hold_enough_to_mean_something() {
        // 20 s, three shards: 400/s, 150/s and 4/s.
        for (ops, width_ms) in [(8_000, 100), (3_000, 200), (80, 500)] {
            assert_eq!(Grid::fine(window(20_000), 3, ops).width_ns / 1_000_000, width_ms, "{ops}");
        }
    }

    #[test]
    fn latency_counts_from_the_due_time() {
        let ms = 1_000_000;
        let op = |kind, due: u64, invoke: u64, complete: u64, outcome| {
            let parts = OpParts {
                due_ns: due * ms,
                invoke_ns: invoke * ms,
                complete_ns: complete * ms,
                key: 0,
                value: 1,
                client: 0,
                node: 1,
                kind,
                redirects: 0,
                outcome,
            };
            Op::try_from(parts).expect("it fits")
        };
        let (reads, writes) = (OpKind::Reads, OpKind::Writes);
        let history = History {
            header: fixture::report("role-swap", crate::check::Verdict::Pass).header,
            ops: vec![
                op(writes, 0, 10, 20, Outcome::Ok),
                op(writes, 20, 20, 30, Outcome::Ok),
                op(writes, 90, 90, 450, Outcome::Ok),
                op(writes, 100, 100, 101, Outcome::Fail(0)),
                op(writes, 199, 199, 5000, Outcome::Info(0)),
                op(writes, 150, 150, 150, Outcome::Unsent(0)),
                op(reads, 310, 310, 311, Outcome::Ok),
                op(reads, 400, 400, 401, Outcome::Ok),
            ],
            reasons: vec![Explanation::of_text("refused")],
            events: Vec::new(),
            details: Vec::new(),
            complete: true,
        };
        let series = op_series(&Facts::new(&history), &Grid::fine(window(400), 1, 0));
        let [of_writes, of_reads] = series.as_slice() else { panic!("{series:?}") };
        assert_eq!((of_writes.kind, of_reads.kind), (writes, reads));
        let latency = Latency { p50_ms: 20.0, p99_ms: 360.0, max_ms: 360.0 };
        assert_eq!(of_writes.buckets[0], Bucket { ok: 3, latency: Some(latency), ..Bucket::default() });
        assert_eq!(of_writes.buckets[1], Bucket { failed: 1, unknown: 1, unsent: 1, ..Bucket::default() });
        assert_eq!(of_writes.buckets[2], Bucket::default());
        assert_eq!(of_reads.buckets.iter().map(|bucket| bucket.ok).sum::<u64>(), 1, "one lies beyond the window");
    }

    #[test]
    fn keeps_the_largest_lag_of_a_bucket() {
        let lag = |at_ms: u64, bytes| Event {
            at_ns: at_ms * 1_000_000,
            kind: EventKind::Lag { replica: NodeNo(4), master: NodeNo(1), bytes, link_up: true },
        };
        let mut history = History {
            header: fixture::report("role-swap", crate::check::Verdict::Pass).header,
            ops: Vec::new(),
            reasons: Vec::new(),
            events: vec![lag(10, 5), lag(20, 90), lag(30, 0), lag(250, 0)],
            details: Vec::new(),
            complete: true,
        };
        let grid = Grid::fine(window(300), 3, 0);
        assert_eq!(lag_series(&history, &grid)[0].most_bytes, [Some(90), None, Some(0)]);
        history.events.clear();
        assert_eq!(lag_series(&history, &grid), []);
    }
}
