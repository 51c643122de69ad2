//! The figures of a run that tables, documents and comparisons use, and how they are written.

use serde::Serialize;

use super::run::Report;
use crate::suite::OpKind;

/// The figures of a run. Times are in milliseconds; None says that it was not observed.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Figures {
    /// From a fault at a master to the FAIL flag; the slowest of the run's failovers.
    pub fail_ms: Option<f64>,
    /// ... to the promotion.
    pub promotion_ms: Option<f64>,
    /// ... to the first write that the successor acknowledged.
    pub first_write_ms: Option<f64>,
    /// The longest outage of reads over all shards.
    pub read_outage: Option<LongestOutage>,
    /// The longest outage of writes over all shards.
    pub write_outage: Option<LongestOutage>,
    /// Writes acknowledged.
    pub acknowledged: u64,
    /// Acknowledged and gone.
    pub lost: u64,
    /// Acknowledged, and not to be told whether lost.
    pub undecided: u64,
    /// Keys with acknowledged writes that could not be read back.
    pub keys_unread: u64,
}

/// The longest of several outages.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LongestOutage {
    /// Its length in milliseconds; 0 where every operation was served.
    pub length_ms: f64,
    /// Whether service came back while it was watched; otherwise the outage was longer than seen.
    pub ended: bool,
}

impl Figures {
    /// The figures of a report.
    pub fn new(report: &Report) -> Self {
        let slowest = |time: fn(&crate::facts::Failover) -> Option<f64>| {
            report.failovers.iter().filter_map(time).max_by(f64::total_cmp)
        };
        Self {
            fail_ms: slowest(|failover| failover.fail_ms),
            promotion_ms: slowest(|failover| failover.promotion_ms),
            first_write_ms: slowest(|failover| failover.first_write_ms),
            read_outage: longest_outage(report, OpKind::Reads),
            write_outage: longest_outage(report, OpKind::Writes),
            acknowledged: report.ledger.acknowledged,
            lost: report.ledger.lost,
            undecided: report.ledger.undecided,
            keys_unread: report.ledger.keys_unread,
        }
    }
}

/// None when no such operation was issued: an outage that nothing could have noticed is not `0`.
fn longest_outage(report: &Report, of: OpKind) -> Option<LongestOutage> {
    let steps = report.steps.as_ref()?;
    let issued = match of {
        OpKind::Reads => steps.reads.issued,
        OpKind::Writes => steps.writes.issued,
    };
    let longest = report
        .outages
        .iter()
        .filter(|outage| outage.of == of)
        .map(|outage| LongestOutage { length_ms: outage.length_ms(), ended: outage.ended })
        .max_by(|a, b| a.length_ms.total_cmp(&b.length_ms).then(b.ended.cmp(&a.ended)));
    longest.or_else(|| (issued > 0).then_some(LongestOutage { length_ms: 0.0, ended: true }))
}

pub(super) fn figure_cells(figures: &Figures) -> Vec<String> {
    let time = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), time_text);
    vec![
        time(figures.fail_ms),
        time(figures.promotion_ms),
        time(figures.first_write_ms),
        outage_text(figures.read_outage),
        outage_text(figures.write_outage),
        figures.acknowledged.to_string(),
        lost_text(figures),
    ]
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

/// An outage that did not end while it was watched was longer than it was seen to be.
pub(super) fn outage_text(outage: Option<LongestOutage>) -> String {
    match outage {
        None => "-".to_owned(),
        Some(LongestOutage { length_ms, ended: true }) => time_text(length_ms),
        Some(LongestOutage { length_ms, ended: false }) => format!(">{}", time_text(length_ms)),
    }
}

/// `3`, `3 (+2?)` where two more are undecided, `>=3` where keys could not be read back.
pub(super) fn lost_text(figures: &Figures) -> String {
    let at_least = if figures.keys_unread > 0 { ">=" } else { "" };
    match figures.undecided {
        0 => format!("{at_least}{}", figures.lost),
        undecided => format!("{at_least}{} (+{undecided}?)", figures.lost),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::check::Verdict;
    use crate::facts::{Failover, Outage};
    use crate::units::ShardNo;

    fn outage(of: OpKind, from_ms: u64, to_ms: u64, ended: bool) -> Outage {
        Outage { of, shard: ShardNo(1), from_ns: from_ms * 1_000_000, to_ns: to_ms * 1_000_000, unserved: 3, ended }
    }

    #[test]
    fn the_slowest_failover_and_the_longest_outage_make_the_figures() {
        let mut report = fixture::report("role-swap", Verdict::Pass);
        let quick = report.failovers[0].clone();
        report.failovers.push(Failover { fail_ms: Some(9000.0), promotion_ms: None, ..quick });
        report.outages = vec![
            outage(OpKind::Writes, 100, 900, true),
            outage(OpKind::Writes, 1000, 1500, true),
            outage(OpKind::Reads, 100, 150, false),
        ];
        let figures = Figures::new(&report);
        assert_eq!(figures.fail_ms, Some(9000.0));
        assert_eq!(figures.promotion_ms, Some(7360.0));
        assert_eq!(figures.write_outage, Some(LongestOutage { length_ms: 800.0, ended: true }));
        assert_eq!(figures.read_outage, Some(LongestOutage { length_ms: 50.0, ended: false }));
    }

    #[test]
    fn an_outage_that_nothing_could_notice_is_not_zero() {
        let mut report = fixture::report("formation", Verdict::Pass);
        report.outages.clear();
        assert_eq!(Figures::new(&report).read_outage, Some(LongestOutage { length_ms: 0.0, ended: true }));
        report.steps.as_mut().expect("the fixture has steps").reads.issued = 0;
        assert_eq!(Figures::new(&report).read_outage, None);
        report.steps = None;
        assert_eq!(Figures::new(&report).write_outage, None);
    }

    #[test]
    fn of_two_outages_of_one_length_the_one_without_an_end_counts() {
        let mut report = fixture::report("shard-loss", Verdict::Pass);
        for order in [[true, false], [false, true]] {
            report.outages = order.iter().map(|&ended| outage(OpKind::Writes, 0, 500, ended)).collect();
            assert_eq!(Figures::new(&report).write_outage, Some(LongestOutage { length_ms: 500.0, ended: false }));
        }
    }

    #[test]
    fn figures_read_as_written() {
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
            assert_eq!(outage_text(Some(LongestOutage { length_ms: 2000.0, ended })), expected);
        }
    }
}
