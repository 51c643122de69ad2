//! `not-promoted`: no replica of a shard is promoted in a phase, during all steps, or within a time after a fault.

use super::finding::Finding;
use super::{Judgement, Traits, Verdict};
use crate::facts::{Facts, OwnershipChange, Window};
use crate::suite::NotPromoted;
use crate::units::ShardNo;
use crate::words::{at, count, length_ns};

pub(super) const TRAITS: Traits = Traits::PLAIN;

/// A promotion took effect at most this long before a view showed it: several polls of the nodes.
const SHOWN_WITHIN_NS: u64 = 500_000_000;

pub(super) fn judge(facts: &Facts<'_>, settings: &NotPromoted) -> Judgement {
    let mut finding = Finding::new();
    if let Err(why) = look(facts, settings, &mut finding) {
        finding.undecided(why);
    }
    let during = settings.during.as_ref().map_or_else(String::new, |phase| format!(", during {phase}"));
    let within = settings.within.map_or_else(String::new, |within| format!(", within {within}"));
    let when = settings.during.as_ref().map_or_else(|| "the steps".to_owned(), |phase| format!("phase \"{phase}\""));
    let how_long = settings.within.map_or_else(String::new, |within| {
        format!(" within {} after a fault at the master, or after the begin of {when}", length_ns(within.as_ns()))
    });
    let expected = format!("no promotion on {} during {when}{how_long}", settings.shard);
    finding.judge("not-promoted", format!("shard {}{during}{within}", settings.shard), expected)
}

fn look(facts: &Facts<'_>, settings: &NotPromoted, finding: &mut Finding) -> Result<(), String> {
    let window = facts.window(settings.during.as_deref())?;
    // A node that was silent all the time proves nothing.
    let last_ns = window.to_ns.saturating_sub(1);
    let views = facts.nodes().filter(|&node| facts.views.of(node, last_ns).view().is_some()).count();
    finding.observed(views as u64);
    for shard in facts.shards(settings.shard)? {
        let watches = watches(facts, settings, shard, window);
        let (mut promotions, mut possible) = (0, 0);
        for change in facts.ownership.changes().iter().filter(|change| change.shard == shard) {
            match watches.iter().map(|watch| watch.holds(change)).max() {
                None | Some(Inside::No) => continue,
                Some(Inside::Surely) => {
                    promotions += 1;
                    finding.weigh(Verdict::Fail);
                }
                Some(Inside::Perhaps) => {
                    possible += 1;
                    let what = if settings.within.is_some() { "time" } else { "phase" };
                    finding.undecided(format!("{shard}: the promotion may have been outside the {what}"));
                }
            }
            finding.evidence(format!(
                "at {}: {} shows that it took over {shard} from {} with epoch {}",
                at(change.at_ns),
                change.to,
                change.from,
                change.epoch
            ));
        }
        let after = settings.within.map_or_else(String::new, |_| {
            let last = watches.last().map_or("", |watch| &watch.since);
            format!(" after {last}")
        });
        finding.saw(format!("{shard}: {}{after}", count(promotions, "promotion")));
        if promotions + possible == 0
            && let Some(why) = watches.iter().find_map(|watch| watch.cut_short(facts, window))
        {
            finding.undecided(format!("{shard}: {why}"));
        }
    }
    Ok(())
}

/// A time in which nobody may be promoted.
struct Watch {
    /// What it begins with, for a message.
    since: String,
    /// The two moments between which it begins.
    begins: Window,
    /// The two moments between which it ends.
    ends: Window,
}

/// Whether a promotion was in a watch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Inside {
    No,
    /// A view shows a promotion some time later, and a fault takes effect at some moment of its injection.
    Perhaps,
    Surely,
}

/// The times in a window in which nobody may be promoted: the window, or with `within` so long after each fault at the
/// shard's master, or after the begin of the window if there was none.
fn watches(facts: &Facts<'_>, settings: &NotPromoted, shard: ShardNo, window: Window) -> Vec<Watch> {
    let moment = |at_ns: u64| Window { from_ns: at_ns, to_ns: at_ns };
    let begin = settings.during.as_ref().map_or_else(|| "the steps".to_owned(), |phase| format!("phase \"{phase}\""));
    let since = format!("the begin of {begin}");
    let Some(within) = settings.within else {
        return vec![Watch { since, begins: moment(window.from_ns), ends: moment(window.to_ns) }];
    };
    let watch = |since: String, begins: Window| {
        let end_ns = |begin_ns: u64| begin_ns.saturating_add(within.as_ns());
        Watch { since, begins, ends: Window { from_ns: end_ns(begins.from_ns), to_ns: end_ns(begins.to_ns) } }
    };
    let hit = facts.fault_spans.iter().filter(|span| {
        let is_its_master = span.hits.iter().any(|hit| hit.was_master && hit.shard == Some(shard));
        span.may_end_a_reign() && is_its_master && window.contains(span.from_ns)
    });
    let found: Vec<Watch> =
        hit.map(|span| watch(format!("the {} at {}", span.words(), at(span.from_ns)), span.took_effect())).collect();
    if found.is_empty() { vec![watch(since, moment(window.from_ns))] } else { found }
}

impl Watch {
    fn holds(&self, change: &OwnershipChange) -> Inside {
        let earliest_ns = change.at_ns.saturating_sub(SHOWN_WITHIN_NS);
        if change.at_ns < self.begins.from_ns || earliest_ns >= self.ends.to_ns {
            Inside::No
        } else if earliest_ns >= self.begins.to_ns && change.at_ns < self.ends.from_ns {
            Inside::Surely
        } else {
            Inside::Perhaps
        }
    }

    /// Why it was not watched to its end.
    fn cut_short(&self, facts: &Facts<'_>, window: Window) -> Option<String> {
        let watched = Window { from_ns: window.from_ns, to_ns: window.to_ns.min(self.ends.to_ns) };
        if let Some(why) = facts.cut_in(watched) {
            return Some(why.to_owned());
        }
        (self.ends.to_ns > window.to_ns).then(|| {
            let seen_ns = window.to_ns.saturating_sub(self.begins.to_ns);
            format!(
                "watched only for {} after {} (hint: let the steps go on for longer)",
                length_ns(seen_ns),
                self.since
            )
        })
    }
}
