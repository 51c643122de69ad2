//! `expiry`: a key with a time to live is there until it ends, and gone soon after.

use super::finding::Finding;
use super::{Figure, FigureKind, Judgement, Traits, kinds};
use crate::consistency::{Early, Had, Kind, Late, Lifetime, NIL, Operation, Stored, Witness, expired};
use crate::facts::{Answerer, Example, Facts, KeyOps, NOBODY, Window, drawn, sent, who};
use crate::history::{FOREIGN, FinalValue, key_name};
use crate::suite::{DataKind, Expiry};
use crate::units::{NodeNo, ShardNo, Span};
use crate::words::{at, count, length_ns};

pub(super) const TRAITS: Traits = Traits {
    is_telling: true,
    figures: &[
        Figure { name: "expired_early", kind: FigureKind::Safety },
        Figure { name: "expired_late", kind: FigureKind::Safety },
        Figure { name: "latest_expiry_ms", kind: FigureKind::Time },
    ],
};

/// What a view shows of a change of masters, or a look of the end of a server, may be as much older.
const NOTICED_WITHIN_NS: u64 = 2_000_000_000;

pub(super) fn judge(facts: &Facts<'_>, settings: &Expiry) -> Judgement {
    let mut finding = Finding::new();
    match facts.window(settings.during.as_deref()).and_then(|window| Ok((window, facts.shards(settings.shard)?))) {
        Ok((window, shards)) => look(facts, settings, window, &shards, &mut finding),
        Err(why) => _ = finding.undecided(why),
    }
    let mut words = vec![format!("shard {}", settings.shard)];
    words.extend(settings.during.iter().map(|phase| format!("during {phase}")));
    words.push(format!("late {}, may-violate {}", settings.late, settings.may_violate));
    words.push(format!("may-lose {}", settings.may_lose));
    let ttl = facts.plan().workload.ttl();
    let expected = format!("a key that lives for {ttl} is there as long, and gone {} later at most", settings.late);
    finding.judge("expiry", words.join(", "), expected)
}

#[derive(Default)]
struct Sums {
    keys: u64,
    before: u64,
    after: u64,
    early: u64,
    late: u64,
    gone: u64,
    latest_ns: u64,
    violations: Vec<Example>,
    losses: Vec<Example>,
}

fn look(facts: &Facts<'_>, settings: &Expiry, window: Window, shards: &[ShardNo], finding: &mut Finding) {
    let ttl = facts.plan().workload.ttl();
    let life = Lifetime { ttl_ns: ttl.as_ns(), early_ns: settings.early.as_ns(), late_ns: settings.late.as_ns() };
    let mut sums = Sums::default();
    let shard_of = |key: u32| facts.ops.key_shards().of(key);
    for (key, ops) in facts.keys_of(DataKind::Ttl).filter(|(key, _)| shards.contains(&shard_of(*key))) {
        let writes: Vec<Stored> = writes(facts, ops);
        let all = reads(facts, ops);
        let counts = |read: &Operation| match read.client {
            NOBODY => settings.during.is_none(),
            _ => window.contains(read.invoke_ns),
        };
        // Reads outside the window still show what a node had.
        let found = expired(&writes, &all, life, |write, shown, read| had(facts, key, (write, shown), read));
        let words = Words { facts, ops, name: key_name(key), ttl };
        let early: Vec<&Early> = found.early.iter().filter(|early| counts(&early.read)).collect();
        let late: Vec<&Late> = found.late.iter().filter(|late| counts(&late.read)).collect();
        let gone: Vec<&Early> = found.gone.iter().filter(|gone| counts(&gone.read)).collect();
        sums.keys += 1;
        let (before, after) = observed(&writes, &all, life, counts);
        sums.before += before;
        sums.after += after;
        sums.early += early.len() as u64;
        sums.late += late.len() as u64;
        sums.gone += gone.len() as u64;
        sums.latest_ns = late.iter().map(|late| late.by_ns).max().unwrap_or(0).max(sums.latest_ns);
        sums.violations.extend(early.first().map(|early| words.early(early)));
        sums.violations.extend(late.first().map(|late| words.late(late)));
        sums.losses.extend(gone.first().map(|gone| words.gone(gone)));
    }
    tell(&mut sums, settings, finding);
}

