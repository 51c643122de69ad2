//! `stale-reads`: how old the values are that reads return, by who answered.

use std::collections::BTreeMap;

use super::finding::Finding;
use super::{Figure, FigureKind, Judgement, Traits};
use crate::consistency::{Kind, Stale, Violation, Witness, stale};
use crate::facts::{Answerer, Facts, Window};
use crate::history::key_name;
use crate::suite::{Allowed, Answered, MaxAge, StaleReads};
use crate::words::{count, length_ns};

pub(super) const TRAITS: Traits = Traits {
    is_telling: true,
    figures: &[
        Figure { name: "stale_reads_max_age_ms", kind: FigureKind::Time },
        Figure { name: "stale_reads_p99_age_ms", kind: FigureKind::Time },
        Figure { name: "stale_reads_percent", kind: FigureKind::Safety },
        Figure { name: "stale_reads_beyond_bound", kind: FigureKind::Safety },
    ],
};

/// The reads of one kind of node.
#[derive(Default)]
struct Class {
    compared: u64,
    stale: Vec<(u32, Stale)>,
}

pub(super) fn judge(facts: &Facts<'_>, settings: &StaleReads) -> Judgement {
    let mut finding = Finding::new();
    match facts.window(settings.during.as_deref()) {
        Ok(window) => look(facts, settings, &classes(facts, window), &mut finding),
        Err(why) => _ = finding.undecided(why),
    }
    let mut words = vec![format!("from {}", settings.from)];
    words.extend(settings.max_age.map(|age| format!("max-age {age}")));
    words.extend(settings.max_versions.map(|most| format!("max-versions {most}")));
    words.extend(settings.during.iter().map(|phase| format!("during {phase}")));
    finding.judge("stale-reads", words.join(", "), expected(settings))
}

fn expected(settings: &StaleReads) -> String {
    let by = match settings.from {
        Answered::Masters => "by a master ",
        Answered::Replicas => "by a replica ",
        Answered::Any => "",
    };
    let mut bounds = Vec::new();
    match settings.max_age {
        Some(MaxAge::AtMost(age)) if age.as_ns() == 0 => bounds.push("is stale".to_owned()),
        Some(MaxAge::AtMost(age)) => bounds.push(format!("is older than {age}")),
        Some(MaxAge::Measured) | None => {}
    }
    match settings.max_versions {
        Some(Allowed::AtMost(most)) => bounds.push(format!("misses more than {}", count(most, "acknowledged write"))),
        Some(Allowed::Measured) | None => {}
    }
    if bounds.is_empty() {
        return "reads are compared with what was acknowledged before, so that stale ones are measured".to_owned();
    }
    format!("no read {by}{}", bounds.join(" or "))
}

fn classes(facts: &Facts<'_>, window: Window) -> BTreeMap<Answerer, Class> {
    let mut classes: BTreeMap<Answerer, Class> = BTreeMap::new();
    for (key, register) in facts.registers.iter() {
        let answerers = facts.answerers().of_key(key);
        if register.is_in_order() {
            // None is stale, so one look is enough for all kinds of nodes.
            for read in register.ops().iter().filter(|op| op.kind == Kind::Read && window.contains(op.invoke_ns)) {
                classes.entry(answerers.of(read)).or_default().compared += 1;
            }
            continue;
        }
        for answerer in [Answerer::Master, Answerer::Deposed, Answerer::Replica] {
            let (stale, compared) =
                stale(register, |read| window.contains(read.invoke_ns) && answerers.of(read) == answerer);
            let class = classes.entry(answerer).or_default();
            class.compared += compared;
            class.stale.extend(stale.into_iter().map(|stale| (key, stale)));
        }
    }
    classes
}

