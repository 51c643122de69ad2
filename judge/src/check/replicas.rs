//! `replicas`: how many replicas a shard has.

use super::agreement::{Since, last_disturbance};
use super::finding::{Finding, undoing};
use super::resolve::may_replicate;
use super::{Judgement, Traits, Verdict};
use crate::facts::{Facts, Window};
use crate::spec::POLL;
use crate::suite::{Moment, Replicas, ShardSet};
use crate::topology::Role;
use crate::units::{NodeNo, ShardNo};
use crate::words::{at, count, length_ns, list};

pub(super) const TRAITS: Traits = Traits::PLAIN;

/// How long the number may be another in the course of a run, in nanoseconds. In a failover the nodes of a shard change
/// their roles between two polls of different moments.
const BETWEEN_POLLS_NS: u64 = 3 * POLL.as_nanos() as u64;

pub(super) fn judge(facts: &Facts<'_>, settings: &Replicas) -> Judgement {
    let mut finding = Finding::new();
    if let Err(why) = look(facts, settings, &mut finding) {
        finding.undecided(why);
    }
    if !settings.demands() {
        finding.undecided("there is nothing to judge (hint: set `exactly`, `at-least` or `at-most`)");
    }
    let who = match settings.shard {
        ShardSet::One(shard) => format!("{shard} has"),
        ShardSet::All => "each shard has".to_owned(),
        ShardSet::Others => "each shard without a fault has".to_owned(),
    };
    let when = match &settings.at {
        Moment::End => "at the end".to_owned(),
        Moment::Throughout => "at all times during the steps".to_owned(),
        Moment::Phase(name) => format!("at the end of phase \"{name}\""),
    };
    let by = settings
        .within
        .map_or_else(String::new, |within| format!(", and from {} after the last heal on", length_ns(within.as_ns())));
    finding.judge("replicas", words(settings), format!("{who} {} {when}{by}", demanded(settings)))
}

fn words(settings: &Replicas) -> String {
    let mut parts = vec![format!("shard {}", settings.shard)];
    parts.extend(settings.exactly.map(|number| format!("exactly {number}")));
    parts.extend(settings.at_least.map(|number| format!("at-least {number}")));
    parts.extend(settings.at_most.map(|number| format!("at-most {number}")));
    parts.push(format!("at {}", settings.at));
    parts.extend(settings.within.map(|within| format!("within {within}")));
    parts.join(", ")
}

fn demanded(settings: &Replicas) -> String {
    let replicas = |number: u16| count(number.into(), "replica");
    match (settings.exactly, settings.at_least, settings.at_most) {
        (Some(number), _, _) => replicas(number),
        (None, Some(least), Some(most)) => format!("{least} to {}", replicas(most)),
        (None, Some(least), None) => format!("at least {}", replicas(least)),
        (None, None, Some(most)) => format!("at most {}", replicas(most)),
        (None, None, None) => "any number of replicas".to_owned(),
    }
}

fn look(facts: &Facts<'_>, settings: &Replicas, finding: &mut Finding) -> Result<(), String> {
    let shards = facts.shards(settings.shard)?;
    match &settings.at {
        Moment::End => {
            let end_ns = facts.end_of_steps_ns()?;
            let since = match settings.within {
                Some(within) => Some((last_disturbance(facts)?, within.as_ns())),
                None => None,
            };
            for shard in shards {
                match &since {
                    Some((since, within_ns)) => {
                        let settling = Settling { since, within_ns: *within_ns, end_ns };
                        settles(facts, settings, shard, &settling, finding);
                    }
                    None => look_at(facts, settings, shard, end_ns, finding),
                }
            }
        }
        Moment::Phase(name) => {
            let end_ns = facts.phase_end_ns(name)?;
            for shard in shards {
                look_at(facts, settings, shard, end_ns, finding);
            }
        }
        Moment::Throughout => {
            let window = facts.steps_window()?;
            for shard in shards {
                throughout(facts, settings, shard, window, finding);
            }
            if let Some(why) = facts.cut_in(window) {
                finding.undecided(why);
            }
        }
    }
    Ok(())
}

