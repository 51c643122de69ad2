//! A history on disk: JSON lines in zstd frames, written during the run.
//!
//! Each flush is one zstd frame. If the writer is killed, all frames up to the last flush can be read. A file may come from
//! anywhere, so what is read of it is bounded, and what was altered after it was written is refused.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::frames::{Lines, Next, Seal};
use super::{Detail, Event, EventKind, Explanation, Header, History, Op, OpError, OpParts, Outcome, Reason};
use crate::suite::OpKind;

/// The file of a history in the folder of a report.
pub const FILE_NAME: &str = "history.jsonl.zst";

/// Later times are rejected as corrupt. No run takes a year, and sums of earlier times fit in 64 bits.
const LATEST_NS: u64 = 366 * 24 * 3600 * 1_000_000_000;

/// What is read of a history at most. More needs more memory than a machine may have.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// The bytes of a line. The longest are views and plans of large clusters, with less than 1 MiB.
    line_bytes: u64,
    /// The bytes of all lines: the operations below, with 200 bytes each. Lines are read one by one, so this bounds time.
    text_bytes: u64,
    /// The operations, 32 bytes each in memory: more than an hour at 5000/s.
    ops: usize,
    /// The events other than operations: more than an hour of a cluster of 50 nodes.
    events: usize,
    /// The bytes of their lines. In memory they take a few times as much.
    event_bytes: usize,
}

