//! `replica-lag`: replicas have their link up and are not too far behind their master.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::ask::Silence;
use super::finding::{Finding, undoing};
use super::{Judgement, Traits, Verdict};
use crate::facts::{Facts, FaultSpan, Window};
use crate::history::{EventKind, Op};
use crate::suite::{Moment, OpKind, ReplicaLag};
use crate::topology::Role;
use crate::units::{NodeNo, ShardNo};
use crate::words::{at, count, length_ns};

pub(super) const TRAITS: Traits = Traits::PLAIN;

pub(super) fn judge(facts: &Facts<'_>, settings: &ReplicaLag) -> Judgement {
    let mut finding = Finding::new();
    if let Err(why) = look(facts, settings, &mut finding) {
        finding.undecided(why);
    }
    let whose = settings.shard.map_or_else(|| "every replica".to_owned(), |shard| format!("every replica of {shard}"));
    let when = match &settings.at {
        Moment::End => "at the end".to_owned(),
        Moment::Throughout => "at every sample during the steps".to_owned(),
        Moment::Phase(name) => format!("at the last sample of phase {name}"),
    };
    let mut expected =
        format!("{whose} has its link up and is at most {} bytes behind its master {when}", settings.max_bytes);
    if let Some(above) = settings.rises_above {
        let _ = write!(expected, "; the lag of some replica exceeds {above} bytes");
    }
    if let Some(within) = settings.back_within {
        let _ = write!(expected, "; each catches up within {within} after the last heal");
    }
    finding.judge("replica-lag", words(settings), expected)
}

fn words(settings: &ReplicaLag) -> String {
    let mut parts = vec![format!("at {}, max-bytes {}", settings.at, settings.max_bytes)];
    parts.extend(settings.shard.map(|shard| format!("shard {shard}")));
    parts.extend(settings.rises_above.map(|above| format!("rises-above {above}")));
    parts.extend(settings.back_within.map(|within| format!("back-within {within}")));
    parts.join(", ")
}

/// The length of the PING that an idle master adds to the replication stream each `repl-ping-replica-period`, in bytes:
/// `*1\r\n$4\r\nPING\r\n`.
const PING_BYTES: u64 = 14;

#[derive(Clone, Copy)]
struct Sample {
    at_ns: u64,
    replica: NodeNo,
    master: NodeNo,
    bytes: u64,
    link_up: bool,
}

fn look(facts: &Facts<'_>, settings: &ReplicaLag, finding: &mut Finding) -> Result<(), String> {
    // At `at_ns` the nodes that are replicas are determined.
    let (window, at_ns) = match &settings.at {
        Moment::End => {
            let recovered_ns =
                facts.recovered_ns().ok_or("the run ended before its recovery, so there are no samples of the end")?;
            (Window { from_ns: recovered_ns, to_ns: u64::MAX }, facts.last_ns()?)
        }
        Moment::Throughout => {
            let window = facts.steps_window()?;
            (window, window.to_ns.saturating_sub(1))
        }
        Moment::Phase(name) => (facts.phase(name)?, facts.phase_end_ns(name)?),
    };
    let samples = samples(facts, window);
    let expected = expected_replicas(facts, settings, at_ns, finding);
    if expected.is_empty() {
        finding.undecided("no replica to judge");
    }
    let last: BTreeMap<NodeNo, Sample> = samples.iter().map(|sample| (sample.replica, *sample)).collect();
    for replica in expected.iter().filter(|replica| !last.contains_key(replica)) {
        finding.undecided(format!("{replica} was not sampled"));
    }
    let judged: Vec<Sample> = match settings.at {
        Moment::Throughout => samples.into_iter().filter(|sample| of_shard(facts, settings, sample)).collect(),
        Moment::Phase(_) => expected.iter().filter_map(|replica| last.get(replica).copied()).collect(),
        Moment::End => {
            let idle = &samples[samples.partition_point(|sample| sample.at_ns <= written_until_ns(facts))..];
            let last = expected.iter().filter_map(|replica| last.get(replica));
            last.map(|&last| without_ping(last, idle)).collect()
        }
    };
    finding.observed(judged.len() as u64);
    let most = judged.iter().map(|sample| sample.bytes).max();
    if let Some(most) = most {
        finding.figure("max_lag_bytes", most as f64);
    }
    let bad: Vec<&Sample> =
        judged.iter().filter(|sample| !sample.link_up || sample.bytes > settings.max_bytes).collect();
    for sample in &bad {
        let link = if sample.link_up { "" } else { ", its link down" };
        finding.weigh(Verdict::Fail).evidence(format!(
            "at {}: {} was {} bytes behind {}{link}",
            at(sample.at_ns),
            sample.replica,
            sample.bytes,
            sample.master
        ));
    }
    let down = judged.iter().filter(|sample| !sample.link_up).count();
    finding.saw(format!(
        "{} of {}, at most {} bytes behind, {down} with the link down",
        count(judged.len() as u64, "sample"),
        count(last.len() as u64, "replica"),
        most.unwrap_or(0)
    ));
    if let Some(above) = settings.rises_above {
        // After recovery no replica lags, so `at: end` looks for the lag during the steps.
        let risen_in = if settings.at == Moment::End { facts.steps_window()? } else { window };
        rises(facts, settings, risen_in, above, finding);
    }
    if let Some(within) = settings.back_within {
        back(facts, settings, within.as_ns(), finding);
    }
    resynchronised(facts, settings, finding);
    Ok(())
}

