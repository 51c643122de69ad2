//! `workload`: operations were issued, and on time. It judges the harness, not the cluster.

use super::finding::Finding;
use super::{Judgement, Traits};
use crate::facts::Facts;
use crate::suite::Loop;
use crate::words::count;

pub(super) const TRAITS: Traits = Traits::PLAIN;

pub(super) fn judge(facts: &Facts<'_>) -> Judgement {
    let mut finding = Finding::new();
    let (late, issued) = (facts.ops.late(), facts.history.ops.len() as u64);
    finding.observed(issued).figure("issued", issued as f64).figure("issued_late", late as f64);
    match facts.issued_late() {
        _ if facts.wrong_speed.is_some() => _ = finding.undecided(facts.wrong_speed.clone().unwrap_or_default()),
        _ if issued == 0 => _ = finding.undecided("no operation was issued"),
        Some(why) => _ = finding.undecided(format!("{why}, so times measured by the workload are not reliable")),
        None => _ = finding.saw(format!("{} issued, {late} of them over 1 s late", count(issued, "operation"))),
    }
    let expected = "operations are issued, at most 1 % of them over 1 s late";
    let workload = &facts.plan().workload;
    let pace = match workload.pacing {
        Loop::Open => format!("rate {}", workload.rate),
        Loop::Closed => format!("closed loop of {}", count(workload.clients.into(), "client")),
    };
    finding.judge("workload", pace, expected)
}
