//! A history in format 2: operations in columns, everything else as JSON lines.
//!
//! Each frame holds the length of its text, the text, and a block of operations, either of which may be empty. The lines of
//! the text are events, what operations of the block have beside their columns, and the reasons that are new in the block.
//! The first frame has the version of the format and the header instead.

use std::io::{self, Read};
use std::sync::mpsc::sync_channel;

use serde::{Deserialize, Serialize};

use super::columns::{self, Decoder, Expected, read_number, write_number};
use super::frames::{Frame, FrameReader, Frames};
use super::lines::{NO_HEADER, read_event_or_detail, read_header, write_line};
use super::store::{HistoryError, LIMITS, Limits};
use super::{Explanation, Header, History, Op, Reason};

/// What the first frame begins with, before the version.
const NAME: &[u8] = b"slotquake history ";

/// The version of this format. In format 1 everything is lines.
const FORMAT: u32 = 2;

/// The most reasons of a history: an operation has 16 bits for their position.
const MOST_REASONS: usize = 1 << 16;

/// So many decompressed bytes are handed over at once at least, because handing over takes some microseconds.
const BATCH_BYTES: usize = 1 << 16;

/// How many such batches may wait to be read.
const WAITING_BATCHES: usize = 4;

/// How the line of a reason begins.
const REASON_START: &[u8] = b"{\"reason\":";

/// The line of a reason.
#[derive(Serialize, Deserialize)]
struct ReasonLine<'a> {
    reason: Reason,
    text: std::borrow::Cow<'a, str>,
}

/// Makes the bytes of a history in format 2, from its beginning to its end.
#[derive(Debug, Default)]
pub struct Blocks {
    frames: Frames,
    expected: Expected,
}

impl Blocks {
    /// The first bytes: the header.
    ///
    /// # Errors
    /// There is no memory left.
    pub fn begin(&mut self, header: &Header) -> io::Result<Vec<u8>> {
        let mut content = [NAME, FORMAT.to_string().as_bytes(), b"\n"].concat();
        write_line(&mut content, header);
        self.frames.frame(&[content])
    }

    /// The next bytes: lines of [`write_line`] and [`write_reason`], and up to [`BLOCK_OPS`](super::BLOCK_OPS) operations that
    /// follow those before. Their reasons and details are in these lines or earlier ones.
    ///
    /// # Errors
    /// There is no memory left.
    ///
    /// # Panics
    /// There are too many operations.
    pub fn block(&mut self, text: &[u8], ops: &[Op]) -> io::Result<Vec<u8>> {
        self.frames.frame(&parts(text, ops, &mut self.expected))
    }

    /// The last bytes: the checksum of all before.
    pub fn seal(self) -> Vec<u8> {
        self.frames.seal()
    }
}

/// The content of a frame, in the parts that are compressed one by one.
fn parts(text: &[u8], ops: &[Op], expected: &mut Expected) -> Vec<Vec<u8>> {
    let mut lines = Vec::with_capacity(text.len() + 10);
    write_number(&mut lines, text.len() as u64);
    lines.extend_from_slice(text);
    let mut parts = vec![lines];
    parts.extend(columns::encode(ops, expected));
    parts
}

/// Appends the line of a reason to a buffer. Outcomes refer to reasons by their order.
pub fn write_reason(buffer: &mut Vec<u8>, explanation: &Explanation) {
    write_line(buffer, &ReasonLine { reason: explanation.reason, text: explanation.text.as_str().into() });
}

/// Why a frame cannot be read.
enum Problem {
    Corrupt(String),
    TooLarge(String),
}

impl From<String> for Problem {
    fn from(message: String) -> Self {
        Self::Corrupt(message)
    }
}

impl Problem {
    fn in_frame(self, number: usize, path: &str) -> HistoryError {
        let path = path.to_owned();
        match self {
            Self::Corrupt(message) => HistoryError::Corrupt { path, at: format!("frame {number}"), message },
            Self::TooLarge(message) => HistoryError::TooLarge { path, message },
        }
    }
}

/// A history that is being read.
struct Reading {
    history: History,
    decoder: Decoder,
    event_bytes: usize,
    limits: Limits,
}

