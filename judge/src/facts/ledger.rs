//! The ledger of writes: what was acknowledged, and what of it is gone.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cause::Causes;
use super::handover::{HandOver, hand_overs};
use super::losses::{LossSpan, Losses};
use super::overwritten::{self, Interruptions, Shown, Told};
use super::registers::{Answerer, Answerers, Finals, Registers};
use super::untold::Decided;
use super::{AckSide, Cause, FaultSpan, PhaseSpan, untold};
use crate::consistency::{Effect, Kind, Operation, Register, Violation, WitnessOp};
use crate::history::{EventKind, FinalValue, History, key_name, kind_of};
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
///
/// With several writers of a key, concurrent writes have no order, and values do not tell one. There an acknowledged write
/// is lost if `f` certainly was in effect before it was sent (`f` had been acknowledged, or somebody had read it), or
/// before the master returned it to a read. It is undecided if `f` is a write of unknown outcome whose client had given up
/// before it was sent. Otherwise `f` may simply have been the later one.
///
/// What lies below `f` was overwritten. Reads tell whether it was gone before: see [`Ledger::overwritten`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// How long before the end of its server the oldest write was acknowledged that a restart lost, in nanoseconds; 0 for none.
    #[serde(default)]
    pub restart_reach_ns: u64,
    /// The lost writes by the phase in which they were acknowledged.
    #[serde(default)]
    pub lost_by_phase: BTreeMap<String, u64>,
    /// The lost writes by the shard of their keys.
    #[serde(default)]
    pub lost_by_shard: BTreeMap<ShardNo, u64>,
    /// The lost writes by where the node that acknowledged them stood at that moment.
    #[serde(default)]
    pub lost_by_side: BTreeMap<AckSide, u64>,
    /// Keys with acknowledged writes.
    #[serde(default)]
    pub keys_acknowledged: u64,
    /// Keys with acknowledged writes that were lost, in the end or before they were overwritten.
    #[serde(default)]
    pub keys_lost: u64,
    /// Acknowledged writes that were gone before their key was written again: the master, or a replica that had
    /// returned them, answered a later read with what is older, and never with them again.
    #[serde(default)]
    pub overwritten: u64,
    /// The same by what lost them.
    #[serde(default)]
    pub overwritten_by_cause: BTreeMap<Cause, u64>,
    /// Reads that the reigning master answered with what is older than an acknowledged write, with nothing, or with a
    /// foreign value, and that it later answered rightly again.
    #[serde(default)]
    pub wrong_reads: u64,
    /// The acknowledged writes that those reads missed and that are not lost.
    #[serde(default)]
    pub hidden: u64,
    /// Acknowledged writes that may have been lost before they were overwritten, and that nobody read in between.
    #[serde(default)]
    pub untold: u64,
    /// Those of them whose loss is to be reckoned with: their shard is shown to have lost others, a master
    /// acknowledged them that had been replaced, or nothing covers the last two seconds before the hand-over.
    #[serde(default)]
    pub untold_likely: u64,
    /// Keys with such writes.
    #[serde(default)]
    pub keys_untold: u64,
    /// All lost writes over time, in the end or before they were overwritten. Empty in reports of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loss_spans: Vec<LossSpan>,
    /// Lost writes, the first of them in order of issue; at most [`Ledger::EXAMPLES`].
    pub examples: Vec<LostWrite>,
    /// Keys that could not be read back, the first of them; at most [`Ledger::EXAMPLES`].
    #[serde(default)]
    pub unread_examples: Vec<UnreadKey>,
    /// Writes that were lost and overwritten, the first of them in order of issue; at most [`Ledger::EXAMPLES`].
    #[serde(default)]
    pub overwritten_examples: Vec<OverwrittenWrite>,
    /// Wrong reads in words, the first of them; at most [`Ledger::EXAMPLES`].
    #[serde(default)]
    pub wrong_examples: Vec<String>,
}

impl Ledger {
    /// How many lost writes, and how many unread keys, are kept as examples.
    pub const EXAMPLES: usize = 20;