const LIMITS: Limits = Limits {
    line_bytes: 8 << 20,
    text_bytes: 4_000_000_000,
    ops: 20_000_000,
    events: 2_000_000,
    event_bytes: 512 << 20,
};

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
    /// The file is not as it was written.
    #[error(
        "{path} was damaged or altered after it was written: {message} (hint: restore it from a copy, or run the suite again)"
    )]
    Altered {
        /// The file.
        path: String,
        /// How that shows.
        message: String,
    },
    /// The run had an operation that a history cannot hold, so the file lacks it.
    #[error("{path} lacks {error} (hint: was slotquake or the machine suspended during the run?)")]
    Unfit {
        /// The file.
        path: String,
        /// The first such operation.
        error: OpError,
    },
    /// The file holds more than slotquake reads.
    #[error("{path} is too large to judge: {message} (hint: run the suite at a lower rate or with shorter steps)")]
    TooLarge {
        /// The file.
        path: String,
        /// The limit that it exceeds.
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
/// The file cannot be read, is not a valid history of this version, was altered, or is too large.
pub fn read(folder: &Path) -> Result<History, HistoryError> {
    read_within(folder, LIMITS)
}

fn read_within(folder: &Path, limits: Limits) -> Result<History, HistoryError> {
    let path = folder.join(FILE_NAME);
    let io = |error| HistoryError::io(&path, error);
    let altered =
        |message: &str| HistoryError::Altered { path: path.display().to_string(), message: message.to_owned() };
    let mut file = File::open(&path).map_err(io)?;
    let seal = Seal::of(&mut file).map_err(io)?;
    if seal == Seal::Broken {
        return Err(altered("its checksum does not match"));
    }
    let decoder = zstd::Decoder::new(file).map_err(io)?;
    let history = parse_lines(decoder, false, limits, &path.display().to_string())?;
    // A killed run has no checksum at its end, but it does not record its end either.
    if history.complete && seal == Seal::Missing {
        return Err(altered("the checksum at its end is missing"));
    }
    Ok(history)
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
fn parse_lines(text: impl Read, cut_off: bool, limits: Limits, path: &str) -> Result<History, HistoryError> {
    let path = || path.to_owned();
    let corrupt = |line: usize, message: String| HistoryError::Corrupt { path: path(), line: line + 1, message };
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
                None => header(line).map(|header| {
                    history = Some(History::new(header));
                }),
                Some(history) => {
                    if !line.starts_with(OP_START) {
                        event_bytes += line.len();
                    }
                    if let Some(message) = limits.exceeded(history, event_bytes) {
                        return Err(HistoryError::TooLarge { path: path(), message });
                    }
                    parse_record(line, history, &mut interned)
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
    let Some(mut history) = history else {
        return Err(corrupt(0, "no header: this is not a history, or it was cut off at the start".to_owned()));
    };
    // Details come before their operations, which a killed run may lack.
    let ops = history.ops.len();
    history.details.retain(|detail| (detail.of as usize) < ops);
    history.complete = matches!(history.events.last(), Some(Event { kind: EventKind::End, .. }));
    Ok(history)
}

impl Limits {
    /// The limit that a history exceeds with one more record.
    fn exceeded(&self, history: &History, event_bytes: usize) -> Option<String> {
        if history.ops.len() >= self.ops {
            Some(format!("it has more than {} operations", self.ops))
        } else if history.events.len() >= self.events {
            Some(format!("it has more than {} events", self.events))
        } else if event_bytes > self.event_bytes {
            Some(format!("its events have more than {} bytes", self.event_bytes))
        } else {
            None
        }
    }
}

fn header(line: &[u8]) -> Result<Header, String> {
    let header: Header = serde_json::from_slice(line).map_err(|error| format!("no header: {error}"))?;
    if header.schema_version != super::SCHEMA_VERSION {
        return Err(format!(
            "schema version {} is not supported, this slotquake reads {} (hint: use slotquake {}, which wrote it)",
            header.schema_version,
            super::SCHEMA_VERSION,
            header.tool_version
        ));
    }
    header.plan.impossible().map_or(Ok(header), Err)
}

/// How the line of an operation begins.
const OP_START: &[u8] = b"{\"op\":";

/// How the line of a [`Detail`] begins.
const DETAIL_START: &[u8] = b"{\"of\":";

fn parse_record(line: &[u8], history: &mut History, interned: &mut Interned) -> Result<(), String> {
    let malformed = |error: serde_json::Error| error.to_string();
    if line.starts_with(DETAIL_START) {
        let detail: Detail = serde_json::from_slice(line).map_err(malformed)?;
        if history.details.last().is_some_and(|last| last.of >= detail.of) {
            return Err(format!("the detail of operation {} is out of order", detail.of));
        }
        history.details.push(detail);
        return Ok(());
    }
    if !line.starts_with(OP_START) {
        let event: Event = serde_json::from_slice(line).map_err(malformed)?;
        if event.at_ns > LATEST_NS {
            return Err(format!("an event at {} ns, more than a year after the start", event.at_ns));
        }
        history.events.push(event);
        return Ok(());
    }
    let line: OpLine = serde_json::from_slice(line).map_err(malformed)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Frames;

    /// A history that an earlier version stored.
    fn folder() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stored/formation-redis-6.2")
    }

    /// The text of that history, up to its last line.
    fn text() -> String {
        let bytes = std::fs::read(folder().join(FILE_NAME)).expect("it is stored");
        String::from_utf8(zstd::decode_all(bytes.as_slice()).expect("it decompresses")).expect("JSON is UTF-8")
    }

    /// The text in parts of whole lines, as a run writes it.
    fn chunks(text: &str) -> Vec<String> {
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        lines.chunks(200).map(<[&str]>::concat).collect()
    }

    #[test]
    fn large_histories_are_refused_with_the_limit() {
        let read = |limits| read_within(&folder(), limits);
        let expected = [
            (Limits { line_bytes: 2000, ..LIMITS }, "line 1 has more than 2000 bytes"),
            (Limits { text_bytes: 20_000, ..LIMITS }, "it has more than 20000 bytes"),
            (Limits { ops: 5, ..LIMITS }, "it has more than 5 operations"),
            (Limits { events: 5, ..LIMITS }, "it has more than 5 events"),
            (Limits { event_bytes: 5000, ..LIMITS }, "its events have more than 5000 bytes"),
        ];
        for (limits, expected) in expected {
            let error = read(limits).expect_err(expected).to_string();
            assert!(error.contains(&format!("is too large to judge: {expected} (hint: ")), "{error}");
        }
        read(LIMITS).expect("it is within the limits");
    }

    /// Stores the start of a history, then a chunk many times, and reads it.
    fn bomb(chunk: &[u8], times: usize) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let text = text();
        let header = text.lines().next().expect("a header");
        let mut frames = Frames::default();
        let mut bytes = frames.frame(format!("{header}\n").as_bytes()).expect("compressed");
        let frame = frames.frame(chunk).expect("compressed");
        (0..times).for_each(|_| bytes.extend(&frame));
        assert!(bytes.len() < 2 << 20, "{} bytes", bytes.len());
        std::fs::write(folder.path().join(FILE_NAME), bytes).expect("written");
        read(folder.path()).expect_err("too large").to_string()
    }

    #[test]
    fn a_small_file_with_a_huge_text_is_refused() {
        let spaces = vec![b' '; 16 << 20];
        let newlines = vec![b'\n'; 16 << 20];
        for (chunk, expected) in [(spaces, "line 2 has more than 8388608 bytes"), (newlines, "line 2: an empty line")] {
            let error = bomb(&chunk, 500);
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(FILE_NAME);
        let text = text();
        let mut frames = Frames::default();
        let mut bytes = Vec::new();
        for chunk in chunks(&text) {
            bytes.extend(frames.frame(chunk.as_bytes()).expect("compressed"));
        }
        bytes.extend(frames.seal());
        std::fs::write(&path, &bytes).expect("written");
        assert_eq!(read(folder.path()).expect("it reads"), read(&self::folder()).expect("it reads"));
        let bits = bytes.len() * 8;
        // Bits of the start, of the checksum at the end, and 250 between.
        let between = (0..250).map(|number| number * bits / 250);
        for bit in (0..40).chain(between).chain(bits - 8 * 20..bits) {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, altered).expect("written");
            let error = read(folder.path()).expect_err(&format!("bit {bit} of {bits}")).to_string();
            assert!(error.contains("was damaged or altered"), "bit {bit} of {bits}: {error}");
        }
    }

    #[test]
    fn a_killed_run_is_read_up_to_the_cut() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(FILE_NAME);
        let text = text();
        let mut frames = Frames::default();
        let whole: Vec<Vec<u8>> =
            chunks(&text).iter().map(|chunk| frames.frame(chunk.as_bytes()).expect("compressed")).collect();
        let ops = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("written");
            let history = read(folder.path()).expect("it reads");
            assert!(!history.complete);
            history.ops.len() + history.events.len()
        };
        let all = whole.concat();
        let cut = ops(&all[..all.len() - whole[whole.len() - 1].len() - 300]);
        assert!(cut > 0 && cut < ops(&all[..all.len() - whole[whole.len() - 1].len()]));
    }
}
