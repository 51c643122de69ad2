//! `availability`: the outages of reads or writes on a shard, and the share that was served.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::finding::Finding;
use super::{Judgement, Traits, Verdict};
use crate::facts::{Facts, HANG_NS, Outage, Window};
use crate::history::{Op, Outcome, Reason};
use crate::spec::Rules;
use crate::suite::{Availability, OpKind, Served, ShardSet};
use crate::units::{Bound, Percent, ShardNo};
use crate::words::{at, count, length, length_ns};

pub(super) const TRAITS: Traits = Traits::PLAIN;

pub(super) fn judge(facts: &Facts<'_>, settings: &Availability) -> Judgement {
    let mut finding = Finding::new();
    let window = facts.window(settings.during.as_deref());
    match window.clone().and_then(|window| Ok((window, facts.shards(settings.shard)?))) {
        Ok((window, shards)) => {
            for shard in shards {
                look_at(facts, settings, shard, window, &mut finding);
            }
        }
        Err(why) => _ = finding.undecided(why),
    }
    if settings.max_outage.is_none() && settings.min_served.is_none() && settings.served.is_none() {
        finding.undecided("there is nothing to judge (hint: set `max-outage`, `min-served` or `served`)");
    }
    let expected = expected(facts, settings, window.ok());
    finding.judge("availability", words(settings), expected)
}

fn words(settings: &Availability) -> String {
    let mut parts = vec![format!("of {}, shard {}", settings.of, settings.shard)];
    parts.extend(settings.during.as_ref().map(|phase| format!("during {phase}")));
    parts.extend(settings.max_outage.map(|bound| format!("max-outage {bound}")));
    parts.extend(settings.min_served.map(|share| format!("min-served {share}")));
    parts.extend(settings.served.map(|served| match served {
        Served::Always => "served always".to_owned(),
        Served::Never => "served never".to_owned(),
    }));
    parts.join(", ")
}

fn expected(facts: &Facts<'_>, settings: &Availability, window: Option<Window>) -> String {
    let (of, on) = (one(settings.of), on_shards(settings.shard));
    let mut parts = Vec::new();
    if let Some(bound) = settings.max_outage {
        let longest_ns = bound_ns(facts, bound, window.map_or(0, |window| window.from_ns));
        parts.push(match longest_ns {
            0 => format!("every {of} {on} is served"),
            _ => format!("no {of} outage {on} longer than {}", length_ns(longest_ns)),
        });
    }
    parts.extend(settings.min_served.map(|share| format!("at least {share} of {of}s {on} are served")));
    parts.extend(settings.served.map(|served| match served {
        Served::Always => format!("every {of} {on} is served"),
        Served::Never => format!("no {of} {on} is served"),
    }));
    let when = settings.during.as_ref().map_or_else(String::new, |phase| format!(" during phase \"{phase}\""));
    format!("{}{when}", parts.join(", "))
}

fn one(of: OpKind) -> &'static str {
    match of {
        OpKind::Reads => "read",
        OpKind::Writes => "write",
    }
}

/// The invariant holds if it holds for each shard.
fn on_shards(shards: ShardSet) -> String {
    match shards {
        ShardSet::One(shard) => format!("on {shard}"),
        ShardSet::All => "on any shard".to_owned(),
        ShardSet::Others => "on any shard without a fault".to_owned(),
    }
}

fn bound_ns(facts: &Facts<'_>, bound: Bound, at_ns: u64) -> u64 {
    facts.bound_ns(bound, at_ns, Rules::first_write)
}

fn look_at(facts: &Facts<'_>, settings: &Availability, shard: ShardNo, window: Window, finding: &mut Finding) {
    let ops = facts.ops.issued(settings.of, shard, window);
    if ops.is_empty() {
        finding.undecided(format!("{shard}: no {} were issued ({})", settings.of, facts.too_few(shard)));
        return;
    }
    let served = ops.iter().filter(|op| op.outcome == Outcome::Ok).count();
    let share = served as f64 * 100.0 / ops.len() as f64;
    let outages = facts.outages(settings.of, shard, window);
    let longest = outages.iter().max_by_key(|outage| outage.to_ns - outage.from_ns);
    let longest_ms = longest.map_or(0.0, Outage::length_ms);
    let slowest_ns = ops.iter().filter(|op| op.outcome == Outcome::Ok).map(|op| op.complete_ns - op.due_ns).max();
    let outage_text = match longest {
        Some(outage) => {
            let end = if outage.ended { "" } else { ", still open at the end" };
            format!("longest outage {} from {}{end}", length(longest_ms), at(outage.from_ns))
        }
        None => "no outage".to_owned(),
    };
    let text = format!("{shard}: {served} of {} {} served ({share:.1} %), {outage_text}", ops.len(), settings.of);
    finding.saw(text);
    finding.worst_figure("longest_outage_ms", longest_ms).least_figure("served_percent", share);
    finding.add_figure("issued", ops.len() as f64).add_figure("unserved", (ops.len() - served) as f64);
    if let Some(slowest_ns) = slowest_ns {
        finding.worst_figure("slowest_ms", slowest_ns as f64 / 1e6);
    }
    if settings.served != Some(Served::Never) {
        describe(facts, settings, shard, window, &outages, finding);
    }
    if settings.served != Some(Served::Never) {
        finding.observed(ops.len() as u64);
    }
    if let Some(bound) = settings.max_outage {
        judge_outages(facts, bound, &outages, (ops, window), finding);
        match bound_ns(facts, bound, window.from_ns) {
            0 => judge_every(facts, shard, ops, window, finding),
            bound_ns => judge_gaps(facts, settings, shard, bound_ns, (ops, window), finding),
        }
    }
    if let Some(least) = settings.min_served {
        match facts.cut_in(window) {
            // What was left out could have made up for it.
            Some(why) if is_less(served, ops.len(), least) => _ = finding.undecided(format!("{shard}: {why}")),
            _ if is_less(served, ops.len(), least) => match out_of_keys(shard, ops) {
                Some(why) => _ = finding.undecided(why),
                None => _ = finding.weigh(Verdict::Fail),
            },
            _ => {}
        }
    }
    match settings.served {
        Some(Served::Always) => judge_every(facts, shard, ops, window, finding),
        Some(Served::Never) => judge_never(shard, ops, window, finding),
        None => {}
    }
}