    /// The acknowledged writes that were lost, in the end or before they were overwritten.
    pub fn lost_in_all(&self) -> u64 {
        self.lost.saturating_add(self.overwritten)
    }
}

/// An acknowledged write that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// What speaks against the cause that the time of the write suggests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<String>,
}

/// An acknowledged write that was gone before its key was written again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OverwrittenWrite {
    /// Its key's number.
    pub key: u32,
    /// Its key's shard.
    pub shard: ShardNo,
    /// The number written.
    pub value: u32,
    /// When it was issued, in nanoseconds from the start of the run.
    pub invoke_ns: u64,
    /// When it was acknowledged, in nanoseconds from the start of the run.
    pub acked_ns: u64,
    /// Who acknowledged it.
    pub acked_by: Option<NodeNo>,
    /// The read that shows it, in words.
    pub witness: String,
    /// The same read as an operation; None in reports of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown_by: Option<WitnessOp>,
    /// Why it was gone.
    pub cause: Cause,
    /// What speaks against the cause that the time of the write suggests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<String>,
}

/// A key with acknowledged writes whose last value is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnreadKey {
    /// Its number.
    pub key: u32,
    /// Why it could not be read; None when nobody tried.
    pub reason: Option<String>,
}

/// What the ledger is made from.
pub(super) struct Accounts<'a> {
    pub history: &'a History,
    pub registers: &'a Registers,
    pub answerers: Answerers<'a>,
    pub causes: &'a Causes<'a>,
    pub fault_spans: &'a [FaultSpan],
    pub phases: &'a [PhaseSpan],
}

/// The fate of one key's writes.
struct KeyFate<'a> {
    key: u32,
    shard: ShardNo,
    register: &'a Register,
    /// The values that are lost in the end, or undecided.
    settled: BTreeSet<u32>,
    has_lost: bool,
    told: Told,
    read_back: Option<&'a FinalValue>,
}

