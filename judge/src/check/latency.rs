//! `latency`: how long reads or writes took.

use std::cmp::Reverse;

use super::ask::BUSY;
use super::finding::Finding;
use super::{Figure, FigureKind, Judgement, Traits, Verdict};
use crate::facts::{Facts, Window};
use crate::history::{Op, Outcome, key_name};
use crate::suite::{ClientSet, Latency, OpKind, Quantile, ShardSet};
use crate::units::{ShardNo, Span};
use crate::words::{at, count, length_ns, list};

pub(super) const TRAITS: Traits = Traits {
    is_telling: false,
    figures: &[
        Figure { name: "latency_p50_ms", kind: FigureKind::Time },
        Figure { name: "latency_p99_ms", kind: FigureKind::Time },
        Figure { name: "latency_p999_ms", kind: FigureKind::Time },
        Figure { name: "latency_max_ms", kind: FigureKind::Time },
    ],
};

/// How many of the slowest operations are shown.
const SHOWN: usize = 5;

/// An operation is shown as issued late from here on.
const SHOWN_LATE_NS: u64 = 1_000_000;

pub(super) fn judge(facts: &Facts<'_>, settings: &Latency) -> Judgement {
    let mut finding = Finding::new();
    let window = facts.window(settings.during.as_deref());
    let looked_at = window.and_then(|window| {
        let shards = facts.shards(settings.shard)?;
        facts.clients.known(settings.clients)?;
        Ok((window, shards))
    });
    match looked_at {
        Ok((window, shards)) => {
            let mut slowest = Vec::new();
            for shard in shards {
                slowest.extend(look_at(facts, settings, shard, window, &mut finding));
            }
            slowest.sort_by_key(|(_, op)| Reverse(op.complete_ns().saturating_sub(op.due_ns())));
            for (shard, op) in slowest.into_iter().take(SHOWN) {
                finding.evidence(describe(facts, shard, op));
            }
        }
        Err(why) => _ = finding.undecided(why),
    }
    if settings.bounds().next().is_none() {
        finding.undecided("there is nothing to judge (hint: set `p50`, `p99`, `p999` or `max`)");
    }
    finding.judge("latency", words(settings), expected(settings))
}

fn words(settings: &Latency) -> String {
    let mut parts = vec![format!("of {}, shard {}", settings.of, settings.shard)];
    if settings.clients != ClientSet::All {
        parts.push(format!("clients {}", settings.clients));
    }
    parts.extend(settings.during.as_ref().map(|phase| format!("during {phase}")));
    parts.extend(settings.bounds().map(|(quantile, bound)| format!("{quantile} {bound}")));
    parts.join(", ")
}

fn expected(settings: &Latency) -> String {
    let on = match settings.shard {
        ShardSet::One(shard) => format!("on {shard}"),
        ShardSet::All => "on each shard".to_owned(),
        ShardSet::Others => "on each shard without a fault".to_owned(),
    };
    let noun = settings.of.noun();
    let parts = settings.bounds().map(|(quantile, bound)| {
        let who = match quantile {
            Quantile::P50 => format!("half of the {noun}s take"),
            Quantile::P99 => format!("99 % of the {noun}s take"),
            Quantile::P999 => format!("99.9 % of the {noun}s take"),
            Quantile::Max => format!("every {noun} takes"),
        };
        format!("{who} at most {}", length_ns(bound.as_ns()))
    });
    let when = settings.during.as_ref().map_or_else(String::new, |phase| format!(" during phase \"{phase}\""));
    let by = settings.clients.by();
    format!("{on}{by}{when}, from when they are due: {}", list(parts))
}

/// What is known about the latency of one operation, in nanoseconds.
///
/// (Worked example: a write is due at 0 ms, issued at 10 ms and answered at 110 ms, and around it the harness issued no
/// operation more than 10 ms late. It took at most 110 ms. Of these, the harness may have caused the 10 ms before the issue
/// and, on a machine that is that busy, four delays of 10 ms until it had the answer. So the cluster took at least 60 ms:
/// a bound of 110 ms holds, one of 59 ms does not, and between them nothing is decided.)
struct Took<'h> {
    op: &'h Op,
    /// What the cluster took at the least: without the time before the issue, and without what the harness may have caused.
    least_ns: u64,
    /// What passed from its due time on. Without an answer, nobody knows how long the answer would have taken.
    most_ns: u64,
}

