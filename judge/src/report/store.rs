//! Reading reports from disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::run::Report;
use crate::history::{FILE_NAME as HISTORY_FILE, SCHEMA_VERSION};

/// The file in a report's folder.
pub const FILE_NAME: &str = "report.json";

/// The file next to the folders of reports that lists the runs that were skipped.
pub const SKIPPED_FILE: &str = "skipped.json";

/// Why a report could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A call of the file system failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The path does not exist.
    #[error("{0}: no such file or folder")]
    Missing(String),
    /// The folder has a history and no report, because the run was cut off.
    #[error("{0} has no report.json (hint: the run was cut off; `slotquake check {0}` judges its history)")]
    Unfinished(String),
    /// The folder has neither a report nor a history.
    #[error("{0} has no report.json")]
    NoReport(String),
    /// The file ends early.
    #[error("{0} is truncated: {1} (hint: `slotquake check` on its folder judges the history again)")]
    Truncated(String, serde_json::Error),
    /// The file is not JSON.
    #[error("{0} is corrupt: {1} (hint: `slotquake check` on its folder judges the history again)")]
    Corrupt(String, serde_json::Error),
    /// The file is JSON, but not a report.
    #[error("{0} is not a report of slotquake: {1}")]
    Foreign(String, String),
    /// The file has another version of the format.
    #[error("{path} has schema version {found}, this slotquake reads {SCHEMA_VERSION} (hint: {hint})")]
    Version {
        /// The file.
        path: String,
        /// Its version.
        found: u64,
        /// How to fix it.
        hint: String,
    },
}

/// Adds the path to an error of the file system.
pub fn io_error(path: &Path) -> impl FnOnce(io::Error) -> ReportError + '_ {
    move |source| ReportError::Io { path: path.display().to_string(), source }
}

/// Reads a report from its folder or file.
///
/// # Errors
/// There is no report, or it cannot be read.
pub fn read(path: &Path) -> Result<Report, ReportError> {
    let shown = path.display().to_string();
    let file = if path.is_dir() { path.join(FILE_NAME) } else { path.to_owned() };
    let text = match fs::read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(if !path.exists() {
                ReportError::Missing(shown)
            } else if path.join(HISTORY_FILE).exists() {
                ReportError::Unfinished(shown)
            } else {
                ReportError::NoReport(shown)
            });
        }
        Err(error) => return Err(io_error(&file)(error)),
    };
    parse(&text, &file.display().to_string())
}

/// Reads a report from its text. `origin` is its name in errors.
///
/// # Errors
/// The text is not a report of this version, or its plan is impossible.
pub fn parse(text: &[u8], origin: &str) -> Result<Report, ReportError> {
    let origin = origin.to_owned();
    let value: serde_json::Value = serde_json::from_slice(text).map_err(|error| {
        if error.is_eof() {
            ReportError::Truncated(origin.clone(), error)
        } else {
            ReportError::Corrupt(origin.clone(), error)
        }
    })?;
    let Some(version) = value.get("schema_version").and_then(serde_json::Value::as_u64) else {
        return Err(ReportError::Foreign(origin, "it has no schema_version".to_owned()));
    };
    if version != u64::from(SCHEMA_VERSION) {
        let writer = value.get("tool_version").and_then(serde_json::Value::as_str).unwrap_or("another version");
        let hint = if version > u64::from(SCHEMA_VERSION) {
            format!("it was written by slotquake {writer}; update this one")
        } else {
            format!("it was written by slotquake {writer}; run the suite again, or read it with that version")
        };
        return Err(ReportError::Version { path: origin, found: version, hint });
    }
    let report: Report =
        serde_json::from_value(value).map_err(|error| ReportError::Foreign(origin.clone(), error.to_string()))?;
    match report.header.plan.impossible() {
        Some(message) => Err(ReportError::Foreign(origin, message)),
        None => Ok(report),
    }
}

/// Reads the report at `path`, or all reports in the folder `path`, in the order of their names. It reads one level deep and
/// ignores links such as `latest` and folders without a report.
///
/// # Errors
/// There is no report, or one cannot be read.
pub fn read_all(path: &Path) -> Result<Vec<Report>, ReportError> {
    if !path.is_dir() || path.join(FILE_NAME).exists() {
        return read(path).map(|report| vec![report]);
    }
    let mut entries: Vec<PathBuf> = fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(io_error(path))?;
    entries.sort();
    let mut reports = Vec::new();
    for entry in entries {
        let is_report = if entry.is_dir() {
            entry.join(FILE_NAME).exists() && !entry.is_symlink()
        } else {
            let of_ours = entry.file_name().is_some_and(|name| name == SKIPPED_FILE);
            !of_ours && entry.extension().is_some_and(|extension| extension == "json")
        };
        if is_report {
            reports.push(read(&entry)?);
        }
    }
    if reports.is_empty() {
        // This gives the right error for a folder without a report.
        return read(path).map(|report| vec![report]);
    }
    Ok(reports)
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::check::Verdict;

    #[test]
    fn rejects_invalid_reports_with_the_reason() {
        let good = serde_json::to_string_pretty(&fixture::report("role-swap", Verdict::Pass)).expect("JSON");
        let newer = good.replace("\"schema_version\": 1", "\"schema_version\": 2");
        let older = good.replace("\"schema_version\": 1", "\"schema_version\": 0");
        let worded = good.replace("\"verdict\": \"pass\"", "\"verdict\": \"maybe\"");
        let endless = good.replace("\"keys\": 600", "\"keys\": 4294967295");
        let plan = |path: &str, value: serde_json::Value| {
            let mut report: serde_json::Value = serde_json::from_str(&good).expect("JSON");
            *report.pointer_mut(&format!("/plan/nodes{path}")).expect("a plan") = value;
            report.to_string()
        };
        let nobody = plan("", serde_json::json!([]));
        let halved = plan("/0/slots", serde_json::json!([[0, 8191]]));
        let second = plan("/0/shard", serde_json::json!("shard-2"));
        let huge = good.replace("\"p50_ms\": 0.4", "\"p50_ms\": 1e999");
        let deep = good.replacen("\"schema_version\": 1", &format!("\"a\": {}", "[".repeat(100_000)), 1);
        for (text, expected) in [
            (endless.as_str(), "is not a report of slotquake: too many keys in its plan: 4294967295"),
            (&nobody, "invalid slots in its plan: there are no shards"),
            (&halved, "invalid slots in its plan: slots 8192-16383 belong to no shard"),
            (&second, "invalid slots in its plan: node-1 is the master of shard-2, of 1 shards"),
            (&huge, "is corrupt: number out of range"),
            (&deep, "is corrupt: recursion limit exceeded"),
            ("", "is truncated: EOF"),
            (&good[..good.len() / 2], "is truncated: EOF"),
            ("\u{0}\u{1}garbage", "is corrupt: expected value at line 1 column 1"),
            ("{\"a\": 1}", "is not a report of slotquake: it has no schema_version"),
            ("[1, 2]", "it has no schema_version"),
            ("{\"schema_version\": 1}", "is not a report of slotquake: missing field"),
            (&newer, "has schema version 2, this slotquake reads 1 (hint: it was written by slotquake 0.1.0; update"),
            (&older, "has schema version 0, this slotquake reads 1 (hint: it was written by slotquake 0.1.0; run"),
            (&worded, "unknown variant `maybe`"),
        ] {
            let error = parse(text.as_bytes(), "x/report.json").expect_err(text).to_string();
            assert!(error.starts_with("x/report.json ") && error.contains(expected), "{expected}: {error}");
        }
    }
}
