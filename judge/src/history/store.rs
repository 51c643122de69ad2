//! A history on disk: JSON lines in zstd frames, written while the run goes on.
//!
//! Each flush is a zstd frame of its own, so a stream that the death of its writer cut off is whole
//! up to the last flush, and every frame before the cut can be read.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Event, EventKind, Explanation, Header, History, Op, Outcome, Reason};
use crate::suite::OpKind;

/// The name of a history's file in a report's folder.
pub const FILE_NAME: &str = "history.jsonl.zst";

/// No run takes a year: later times are damage, and sums of earlier ones stay within 64 bits.
const LATEST_NS: u64 = 366 * 24 * 3600 * 1_000_000_000;

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
    /// The file system refused.
    pub fn io(path: &Path, source: std::io::Error) -> Self {
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
    /// Earlier versions wrote the text alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<Reason>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u8) -> bool {
    *number == 0
}

/// Appends an operation's line to a buffer; its reason's text is the history's.
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
        // Not served either way; the reason tells what was not sent, so that earlier versions read it, too.
        fail: text(matches!(op.outcome, Outcome::Fail(_) | Outcome::Unsent(_))),
        info: text(matches!(op.outcome, Outcome::Info(_))),
        why: explanation.map(|explanation| explanation.reason),
    };
    write_line(buffer, &line);
}

/// Appends a record's line to a buffer.
///
/// # Panics
/// If the record cannot be JSON: a record has string keys.
pub fn write_line(buffer: &mut Vec<u8>, record: &impl Serialize) {
    serde_json::to_writer(&mut *buffer, record).expect("records have string keys and write to memory");
    buffer.push(b'\n');
}

/// The positions of the explanations that outcomes refer to.
#[derive(Debug, Default)]
pub struct Interned(HashMap<Reason, HashMap<String, u16>>);

/// The position of an explanation among those that outcomes refer to; a new one is added.
pub fn intern(interned: &mut Interned, reasons: &mut Vec<Explanation>, reason: Reason, text: &str) -> u16 {
    let of_reason = interned.0.entry(reason).or_default();
    if let Some(&position) = of_reason.get(text) {
        return position;
    }
    // Beyond 65536 different texts, one of the same reason stands for the rest.
    let Ok(position) = u16::try_from(reasons.len()) else {
        return of_reason.values().min().copied().unwrap_or(u16::MAX);
    };
    reasons.push(Explanation::new(reason, text));
    of_reason.insert(text.to_owned(), position);
    position
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
