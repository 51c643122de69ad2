//! `not-promoted`: no replica of a shard is promoted in a phase, or during all steps.

use super::finding::Finding;
use super::{Judgement, Traits, Verdict};
use crate::facts::Facts;
use crate::suite::NotPromoted;
use crate::words::{at, count};

pub(super) const TRAITS: Traits = Traits::PLAIN;

/// A promotion took effect at most this long before a view showed it: several polls of the nodes.
const SHOWN_WITHIN_NS: u64 = 500_000_000;

pub(super) fn judge(facts: &Facts<'_>, settings: &NotPromoted) -> Judgement {
    let mut finding = Finding::new();
    if let Err(why) = look(facts, settings, &mut finding) {
        finding.undecided(why);
    }
    let during = settings.during.as_ref().map_or_else(String::new, |phase| format!(", during {phase}"));
    let when = settings.during.as_ref().map_or_else(|| "the steps".to_owned(), |phase| format!("phase \"{phase}\""));
    let expected = format!("no promotion on {} during {when}", settings.shard);
    finding.judge("not-promoted", format!("shard {}{during}", settings.shard), expected)
}

fn look(facts: &Facts<'_>, settings: &NotPromoted, finding: &mut Finding) -> Result<(), String> {
    let window = facts.window(settings.during.as_deref())?;
    // A node that was silent all the time proves nothing.
    let last_ns = window.to_ns.saturating_sub(1);
    let views = facts.nodes().filter(|&node| facts.views.of(node, last_ns).view().is_some()).count();
    finding.observed(views as u64);
    for shard in facts.shards(settings.shard)? {
        let changes = facts.ownership.changes().iter().filter(|change| change.shard == shard);
        let (mut promotions, mut possible) = (0, 0);
        for change in changes {
            let earliest_ns = change.at_ns.saturating_sub(SHOWN_WITHIN_NS);
            if change.at_ns < window.from_ns || earliest_ns >= window.to_ns {
                continue;
            }
            let is_inside = window.contains(change.at_ns) && window.contains(earliest_ns);
            if is_inside {
                promotions += 1;
                finding.weigh(Verdict::Fail);
            } else {
                possible += 1;
                finding.undecided(format!("{shard}: the promotion may have been outside the phase"));
            }
            finding.evidence(format!(
                "at {}: {} shows that it took over {shard} from {} with epoch {}",
                at(change.at_ns),
                change.to,
                change.from,
                change.epoch
            ));
        }
        finding.saw(format!("{shard}: {}", count(promotions, "promotion")));
        if promotions + possible == 0
            && let Some(why) = facts.cut_in(window)
        {
            finding.undecided(format!("{shard}: {why}"));
        }
    }
    Ok(())
}
