//! A history on disk: zstd frames, written during the run, each flush one of them.
//!
//! Format 2 holds operations in columns ([`blocks`](super::blocks)), format 1 everything as JSON lines
//! ([`lines`](super::lines)). If the writer is killed, all frames up to the last flush can be read. A file may come from
//! anywhere, so what is read of it is bounded, and what was altered after it was written is refused.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::blocks::read_blocks;
use super::frames::Seal;
use super::lines::parse_lines;
use super::{History, OpError};

/// The file of a history in the folder of a report.
pub const FILE_NAME: &str = "history.zst";

/// The file of a history in format 1, which earlier versions wrote.
pub const LINES_FILE_NAME: &str = "history.jsonl.zst";

/// Later times are rejected as corrupt. No run takes a year, and sums of earlier times fit in 64 bits.
pub(super) const LATEST_NS: u64 = 366 * 24 * 3600 * 1_000_000_000;

/// What is read of a history at most. More needs more memory than a machine may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The bytes of a line. The longest are views and plans of large clusters, with less than 1 MiB.
    pub line_bytes: u64,
    /// The bytes of a decompressed frame of format 2: a block, a full buffer of events, and the longest line.
    pub frame_bytes: usize,
    /// The decompressed bytes: the operations below, with 200 bytes each. They are read bit by bit, so this bounds time.
    pub text_bytes: u64,
    /// The operations, 32 bytes each in memory: more than an hour at 5000/s.
    pub ops: usize,
    /// The events other than operations: more than an hour of a cluster of 50 nodes.
    pub events: usize,
    /// The bytes of their lines. In memory they take a few times as much.
    pub event_bytes: usize,
}

