//! A violation on a time line: a row for each of its operations. Pure.
//!
//! Operations take less than a millisecond, and seconds may lie between them. So the axis keeps the order of all moments
//! and is not to scale.

use super::shapes::{Tick, percent};
use super::table::short;
use crate::consistency::{Does, Effect, Witness, WitnessOp};
use crate::words::page::fixed;

/// The most bytes of a sentence, and of a key's name.
const LONGEST_WHY: usize = 600;
const LONGEST_KEY: usize = 60;
const LONGEST_COMMAND: usize = 160;

/// The least part of the width between two moments.
const LEAST_PART: f64 = 0.06;

/// The room at both ends of the axis.
const MARGIN: f64 = 0.08;

/// Labels of the axis are at least this far apart.
const LABEL_PART: f64 = 0.2;

/// A violation.
pub struct Drawing {
    /// Why the operations contradict each other.
    pub why: String,
    /// The moments of the axis in percent.
    pub moments: Vec<String>,
    /// The labels of the axis.
    pub ticks: Vec<Tick>,
    /// The operations.
    pub rows: Vec<Row>,
}

/// An operation.
pub struct Row {
    /// Its class in the style sheet.
    pub class: &'static str,
    /// Who sent it.
    pub who: String,
    /// What it does and what it returned.
    pub command: String,
    /// What became of it.
    pub outcome: String,
    /// All of it in words.
    pub title: String,
    /// Left edge and width of its bar in percent.
    pub x: String,
    /// See `x`.
    pub w: String,
    /// The class of the bar.
    pub bar: &'static str,
    /// Whether the end of the bar is unknown.
    pub open: bool,
    /// When it was sent and answered.
    pub times: String,
    /// The edge of the bar next to that text, in percent.
    pub text_x: String,
    /// Where the text is: `before`, `after` or `inside` the bar.
    pub place: &'static str,
}

/// Draws a violation; None for one without operations.
pub fn drawing(witness: &Witness) -> Option<Drawing> {
    let ops = &witness.ops[..witness.ops.len().min(Witness::OPS)];
    let axis = Axis::new(ops)?;
    let key = short(&witness.key, LONGEST_KEY);
    Some(Drawing {
        why: short(&witness.why, LONGEST_WHY),
        moments: axis.parts.iter().map(|part| percent(*part)).collect(),
        ticks: axis.ticks(),
        rows: ops
            .iter()
            .enumerate()
            .map(|(at, op)| row(op, short(&witness.command(at, &key), LONGEST_COMMAND), &axis))
            .collect(),
    })
}

/// The moments at which operations were sent or answered, in order, and where each is drawn.
struct Axis {
    moments_ns: Vec<u64>,
    parts: Vec<f64>,
    digits: usize,
}

impl Axis {
    fn new(ops: &[WitnessOp]) -> Option<Self> {
        let ends = |op: &WitnessOp| [op.invoke_ns, if is_open(op) { op.invoke_ns } else { op.complete_ns }];
        let mut moments_ns: Vec<u64> = ops.iter().flat_map(ends).collect();
        moments_ns.sort_unstable();
        moments_ns.dedup();
        let gaps: Vec<u64> = moments_ns.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let roots = gaps.iter().map(|gap_ns| (*gap_ns as f64).sqrt());
        let sum = roots.clone().sum::<f64>().max(1.0);
        let free = 1.0 - 2.0 * MARGIN - LEAST_PART * gaps.len() as f64;
        let mut parts = vec![MARGIN; usize::from(!moments_ns.is_empty())];
        for root in roots {
            parts.push(parts.last()? + LEAST_PART + free * root / sum);
        }
        // As many digits as it takes to tell neighbours apart.
        let digits = match gaps.iter().min() {
            Some(0..10_000) => 6,
            Some(10_000..100_000) => 5,
            Some(100_000..1_000_000) => 4,
            Some(1_000_000..) | None => 3,
        };
        (!moments_ns.is_empty()).then_some(Self { moments_ns, parts, digits })
    }

    fn part(&self, ns: u64) -> f64 {
        let at = self.moments_ns.partition_point(|&moment_ns| moment_ns < ns);
        self.parts[at.min(self.parts.len() - 1)]
    }

    fn at(&self, ns: u64) -> String {
        format!("{} s", fixed(ns as f64 / 1e9, self.digits))
    }

    fn ticks(&self) -> Vec<Tick> {
        let mut ticks: Vec<Tick> = Vec::new();
        let mut last = f64::NEG_INFINITY;
        for (&ns, &part) in self.moments_ns.iter().zip(&self.parts) {
            if part - last >= LABEL_PART {
                ticks.push(Tick::new(part, self.at(ns)));
                last = part;
            }
        }
        ticks
    }
}

/// Whether it may take effect at any later time.
fn is_open(op: &WitnessOp) -> bool {
    op.outcome == Effect::Possible
}

fn row(op: &WitnessOp, command: String, axis: &Axis) -> Row {
    let who = match (op.client, op.does) {
        (_, Does::FinalRead) => "in the end".to_owned(),
        (client, Does::Read | Does::Write) => client.map_or_else(String::new, |client| client.to_string()),
    };
    let by = op.node.map(|node| format!(" by {node}")).unwrap_or_default();
    let outcome = match (op.does, op.outcome) {
        (Does::Read | Does::FinalRead, _) => format!("answered{by}"),
        (Does::Write, Effect::Certain) => format!("acknowledged{by}"),
        (Does::Write, Effect::Possible) => "outcome unknown: it may take effect at any later time".to_owned(),
        (Does::Write, Effect::Impossible) => format!("refused{by}"),
    };
    let from = axis.part(op.invoke_ns);
    let to = if is_open(op) { 1.0 } else { axis.part(op.complete_ns).max(from + 0.008) };
    let times = match (op.does, op.outcome) {
        (Does::FinalRead, _) => axis.at(op.complete_ns),
        (_, Effect::Possible) => format!("{}, open end", axis.at(op.invoke_ns)),
        (_, Effect::Certain | Effect::Impossible) => {
            format!("{} to {}", axis.at(op.invoke_ns), axis.at(op.complete_ns))
        }
    };
    let (text_x, place) = match (from, 1.0 - to) {
        _ if is_open(op) && from < 0.5 => (from, "inside"),
        (before, after) if before > after => (from, "before"),
        _ => (to, "after"),
    };
    Row {
        class: match (op.does, op.contradicts) {
            (Does::Write, false) => "writes",
            (Does::Write, true) => "writes contradicts",
            (Does::Read | Does::FinalRead, false) => "reads",
            (Does::Read | Does::FinalRead, true) => "reads contradicts",
        },
        title: format!("{who} {command}: {times}, {outcome}"),
        who,
        command,
        outcome,
        x: percent(from),
        w: percent((to - from).max(0.0)),
        bar: match op.outcome {
            Effect::Certain => "answered",
            Effect::Possible => "unanswered",
            Effect::Impossible => "refused",
        },
        open: is_open(op),
        times,
        text_x: percent(text_x),
        place,
    }
}