impl Accounts<'_> {
    /// The ledger of the history.
    pub(super) fn ledger(&self) -> Ledger {
        let mut finals = Finals::new();
        for event in &self.history.events {
            if let EventKind::FinalRead { key, value, node } = &event.kind
                && kind_of(*key).0.is_register()
            {
                finals.insert(*key, (*node, value));
            }
        }
        let is_read = |value: &&(Option<NodeNo>, &FinalValue)| !matches!(value.1, FinalValue::Unreadable(_));
        let keys_read = finals.values().filter(is_read).count() as u64;
        let mut ledger = Ledger { keys_read, ..Ledger::default() };
        let mut lost = Vec::new();
        let mut fates = Vec::new();
        let interruptions = Interruptions::new(self.history, self.fault_spans);
        let has_one_writer = self.has_one_writer();
        for (key, register) in self.registers.iter() {
            let read_back = finals.get(&key).map(|(_, value)| *value);
            let (from, mut settled) = (lost.len(), BTreeSet::new());
            let order = if has_one_writer {
                Order::Values
            } else {
                Order::Times { returned: LazyCell::new(Box::new(move || self.returned_by_masters(key))) }
            };
            KeyOps { key, register, order }.account(read_back, &mut ledger, &mut lost, &mut settled);
            let shard = self.answerers.shards.of(key);
            let (answerers, interruptions) = (self.answerers, &interruptions);
            let told = overwritten::Key { shard, register, answerers, interruptions, read_back, has_one_writer }.tell();
            settled.extend(lost[from..].iter().map(|lost| lost.write.value));
            fates.push(KeyFate { key, shard, register, settled, has_lost: lost.len() > from, told, read_back });
        }
        ledger.lost = lost.len() as u64;
        lost.sort_by_key(|lost| (lost.write.invoke_ns, lost.key));
        let restarts = self.causes.restarts();
        let reigns = self.answerers.reigns;
        let overs = hand_overs(self.history, self.registers, self.answerers.shards, reigns, restarts, &finals);
        let mut losses = Losses::default();
        self.explain(&lost, &overs, &mut ledger, &mut losses);
        self.tell(&mut fates, &overs, &mut ledger, &mut losses);
        ledger.loss_spans = losses.spans();
        ledger
    }

    fn has_one_writer(&self) -> bool {
        self.history.header.plan.workload.writers == 1
    }

    fn returned_by_masters(&self, key: u32) -> Returned {
        let mut returned = Returned::new();
        let ops = self.registers.of(key).map_or(&[][..], Register::ops);
        for read in ops.iter().filter(|op| op.kind == Kind::Read) {
            if self.answerers.of(key, read) == Answerer::Master {
                let last_ns = returned.entry(read.value).or_default();
                *last_ns = (*last_ns).max(read.invoke_ns);
            }
        }
        returned
    }

    /// Splits the lost writes by phase, shard, side and cause, and keeps the first as examples.
    fn explain(&self, lost: &[Lost<'_>], overs: &[HandOver], ledger: &mut Ledger, losses: &mut Losses) {
        for &Lost { key, write, read_back } in lost {
            let shard = self.answerers.shards.of(key);
            let acked_in = self.phases.iter().find(|phase| phase.window.contains(write.complete_ns));
            let phase = acked_in.map_or_else(String::new, |phase| phase.name.clone());
            let group = self.registers.of(key).map_or(&[][..], |register| register.of_value(write.value));
            let side = self.causes.side(&write);
            let (cause, against) = self.causes.cause(&write, group, shard, overs);
            *ledger.lost_by_phase.entry(phase.clone()).or_default() += 1;
            *ledger.lost_by_shard.entry(shard).or_default() += 1;
            *ledger.lost_by_side.entry(side).or_default() += 1;
            *ledger.lost_by_cause.entry(cause).or_default() += 1;
            losses.add(shard, cause, write.complete_ns);
            self.reach(cause, shard, write.complete_ns, ledger);
            if ledger.examples.len() < Ledger::EXAMPLES {
                ledger.examples.push(LostWrite {
                    key,
                    shard,
                    value: write.value,
                    invoke_ns: write.invoke_ns,
                    acked_ns: write.complete_ns,
                    acked_by: (write.node.0 != 0).then_some(write.node),
                    read_back: read_back.clone(),
                    phase,
                    side,
                    cause,
                    against,
                });
            }
        }
    }

    /// Notes how long before the end of its server a write was acknowledged that a restart lost.
    fn reach(&self, cause: Cause, shard: ShardNo, acked_ns: u64, ledger: &mut Ledger) {
        match cause {
            Cause::Restart => {
                let before_ns = self.causes.before_end_ns(shard, acked_ns).unwrap_or_default();
                ledger.restart_reach_ns = ledger.restart_reach_ns.max(before_ns);
            }
            Cause::MinoritySide | Cause::StaleMaster | Cause::Failover | Cause::DataLost | Cause::Unknown => {}
        }
    }

    /// What reads tell beyond the end: writes lost and overwritten, wrong reads, and what nobody can tell about.
    fn tell(&self, fates: &mut [KeyFate<'_>], overs: &[HandOver], ledger: &mut Ledger, losses: &mut Losses) {
        let mut lossy: BTreeSet<ShardNo> = ledger.lost_by_shard.keys().copied().collect();
        let mut unexplained = Vec::new();
        let mut examples: Vec<OverwrittenWrite> = Vec::new();
        for fate in fates.iter_mut() {
            let settled = &fate.settled;
            fate.told.lost.retain(|shown| !settled.contains(&shown.write.value));
            for shown in &fate.told.lost {
                let write = shown.write;
                let group = fate.register.of_value(write.value);
                let (cause, against) = self.causes.cause(&write, group, fate.shard, overs);
                *ledger.overwritten_by_cause.entry(cause).or_default() += 1;
                losses.add(fate.shard, cause, write.complete_ns);
                self.reach(cause, fate.shard, write.complete_ns, ledger);
                lossy.insert(fate.shard);
                if cause == Cause::Unknown {
                    unexplained.push((fate.shard, *shown));
                }
                let acked_by = (write.node.0 != 0).then_some(write.node);
                let (key, shard, value) = (fate.key, fate.shard, write.value);
                let (invoke_ns, acked_ns) = (write.invoke_ns, write.complete_ns);
                let witness = describe(fate, shown);
                examples.push(OverwrittenWrite {
                    key,
                    shard,
                    value,
                    invoke_ns,
                    acked_ns,
                    acked_by,
                    witness,
                    shown_by: Some(WitnessOp::of(&shown.by)),
                    cause,
                    against,
                });
            }
            ledger.overwritten += fate.told.lost.len() as u64;
            ledger.keys_lost += u64::from(fate.has_lost || !fate.told.lost.is_empty());
            fate.settled.extend(fate.told.lost.iter().map(|shown| shown.write.value));
            ledger.wrong_reads += fate.told.wrong.len() as u64;
            let hidden = fate.told.hidden.iter().filter(|shown| !fate.settled.contains(&shown.write.value));
            ledger.hidden += hidden.count() as u64;
        }
        examples.sort_by_key(|each| (each.invoke_ns, each.key));
        examples.truncate(Ledger::EXAMPLES);
        ledger.overwritten_examples = examples;
        ledger.wrong_examples = wrong_examples(fates);
        let destroyed = untold::destroyed(&unexplained);
        for fate in fates.iter() {
            let (shard, register) = (fate.shard, fate.register);
            let destroyed = destroyed.get(&shard);
            let settled = &fate.settled;
            // The value in the end decides about one write; with one writer that is the last one.
            let decided = match (self.has_one_writer(), fate.read_back) {
                (true, _) => Decided::Last,
                (false, Some(FinalValue::Number(number))) => Decided::Value(*number),
                (false, _) => Decided::None,
            };
            let key = untold::Key { shard, register, settled, hand_overs: overs, destroyed, decided };
            let untold = key.untold(lossy.contains(&shard));
            ledger.untold += untold.len() as u64;
            ledger.untold_likely += untold.iter().filter(|(_, is_likely)| *is_likely).count() as u64;
            ledger.keys_untold += u64::from(!untold.is_empty());
        }
    }
}

/// The first wrong reads in words.
fn wrong_examples(fates: &[KeyFate<'_>]) -> Vec<String> {
    let mut all: Vec<(u64, &KeyFate<'_>, Operation)> = Vec::new();
    for fate in fates {
        all.extend(fate.told.wrong.iter().map(|read| (read.invoke_ns, fate, *read)));
    }
    all.sort_by_key(|&(at_ns, fate, _)| (at_ns, fate.key));
    let shown = all.iter().take(Ledger::EXAMPLES).filter_map(|(_, fate, read)| {
        // The newest write that it missed says most.
        let missed = fate.told.hidden.iter().filter(|shown| shown.write.complete_ns < read.invoke_ns);
        let newest = missed.max_by_key(|shown| shown.write.invoke_ns)?;
        Some(describe(fate, &Shown { write: newest.write, by: *read }))
    });
    shown.collect()
}

/// A read that missed a write, in a sentence.
fn describe(fate: &KeyFate<'_>, shown: &Shown) -> String {
    let missed = Violation::WentBack { read: shown.by, newer: shown.write, began: shown.write, older: None };
    missed.describe(&key_name(fate.key))
}

/// For each value of a key, when the last read was sent that its master answered with it.
type Returned = HashMap<u32, u64>;

/// How the order of a key's writes is known.
enum Order<'a> {
    /// Its one writer writes increasing values.
    Values,
    /// It has several writers: only where one write had ended before another was sent.
    Times {
        /// For each value, when the last read was sent that the master answered with it.
        returned: LazyCell<Returned, Box<dyn FnOnce() -> Returned + 'a>>,
    },
}

/// What became of an acknowledged write.
enum Fate {
    Kept,
    Lost,
    Undecided,
}

/// An acknowledged write that is not what its key held in the end.
#[derive(Clone, Copy)]
struct Lost<'a> {
    key: u32,
    write: Operation,
    read_back: &'a FinalValue,
}

/// What the workload did with one key.
struct KeyOps<'a> {
    key: u32,
    register: &'a Register,
    order: Order<'a>,
}

