//! A history on disk: JSON lines in a zstd stream, written while the run goes on.

use std::path::Path;

use super::{Event, Header, History, Op};

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

/// Keeps a history in memory and streams it to disk.
#[derive(Debug)]
pub struct Recorder {
    _history: History,
}

impl Recorder {
    /// Begins a history in `folder`.
    pub fn create(_folder: &Path, _header: Header) -> Result<Self, HistoryError> {
        todo!()
    }

    /// Records an operation.
    pub fn op(&mut self, _op: Op) {
        todo!()
    }

    /// Records an event.
    pub fn event(&mut self, _event: Event) {
        todo!()
    }
}

/// Reads a history from a report's folder (`history.jsonl.zst`). A stream that was cut off by the
/// death of its writer is read up to the cut.
pub fn read(_folder: &Path) -> Result<History, HistoryError> {
    todo!()
}
