//! `agreement`: after the last heal, all nodes have the same view of the cluster.

use super::ask::Silence;
use super::finding::{Finding, undoing};
use super::{Judgement, Traits, Verdict};
use crate::facts::{Facts, FaultSpan, Window};
use crate::history::EventKind;
use crate::slot::ranges;
use crate::spec::Rules;
use crate::suite::{Agreement, Step};
use crate::topology::{Health, Peer, Role};
use crate::units::NodeNo;
use crate::words::{at, length_ns, list};

pub(super) const TRAITS: Traits = Traits::PLAIN;

pub(super) fn judge(facts: &Facts<'_>, settings: &Agreement) -> Judgement {
    let mut finding = Finding::new();
    let base = last_disturbance(facts);
    let bound_ns = base.as_ref().map_or(0, |base| facts.bound_ns(settings.within, base.over.to_ns, Rules::agreement));
    match base.and_then(|base| Ok((base, facts.last_ns()?))) {
        Ok((base, end_ns)) => {
            if let Some(why) = open_after(facts, base.over.to_ns) {
                finding.undecided(why);
            } else {
                let limit = Limit { bound_ns, to_ns: end_ns, why: "the run ended before the limit" };
                look(facts, &base, &limit, &mut finding);
            }
        }
        Err(why) => _ = finding.undecided(why),
    }
    let expected = format!(
        "within {} after the last heal all nodes agree on masters, replicas, slots and epochs, and flag no node",
        length_ns(bound_ns)
    );
    finding.judge("agreement", format!("within {}", settings.within), expected)
}

/// The event after which the views must agree.
pub(super) struct Since {
    /// The two moments between which the event ended. Durations count from the later one.
    pub(super) over: Window,
    /// The event, for a message.
    pub(super) words: String,
}

/// How long the nodes may take to agree, and until when they are watched.
pub(super) struct Limit<'a> {
    pub(super) bound_ns: u64,
    pub(super) to_ns: u64,
    /// Why they are not watched until the bound.
    pub(super) why: &'a str,
}

/// The last heal or CLUSTER command; the start of the steps if there is none.
pub(super) fn last_disturbance(facts: &Facts<'_>) -> Result<Since, String> {
    let moment = |at_ns: u64| Window { from_ns: at_ns, to_ns: at_ns };
    let disturbed = facts.history.events.iter().rev().find_map(|event| match &event.kind {
        EventKind::FaultHealed { fault, by } => {
            let fault_of_it = facts.fault_spans.iter().find(|each| each.fault == *fault);
            let over = fault_of_it.and_then(FaultSpan::lost_effect).unwrap_or(moment(event.at_ns));
            Some(Since { over, words: format!("the `{by}` of fault {fault}") })
        }
        EventKind::Commanded { step, .. } => match facts.plan().steps.get(*step) {
            Some(Step::Command(command)) if command.send.0[0].eq_ignore_ascii_case("cluster") => {
                Some(Since { over: moment(event.at_ns), words: format!("`{}`", command.send) })
            }
            _ => None,
        },
        _ => None,
    });
    match disturbed {
        Some(disturbed) => Ok(disturbed),
        None => facts
            .steps_window()
            .map(|window| Since { over: moment(window.from_ns), words: "the first phase".to_owned() }),
    }
}

/// Why the nodes cannot agree: a later fault that was never undone.
fn open_after(facts: &Facts<'_>, at_ns: u64) -> Option<String> {
    facts.fault_spans.iter().find(|each| each.from_ns > at_ns).map(|each| {
        let nodes = list(each.hits.iter().map(|hit| hit.node));
        format!("fault {} at {nodes} was never undone", each.fault)
    })
}