/// Evidence: the longest outages, and the most frequent reasons for operations that were not served.
fn describe(
    facts: &Facts<'_>,
    settings: &Availability,
    shard: ShardNo,
    window: Window,
    outages: &[Outage],
    finding: &mut Finding,
) {
    let mut longest: Vec<&Outage> = outages.iter().collect();
    longest.sort_by_key(|outage| Reverse(outage.to_ns - outage.from_ns));
    for outage in longest.iter().take(3) {
        finding.evidence(format!(
            "{shard}: {} outage of {} from {} to {}, {}",
            one(settings.of),
            length(outage.length_ms()),
            at(outage.from_ns),
            at(outage.to_ns),
            count(outage.unserved, "operation")
        ));
    }
    let mut by_text: BTreeMap<&str, u64> = BTreeMap::new();
    for op in facts.ops.issued(settings.of, shard, window) {
        if let Some(explanation) = facts.history.explanation(op.outcome) {
            *by_text.entry(&explanation.text).or_default() += 1;
        }
    }
    let mut reasons: Vec<(&str, u64)> = by_text.into_iter().collect();
    reasons.sort_by_key(|(_, times)| Reverse(*times));
    for (reason, times) in reasons.iter().take(3) {
        finding.evidence(format!("{shard}: {times} times `{reason}`"));
    }
}

/// Every operation must have been served. Where the harness was late, operations without an answer in time prove
/// nothing; a refusal does.
fn judge_every(facts: &Facts<'_>, shard: ShardNo, ops: &[&Op], window: Window, finding: &mut Finding) {
    let unserved: Vec<&&Op> = ops.iter().filter(|op| op.outcome != Outcome::Ok).collect();
    if unserved.is_empty() {
        return;
    }
    let slow = |op: &&&Op| facts.history.reason(op.outcome).is_some_and(Reason::is_slowness);
    let late = facts.workload_was_late(window).filter(|_| unserved.iter().all(slow));
    match late.or_else(|| out_of_keys(shard, ops)) {
        Some(why) => _ = finding.undecided(why),
        None => _ = finding.weigh(Verdict::Fail),
    }
}

/// Why unserved operations prove nothing about the cluster: none of them was sent, because every key of the client in the
/// shard had a write under way, and all of those writes were served within a second.
fn out_of_keys(shard: ShardNo, ops: &[&Op]) -> Option<String> {
    let is_well = |op: &&Op| match op.outcome {
        Outcome::Ok => op.complete_ns - op.invoke_ns <= HANG_NS,
        Outcome::Fail(_) | Outcome::Info(_) | Outcome::Unsent(_) => !op.outcome.was_tried(),
    };
    let unsent = ops.iter().filter(|op| !op.outcome.was_tried()).count();
    ops.iter().all(is_well).then(|| {
        format!("{shard}: {} not sent: too few keys (hint: raise `workload.keys`)", count(unsent as u64, "operation"))
    })
}

/// A pause between two operations that is longer than the bound may hide an outage.
fn judge_gaps(
    facts: &Facts<'_>,
    settings: &Availability,
    shard: ShardNo,
    bound_ns: u64,
    (ops, window): (&[&Op], Window),
    finding: &mut Finding,
) {
    let mut answered_ns = window.from_ns;
    let issued = ops.iter().map(|op| (op.invoke_ns, op.complete_ns)).chain([(window.to_ns, window.to_ns)]);
    for (invoke_ns, complete_ns) in issued {
        if invoke_ns.saturating_sub(answered_ns) > bound_ns {
            finding.undecided(format!(
                "{shard}: no {} were issued from {} to {} ({})",
                settings.of,
                at(answered_ns),
                at(invoke_ns),
                facts.too_few(shard)
            ));
            return;
        }
        answered_ns = answered_ns.max(complete_ns);
    }
}

