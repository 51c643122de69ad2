//! The figures of a run for tables, documents and comparisons, and how tables write them.

use schemars::JsonSchema;
use serde::Serialize;

use super::run::Report;
use crate::facts::{Failover, Outage};
use crate::suite::{ClientSet, OpKind};

/// The figures of a run. Times are in milliseconds; None means not observed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct Figures {
    /// From a fault at a master to the FAIL flag, in the failover that `promotion_ms` and `first_write_ms` are of, too: the
    /// slowest that promoted a replica, or else the slowest.
    pub fail_ms: Option<f64>,
    /// From a fault or CLUSTER FAILOVER to the promotion, in the same failover.
    pub promotion_ms: Option<f64>,
    /// From there to the first write that the new master acknowledged, in the same failover.
    pub first_write_ms: Option<f64>,
    /// The number of failovers.
    pub failovers: u64,
    /// The number of failovers that promoted a replica.
    pub promoted: u64,
    /// The longest read outage of any shard, for clients that no fault of links cut off.
    pub read_outage: Option<LongestOutage>,
    /// The longest write outage of any shard, for clients that no fault of links cut off.
    pub write_outage: Option<LongestOutage>,
    /// The longest read outage of any shard for clients that were cut off; None if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_off_read_outage: Option<LongestOutage>,
    /// The longest write outage of any shard for clients that were cut off; None if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_off_write_outage: Option<LongestOutage>,
    /// The number of acknowledged writes.
    pub acknowledged: u64,
    /// The number of acknowledged writes that are lost.
    pub lost: u64,
    /// The number of acknowledged writes that were lost and then overwritten.
    pub overwritten: u64,
    /// The number of acknowledged writes that may be lost.
    pub undecided: u64,
    /// The number of keys with acknowledged writes that could not be read back.
    pub keys_unread: u64,
}

/// The longest outage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct LongestOutage {
    /// The length in milliseconds; 0 if every operation was served.
    pub length_ms: f64,
    /// Whether it ended within the steps; otherwise it was longer.
    pub ended: bool,
    /// Whether answers only came late: every operation was served within a second.
    pub stall: bool,
}

impl Figures {
    /// The figures of a report.
    pub fn new(report: &Report) -> Self {
        let failovers = report.timed_failovers();
        let shown = slowest(&failovers);
        Self {
            fail_ms: shown.and_then(|failover| failover.fail_ms),
            promotion_ms: shown.and_then(|failover| failover.promotion_ms),
            first_write_ms: shown.and_then(|failover| failover.first_write_ms),
            failovers: failovers.len() as u64,
            promoted: failovers.iter().filter(|failover| failover.new_master.is_some()).count() as u64,
            read_outage: longest_outage(report, OpKind::Reads),
            write_outage: longest_outage(report, OpKind::Writes),
            cut_off_read_outage: longest(report, OpKind::Reads, true),
            cut_off_write_outage: longest(report, OpKind::Writes, true),
            acknowledged: report.ledger.acknowledged,
            lost: report.ledger.lost,
            overwritten: report.ledger.overwritten,
            undecided: report.ledger.undecided,
            keys_unread: report.ledger.keys_unread,
        }
    }

    /// The acknowledged writes that were lost, in the end or before they were overwritten.
    pub fn lost_in_all(&self) -> u64 {
        self.lost.saturating_add(self.overwritten)
    }
}

/// The failover that the figures of a run are of: of those that promoted a replica, or else of all, the one with the latest
/// first write, promotion or FAIL. Times of several failovers side by side would tell of one that never was.
pub(super) fn slowest(failovers: &[Failover]) -> Option<&Failover> {
    let rank = |failover: &Failover| {
        let last_ms = failover.first_write_ms.filter(|_| failover.new_master.is_some());
        (failover.new_master.is_some(), last_ms.or(failover.promotion_ms).or(failover.fail_ms).unwrap_or(0.0))
    };
    failovers.iter().max_by(|a, b| {
        let ((a_promoted, a_ms), (b_promoted, b_ms)) = (rank(a), rank(b));
        a_promoted.cmp(&b_promoted).then(a_ms.total_cmp(&b_ms))
    })
}