impl Reading {
    /// Begins with the first frame.
    fn begin(content: &[u8], limits: Limits) -> Result<Self, String> {
        let no_header = || NO_HEADER.to_owned();
        let rest = content.strip_prefix(NAME).ok_or_else(no_header)?;
        let (version, line) = split_line(rest).ok_or_else(no_header)?;
        if version != FORMAT.to_string().as_bytes() {
            return Err(unknown_format(version, line));
        }
        match split_line(line) {
            Some((header, [])) => {
                let history = History::new(read_header(header)?);
                Ok(Self { history, decoder: Decoder::default(), event_bytes: 0, limits })
            }
            _ => Err(no_header()),
        }
    }

    /// Reads one more frame.
    fn add(&mut self, mut content: &[u8]) -> Result<(), Problem> {
        let length = read_number(&mut content).and_then(|length| usize::try_from(length).ok());
        let text = length.and_then(|length| content.split_off(..length));
        self.add_lines(text.ok_or_else(|| "the text is incomplete".to_owned())?)?;
        self.check_limits(columns::count(content)?)?;
        let history = &mut self.history;
        self.decoder.decode(content, history.reasons.len(), &mut history.ops)?;
        match history.details.last() {
            Some(last) if last.of as usize >= history.ops.len() => {
                Err(format!("details of operation {}, which is missing", last.of).into())
            }
            _ => Ok(()),
        }
    }

    fn add_lines(&mut self, mut text: &[u8]) -> Result<(), Problem> {
        while !text.is_empty() {
            let (line, rest) = split_line(text).ok_or_else(|| "its last line is incomplete".to_owned())?;
            text = rest;
            self.event_bytes += line.len();
            self.check_limits(0)?;
            if line.starts_with(REASON_START) {
                self.add_reason(line)?;
            } else {
                read_event_or_detail(line, &mut self.history)?;
            }
        }
        Ok(())
    }

    fn add_reason(&mut self, line: &[u8]) -> Result<(), String> {
        let line: ReasonLine = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if self.history.reasons.len() == MOST_REASONS {
            return Err(format!("more than {MOST_REASONS} reasons"));
        }
        self.history.reasons.push(Explanation::new(line.reason, line.text));
        Ok(())
    }

    fn check_limits(&self, ops: usize) -> Result<(), Problem> {
        self.limits
            .exceeded(&self.history, ops, self.event_bytes)
            .map_or(Ok(()), |message| Err(Problem::TooLarge(message)))
    }

    fn end(mut self) -> History {
        self.history.complete = self.history.has_end();
        self.history
    }
}

/// A line without its end, and what follows. None if it has no end.
fn split_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|&byte| byte == b'\n')?;
    Some((&text[..end], &text[end + 1..]))
}

/// Says which version of slotquake reads a format, from the line of its header.
fn unknown_format(version: &[u8], header: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Writer {
        tool_version: String,
    }
    let line = split_line(header).map_or(header, |(line, _)| line);
    let writer = match serde_json::from_slice(line) {
        Ok(Writer { tool_version }) => format!("slotquake {tool_version}"),
        Err(_) => "the version of slotquake".to_owned(),
    };
    format!(
        "format {} is not supported, this slotquake reads 1 and {FORMAT} (hint: use {writer}, which wrote it)",
        String::from_utf8_lossy(version)
    )
}

/// Reads a history in format 2 from its file. `path` is its name in errors. Another thread decompresses.
pub(super) fn read_blocks(file: impl Read + Send, limits: Limits, path: &str) -> Result<History, HistoryError> {
    let io = |source| HistoryError::Io { path: path.to_owned(), source };
    let mut frames = FrameReader::new(file, limits.frame_bytes, limits.text_bytes).map_err(io)?;
    std::thread::scope(|scope| {
        let (sender, received) = sync_channel(WAITING_BATCHES);
        // The receiver is gone if a frame makes no sense.
        scope.spawn(move || while sender.send(frames.batch(BATCH_BYTES)).is_ok() {});
        read_frames(received.into_iter().flatten(), limits, path)
    })
}

