//! `monotonic-reads`: once a client has read a value, it reads none that is older.

use super::reads::{self, Guaranteed};
use super::{Figure, FigureKind, Judgement, Traits};
use crate::consistency::Guarantee;
use crate::facts::Facts;
use crate::suite::MonotonicReads;

const VIOLATIONS: &str = "monotonic_reads_violations";

pub(super) const TRAITS: Traits = reads::session_traits(&[Figure { name: VIOLATIONS, kind: FigureKind::Safety }]);

pub(super) fn judge(facts: &Facts<'_>, settings: &MonotonicReads) -> Judgement {
    let guaranteed = Guaranteed {
        invariant: "monotonic-reads",
        figure: VIOLATIONS,
        guarantee: Guarantee::MonotonicReads,
        expected: "no client reads an older value after a newer one",
        during: settings.during.as_deref(),
        reads_from: settings.reads_from,
        may_violate: settings.may_violate,
    };
    guaranteed.judge(facts)
}