/// The replicas of a shard at a moment: the nodes that replicate its owner in their own view. Their own view decides, as it
/// does for `role`; whether the replication link is up is judged by `replica-lag`.
struct Counted {
    owner: NodeNo,
    replicas: Vec<NodeNo>,
    /// Why each node that is not seen may be one, too.
    possible: Vec<String>,
    /// Whether any node is seen.
    seen: bool,
}

/// Whether the number is one that the settings allow.
enum Holds {
    Yes,
    No,
    /// It depends on nodes that are not seen; why one of them is not.
    Unknown(String),
}

impl Counted {
    fn new(facts: &Facts<'_>, shard: ShardNo, at_ns: u64) -> Option<Self> {
        let owner = facts.ownership.owner(shard, at_ns)?;
        let mut counted = Self { owner, replicas: Vec::new(), possible: Vec::new(), seen: false };
        for node in facts.nodes() {
            match facts.views.of(node, at_ns).view() {
                Some(view) => {
                    counted.seen = true;
                    let own = view.peers.get(&node).map(|line| line.role);
                    if own == Some(Role::ReplicaOf(owner)) {
                        counted.replicas.push(node);
                    }
                }
                None => counted.possible.extend(may_replicate(facts, node, &[owner], at_ns)),
            }
        }
        Some(counted)
    }

    fn holds(&self, settings: &Replicas) -> Holds {
        let least = self.replicas.len();
        let mut numbers = least..=least + self.possible.len();
        if numbers.clone().all(|number| settings.allows(number)) {
            return Holds::Yes;
        }
        match self.possible.first() {
            Some(why) if numbers.any(|number| settings.allows(number)) => Holds::Unknown(why.clone()),
            Some(_) | None => Holds::No,
        }
    }

    fn words(&self, shard: ShardNo) -> String {
        let which = if self.replicas.is_empty() { String::new() } else { format!(" ({})", list(&self.replicas)) };
        let perhaps = match self.possible.len() {
            0 => String::new(),
            more => format!(", perhaps {more} more"),
        };
        let number = count(self.replicas.len() as u64, "replica");
        format!("{shard} has {number}{which} of its master {}{perhaps}", self.owner)
    }
}

fn look_at(facts: &Facts<'_>, settings: &Replicas, shard: ShardNo, at_ns: u64, finding: &mut Finding) {
    let Some(counted) = Counted::new(facts, shard, at_ns) else {
        finding.undecided(format!("there is no {shard}"));
        return;
    };
    finding.observed(u64::from(counted.seen)).saw(counted.words(shard));
    match counted.holds(settings) {
        Holds::Yes => {}
        Holds::No => _ = finding.weigh(Verdict::Fail).evidence(format!("at {}: {}", at(at_ns), counted.words(shard))),
        Holds::Unknown(why) => _ = finding.undecided(why),
    }
}

/// A time in which a shard had another number of replicas, or may have had.
struct Wrong {
    window: Window,
    /// How much of it is certain, and until when.
    certain_ns: u64,
    certain_until_ns: u64,
    words: String,
}

/// The moments of a window from which on another number may have been seen: its begin, and each change of a view.
fn moments(facts: &Facts<'_>, window: Window) -> Vec<u64> {
    let inside = facts.views.moments().into_iter().filter(|&moment| moment > window.from_ns && moment < window.to_ns);
    std::iter::once(window.from_ns).chain(inside).collect()
}

