//! Comparing one figure of two sets of runs. Safety figures are compared directly, times and amounts by a statistical test.

use schemars::JsonSchema;
use serde::Serialize;

use super::figures::{Figures, LongestOutage};
use super::run::Report;
use super::statistics::{FEWEST_RUNS, SIGNIFICANCE, mann_whitney, median, runs_needed, shift};
use crate::check::{FigureKind, kinds};

/// A figure on one side.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct Side {
    /// The number of runs that have it.
    pub observed: usize,
    /// Whether it is a lower bound in a run: an outage was still open at the end.
    pub open: bool,
    /// The median.
    pub median: Option<f64>,
    /// The smallest value.
    pub min: Option<f64>,
    /// The largest value.
    pub max: Option<f64>,
}

/// How a figure changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It did not change.
    Same,
    /// It is significantly better.
    Better,
    /// It is significantly worse.
    Worse,
    /// It differs, but not significantly, or a test is not possible.
    Undecided,
    /// Only the new side has it.
    Appeared,
    /// Only the base has it.
    Vanished,
}

/// A figure on both sides.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct FigureChange {
    /// The name, with the unit last: `promotion_ms`, `lost`.
    pub figure: &'static str,
    /// How it is compared.
    pub kind: FigureKind,
    /// The figure in the base.
    pub base: Side,
    /// The figure on the new side.
    pub new: Side,
    /// How it changed.
    pub change: Change,
    /// The Hodges-Lehmann shift from base to new; for safety figures the difference of the worst runs.
    pub difference: Option<f64>,
    /// The 95 % confidence interval of the shift; None with too few runs.
    pub interval: Option<(f64, f64)>,
    /// The two-sided p-value of the Mann-Whitney U test.
    pub p: Option<f64>,
    /// If undecided: about how many runs on each side would show this difference; None if more runs would not help.
    pub runs_needed: Option<u32>,
    /// If undecided: the reason, in words.
    pub because: Option<String>,
}

impl FigureChange {
    /// Whether a test was made that could have shown a difference.
    pub fn tested(&self) -> bool {
        self.kind != FigureKind::Safety && self.p.is_some() && self.interval.is_some()
    }
}

/// A value, and whether it is only a lower bound.
type Value = (f64, bool);

struct Measure {
    name: &'static str,
    kind: FigureKind,
    read: fn(&Figures) -> Option<Value>,
}

fn exact(value: f64) -> Value {
    (value, false)
}

fn outage(outage: LongestOutage) -> Value {
    (outage.length_ms, !outage.ended)
}

/// The largest value of a figure in the judgements of one invariant.
fn judged(report: &Report, invariant: &str, figure: &str) -> Option<Value> {
    let of_kind = report.invariants.iter().filter(|judgement| judgement.invariant == invariant);
    of_kind.filter_map(|judgement| judgement.figures.get(figure)).copied().max_by(f64::total_cmp).map(exact)
}

/// The figures of whole runs; those of judgements are in [`kinds`].
const OF_RUNS: [Measure; 12] = {
    use FigureKind::{Amount, Safety, Time};
    [
        Measure { name: "lost", kind: Safety, read: |of| Some(exact(of.lost as f64)) },
        Measure { name: "overwritten", kind: Safety, read: |of| Some(exact(of.overwritten as f64)) },
        Measure { name: "undecided", kind: Safety, read: |of| Some(exact(of.undecided as f64)) },
        Measure { name: "keys_unread", kind: Safety, read: |of| Some(exact(of.keys_unread as f64)) },
        Measure { name: "fail_ms", kind: Time, read: |of| of.fail_ms.map(exact) },
        Measure { name: "promotion_ms", kind: Time, read: |of| of.promotion_ms.map(exact) },
        Measure { name: "first_write_ms", kind: Time, read: |of| of.first_write_ms.map(exact) },
        Measure { name: "longest_read_outage_ms", kind: Time, read: |of| of.read_outage.map(outage) },
        Measure { name: "longest_write_outage_ms", kind: Time, read: |of| of.write_outage.map(outage) },
        Measure { name: "longest_cut_off_read_outage_ms", kind: Time, read: |of| of.cut_off_read_outage.map(outage) },
        Measure { name: "longest_cut_off_write_outage_ms", kind: Time, read: |of| of.cut_off_write_outage.map(outage) },
        Measure { name: "acknowledged", kind: Amount, read: |of| Some(exact(of.acknowledged as f64)) },
    ]
};

