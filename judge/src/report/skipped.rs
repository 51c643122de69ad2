//! What runs into a folder of reports could not be run, and why: `skipped.json` beside the reports. A
//! comparison needs it to tell a run that was skipped from one that is gone.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::run::RunKey;
use super::store::{ReportError, SKIPPED_FILE, io_error};
use crate::history::SCHEMA_VERSION;

/// A suite on a server that could not be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// What was to be run.
    #[serde(flatten)]
    pub run: RunKey,
    /// Why it was not.
    pub reason: String,
}

/// `skipped.json`.
#[derive(Serialize, Deserialize)]
pub struct SkippedFile {
    /// The version of its format.
    pub schema_version: u32,
    /// What could not be run, the last attempt at each suite on each server.
    pub skipped: Vec<Skipped>,
}

/// What was noted in a folder of reports; nothing where `path` is none.
pub fn skipped(path: &Path) -> Result<Vec<Skipped>, ReportError> {
    let file = path.join(SKIPPED_FILE);
    let text = match fs::read(&file) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(io_error(&file)(error)),
    };
    let origin = file.display().to_string();
    let document: SkippedFile =
        serde_json::from_slice(&text).map_err(|error| ReportError::Foreign(origin.clone(), error.to_string()))?;
    if document.schema_version == SCHEMA_VERSION {
        return Ok(document.skipped);
    }
    let hint = "remove it: a new run writes it again".to_owned();
    Err(ReportError::Version { path: origin, found: document.schema_version.into(), hint })
}