pub(super) const LIMITS: Limits = Limits {
    line_bytes: 8 << 20,
    frame_bytes: 9 << 20,
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
    #[error("{path}, {at}: {message}")]
    Corrupt {
        /// The file.
        path: String,
        /// Where in it: `line 5`, `frame 3`.
        at: String,
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

/// Reads a history from the folder of a report. The history of a killed run is read as far as it goes, and is not `complete`.
///
/// # Errors
/// The file cannot be read, is not a valid history of this version, was altered, or is too large.
pub fn read(folder: &Path) -> Result<History, HistoryError> {
    read_within(folder, LIMITS)
}

/// The file of the history in a folder, of whichever format. None if there is none.
pub fn file(folder: &Path) -> Option<PathBuf> {
    [FILE_NAME, LINES_FILE_NAME].iter().map(|name| folder.join(name)).find(|path| path.exists())
}

fn read_within(folder: &Path, limits: Limits) -> Result<History, HistoryError> {
    let path = file(folder).unwrap_or_else(|| folder.join(FILE_NAME));
    let name = path.display().to_string();
    let altered = |message: &str| HistoryError::Altered { path: name.clone(), message: message.to_owned() };
    let (history, seal) = if path.ends_with(LINES_FILE_NAME) {
        let lines = |file| parse_lines(zstd::Decoder::new(file).map_err(io(&path))?, false, limits, &name);
        beside_seal(&path, lines)?
    } else {
        beside_seal(&path, |file| read_blocks(file, limits, &name))?
    };
    match seal {
        Seal::Broken => Err(altered("its checksum does not match")),
        // A killed run has no checksum at its end, but it does not record its end either.
        Seal::Missing if history.as_ref().is_ok_and(|history| history.complete) => {
            Err(altered("the checksum at its end is missing"))
        }
        Seal::Unknown if history.is_ok() && !path.ends_with(LINES_FILE_NAME) => {
            Err(altered("the mark at its start is missing"))
        }
        Seal::Intact | Seal::Missing | Seal::Unknown => history,
    }
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> HistoryError + '_ {
    |error| HistoryError::io(path, error)
}

/// What `read` makes of a file, and what its seal says. Computing the checksum takes about as long as decompressing, so
/// another thread does it.
fn beside_seal<T>(path: &Path, read: impl FnOnce(File) -> T) -> Result<(T, Seal), HistoryError> {
    let file = File::open(path).map_err(io(path))?;
    let mut sealed = File::open(path).map_err(io(path))?;
    std::thread::scope(|scope| {
        let seal = scope.spawn(move || Seal::of(&mut sealed));
        let read = read(file);
        let seal = seal.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((read, seal.map_err(io(path))?))
    })
}

impl Limits {
    /// The limit that a history exceeds with so many more operations or one more event.
    pub fn exceeded(&self, history: &History, ops: usize, event_bytes: usize) -> Option<String> {
        if history.ops.len() + ops > self.ops {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::blocks::tests::{history, short_history, stored};
    use crate::history::frames::Frames;

    /// A history that an earlier version stored, in format 1.
    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stored/formation-redis-6.2")
    }

    /// The text of that history, up to its last line.
    fn text() -> String {
        let bytes = std::fs::read(folder().join(LINES_FILE_NAME)).expect("it is stored");
        String::from_utf8(zstd::decode_all(bytes.as_slice()).expect("it decompresses")).expect("JSON is UTF-8")
    }

    /// The text in frames of whole lines, as earlier versions wrote it, and the checksum.
    fn stored_lines() -> Vec<Vec<u8>> {
        let text = text();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let mut frames = Frames::default();
        let frame = |chunk: &[&str]| frames.frame(&[chunk.concat()]).expect("compressed");
        let mut parts: Vec<Vec<u8>> = lines.chunks(200).map(frame).collect();
        parts.push(frames.seal());
        parts
    }

    /// A folder with a file.
    fn folder_with(name: &str, bytes: &[u8]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(name), bytes).expect("written");
        folder
    }

    fn refused(folder: &Path, limits: Limits, expected: &str) {
        let error = read_within(folder, limits).expect_err(expected).to_string();
        assert!(error.contains(&format!("is too large to judge: {expected} (hint: ")), "{error}");
    }

    #[test]
    fn large_histories_are_refused_with_the_limit() {
        let blocks = folder_with(FILE_NAME, &stored(&history(), 400).concat());
        refused(&folder(), Limits { line_bytes: 2000, ..LIMITS }, "line 1 has more than 2000 bytes");
        refused(blocks.path(), Limits { frame_bytes: 2000, ..LIMITS }, "frame 1 has more than 2000 bytes");
        for folder in [&folder(), blocks.path()] {
            refused(folder, Limits { text_bytes: 20_000, ..LIMITS }, "it has more than 20000 bytes");
            refused(folder, Limits { ops: 5, ..LIMITS }, "it has more than 5 operations");
            refused(folder, Limits { events: 5, ..LIMITS }, "it has more than 5 events");
            refused(folder, Limits { event_bytes: 5000, ..LIMITS }, "its events have more than 5000 bytes");
            read_within(folder, LIMITS).expect("it is within the limits");
        }
    }

    /// Stores the start of a history, then a frame many times, and reads it.
    fn bomb(name: &str, first: &[u8], chunk: &[u8], times: usize) -> String {
        let mut frames = Frames::default();
        let mut bytes = frames.frame(&[first]).expect("compressed");
        let frame = frames.frame(&[chunk]).expect("compressed");
        (0..times).for_each(|_| bytes.extend(&frame));
        assert!(bytes.len() < 2 << 20, "{} bytes", bytes.len());
        read(folder_with(name, &bytes).path()).expect_err("too large").to_string()
    }

    #[test]
    fn a_small_file_with_a_huge_text_is_refused() {
        let spaces = vec![b' '; 16 << 20];
        let newlines = vec![b'\n'; 16 << 20];
        let text = text();
        let header = text.lines().next().expect("a header");
        let lines = format!("{header}\n");
        let blocks = format!("slotquake history 2\n{header}\n");
        let full_block = vec![0, 0xD0, 0x0F, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for (name, first, chunk, expected) in [
            (LINES_FILE_NAME, &lines, &spaces, "line 2 has more than 8388608 bytes"),
            (LINES_FILE_NAME, &lines, &newlines, "line 2: an empty line"),
            (FILE_NAME, &blocks, &spaces, "frame 2 has more than 9437184 bytes"),
            (FILE_NAME, &blocks, &full_block, "it has more than 20000000 operations"),
        ] {
            let error = bomb(name, first.as_bytes(), chunk, if chunk.len() < 100 { 10_001 } else { 500 });
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let lines = read(&folder()).expect("it reads");
        for (name, parts, expected) in
            [(LINES_FILE_NAME, stored_lines(), lines), (FILE_NAME, stored(&short_history(), 60), short_history())]
        {
            let bytes = parts.concat();
            let folder = folder_with(name, &bytes);
            assert_eq!(read(folder.path()).expect("it reads"), expected);
            let bits = bytes.len() * 8;
            // Bits of the start, of the checksum at the end, and 250 between.
            let between = (0..250).map(|number| number * bits / 250);
            for bit in (0..40).chain(between).chain(bits - 8 * 20..bits) {
                let mut altered = bytes.clone();
                altered[bit / 8] ^= 1 << (bit % 8);
                std::fs::write(folder.path().join(name), altered).expect("written");
                let error = read(folder.path()).expect_err(&format!("bit {bit} of {bits}")).to_string();
                assert!(error.contains("was damaged or altered"), "bit {bit} of {bits}: {error}");
            }
        }
    }

    #[test]
    fn a_killed_run_is_read_up_to_the_cut() {
        for (name, mut parts) in [(LINES_FILE_NAME, stored_lines()), (FILE_NAME, stored(&history(), 300))] {
            parts.pop();
            let records = |bytes: &[u8]| {
                let history = read(folder_with(name, bytes).path()).expect("it reads");
                assert!(!history.complete);
                history.ops.len() + history.events.len()
            };
            let last = parts.pop().expect("frames").len();
            let all = parts.concat();
            let cut = records(&all[..all.len() - last / 4]);
            assert!(cut > 0 && cut < records(&all), "{name}");
        }
    }

    #[test]
    fn a_history_without_its_ends_is_refused() {
        let mut parts = stored(&short_history(), 100);
        let mark = 28;
        let unmarked = parts.concat()[mark..].to_vec();
        parts.pop();
        for (bytes, expected) in [
            (parts.concat(), "the checksum at its end is missing"),
            (parts.concat()[mark..].to_vec(), "the mark at its start is missing"),
            (unmarked, "its checksum does not match"),
        ] {
            let error = read(folder_with(FILE_NAME, &bytes).path()).expect_err(expected).to_string();
            assert!(error.contains(&format!("altered after it was written: {expected} (hint: ")), "{error}");
        }
    }
}