/// The figures that a run of either side has.
pub(super) fn figure_changes(base: &[&Report], new: &[&Report]) -> Vec<FigureChange> {
    let figures = |reports: &[&Report]| -> Vec<Figures> { reports.iter().map(|report| Figures::new(report)).collect() };
    let (base_figures, new_figures) = (figures(base), figures(new));
    let mut changes: Vec<FigureChange> = OF_RUNS
        .iter()
        .map(|measure| {
            let read = |figures: &[Figures]| figures.iter().filter_map(measure.read).collect::<Vec<_>>();
            changed(measure.name, measure.kind, (base, &read(&base_figures)), (new, &read(&new_figures)))
        })
        .collect();
    for kind in kinds() {
        changes.extend(kind.traits.figures.iter().map(|figure| {
            let read = |reports: &[&Report]| -> Vec<Value> {
                reports.iter().filter_map(|report| judged(report, kind.name, figure.name)).collect()
            };
            changed(figure.name, figure.kind, (base, &read(base)), (new, &read(new)))
        }));
    }
    // Safety comes first, then times.
    changes.sort_by_key(|change| match change.kind {
        FigureKind::Safety => 0,
        FigureKind::Time => 1,
        FigureKind::Amount => 2,
    });
    changes.retain(|change| change.base.observed + change.new.observed > 0);
    changes
}

/// A figure on two sides. Some runs may not have it.
fn changed(
    name: &'static str,
    kind: FigureKind,
    (base, base_values): (&[&Report], &[Value]),
    (new, new_values): (&[&Report], &[Value]),
) -> FigureChange {
    let unseen = (base.len() - base_values.len(), new.len() - new_values.len());
    change(name, kind, base_values, new_values, unseen)
}

fn side(values: &[Value]) -> Side {
    let numbers = numbers(values);
    Side {
        observed: values.len(),
        open: values.iter().any(|(_, open)| *open),
        median: median(&numbers),
        min: numbers.iter().copied().min_by(f64::total_cmp),
        max: numbers.iter().copied().max_by(f64::total_cmp),
    }
}

fn numbers(values: &[Value]) -> Vec<f64> {
    values.iter().map(|(value, _)| *value).collect()
}

