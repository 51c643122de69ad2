//! `promotions`: the number of times that a shard got a new master.

use super::finding::Finding;
use super::{Judgement, Traits, Verdict};
use crate::facts::Facts;
use crate::history::EventKind;
use crate::suite::Promotions;
use crate::words::{at, count};

pub(super) const TRAITS: Traits = Traits::PLAIN;

pub(super) fn judge(facts: &Facts<'_>, settings: &Promotions) -> Judgement {
    let mut finding = Finding::new();
    if let Err(why) = look(facts, settings, &mut finding) {
        finding.undecided(why);
    }
    let expected = format!("exactly {} on {}", count(settings.exactly.into(), "promotion"), settings.shard);
    finding.judge("promotions", format!("shard {}, exactly {}", settings.shard, settings.exactly), expected)
}

fn look(facts: &Facts<'_>, settings: &Promotions, finding: &mut Finding) -> Result<(), String> {
    let window = facts.steps_window()?;
    let shards = facts.shards(settings.shard)?;
    let viewed = facts
        .history
        .events
        .iter()
        .filter(|event| event.at_ns < window.to_ns && matches!(event.kind, EventKind::Viewed { .. }))
        .count();
    finding.observed(viewed as u64);
    let mut total = 0;
    for shard in shards {
        let changes = facts.ownership.changes().iter();
        let changes: Vec<_> = changes.filter(|change| change.shard == shard && window.contains(change.at_ns)).collect();
        total += changes.len();
        finding.saw(format!("{shard}: {}", count(changes.len() as u64, "promotion")));
        for change in &changes {
            finding.evidence(format!(
                "at {}: {shard} passed from {} to {} with epoch {}",
                at(change.at_ns),
                change.from,
                change.to,
                change.epoch
            ));
        }
        let seen = changes.len() as u64;
        match facts.cut_in(window) {
            Some(why) if seen < settings.exactly.into() => _ = finding.undecided(format!("{shard}: {why}")),
            _ if viewed == 0 || seen == u64::from(settings.exactly) => {}
            _ => match facts.promoted_by_late_packets(window.to_ns) {
                Some(why) => _ = finding.undecided(why),
                None => _ = finding.weigh(Verdict::Fail),
            },
        }
    }
    finding.figure("promotions", total as f64);
    Ok(())
}
