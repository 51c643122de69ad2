//! A report in one row: the figures that matter, as tables, JSON documents and comparisons use them.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::compare::compare;
use super::narrate::Narrator;
use super::reproduce::{Reproduce, reproduce};
use super::run::Report;
use super::table::invariant_name;
use crate::anatomy::Anatomy;
use crate::check::{Judgement, Verdict};
use crate::history::Event;
use crate::server::Version;
use crate::suite::OpKind;

/// One run as the tables show it, whether or not it came to a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The suite's name.
    pub suite: String,
    /// The server in short: `redis:6.2`, or the file name of a path.
    pub server: String,
    /// What the server says it is; None when it never ran.
    pub version: Option<Version>,
    /// The run's seed.
    pub seed: u64,
    /// How the run stands.
    pub standing: Standing,
    /// The figures; None without a report.
    pub figures: Option<Figures>,
    /// Each invariant with its evidence.
    pub invariants: Vec<Judgement>,
    /// Where the time of each failover went.
    pub anatomy: Vec<Anatomy>,
    /// What happened and when; None without a report.
    pub course: Option<Course>,
    /// The report's folder, where there is one.
    pub report: Option<PathBuf>,
    /// What was recorded, where a stored history was judged again.
    pub recorded: Option<Recorded>,
}

/// The course of a run in words.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// When the run began, in RFC 3339.
    pub started_at: String,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// Phases, faults, waits and promotions as [`Narrator`] tells them: nanoseconds from the start, and a line.
    pub lines: Vec<(u64, String)>,
    /// The command that does it again.
    pub again: Reproduce,
}

/// The judgement in `report.json`, beside which that of `slotquake check` stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recorded {
    /// The verdict of `report.json`.
    pub verdict: Verdict,
    /// What is judged otherwise now, in words: `acked-writes (may-lose 0): recorded pass, now fail`.
    pub changed: Vec<String>,
}

/// How a run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It was judged.
    Judged(Verdict),
    /// It came to no report, and why.
    Error(String),
    /// It was never started, and why.
    Skipped(String),
}

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

impl Recorded {
    /// Sets the judgement of a report beside the one that its history gets now.
    pub fn new(recorded: &Report, again: &Report) -> Self {
        let word = |verdict: Option<Verdict>| verdict.map_or("not there", Verdict::word);
        let line = |what: &str, before, now| format!("{what}: recorded {}, now {}", word(before), word(now));
        let mut changed = Vec::new();
        for pair in compare(std::slice::from_ref(recorded), std::slice::from_ref(again)).pairs {
            if pair.base_verdict != pair.new_verdict {
                changed.push(line("verdict", Some(pair.base_verdict), Some(pair.new_verdict)));
            }
            for change in pair.invariants.iter().filter(|change| change.base != change.new) {
                let what = invariant_name(&change.invariant, &change.settings);
                changed.push(line(&what, change.base, change.new));
            }
        }
        Self { verdict: recorded.verdict, changed }
    }
}

impl Course {
    /// The course of a report.
    pub fn new(report: &Report) -> Self {
        let mut narrator = Narrator::new(&report.header.plan, false);
        let told = |event: &Event| narrator.tell(event).into_iter().map(|line| (event.at_ns, line)).collect::<Vec<_>>();
        Self {
            started_at: report.header.started_at.clone(),
            duration_ms: report.duration_ms,
            lines: report.events.iter().flat_map(told).collect(),
            again: reproduce(&report.header.plan),
        }
    }
}

impl Standing {
    /// `pass`, `inconclusive`, `fail`, `error` or `skipped`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Judged(verdict) => verdict.word(),
            Self::Error(_) => "error",
            Self::Skipped(_) => "skipped",
        }
    }

    /// Among several runs the heaviest is the one to tell of.
    pub(super) fn weight(&self) -> u8 {
        match self {
            Self::Skipped(_) => 0,
            Self::Judged(Verdict::Pass) => 1,
            Self::Judged(Verdict::Inconclusive) => 2,
            Self::Error(_) => 3,
            Self::Judged(Verdict::Fail) => 4,
        }
    }
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

impl Summary {
    /// The summary of a report that lies in `folder`.
    pub fn new(report: &Report, folder: &Path) -> Self {
        Self {
            suite: report.header.plan.name.clone(),
            server: short_server(&report.header.server.asked),
            version: Some(report.header.server.version),
            seed: report.header.plan.seed,
            standing: Standing::Judged(report.verdict),
            figures: Some(Figures::new(report)),
            invariants: report.invariants.clone(),
            anatomy: report.anatomy.clone(),
            course: Some(Course::new(report)),
            report: Some(folder.to_owned()),
            recorded: None,
        }
    }

    /// The summary of a run without a report.
    pub fn without_report(suite: &str, asked: &str, seed: u64, standing: Standing, folder: Option<&Path>) -> Self {
        Self {
            suite: suite.to_owned(),
            server: short_server(asked),
            version: None,
            seed,
            standing,
            figures: None,
            invariants: Vec::new(),
            anatomy: Vec::new(),
            course: None,
            report: folder.map(Path::to_owned),
            recorded: None,
        }
    }

    /// Suite and server, as headings and progress lines name a run.
    pub fn label(&self) -> String {
        format!("{} {}", self.suite, self.server)
    }
}

/// `redis:6.2` as it is; of a path its file name.
pub fn short_server(asked: &str) -> String {
    if !asked.contains('/') {
        return asked.to_owned();
    }
    Path::new(asked).file_name().map_or_else(|| asked.to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::facts::{Failover, Outage};
    use crate::units::ShardNo;

    fn outage(of: OpKind, from_ms: u64, to_ms: u64, ended: bool) -> Outage {
        Outage {
            of,
            shard: ShardNo(1),
            from_ns: from_ms * 1_000_000,
            to_ns: to_ms * 1_000_000,
            unserved: 3,
            ended,
            stall: false,
        }
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
    fn a_history_that_is_judged_otherwise_says_what_changed() {
        let recorded = fixture::report("role-swap", Verdict::Pass);
        assert_eq!(Recorded::new(&recorded, &recorded).changed, [""; 0]);
        let mut again = fixture::report("role-swap", Verdict::Fail);
        again.invariants.push(fixture::judgement("agreement", "", Verdict::Pass));
        assert_eq!(
            Recorded::new(&recorded, &again),
            Recorded {
                verdict: Verdict::Pass,
                changed: vec![
                    "verdict: recorded pass, now fail".to_owned(),
                    "acked-writes (may-lose 0): recorded pass, now fail".to_owned(),
                    "agreement: recorded not there, now pass".to_owned(),
                ]
            }
        );
    }

    #[test]
    fn a_server_is_named_in_short() {
        for (asked, expected) in [
            ("redis:6.2", "redis:6.2"),
            ("/usr/bin/redis-server", "redis-server"),
            ("./valkey-server", "valkey-server"),
        ] {
            assert_eq!(short_server(asked), expected);
        }
    }
}