fn read_frames(frames: impl Iterator<Item = Frame>, limits: Limits, path: &str) -> Result<History, HistoryError> {
    let too_large = |message| Err(HistoryError::TooLarge { path: path.to_owned(), message });
    let mut reading = None;
    for (number, frame) in (1..).zip(frames) {
        match frame {
            Frame::Content(content) => {
                take(&mut reading, &content, limits).map_err(|problem| problem.in_frame(number, path))?;
            }
            Frame::End | Frame::CutOff => break,
            Frame::TooLong => return too_large(format!("frame {number} has more than {} bytes", limits.frame_bytes)),
            Frame::TooMuch => return too_large(format!("it has more than {} bytes", limits.text_bytes)),
            Frame::Damaged(message) => {
                let message = format!("frame {number}: {message}");
                return Err(HistoryError::Altered { path: path.to_owned(), message });
            }
            Frame::Failed(source) => return Err(HistoryError::Io { path: path.to_owned(), source }),
        }
    }
    finish(reading, path)
}

/// Reads a history in format 2 from what its frames hold. `path` is its name in errors.
///
/// # Errors
/// They are not those of a history of this version, or hold too much.
pub fn parse_blocks<'a>(contents: impl IntoIterator<Item = &'a [u8]>, path: &str) -> Result<History, HistoryError> {
    let mut reading = None;
    for (number, content) in (1..).zip(contents) {
        take(&mut reading, content, LIMITS).map_err(|problem| problem.in_frame(number, path))?;
    }
    finish(reading, path)
}

fn take(reading: &mut Option<Reading>, content: &[u8], limits: Limits) -> Result<(), Problem> {
    match reading {
        None => *reading = Some(Reading::begin(content, limits)?),
        Some(reading) => reading.add(content)?,
    }
    Ok(())
}

