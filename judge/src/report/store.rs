//! Reading reports from disk.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::run::Report;
use crate::history::{self, SCHEMA_VERSION, hex};

/// The file in a report's folder.
pub const FILE_NAME: &str = "report.json";

/// The file next to the folders of reports that lists the runs that were skipped.
pub const SKIPPED_FILE: &str = "skipped.json";

/// The key of a report's checksum: the SHA-256 of the rest as JSON without spaces, its keys sorted. Reports of earlier
/// versions have none.
pub(super) const CHECKSUM: &str = "checksum";

/// Longer files are not read. A report has less than 1 MB, because it leaves out operations and samples.
const LONGEST: u64 = 64 << 20;

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
    /// The folder has no reports.
    #[error(
        "{0} has no reports (hint: give a folder that `slotquake run --out` wrote, or the folder of one run in it{1})"
    )]
    NoReports(String, String),
    /// The file ends early.
    #[error("{0} is truncated: {1}")]
    Truncated(String, serde_json::Error),
    /// The file is not JSON.
    #[error("{0} is corrupt: {1}")]
    Corrupt(String, serde_json::Error),
    /// The file is not as it was written.
    #[error("{0} was damaged or altered after it was written: its checksum does not match")]
    Altered(String),
    /// The file is too long for a report.
    #[error("{0} is too large for a report: it has more than {LONGEST} bytes")]
    TooLarge(String),
    /// The file cannot be read, and this is how to mend that.
    #[error("{0} (hint: {1})")]
    Mendable(Box<ReportError>, String),
    /// The file is JSON, but not a report.
    #[error("{0} is not a report of slotquake: {1} (hint: give the folder of a run, or its report.json)")]
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
    let mut text = Vec::new();
    match fs::File::open(&file).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut text)) {
        Ok(read) if read as u64 > LONGEST => {
            return Err(mendable(ReportError::TooLarge(file.display().to_string()), &file));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(if !path.exists() {
                ReportError::Missing(shown)
            } else if history::file(path).is_some() {
                ReportError::Unfinished(shown)
            } else {
                ReportError::NoReport(shown)
            });
        }
        Err(error) => return Err(io_error(&file)(error)),
    }
    parse(&text, &file.display().to_string()).map_err(|error| match error {
        ReportError::Truncated(name, _) | ReportError::Corrupt(name, _) if !looks_like_a_report(&file, &text) => {
            ReportError::Foreign(name, "it is not JSON".to_owned())
        }
        error => mendable(error, &file),
    })
}

/// Whether a file that cannot be read was a report once.
fn looks_like_a_report(file: &Path, text: &[u8]) -> bool {
    let key = b"\"schema_version\"";
    file.ends_with(FILE_NAME) || text.windows(key.len()).any(|part| part == key)
}

/// A report and where it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Its file.
    pub file: PathBuf,
    /// What the file holds.
    pub report: Report,
}

impl Stored {
    fn read(path: &Path) -> Result<Self, ReportError> {
        let file = if path.is_dir() { path.join(FILE_NAME) } else { path.to_owned() };
        Ok(Self { report: read(path)?, file })
    }
}

/// Adds to the error of a damaged report whether its history can be judged instead.
fn mendable(error: ReportError, file: &Path) -> ReportError {
    let folder = file.parent().filter(|folder| file.ends_with(FILE_NAME) && history::file(folder).is_some());
    match (&error, folder) {
        (
            ReportError::Truncated(..)
            | ReportError::Corrupt(..)
            | ReportError::Altered(..)
            | ReportError::TooLarge(..),
            Some(folder),
        ) => {
            let hint = match history::read(folder) {
                Ok(_) => format!("`slotquake check {}` judges its history again", folder.display()),
                Err(why) => {
                    format!("restore it from a copy, or run the suite again; its history cannot be judged: {why}")
                }
            };
            ReportError::Mendable(Box::new(error), hint)
        }
        (ReportError::Truncated(..) | ReportError::Corrupt(..) | ReportError::Altered(..), None) => {
            ReportError::Mendable(Box::new(error), "restore it from a copy, or run the suite again".to_owned())
        }
        _ => error,
    }
}