fn change(
    figure: &'static str,
    kind: FigureKind,
    base: &[Value],
    new: &[Value],
    (unseen_base, unseen_new): (usize, usize),
) -> FigureChange {
    let sides = (side(base), side(new));
    let (base, new) = (numbers(base), numbers(new));
    let found = |change| FigureChange {
        figure,
        kind,
        base: sides.0.clone(),
        new: sides.1.clone(),
        change,
        difference: None,
        interval: None,
        p: None,
        runs_needed: None,
        because: None,
    };
    let (Some((shift, interval)), Some(base_max), Some(new_max)) = (shift(&base, &new), sides.0.max, sides.1.max)
    else {
        return found(if base.is_empty() { Change::Appeared } else { Change::Vanished });
    };
    if base.iter().chain(&new).all(|value| value.total_cmp(&base[0]).is_eq()) && !sides.0.open && !sides.1.open {
        return FigureChange { difference: Some(0.0), ..found(Change::Same) };
    }
    let p = mann_whitney(&base, &new);
    let way = |rise: f64| {
        if (rise > 0.0) == (kind == FigureKind::Amount) { Change::Better } else { Change::Worse }
    };
    if kind == FigureKind::Safety {
        let change = match (base_max, new_max) {
            (base, new) if base <= 0.0 && new > 0.0 => Change::Worse,
            (base, new) if base > 0.0 && new <= 0.0 => Change::Better,
            _ if p < SIGNIFICANCE => way(shift),
            (base, new) if base.total_cmp(&new).is_eq() => Change::Same,
            _ => Change::Undecided,
        };
        let because = (change == Change::Undecided).then(|| "it happened on both sides".to_owned());
        return FigureChange { difference: Some(new_max - base_max), because, ..found(change) };
    }
    let because = if sides.0.open || sides.1.open {
        Some("an outage was still open at the end".to_owned())
    } else if unseen_base + unseen_new > 0 {
        Some(format!("not observed in {unseen_base} runs of the base and {unseen_new} of the new side"))
    } else if base.len().min(new.len()) < FEWEST_RUNS as usize && interval.is_none() {
        Some(format!("too few runs: {} against {}", base.len(), new.len()))
    } else if p >= SIGNIFICANCE {
        Some("the difference is not significant".to_owned())
    } else {
        let change = way(shift);
        return FigureChange { difference: Some(shift), interval, p: Some(p), ..found(change) };
    };
    let comparable = !sides.0.open && !sides.1.open && unseen_base + unseen_new == 0;
    FigureChange {
        difference: Some(shift),
        interval: interval.filter(|_| comparable),
        p: comparable.then_some(p),
        runs_needed: if comparable { runs_needed(&base, &new) } else { None },
        because,
        ..found(Change::Undecided)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: FigureKind, base: &[f64], new: &[f64]) -> FigureChange {
        let values = |values: &[f64]| values.iter().map(|value| exact(*value)).collect::<Vec<_>>();
        change("x", kind, &values(base), &values(new), (0, 0))
    }

    #[test]
    fn a_safety_figure_is_worse_as_soon_as_it_is_not_zero() {
        for (base, new, expected) in [
            (&[0.0, 0.0][..], &[0.0][..], Change::Same),
            (&[0.0], &[0.0, 0.0, 1.0], Change::Worse),
            (&[3.0, 0.0], &[0.0], Change::Better),
            (&[3.0], &[3.0], Change::Same),
            (&[3.0], &[30.0], Change::Undecided),
            (&[1.0, 2.0, 3.0, 4.0, 5.0], &[11.0, 12.0, 13.0, 14.0, 15.0], Change::Worse),
            (&[11.0, 12.0, 13.0, 14.0, 15.0], &[1.0, 2.0, 3.0, 4.0, 5.0], Change::Better),
        ] {
            assert_eq!(of(FigureKind::Safety, base, new).change, expected, "{base:?} {new:?}");
        }
        assert_eq!(of(FigureKind::Safety, &[2.0, 5.0], &[9.0, 1.0]).difference, Some(4.0), "of the worst runs");
    }

    #[test]
    fn a_time_changes_only_significantly() {
        let base = [1.0, 2.0, 3.0, 4.0, 5.0];
        for (new, expected, needed) in [
            (&[11.0, 12.0, 13.0, 14.0, 15.0][..], Change::Worse, None),
            (&[0.1, 0.2, 0.3, 0.4, 0.5], Change::Better, None),
            (&[2.0, 3.0, 4.0, 5.0, 6.0], Change::Undecided, Some(41)),
            (&[11.0, 12.0], Change::Undecided, Some(FEWEST_RUNS)),
            (&base, Change::Undecided, None),
        ] {
            let found = of(FigureKind::Time, &base, new);
            assert_eq!((found.change, found.runs_needed), (expected, needed), "{new:?}");
            assert_eq!(found.because.is_some(), expected == Change::Undecided, "{new:?}");
        }
        let more = of(FigureKind::Amount, &base, &[11.0, 12.0, 13.0, 14.0, 15.0]);
        assert_eq!(more.change, Change::Better, "more was done");
    }

    #[test]
    fn a_figure_missing_in_a_run_is_undecided() {
        let (base, new): (Vec<_>, Vec<_>) =
            (0..5).map(|at| (exact(f64::from(at)), exact(f64::from(at) + 50.0))).unzip();
        assert_eq!(change("x", FigureKind::Time, &base, &new, (0, 0)).change, Change::Worse);
        let unseen = change("x", FigureKind::Time, &base, &new, (0, 1));
        assert_eq!((unseen.change, unseen.p), (Change::Undecided, None));
        let mut open = new.clone();
        open[2].1 = true;
        let open = change("x", FigureKind::Time, &base, &open, (0, 0));
        assert_eq!((open.change, open.runs_needed, open.new.open), (Change::Undecided, None, true));
        assert_eq!(change("x", FigureKind::Time, &[], &new, (5, 0)).change, Change::Appeared);
        assert_eq!(change("x", FigureKind::Time, &base, &[], (0, 5)).change, Change::Vanished);
    }
}