fn finish(reading: Option<Reading>, path: &str) -> Result<History, HistoryError> {
    let problem = || Problem::Corrupt(NO_HEADER.to_owned()).in_frame(1, path);
    reading.map(Reading::end).ok_or_else(problem)
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Cursor;
    use std::path::Path;

    use super::*;
    use crate::history::{EventKind, read};

    /// A history that an earlier version stored.
    pub fn history() -> History {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stored/shard-loss-redis-6.2");
        read(&folder).expect("it is stored")
    }

    /// A short one, with an end and with operations that were not served.
    pub fn short_history() -> History {
        let mut history = history();
        let end = history.events.pop().expect("it has events");
        history.events.retain(|event| !matches!(event.kind, EventKind::Viewed { .. }));
        history.events.truncate(30);
        history.events.push(end);
        let failed = history.ops.iter().position(|op| !op.outcome().is_ok()).expect("some failed");
        history.ops = history.ops[failed - 20..failed + 180].to_vec();
        history
    }

    /// What a run writes: the header, blocks of so many operations, and the checksum.
    pub fn stored(history: &History, each: usize) -> Vec<Vec<u8>> {
        let mut blocks = Blocks::default();
        let mut parts = vec![blocks.begin(&history.header).expect("compressed")];
        let mut text = Vec::new();
        history.reasons.iter().for_each(|reason| write_reason(&mut text, reason));
        let mut events = history.events.chunks(history.events.len().div_ceil(history.ops.len().div_ceil(each)));
        for ops in history.ops.chunks(each) {
            events.next().into_iter().flatten().for_each(|event| write_line(&mut text, event));
            parts.push(blocks.block(&std::mem::take(&mut text), ops).expect("compressed"));
        }
        parts.push(blocks.seal());
        parts
    }

    fn read_bytes(bytes: &[u8]) -> Result<History, HistoryError> {
        read_blocks(Cursor::new(bytes), LIMITS, "bytes")
    }

    #[test]
    fn a_history_cut_anywhere_gives_its_whole_frames() {
        let history = short_history();
        let parts = stored(&history, 50);
        let bytes = parts.concat();
        let ends: Vec<usize> = (1..=parts.len()).map(|count| parts[..count].concat().len()).collect();
        let seal = ends[ends.len() - 2];
        for cut in 0..=bytes.len() {
            let whole = ends.iter().filter(|&&end| end <= cut).count();
            let read = read_bytes(&bytes[..cut]);
            if whole == 0 {
                let error = read.expect_err("no header").to_string();
                assert_eq!(error, format!("bytes, frame 1: {NO_HEADER}"), "{cut} bytes");
                continue;
            }
            let read = read.unwrap_or_else(|error| panic!("{cut} of {} bytes: {error}", bytes.len()));
            assert_eq!(read.ops, history.ops[..(50 * (whole - 1)).min(history.ops.len())], "{cut} bytes");
            assert_eq!(read.events, history.events[..read.events.len()], "{cut} bytes");
            assert_eq!(read.complete, cut >= seal, "{cut} bytes");
        }
        assert_eq!(read_bytes(&bytes).expect("it is whole"), history);
    }

    /// A killed run has no checksum of the whole, only those of zstd.
    #[test]
    fn a_flipped_bit_of_a_killed_run_never_gives_other_operations() {
        let history = short_history();
        let mut parts = stored(&history, 50);
        parts.truncate(4);
        let bytes = parts.concat();
        let mut refused = 0;
        for bit in (0..bytes.len() * 8).step_by(5) {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            match read_bytes(&altered) {
                Err(_) => refused += 1,
                Ok(read) => assert!(history.ops.starts_with(&read.ops), "bit {bit}"),
            }
        }
        assert!(refused > bytes.len() * 8 / 5 * 9 / 10, "{refused} of {} are refused", bytes.len() * 8 / 5);
    }

    /// The contents of the frames, decompressed.
    fn contents(parts: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let frames = &parts[..parts.len() - 1];
        frames.iter().map(|frame| zstd::decode_all(frame.as_slice()).expect("it decompresses")).collect()
    }

    #[test]
    fn frames_that_make_no_sense_are_refused_with_their_number() {
        let good = contents(&stored(&short_history(), 100));
        let header = good[0].as_slice();
        let frame = |length: u8, text: &[u8], block: &[u8]| [&[length], text, block].concat();
        let newer = String::from_utf8(header.to_vec()).expect("text").replacen("history 2", "history 3", 1);
        let detail = b"{\"of\":0}\n";
        for (frames, expected) in [
            (vec![], "frame 1: no header: this is not a history"),
            (vec![&b"slotquake"[..]], "frame 1: no header"),
            (vec![&b"slotquake history 2\n{}\n"[..]], "frame 1: no header: missing field"),
            (vec![&header[..header.len() - 1]], "frame 1: no header"),
            (
                vec![newer.as_bytes()],
                "frame 1: format 3 is not supported, this slotquake reads 1 and 2 (hint: use slotquake 0.",
            ),
            (vec![header, header], "frame 2: "),
            (vec![header, b""], "frame 2: the text is incomplete"),
            (vec![header, &[0x80; 11]], "frame 2: the text is incomplete"),
            (vec![header, &[0]], "frame 2: the number of operations is missing"),
            (vec![header, &frame(9, b"{}\n", &[0])], "frame 2: the text is incomplete"),
            (vec![header, &frame(2, b"{}", &[0])], "frame 2: its last line is incomplete"),
            (vec![header, &frame(3, b"{}\n", &[0])], "frame 2: missing field"),
            (vec![header, &frame(1, b"\n", &[0])], "frame 2: EOF"),
            (vec![header, &frame(9, detail, &[0])], "frame 2: details of operation 0, which is missing"),
            (vec![header, &good[1], &frame(0, b"", &[1, 1, 0])], "frame 3: the block of operations is incomplete"),
        ] {
            let error = parse_blocks(frames, "bytes").expect_err(expected).to_string();
            assert!(error.starts_with(&format!("bytes, {expected}")), "{expected}: {error}");
        }
        assert_eq!(parse_blocks(good.iter().map(Vec::as_slice), "bytes").expect("it reads"), short_history());
    }

    #[test]
    fn reasons_are_bounded() {
        let good = contents(&stored(&short_history(), 100));
        let mut text = Vec::new();
        (0..=MOST_REASONS).for_each(|_| write_reason(&mut text, &Explanation::new(Reason::Refused, "")));
        let frame = parts(&text, &[], &mut Expected::default()).concat();
        let error = parse_blocks([good[0].as_slice(), &frame], "bytes").expect_err("too many").to_string();
        assert_eq!(error, "bytes, frame 2: more than 65536 reasons");
    }
}