/// Judges how long after the event the nodes agreed for good.
pub(super) fn look(facts: &Facts<'_>, since: &Since, limit: &Limit<'_>, finding: &mut Finding) {
    let window = Window { from_ns: since.over.to_ns, to_ns: limit.to_ns };
    let bound_ns = limit.bound_ns;
    let moments = facts.views.moments();
    let inside = moments.into_iter().filter(|&moment| moment > window.from_ns && moment <= window.to_ns);
    let edges: Vec<u64> = std::iter::once(window.from_ns).chain(inside).collect();
    let mut agreed_since = None;
    // The same, if the nodes agreed whenever nobody knows.
    let mut at_best_since = None;
    let mut last_difference = None;
    for &moment in &edges {
        match difference(facts, moment) {
            None => {
                agreed_since.get_or_insert(moment);
                at_best_since.get_or_insert(moment);
            }
            Some(difference) => {
                agreed_since = None;
                if !difference.unknown {
                    at_best_since = None;
                }
                last_difference = Some((moment, difference));
            }
        }
    }
    if let (None, Some((_, Difference { unknown: true, words }))) = (agreed_since, &last_difference) {
        finding.undecided(words.clone());
        return;
    }
    finding.observed(edges.len() as u64);
    if let Some((moment, difference)) = &last_difference {
        finding.evidence(format!("last disagreement at {}: {}", at(*moment), difference.words));
    }
    let late = |over: Window, finding: &mut Finding| match facts.stalled(over) {
        Some(why) => _ = finding.undecided(why),
        None => _ = finding.weigh(Verdict::Fail),
    };
    if let Some(agreed_ns) = agreed_since {
        let took_ns = agreed_ns - window.from_ns;
        let allowed = length_ns(bound_ns);
        finding.saw(format!("all nodes agreed {} after {} ({allowed} allowed)", length_ns(took_ns), since.words));
        finding.figure("converged_ms", took_ns as f64 / 1e6);
        if took_ns > bound_ns {
            match last_difference.filter(|_| at_best_since.is_some_and(|best_ns| best_ns - window.from_ns <= bound_ns))
            {
                Some((_, difference)) => _ = finding.undecided(difference.words),
                None => late(Window { from_ns: window.from_ns, to_ns: agreed_ns }, finding),
            }
        } else if took_ns + since.over.length_ns() > bound_ns {
            finding.undecided(undoing(since.over.length_ns()));
        }
    } else {
        let watched_ns = window.length_ns();
        let words = last_difference.map_or_else(String::new, |(_, difference)| difference.words);
        finding.saw(format!("nodes still disagreed {} after {}: {words}", length_ns(watched_ns), since.words));
        if watched_ns > bound_ns {
            late(window, finding);
        } else {
            finding.undecided(limit.why);
        }
    }
}

pub(super) struct Difference {
    /// Whether it is only that a node was not polled, or does not answer because of a fault.
    pub(super) unknown: bool,
    /// What differs.
    pub(super) words: String,
}

/// The first difference between the views of the nodes at a moment; None if they agree.
pub(super) fn difference(facts: &Facts<'_>, at_ns: u64) -> Option<Difference> {
    let seen = |words| Some(Difference { unknown: false, words });
    let mut views = Vec::new();
    for node in facts.nodes() {
        match facts.view_of(node, at_ns) {
            Ok(view) => views.push((node, view)),
            Err(Silence::Broken(words)) => return seen(words),
            Err(Silence::Unknown(words)) => return Some(Difference { unknown: true, words }),
        }
    }
    let Some(&(first, reference)) = views.first() else {
        return Some(Difference { unknown: true, words: "no node was polled".to_owned() });
    };
    for &(node, view) in &views {
        for (peer, line) in &view.peers {
            if let Some(addr) = line.left_addr {
                return seen(format!("{node} has {peer} at {addr}, which it left"));
            }
            if line.health != Health::Ok {
                return seen(match line.health {
                    Health::Fail => format!("{node} flags {peer} FAIL"),
                    Health::Pfail | Health::Ok => format!("{node} suspects {peer} (PFAIL)"),
                });
            }
        }
        if view.agrees_with(reference) {
            continue;
        }
        let differs =
            |peer: &NodeNo| view.peers.get(peer).map(Peer::essence) != reference.peers.get(peer).map(Peer::essence);
        let peer = facts.nodes().find(differs).unwrap_or(node);
        return seen(format!(
            "{node} sees {peer} as {}, {first} as {}",
            seen_as(view.peers.get(&peer)),
            seen_as(reference.peers.get(&peer))
        ));
    }
    None
}

fn seen_as(peer: Option<&Peer>) -> String {
    let Some(peer) = peer else { return "unknown".to_owned() };
    match peer.role {
        Role::Master if peer.slots.is_empty() => format!("a master without slots, epoch {}", peer.epoch),
        Role::Master => format!("a master of slots {}, epoch {}", ranges(&peer.slots), peer.epoch),
        Role::ReplicaOf(master) => format!("a replica of {master}"),
        Role::ReplicaOfUnknown => "a replica of an unknown node".to_owned(),
    }
}