fn look(facts: &Facts<'_>, settings: &StaleReads, classes: &BTreeMap<Answerer, Class>, finding: &mut Finding) {
    let is_judged = |answerer: Answerer| match (settings.from, answerer) {
        (Answered::Any, _)
        | (Answered::Masters, Answerer::Master | Answerer::Deposed)
        | (Answered::Replicas, Answerer::Replica) => true,
        (Answered::Masters, Answerer::Replica) | (Answered::Replicas, Answerer::Master | Answerer::Deposed) => false,
    };
    for (answerer, class) in classes.iter().filter(|(_, class)| class.compared > 0) {
        finding.saw(in_words(*answerer, class));
    }
    let judged = || classes.iter().filter(|(answerer, _)| is_judged(**answerer)).map(|(_, class)| class);
    let compared: u64 = judged().map(|class| class.compared).sum();
    let mut stale: Vec<&(u32, Stale)> = judged().flat_map(|class| &class.stale).collect();
    let ages = ages_ns(stale.iter().map(|(_, stale)| stale));
    let exceeds = |stale: &Stale| {
        let is_old = match settings.max_age {
            Some(MaxAge::AtMost(age)) => stale.age_ns() > age.as_ns(),
            Some(MaxAge::Measured) | None => false,
        };
        is_old || settings.max_versions.is_some_and(|most| most.is_exceeded_by(stale.versions))
    };
    let violations = stale.iter().filter(|(_, stale)| exceeds(stale)).count();
    finding
        .observed(compared)
        .figure("reads", compared as f64)
        .figure("stale", stale.len() as f64)
        .figure("stale_reads_percent", if compared == 0 { 0.0 } else { stale.len() as f64 * 100.0 / compared as f64 })
        .figure("stale_reads_max_age_ms", ages.last().map_or(0.0, |&age_ns| age_ns as f64 / 1e6))
        .figure("stale_reads_p99_age_ms", p99(&ages) as f64 / 1e6)
        .figure("max_versions", stale.iter().map(|(_, stale)| stale.versions).max().unwrap_or(0) as f64)
        .figure("stale_reads_beyond_bound", violations as f64);
    let excuse = |stale: &Stale| {
        facts.retransmitted(Window { from_ns: stale.read.invoke_ns, to_ns: stale.read.complete_ns.saturating_add(1) })
    };
    let excuses: Option<Vec<String>> =
        stale.iter().filter(|(_, stale)| exceeds(stale)).map(|(_, stale)| excuse(stale)).collect();
    match excuses.as_deref() {
        Some([]) => {}
        Some([why, ..]) => {
            finding.undecided(format!("{} beyond the bound, but {why}", count(violations as u64, "read")));
        }
        None => _ = finding.fail(format!("{} beyond the bound", count(violations as u64, "read"))),
    }
    // Those beyond the bound first, then the oldest values.
    stale.sort_by_key(|(key, stale)| (!exceeds(stale), std::cmp::Reverse(stale.age_ns()), *key));
    let witnesses = stale.iter().map(|(key, stale)| {
        let (read, newer, older) = (stale.read, stale.missed, stale.older);
        Witness::new(&key_name(*key), &Violation::WentBack { read, newer, began: newer, older })
    });
    finding.witnesses(stale.len() as u64, witnesses);
    for (key, stale) in stale {
        finding.evidence(describe(*key, stale));
    }
}

fn in_words(answerer: Answerer, class: &Class) -> String {
    let who = match answerer {
        Answerer::Master => "masters",
        Answerer::Deposed => "replaced masters",
        Answerer::Replica => "replicas",
    };
    let ages = ages_ns(class.stale.iter().map(|(_, stale)| stale));
    let versions = class.stale.iter().map(|(_, stale)| stale.versions).max().unwrap_or(0);
    let old = match ages.last() {
        None => String::new(),
        Some(&oldest) => {
            format!(" (up to {} and {}, p99 {})", length_ns(oldest), count(versions, "version"), length_ns(p99(&ages)))
        }
    };
    format!("{who}: {} of {} stale{old}", class.stale.len(), count(class.compared, "read"))
}

/// The ages of stale reads, sorted.
fn ages_ns<'a>(stale: impl Iterator<Item = &'a Stale>) -> Vec<u64> {
    let mut ages: Vec<u64> = stale.map(Stale::age_ns).collect();
    ages.sort_unstable();
    ages
}

fn p99(sorted: &[u64]) -> u64 {
    let rank = (sorted.len() * 99).div_ceil(100);
    rank.checked_sub(1).map_or(0, |at| sorted[at])
}

fn describe(key: u32, stale: &Stale) -> String {
    let read = Violation::WentBack { read: stale.read, newer: stale.missed, began: stale.missed, older: None };
    format!(
        "{}: {} old, {} missed",
        read.describe(&key_name(key)),
        length_ns(stale.age_ns()),
        count(stale.versions, "acknowledged write")
    )
}
