//! What reads tell of acknowledged writes that the end of a run does not: writes that were gone before their key was
//! written again, and reads in which a master answered wrongly.
//!
//! A read by the reigning master *misses* an acknowledged write if it was sent after the acknowledgement and returned
//! what is certainly older: an older version, nothing, or a foreign value. If the master, or the read at the end,
//! returns one of the missed writes later, the read was wrong for a time and lost nothing. Otherwise the missed writes
//! are lost, though a later write has covered the hole.
//!
//! Replicas are stale by design, so what a replica misses proves nothing. But a replica follows one stream of
//! effects: one that returned a write and later returns what is older has lost it, unless it was interrupted in between
//! (its process ended, it was silent, or its link to the master was down).
//!
//! A master that another node has replaced proves nothing either. A write that another node acknowledged within the
//! reign of the master that answers counts only if that node had reigned before: otherwise the reign is in doubt.

use std::collections::{HashMap, HashSet};

use super::registers::{Answerer, Answerers};
use super::{FaultSpan, Reign};
use crate::consistency::{Kind, NIL, Operation, Register};
use crate::history::{EventKind, FinalValue, History};
use crate::units::{NodeNo, ShardNo};

/// A replica's interruption is noticed this much later at the most: nodes are looked at each 100 ms, and may take
/// 500 ms to answer.
const NOTICED_LATE_NS: u64 = 1_000_000_000;

/// What the reads of one key tell.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The acknowledged writes that were lost by the time of the read that shows it, in the order of their issue.
    pub lost: Vec<Shown>,
    /// The acknowledged writes that a master did not return for a time.
    pub hidden: Vec<Shown>,
    /// Reads in which a master answered with what was certainly wrong and was right again later, in order of issue.
    pub wrong: Vec<Operation>,
}

/// An acknowledged write, and the read that missed it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    pub write: Operation,
    pub by: Operation,
}

/// When nodes were interrupted: what a node served before and after may differ without a loss.
#[derive(Debug, Default)]
pub(super) struct Interruptions(HashMap<NodeNo, Vec<u64>>);

impl Interruptions {
    pub(super) fn new(history: &History, fault_spans: &[FaultSpan]) -> Self {
        let mut moments: HashMap<NodeNo, Vec<u64>> = HashMap::new();
        for event in &history.events {
            let node = match &event.kind {
                EventKind::Silent { node, .. } => *node,
                EventKind::Viewed { node, view } if view.link_up == Some(false) => *node,
                _ => continue,
            };
            moments.entry(node).or_default().push(event.at_ns);
        }
        for fault in fault_spans.iter().filter(|fault| fault.kind.ends_process()) {
            for hit in &fault.hits {
                moments
                    .entry(hit.node)
                    .or_default()
                    .extend([Some(fault.from_ns), fault.healed_ns].into_iter().flatten());
            }
        }
        for of_node in moments.values_mut() {
            of_node.sort_unstable();
        }
        Self(moments)
    }

    /// Whether a node went on without an interruption.
    fn none_between(&self, node: NodeNo, from_ns: u64, to_ns: u64) -> bool {
        let Some(moments) = self.0.get(&node) else { return true };
        let before = |at_ns: u64| moments.partition_point(|&moment| moment < at_ns);
        before(from_ns) == before(to_ns.saturating_add(NOTICED_LATE_NS))
    }
}

/// One key and what its reads are judged by.
pub(super) struct Key<'a> {
    pub shard: ShardNo,
    pub register: &'a Register,
    pub answerers: Answerers<'a>,
    pub interruptions: &'a Interruptions,
    pub read_back: Option<&'a FinalValue>,
    pub has_one_writer: bool,
}

/// What is known of a value that reads returned.
struct Returned {
    value: u32,
    /// The first acknowledged write that is certainly newer; None where that is unknown.
    newer: Option<u32>,
    /// When its write was sent; None where nobody wrote it, or it was refused.
    sent_ns: Option<u64>,
}

