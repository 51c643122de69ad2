//! A history on disk: JSON lines in zstd frames, written while the run goes on.
//!
//! Each flush is a zstd frame of its own, so a stream that the death of its writer cut off is whole
//! up to the last flush, and every frame before the cut can be read.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Event, EventKind, Header, History, Op, Outcome};
use crate::slot::Deal;
use crate::suite::OpKind;

/// The name of a history's file in a report's folder.
pub const FILE_NAME: &str = "history.jsonl.zst";

/// A buffer of this size is handed to the writer even before [`FLUSH_EVERY`].
const FLUSH_BYTES: usize = 256 * 1024;

/// A crash loses at most the records of this span.
const FLUSH_EVERY: Duration = Duration::from_millis(200);

/// No run takes a year: later times are damage, and sums of earlier ones stay within 64 bits.
const LATEST_NS: u64 = 366 * 24 * 3600 * 1_000_000_000;

/// Records are small and alike: the fastest level already shrinks them about tenfold.
const COMPRESSION_LEVEL: i32 = 1;

/// Why a history could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a history of ours.
    #[error("{path}, line {line}: {message}")]
    Corrupt {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
}

impl HistoryError {
    fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.display().to_string(), source }
    }
}

/// An operation as it stands in the file; short names, since there are many.
#[derive(Serialize, Deserialize)]
struct OpLine<'a> {
    op: char,
    k: u32,
    v: u32,
    c: u16,
    due: u64,
    inv: u64,
    end: u64,
    n: u16,
    #[serde(default, skip_serializing_if = "is_zero")]
    hops: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fail: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    info: Option<std::borrow::Cow<'a, str>>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u8) -> bool {
    *number == 0
}

/// Keeps a history in memory and streams it to disk. Operations and events must be given in the
/// order of their times of completion.
#[derive(Debug)]
pub struct Recorder {
    history: History,
    interned: HashMap<String, u16>,
    buffer: Vec<u8>,
    flushed_at: Instant,
    chunks: Option<SyncSender<Vec<u8>>>,
    writer: Option<JoinHandle<std::io::Result<()>>>,
    path: PathBuf,
}

impl Recorder {
    /// How the slots of the run's cluster are dealt.
    pub(super) fn deal(&self) -> Deal {
        self.history.header.plan.deal()
    }

    /// Begins a history in `folder`.
    pub fn create(folder: &Path, header: Header) -> Result<Self, HistoryError> {
        let path = folder.join(FILE_NAME);
        let mut file = File::create(&path).map_err(|error| HistoryError::io(&path, error))?;
        // Before anything happens: whatever cuts the history off, it says of what it is.
        let mut line = Vec::new();
        write_line(&mut line, &header);
        write_frame(&mut file, &line).map_err(|error| HistoryError::io(&path, error))?;
        let (chunks, received) = sync_channel(64);
        let writer = std::thread::Builder::new()
            .name("slotquake-history".to_owned())
            .spawn(move || write_frames(file, &received))
            .map_err(|error| HistoryError::io(&path, error))?;
        Ok(Self {
            history: History { header, ops: Vec::new(), reasons: Vec::new(), events: Vec::new(), complete: false },
            interned: HashMap::new(),
            buffer: Vec::with_capacity(FLUSH_BYTES),
            flushed_at: Instant::now(),
            chunks: Some(chunks),
            writer: Some(writer),
            path,
        })
    }

    /// The number by which [`Outcome`]s refer to a text.
    pub fn reason(&mut self, text: &str) -> u16 {
        intern(&mut self.interned, &mut self.history.reasons, text)
    }

    /// Records an operation.
    pub fn op(&mut self, op: Op) {
        let line = OpLine {
            op: match op.kind {
                OpKind::Reads => 'r',
                OpKind::Writes => 'w',
            },
            k: op.key,
            v: op.value,
            c: op.client,
            due: op.due_ns,
            inv: op.invoke_ns,
            end: op.complete_ns,
            n: op.node,
            hops: op.redirects,
            fail: matches!(op.outcome, Outcome::Fail(_)).then(|| self.history.reason(op.outcome).unwrap_or("").into()),
            info: matches!(op.outcome, Outcome::Info(_)).then(|| self.history.reason(op.outcome).unwrap_or("").into()),
        };
        write_line(&mut self.buffer, &line);
        self.history.ops.push(op);
        self.flush_if_due();
    }

    /// Records an event.
    pub fn event(&mut self, event: Event) {
        write_line(&mut self.buffer, &event);
        self.history.events.push(event);
        self.flush_if_due();
    }

    /// Hands over what is older than the flush interval; to be called now and then even when
    /// nothing is recorded.
    pub fn flush_if_due(&mut self) {
        if self.buffer.len() >= FLUSH_BYTES || self.flushed_at.elapsed() >= FLUSH_EVERY {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.flushed_at = Instant::now();
        if self.buffer.is_empty() {
            return;
        }
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(FLUSH_BYTES));
        if let Some(chunks) = &self.chunks {
            // A writer that is gone has failed; `finish` says why.
            let _ = chunks.send(chunk);
        }
    }

