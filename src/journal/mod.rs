//! The handle by which a run writes its history.

mod recorder;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex};
use std::time::Instant;

pub use recorder::Recorder;

use crate::history::{Event, EventKind, Explanation, History, HistoryError, Op, Outcome, key_name};
use crate::slot::Deal;
use crate::suite::OpKind;
use crate::units::ShardNo;

/// Is shown every event as it is recorded.
pub type OnEvent = Arc<dyn Fn(&Event) + Send + Sync>;

/// Writes a history from many tasks; the only clock of a run.
pub struct Journal {
    origin: Instant,
    recorder: Mutex<Option<Recorder>>,
    on_event: OnEvent,
    counts: Mutex<Counts>,
    deal: Deal,
}

/// [`Outcome::Fail`], [`Outcome::Info`] or [`Outcome::Unsent`], and what it refers to.
pub type Unserved<'a> = (fn(u16) -> Outcome, &'a Explanation);

/// How the workload has fared so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// With any outcome.
    pub completed: u64,
    /// Acknowledged.
    pub acknowledged: u64,
    /// Which operations of which shards are not served, and since when: the issue, in nanoseconds from the start of
    /// the run, of the first that was not, unless one that was issued after it was.
    pub unserved: BTreeMap<(ShardNo, OpKind), u64>,
}

impl Counts {
    fn note(&mut self, op: &Op, deal: &Deal) {
        let served = op.outcome == Outcome::Ok;
        self.completed += 1;
        self.acknowledged += u64::from(served);
        if served && self.unserved.is_empty() {
            return;
        }
        let shard = deal.shard_of_key(key_name(op.key).as_bytes());
        match self.unserved.entry((shard, op.kind)) {
            Entry::Vacant(since) if !served => drop(since.insert(op.invoke_ns)),
            Entry::Occupied(since) if served && op.invoke_ns > *since.get() => drop(since.remove()),
            _ => {}
        }
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl Journal {
    /// Time begins now.
    pub fn new(recorder: Recorder, on_event: OnEvent) -> Self {
        Self {
            origin: Instant::now(),
            deal: recorder.deal(),
            recorder: Mutex::new(Some(recorder)),
            on_event,
            counts: Mutex::new(Counts::default()),
        }
    }

    /// Nanoseconds from the start of the run.
    pub fn now_ns(&self) -> u64 {
        self.at_ns(Instant::now())
    }

    /// A moment in nanoseconds from the start of the run.
    pub fn at_ns(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.origin).as_nanos() as u64
    }

    /// Records an event at this moment, and returns the moment.
    pub fn event(&self, kind: EventKind) -> u64 {
        let event = {
            let mut recorder = self.recorder.lock().expect("no holder panics");
            // Taken under the lock: events stand in the order of their times.
            let event = Event { at_ns: self.now_ns(), kind };
            if let Some(recorder) = recorder.as_mut() {
                recorder.event(event.clone());
            }
            event
        };
        (self.on_event)(&event);
        event.at_ns
    }

    /// Records an operation; of one that was not served, the outcome refers to the explanation.
    pub fn op(&self, mut op: Op, unserved: Option<Unserved<'_>>) {
        {
            let mut recorder = self.recorder.lock().expect("no holder panics");
            let Some(recorder) = recorder.as_mut() else { return };
            if let Some((outcome, explanation)) = unserved {
                op.outcome = outcome(recorder.explanation(explanation));
            }
            recorder.op(op);
        }
        self.counts.lock().expect("no holder panics").note(&op, &self.deal);
    }

    /// Hands what is old enough to the disk.
    pub fn flush(&self) {
        if let Some(recorder) = self.recorder.lock().expect("no holder panics").as_mut() {
            recorder.flush_if_due();
        }
    }

    /// How the workload has fared so far.
    pub fn counts(&self) -> Counts {
        self.counts.lock().expect("no holder panics").clone()
    }

    /// Ends the history. What is recorded afterwards, by tasks that are still ending, is dropped.
    pub fn finish(&self) -> Result<History, HistoryError> {
        let recorder = self.recorder.lock().expect("no holder panics").take();
        recorder.expect("a journal is finished once").finish(self.now_ns())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys of shard 1 (of one): the outcomes of writes that were issued at these times.
    fn after(ops: &[(u64, Outcome)]) -> Option<u64> {
        let mut counts = Counts::default();
        for &(invoke_ns, outcome) in ops {
            let op = Op {
                due_ns: invoke_ns,
                invoke_ns,
                complete_ns: invoke_ns,
                key: 1,
                value: 1,
                client: 0,
                node: 1,
                kind: OpKind::Writes,
                redirects: 0,
                outcome,
            };
            counts.note(&op, &Deal::even(1));
        }
        assert_eq!(counts.completed, ops.len() as u64);
        counts.unserved.get(&(ShardNo(1), OpKind::Writes)).copied()
    }

    #[test]
    fn what_is_not_served_is_so_until_a_later_one_is() {
        let (ok, fail, unknown) = (Outcome::Ok, Outcome::Fail(0), Outcome::Info(0));
        for (ops, expected) in [
            (vec![(1, ok), (2, ok)], None),
            (vec![(1, ok), (2, fail)], Some(2)),
            (vec![(2, unknown), (3, fail)], Some(2)),
            (vec![(2, fail), (3, ok)], None),
            // It was issued before, and answered late.
            (vec![(2, fail), (1, ok)], Some(2)),
            (vec![(2, fail), (3, ok), (4, fail)], Some(4)),
        ] {
            assert_eq!(after(&ops), expected, "{ops:?}");
        }
    }
}
