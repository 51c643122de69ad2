//! `acked-writes`: what the cluster acknowledged is still there when every key is read back, and was there whenever a
//! master answered a read.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Finding;
use super::{Figure, FigureKind, Judgement, Traits, Verdict, kinds};
use crate::consistency::{Does, Effect, Kind, Operation, Witness, WitnessOp};
use crate::facts::{AckSide, Cause, Facts, Ledger, LostWrite, OverwrittenWrite, Window};
use crate::history::{EventKind, FOREIGN, FinalValue, key_name};
use crate::suite::{AckedWrites, Allowed, Step};
use crate::words::{at, count, length_ns, list};

/// How many lost writes are shown.
const EXAMPLES: usize = 9;

pub(super) const TRAITS: Traits = Traits {
    is_telling: true,
    figures: &[
        Figure { name: "lost_and_overwritten", kind: FigureKind::Safety },
        Figure { name: "wrong_reads", kind: FigureKind::Safety },
    ],
};

pub(super) fn judge(facts: &Facts<'_>, settings: &AckedWrites) -> Judgement {
    let ledger = &facts.ledger;
    let mut finding = Finding::new();
    let others = || facts.accounts.iter().filter(|(kind, _)| !kind.is_register() && kind.stays());
    let of_kinds: u64 = others().map(|(_, account)| account.acknowledged).sum();
    finding.observed(ledger.acknowledged + of_kinds);
    if ledger.acknowledged + of_kinds == 0 {
        finding.undecided("no write was acknowledged");
    }
    for &shard in facts.ops.key_shards().without_keys() {
        finding.undecided(format!("{shard}: no write was acknowledged ({})", facts.too_few(shard)));
    }
    if ledger.acknowledged > 0 || of_kinds == 0 {
        finding.saw(sums(ledger));
    }
    if ledger.lost > 0 {
        finding.saw(splits(ledger));
    }
    let excuse = facts.retransmitted(Window { from_ns: 0, to_ns: facts.end_ns });
    weigh(&mut finding, facts, settings.may_lose, excuse);
    for (&kind, account) in others() {
        kinds::tell_losses(&mut finding, kind, account);
    }
    if ledger.refused_but_applied > 0 {
        finding.fail(format!("{} refused and took effect all the same", count(ledger.refused_but_applied, "write")));
    }
    unread(&mut finding, ledger);
    evidence(&mut finding, ledger);
    let witnesses = witnesses(facts);
    finding.witnesses(ledger.lost + ledger.overwritten, witnesses);
    if ledger.restart_reach_ns > 0 {
        let reach = length_ns(ledger.restart_reach_ns);
        finding.saw(format!("the oldest that a restart lost was acknowledged {reach} before its server ended"));
    }
    if ledger.foreign > 0 {
        finding.saw(format!("{} held what the workload never wrote", count(ledger.foreign, "key")));
    }
    finding
        .figure("acknowledged", ledger.acknowledged as f64)
        .figure("lost", ledger.lost as f64)
        .figure("undecided", ledger.undecided as f64)
        .figure("applied_unacknowledged", ledger.applied_unacknowledged as f64)
        .figure("refused_but_applied", ledger.refused_but_applied as f64)
        .figure("foreign", ledger.foreign as f64)
        .figure("keys_read", ledger.keys_read as f64)
        .figure("keys_unread", ledger.keys_unread as f64)
        .figure("lost_and_overwritten", ledger.overwritten as f64)
        .figure("wrong_reads", ledger.wrong_reads as f64)
        .figure("hidden", ledger.hidden as f64)
        .figure("keys_lost", ledger.keys_lost as f64)
        .figure("untold", ledger.untold as f64)
        .figure("keys_untold", ledger.keys_untold as f64);
    let loses_data = facts.plan().steps.iter().any(|step| {
        let damages = matches!(step, Step::Corrupt(corrupt) if corrupt.file.holds_keys());
        damages || step.change().is_some_and(|change| change.data.loses_keys())
    });
    // Plans that take no data, as those of earlier versions, have no such figure.
    for cause in Cause::ALL.into_iter().filter(|&cause| loses_data || cause != Cause::DataLost) {
        let lost = ledger.lost_by_cause.get(&cause).copied().unwrap_or(0);
        finding.figure(&format!("lost_{}", cause.to_string().replace('-', "_")), lost as f64);
    }
    if facts.plan().steps.iter().filter_map(Step::fault).any(|fault| fault.kind().loses_unsynced()) {
        finding.figure("restart_reach_ms", ledger.restart_reach_ns as f64 / 1e6);
    }
    let expected = match settings.may_lose {
        Allowed::AtMost(0) => "no acknowledged write is lost".to_owned(),
        Allowed::AtMost(allowed) => format!("at most {} lost", count(allowed, "acknowledged write")),
        Allowed::Measured => "every key is read back, so that lost writes are counted".to_owned(),
    };
    finding.judge("acked-writes", format!("may-lose {}", settings.may_lose), expected)
}