/// None if no such operation was issued: without operations, an outage of 0 is not observed.
fn longest_outage(report: &Report, of: OpKind) -> Option<LongestOutage> {
    let steps = report.steps.as_ref()?;
    let issued = match of {
        OpKind::Reads => steps.reads.issued,
        OpKind::Writes => steps.writes.issued,
    };
    let none = || (issued > 0).then_some(LongestOutage { length_ms: 0.0, ended: true, stall: false });
    longest(report, of, false).or_else(none)
}

/// The longest outage of the clients that were cut off, or of the others.
fn longest(report: &Report, of: OpKind, cut_off: bool) -> Option<LongestOutage> {
    let theirs = |outage: &&Outage| outage.of == of && (outage.clients == ClientSet::CutOff) == cut_off;
    report
        .outages
        .iter()
        .filter(theirs)
        .map(|outage| LongestOutage { length_ms: outage.length_ms(), ended: outage.ended, stall: outage.stall })
        .max_by(|a, b| a.length_ms.total_cmp(&b.length_ms).then(b.ended.cmp(&a.ended)))
}

pub(super) fn figure_cells(figures: &Figures) -> Vec<String> {
    let time = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), time_text);
    vec![
        time(figures.fail_ms),
        promotion_cell(figures, time),
        time(figures.first_write_ms),
        outage_cell(figures.read_outage, figures.cut_off_read_outage),
        outage_cell(figures.write_outage, figures.cut_off_write_outage),
        figures.acknowledged.to_string(),
        lost_text(figures),
    ]
}

/// The time to the promotion, and how many of several failovers promoted a replica if some did not: `6.87 s (1 of 2)`.
pub(super) fn promotion_cell(figures: &Figures, time: impl Fn(Option<f64>) -> String) -> String {
    let text = time(figures.promotion_ms);
    match figures.failovers {
        all if all > 1 && figures.promoted < all => format!("{text} ({} of {all})", figures.promoted),
        _ => text,
    }
}

/// A time in at most seven characters: `0`, `812 ms`, `7.36 s`, `123 s`.
pub(super) fn time_text(ms: f64) -> String {
    if ms == 0.0 {
        "0".to_owned()
    } else if ms < 0.95 {
        "<1 ms".to_owned()
    } else if ms < 999.5 {
        format!("{ms:.0} ms")
    } else if ms < 99_995.0 {
        format!("{:.2} s", ms / 1000.0)
    } else {
        format!("{:.0} s", ms / 1000.0)
    }
}

/// The length of an outage: `7.36 s`, `>7.36 s` if it was still open at the end, `812 ms stall` for a stall.
pub(super) fn outage_text(outage: Option<LongestOutage>) -> String {
    match outage {
        None => "-".to_owned(),
        Some(LongestOutage { length_ms, ended, stall }) => {
            let open = if ended { "" } else { ">" };
            let stall = if stall { " stall" } else { "" };
            format!("{open}{}{stall}", time_text(length_ms))
        }
    }
}

/// The outage of the clients that were not cut off, and in parentheses that of those that were: `0 (cut off: 7.36 s)`.
pub(super) fn outage_cell(rest: Option<LongestOutage>, cut_off: Option<LongestOutage>) -> String {
    let rest = outage_text(rest);
    match cut_off {
        None => rest,
        Some(_) => format!("{rest} (cut off: {})", outage_text(cut_off)),
    }
}

