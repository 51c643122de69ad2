//! `split-brain`: how long two nodes acknowledged writes to one shard.

use std::collections::BTreeSet;

use super::finding::Finding;
use super::{Figure, FigureKind, Judgement, Traits, Verdict};
use crate::facts::{Facts, Reign, Window};
use crate::history::{Op, Outcome, key_name};
use crate::suite::{MayLast, Only, OpKind, SplitBrain};
use crate::units::{Bound, NodeNo, ShardNo};
use crate::words::{at, count, length_ns, list};

pub(super) const TRAITS: Traits = Traits {
    is_telling: true,
    figures: &[
        Figure { name: "split_brain_writes", kind: FigureKind::Safety },
        Figure { name: "split_brain_ms", kind: FigureKind::Safety },
    ],
};

pub(super) fn judge(facts: &Facts<'_>, settings: &SplitBrain) -> Judgement {
    let mut finding = Finding::new();
    match facts.steps_window().and_then(|window| Ok((window, facts.shards(settings.shard)?))) {
        Ok((window, shards)) => {
            for shard in shards {
                look_at(facts, settings, shard, window, &mut finding);
            }
        }
        Err(why) => _ = finding.undecided(why),
    }
    let expected = match settings.may_last {
        MayLast::AtMost(bound) => {
            let first_ns = facts.failovers.first().map_or(0, |failover| failover.from_ns);
            match bound_ns(facts, bound, first_ns) {
                0 => "the old master acknowledges no write after the new master's first".to_owned(),
                bound_ns => format!(
                    "the old master acknowledges no write more than {} after the new master's first",
                    length_ns(bound_ns)
                ),
            }
        }
        MayLast::Measured => "old and new masters acknowledge writes, so that the overlap can be measured".to_owned(),
    };
    finding.judge("split-brain", format!("shard {}, may-last {}", settings.shard, settings.may_last), expected)
}

fn look_at(facts: &Facts<'_>, settings: &SplitBrain, shard: ShardNo, window: Window, finding: &mut Finding) {
    let all = facts.ops.issued(OpKind::Writes, shard, Window { from_ns: window.from_ns, to_ns: u64::MAX });
    let mut acked: Vec<&Op> = all.iter().copied().filter(|op| op.outcome() == Outcome::Ok && op.node() != 0).collect();
    acked.sort_by_key(|op| op.complete_ns());
    finding.observed(acked.len() as u64);
    if acked.is_empty() {
        finding.undecided(format!("{shard}: no write was acknowledged"));
        return;
    }
    let reigns = facts.reigns.of(shard);
    strangers(shard, reigns, &acked, finding);
    let began = |reign: &&Reign| window.contains(reign.from_ns);
    let mut successions = reigns.windows(2).filter(|pair| began(&&pair[1])).peekable();
    if successions.peek().is_none() {
        finding.worst_figure("split_brain_ms", 0.0).add_figure("split_brain_writes", 0.0);
        finding.saw(format!("{shard}: no promotion, {} acknowledged", count(acked.len() as u64, "write")));
    }
    for pair in successions {
        succession(facts, settings, shard, (pair[0], pair[1]), (all, &acked), finding);
    }
}

/// Acknowledgements by nodes that no earlier view shows as owner of the shard. Too little is known about its masters
/// then.
fn strangers(shard: ShardNo, reigns: &[Reign], acked: &[&Op], finding: &mut Finding) {
    let known = |op: &Op| reigns.iter().any(|reign| reign.node.0 == op.node() && reign.from_ns <= op.complete_ns());
    let strange: Vec<&&Op> = acked.iter().filter(|op| !known(op)).collect();
    if let Some(first) = strange.first() {
        finding.undecided(format!(
            "{shard}: {} acknowledged by nodes that no earlier view shows as its owner, first by node-{} at {}",
            count(strange.len() as u64, "write"),
            first.node(),
            at(first.complete_ns())
        ));
    }
}