/// A read that was served.
struct Asked {
    /// Its position among the operations of the register.
    at: u32,
    /// The position of what is known of its value.
    returned: u32,
    answerer: Answerer,
}

impl Key<'_> {
    pub(super) fn tell(&self) -> Told {
        // No read misses a write.
        if self.register.is_in_order() {
            return Told::default();
        }
        let ops = self.register.ops();
        let mut acked: Vec<Operation> = ops.iter().filter(|op| op.is_certain_write()).copied().collect();
        acked.sort_by_key(|write| (write.invoke_ns, write.value));
        if acked.is_empty() {
            return Told::default();
        }
        let (returned, reads) = self.reads(&acked);
        let read = |asked: &Asked| &ops[asked.at as usize];
        let mut lost = Marks::new(acked.len());
        let mut hidden = Marks::new(acked.len());
        let mut wrong = Vec::new();
        // What a node has returned matters where it answered as something else than the master.
        let others: HashSet<NodeNo> =
            reads.iter().filter(|asked| asked.answerer != Answerer::Master).map(|asked| read(asked).node).collect();
        let mut ended: Vec<&Asked> = reads.iter().filter(|asked| others.contains(&read(asked).node)).collect();
        ended.sort_by_key(|asked| read(asked).complete_ns);
        let mut ended = ended.into_iter().peekable();
        let mut newest: HashMap<NodeNo, (Operation, u64)> = HashMap::new();
        let mut seen_again: Option<Vec<u64>> = None;
        let mut to = 0;
        for asked in &reads {
            let (read, answerer) = (read(asked), asked.answerer);
            while let Some(before) = ended.next_if(|before| ops[before.at as usize].complete_ns < read.invoke_ns) {
                self.remember(&mut newest, ops[before.at as usize], returned[before.returned as usize].sent_ns);
            }
            while acked.get(to).is_some_and(|write| write.invoke_ns < read.invoke_ns) {
                to += 1;
            }
            let Some(from) = returned[asked.returned as usize].newer.map(|newer| newer as usize) else { continue };
            if from >= to {
                continue;
            }
            let misses = |at: usize| match answerer {
                Answerer::Master => acked[at].complete_ns < read.invoke_ns && self.is_of_reign(&acked[at], read),
                Answerer::Deposed | Answerer::Replica => {
                    let known = newest
                        .get(&read.node)
                        .filter(|(by, _)| self.interruptions.none_between(read.node, by.complete_ns, read.invoke_ns));
                    // Of two concurrent writes the node may have had the later one only.
                    let returned = known.is_some_and(|(by, sent_ns)| {
                        let is_it = acked[at].value == by.value;
                        let is_before = acked[at].complete_ns < *sent_ns;
                        is_it || is_before || (self.has_one_writer && acked[at].invoke_ns <= *sent_ns)
                    });
                    returned && acked[at].complete_ns < read.invoke_ns
                }
            };
            let seen_again = seen_again.get_or_insert_with(|| self.seen_again(&acked, &returned, &reads));
            let is_back = (from..to).rev().any(|at| seen_again[at] > read.complete_ns && misses(at));
            match (is_back, answerer) {
                (false, _) => lost.mark(from..to, misses, asked.at),
                (true, Answerer::Master) => {
                    hidden.mark(from..to, misses, asked.at);
                    wrong.push(*read);
                }
                (true, Answerer::Deposed | Answerer::Replica) => {}
            }
        }
        let shown = |marks: Marks| -> Vec<Shown> {
            let by = acked.iter().zip(marks.by);
            by.filter_map(|(write, by)| Some(Shown { write: *write, by: ops[by? as usize] })).collect()
        };
        Told { lost: shown(lost), hidden: shown(hidden), wrong }
    }

    /// The reads in the order of their issue, and what is known of their values.
    fn reads(&self, acked: &[Operation]) -> (Vec<Returned>, Vec<Asked>) {
        let ops = self.register.ops();
        let (mut returned, mut reads) = (Vec::new(), Vec::new());
        let mut at = 0;
        for (group, shown_ns, sent_ns) in self.register.timed_groups() {
            let value = group[0].value;
            let is_written = group[0].kind != Kind::Read;
            let newer = match shown_ns {
                _ if value == NIL => Some(0),
                Some(shown_ns) => Some(acked.partition_point(|write| write.invoke_ns <= shown_ns) as u32),
                None => (!is_written).then_some(0),
            };
            let writes = group.iter().take_while(|op| op.kind != Kind::Read).count();
            for (at, read) in (at + writes..).zip(&group[writes..]) {
                let answerer = self.answerers.of_shard(self.shard, read);
                reads.push(Asked { at: at as u32, returned: returned.len() as u32, answerer });
            }
            returned.push(Returned { value, newer, sent_ns });
            at += group.len();
        }
        reads.sort_by_key(|asked| (ops[asked.at as usize].invoke_ns, ops[asked.at as usize].complete_ns));
        (returned, reads)
    }

    /// The latest moment at which each acknowledged write was asked for and returned by the master, or in the end.
    fn seen_again(&self, acked: &[Operation], returned: &[Returned], reads: &[Asked]) -> Vec<u64> {
        let mut last: HashMap<u32, u64> = HashMap::new();
        for asked in reads.iter().filter(|asked| asked.answerer == Answerer::Master) {
            let last_ns = last.entry(returned[asked.returned as usize].value).or_default();
            *last_ns = (*last_ns).max(self.register.ops()[asked.at as usize].invoke_ns);
        }
        if let Some(FinalValue::Number(number)) = self.read_back {
            last.insert(*number, u64::MAX);
        }
        acked.iter().map(|write| last.get(&write.value).copied().unwrap_or(0)).collect()
    }

    /// The newest write that each node has returned.
    fn remember(&self, newest: &mut HashMap<NodeNo, (Operation, u64)>, read: Operation, sent_ns: Option<u64>) {
        let Some(sent_ns) = sent_ns else { return };
        let known = newest.entry(read.node).or_insert((read, sent_ns));
        let is_broken = !self.interruptions.none_between(read.node, known.0.complete_ns, read.invoke_ns);
        if is_broken || sent_ns >= known.1 {
            *known = (read, sent_ns);
        }
    }

    /// Whether the master that answered must know of a write.
    fn is_of_reign(&self, write: &Operation, read: &Operation) -> bool {
        let reigns = self.answerers.reigns.of(self.shard);
        let has_begun = |reign: &&Reign| reign.node == read.node && reign.from_ns <= read.invoke_ns;
        let Some(at) = reigns.iter().rposition(|reign| has_begun(&reign)) else { return false };
        write.node == read.node
            || write.complete_ns < reigns[at].from_ns
            || reigns[..at].iter().any(|reign| reign.node == write.node)
    }
}

/// For each acknowledged write the first read that missed it, by its position among the operations of the register.
struct Marks {
    /// How many writes there are. The rest is empty until the first is marked.
    count: usize,
    by: Vec<Option<u32>>,
    /// From each position on, where the next unmarked one may be.
    next: Vec<usize>,
}

impl Marks {
    fn new(count: usize) -> Self {
        Self { count, by: Vec::new(), next: Vec::new() }
    }

    fn unmarked(&mut self, from: usize) -> usize {
        let mut at = from;
        while self.next[at] != at {
            self.next[at] = self.next[self.next[at]];
            at = self.next[at];
        }
        at
    }

    fn mark(&mut self, range: std::ops::Range<usize>, is_missed: impl Fn(usize) -> bool, by: u32) {
        if self.next.is_empty() {
            self.by = vec![None; self.count];
            self.next = (0..=self.count).collect();
        }
        let mut at = self.unmarked(range.start);
        while at < range.end {
            if is_missed(at) {
                self.by[at] = Some(by);
                self.next[at] = at + 1;
            }
            at = self.unmarked(at + 1);
        }
    }
}