/// What became of the acknowledged writes, of the keys, and what nobody can tell about.
fn sums(ledger: &Ledger) -> String {
    let overwritten = match ledger.overwritten {
        0 => String::new(),
        number => format!(", {number} lost and overwritten"),
    };
    let mut parts = vec![
        format!(
            "{} acknowledged: {} lost{overwritten}, {} undecided",
            count(ledger.acknowledged, "write"),
            ledger.lost,
            ledger.undecided
        ),
        format!("{} read back", count(ledger.keys_read, "key")),
    ];
    let keys = count(ledger.keys_acknowledged, "key");
    if ledger.keys_lost > 0 {
        let writes = count(ledger.lost + ledger.overwritten, "acknowledged write");
        parts.push(format!("{} of {keys} lost {writes}", ledger.keys_lost));
    }
    if ledger.wrong_reads > 0 {
        let missed = match ledger.hidden {
            0 => String::new(),
            hidden => format!(", which missed {} for a time", count(hidden, "acknowledged write")),
        };
        parts.push(format!("{} by a master{missed}", count(ledger.wrong_reads, "wrong read")));
    }
    if ledger.untold > 0 {
        let told = ledger.keys_acknowledged.saturating_sub(ledger.keys_untold);
        parts.push(format!(
            "{} overwritten before anybody read the key where writes may have been lost (told of {told} of {keys})",
            count(ledger.untold, "write")
        ));
    }
    parts.join("; ")
}

/// Weighs what is lost, and what may be, against the bound. A larger bound never gives a worse verdict. The excuse says why
/// nodes may have lost more than in real time, as they heard of each other later.
fn weigh(finding: &mut Finding, facts: &Facts<'_>, may_lose: Allowed, excuse: Option<String>) {
    let Allowed::AtMost(allowed) = may_lose else { return };
    let ledger = &facts.ledger;
    // What does not stay is judged elsewhere: a missed message is no lost write.
    let staying = facts.accounts.iter().filter(|(kind, _)| kind.stays());
    let of_kinds = staying.map(|(_, account)| (account.lost, account.undecided));
    let (lost, undecided) = of_kinds.fold((0, 0), |sum, each| (sum.0 + each.0, sum.1 + each.1));
    let missed = ledger.lost + ledger.overwritten + ledger.hidden + lost;
    let undecided = ledger.undecided + undecided;
    if missed > allowed || ledger.wrong_reads > allowed {
        match excuse.filter(|_| allowed > 0) {
            Some(why) => finding.undecided(format!("more than {allowed} lost or missed, but {why}")),
            None => finding.weigh(Verdict::Fail),
        };
        return;
    }
    if missed + undecided > allowed {
        finding.undecided(format!(
            "{} may be lost, or was overwritten by an earlier write of unknown outcome that came late",
            count(undecided, "write")
        ));
    }
    if missed + undecided + ledger.untold_likely > allowed && ledger.untold_likely > 0 {
        finding.undecided(format!(
            "{} may have been lost and overwritten: nobody read the keys in between",
            count(ledger.untold_likely, "write")
        ));
    }
}