/// The last moment at which a write may have reached a master, in nanoseconds from the start of the run.
fn written_until_ns(facts: &Facts<'_>) -> u64 {
    let writes = facts.history.ops.iter().filter(|op| op.kind() == OpKind::Writes && op.outcome().was_tried());
    writes.map(Op::complete_ns).max().unwrap_or(0)
}

/// The last sample of a replica, without the PING that its master had just sent. A lag of one PING more than the
/// replica's smallest lag behind the same master since the last write is such a PING. A real lag stays in every sample.
fn without_ping(last: Sample, idle: &[Sample]) -> Sample {
    let of_pair = |sample: &&Sample| (sample.replica, sample.master) == (last.replica, last.master) && sample.link_up;
    let least = idle.iter().filter(of_pair).map(|sample| sample.bytes).min();
    Sample { bytes: least.filter(|least| least + PING_BYTES == last.bytes).unwrap_or(last.bytes), ..last }
}

/// The lag of some replica exceeded `above` bytes in the window.
fn rises(facts: &Facts<'_>, settings: &ReplicaLag, window: Window, above: u64, finding: &mut Finding) {
    let samples = samples(facts, window).into_iter().filter(|sample| of_shard(facts, settings, sample));
    let Some(furthest) = samples.max_by_key(|sample| sample.bytes) else {
        finding.undecided("no samples while the lag should rise");
        return;
    };
    finding.figure("risen_lag_bytes", furthest.bytes as f64);
    let text = format!(
        "{} was {} bytes behind {} at {}",
        furthest.replica,
        furthest.bytes,
        furthest.master,
        at(furthest.at_ns)
    );
    if furthest.bytes > above {
        finding.saw(text);
    } else {
        finding.fail(format!("the lag never exceeded {above} bytes; at most, {text}"));
    }
}

/// Judges when each replica caught up for good: the first sample after the last heal with 0 bytes and the link up, with no
/// later sample with the link down or the lag above `rises-above`. (The workload goes on, so samples of a few bytes are
/// normal. A sample of 0 bytes between two failures of the link does not count.)
fn back(facts: &Facts<'_>, settings: &ReplicaLag, bound_ns: u64, finding: &mut Finding) {
    let ends = facts.fault_spans.iter().filter_map(FaultSpan::lost_effect);
    let Some(over) = ends.max_by_key(|over| over.to_ns) else {
        finding.undecided("no fault was undone, so there is no heal to catch up after");
        return;
    };
    let healed_ns = over.to_ns;
    let since = Window { from_ns: healed_ns, to_ns: u64::MAX };
    let mut by_replica: BTreeMap<NodeNo, Vec<Sample>> = BTreeMap::new();
    for sample in samples(facts, since).into_iter().filter(|sample| of_shard(facts, settings, sample)) {
        by_replica.entry(sample.replica).or_default().push(sample);
    }
    if by_replica.is_empty() {
        finding.undecided("no samples after the last heal");
    }
    for (replica, samples) in by_replica {
        let relapsed =
            |sample: &Sample| !sample.link_up || settings.rises_above.is_some_and(|above| sample.bytes > above);
        let steady = samples.iter().rposition(relapsed).map_or(0, |last| last + 1);
        let caught_up = samples[steady..].iter().find(|sample| sample.bytes == 0).map(|sample| sample.at_ns);
        let watched_ns = samples.last().map_or(healed_ns, |sample| sample.at_ns);
        let took_ns = caught_up.unwrap_or(watched_ns) - healed_ns;
        if let Some(caught_up_ns) = caught_up {
            finding.worst_figure("back_ms", took_ns as f64 / 1e6);
            finding
                .evidence(format!("{replica} caught up {} after the last heal", length_ns(caught_up_ns - healed_ns)));
        }
        if took_ns > bound_ns {
            let took = length_ns(took_ns);
            let text = match caught_up {
                Some(_) => format!("{replica} caught up only {took} after the last heal"),
                None => format!("{replica} had not caught up {took} after the last heal"),
            };
            match facts.stalled(Window { from_ns: healed_ns, to_ns: healed_ns + took_ns }) {
                Some(why) => _ = finding.undecided(format!("{text}, but {why}")),
                None => _ = finding.fail(text),
            }
        } else if caught_up.is_some() && took_ns + over.length_ns() > bound_ns {
            finding.undecided(format!("{replica}: {}", undoing(over.length_ns())));
        } else if caught_up.is_none() {
            finding.undecided(format!("{replica} did not catch up, but was sampled for only {}", length_ns(took_ns)));
        }
    }
}

