//! The handle by which a run writes its history.

mod recorder;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex};
use std::time::Instant;

pub use recorder::Recorder;

use crate::history::{Detail, Event, EventKind, Explanation, History, HistoryError, OpParts, Outcome, key_name};
use crate::slot::Deal;
use crate::suite::OpKind;
use crate::units::ShardNo;

/// Called with every event when it is recorded.
pub type OnEvent = Arc<dyn Fn(&Event) + Send + Sync>;

/// Writes a history from many tasks. It is the only clock of a run.
pub struct Journal {
    origin: Instant,
    recorder: Mutex<Option<Recorder>>,
    on_event: OnEvent,
    counts: Mutex<Counts>,
    deal: Deal,
}

/// The constructor of the outcome ([`Outcome::Fail`], [`Outcome::Info`] or [`Outcome::Unsent`]) and its explanation.
pub type Unserved<'a> = (fn(u16) -> Outcome, &'a Explanation);

/// The workload's counters so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Operations with any outcome.
    pub completed: u64,
    /// Operations with outcome `ok`.
    pub acknowledged: u64,
    /// The kinds of operations that shards currently do not serve, and since when: the time of issue of the first
    /// such operation, in nanoseconds from the start of the run. A served operation that was issued later ends it.
    pub unserved: BTreeMap<(ShardNo, OpKind), u64>,
}

impl Counts {
    fn add(&mut self, op: &OpParts, deal: &Deal) {
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
    /// Starts the clock of the run now.
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

    /// Converts a moment to nanoseconds from the start of the run.
    pub fn at_ns(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.origin).as_nanos() as u64
    }

    /// Records an event now and returns its time, in nanoseconds from the start of the run.
    pub fn event(&self, kind: EventKind) -> u64 {
        let event = {
            let mut recorder = self.recorder.lock().expect("no holder panics");
            // Read the clock under the lock, so that events are ordered by time.
            let event = Event { at_ns: self.now_ns(), kind };
            if let Some(recorder) = recorder.as_mut() {
                recorder.event(event.clone());
            }
            event
        };
        (self.on_event)(&event);
        event.at_ns
    }

    /// Records an operation. If it was not served, `unserved` gives its outcome.
    pub fn op(&self, op: OpParts, unserved: Option<Unserved<'_>>) {
        self.op_with(op, unserved, None);
    }

    /// Records an operation as [`Journal::op`], and what it has beside [`OpParts`].
    pub fn op_with(&self, mut op: OpParts, unserved: Option<Unserved<'_>>, detail: Option<Detail>) {
        {
            let mut recorder = self.recorder.lock().expect("no holder panics");
            let Some(recorder) = recorder.as_mut() else { return };
            if let Some((outcome, explanation)) = unserved {
                op.outcome = outcome(recorder.explanation(explanation));
            }
            recorder.op_with(op, detail);
        }
        self.counts.lock().expect("no holder panics").add(&op, &self.deal);
    }

    /// Writes buffered records to disk if they are due.
    pub fn flush(&self) {
        if let Some(recorder) = self.recorder.lock().expect("no holder panics").as_mut() {
            recorder.flush_if_due();
        }
    }

    /// The workload's counters so far.
    pub fn counts(&self) -> Counts {
        self.counts.lock().expect("no holder panics").clone()
    }

    /// Ends the history. Drops records that tasks still add afterwards.
    pub fn finish(&self) -> Result<History, HistoryError> {
        let recorder = self.recorder.lock().expect("no holder panics").take();
        recorder.expect("a journal is finished once").finish(self.now_ns())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Since when writes are unserved after these operations (time of issue, outcome) on the only shard.
    fn unserved_since(ops: &[(u64, Outcome)]) -> Option<u64> {
        let mut counts = Counts::default();
        for &(invoke_ns, outcome) in ops {
            let op = OpParts {
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
            counts.add(&op, &Deal::even(1));
        }
        assert_eq!(counts.completed, ops.len() as u64);
        counts.unserved.get(&(ShardNo(1), OpKind::Writes)).copied()
    }

    #[test]
    fn unserved_until_a_later_operation_is_served() {
        let (ok, fail, unknown) = (Outcome::Ok, Outcome::Fail(0), Outcome::Info(0));
        for (ops, expected) in [
            (vec![(1, ok), (2, ok)], None),
            (vec![(1, ok), (2, fail)], Some(2)),
            (vec![(2, unknown), (3, fail)], Some(2)),
            (vec![(2, fail), (3, ok)], None),
            // It was issued earlier and answered late.
            (vec![(2, fail), (1, ok)], Some(2)),
            (vec![(2, fail), (3, ok), (4, fail)], Some(4)),
        ] {
            assert_eq!(unserved_since(&ops), expected, "{ops:?}");
        }
    }
}