impl<'h> Took<'h> {
    fn new(facts: &Facts<'_>, op: &'h Op) -> Self {
        let asked = Window { from_ns: op.invoke_ns(), to_ns: op.complete_ns() };
        let most_ns = match op.outcome() {
            Outcome::Ok => op.complete_ns().saturating_sub(op.due_ns()),
            Outcome::Fail(_) | Outcome::Info(_) | Outcome::Unsent(_) => u64::MAX,
        };
        let least_ns = match op.outcome() {
            Outcome::Ok | Outcome::Fail(_) | Outcome::Info(_) => {
                asked.length_ns().saturating_sub(facts.late_around_ns(asked).saturating_mul(BUSY))
            }
            Outcome::Unsent(_) => 0,
        };
        Self { op, least_ns: least_ns.saturating_sub(stalled_ns(facts, asked)), most_ns }
    }
}

/// How long the harness stood still in a window, in nanoseconds.
fn stalled_ns(facts: &Facts<'_>, window: Window) -> u64 {
    let from = facts.stalls.partition_point(|stall| stall.to_ns <= window.from_ns);
    let inside = facts.stalls[from..].iter().take_while(|stall| stall.from_ns < window.to_ns);
    inside.map(|stall| stall.overlap_ns(window)).sum()
}

/// Judges the operations of one shard, and returns the slowest.
fn look_at<'h>(
    facts: &Facts<'h>,
    settings: &Latency,
    shard: ShardNo,
    window: Window,
    finding: &mut Finding,
) -> Vec<(ShardNo, &'h Op)> {
    let kinds = settings.of.kinds().iter();
    let ops: Vec<&'h Op> = kinds.flat_map(|&kind| facts.issued(kind, shard, settings.clients, window)).collect();
    let sent = ops.iter().filter(|op| op.outcome().was_tried()).count();
    let noun = settings.of.noun();
    if sent == 0 {
        finding.undecided(format!("{shard}: no {noun}s were sent ({})", facts.too_few(shard)));
        return Vec::new();
    }
    finding.observed(sent as u64);
    let positions: Vec<usize> = settings.bounds().map(|(quantile, _)| quantile.position(ops.len())).collect();
    let least_ns = at_positions(ops.iter().map(|op| Took::new(facts, op).least_ns).collect(), &positions);
    let most_ns = at_positions(ops.iter().map(|op| Took::new(facts, op).most_ns).collect(), &positions);
    let mut seen = vec![format!("{shard}: {}", count(sent as u64, noun))];
    let mut open = Vec::new();
    for ((quantile, bound), (least_ns, most_ns)) in settings.bounds().zip(least_ns.into_iter().zip(most_ns)) {
        if sent < quantile.fewest() {
            open.push(format!("{quantile} needs {} {noun}s of {shard} ({})", quantile.fewest(), facts.too_few(shard)));
            continue;
        }
        let between = Between { quantile, bound, least_ns, most_ns };
        seen.push(between.words());
        if let Some(ms) = between.known_ms() {
            finding.worst_figure(&format!("latency_{quantile}_ms"), ms);
        }
        match between.exceeds(facts, window, &ops, noun) {
            Ok(true) => _ = finding.weigh(Verdict::Fail),
            Ok(false) => {}
            Err(why) => open.push(why),
        }
    }
    finding.saw(seen.join(", "));
    for why in open {
        finding.undecided(why);
    }
    slowest(ops.into_iter().filter(|op| op.outcome().was_tried())).into_iter().map(|op| (shard, op)).collect()
}

/// The numbers that sorting would bring to these positions.
fn at_positions(mut numbers: Vec<u64>, positions: &[usize]) -> Vec<u64> {
    positions.iter().map(|&position| *numbers.select_nth_unstable(position).1).collect()
}