/// Judges one promotion. Every node but the new master counts as an old master until the next promotion.
fn succession(
    facts: &Facts<'_>,
    settings: &SplitBrain,
    shard: ShardNo,
    (old, new): (Reign, Reign),
    (all, acked): (&[&Op], &[&Op]),
    finding: &mut Finding,
) {
    let by = |node: NodeNo| move |op: &&&Op| op.node() == node.0;
    let reigned = Window { from_ns: new.from_ns, to_ns: new.to_ns };
    let first = acked.iter().filter(by(new.node)).find(|op| reigned.contains(op.complete_ns()));
    let before = acked.iter().filter(by(old.node)).any(|op| op.complete_ns() < new.from_ns);
    let Some(first) = first else {
        finding.undecided(format!("{shard}: {} acknowledged no write after its promotion", new.node));
        return;
    };
    let overlap = Window { from_ns: first.complete_ns(), to_ns: new.to_ns };
    let stale: Vec<&Op> = acked
        .iter()
        .copied()
        .filter(|op| op.node() != new.node.0 && op.complete_ns() > overlap.from_ns && op.complete_ns() < overlap.to_ns)
        .collect();
    let lasted_ns = stale.last().map_or(0, |last| last.complete_ns() - overlap.from_ns);
    finding.worst_figure("split_brain_ms", lasted_ns as f64 / 1e6);
    finding.add_figure("split_brain_writes", stale.len() as f64);
    if let (Some(earliest), Some(last)) = (stale.first(), stale.last()) {
        finding.saw(format!(
            "{shard}: {} acknowledged {} in the {} after the first write of {}",
            list(stale.iter().map(|op| NodeNo(op.node())).collect::<BTreeSet<_>>()),
            count(stale.len() as u64, "write"),
            length_ns(lasted_ns),
            new.node
        ));
        finding.evidence(format!(
            "{shard}: {} acknowledged {} at {}",
            new.node,
            key_name(first.key()),
            at(overlap.from_ns)
        ));
        for op in [earliest, last] {
            finding.evidence(format!(
                "{shard}: node-{} acknowledged {} of client-{} at {}",
                op.node(),
                key_name(op.key()),
                u32::from(op.client()) + 1,
                at(op.complete_ns())
            ));
        }
        exceeds(facts, settings, Window { from_ns: overlap.from_ns, to_ns: last.complete_ns() }, finding);
    } else if !before {
        finding.undecided(format!("{shard}: {} acknowledged no write before {} took over", old.node, new.node));
    } else if let Some(why) = unseen(facts, shard, (old, new), (all, overlap)) {
        finding.undecided(why);
    } else {
        finding.saw(format!("{shard}: {} acknowledged no write after the first one of {}", old.node, new.node));
    }
}

/// The bound of an overlap that begins at a moment, in nanoseconds.
fn bound_ns(facts: &Facts<'_>, bound: Bound, at_ns: u64) -> u64 {
    let hears = facts.fault_spans.iter().any(|each| each.cuts_off() && each.is_open(at_ns) && each.leaves_hearing());
    facts.bound_ns(bound, at_ns, |rules| rules.split_brain(hears))
}

fn exceeds(facts: &Facts<'_>, settings: &SplitBrain, lasted: Window, finding: &mut Finding) {
    let MayLast::AtMost(bound) = settings.may_last else { return };
    if lasted.length_ns() > bound_ns(facts, bound, lasted.from_ns) {
        match facts.stalled(lasted) {
            Some(why) => _ = finding.undecided(why),
            None => _ = finding.weigh(Verdict::Fail),
        }
    }
}

/// Why it proves nothing that the old master acknowledged no write: it was cut off, and no client that could reach it tried
/// to write.
fn unseen(
    facts: &Facts<'_>,
    shard: ShardNo,
    (old, new): (Reign, Reign),
    (all, overlap): (&[&Op], Window),
) -> Option<String> {
    let cut = facts.fault_spans.iter().find(|each| {
        each.cuts_off()
            && each.only == Only::All
            && each.hit(old.node).is_some()
            && each.in_force().contains(overlap.from_ns)
    })?;
    if facts.open_fault(old.node, overlap.from_ns).is_some() {
        // Its process does not run either, so it cannot acknowledge a write.
        return None;
    }
    let tried = all.iter().any(|op| {
        let to_it = op.node() == old.node.0 || cut.beside(op.client(), old.node);
        op.invoke_ns() > overlap.from_ns && to_it && cut.reaches(op.client(), old.node)
    });
    (!tried).then(|| {
        format!(
            "{shard}: no client that reaches {} tried to write to it after the first write of {} at {}",
            old.node,
            new.node,
            at(overlap.from_ns)
        )
    })
}
