//! `read-your-writes`: once a client's write is acknowledged, the client reads no value that is older.

use super::reads::{self, Guaranteed};
use super::{Figure, FigureKind, Judgement, Traits};
use crate::consistency::Guarantee;
use crate::facts::Facts;
use crate::suite::ReadYourWrites;

const VIOLATIONS: &str = "read_your_writes_violations";

pub(super) const TRAITS: Traits = reads::session_traits(&[Figure { name: VIOLATIONS, kind: FigureKind::Safety }]);

pub(super) fn judge(facts: &Facts<'_>, settings: &ReadYourWrites) -> Judgement {
    let guaranteed = Guaranteed {
        invariant: "read-your-writes",
        figure: VIOLATIONS,
        guarantee: Guarantee::ReadYourWrites,
        expected: "no client reads an older value than its own acknowledged write",
        during: settings.during.as_deref(),
        reads_from: settings.reads_from,
        may_violate: settings.may_violate,
    };
    guaranteed.judge(facts)
}
