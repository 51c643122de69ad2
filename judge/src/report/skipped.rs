//! The suites that were skipped, and why: `skipped.json` next to the reports. A comparison needs it to distinguish a skipped
//! suite from a missing one.

use std::fs;
use std::io;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::run::RunKey;
use super::store::{ReportError, SKIPPED_FILE, io_error};
use crate::history::SCHEMA_VERSION;

/// A suite that was skipped on a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Skipped {
    /// The suite and the server.
    #[serde(flatten)]
    pub run: RunKey,
    /// Why it was skipped.
    pub reason: String,
}

/// The contents of `skipped.json`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct SkippedFile {
    /// The version of the format.
    pub schema_version: u32,
    /// The skipped suites, by the last attempt at each suite and server.
    pub skipped: Vec<Skipped>,
}

/// The skipped suites of a folder of reports; empty if the folder has no such file.
///
/// # Errors
/// The file cannot be read, or is not of this version.
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