/// The times in a window in which the number was wrong, in order, and how many looks there were.
fn wrong_times(facts: &Facts<'_>, settings: &Replicas, shard: ShardNo, window: Window) -> (Vec<Wrong>, u64) {
    let moments = moments(facts, window);
    let ends = moments.iter().skip(1).copied().chain([window.to_ns]);
    let mut found: Vec<Wrong> = Vec::new();
    let mut looks = 0;
    for (&from_ns, to_ns) in moments.iter().zip(ends) {
        let Some(counted) = Counted::new(facts, shard, from_ns) else { continue };
        looks += u64::from(counted.seen);
        let (certain_until_ns, words) = match counted.holds(settings) {
            Holds::Yes => continue,
            Holds::No => (to_ns, counted.words(shard)),
            Holds::Unknown(why) => (from_ns, format!("{}: {why}", counted.words(shard))),
        };
        let certain_ns = certain_until_ns.saturating_sub(from_ns);
        match found.last_mut().filter(|last| last.window.to_ns == from_ns) {
            Some(last) => {
                if last.certain_ns == 0 && certain_ns > 0 {
                    last.words = words;
                }
                last.window.to_ns = to_ns;
                last.certain_ns += certain_ns;
                last.certain_until_ns = last.certain_until_ns.max(certain_until_ns);
            }
            None => found.push(Wrong { window: Window { from_ns, to_ns }, certain_ns, certain_until_ns, words }),
        }
    }
    (found, looks)
}

fn throughout(facts: &Facts<'_>, settings: &Replicas, shard: ShardNo, window: Window, finding: &mut Finding) {
    let (wrong, looks) = wrong_times(facts, settings, shard, window);
    finding.observed(looks);
    let mut holds = true;
    for each in wrong.iter().filter(|each| each.window.length_ns() > BETWEEN_POLLS_NS) {
        holds = false;
        let lasted = length_ns(each.window.length_ns());
        let text = format!("{} for {lasted} from {}", each.words, at(each.window.from_ns));
        match facts.stalled(each.window) {
            Some(why) => _ = finding.undecided(format!("{text}, but {why}")),
            None if each.certain_ns > BETWEEN_POLLS_NS => _ = finding.fail(text),
            None => _ = finding.undecided(text),
        }
    }
    if holds {
        finding.saw(format!("{shard}: at all times"));
    }
}

/// From when on, by when and until when the number must be right.
struct Settling<'a> {
    since: &'a Since,
    within_ns: u64,
    end_ns: u64,
}

/// Judges how long after the last disturbance the number was right for good.
fn settles(facts: &Facts<'_>, settings: &Replicas, shard: ShardNo, settling: &Settling<'_>, finding: &mut Finding) {
    let Settling { since, within_ns, end_ns } = *settling;
    let window = Window { from_ns: since.over.to_ns, to_ns: end_ns };
    let (wrong, looks) = wrong_times(facts, settings, shard, window);
    finding.observed(looks);
    let Some(last) = wrong.last() else {
        finding.saw(format!("{shard}: at once after {}", since.words));
        return;
    };
    finding.evidence(format!("until {}: {}", at(last.window.to_ns), last.words));
    let took = Window { from_ns: window.from_ns, to_ns: last.window.to_ns };
    let took_ns = took.length_ns();
    let is_over = last.window.to_ns < end_ns;
    finding.saw(if is_over {
        format!("{shard}: for good {} after {}", length_ns(took_ns), since.words)
    } else {
        format!("{}, still {} after {}", last.words, length_ns(took_ns), since.words)
    });
    if took_ns <= within_ns {
        if !is_over {
            finding.undecided("the run ended before the limit");
        } else if took_ns.saturating_add(since.over.length_ns()) > within_ns {
            finding.undecided(undoing(since.over.length_ns()));
        }
        return;
    }
    let limit_ns = window.from_ns.saturating_add(within_ns);
    match facts.stalled(took) {
        Some(why) => _ = finding.undecided(why),
        None if wrong.iter().any(|each| each.certain_until_ns > limit_ns) => _ = finding.weigh(Verdict::Fail),
        None => _ = finding.undecided(format!("{shard}: nodes that may be replicas did not answer")),
    }
}
