//! The ledger of writes: what was acknowledged, and what of it is gone.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::cause::Causes;
use super::stats::KeyShards;
use super::{AckSide, Cause, PhaseSpan};
use crate::history::{EventKind, FOREIGN, FinalValue, History, Op, Outcome};
use crate::suite::OpKind;
use crate::units::{NodeNo, ShardNo};

/// Every write of the workload, accounted for by what its key held in the end.
///
/// A key has one writer with one write under way, and values increase. With `f` the value read back:
/// an acknowledged write above `f` is **lost**, unless `f` itself is a write of unknown outcome,
/// which may have taken effect late: the acknowledged writes above it are **undecided**. (Worked
/// example: 4 acknowledged, 5 timed out, 6 acknowledged, read back 5. Either 6 was lost after 5 had
/// been replicated, or 5 came out of a socket's buffer after 6. Both are possible, so neither is
/// claimed. Read back 4: 6 is lost, whatever became of 5.)
///
/// A read can settle it: if some read returned 5 before 6 was even issued, 5 had taken effect by
/// then and cannot have come after 6, so 6 is lost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// Writes acknowledged.
    pub acknowledged: u64,
    /// Acknowledged and gone.
    pub lost: u64,
    /// Acknowledged, and not to be told whether lost or overwritten late.
    pub undecided: u64,
    /// Of unknown outcome, and found to have taken effect, by a read of the workload or in the end.
    pub applied_unacknowledged: u64,
    /// Refused, and found all the same: the server's or the harness's error.
    pub refused_but_applied: u64,
    /// Keys that held something in the end that the workload never wrote to them. Their acknowledged
    /// writes count as lost.
    pub foreign: u64,
    /// Keys read back.
    pub keys_read: u64,
    /// Keys with acknowledged writes that could not be read back.
    pub keys_unread: u64,
    /// The lost writes by what lost them, as far as the history tells; see [`Cause`]. Causes that lost
    /// nothing are left out, here and below.
    #[serde(default)]
    pub lost_by_cause: BTreeMap<Cause, u64>,
    /// The lost writes by the phase in which they were acknowledged.
    #[serde(default)]
    pub lost_by_phase: BTreeMap<String, u64>,
    /// The lost writes by the shard of their keys.
    #[serde(default)]
    pub lost_by_shard: BTreeMap<ShardNo, u64>,
    /// The lost writes by where the node that acknowledged them stood at that moment.
    #[serde(default)]
    pub lost_by_side: BTreeMap<AckSide, u64>,
    /// Lost writes, the first of them in order of issue; at most [`Ledger::EXAMPLES`].
    pub examples: Vec<LostWrite>,
    /// Keys that could not be read back, the first of them; at most [`Ledger::EXAMPLES`].
    #[serde(default)]
    pub unread_examples: Vec<UnreadKey>,
}

impl Ledger {
    /// How many lost writes, and how many unread keys, are kept as examples.
    pub const EXAMPLES: usize = 20;
}

/// An acknowledged write that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostWrite {
    /// Its key's number.
    pub key: u32,
    /// Its key's shard.
    pub shard: ShardNo,
    /// The number written.
    pub value: u32,
    /// When it was issued, in nanoseconds from the start of the run.
    pub invoke_ns: u64,
    /// When it was acknowledged.
    pub acked_ns: u64,
    /// Who acknowledged it.
    pub acked_by: Option<NodeNo>,
    /// What its key held in the end.
    pub read_back: FinalValue,
    /// The phase in which it was acknowledged.
    #[serde(default)]
    pub phase: String,
    /// Where the node that acknowledged it stood.
    #[serde(default)]
    pub side: AckSide,
    /// Why it is gone.
    #[serde(default)]
    pub cause: Cause,
}

/// A key with acknowledged writes whose last value is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadKey {
    /// Its number.
    pub key: u32,
    /// Why it could not be read; None when nobody tried.
    pub reason: Option<String>,
}

/// The ledger of a history.
pub(super) fn ledger(history: &History, shards: &KeyShards, causes: &Causes<'_>, phases: &[PhaseSpan]) -> Ledger {
    let mut keys: BTreeMap<u32, KeyOps> = BTreeMap::new();
    for op in &history.ops {
        let key = keys.entry(op.key).or_default();
        match op.kind {
            OpKind::Writes if op.outcome.was_tried() => key.writes.push(op),
            OpKind::Writes => {}
            OpKind::Reads => key.saw(op),
        }
    }
    let mut finals: HashMap<u32, &FinalValue> = HashMap::new();
    for event in &history.events {
        if let EventKind::FinalRead { key, value, .. } = &event.kind {
            finals.insert(*key, value);
        }
    }
    let keys_read = finals.values().filter(|value| !matches!(value, FinalValue::Unreadable(_))).count() as u64;
    let mut ledger = Ledger { keys_read, ..Ledger::default() };
    let mut lost = Vec::new();
    for (key, ops) in &keys {
        ops.account(*key, finals.get(key).copied(), &mut ledger, &mut lost);
    }
    ledger.lost = lost.len() as u64;
    lost.sort_by_key(|&(op, _)| (op.invoke_ns, op.key));
    explain(&lost, shards, causes, phases, &mut ledger);
    ledger
}