/// The reads of the window before and after the end of the key's time.
fn observed(writes: &[Stored], reads: &[Operation], life: Lifetime, counts: impl Fn(&Operation) -> bool) -> (u64, u64) {
    let of_window: Vec<Operation> = reads.iter().copied().filter(counts).collect();
    let found = expired(writes, &of_window, life, |_, _, _| Had::Unknown);
    (found.before, found.after)
}

fn tell(sums: &mut Sums, settings: &Expiry, finding: &mut Finding) {
    sums.violations.sort_by_key(|example| example.at_ns);
    sums.losses.sort_by_key(|example| example.at_ns);
    let (keys, before) = (count(sums.keys, "key"), count(sums.before, "read"));
    finding
        .observed(sums.before + sums.after)
        .figure("expired_early", sums.early as f64)
        .figure("expired_late", sums.late as f64)
        .figure("latest_expiry_ms", sums.latest_ns as f64 / 1e6)
        .figure("gone_over_failover", sums.gone as f64);
    finding.saw(format!(
        "{before} of {keys} before the end of their time: {} found nothing; {} after it: {} found the key",
        sums.early, sums.after, sums.late
    ));
    if sums.gone > 0 {
        let gone = count(sums.gone, "key");
        finding.saw(format!("{gone} gone early on a master that took over or was restarted: lost, or expired early"));
    }
    if sums.before == 0 {
        finding.undecided("no key was read while it had time to live");
    }
    if sums.after == 0 {
        finding.undecided(format!("no key was read more than {} after its time", settings.late));
    }
    let all = sums.early + sums.late;
    kinds::weigh(finding, settings.may_violate, all, &sums.violations);
    if settings.may_lose.is_exceeded_by(sums.gone) {
        finding.undecided(format!("{} may have expired early", count(sums.gone, "key")));
    }
    kinds::show(finding, sums.gone, &sums.losses);
}

fn writes(facts: &Facts<'_>, ops: &KeyOps<'_>) -> Vec<Stored> {
    let is_repeated = |position: usize| facts.history.detail(position).is_some_and(|detail| detail.tries > 1);
    ops.writes().map(|&(position, _, write)| Stored { write, is_repeated: is_repeated(position) }).collect()
}

/// The reads, and the one at the end, which was sent after the phase `final` began.
fn reads(facts: &Facts<'_>, ops: &KeyOps<'_>) -> Vec<Operation> {
    let reads = ops.ops.iter().map(|&(.., op)| op).filter(|op| op.kind == Kind::Read && op.value != FOREIGN);
    let began_ns = facts.phases.iter().rev().find(|phase| phase.name == "final").map(|phase| phase.window.from_ns);
    let last = ops.last.zip(began_ns).and_then(|((at_ns, node, value), began_ns)| {
        let value = match value {
            FinalValue::Number(number) => *number,
            FinalValue::Missing => NIL,
            FinalValue::Numbers(_) | FinalValue::Foreign(_) | FinalValue::Unreadable(_) => return None,
        };
        let node = node.unwrap_or(NodeNo(0));
        Some(Operation { invoke_ns: began_ns, complete_ns: at_ns, value, client: NOBODY, node, kind: Kind::Read })
    });
    reads.chain(last).collect()
}