impl KeyOps<'_> {
    fn account<'f>(
        &self,
        read_back: Option<&'f FinalValue>,
        ledger: &mut Ledger,
        lost: &mut Vec<Lost<'f>>,
        undecided: &mut BTreeSet<u32>,
    ) {
        let key = self.key;
        let acked = || self.register.ops().iter().filter(|op| op.is_certain_write());
        let count = acked().count() as u64;
        ledger.acknowledged += count;
        ledger.keys_acknowledged += u64::from(count > 0);
        let mut lose_all = |read_back| lost.extend(acked().map(|&write| Lost { key, write, read_back }));
        for group in self.register.groups() {
            let is_read_back = matches!(read_back, Some(FinalValue::Number(number)) if *number == group[0].value);
            if !is_read_back && group.last().is_none_or(|op| op.kind != Kind::Read) {
                continue;
            }
            for op in group {
                match op.kind {
                    Kind::Read | Kind::Write(Effect::Certain) => {}
                    Kind::Write(Effect::Possible) => ledger.applied_unacknowledged += 1,
                    Kind::Write(Effect::Impossible) => ledger.refused_but_applied += 1,
                }
            }
        }
        match read_back {
            None | Some(FinalValue::Unreadable(_)) => {
                if count > 0 {
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
            Some(missing @ FinalValue::Missing) => lose_all(missing),
            Some(foreign @ (FinalValue::Foreign(_) | FinalValue::Numbers(_))) => {
                ledger.foreign += 1;
                lose_all(foreign);
            }
            Some(value @ FinalValue::Number(number)) => {
                let group = self.register.of_value(*number);
                let Some(last) = group.first().filter(|op| op.kind != Kind::Read) else {
                    // A number, but nobody wrote it to this key.
                    ledger.foreign += 1;
                    lose_all(value);
                    return;
                };
                // In a register in order, every other acknowledged write was sent, and returned by a read for the last time,
                // before this one was acknowledged or read. So by values and by times none is lost or undecided.
                let newest = acked().next_back().map_or(0, |write| write.value);
                if self.register.is_in_order() && last.is_certain_write() && newest <= last.value {
                    return;
                }
                let reads = group.iter().filter(|op| op.kind == Kind::Read);
                let seen_ns = reads.map(|read| read.complete_ns).min();
                for write in acked() {
                    match self.fate(write, last, seen_ns) {
                        Fate::Kept => {}
                        Fate::Lost => lost.push(Lost { key, write: *write, read_back: value }),
                        Fate::Undecided => {
                            ledger.undecided += 1;
                            undecided.insert(write.value);
                        }
                    }
                }
            }
        }
    }

    /// What became of an acknowledged write, where `last` wrote what the key held in the end, and a read had returned that
    /// by `seen_ns`.
    fn fate(&self, write: &Operation, last: &Operation, seen_ns: Option<u64>) -> Fate {
        // A refused write that was found is none of unknown outcome, but when it took effect is as unknown.
        let is_certain = last.is_certain_write();
        let seen_before = |ns: u64| seen_ns.is_some_and(|seen_ns| seen_ns < ns);
        match &self.order {
            Order::Values if write.value <= last.value => Fate::Kept,
            Order::Values if is_certain || seen_before(write.invoke_ns) => Fate::Lost,
            Order::Values => Fate::Undecided,
            Order::Times { .. } if write.value == last.value => Fate::Kept,
            Order::Times { returned } => {
                // The write was sent, or the master returned it, at this moment or later.
                let there_ns = returned.get(&write.value).map_or(write.invoke_ns, |ns| write.invoke_ns.max(*ns));
                if (is_certain && last.complete_ns < there_ns) || seen_before(there_ns) {
                    Fate::Lost
                } else if !is_certain && last.complete_ns < write.invoke_ns {
                    Fate::Undecided
                } else {
                    Fate::Kept
                }
            }
        }
    }
}
