//! `epochs`: masters have different configEpochs, and no epoch ever decreases.

use std::collections::BTreeMap;

use super::agreement::difference;
use super::finding::Finding;
use super::{Judgement, Traits};
use crate::facts::Facts;
use crate::history::EventKind;
use crate::suite::Epochs;
use crate::topology::{Role, View};
use crate::units::NodeNo;
use crate::words::{at, count, list};

pub(super) const TRAITS: Traits = Traits::PLAIN;

pub(super) fn judge(facts: &Facts<'_>, settings: &Epochs) -> Judgement {
    let mut finding = Finding::new();
    if let Err(why) = look(facts, settings, &mut finding) {
        finding.undecided(why);
    }
    let rise = settings.max_rise.map(|most| format!("; the current epoch rises by at most {most}"));
    let expected = format!(
        "masters with slots have different configEpochs whenever all nodes agree and at the end; no epoch of a node decreases{}",
        rise.unwrap_or_default()
    );
    let words = settings.max_rise.map_or_else(String::new, |most| format!("max-rise {most}"));
    finding.judge("epochs", words, expected)
}

fn look(facts: &Facts<'_>, settings: &Epochs, finding: &mut Finding) -> Result<(), String> {
    let from_ns = facts.steps_window()?.from_ns;
    let end_ns = facts.last_ns();
    // A run that broke off is judged as far as it got, but it has no end.
    let to_ns = end_ns.as_ref().map_or(u64::MAX, |&end_ns| end_ns);
    let views: Vec<(u64, NodeNo, &View)> = facts
        .history
        .events
        .iter()
        .filter(|event| event.at_ns <= to_ns)
        .filter_map(|event| match &event.kind {
            EventKind::Viewed { node, view } => Some((event.at_ns, *node, view)),
            _ => None,
        })
        .collect();
    let at_start = facts.views.at(from_ns);
    let inside = views.iter().filter(|(at_ns, ..)| *at_ns > from_ns).count();
    finding.observed((at_start.len() + inside) as u64);
    falls(&views, from_ns, finding);
    collisions(facts, from_ns, to_ns, finding);
    rise(facts, &views, from_ns, settings, finding);
    if let Ok(end_ns) = end_ns {
        at_end(facts, end_ns, finding);
    }
    end_ns.map(drop)
}

/// Neither the current epoch of a node nor its own configEpoch as a master with slots ever decreases.
fn falls(views: &[(u64, NodeNo, &View)], from_ns: u64, finding: &mut Finding) {
    let mut highest: BTreeMap<(NodeNo, &str), u64> = BTreeMap::new();
    let mut fallen = 0_u32;
    for &(at_ns, node, view) in views {
        let own = view.peers.get(&node).filter(|own| own.role == Role::Master && !own.slots.is_empty());
        let epochs = [("current epoch", Some(view.current_epoch)), ("configEpoch", own.map(|own| own.epoch))];
        for (what, epoch) in epochs {
            let Some(epoch) = epoch else { continue };
            let before = highest.entry((node, what)).or_insert(epoch);
            if epoch < *before && at_ns >= from_ns {
                fallen += 1;
                finding.evidence(format!("at {}: the {what} of {node} decreased from {before} to {epoch}", at(at_ns)));
            }
            *before = epoch;
        }
    }
    if fallen > 0 {
        finding.fail(format!("epochs decreased {}", count(fallen.into(), "time")));
    }
    finding.figure("epoch_falls", f64::from(fallen));
}

/// Two masters may have the same epoch for a moment, until they resolve the collision. So only moments at which all nodes
/// agree are judged, and the end.
fn collisions(facts: &Facts<'_>, from_ns: u64, to_ns: u64, finding: &mut Finding) {
    let moments = facts.views.moments();
    let inside = moments.into_iter().filter(|&moment| moment > from_ns && moment <= to_ns);
    let mut collided = 0_u32;
    for moment in std::iter::once(from_ns).chain(inside) {
        let views = facts.views.at(moment);
        let found = views.iter().find_map(|(&node, view)| Some((node, collision(view)?)));
        let Some((node, collision)) = found else { continue };
        if difference(facts, moment).is_none() {
            collided += 1;
            finding.evidence(format!("at {}, while all nodes agreed, {node} saw {collision}", at(moment)));
        }
    }
    if collided > 0 {
        finding.fail(format!("masters shared a configEpoch {} while all nodes agreed", count(collided.into(), "time")));
    }
}

fn at_end(facts: &Facts<'_>, end_ns: u64, finding: &mut Finding) {
    let views = facts.views.at(end_ns);
    if views.is_empty() {
        finding.undecided("no node answered at the end");
        return;
    }
    let bad: Vec<String> =
        views.iter().filter_map(|(node, view)| Some(format!("{node} saw {}", collision(view)?))).collect();
    if bad.is_empty() {
        let views = count(views.len() as u64, "view");
        finding.saw(format!("at the end, all masters have different configEpochs in {views}"));
    } else {
        finding.fail(format!("at the end, {}", list(bad)));
    }
}

/// Masters with slots that share a configEpoch in one view.
fn collision(view: &View) -> Option<String> {
    let mut by_epoch: BTreeMap<u64, Vec<NodeNo>> = BTreeMap::new();
    for (&node, peer) in &view.peers {
        if peer.role == Role::Master && !peer.slots.is_empty() {
            by_epoch.entry(peer.epoch).or_default().push(node);
        }
    }
    let (epoch, masters) = by_epoch.into_iter().find(|(_, masters)| masters.len() > 1)?;
    Some(format!("{} as masters with epoch {epoch}", list(masters)))
}

fn rise(facts: &Facts<'_>, views: &[(u64, NodeNo, &View)], from_ns: u64, settings: &Epochs, finding: &mut Finding) {
    let before = facts.views.at(from_ns).values().map(|view| view.current_epoch).max();
    let Some(before) = before else {
        if settings.max_rise.is_some() {
            finding.undecided("no node was polled before the first phase");
        }
        return;
    };
    let after = views.iter().filter(|(at_ns, ..)| *at_ns > from_ns).map(|(.., view)| view.current_epoch).max();
    let risen = after.unwrap_or(before).saturating_sub(before);
    finding.figure("epoch_rise", risen as f64);
    let text = format!("the current epoch rose by {risen}, from {before}");
    match settings.max_rise {
        Some(most) if risen > most => match facts.promoted_by_late_packets(u64::MAX) {
            Some(why) => _ = finding.undecided(format!("{text}, but {why}")),
            None => _ = finding.fail(text),
        },
        _ => _ = finding.saw(text),
    }
}