/// Splits the lost writes by phase, shard, side and cause, and keeps the first as examples.
fn explain(
    lost: &[(&Op, &FinalValue)],
    shards: &KeyShards,
    causes: &Causes<'_>,
    phases: &[PhaseSpan],
    ledger: &mut Ledger,
) {
    for &(op, read_back) in lost {
        let shard = shards.of(op.key);
        let acked_in = phases.iter().find(|phase| phase.window.contains(op.complete_ns));
        let phase = acked_in.map_or_else(String::new, |phase| phase.name.clone());
        let (side, cause) = (causes.side(op), causes.cause(op, shard));
        *ledger.lost_by_phase.entry(phase.clone()).or_default() += 1;
        *ledger.lost_by_shard.entry(shard).or_default() += 1;
        *ledger.lost_by_side.entry(side).or_default() += 1;
        *ledger.lost_by_cause.entry(cause).or_default() += 1;
        if ledger.examples.len() < Ledger::EXAMPLES {
            ledger.examples.push(LostWrite {
                key: op.key,
                shard,
                value: op.value,
                invoke_ns: op.invoke_ns,
                acked_ns: op.complete_ns,
                acked_by: (op.node != 0).then_some(NodeNo(op.node)),
                read_back: read_back.clone(),
                phase,
                side,
                cause,
            });
        }
    }
}

/// What the workload did with one key.
#[derive(Default)]
struct KeyOps<'a> {
    writes: Vec<&'a Op>,
    /// Values that reads returned, each with the earliest completion of such a read.
    seen: HashMap<u32, u64>,
}

impl<'a> KeyOps<'a> {
    fn saw(&mut self, read: &Op) {
        if read.outcome == Outcome::Ok && read.value != 0 && read.value != FOREIGN {
            let earliest_ns = self.seen.entry(read.value).or_insert(read.complete_ns);
            *earliest_ns = (*earliest_ns).min(read.complete_ns);
        }
    }

    fn account<'f>(
        &self,
        key: u32,
        read_back: Option<&'f FinalValue>,
        ledger: &mut Ledger,
        lost: &mut Vec<(&'a Op, &'f FinalValue)>,
    ) {
        let acked: Vec<&Op> = self.writes.iter().copied().filter(|op| op.outcome == Outcome::Ok).collect();
        ledger.acknowledged += acked.len() as u64;
        let mut found: HashSet<u32> = self.seen.keys().copied().collect();
        if let Some(FinalValue::Number(number)) = read_back {
            found.insert(*number);
        }
        for write in self.writes.iter().filter(|op| found.contains(&op.value)) {
            match write.outcome {
                Outcome::Ok | Outcome::Unsent(_) => {}
                Outcome::Info(_) => ledger.applied_unacknowledged += 1,
                Outcome::Fail(_) => ledger.refused_but_applied += 1,
            }
        }
        match read_back {
            None | Some(FinalValue::Unreadable(_)) => {
                if !acked.is_empty() {
                    ledger.keys_unread += 1;
                    if ledger.unread_examples.len() < Ledger::EXAMPLES {
                        let reason = match read_back {
                            Some(FinalValue::Unreadable(reason)) => Some(reason.clone()),
                            _ => None,
                        };
                        ledger.unread_examples.push(UnreadKey { key, reason });
                    }
                }
            }
            Some(missing @ FinalValue::Missing) => lost.extend(acked.iter().map(|&op| (op, missing))),
            Some(foreign @ FinalValue::Foreign(_)) => {
                ledger.foreign += 1;
                lost.extend(acked.iter().map(|&op| (op, foreign)));
            }
            Some(value @ FinalValue::Number(number)) => {
                let Some(last) = self.writes.iter().find(|op| op.value == *number) else {
                    // A number, but nobody wrote it to this key.
                    ledger.foreign += 1;
                    lost.extend(acked.iter().map(|&op| (op, value)));
                    return;
                };
                for write in acked.into_iter().filter(|op| op.value > *number) {
                    let surely_before = match last.outcome {
                        Outcome::Ok => true,
                        // A refused write that was found is none of unknown outcome, but when it took
                        // effect is as unknown.
                        Outcome::Fail(_) | Outcome::Info(_) | Outcome::Unsent(_) => {
                            self.seen.get(number).is_some_and(|&seen_ns| seen_ns < write.invoke_ns)
                        }
                    };
                    if surely_before {
                        lost.push((write, value));
                    } else {
                        ledger.undecided += 1;
                    }
                }
            }
        }
    }
}
