//! `monotonic-reads`: once a client has read a value, it reads none that is older.

use super::reads::{self, Guaranteed};
use super::{Judgement, Traits};
use crate::consistency::Guarantee;
use crate::facts::Facts;
use crate::suite::MonotonicReads;

pub(super) const TRAITS: Traits = reads::SESSION_TRAITS;

pub(super) fn judge(facts: &Facts<'_>, settings: &MonotonicReads) -> Judgement {
    let guaranteed = Guaranteed {
        invariant: "monotonic-reads",
        guarantee: Guarantee::MonotonicReads,
        expected: "no client reads an older value after a newer one",
        during: settings.during.as_deref(),
        reads_from: settings.reads_from,
        may_violate: settings.may_violate,
    };
    guaranteed.judge(facts)
}
