//! Keeps a history in memory and streams it to disk during the run.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::history::{
    BLOCK_OPS, Blocks, Detail, Event, EventKind, Explanation, FILE_NAME, Header, History, HistoryError, Interned, Op,
    OpError, OpParts, intern, write_line, write_reason,
};
use crate::slot::Deal;

/// Text of this size goes to the writer even before [`FLUSH_EVERY`], as do [`BLOCK_OPS`] operations.
const FLUSH_BYTES: usize = 256 * 1024;

/// How many chunks may wait for the writer. A chunk takes up to half a megabyte.
const WAITING_CHUNKS: usize = 32;

/// The flush interval. A crash loses at most the records of one interval.
const FLUSH_EVERY: Duration = Duration::from_millis(200);

/// What a flush gives to the writer.
struct Chunk {
    /// Everything but operations, as lines.
    text: Vec<u8>,
    ops: Vec<Op>,
}

/// Keeps a history in memory and streams it to disk. Record operations and events in the order of their
/// completion.
#[derive(Debug)]
pub struct Recorder {
    history: History,
    interned: Interned,
    /// What is not flushed yet, except operations and reasons.
    text: Vec<u8>,
    /// How many operations are flushed.
    flushed_ops: usize,
    /// How many reasons are flushed.
    flushed_reasons: usize,
    flushed_at: Instant,
    chunks: Option<SyncSender<Chunk>>,
    writer: Option<JoinHandle<std::io::Result<()>>>,
    path: PathBuf,
    /// Why the first operation that the history cannot hold does not fit.
    unfit: Option<OpError>,
}

impl Recorder {
    /// How the slots are distributed over the shards.
    pub(super) fn deal(&self) -> Deal {
        self.history.header.plan.deal()
    }

    /// Starts a history in `folder`.
    pub fn create(folder: &Path, header: Header) -> Result<Self, HistoryError> {
        let path = folder.join(FILE_NAME);
        let mut file = File::create(&path).map_err(|error| HistoryError::io(&path, error))?;
        // Write the header at once, so that even a truncated history has one.
        let mut blocks = Blocks::default();
        let begun = blocks.begin(&header).and_then(|bytes| file.write_all(&bytes));
        begun.map_err(|error| HistoryError::io(&path, error))?;
        let (chunks, received) = sync_channel(WAITING_CHUNKS);
        let writer = std::thread::Builder::new()
            .name("slotquake-history".to_owned())
            .spawn(move || write_chunks(file, blocks, &received))
            .map_err(|error| HistoryError::io(&path, error))?;
        Ok(Self {
            history: History::new(header),
            interned: Interned::default(),
            text: Vec::new(),
            flushed_ops: 0,
            flushed_reasons: 0,
            flushed_at: Instant::now(),
            chunks: Some(chunks),
            writer: Some(writer),
            path,
            unfit: None,
        })
    }

    /// Stores an explanation and returns the number by which outcomes refer to it.
    pub fn explanation(&mut self, explanation: &Explanation) -> u16 {
        intern(&mut self.interned, &mut self.history.reasons, explanation.reason, &explanation.text)
    }

    /// Records an operation. If a history cannot hold it, [`Recorder::finish`] says so.
    pub fn op(&mut self, op: OpParts) {
        self.op_with(op, None);
    }

    /// Records an operation as [`Recorder::op`], and what it has beside [`OpParts`].
    pub fn op_with(&mut self, op: OpParts, detail: Option<Detail>) {
        let op = match Op::try_from(op) {
            Ok(op) => op,
            Err(error) => {
                self.unfit.get_or_insert(error);
                return;
            }
        };
        if let Some(detail) = detail {
            let detail = Detail { of: self.history.ops.len() as u32, ..detail };
            write_line(&mut self.text, &detail);
            self.history.details.push(detail);
        }
        self.history.ops.push(op);
        self.flush_if_due();
    }

    /// Records an event.
    pub fn event(&mut self, event: Event) {
        write_line(&mut self.text, &event);
        self.history.events.push(event);
        self.flush_if_due();
    }

    /// Flushes if the buffer is full or the flush interval has passed. Call it regularly, even when nothing is
    /// recorded.
    pub fn flush_if_due(&mut self) {
        let is_full = self.text.len() >= FLUSH_BYTES || self.history.ops.len() - self.flushed_ops >= BLOCK_OPS;
        if is_full || self.flushed_at.elapsed() >= FLUSH_EVERY {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.flushed_at = Instant::now();
        let (ops, reasons) = (&self.history.ops[self.flushed_ops..], &self.history.reasons[self.flushed_reasons..]);
        for reason in reasons {
            write_reason(&mut self.text, reason);
        }
        if self.text.is_empty() && ops.is_empty() {
            return;
        }
        let chunk = Chunk { text: std::mem::take(&mut self.text), ops: ops.to_vec() };
        (self.flushed_ops, self.flushed_reasons) = (self.history.ops.len(), self.history.reasons.len());
        if let Some(chunks) = &self.chunks {
            // If the writer has failed, `finish` reports why.
            let _ = chunks.send(chunk);
        }
    }

    /// Ends the history with [`EventKind::End`] and waits until it is on disk.
    pub fn finish(mut self, at_ns: u64) -> Result<History, HistoryError> {
        self.event(Event { at_ns, kind: EventKind::End });
        self.history.complete = true;
        self.close()?;
        match self.unfit {
            Some(error) => Err(HistoryError::Unfit { path: self.path.display().to_string(), error }),
            None => Ok(self.history),
        }
    }

    fn close(&mut self) -> Result<(), HistoryError> {
        self.flush();
        self.chunks = None;
        match self.writer.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => Err(HistoryError::io(&self.path, error)),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            Some(Ok(Ok(()))) | None => Ok(()),
        }
    }
}

/// Writes each chunk, then the checksum of all of them.
fn write_chunks(mut file: File, mut blocks: Blocks, chunks: &Receiver<Chunk>) -> std::io::Result<()> {
    for chunk in chunks {
        file.write_all(&blocks.block(&chunk.text, &chunk.ops)?)?;
    }
    file.write_all(&blocks.seal())?;
    file.flush()
}
