//! `role`: a node is a master, or a replica of a given node.

use super::ask::Silence;
use super::finding::Finding;
use super::resolve::{Unresolved, resolve};
use super::{Judgement, Traits, Verdict};
use crate::facts::{Facts, Window};
use crate::spec::POLL;
use crate::suite::{Moment, RoleIs, RoleOf};
use crate::topology::{Role, View};
use crate::units::NodeNo;
use crate::words::{at, length_ns};

pub(super) const TRAITS: Traits = Traits::PLAIN;

pub(super) fn judge(facts: &Facts<'_>, settings: &RoleOf) -> Judgement {
    let mut finding = Finding::new();
    let result = match &settings.at {
        Moment::End => facts.end_of_steps_ns().and_then(|end_ns| look_at(facts, settings, end_ns, &mut finding)),
        Moment::Phase(name) => {
            facts.phase_end_ns(name).and_then(|end_ns| look_at(facts, settings, end_ns, &mut finding))
        }
        Moment::Throughout => facts.steps_window().map(|window| throughout(facts, settings, window, &mut finding)),
    };
    if let Err(why) = result {
        finding.undecided(why);
    }
    let when = match &settings.at {
        Moment::End => "at the end".to_owned(),
        Moment::Throughout => "at all times during the steps".to_owned(),
        Moment::Phase(name) => format!("at the end of phase \"{name}\""),
    };
    let expected = format!("{} is {} {when}", settings.node, words(settings.is));
    finding.judge("role", format!("{} is {}, at {}", settings.node, settings.is, settings.at), expected)
}

fn look_at(facts: &Facts<'_>, settings: &RoleOf, at_ns: u64, finding: &mut Finding) -> Result<(), String> {
    let nodes = match resolve(facts, &settings.node, at_ns) {
        Ok(nodes) => nodes,
        Err(Unresolved::Unknown(why)) => return Err(why),
        Err(Unresolved::Nobody(why)) => {
            finding.observed(1).fail(why);
            return Ok(());
        }
    };
    for node in nodes {
        match facts.view_of(node, at_ns) {
            Ok(view) => {
                let (holds, seen) = holds(view, node, settings.is);
                finding.observed(1).saw(seen.clone());
                if !holds {
                    finding.evidence(format!("at {}: {seen}", at(at_ns)));
                    match facts.promoted_by_late_packets(at_ns) {
                        Some(why) => _ = finding.undecided(why),
                        None => _ = finding.weigh(Verdict::Fail),
                    }
                }
            }
            Err(Silence::Unknown(why)) => _ = finding.undecided(why),
            Err(Silence::Broken(why)) => _ = finding.fail(why),
        }
    }
    Ok(())
}

/// How long a target may mean no node, in nanoseconds. In a failover the master and the replica change their roles between
/// two polls of different moments.
const NOBODY_NS: u64 = 3 * POLL.as_nanos() as u64;

fn throughout(facts: &Facts<'_>, settings: &RoleOf, window: Window, finding: &mut Finding) {
    let moments = facts.views.moments();
    let inside = moments.into_iter().filter(|&moment| moment > window.from_ns && moment < window.to_ns);
    let (mut first, mut looked) = (None, false);
    let mut gaps: Vec<Gap> = Vec::new();
    let mut open: Option<Gap> = None;
    for moment in std::iter::once(window.from_ns).chain(inside) {
        let nodes = match resolve(facts, &settings.node, moment) {
            Ok(nodes) => nodes,
            Err(unresolved) => {
                let (is_known, why) = match unresolved {
                    Unresolved::Nobody(why) => (true, why),
                    Unresolved::Unknown(why) => (false, why),
                };
                gaps.extend(open.take_if(|gap| gap.is_known != is_known).map(|gap| gap.until(moment)));
                open.get_or_insert(Gap { window: Window { from_ns: moment, to_ns: window.to_ns }, is_known, why });
                continue;
            }
        };
        gaps.extend(open.take().map(|gap| gap.until(moment)));
        for node in nodes {
            let Ok(view) = facts.view_of(node, moment) else { continue };
            let (holds, seen) = holds(view, node, settings.is);
            finding.observed(1);
            looked = true;
            if !holds {
                let line = format!("at {}: {seen}", at(moment));
                first.get_or_insert_with(|| line.clone());
                finding.evidence(line);
            }
        }
    }
    gaps.extend(open);
    let missed = missed(facts, gaps, finding);
    match first {
        Some(first) => _ = finding.fail(format!("not at all times, first {first}")),
        None if !looked || missed => {}
        None => _ = finding.saw("at all times"),
    }
}

/// A time in which the target meant no node.
struct Gap {
    window: Window,
    /// Whether it is certain that no node had the role.
    is_known: bool,
    why: String,
}

impl Gap {
    fn until(self, to_ns: u64) -> Self {
        Self { window: Window { to_ns, ..self.window }, ..self }
    }
}

/// Weighs the times in which the target meant no node, and returns whether there were any that count. The claim does not
/// hold for a node that is not there.
fn missed(facts: &Facts<'_>, gaps: Vec<Gap>, finding: &mut Finding) -> bool {
    let mut any = false;
    for gap in gaps.into_iter().filter(|gap| gap.window.length_ns() > NOBODY_NS) {
        any = true;
        let text = format!("{} for {} from {}", gap.why, length_ns(gap.window.length_ns()), at(gap.window.from_ns));
        match facts.stalled(gap.window) {
            Some(why) => _ = finding.undecided(format!("{text}, but {why}")),
            None if gap.is_known => _ = finding.observed(1).fail(text),
            None => _ = finding.undecided(text),
        }
    }
    any
}

/// Whether a node has a role in its own view, and the role in words. Its own view decides, because the node serves or
/// refuses commands by it.
fn holds(view: &View, node: NodeNo, is: RoleIs) -> (bool, String) {
    let Some(own) = view.peers.get(&node) else {
        return (false, format!("{node} does not list itself"));
    };
    let holds = match is {
        RoleIs::Master => own.role == Role::Master && !own.slots.is_empty(),
        RoleIs::Replica => matches!(own.role, Role::ReplicaOf(_) | Role::ReplicaOfUnknown),
        RoleIs::ReplicaOf(master) => own.role == Role::ReplicaOf(master),
    };
    let role = match own.role {
        Role::Master if own.slots.is_empty() => "a master without slots".to_owned(),
        Role::Master => "a master with slots".to_owned(),
        Role::ReplicaOf(master) => format!("a replica of {master}"),
        Role::ReplicaOfUnknown => "a replica of an unknown node".to_owned(),
    };
    (holds, format!("{node} is {role} in its own view"))
}

fn words(is: RoleIs) -> String {
    match is {
        RoleIs::Master => "a master with slots".to_owned(),
        RoleIs::Replica => "a replica".to_owned(),
        RoleIs::ReplicaOf(node) => format!("a replica of {node}"),
    }
}
