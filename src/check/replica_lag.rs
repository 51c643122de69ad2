//! `replica-lag`: how far replicas are behind, and that their link is up.

use std::collections::BTreeMap;

use super::case::{Case, Silence};
use super::finding::{Finding, at};
use super::{Judgement, Verdict};
use crate::analysis::Window;
use crate::cluster::topology::Role;
use crate::history::EventKind;
use crate::suite::{Moment, ReplicaLag};
use crate::units::{NodeNo, ShardNo};

pub(super) fn judge(case: &Case<'_>, settings: &ReplicaLag) -> Judgement {
    let mut finding = Finding::new();
    if let Err(why) = look(case, settings, &mut finding) {
        finding.undecided(why);
    }
    let whose = settings.shard.map_or_else(|| "every replica".to_owned(), |shard| format!("every replica of {shard}"));
    let when = match &settings.at {
        Moment::End => "at the end".to_owned(),
        Moment::Throughout => "at every sample during the steps".to_owned(),
        Moment::Phase(name) => format!("at the last sample of phase {name}"),
    };
    let expected =
        format!("{whose} has its link up and is at most {} bytes behind its master {when}", settings.max_bytes);
    let shard = settings.shard.map_or_else(String::new, |shard| format!(", shard {shard}"));
    finding.judge("replica-lag", format!("at {}, max-bytes {}{shard}", settings.at, settings.max_bytes), expected)
}

#[derive(Clone, Copy)]
struct Sample {
    at_ns: u64,
    replica: NodeNo,
    master: NodeNo,
    bytes: u64,
    link_up: bool,
}

fn look(case: &Case<'_>, settings: &ReplicaLag, finding: &mut Finding) -> Result<(), String> {
    // `at_ns` is the moment at which it is asked who is a replica.
    let (window, at_ns) = match &settings.at {
        Moment::End => {
            let recovered_ns = case.recovered_ns().ok_or("the run never got to its end: nothing was sampled there")?;
            (Window { from_ns: recovered_ns, to_ns: u64::MAX }, case.end_ns()?)
        }
        Moment::Throughout => {
            let window = case.steps()?;
            (window, window.to_ns.saturating_sub(1))
        }
        Moment::Phase(name) => (case.phase(name)?, case.phase_end_ns(name)?),
    };
    let samples = samples(case, window);
    let expected = expected_replicas(case, settings, at_ns, finding);
    if expected.is_empty() {
        finding.undecided("there was no replica to look at");
    }
    let last: BTreeMap<NodeNo, Sample> = samples.iter().map(|sample| (sample.replica, *sample)).collect();
    for replica in expected.iter().filter(|replica| !last.contains_key(replica)) {
        finding.undecided(format!("{replica} was not sampled"));
    }
    let judged: Vec<Sample> = match settings.at {
        Moment::Throughout => samples.into_iter().filter(|sample| of_shard(case, settings, sample)).collect(),
        Moment::End | Moment::Phase(_) => expected.iter().filter_map(|replica| last.get(replica).copied()).collect(),
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
        "{} samples of {} replicas, at most {} bytes behind, {down} with the link down",
        judged.len(),
        last.len(),
        most.unwrap_or(0)
    ));
    Ok(())
}

fn samples(case: &Case<'_>, window: Window) -> Vec<Sample> {
    case.history
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

fn of_shard(case: &Case<'_>, settings: &ReplicaLag, sample: &Sample) -> bool {
    settings.shard.is_none_or(|shard| case.ownership.owner(shard, sample.at_ns) == Some(sample.master))
}

/// The replicas that should be there: every node that owns no shard and, at the end, answers or not.
/// One that should be a replica and is none, or does not answer at the end, is judged here.
fn expected_replicas(case: &Case<'_>, settings: &ReplicaLag, at_ns: u64, finding: &mut Finding) -> Vec<NodeNo> {
    let owners: BTreeMap<NodeNo, ShardNo> =
        case.ownership.shards().filter_map(|shard| Some((case.ownership.owner(shard, at_ns)?, shard))).collect();
    let mut expected = Vec::new();
    for planned in case.plan().nodes.iter().filter(|planned| !owners.contains_key(&planned.node)) {
        let node = planned.node;
        let view = case.view_of(node, at_ns);
        let own = view.as_ref().ok().and_then(|view| view.peers.get(&node));
        let master = own.and_then(|own| match own.role {
            Role::ReplicaOf(master) => Some(master),
            Role::Master | Role::ReplicaOfUnknown => None,
        });
        // A node that is detached or silent counts with the shard that it belonged to at boot.
        let shard = master.and_then(|master| owners.get(&master).copied()).unwrap_or(planned.shard);
        if settings.shard.is_some_and(|wanted| wanted != shard) {
            continue;
        }
        match view {
            Ok(_) if master.is_some() => expected.push(node),
            Ok(_) if settings.at == Moment::End => _ = finding.fail(format!("{node} replicates no node of ours")),
            Err(Silence::Broken(why)) if settings.at == Moment::End => _ = finding.fail(why),
            Err(Silence::Unknown(why)) if settings.at == Moment::End => _ = finding.undecided(why),
            Ok(_) | Err(_) => {}
        }
    }
    expected
}
