//! `monotonic-writes`: a node that has returned a client's write returns no older write of that client.

use super::reads::{self, Guaranteed};
use super::{Judgement, Traits};
use crate::consistency::Guarantee;
use crate::facts::Facts;
use crate::suite::MonotonicWrites;

pub(super) const TRAITS: Traits = reads::SESSION_TRAITS;

pub(super) fn judge(facts: &Facts<'_>, settings: &MonotonicWrites) -> Judgement {
    let guaranteed = Guaranteed {
        invariant: "monotonic-writes",
        guarantee: Guarantee::MonotonicWrites,
        expected: "no node goes back from a client's write to an older write of the same client",
        during: settings.during.as_deref(),
        reads_from: settings.reads_from,
        may_violate: settings.may_violate,
    };
    guaranteed.judge(facts)
}