/// A report as the text of `report.json`, with its checksum.
///
/// # Errors
/// The report cannot be written as JSON.
pub fn text(report: &Report) -> Result<String, serde_json::Error> {
    let checksum = checksum(&serde_json::to_value(report)?);
    let text = serde_json::to_string_pretty(report)?;
    let text = text.strip_suffix("\n}").unwrap_or(&text);
    Ok(format!("{text},\n  \"{CHECKSUM}\": \"{checksum}\"\n}}\n"))
}

/// The checksum of a report without the key [`CHECKSUM`]. Spaces and the order of keys do not change it, so that a report
/// which another program has written again is still accepted.
fn checksum(report: &Value) -> String {
    format!("sha256:{}", hex(Sha256::new_with_prefix(report.to_string())))
}

/// Reads a report from its text. `origin` is its name in errors.
///
/// # Errors
/// The text is not a report of this version, or its plan is impossible.
pub fn parse(text: &[u8], origin: &str) -> Result<Report, ReportError> {
    let origin = origin.to_owned();
    let mut value: Value = serde_json::from_slice(text).map_err(|error| {
        if error.is_eof() {
            ReportError::Truncated(origin.clone(), error)
        } else {
            ReportError::Corrupt(origin.clone(), error)
        }
    })?;
    let Some(version) = value.get("schema_version").and_then(Value::as_u64) else {
        return Err(ReportError::Foreign(origin, "it has no schema_version".to_owned()));
    };
    if version != u64::from(SCHEMA_VERSION) {
        let writer = value.get("tool_version").and_then(Value::as_str).unwrap_or("another version");
        let hint = if version > u64::from(SCHEMA_VERSION) {
            format!("it was written by slotquake {writer}; update this one")
        } else {
            format!("it was written by slotquake {writer}; run the suite again, or read it with that version")
        };
        return Err(ReportError::Version { path: origin, found: version, hint });
    }
    let written = value.as_object_mut().and_then(|report| report.remove(CHECKSUM));
    if written.is_some_and(|written| written != checksum(&value)) {
        return Err(ReportError::Altered(origin));
    }
    let report: Report =
        serde_json::from_value(value).map_err(|error| ReportError::Foreign(origin.clone(), error.to_string()))?;
    match report.header.plan.impossible() {
        Some(message) => Err(ReportError::Foreign(origin, message)),
        None => Ok(report),
    }
}

/// Reads the report at `path`, or all reports in the folder `path`, in the order of their names. It reads one level deep and
/// ignores links such as `latest`, folders without a report, and JSON files that are no reports.
///
/// # Errors
/// There is no report, or one cannot be read.
pub fn read_all(path: &Path) -> Result<Vec<Stored>, ReportError> {
    if !path.is_dir() || path.join(FILE_NAME).exists() {
        return Stored::read(path).map(|stored| vec![stored]);
    }
    let mut reports = Vec::new();
    for entry in entries(path).map_err(io_error(path))? {
        if entry.is_dir() {
            if entry.join(FILE_NAME).exists() && !entry.is_symlink() {
                reports.push(Stored::read(&entry)?);
            }
            continue;
        }
        let of_ours = entry.file_name().is_some_and(|name| name == SKIPPED_FILE);
        if !of_ours && entry.extension().is_some_and(|extension| extension == "json") {
            match Stored::read(&entry) {
                Err(ReportError::Foreign(..)) => {}
                read => reports.push(read?),
            }
        }
    }
    if !reports.is_empty() {
        return Ok(reports);
    }
    if history::file(path).is_some() {
        return Err(ReportError::Unfinished(path.display().to_string()));
    }
    let holds =
        |folder: &PathBuf| entries(folder).is_ok_and(|below| below.iter().any(|entry| entry.join(FILE_NAME).exists()));
    let near = entries(path).unwrap_or_default().into_iter().find(holds);
    let near = near.map_or_else(String::new, |near| format!("; {} has some", near.display()));
    Err(ReportError::NoReports(path.display().to_string(), near))
}