    /// Ends the history with [`EventKind::End`] and waits until all of it is on disk.
    pub fn finish(mut self, at_ns: u64) -> Result<History, HistoryError> {
        self.event(Event { at_ns, kind: EventKind::End });
        self.history.complete = true;
        self.close()?;
        Ok(self.history)
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

fn write_line(buffer: &mut Vec<u8>, record: &impl Serialize) {
    serde_json::to_writer(&mut *buffer, record).expect("records have string keys and write to memory");
    buffer.push(b'\n');
}

fn write_frames(mut file: File, chunks: &Receiver<Vec<u8>>) -> std::io::Result<()> {
    for chunk in chunks {
        write_frame(&mut file, &chunk)?;
    }
    file.flush()
}

fn write_frame(file: &mut File, chunk: &[u8]) -> std::io::Result<()> {
    file.write_all(&zstd::bulk::compress(chunk, COMPRESSION_LEVEL)?)
}

fn intern(interned: &mut HashMap<String, u16>, reasons: &mut Vec<String>, text: &str) -> u16 {
    if let Some(&number) = interned.get(text) {
        return number;
    }
    // Beyond 65535 different texts the last one stands for the rest.
    let Ok(number) = u16::try_from(reasons.len()) else { return u16::MAX };
    reasons.push(text.to_owned());
    interned.insert(text.to_owned(), number);
    number
}

/// Reads a history from a report's folder (`history.jsonl.zst`). A stream that was cut off by the
/// death of its writer is read up to the cut, and is not `complete`.
pub fn read(folder: &Path) -> Result<History, HistoryError> {
    let path = folder.join(FILE_NAME);
    let file = File::open(&path).map_err(|error| HistoryError::io(&path, error))?;
    let mut text = Vec::new();
    let mut decoder = zstd::Decoder::new(file).map_err(|error| HistoryError::io(&path, error))?;
    let cut_off = decoder.read_to_end(&mut text).is_err();
    parse(&text, cut_off, &path.display().to_string())
}

/// Reads a history from its decompressed text. Where the stream was cut off, half a record may stand at
/// its end. `path` is what errors call it.
pub fn parse(text: &[u8], cut_off: bool, path: &str) -> Result<History, HistoryError> {
    let corrupt =
        |line: usize, message: String| HistoryError::Corrupt { path: path.to_owned(), line: line + 1, message };
    let mut lines = text.split(|&byte| byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()).peekable();
    let Some((_, first)) = lines.next() else {
        return Err(corrupt(0, "no header; this is not a history, or it was cut off at once".to_owned()));
    };
    let header: Header = serde_json::from_slice(first).map_err(|error| corrupt(0, format!("no header: {error}")))?;
    if header.schema_version != super::SCHEMA_VERSION {
        return Err(corrupt(
            0,
            format!(
                "schema version {} cannot be read by this slotquake, which reads {} (hint: use the version {} that wrote it)",
                header.schema_version,
                super::SCHEMA_VERSION,
                header.tool_version
            ),
        ));
    }
    if let Some(message) = header.plan.impossible() {
        return Err(corrupt(0, message));
    }
    let mut history = History { header, ops: Vec::new(), reasons: Vec::new(), events: Vec::new(), complete: false };
    let mut interned = HashMap::new();
    while let Some((number, line)) = lines.next() {
        let result = parse_record(line, &mut history, &mut interned);
        let last = lines.peek().is_none();
        match result {
            Err(_) if last && cut_off => break,
            result => result.map_err(|message| corrupt(number, message))?,
        }
    }
    history.complete = matches!(history.events.last(), Some(Event { kind: EventKind::End, .. }));
    Ok(history)
}

fn parse_record(line: &[u8], history: &mut History, interned: &mut HashMap<String, u16>) -> Result<(), String> {
    let malformed = |error: serde_json::Error| error.to_string();
    if !line.starts_with(b"{\"op\":") {
        let event: Event = serde_json::from_slice(line).map_err(malformed)?;
        if event.at_ns > LATEST_NS {
            return Err(format!("an event at {} ns, which is years after the start", event.at_ns));
        }
        history.events.push(event);
        return Ok(());
    }
    let line: OpLine = serde_json::from_slice(line).map_err(malformed)?;
    if line.due.max(line.inv) > line.end || line.end > LATEST_NS {
        return Err(format!(
            "an operation due at {} ns, issued at {} and completed at {}",
            line.due, line.inv, line.end
        ));
    }
    let mut number = |text: &str| intern(interned, &mut history.reasons, text);
    let outcome = match (&line.fail, &line.info) {
        (Some(reason), _) => Outcome::Fail(number(reason)),
        (None, Some(reason)) => Outcome::Info(number(reason)),
        (None, None) => Outcome::Ok,
    };
    history.ops.push(Op {
        due_ns: line.due,
        invoke_ns: line.inv,
        complete_ns: line.end,
        key: line.k,
        value: line.v,
        client: line.c,
        node: line.n,
        kind: if line.op == 'w' { OpKind::Writes } else { OpKind::Reads },
        redirects: line.hops,
        outcome,
    });
    Ok(())
}