/// Whether the node that answered a read must have had a write that an earlier operation shows. What a master acknowledges
/// that has been replaced is gone when it follows the new one.
fn had(facts: &Facts<'_>, key: u32, (write, shown): (&Operation, &Operation), read: &Operation) -> Had {
    let shard = facts.ops.key_shards().of(key);
    let answerer = |op: &Operation| facts.answerers().of(key, op);
    let between = Window { from_ns: write.invoke_ns, to_ns: read.complete_ns.saturating_add(NOTICED_WITHIN_NS) };
    let master = facts.reigns.at(shard, write.invoke_ns).map(|reign| reign.node);
    let has_changed = facts.reigns.of(shard).iter().any(|reign| reign.from_ns > 0 && between.contains(reign.from_ns));
    let is_of_shard = |node: NodeNo| node == read.node || Some(node) == master;
    let has_ended = facts
        .servers
        .as_ref()
        .is_some_and(|servers| servers.ends.iter().any(|end| is_of_shard(end.node) && between.contains(end.at_ns)));
    let is_kept = answerer(write) == Answerer::Master && answerer(shown) != Answerer::Deposed;
    if shown.node == read.node && is_kept && !has_changed && !has_ended {
        return Had::Certainly;
    }
    match answerer(read) {
        Answerer::Master => Had::MayHaveLost,
        Answerer::Deposed | Answerer::Replica => Had::Unknown,
    }
}

struct Words<'a> {
    facts: &'a Facts<'a>,
    ops: &'a KeyOps<'a>,
    name: String,
    ttl: Span,
}

impl Words<'_> {
    fn early(&self, early: &Early) -> Example {
        let shown = match early.shown {
            Some(shown) => format!(" {} still had it at {} ({}).", shown.node, at(shown.complete_ns), who(&shown)),
            None => String::new(),
        };
        let why = format!(
            "{}{shown} At {} it was gone ({}), at least {} before the end of its time.",
            self.set(&early.write),
            at(early.read.complete_ns),
            who(&early.read),
            length_ns(early.by_ns)
        );
        self.example(&early.write, early.shown, &early.read, why)
    }

    fn gone(&self, gone: &Early) -> Example {
        let why = format!(
            "{} At {} it was not there ({}), {} before the end of its time: lost with a failover or a restart, or \
             expired early.",
            self.set(&gone.write),
            at(gone.read.complete_ns),
            who(&gone.read),
            length_ns(gone.by_ns)
        );
        self.example(&gone.write, None, &gone.read, why)
    }

    fn late(&self, late: &Late) -> Example {
        let why = format!(
            "{} {} it was still there ({}), at least {} after the end of its time.",
            self.set(&late.write),
            if late.read.client == NOBODY {
                "In the end".to_owned()
            } else {
                format!("At {}", at(late.read.complete_ns))
            },
            who(&late.read),
            length_ns(late.by_ns)
        );
        self.example(&late.write, late.shown, &late.read, why)
    }

    fn set(&self, write: &Operation) -> String {
        let acknowledged = if write.is_certain_write() {
            format!("which {} acknowledged at {}", write.node, at(write.complete_ns))
        } else {
            format!("sent at {}, of unknown outcome", at(write.invoke_ns))
        };
        format!("{} set {} to {} for {}, {acknowledged}.", write.client, self.name, write.value, self.ttl)
    }

    fn example(&self, write: &Operation, shown: Option<Operation>, read: &Operation, why: String) -> Example {
        let mut all: Vec<Operation> = [Some(*write), shown, Some(*read)].into_iter().flatten().collect();
        all.sort_by_key(|op| (op.invoke_ns, op.complete_ns));
        all.dedup();
        let position =
            |op: &Operation| self.ops.ops.iter().find(|(.., each)| each == op).map(|(position, ..)| *position);
        let times = |op: &Operation| position(op).map_or_else(String::new, |place| sent(self.facts.history, place));
        let command = |op: &Operation| match (op.kind, op.value) {
            (Kind::Read, NIL) => format!("GET {} -> nothing", self.name),
            (Kind::Read, value) => format!("GET {} -> {value}", self.name),
            (Kind::Write(_), value) => {
                format!("SET {} {value} PX {}{}", self.name, self.ttl.0.as_millis(), times(op))
            }
        };
        let commands = all.iter().map(command).collect();
        let ops = all.iter().map(|op| drawn(op, op == read)).collect();
        let key = self.name.clone();
        Example { at_ns: read.complete_ns, witness: Witness { key, why, ops, commands } }
    }
}