/// Lost writes, then those that were overwritten, then wrong reads; some of each.
fn evidence(finding: &mut Finding, ledger: &Ledger) {
    let by_reads = ledger.overwritten_examples.len() + ledger.wrong_examples.len();
    let shown = if by_reads == 0 { EXAMPLES } else { EXAMPLES / 2 };
    for lost in ledger.examples.iter().take(shown) {
        finding.evidence(describe(lost));
    }
    if ledger.lost > shown as u64 {
        finding.evidence(format!("... and {} more lost", ledger.lost - shown as u64));
    }
    let is_wrong = usize::from(!ledger.wrong_examples.is_empty());
    let shown = if ledger.lost == 0 { EXAMPLES - 3 * is_wrong } else { 3 - is_wrong };
    for each in ledger.overwritten_examples.iter().take(shown) {
        finding.evidence(describe_overwritten(each));
    }
    if ledger.overwritten > shown as u64 {
        finding.evidence(format!("... and {} more lost and overwritten", ledger.overwritten - shown as u64));
    }
    for wrong in ledger.wrong_examples.iter().take(if ledger.lost + ledger.overwritten == 0 { EXAMPLES } else { 1 }) {
        finding.evidence(format!("{wrong}; later reads returned it or a newer version"));
    }
}

/// The lost writes by cause, phase, shard and side, in words.
fn splits(ledger: &Ledger) -> String {
    fn parts<T: std::fmt::Display>(map: &BTreeMap<T, u64>) -> String {
        list(map.iter().map(|(name, lost)| format!("{lost} {name}")))
    }
    format!(
        "lost by cause: {}; by phase: {}; by shard: {}; by side: {}",
        parts(&ledger.lost_by_cause),
        parts(&ledger.lost_by_phase),
        parts(&ledger.lost_by_shard),
        parts(&ledger.lost_by_side)
    )
}

fn unread(finding: &mut Finding, ledger: &Ledger) {
    if ledger.keys_unread == 0 {
        return;
    }
    let named = list(ledger.unread_examples.iter().take(5).map(|unread| {
        let reason = unread.reason.as_deref().unwrap_or("never tried");
        format!("{} ({reason})", key_name(unread.key))
    }));
    let more = if ledger.keys_unread > 5 { ", ..." } else { "" };
    finding.undecided(format!("{} not read back: {named}{more}", count(ledger.keys_unread, "key")));
}

fn describe(lost: &LostWrite) -> String {
    let by = lost.acked_by.map_or_else(String::new, |node| format!(" by {node}"));
    let held = match &lost.read_back {
        FinalValue::Number(number) => format!("held {number}"),
        FinalValue::Numbers(numbers) => format!("held {}", list(numbers)),
        FinalValue::Missing => "was missing".to_owned(),
        FinalValue::Foreign(text) => format!("held `{text}`, which the workload never wrote,"),
        FinalValue::Unreadable(reason) => format!("could not be read ({reason})"),
    };
    let side = match lost.side {
        AckSide::Minority => ", cut off in the minority",
        AckSide::Majority => ", in the majority",
        AckSide::NoCut => "",
    };
    format!(
        "{} of {}: {} was issued at {} and acknowledged{by}{side} at {} in phase {}, and the key {held} in the end ({}{})",
        key_name(lost.key),
        lost.shard,
        lost.value,
        at(lost.invoke_ns),
        at(lost.acked_ns),
        lost.phase,
        lost.cause,
        against(lost.against.as_deref())
    )
}

/// Some losses as operations, one a key: those in the end, then those that were overwritten.
fn witnesses(facts: &Facts<'_>) -> Vec<Witness> {
    let ledger = &facts.ledger;
    let lost = ledger.examples.iter().filter_map(|lost| witness(facts, lost));
    let overwritten = ledger.overwritten_examples.iter().filter_map(|lost| witness_overwritten(facts, lost));
    let mut keys = BTreeSet::new();
    lost.chain(overwritten).filter(|witness| keys.insert(witness.key.clone())).take(Judgement::WITNESSES).collect()
}

