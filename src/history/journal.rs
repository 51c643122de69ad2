//! The handle by which a run writes its history.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::{Event, EventKind, History, HistoryError, Op, Outcome, Recorder};

/// Is shown every event as it is recorded.
pub type OnEvent = Arc<dyn Fn(&Event) + Send + Sync>;

/// Writes a history from many tasks; the only clock of a run.
pub struct Journal {
    origin: Instant,
    recorder: Mutex<Option<Recorder>>,
    on_event: OnEvent,
    counts: Mutex<Counts>,
}

/// [`Outcome::Fail`] or [`Outcome::Info`], and the text that it refers to.
pub type Unserved<'a> = (fn(u16) -> Outcome, &'a str);

/// How many operations were completed so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// With any outcome.
    pub completed: u64,
    /// Acknowledged.
    pub acknowledged: u64,
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

    /// Records an operation; of one that was not served, the outcome is made of the text.
    pub fn op(&self, mut op: Op, unserved: Option<Unserved<'_>>) {
        {
            let mut recorder = self.recorder.lock().expect("no holder panics");
            let Some(recorder) = recorder.as_mut() else { return };
            if let Some((outcome, reason)) = unserved {
                op.outcome = outcome(recorder.reason(reason));
            }
            recorder.op(op);
        }
        let mut counts = self.counts.lock().expect("no holder panics");
        counts.completed += 1;
        counts.acknowledged += u64::from(op.outcome == Outcome::Ok);
    }

    /// Hands what is old enough to the disk.
    pub fn flush(&self) {
        if let Some(recorder) = self.recorder.lock().expect("no holder panics").as_mut() {
            recorder.flush_if_due();
        }
    }

    /// How many operations were completed so far.
    pub fn counts(&self) -> Counts {
        *self.counts.lock().expect("no holder panics")
    }

    /// Ends the history. What is recorded afterwards, by tasks that are still ending, is dropped.
    pub fn finish(&self) -> Result<History, HistoryError> {
        let recorder = self.recorder.lock().expect("no holder panics").take();
        recorder.expect("a journal is finished once").finish(self.now_ns())
    }
}
