//! `acked-writes`: what the cluster acknowledged is still there when every key is read back.

use std::collections::BTreeMap;

use super::finding::Finding;
use super::{Judgement, Traits, Verdict};
use crate::facts::{AckSide, Cause, Facts, Ledger, LostWrite};
use crate::history::{FinalValue, key_name};
use crate::suite::{AckedWrites, MayLose};
use crate::words::{at, count, list};

/// How many lost writes are shown.
const EXAMPLES: usize = 9;

pub(super) const TRAITS: Traits = Traits { is_telling: true, ..Traits::PLAIN };

pub(super) fn judge(facts: &Facts<'_>, settings: &AckedWrites) -> Judgement {
    let ledger = &facts.ledger;
    let mut finding = Finding::new();
    finding.observed(ledger.acknowledged);
    if ledger.acknowledged == 0 {
        finding.undecided("no write was acknowledged");
    }
    for &shard in facts.ops.key_shards().without_keys() {
        finding.undecided(format!("{shard}: no write was acknowledged ({})", facts.too_few(shard)));
    }
    let text = format!(
        "{} acknowledged: {} lost, {} undecided; {} read back",
        count(ledger.acknowledged, "write"),
        ledger.lost,
        ledger.undecided,
        count(ledger.keys_read, "key"),
    );
    finding.saw(text);
    if ledger.lost > 0 {
        finding.saw(splits(ledger));
    }
    if let MayLose::AtMost(allowed) = settings.may_lose {
        if ledger.lost > allowed {
            finding.weigh(Verdict::Fail);
        } else if ledger.lost + ledger.undecided > allowed {
            finding.undecided(format!(
                "{} may be lost, or was overwritten by an earlier write of unknown outcome that came late",
                count(ledger.undecided, "write")
            ));
        }
    }
    if ledger.refused_but_applied > 0 {
        finding.fail(format!("{} refused and took effect all the same", count(ledger.refused_but_applied, "write")));
    }
    unread(&mut finding, ledger);
    for lost in ledger.examples.iter().take(EXAMPLES) {
        finding.evidence(describe(lost));
    }
    if ledger.lost > EXAMPLES as u64 {
        finding.evidence(format!("... and {} more lost", ledger.lost - EXAMPLES as u64));
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
        .figure("keys_unread", ledger.keys_unread as f64);
    for cause in Cause::ALL {
        let lost = ledger.lost_by_cause.get(&cause).copied().unwrap_or(0);
        finding.figure(&format!("lost_{}", cause.to_string().replace('-', "_")), lost as f64);
    }
    let expected = match settings.may_lose {
        MayLose::AtMost(0) => "no acknowledged write is lost".to_owned(),
        MayLose::AtMost(allowed) => format!("at most {} lost", count(allowed, "acknowledged write")),
        MayLose::Measured => "every key is read back, so that lost writes are counted".to_owned(),
    };
    finding.judge("acked-writes", format!("may-lose {}", settings.may_lose), expected)
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
        "{} of {}: {} was issued at {} and acknowledged{by}{side} at {} in phase {}, and the key {held} in the end ({})",
        key_name(lost.key),
        lost.shard,
        lost.value,
        at(lost.invoke_ns),
        at(lost.acked_ns),
        lost.phase,
        lost.cause
    )
}
