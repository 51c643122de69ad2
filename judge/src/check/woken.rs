//! `woken`: a client that waits for an element (BLPOP) is woken soon after one is there.

use std::collections::BTreeMap;

use super::finding::Finding;
use super::{Figure, FigureKind, Judgement, Traits, kinds};
use crate::consistency::{Asleep, Kind, Operation, Wait, Waits, Witness, WitnessOp, waits};
use crate::facts::{Example, Facts};
use crate::history::{EventKind, FinalValue, WaitEnd, key_name};
use crate::suite::{Allowed, DataKind, Woken};
use crate::words::{at, count, length_ns};

pub(super) const TRAITS: Traits = Traits {
    is_telling: true,
    figures: &[
        Figure { name: "not_woken", kind: FigureKind::Safety },
        Figure { name: "longest_sleep_ms", kind: FigureKind::Time },
        Figure { name: "elements_lost", kind: FigureKind::Safety },
        Figure { name: "popped_again", kind: FigureKind::Safety },
    ],
};

/// A wait, and how it ended.
type Ended<'a> = (Wait, &'a WaitEnd);

pub(super) fn judge(facts: &Facts<'_>, settings: &Woken) -> Judgement {
    let mut finding = Finding::new();
    let ended = ended(facts);
    let mut sums = Waits::default();
    let (mut examples, mut queues, mut pushed) = (Vec::new(), 0, 0);
    let mut unread = 0;
    for (key, ops) in facts.keys_of(DataKind::Blocking) {
        let pushes: Vec<Operation> = ops.writes().map(|&(.., write)| write).collect();
        let last = match ops.last {
            Some((_, _, FinalValue::Numbers(items))) => Some(items.as_slice()),
            Some((_, _, FinalValue::Missing)) => Some(&[][..]),
            Some((_, _, FinalValue::Number(_) | FinalValue::Foreign(_) | FinalValue::Unreadable(_))) | None => None,
        };
        let of_key = ended.get(&key).map_or(&[][..], Vec::as_slice);
        let all: Vec<Wait> = of_key.iter().map(|(wait, _)| *wait).collect();
        let found = waits(&pushes, &all, last, settings.within.as_ns());
        queues += 1;
        pushed += pushes.iter().filter(|push| push.is_certain_write()).count() as u64;
        unread += u64::from(last.is_none());
        sums.waits += found.waits;
        sums.lost += found.lost;
        sums.again += found.again;
        sums.foreign += found.foreign;
        sums.longest_ns = sums.longest_ns.max(found.longest_ns);
        examples.extend(found.asleep.first().map(|asleep| example(key, asleep, of_key)));
        sums.asleep.extend(found.asleep);
    }
    examples.sort_by_key(|example| example.at_ns);
    let asleep = sums.asleep.len() as u64;
    finding
        .observed(sums.waits)
        .figure("not_woken", asleep as f64)
        .figure("longest_sleep_ms", sums.longest_ns as f64 / 1e6)
        .figure("elements_lost", sums.lost as f64)
        .figure("popped_again", sums.again as f64);
    if sums.waits > 0 {
        finding.saw(format!(
            "{asleep} of {} for {} went on for over {} while an element was there, the longest for {}; of {}, {} got by \
             nobody, {} got twice",
            count(sums.waits, "wait"),
            count(queues, "queue"),
            settings.within,
            length_ns(sums.longest_ns),
            count(pushed, "acknowledged element"),
            sums.lost,
            sums.again
        ));
    }
    if sums.foreign > 0 {
        finding.saw(format!("{} that no client appended", count(sums.foreign, "element")));
    }
    if unread > 0 {
        finding.undecided(format!("{} not read back", count(unread, "queue")));
    }
    kinds::weigh(&mut finding, settings.may_violate, asleep, &examples);
    let expected = match settings.may_violate {
        Allowed::Measured => "clients that are not woken are counted".to_owned(),
        Allowed::AtMost(_) => format!("a client that waits is woken within {} of an element", settings.within),
    };
    finding.judge("woken", format!("within {}, may-violate {}", settings.within, settings.may_violate), expected)
}

/// The waits for each queue, in the order in which they were sent.
fn ended<'a>(facts: &Facts<'a>) -> BTreeMap<u32, Vec<Ended<'a>>> {
    let mut all: BTreeMap<u32, Vec<Ended<'a>>> = BTreeMap::new();
    for event in &facts.history.events {
        let EventKind::Waited { client, key, node, sent_ns, end } = &event.kind else { continue };
        let popped = match end {
            WaitEnd::Popped(element) => Some(*element),
            WaitEnd::Refused(_) | WaitEnd::Broken(_) | WaitEnd::Open => None,
        };
        let wait = Wait { sent_ns: *sent_ns, end_ns: event.at_ns, popped, client: *client, node: *node };
        all.entry(*key).or_default().push((wait, end));
    }
    for waits in all.values_mut() {
        waits.sort_by_key(|(wait, _)| wait.sent_ns);
    }
    all
}

fn example(key: u32, asleep: &Asleep, ended: &[Ended<'_>]) -> Example {
    let (name, wait, push) = (key_name(key), asleep.wait, asleep.push);
    let end = ended.iter().find(|(each, _)| *each == wait).map(|(_, end)| *end);
    let outcome = match end {
        Some(WaitEnd::Popped(element)) => format!("it got {element} at {}", at(wait.end_ns)),
        Some(WaitEnd::Refused(error)) => format!("it got an error at {} ({error})", at(wait.end_ns)),
        Some(WaitEnd::Broken(why)) => format!("its connection ended at {} ({why})", at(wait.end_ns)),
        Some(WaitEnd::Open) | None => format!("nobody woke it until the end of the workload at {}", at(wait.end_ns)),
    };
    let why = format!(
        "{} waited for an element of {name} at {} from {} on. {} appended {}, which {} acknowledged at {}, and it was \
         there; but {} waited on for {}: {outcome}.",
        wait.client,
        wait.node,
        at(wait.sent_ns),
        push.client,
        push.value,
        push.node,
        at(push.complete_ns),
        wait.client,
        length_ns(asleep.for_ns)
    );
    let answer = match end {
        Some(WaitEnd::Popped(element)) => format!("-> {element}"),
        Some(WaitEnd::Refused(_)) => "-> an error".to_owned(),
        Some(WaitEnd::Broken(_)) => "-> connection lost".to_owned(),
        Some(WaitEnd::Open) | None => "-> never answered".to_owned(),
    };
    let drawn = |wait: &Wait| {
        let value = wait.popped.unwrap_or(0);
        let (invoke_ns, complete_ns, kind) = (wait.sent_ns, wait.end_ns, Kind::Read);
        WitnessOp::of(&Operation { invoke_ns, complete_ns, value, client: wait.client, node: wait.node, kind })
    };
    let mut rows = vec![
        (WitnessOp { contradicts: true, ..drawn(&wait) }, format!("BLPOP {name} 0 {answer}")),
        (WitnessOp::of(&push), format!("RPUSH {name} {}", push.value)),
    ];
    if let Some(taken) = asleep.taken.filter(|taken| *taken != wait) {
        rows.push((drawn(&taken), format!("BLPOP {name} 0 -> {}", push.value)));
    }
    rows.sort_by_key(|(op, _)| (op.invoke_ns, op.complete_ns));
    let (ops, commands) = rows.into_iter().unzip();
    Example { at_ns: wait.end_ns, witness: Witness { key: name, why, ops, commands } }
}
