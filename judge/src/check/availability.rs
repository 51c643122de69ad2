//! `availability`: the outages of reads or writes on a shard, and the share that was served.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::finding::Finding;
use super::{Judgement, Traits, Verdict};
use crate::facts::{Facts, Outage, STALL_NS, Whose, Window, outages};
use crate::history::{Op, Outcome, Reason};
use crate::spec::Rules;
use crate::suite::{Availability, ClientSet, OpKind, Served, ShardSet};
use crate::units::{Bound, Percent, ShardNo};
use crate::words::{at, count, length, length_ns};

pub(super) const TRAITS: Traits = Traits::PLAIN;

pub(super) fn judge(facts: &Facts<'_>, settings: &Availability) -> Judgement {
    let mut finding = Finding::new();
    let window = facts.window(settings.during.as_deref());
    let looked_at = window.clone().and_then(|window| {
        let shards = facts.shards(settings.shard)?;
        facts.clients.known(settings.clients)?;
        Ok((window, shards))
    });
    match looked_at {
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
    if settings.clients != ClientSet::All {
        parts.push(format!("clients {}", settings.clients));
    }
    parts.extend(settings.during.as_ref().map(|phase| format!("during {phase}")));
    parts.extend(settings.max_outage.map(|bound| format!("max-outage {bound}")));
    parts.extend(settings.min_served.map(|share| format!("min-served {share}")));
    parts.extend(settings.patience.map(|patience| format!("patience {patience}")));
    parts.extend(settings.served.map(|served| match served {
        Served::Always => "served always".to_owned(),
        Served::Never => "served never".to_owned(),
    }));
    parts.join(", ")
}

fn expected(facts: &Facts<'_>, settings: &Availability, window: Option<Window>) -> String {
    let (of, on) = (one(settings.of), format!("{}{}", on_shards(settings.shard), settings.clients.by()));
    let mut parts = Vec::new();
    if let Some(bound) = settings.max_outage {
        let longest_ns = bound_ns(facts, bound, window.map_or(0, |window| window.from_ns));
        parts.push(match longest_ns {
            0 => format!("no {of} outage {on}"),
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

/// The outages that a bound counts. A stall counts from the bound on, or from the patience on if that is shorter. Below
/// [`STALL_NS`] it counts only if the suite sets a shorter patience. So a smaller bound finds every outage that a larger
/// one finds, at least as long.
fn patience_ns(settings: &Availability, bound_ns: Option<u64>) -> u64 {
    settings.patience_ns().min(bound_ns.unwrap_or(0).max(STALL_NS))
}

fn look_at(facts: &Facts<'_>, settings: &Availability, shard: ShardNo, window: Window, finding: &mut Finding) {
    let whose = Whose { of: settings.of, shard, clients: settings.clients };
    let all = facts.issued(settings.of, shard, settings.clients, window);
    let ops: Vec<&Op> = all.iter().copied().filter(|op| op.outcome().was_tried()).collect();
    let unsent = all.len() - ops.len();
    if ops.is_empty() {
        let why = facts.too_few(shard);
        finding.undecided(format!("{shard}: no {} were sent ({why})", settings.of));
        return;
    }
    let served = ops.iter().filter(|op| op.is_served_within(settings.patience_ns())).count();
    let share = served as f64 * 100.0 / ops.len() as f64;
    let bound = settings.max_outage.map(|bound| bound_ns(facts, bound, window.from_ns));
    let outages = outages(&all, whose, window, patience_ns(settings, bound));
    let longest = outages.iter().max_by_key(|outage| outage.length_ns());
    let longest_ms = longest.map_or(0.0, Outage::length_ms);
    let slowest_ns = ops.iter().filter(|op| op.outcome().is_ok()).map(|op| op.complete_ns() - op.due_ns()).max();
    let outage_text = match longest {
        Some(outage) => {
            let what = if outage.stall { "stall" } else { "outage" };
            let end = if outage.ended { "" } else { ", still open at the end" };
            // The resolution: where an outage begins and ends, only operations tell.
            let apart = length_ns(window.length_ns() / ops.len() as u64);
            format!("longest {what} {} from {}{end} (operations {apart} apart)", length(longest_ms), at(outage.from_ns))
        }
        None => "no outage".to_owned(),
    };
    let not_sent = if unsent > 0 { format!(", {unsent} not sent") } else { String::new() };
    // An outage of some is hidden where others are served.
    let mixed = if settings.clients == ClientSet::All && facts.clients.differ() {
        " (of clients on both sides of a fault together; `clients: cut-off` and `clients: rest` tell them apart)"
    } else {
        ""
    };
    let allowed = bound.map_or_else(String::new, |bound| format!(", {} allowed", length_ns(bound)));
    finding.saw(format!(
        "{shard}: {served} of {} {} served ({share:.1} %){not_sent}, {outage_text}{allowed}{mixed}",
        ops.len(),
        settings.of
    ));
    finding.worst_figure("longest_outage_ms", longest_ms).least_figure("served_percent", share);
    finding.add_figure("issued", ops.len() as f64).add_figure("unserved", (ops.len() - served) as f64);
    if unsent > 0 {
        finding.add_figure("unsent", unsent as f64);
    }
    if let Some(slowest_ns) = slowest_ns {
        finding.worst_figure("slowest_ms", slowest_ns as f64 / 1e6);
    }
    if settings.served != Some(Served::Never) {
        describe(facts, settings, shard, &all, &outages, finding);
        finding.observed(ops.len() as u64);
    }
    let looked = Looked { facts, settings, shard, window, ops: &ops };
    if let Some(bound) = settings.max_outage {
        judge_outages(&looked, bound, &outages, finding);
        judge_gaps(&looked, bound_ns(facts, bound, window.from_ns), finding);
    }
    if let Some(least) = settings.min_served {
        looked.judge_share(least, served, unsent, finding);
    }
    match settings.served {
        Some(Served::Always) => looked.judge_every(unsent, finding),
        Some(Served::Never) => judge_never(shard, &ops, window, finding),
        None => {}
    }
}

/// The operations of one shard that were sent.
struct Looked<'f, 'h> {
    facts: &'f Facts<'h>,
    settings: &'f Availability,
    shard: ShardNo,
    window: Window,
    ops: &'f [&'h Op],
}

impl<'h> Looked<'_, 'h> {
    /// The operations that were issued in a window.
    fn within(&self, window: Window) -> &[&'h Op] {
        let from = self.ops.partition_point(|op| op.invoke_ns() < window.from_ns);
        let to = self.ops.partition_point(|op| op.invoke_ns() < window.to_ns);
        &self.ops[from..to.max(from)]
    }

    /// Whether an operation had no answer in time, and no server rejected it.
    fn is_slow(&self, op: &Op) -> bool {
        op.outcome().is_ok() || self.facts.history.reason(op.outcome()).is_some_and(Reason::is_slowness)
    }

    /// Every operation must be served. Where the harness was late, operations without an answer in time prove nothing; a
    /// rejection does.
    fn judge_every(&self, unsent: usize, finding: &mut Finding) {
        let patience_ns = self.settings.patience_ns();
        let unserved: Vec<&&Op> = self.ops.iter().filter(|op| !op.is_served_within(patience_ns)).collect();
        if unserved.is_empty() {
            if unsent > 0 {
                finding.undecided(self.not_sent(unsent));
            }
            return;
        }
        let busy = |op: &Op| self.busy(Window { from_ns: op.invoke_ns(), to_ns: op.complete_ns() });
        let excuse = if unserved.iter().all(|op| self.is_slow(op)) {
            let late = self.facts.workload_was_late(self.window);
            // The machine must have been busy around each of them.
            late.or_else(|| unserved.iter().map(|op| busy(op)).reduce(|first, next| next.and(first)).flatten())
        } else {
            None
        };
        match excuse {
            Some(why) => _ = finding.undecided(why),
            None => _ = finding.weigh(Verdict::Fail),
        }
    }

    fn busy(&self, unserved: Window) -> Option<String> {
        self.facts.busy(unserved).map(|why| format!("{}: {why}", self.shard))
    }

    /// Operations that were not sent could have changed the share either way.
    fn judge_share(&self, least: Percent, served: usize, unsent: usize, finding: &mut Finding) {
        let all = self.ops.len() + unsent;
        if is_less(served + unsent, all, least) {
            match self.facts.cut_in(self.window) {
                Some(why) => _ = finding.undecided(format!("{}: {why}", self.shard)),
                None => _ = finding.weigh(Verdict::Fail),
            }
        } else if is_less(served, all, least) {
            finding.undecided(self.not_sent(unsent));
        }
    }

    fn not_sent(&self, unsent: usize) -> String {
        let unsent = count(unsent as u64, "operation");
        format!("{}: {unsent} not sent: too few keys (hint: raise `workload.keys`)", self.shard)
    }
}

/// Evidence: the longest outages, and the most frequent reasons for operations that were not served.
fn describe(
    facts: &Facts<'_>,
    settings: &Availability,
    shard: ShardNo,
    ops: &[&Op],
    outages: &[Outage],
    finding: &mut Finding,
) {
    let mut longest: Vec<&Outage> = outages.iter().collect();
    longest.sort_by_key(|outage| Reverse(outage.to_ns - outage.from_ns));
    for outage in longest.iter().take(3) {
        finding.evidence(format!(
            "{shard}: {} {} of {} from {} to {}, {}",
            one(settings.of),
            if outage.stall { "stall" } else { "outage" },
            length(outage.length_ms()),
            at(outage.from_ns),
            at(outage.to_ns),
            count(outage.unserved, "operation")
        ));
    }
    let mut by_text: BTreeMap<&str, u64> = BTreeMap::new();
    for op in ops {
        if let Some(explanation) = facts.history.explanation(op.outcome()) {
            *by_text.entry(&explanation.text).or_default() += 1;
        }
    }
    let mut reasons: Vec<(&str, u64)> = by_text.into_iter().collect();
    reasons.sort_by_key(|(_, times)| Reverse(*times));
    for (reason, times) in reasons.iter().take(3) {
        let often = if *times == 1 { "once".to_owned() } else { format!("{times} times") };
        finding.evidence(format!("{shard}: {often} `{reason}`"));
    }
}

/// A pause between two operations that is longer than the bound may hide an outage. Where the bound is 0, the patience
/// takes its place: some pause is between any two operations.
fn judge_gaps(looked: &Looked<'_, '_>, bound_ns: u64, finding: &mut Finding) {
    let Looked { facts, settings, shard, window, ops } = *looked;
    let longest_ns = if bound_ns == 0 { settings.patience_ns() } else { bound_ns };
    let mut answered_ns = window.from_ns;
    let issued = ops.iter().map(|op| (op.invoke_ns(), op.complete_ns())).chain([(window.to_ns, window.to_ns)]);
    for (invoke_ns, complete_ns) in issued {
        if invoke_ns.saturating_sub(answered_ns) > longest_ns {
            finding.undecided(format!(
                "{shard}: no {} were sent from {} to {} ({})",
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

fn judge_outages(looked: &Looked<'_, '_>, bound: Bound, outages: &[Outage], finding: &mut Finding) {
    let last_served = last_served(looked, outages);
    for (outage, last_served_ns) in outages.iter().zip(last_served) {
        let bound_ns = bound_ns(looked.facts, bound, outage.from_ns);
        match exceeds(looked, outage, bound_ns, last_served_ns) {
            Ok(true) => _ = finding.weigh(Verdict::Fail),
            Ok(false) => {}
            Err(why) => _ = finding.undecided(why),
        }
    }
}

/// Whether an outage was longer than the bound, or why that is not certain.
fn exceeds(looked: &Looked<'_, '_>, outage: &Outage, bound_ns: u64, last_served_ns: u64) -> Result<bool, String> {
    let Looked { facts, settings, .. } = *looked;
    let (shard, from) = (outage.shard, at(outage.from_ns));
    let during = looked.within(outage.window());
    let lasted_ns = outage.length_ns();
    let is_slow = during.iter().all(|op| looked.is_slow(op));
    if bound_ns == 0 && !is_slow {
        return Ok(true);
    }
    if lasted_ns > bound_ns {
        if let Some(why) = facts.workload_was_late(outage.window()) {
            return Err(why);
        }
        if is_slow && let Some(why) = looked.busy(outage.window()) {
            return Err(why);
        }
        let over_ns = outage.from_ns.saturating_add(bound_ns);
        if Facts::unserved_beyond(during.iter().copied(), over_ns, bound_ns) {
            return Ok(true);
        }
        return Err(format!(
            "{shard}: the outage from {from} may have ended by {}: no operation was issued just then ({})",
            at(over_ns),
            facts.too_few(shard)
        ));
    }
    if !outage.ended && !ended_in_time(facts, outage, bound_ns, patience_ns(settings, Some(bound_ns))) {
        return Err(format!("{shard}: the outage from {from} was still open at the end"));
    }
    if outage.to_ns - last_served_ns > bound_ns {
        return Err(format!(
            "{shard}: the outage from {from} may have begun up to {} earlier: no operation was issued before it ({})",
            length_ns(outage.from_ns - last_served_ns),
            facts.too_few(shard)
        ));
    }
    Ok(false)
}

/// For each outage, in order of time, the last moment before it at which an operation proves service: the answer, or the
/// issue if the answer came later. Nanoseconds from the start of the run; the start of the window if there is none.
fn last_served(looked: &Looked<'_, '_>, outages: &[Outage]) -> Vec<u64> {
    let Looked { settings, window, ops, .. } = *looked;
    let served = |op: &&&Op| op.is_served_within(settings.patience_ns());
    let mut later = ops.iter().filter(served).peekable();
    let mut under_way = BinaryHeap::new();
    let mut last_ns = window.from_ns;
    let mut moments = Vec::with_capacity(outages.len());
    for outage in outages {
        while let Some(op) = later.next_if(|op| op.invoke_ns() < outage.from_ns) {
            last_ns = last_ns.max(op.invoke_ns());
            under_way.push(Reverse(op.complete_ns()));
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
fn ended_in_time(facts: &Facts<'_>, cut: &Outage, bound_ns: u64, patience_ns: u64) -> bool {
    let (whose, on) = (cut.whose(), Window { from_ns: cut.from_ns, to_ns: u64::MAX });
    let on = outages(&facts.issued(whose.of, whose.shard, whose.clients, on), whose, on, patience_ns);
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
        ops.iter().filter(|op| op.outcome() == Outcome::Ok && op.complete_ns() < window.to_ns).collect();
    let unserved: Vec<&&Op> = ops.iter().filter(|op| !op.outcome().is_ok()).collect();
    finding.observed((served_inside.len() + unserved.len()) as u64);
    if unserved.is_empty() && served_inside.is_empty() {
        finding.undecided(format!("{shard}: every answer came after the window"));
    }
    for op in &served_inside {
        finding.weigh(Verdict::Fail).evidence(format!(
            "{shard}: {} was served by node-{} at {}",
            crate::history::key_name(op.key()),
            op.node(),
            at(op.complete_ns())
        ));
    }
}