/// The operations that took longest, at most [`SHOWN`]; of equals the first.
fn slowest<'h>(ops: impl Iterator<Item = &'h Op>) -> Vec<&'h Op> {
    let mut slowest: Vec<(u64, &Op)> = Vec::with_capacity(SHOWN + 1);
    for op in ops {
        let took_ns = op.complete_ns().saturating_sub(op.due_ns());
        if slowest.len() == SHOWN && took_ns <= slowest[SHOWN - 1].0 {
            continue;
        }
        slowest.insert(slowest.partition_point(|&(longer_ns, _)| longer_ns >= took_ns), (took_ns, op));
        slowest.truncate(SHOWN);
    }
    slowest.into_iter().map(|(_, op)| op).collect()
}

/// The two ends between which a quantile lies, and its bound.
struct Between {
    quantile: Quantile,
    bound: Span,
    least_ns: u64,
    most_ns: u64,
}

impl Between {
    fn known_ms(&self) -> Option<f64> {
        (self.most_ns < u64::MAX).then_some(self.most_ns as f64 / 1e6)
    }

    fn words(&self) -> String {
        let Self { quantile, least_ns, most_ns, .. } = self;
        match self.known_ms() {
            Some(_) => format!("{quantile} {}", length_ns(*most_ns)),
            None => format!("{quantile} at least {}", length_ns(*least_ns)),
        }
    }

    /// Whether the quantile is above its bound, or why that is not certain.
    fn exceeds(&self, facts: &Facts<'_>, window: Window, ops: &[&Op], noun: &str) -> Result<bool, String> {
        let Self { quantile, bound, least_ns, most_ns } = self;
        let bound_ns = bound.as_ns();
        let cut = facts.cut_in(window);
        if *least_ns > bound_ns {
            // What was not observed could not have made the longest shorter.
            let diluted = cut.filter(|_| *quantile != Quantile::Max).map(str::to_owned);
            return diluted.or_else(|| facts.issued_late()).map_or(Ok(true), Err);
        }
        if *most_ns <= bound_ns {
            return cut.map_or(Ok(false), |why| Err(why.to_owned()));
        }
        let took = ops.iter().map(|op| Took::new(facts, op));
        let unclear = took.filter(|each| each.most_ns > bound_ns && each.least_ns <= bound_ns);
        let (mut unserved, mut unsent, mut late, mut late_ns) = (0, 0, 0, 0);
        for each in unclear {
            match each.op.outcome() {
                Outcome::Ok => {
                    late += 1;
                    let asked = Window { from_ns: each.op.due_ns(), to_ns: each.op.complete_ns() };
                    late_ns = late_ns.max(facts.late_around_ns(asked)).max(stalled_ns(facts, asked));
                }
                Outcome::Fail(_) | Outcome::Info(_) => unserved += 1,
                Outcome::Unsent(_) => unsent += 1,
            }
        }
        let mut why = Vec::new();
        if unserved > 0 {
            why.push(format!("{} not served (hint: `availability` judges these)", count(unserved, noun)));
        }
        if unsent > 0 {
            why.push(format!("{} not sent: too few keys (hint: raise `workload.keys`)", count(unsent, noun)));
        }
        if late > 0 {
            let around = length_ns(late_ns);
            why.push(format!("{} while the harness itself was late by up to {around}", count(late, noun)));
        }
        Err(format!("{quantile} may be above {}: {}", length_ns(bound_ns), why.join("; ")))
    }
}

fn describe(facts: &Facts<'_>, shard: ShardNo, op: &Op) -> String {
    let took = length_ns(op.complete_ns().saturating_sub(op.due_ns()));
    let node = if op.node() == 0 { String::new() } else { format!(" by node-{}", op.node()) };
    let end = match facts.history.explanation(op.outcome()) {
        None => format!("answered{node} after {took}"),
        Some(explanation) => format!("not served{node} after {took} (`{}`)", explanation.text),
    };
    let late_ns = op.invoke_ns().saturating_sub(op.due_ns());
    let late = if late_ns >= SHOWN_LATE_NS { format!(", issued {} late", length_ns(late_ns)) } else { String::new() };
    let kind = match op.kind() {
        OpKind::Reads => "read",
        OpKind::Writes => "write",
    };
    format!(
        "{shard}: {kind} of {} by client-{}, due at {}, {end}{late}",
        key_name(op.key()),
        u32::from(op.client()) + 1,
        at(op.due_ns())
    )
}
