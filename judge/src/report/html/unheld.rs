//! The marks of invariants that do not hold, at the moment that each is about. Pure.

use super::series::Grid;
use super::shapes::{MOST_SHAPES, Row, Shape, percent};
use super::table::short;
use crate::check::{Judgement, Verdict};
use crate::facts::{Facts, Failover, Outage, Window};
use crate::report::figures::slowest;
use crate::report::grounds::invariant_name;
use crate::report::run::Report;
use crate::words::page::at;

/// The most marks of one invariant.
const MOST_OF_ONE: usize = 5;
/// The part of the width that a mark with its name takes.
const ROOM: f64 = 0.2;
/// The part of the width within which marks cannot be told apart.
const NEAR: f64 = 0.02;
/// The most lines of marks.
const MOST_LINES: usize = 8;
/// The height of one line of marks in pixels.
const LINE_PX: u32 = 18;

/// A row with a mark for each invariant that does not hold, where something shows when; the others are marked at the end of
/// the steps.
pub(super) fn unheld_row(report: &Report, facts: &Facts<'_>, grid: &Grid) -> Option<Row> {
    let failovers = report.timed_failovers();
    let end_ns = facts.steps.map_or(facts.end_ns, |steps| steps.to_ns);
    let mut unheld: Vec<&Judgement> = report.invariants.iter().filter(|each| each.verdict != Verdict::Pass).collect();
    unheld.sort_by_key(|judgement| std::cmp::Reverse(judgement.verdict));
    let mut marks: Vec<Mark<'_>> = Vec::new();
    for judgement in unheld {
        let moments = moments(judgement, report, facts, &failovers);
        if moments.is_empty() {
            marks.push(Mark { at_ns: end_ns, judgement, is_known: false, moments: 1 });
        }
        marks.extend(merged(moments, grid).into_iter().take(MOST_OF_ONE).map(|(at_ns, moments)| Mark {
            at_ns,
            judgement,
            is_known: true,
            moments,
        }));
    }
    let mut lines: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut shapes = Vec::new();
    for Mark { at_ns, judgement, is_known, moments } in marks.into_iter().take(MOST_SHAPES) {
        let part = grid.part(at_ns);
        let to_the_left = part > 0.5;
        let taken = if to_the_left { (part - ROOM, part) } else { (part, part + ROOM) };
        let is_free = |line: &Vec<(f64, f64)>| line.iter().all(|(from, to)| taken.1 <= *from || taken.0 >= *to);
        let line = match lines.iter().position(is_free) {
            Some(line) => line,
            // The list of invariants has them all.
            None if lines.len() == MOST_LINES => continue,
            None => {
                lines.push(Vec::new());
                lines.len() - 1
            }
        };
        lines[line].push(taken);
        let (symbol, class) = match judgement.verdict {
            Verdict::Fail => ("✕", "mark unheld"),
            Verdict::Inconclusive | Verdict::Pass => ("?", "mark undecided"),
        };
        let name = short(&judgement.invariant, 40);
        let when = match (is_known, moments) {
            (false, _) => "at no one moment".to_owned(),
            (true, 1) => at(at_ns),
            (true, several) => format!("{several} times from {}", at(at_ns)),
        };
        let whole = short(&invariant_name(&name, &judgement.settings), 200);
        shapes.push(Shape {
            x: percent(part),
            y_px: line as u32 * LINE_PX,
            class: class.to_owned(),
            title: format!("{whole}, {when}: {}", short(&judgement.seen, 400)),
            text: match (to_the_left, moments) {
                (true, 1) => format!("{name} {symbol}"),
                (true, several) => format!("{name} ({several}) {symbol}"),
                (false, 1) => format!("{symbol} {name}"),
                (false, several) => format!("{symbol} {name} ({several})"),
            },
            anchor: if to_the_left { "end" } else { "start" },
            ..Shape::default()
        });
    }
    let height_px = lines.len() as u32 * LINE_PX;
    let row = Row { label: "not held".to_owned(), note: "invariants".to_owned(), height_px, ..Row::default() };
    (!shapes.is_empty()).then_some(Row { class: "lane marks", shapes, ..row })
}

/// A mark of an invariant that does not hold.
struct Mark<'r> {
    at_ns: u64,
    judgement: &'r Judgement,
    is_known: bool,
    /// How many moments it stands for.
    moments: usize,
}

/// The moments, with those that are too near to tell apart as one: the first, and how many.
fn merged(mut moments: Vec<u64>, grid: &Grid) -> Vec<(u64, usize)> {
    moments.sort_unstable();
    let mut merged: Vec<(u64, usize)> = Vec::new();
    for at_ns in moments {
        match merged.last_mut() {
            Some((first_ns, number)) if grid.part(at_ns) - grid.part(*first_ns) < NEAR => *number += 1,
            _ => merged.push((at_ns, 1)),
        }
    }
    merged
}

/// The moments at which a judgement looks, as far as typed facts tell.
fn moments(judgement: &Judgement, report: &Report, facts: &Facts<'_>, failovers: &[Failover]) -> Vec<u64> {
    let read = judgement.witnesses.iter().filter_map(|witness| witness.ops.last());
    let of_witnesses: Vec<u64> = read.map(|op| op.complete_ns).collect();
    if !of_witnesses.is_empty() {
        return of_witnesses;
    }
    match judgement.invariant.as_str() {
        "acked-writes" => report.ledger.loss_spans.iter().map(|span| span.window.from_ns).collect(),
        "failover-time" => {
            let last = |failover: &Failover| {
                let after_ms = failover.first_write_ms.or(failover.promotion_ms).or(failover.fail_ms);
                after_ms.map_or(failover.until_ns, |after_ms| failover.from_ns.saturating_add((after_ms * 1e6) as u64))
            };
            slowest(failovers).map(last).into_iter().collect()
        }
        "promotions" | "not-promoted" | "split-brain" => failovers
            .iter()
            .filter(|failover| failover.new_master.is_some())
            .filter_map(Failover::promotion_ns)
            .collect(),
        "availability" => {
            let figure = judgement.figures.get("longest_outage_ms").copied().unwrap_or_default();
            let is_it = |outage: &&Outage| (outage.length_ms() - figure).abs() < 0.001;
            report.outages.iter().filter(is_it).map(|outage| outage.from_ns).collect()
        }
        "recovery" => {
            facts.phases.iter().filter(|phase| phase.name == "recovery").map(|phase| phase.window).map(ends).collect()
        }
        "role" | "replicas" | "slot-coverage" | "agreement" | "epochs" => at_phase(judgement, facts),
        _ => Vec::new(),
    }
}

fn ends(window: Window) -> u64 {
    window.to_ns
}

/// The end of the phase that the settings name.
fn at_phase(judgement: &Judgement, facts: &Facts<'_>) -> Vec<u64> {
    let named = facts.phases.iter().filter(|phase| judgement.settings.ends_with(&format!("at {}", phase.name)));
    named.map(|phase| phase.window.to_ns).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_too_near_to_tell_apart_are_one_mark() {
        let grid = Grid { from_ns: 0, width_ns: 1_000, count: 1_000 };
        assert_eq!(merged(vec![500_100, 500_000, 900_000, 519_000], &grid), [(500_000, 3), (900_000, 1)]);
        assert_eq!(merged(Vec::new(), &grid), []);
    }
}
