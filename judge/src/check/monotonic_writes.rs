//! `monotonic-writes`: a node that has returned a client's write returns no older write of that client.

use super::reads::{self, Guaranteed};
use super::{Figure, FigureKind, Judgement, Traits};
use crate::consistency::Guarantee;
use crate::facts::Facts;
use crate::suite::MonotonicWrites;

const VIOLATIONS: &str = "monotonic_writes_violations";

pub(super) const TRAITS: Traits = reads::session_traits(&[Figure { name: VIOLATIONS, kind: FigureKind::Safety }]);

pub(super) fn judge(facts: &Facts<'_>, settings: &MonotonicWrites) -> Judgement {
    let guaranteed = Guaranteed {
        invariant: "monotonic-writes",
        figure: VIOLATIONS,
        guarantee: Guarantee::MonotonicWrites,
        expected: "no node goes back from a client's write to an older write of the same client",
        during: settings.during.as_deref(),
        reads_from: settings.reads_from,
        may_violate: settings.may_violate,
    };
    guaranteed.judge(facts)
}