/// The acknowledged writes that were lost: `3`; `3 (+2?)` if two more are undecided; `>=3` if keys could not be read back.
pub(super) fn lost_text(figures: &Figures) -> String {
    let at_least = if figures.keys_unread > 0 { ">=" } else { "" };
    match figures.undecided {
        0 => format!("{at_least}{}", figures.lost_in_all()),
        undecided => format!("{at_least}{} (+{undecided}?)", figures.lost_in_all()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::check::Verdict;
    use crate::units::ShardNo;

    fn outage(of: OpKind, from_ms: u64, to_ms: u64, ended: bool) -> Outage {
        Outage {
            of,
            shard: ShardNo(1),
            clients: ClientSet::All,
            from_ns: from_ms * 1_000_000,
            to_ns: to_ms * 1_000_000,
            unserved: 3,
            ended,
            stall: false,
        }
    }

    #[test]
    fn times_are_of_one_failover_the_slowest_that_promoted_a_replica() {
        let quick = fixture::report("role-swap", Verdict::Pass).failovers[0].clone();
        let none = Failover {
            fail_ms: Some(9000.0),
            promotion_ms: None,
            first_write_ms: None,
            new_master: None,
            ..quick.clone()
        };
        let slow = Failover { fail_ms: Some(5000.0), first_write_ms: Some(8000.0), ..quick.clone() };
        for (failovers, expected, cell) in [
            (vec![quick.clone(), none.clone()], (Some(6710.0), Some(7360.0), Some(7420.0)), "7.36 s (1 of 2)"),
            (
                vec![none.clone(), quick.clone(), slow.clone()],
                (Some(5000.0), Some(7360.0), Some(8000.0)),
                "7.36 s (2 of 3)",
            ),
            (vec![quick.clone(), slow], (Some(5000.0), Some(7360.0), Some(8000.0)), "7.36 s"),
            (vec![none.clone()], (Some(9000.0), None, None), "-"),
            (vec![], (None, None, None), "-"),
        ] {
            let report = Report { failovers, ..fixture::report("role-swap", Verdict::Pass) };
            let figures = Figures::new(&report);
            assert_eq!((figures.fail_ms, figures.promotion_ms, figures.first_write_ms), expected);
            assert_eq!(figure_cells(&figures)[1], cell);
        }
    }

    #[test]
    fn takes_the_longest_outage() {
        let mut report = fixture::report("role-swap", Verdict::Pass);
        report.outages = vec![
            outage(OpKind::Writes, 100, 900, true),
            outage(OpKind::Writes, 1000, 1500, true),
            outage(OpKind::Reads, 100, 150, false),
        ];
        let figures = Figures::new(&report);
        assert_eq!(figures.write_outage, Some(LongestOutage { length_ms: 800.0, ended: true, stall: false }));
        assert_eq!(figures.read_outage, Some(LongestOutage { length_ms: 50.0, ended: false, stall: false }));
    }

    #[test]
    fn clients_that_were_cut_off_have_figures_of_their_own() {
        let mut report = fixture::report("minority-partition", Verdict::Pass);
        let with = |clients, outage| Outage { clients, ..outage };
        report.outages = vec![
            with(ClientSet::CutOff, outage(OpKind::Writes, 0, 9000, true)),
            with(ClientSet::Rest, outage(OpKind::Writes, 0, 700, true)),
            with(ClientSet::CutOff, outage(OpKind::Reads, 0, 8000, false)),
        ];
        let cells = figure_cells(&Figures::new(&report));
        assert_eq!(cells[3..5], ["0 (cut off: >8.00 s)", "700 ms (cut off: 9.00 s)"]);
    }

    #[test]
    fn without_operations_there_is_no_outage_figure() {
        let mut report = fixture::report("formation", Verdict::Pass);
        report.outages.clear();
        assert_eq!(
            Figures::new(&report).read_outage,
            Some(LongestOutage { length_ms: 0.0, ended: true, stall: false })
        );
        report.steps.as_mut().expect("the fixture has steps").reads.issued = 0;
        assert_eq!(Figures::new(&report).read_outage, None);
        report.steps = None;
        assert_eq!(Figures::new(&report).write_outage, None);
    }

    #[test]
    fn of_equal_outages_the_open_one_counts() {
        let mut report = fixture::report("shard-loss", Verdict::Pass);
        for order in [[true, false], [false, true]] {
            report.outages = order.iter().map(|&ended| outage(OpKind::Writes, 0, 500, ended)).collect();
            assert_eq!(
                Figures::new(&report).write_outage,
                Some(LongestOutage { length_ms: 500.0, ended: false, stall: false })
            );
        }
    }

    #[test]
    fn writes_figures() {
        for (ms, expected) in [
            (0.0, "0"),
            (0.2, "<1 ms"),
            (1.0, "1 ms"),
            (999.4, "999 ms"),
            (999.6, "1.00 s"),
            (7364.0, "7.36 s"),
            (99_994.0, "99.99 s"),
            (99_996.0, "100 s"),
        ] {
            assert_eq!(time_text(ms), expected);
        }
        for (lost, undecided, keys_unread, expected) in
            [(0, 0, 0, "0"), (3, 2, 0, "3 (+2?)"), (3, 0, 1, ">=3"), (0, 1, 4, ">=0 (+1?)")]
        {
            assert_eq!(lost_text(&Figures { lost, undecided, keys_unread, ..Figures::default() }), expected);
        }
        for (ended, expected) in [(true, "2.00 s"), (false, ">2.00 s")] {
            assert_eq!(outage_text(Some(LongestOutage { length_ms: 2000.0, ended, stall: false })), expected);
        }
    }
}
