//! A history as JSON lines: the format that people and other programs read, and in which earlier versions stored histories.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::frames::{Lines, Next};
use super::reason::{Interned, intern};
use super::store::{HistoryError, LATEST_NS, LIMITS, Limits};
use super::{Detail, Event, Header, History, Op, OpParts, Outcome, Reason, SCHEMA_VERSION};
use crate::suite::OpKind;

/// What is said of a file that has none.
pub(super) const NO_HEADER: &str = "no header: this is not a history, or it was cut off at the start";

/// So many bytes are written at once.
const WRITTEN_BYTES: usize = 1 << 16;

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
    let explanation = history.explanation(op.outcome());
    let text = |is: bool| is.then(|| explanation.map_or("", |explanation| explanation.text.as_str()).into());
    let line = OpLine {
        op: match op.kind() {
            OpKind::Reads => 'r',
            OpKind::Writes => 'w',
        },
        k: op.key(),
        v: op.value(),
        c: op.client(),
        due: op.due_ns(),
        inv: op.invoke_ns(),
        end: op.complete_ns(),
        n: op.node(),
        hops: op.redirects(),
        // Earlier versions know no unsent operations and read them as failed. The reason distinguishes them.
        fail: text(matches!(op.outcome(), Outcome::Fail(_) | Outcome::Unsent(_))),
        info: text(matches!(op.outcome(), Outcome::Info(_))),
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

/// Writes a whole history: the header, then events and operations by time, of operations that of their completion. What an
/// operation has beside [`Op`] comes just before it.
///
/// # Errors
/// `to` cannot be written.
pub fn write_lines(history: &History, to: &mut impl Write) -> io::Result<()> {
    let mut lines = Vec::new();
    write_line(&mut lines, &history.header);
    let mut details = history.details.iter().peekable();
    let mut events = history.events.iter().peekable();
    for (position, op) in history.ops.iter().enumerate() {
        while let Some(event) = events.next_if(|event| event.at_ns <= op.complete_ns()) {
            write_line(&mut lines, event);
        }
        while let Some(detail) = details.next_if(|detail| detail.of as usize == position) {
            write_line(&mut lines, detail);
        }
        write_op(&mut lines, op, history);
        if lines.len() >= WRITTEN_BYTES {
            to.write_all(&lines)?;
            lines.clear();
        }
    }
    events.for_each(|event| write_line(&mut lines, event));
    to.write_all(&lines)
}

/// Reads a history from its decompressed text. If the stream was cut off, the last record may be incomplete. `path` is its
/// name in errors.
///
/// # Errors
/// The text is not a valid history of this version, or is too large.
pub fn parse(text: &[u8], cut_off: bool, path: &str) -> Result<History, HistoryError> {
    parse_lines(text, cut_off, LIMITS, path)
}

/// Reads a history from its decompressed text as [`parse`]. An error of the kind `UnexpectedEof` means that the text is cut
/// off there.
pub(super) fn parse_lines(text: impl Read, cut_off: bool, limits: Limits, path: &str) -> Result<History, HistoryError> {
    let path = || path.to_owned();
    let corrupt =
        |line: usize, message| HistoryError::Corrupt { path: path(), at: format!("line {}", line + 1), message };
    let mut lines = Lines::new(text, limits.line_bytes, limits.text_bytes);
    let mut history: Option<History> = None;
    let mut interned = Interned::default();
    let mut event_bytes = 0;
    let mut incomplete = None;
    for number in 0.. {
        let (line, is_cut) = match lines.next() {
            Next::Line(line) => (line, false),
            Next::CutOff(line) => (line, true),
            Next::End => break,
            Next::LongLine => {
                let message = format!("line {} has more than {} bytes", number + 1, limits.line_bytes);
                return Err(HistoryError::TooLarge { path: path(), message });
            }
            Next::LongText => {
                let message = format!("it has more than {} bytes", limits.text_bytes);
                return Err(HistoryError::TooLarge { path: path(), message });
            }
            Next::Failed(error) => return Err(HistoryError::Altered { path: path(), message: error.to_string() }),
        };
        // Only the last line of what was cut off may be incomplete.
        if let Some(error) = incomplete.take() {
            return Err(error);
        }
        // No history has empty lines, and billions of them compress to nothing.
        if line.is_empty() && !is_cut && history.is_some() {
            return Err(corrupt(number, "an empty line".to_owned()));
        }
        if !line.is_empty() {
            let result = match &mut history {
                None => read_header(line).map(|header| {
                    history = Some(History::new(header));
                }),
                Some(history) => {
                    if !line.starts_with(OP_START) {
                        event_bytes += line.len();
                    }
                    if let Some(message) = limits.exceeded(history, 1, event_bytes) {
                        return Err(HistoryError::TooLarge { path: path(), message });
                    }
                    read_record(line, history, &mut interned)
                }
            };
            match result.map_err(|message| corrupt(number, message)) {
                Err(error) if history.is_some() && cut_off => incomplete = Some(error),
                Err(_) if history.is_some() && is_cut => {}
                result => result?,
            }
        }
        if is_cut {
            break;
        }
    }
    let Some(mut history) = history else { return Err(corrupt(0, NO_HEADER.to_owned())) };
    // Details come before their operations, which a killed run may lack.
    let ops = history.ops.len();
    history.details.retain(|detail| (detail.of as usize) < ops);
    history.complete = history.has_end();
    Ok(history)
}

/// Reads the line of the header.
pub(super) fn read_header(line: &[u8]) -> Result<Header, String> {
    let header: Header = serde_json::from_slice(line).map_err(|error| format!("no header: {error}"))?;
    if header.schema_version != SCHEMA_VERSION {
        return Err(format!(
            "schema version {} is not supported, this slotquake reads {} (hint: use slotquake {}, which wrote it)",
            header.schema_version, SCHEMA_VERSION, header.tool_version
        ));
    }
    header.plan.impossible().map_or(Ok(header), Err)
}

/// How the line of an operation begins.
const OP_START: &[u8] = b"{\"op\":";

/// How the line of a [`Detail`] begins.
const DETAIL_START: &[u8] = b"{\"of\":";

fn read_record(line: &[u8], history: &mut History, interned: &mut Interned) -> Result<(), String> {
    if line.starts_with(OP_START) { read_op(line, history, interned) } else { read_event_or_detail(line, history) }
}

/// Reads the line of an event or of what an operation has beside [`Op`].
pub(super) fn read_event_or_detail(line: &[u8], history: &mut History) -> Result<(), String> {
    if line.starts_with(DETAIL_START) {
        let detail: Detail = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if history.details.last().is_some_and(|last| last.of >= detail.of) {
            return Err(format!("the detail of operation {} is out of order", detail.of));
        }
        history.details.push(detail);
        return Ok(());
    }
    let event: Event = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    if event.at_ns > LATEST_NS {
        return Err(format!("an event at {} ns, more than a year after the start", event.at_ns));
    }
    history.events.push(event);
    Ok(())
}

fn read_op(line: &[u8], history: &mut History, interned: &mut Interned) -> Result<(), String> {
    let line: OpLine = serde_json::from_slice(line).map_err(|error| error.to_string())?;
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
    let op = OpParts {
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
    };
    history.ops.push(Op::try_from(op).map_err(|error| error.to_string())?);
    Ok(())
}
