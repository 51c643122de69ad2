//! A history on disk: JSON lines in zstd frames, written during the run.
//!
//! Each flush is one zstd frame. If the writer is killed, all frames up to the last flush can be read.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Event, EventKind, Explanation, Header, History, Op, Outcome, Reason};
use crate::suite::OpKind;

/// The file of a history in the folder of a report.
pub const FILE_NAME: &str = "history.jsonl.zst";

/// Later times are rejected as corrupt. No run takes a year, and sums of earlier times fit in 64 bits.
const LATEST_NS: u64 = 366 * 24 * 3600 * 1_000_000_000;

/// Why a history could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// A call of the file system failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The file is not a valid history of this version.
    #[error("{path}, line {line}: {message}")]
    Corrupt {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
}

impl HistoryError {
    /// Adds the path to an error of the file system.
    pub fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.display().to_string(), source }
    }
}

/// An operation in the file. The names are short, because there are many operations.
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
    /// Missing in histories of earlier versions, which have only the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<Reason>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u8) -> bool {
    *number == 0
}

/// Appends the line of an operation to a buffer. The text of its reason comes from the history.
pub fn write_op(buffer: &mut Vec<u8>, op: &Op, history: &History) {
    let explanation = history.explanation(op.outcome);
    let text = |is: bool| is.then(|| explanation.map_or("", |explanation| explanation.text.as_str()).into());
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
        // Earlier versions know no unsent operations and read them as failed. The reason distinguishes them.
        fail: text(matches!(op.outcome, Outcome::Fail(_) | Outcome::Unsent(_))),
        info: text(matches!(op.outcome, Outcome::Info(_))),
        why: explanation.map(|explanation| explanation.reason),
    };
    write_line(buffer, &line);
}

/// Appends the line of a record to a buffer.
///
/// # Panics
/// If the record is not valid JSON, which is a bug: all maps in records have string keys.
pub fn write_line(buffer: &mut Vec<u8>, record: &impl Serialize) {
    serde_json::to_writer(&mut *buffer, record).expect("records have string keys and write to memory");
    buffer.push(b'\n');
}

/// The positions of explanations in [`History::reasons`].
#[derive(Debug, Default)]
pub struct Interned(HashMap<Reason, HashMap<String, u16>>);

/// The position of an explanation in `reasons`. Adds the explanation if it is new.
pub fn intern(interned: &mut Interned, reasons: &mut Vec<Explanation>, reason: Reason, text: &str) -> u16 {
    let of_reason = interned.0.entry(reason).or_default();
    if let Some(&position) = of_reason.get(text) {
        return position;
    }
    // After 65536 different texts, another text of the same reason is used.
    let Ok(position) = u16::try_from(reasons.len()) else {
        return of_reason.values().min().copied().unwrap_or(u16::MAX);
    };
    reasons.push(Explanation::new(reason, text));
    of_reason.insert(text.to_owned(), position);
    position
}

/// Reads a history from the folder of a report. The history of a killed run is read as far as it goes, and is not `complete`.
///
/// # Errors
/// The file cannot be read, or is not a valid history of this version.
pub fn read(folder: &Path) -> Result<History, HistoryError> {
    let path = folder.join(FILE_NAME);
    let file = File::open(&path).map_err(|error| HistoryError::io(&path, error))?;
    let mut text = Vec::new();
    let mut decoder = zstd::Decoder::new(file).map_err(|error| HistoryError::io(&path, error))?;
    let cut_off = decoder.read_to_end(&mut text).is_err();
    parse(&text, cut_off, &path.display().to_string())
}

/// Reads a history from its decompressed text. If the stream was cut off, the last record may be incomplete. `path` is its
/// name in errors.
///
/// # Errors
/// The text is not a valid history of this version.
pub fn parse(text: &[u8], cut_off: bool, path: &str) -> Result<History, HistoryError> {
    let corrupt =
        |line: usize, message: String| HistoryError::Corrupt { path: path.to_owned(), line: line + 1, message };
    let mut lines = text.split(|&byte| byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()).peekable();
    let Some((_, first)) = lines.next() else {
        return Err(corrupt(0, "no header: this is not a history, or it was cut off at the start".to_owned()));
    };
    let header: Header = serde_json::from_slice(first).map_err(|error| corrupt(0, format!("no header: {error}")))?;
    if header.schema_version != super::SCHEMA_VERSION {
        return Err(corrupt(
            0,
            format!(
                "schema version {} is not supported, this slotquake reads {} (hint: use slotquake {}, which wrote it)",
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
    let mut interned = Interned::default();
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

fn parse_record(line: &[u8], history: &mut History, interned: &mut Interned) -> Result<(), String> {
    let malformed = |error: serde_json::Error| error.to_string();
    if !line.starts_with(b"{\"op\":") {
        let event: Event = serde_json::from_slice(line).map_err(malformed)?;
        if event.at_ns > LATEST_NS {
            return Err(format!("an event at {} ns, more than a year after the start", event.at_ns));
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
    let mut position = |reason: Reason, text: &str| intern(interned, &mut history.reasons, reason, text);
    let reason = |text: &str| line.why.unwrap_or_else(|| Reason::of_text(text));
    let outcome = match (&line.fail, &line.info) {
        (Some(text), _) => match reason(text) {
            Reason::NoFreeKey => Outcome::Unsent(position(Reason::NoFreeKey, text)),
            reason => Outcome::Fail(position(reason, text)),
        },
        (None, Some(text)) => Outcome::Info(position(reason(text), text)),
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
