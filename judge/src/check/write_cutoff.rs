//! `write-cutoff`: a master without a majority stops acknowledging writes. Clients on its side must keep trying, or nothing
//! is proven.

use super::finding::{Finding, injecting};
use super::{Judgement, Traits, Verdict};
use crate::facts::{Facts, FaultSpan, Window};
use crate::history::{Hit, Op, Outcome, Reason, key_name};
use crate::suite::{OpKind, WriteCutoff};
use crate::units::{NodeNo, ShardNo};
use crate::words::{at, count, length_ns};

pub(super) const TRAITS: Traits = Traits { is_telling: true, ..Traits::PLAIN };

pub(super) fn judge(facts: &Facts<'_>, settings: &WriteCutoff) -> Judgement {
    let mut finding = Finding::new();
    match facts.steps_window().and_then(|window| Ok((window, cuts(facts, settings)?))) {
        Ok((window, cuts)) => {
            let cuts: Vec<_> = cuts.into_iter().filter(|(cut, ..)| window.contains(cut.from_ns)).collect();
            if cuts.is_empty() {
                finding.undecided("no partition cut off a master");
            }
            for (cut, node, shard) in cuts {
                look_at(facts, settings, cut, (node, shard), &mut finding);
            }
        }
        Err(why) => _ = finding.undecided(why),
    }
    let first = facts.fault_spans.iter().find(|each| each.cuts_off());
    let hears = first.is_some_and(FaultSpan::leaves_hearing);
    let first_ns = first.map_or(0, |cut| cut.from_ns);
    let bound_ns = facts.bound_ns(settings.within, first_ns, |rules| rules.write_cutoff(hears));
    let expected = format!(
        "a master that is cut off acknowledges no write more than {} after the cut ({})",
        length_ns(bound_ns),
        settings.shard
    );
    finding.judge("write-cutoff", format!("shard {}, within {}", settings.shard, settings.within), expected)
}

/// The cuts that hit masters of the shards, each with the master and its shard.
fn cuts<'c>(facts: &'c Facts<'_>, settings: &WriteCutoff) -> Result<Vec<(&'c FaultSpan, NodeNo, ShardNo)>, String> {
    let shards = facts.shards(settings.shard)?;
    let mut found = Vec::new();
    for cut in facts.fault_spans.iter().filter(|each| each.cuts_off()) {
        for hit in &cut.hits {
            if let Hit { node, shard: Some(shard), was_master: true } = *hit
                && shards.contains(&shard)
            {
                found.push((cut, node, shard));
            }
        }
    }
    Ok(found)
}

fn look_at(
    facts: &Facts<'_>,
    settings: &WriteCutoff,
    cut: &FaultSpan,
    (node, shard): (NodeNo, ShardNo),
    finding: &mut Finding,
) {
    // Before all rules are in force, the node may still reach the majority.
    let in_force = Window { from_ns: cut.struck_ns(), ..cut.in_force() };
    let bound_ns = facts.bound_ns(settings.within, in_force.from_ns, |rules| rules.write_cutoff(cut.hears(node)));
    let all = facts.ops.issued(OpKind::Writes, shard, Window { from_ns: 0, to_ns: in_force.to_ns });
    let acked: Vec<&Op> = all
        .iter()
        .copied()
        .filter(|op| op.outcome() == Outcome::Ok && op.node() == node.0 && in_force.contains(op.complete_ns()))
        .collect();
    let last = acked.iter().max_by_key(|op| op.complete_ns());
    let last_ns = last.map_or(in_force.from_ns, |op| op.complete_ns());
    let took_ns = last_ns - in_force.from_ns;
    // Clients that cannot reach the node prove nothing. A client on the side of the node tried even if the node redirected
    // it.
    let unserved = all
        .iter()
        .filter(|op| !op.outcome().is_ok() && op.invoke_ns() > last_ns)
        .filter(|op| cut.reaches(op.client(), node) && (op.node() == node.0 || cut.beside(op.client(), node)));
    let tried = unserved.clone().filter(|op| op.outcome().was_tried());
    let refused = tried.clone().count() as u64;
    // If the cut ended before the limit, only CLUSTERDOWN shows that the node would not have acknowledged another write.
    let is_clusterdown = |op: &Op| facts.history.reason(op.outcome()) == Some(Reason::ClusterDown);
    let settled = tried.clone().any(|op| is_clusterdown(op) || op.invoke_ns() - in_force.from_ns >= bound_ns);
    let what = format!("{shard}: {node}, cut off at {}", at(in_force.from_ns));
    finding.observed((acked.len() + unserved.count()) as u64);
    finding.worst_figure("write_cutoff_ms", took_ns as f64 / 1e6);
    finding.add_figure("acknowledged_while_cut_off", acked.len() as f64);
    match last {
        Some(last) => {
            finding.saw(format!(
                "{what}, acknowledged {}, the last after {} of {} allowed",
                count(acked.len() as u64, "more write"),
                length_ns(took_ns),
                length_ns(bound_ns)
            ));
            finding.evidence(format!(
                "{what}: {} of client-{} was acknowledged at {}; {} later not acknowledged",
                key_name(last.key()),
                u32::from(last.client()) + 1,
                at(last_ns),
                count(refused, "write")
            ));
        }
        None => _ = finding.saw(format!("{what}, acknowledged no more writes")),
    }
    if took_ns > bound_ns {
        match facts.stalled(Window { from_ns: in_force.from_ns, to_ns: last_ns }) {
            Some(why) => _ = finding.undecided(why),
            None => _ = finding.weigh(Verdict::Fail),
        }
    } else if last_ns - cut.from_ns > bound_ns {
        finding.undecided(format!("{shard}: {}", injecting(cut.took_effect().length_ns())));
    } else if refused == 0 {
        let what =
            if last.is_some() { "another write before the cut was lifted" } else { "a write while it was cut off" };
        finding.undecided(format!("{shard}: no client that reaches {node} tried {what}"));
    } else if !settled {
        finding.undecided(format!(
            "{shard}: the cut was lifted {} after it began, and {node} had not refused a write by then",
            length_ns(in_force.length_ns())
        ));
    }
}