fn write_of(facts: &Facts<'_>, key: u32, value: u32) -> Option<Operation> {
    facts.registers.of(key)?.of_value(value).first().filter(|op| !matches!(op.kind, Kind::Read)).copied()
}

fn acknowledged(key: u32, write: &Operation) -> String {
    format!(
        "{} set {} to {}, which was acknowledged at {}",
        write.client,
        key_name(key),
        write.value,
        at(write.complete_ns)
    )
}

/// The write, what the key held in the end, and the write of that.
fn witness(facts: &Facts<'_>, lost: &LostWrite) -> Option<Witness> {
    let write = write_of(facts, lost.key, lost.value)?;
    let (node, read_ns) = facts.history.events.iter().rev().find_map(|event| match &event.kind {
        EventKind::FinalRead { key, node, .. } if *key == lost.key => Some((*node, event.at_ns)),
        _ => None,
    })?;
    let (value, held, older) = match &lost.read_back {
        FinalValue::Number(number) => match write_of(facts, lost.key, *number) {
            Some(older) => (Some(*number), format!("held {number}, which is older"), Some(older)),
            None => (Some(*number), format!("held {number}, which no client wrote"), None),
        },
        FinalValue::Missing => (None, "was gone, though no client removes a key".to_owned(), None),
        FinalValue::Foreign(_) | FinalValue::Numbers(_) => {
            (Some(FOREIGN), "held a value that no client wrote".to_owned(), None)
        }
        FinalValue::Unreadable(_) => return None,
    };
    let end = WitnessOp {
        does: Does::FinalRead,
        value,
        client: None,
        node,
        invoke_ns: read_ns,
        complete_ns: read_ns,
        outcome: Effect::Certain,
        contradicts: true,
    };
    let mut ops: Vec<WitnessOp> = older.iter().chain([&write]).map(WitnessOp::of).chain([end]).collect();
    ops.sort_by_key(|op| op.invoke_ns);
    let why = format!("{}. At the end of the run the key {held}.", acknowledged(lost.key, &write));
    Some(Witness { key: key_name(lost.key), why, ops, commands: Vec::new() })
}

/// The write, and the read that missed it.
fn witness_overwritten(facts: &Facts<'_>, lost: &OverwrittenWrite) -> Option<Witness> {
    let write = write_of(facts, lost.key, lost.value)?;
    let read = WitnessOp { contradicts: true, ..lost.shown_by? };
    let got = match read.value {
        None => "nothing, though no client removes a key".to_owned(),
        Some(FOREIGN) => "a value that no client wrote".to_owned(),
        Some(older) => format!("{older}, which is older"),
    };
    let who = read.client.map_or_else(String::new, |client| client.to_string());
    let later = length_ns(read.invoke_ns.saturating_sub(write.complete_ns));
    let why = format!(
        "{}. {who} asked {later} later and got {got}, and nobody ever read it again.",
        acknowledged(lost.key, &write)
    );
    let older = read.value.and_then(|value| write_of(facts, lost.key, value));
    let mut ops: Vec<WitnessOp> = older.iter().chain([&write]).map(WitnessOp::of).chain([read]).collect();
    ops.sort_by_key(|op| op.invoke_ns);
    Some(Witness { key: key_name(lost.key), why, ops, commands: Vec::new() })
}

fn describe_overwritten(lost: &OverwrittenWrite) -> String {
    format!(
        "{}, and nobody read that version later: lost and overwritten ({}{})",
        lost.witness,
        lost.cause,
        against(lost.against.as_deref())
    )
}

/// What speaks against the cause that the time of a write suggests.
fn against(seen: Option<&str>) -> String {
    seen.map_or_else(String::new, |seen| format!(": {seen}"))
}
