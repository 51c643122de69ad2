//! `slot-coverage`: every slot is assigned and ok, and at the end has exactly one master.

use super::ask::Silence;
use super::finding::Finding;
use super::{Judgement, Traits, Verdict};
use crate::facts::{Facts, Window};
use crate::slot::{SLOTS, ranges};
use crate::suite::{Moment, SlotCoverage};
use crate::topology::{Role, View};
use crate::units::NodeNo;
use crate::words::{at, length_ns, list};

pub(super) const TRAITS: Traits = Traits::PLAIN;

pub(super) fn judge(facts: &Facts<'_>, settings: &SlotCoverage) -> Judgement {
    let mut finding = Finding::new();
    let result = match &settings.at {
        Moment::End => facts.last_ns().map(|end_ns| at_end(facts, end_ns, &mut finding)),
        Moment::Throughout => facts.steps_window().map(|window| throughout(facts, window, &mut finding)),
        Moment::Phase(name) => facts.phase_end_ns(name).map(|end_ns| at_phase_end(facts, end_ns, &mut finding)),
    };
    if let Err(why) = result {
        finding.undecided(why);
    }
    let expected = match &settings.at {
        Moment::End => format!("every node sees {SLOTS} slots assigned and ok, and each slot has one master"),
        Moment::Throughout => format!("every node that answers sees {SLOTS} slots assigned and ok at all times"),
        Moment::Phase(name) => {
            format!("every node that answers sees {SLOTS} slots assigned and ok at the end of phase \"{name}\"")
        }
    };
    finding.judge("slot-coverage", format!("at {}", settings.at), expected)
}

fn at_end(facts: &Facts<'_>, end_ns: u64, finding: &mut Finding) {
    let mut views = Vec::new();
    for node in facts.nodes() {
        match facts.view_of(node, end_ns) {
            Ok(view) => views.push((node, view)),
            Err(Silence::Unknown(why)) => _ = finding.undecided(why),
            Err(Silence::Broken(why)) => _ = finding.fail(why),
        }
    }
    look_at(&views, finding);
    let claims: Vec<(NodeNo, &[(u16, u16)])> = views
        .iter()
        .filter_map(|&(node, view)| Some((node, view.peers.get(&node)?)))
        .filter(|(_, own)| own.role == Role::Master)
        .map(|(node, own)| (node, own.slots.as_slice()))
        .collect();
    let mut claimed_by = vec![Vec::new(); usize::from(SLOTS)];
    for (node, slots) in &claims {
        for &(first, last) in *slots {
            (first..=last.min(SLOTS - 1)).for_each(|slot| claimed_by[usize::from(slot)].push(*node));
        }
    }
    let everyone_answers = views.len() == facts.nodes().count();
    for Claimed { by: claimants, slots } in group(&claimed_by, |claimants| claimants.len() != 1) {
        let slots = ranges(&slots);
        if !claimants.is_empty() {
            let text = format!("slots {slots} are claimed by {}", list(&claimants));
            finding.fail(text.clone()).evidence(text);
        } else if everyone_answers {
            let text = format!("no master claims slots {slots}");
            finding.fail(text.clone()).evidence(text);
        } else if !views.is_empty() {
            finding.undecided(format!("no master that answers claims slots {slots}"));
        }
    }
}

/// Slots that the same masters claim.
struct Claimed {
    by: Vec<NodeNo>,
    slots: Vec<(u16, u16)>,
}

/// Groups the slots whose claimants `wanted` accepts by those claimants.
fn group(claimed_by: &[Vec<NodeNo>], wanted: impl Fn(&[NodeNo]) -> bool) -> Vec<Claimed> {
    let mut groups: Vec<Claimed> = Vec::new();
    for (slot, claimants) in (0..SLOTS).zip(claimed_by).filter(|(_, claimants)| wanted(claimants)) {
        match groups.iter_mut().find(|group| group.by == *claimants) {
            Some(group) => match group.slots.last_mut() {
                Some((_, last)) if *last + 1 == slot => *last = slot,
                _ => group.slots.push((slot, slot)),
            },
            None => groups.push(Claimed { by: claimants.clone(), slots: vec![(slot, slot)] }),
        }
    }
    groups
}

fn at_phase_end(facts: &Facts<'_>, end_ns: u64, finding: &mut Finding) {
    let views: Vec<(NodeNo, &View)> = facts.views.at(end_ns).into_iter().collect();
    look_at(&views, finding);
}

/// Judges the views of one moment.
fn look_at(views: &[(NodeNo, &View)], finding: &mut Finding) {
    finding.observed(views.len() as u64);
    let bad: Vec<String> =
        views.iter().filter_map(|&(node, view)| Some(format!("{node} sees {}", shortfall(view)?))).collect();
    let good = views.len() - bad.len();
    finding.saw(format!("{good} of {} nodes that answer see every slot assigned and ok", views.len()));
    for line in bad {
        finding.weigh(Verdict::Fail).saw(line.clone()).evidence(line);
    }
}

fn throughout(facts: &Facts<'_>, window: Window, finding: &mut Finding) {
    let moments = facts.views.moments();
    let inside = moments.into_iter().filter(|&moment| moment > window.from_ns && moment < window.to_ns);
    let edges: Vec<u64> = std::iter::once(window.from_ns).chain(inside).collect();
    let ends = edges.iter().skip(1).copied().chain([window.to_ns]);
    let mut violated_ns = 0;
    let (mut first, mut looked, mut starved) = (None, false, None);
    for (&from_ns, to_ns) in edges.iter().zip(ends) {
        let views = facts.views.at(from_ns);
        finding.observed(views.len() as u64);
        looked |= !views.is_empty();
        let bad = views.iter().find_map(|(node, view)| Some(format!("{node} sees {}", shortfall(view)?)));
        if let Some(bad) = bad {
            let line = format!("at {}: {bad}", at(from_ns));
            if facts.starved_all_of(Window { from_ns, to_ns }) {
                starved.get_or_insert(line);
                continue;
            }
            violated_ns += to_ns - from_ns;
            first.get_or_insert_with(|| line.clone());
            finding.evidence(line);
        }
    }
    if let Some(line) = &starved {
        finding.undecided(format!("{line}, while servers waited for a processor"));
    }
    match first {
        None if !looked || starved.is_some() => {}
        Some(first) => {
            _ = finding.fail(format!("slots were not covered for {} in total, first {first}", length_ns(violated_ns)));
        }
        None => _ = finding.saw("all slots were assigned and ok in every view"),
    }
    finding.figure("uncovered_ms", violated_ns as f64 / 1e6);
}

/// The slots of a view, in words, if some are not assigned and ok.
fn shortfall(view: &View) -> Option<String> {
    let whole = view.slots_assigned == SLOTS && view.slots_ok == SLOTS && view.slots_pfail == 0 && view.slots_fail == 0;
    (!whole).then(|| {
        format!(
            "{} slots assigned, {} ok, {} pfail, {} fail",
            view.slots_assigned, view.slots_ok, view.slots_pfail, view.slots_fail
        )
    })
}