/// What is in a folder, in the order of names.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut entries = entries.collect::<io::Result<Vec<PathBuf>>>()?;
    entries.sort();
    Ok(entries)
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
        let plan = |path: &str, value: Value| {
            let mut report: Value = serde_json::from_str(&good).expect("JSON");
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

    #[test]
    fn other_files_are_no_reports_and_other_folders_have_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let good = text(&fixture::report("role-swap", Verdict::Pass)).expect("JSON");
        fs::write(folder.join("notes.txt"), "hello").expect("written");
        fs::write(folder.join("package.json"), "{\"name\": \"x\"}").expect("written");
        fs::write(folder.join("cut.json"), &good[..good.len() / 2]).expect("written");
        let error = |path: &Path| read_all(path).expect_err("no report").to_string();
        for (name, expected) in [
            ("notes.txt", "is not a report of slotquake: it is not JSON (hint: give the folder of a run"),
            ("package.json", "is not a report of slotquake: it has no schema_version (hint: give the folder"),
            ("cut.json", "is truncated: EOF"),
        ] {
            let said = error(&folder.join(name));
            assert!(said.contains(expected) && said.contains(name), "{said}");
        }
        assert!(error(folder).contains("cut.json is truncated"), "{}", error(folder));
        fs::remove_file(folder.join("cut.json")).expect("removed");
        let none = format!("{} has no reports (hint: give a folder that", folder.display());
        assert!(error(folder).starts_with(&none), "{}", error(folder));
        fs::create_dir_all(folder.join("out/one")).expect("a folder");
        fs::write(folder.join("out/one").join(FILE_NAME), &good).expect("written");
        assert!(error(folder).contains("out has some)"), "{}", error(folder));
        let found = read_all(&folder.join("out")).expect("a report");
        assert_eq!(found.iter().map(|stored| &stored.file).collect::<Vec<_>>(), [&folder.join("out/one/report.json")]);
    }

    #[test]
    fn flipped_bits_do_not_change_a_report() {
        let report = fixture::report("role-swap", Verdict::Pass);
        let good = text(&report).expect("JSON").into_bytes();
        assert_eq!(parse(&good, "x").expect("it reads"), report);
        let reordered = serde_json::from_slice::<Value>(&good).expect("JSON").to_string();
        assert_eq!(parse(reordered.as_bytes(), "x").expect("spaces and the order of keys do not matter"), report);
        let bits = good.len() * 8;
        let mut refused = 0;
        for bit in (0..500).map(|number| number * bits / 500) {
            let mut altered = good.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            match parse(&altered, "x") {
                // Only a space or the name of the checksum was hit.
                Ok(read) => assert_eq!(read, report, "bit {bit} of {bits}"),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 300, "{refused}");
    }

    #[test]
    fn a_damaged_report_points_to_its_history_if_that_can_be_judged() {
        let folder = tempfile::tempdir().expect("a folder");
        let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stored/formation-redis-6.2");
        let report = folder.path().join(FILE_NAME);
        let history = folder.path().join(history::LINES_FILE_NAME);
        let good = text(&fixture::report("role-swap", Verdict::Pass)).expect("JSON");
        fs::write(&report, good.replace("\"seed\": 7", "\"seed\": 8")).expect("written");
        let error = || read(folder.path()).expect_err("damaged").to_string();
        assert!(error().contains("its checksum does not match (hint: restore it from a copy"), "{}", error());
        fs::copy(stored.join(history::LINES_FILE_NAME), &history).expect("copied");
        assert!(error().contains("(hint: `slotquake check "), "{}", error());
        fs::write(&history, "no history").expect("written");
        assert!(error().contains("its history cannot be judged"), "{}", error());
        assert!(!error().contains("slotquake check"), "{}", error());
    }
}