fn judge_outages(
    facts: &Facts<'_>,
    bound: Bound,
    outages: &[Outage],
    (ops, window): (&[&Op], Window),
    finding: &mut Finding,
) {
    let last_served = last_served(ops, outages, window);
    for (outage, last_served_ns) in outages.iter().zip(last_served) {
        let bound_ns = bound_ns(facts, bound, outage.from_ns);
        let lasted_ns = outage.to_ns - outage.from_ns;
        if bound_ns == 0 {
            // `0s` means that every operation is served: see `judge_every`.
        } else if lasted_ns > bound_ns {
            let over_ns = outage.from_ns.saturating_add(bound_ns);
            let from = ops.partition_point(|op| op.invoke_ns < outage.from_ns);
            let to = ops.partition_point(|op| op.invoke_ns < outage.to_ns);
            let during = ops[from..to].iter().copied();
            match facts.workload_was_late(Window { from_ns: outage.from_ns, to_ns: outage.to_ns }) {
                Some(why) => _ = finding.undecided(why),
                None if Facts::unserved_beyond(during, over_ns) => _ = finding.weigh(Verdict::Fail),
                None => {
                    finding.undecided(format!(
                        "{}: the outage from {} may have ended by {}: no operation was issued just then ({})",
                        outage.shard,
                        at(outage.from_ns),
                        at(over_ns),
                        facts.too_few(outage.shard)
                    ));
                }
            }
        } else if !outage.ended && !ended_in_time(facts, outage, bound_ns) {
            finding.undecided(format!(
                "{}: the outage from {} was still open at the end",
                outage.shard,
                at(outage.from_ns)
            ));
        } else if outage.to_ns - last_served_ns > bound_ns {
            finding.undecided(format!(
                "{}: the outage from {} may have begun up to {} earlier: no operation was issued before it ({})",
                outage.shard,
                at(outage.from_ns),
                length_ns(outage.from_ns - last_served_ns),
                facts.too_few(outage.shard)
            ));
        }
    }
}

/// For each outage, in order of time, the last moment before it at which an operation proves service: the answer, or the
/// issue if the answer came later. Nanoseconds from the start of the run; the start of the window if there is none.
fn last_served(ops: &[&Op], outages: &[Outage], window: Window) -> Vec<u64> {
    let served = |op: &&&Op| op.outcome.is_ok() && op.complete_ns - op.invoke_ns <= HANG_NS;
    let mut later = ops.iter().filter(served).peekable();
    let mut under_way = BinaryHeap::new();
    let mut last_ns = window.from_ns;
    let mut moments = Vec::with_capacity(outages.len());
    for outage in outages {
        while let Some(op) = later.next_if(|op| op.invoke_ns < outage.from_ns) {
            last_ns = last_ns.max(op.invoke_ns);
            under_way.push(Reverse(op.complete_ns));
        }
        while under_way.peek().is_some_and(|Reverse(complete_ns)| *complete_ns <= outage.from_ns) {
            if let Some(Reverse(complete_ns)) = under_way.pop() {
                last_ns = last_ns.max(complete_ns);
            }
        }
        moments.push(last_ns.min(outage.from_ns));
    }
    moments
}

/// Whether operations after the window show that an outage that was open at its end lasted no longer than the bound.
fn ended_in_time(facts: &Facts<'_>, cut: &Outage, bound_ns: u64) -> bool {
    let on = facts.outages(cut.of, cut.shard, Window { from_ns: cut.from_ns, to_ns: u64::MAX });
    on.first().is_some_and(|whole| whole.ended && whole.to_ns - whole.from_ns <= bound_ns)
}

/// The tolerance is far below one operation: a share that is exactly the minimum must not fail by the rounding of a
/// decimal fraction.
fn is_less(served: usize, issued: usize, least: Percent) -> bool {
    (served as f64) + 1e-6 < least.fraction() * issued as f64
}

/// An operation that was issued in the window and served after it proves nothing about the window.
fn judge_never(shard: ShardNo, ops: &[&Op], window: Window, finding: &mut Finding) {
    let served_inside: Vec<&&Op> =
        ops.iter().filter(|op| op.outcome == Outcome::Ok && op.complete_ns < window.to_ns).collect();
    let unserved: Vec<&&Op> = ops.iter().filter(|op| !op.outcome.is_ok()).collect();
    finding.observed((served_inside.len() + unserved.len()) as u64);
    if unserved.is_empty() && served_inside.is_empty() {
        finding.undecided(format!("{shard}: every answer came after the window"));
    } else if served_inside.is_empty() && !unserved.iter().any(|op| op.outcome.was_tried()) {
        finding.undecided(format!("{shard}: none was sent: too few keys (hint: raise `workload.keys`)"));
    }
    for op in &served_inside {
        finding.weigh(Verdict::Fail).evidence(format!(
            "{shard}: {} was served by node-{} at {}",
            crate::history::key_name(op.key),
            op.node,
            at(op.complete_ns)
        ));
    }
}