/// Counts full and partial resynchronisations from the first phase on. A count that decreases was reset by a restart of the
/// server.
fn resynchronised(facts: &Facts<'_>, settings: &ReplicaLag, finding: &mut Finding) {
    let Ok(window) = facts.steps_window() else { return };
    let mut counts: BTreeMap<NodeNo, [u64; 3]> = BTreeMap::new();
    let mut risen = [0; 3];
    let mut any = false;
    for event in &facts.history.events {
        let EventKind::Synced { master, full, partial, refused } = event.kind else { continue };
        any = true;
        let now = [full, partial, refused];
        let before = counts.insert(master, now).unwrap_or_default();
        let of_shard = |shard| facts.ownership.owner(shard, event.at_ns) == Some(master);
        if event.at_ns < window.from_ns || !settings.shard.is_none_or(of_shard) {
            continue;
        }
        let restarted = now.iter().zip(before).any(|(now, before)| *now < before);
        for (position, sum) in risen.iter_mut().enumerate() {
            *sum += now[position] - if restarted { 0 } else { before[position] };
        }
    }
    if !any {
        return;
    }
    let [full, partial, refused] = risen;
    finding.saw(format!("{} and {}, {refused} refused", count(full, "full resync"), count(partial, "partial resync")));
    finding.figure("full_syncs", full as f64).figure("partial_syncs", partial as f64);
}

fn samples(facts: &Facts<'_>, window: Window) -> Vec<Sample> {
    facts
        .history
        .events
        .iter()
        .filter(|event| window.contains(event.at_ns))
        .filter_map(|event| match event.kind {
            EventKind::Lag { replica, master, bytes, link_up } => {
                Some(Sample { at_ns: event.at_ns, replica, master, bytes, link_up })
            }
            _ => None,
        })
        .collect()
}

fn of_shard(facts: &Facts<'_>, settings: &ReplicaLag, sample: &Sample) -> bool {
    settings.shard.is_none_or(|shard| facts.ownership.owner(shard, sample.at_ns) == Some(sample.master))
}

/// The nodes that should be replicas: those that own no shard. With `at: end`, a node that does not answer or is not a
/// replica is judged here.
fn expected_replicas(facts: &Facts<'_>, settings: &ReplicaLag, at_ns: u64, finding: &mut Finding) -> Vec<NodeNo> {
    let owners: BTreeMap<NodeNo, ShardNo> =
        facts.ownership.shards().filter_map(|shard| Some((facts.ownership.owner(shard, at_ns)?, shard))).collect();
    let mut expected = Vec::new();
    for planned in facts.plan().nodes.iter().filter(|planned| !owners.contains_key(&planned.node)) {
        let node = planned.node;
        let view = facts.view_of(node, at_ns);
        let own = view.as_ref().ok().and_then(|view| view.peers.get(&node));
        let master = own.and_then(|own| match own.role {
            Role::ReplicaOf(master) => Some(master),
            Role::Master | Role::ReplicaOfUnknown => None,
        });
        // A node that replicates nothing or does not answer counts for its shard at boot.
        let shard = master.and_then(|master| owners.get(&master).copied()).unwrap_or(planned.shard);
        if settings.shard.is_some_and(|wanted| wanted != shard) {
            continue;
        }
        match view {
            Ok(_) if master.is_some() => expected.push(node),
            Ok(_) if settings.at == Moment::End => {
                finding.fail(format!("{node} does not replicate a master of this cluster"));
            }
            Err(Silence::Broken(why)) if settings.at == Moment::End => _ = finding.fail(why),
            Err(Silence::Unknown(why)) if settings.at == Moment::End => _ = finding.undecided(why),
            Ok(_) | Err(_) => {}
        }
    }
    expected
}
