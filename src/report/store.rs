//! Reports on disk: folders, `report.json`, `latest`.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::summary::short_server;
use super::{Report, skipped};
use crate::history::{FILE_NAME, SCHEMA_VERSION};

/// The file in a report's folder.
const FILE: &str = "report.json";

/// Why a report could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is nothing of that name.
    #[error("{0}: no such file or folder")]
    Missing(String),
    /// The folder of a run that never got so far.
    #[error(
        "{0} holds no report.json (hint: a run that was cut off left only its history; `slotquake check {0}` judges it)"
    )]
    Unfinished(String),
    /// The folder has nothing to do with reports.
    #[error("{0} holds no report.json")]
    NoReport(String),
    /// The file breaks off.
    #[error("{0} is truncated: {1} (hint: `slotquake check` on its folder judges the history again)")]
    Truncated(String, serde_json::Error),
    /// The file is not JSON.
    #[error("{0} is corrupt: {1} (hint: `slotquake check` on its folder judges the history again)")]
    Corrupt(String, serde_json::Error),
    /// JSON, but no report.
    #[error("{0} is not a report of slotquake: {1}")]
    Foreign(String, String),
    /// Another version of the format.
    #[error("{path} has schema version {found}, this slotquake reads {SCHEMA_VERSION} (hint: {hint})")]
    Version {
        /// The file.
        path: String,
        /// Its version.
        found: u64,
        /// What to do.
        hint: String,
    },
}

pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> ReportError + '_ {
    move |source| ReportError::Io { path: path.display().to_string(), source }
}

/// The name of a run's folder: `role-swap-redis-6.2-20261122T130501Z`.
pub fn folder_name(suite: &str, server: &str, now: SystemTime) -> String {
    let server: String = short_server(server)
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '-' })
        .collect();
    let time = humantime::format_rfc3339_seconds(now).to_string().replace(['-', ':'], "");
    format!("{suite}-{server}-{time}")
}

/// Makes the folder of a run under `out`. Runs that begin in one second, in this process or another,
/// get `-2`, `-3`, ... behind the name.
pub fn create_folder(out: &Path, suite: &str, server: &str, now: SystemTime) -> Result<PathBuf, ReportError> {
    fs::create_dir_all(out).map_err(io_error(out))?;
    let name = folder_name(suite, server, now);
    let mut folder = out.join(&name);
    let mut count = 1;
    loop {
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                count += 1;
                folder = out.join(format!("{name}-{count}"));
            }
            Err(error) => return Err(io_error(&folder)(error)),
        }
    }
}

/// Writes `report.json` into its folder: whole, or not at all.
pub fn write(folder: &Path, report: &Report) -> Result<PathBuf, ReportError> {
    let mut text = serde_json::to_string_pretty(report).map_err(|error| io_error(&folder.join(FILE))(error.into()))?;
    text.push('\n');
    write_whole(folder, FILE, &text)
}

/// Writes a page, `report.html` or `index.html`, into a folder: whole, or not at all.
pub fn write_page(folder: &Path, name: &str, page: &str) -> Result<PathBuf, ReportError> {
    write_whole(folder, name, page)
}

fn write_whole(folder: &Path, name: &str, text: &str) -> Result<PathBuf, ReportError> {
    let path = folder.join(name);
    let unfinished = folder.join(format!(".{name}.{}", std::process::id()));
    let written = fs::File::create(&unfinished).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    if let Err(error) = written.and_then(|()| fs::rename(&unfinished, &path)) {
        // What is half written helps nobody; the first error is the one to tell of.
        let _ = fs::remove_file(&unfinished);
        return Err(io_error(&path)(error));
    }
    Ok(path)
}

/// Points `out/latest` at a folder in `out`, replacing the link in one step.
pub fn mark_latest(out: &Path, folder: &Path) -> Result<(), ReportError> {
    let Some(name) = folder.file_name() else {
        return Ok(());
    };
    let latest = out.join("latest");
    // The folder's own name makes this one unique among runs side by side.
    let link = out.join(format!(".latest-{}", name.to_string_lossy()));
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(name, &link).map_err(io_error(&link))?;
    fs::rename(&link, &latest).map_err(|error| {
        let _ = fs::remove_file(&link);
        io_error(&latest)(error)
    })
}

/// Reads a report from its folder or file.
pub fn read(path: &Path) -> Result<Report, ReportError> {
    let shown = path.display().to_string();
    let file = if path.is_dir() { path.join(FILE) } else { path.to_owned() };
    let text = match fs::read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(if !path.exists() {
                ReportError::Missing(shown)
            } else if path.join(FILE_NAME).exists() {
                ReportError::Unfinished(shown)
            } else {
                ReportError::NoReport(shown)
            });
        }
        Err(error) => return Err(io_error(&file)(error)),
    };
    parse(&text, &file.display().to_string())
}

/// Reads a report from its text; `origin` is what errors call it.
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

/// Reads the report at `path`, or, where `path` is a folder of them, every report in it (one level
/// deep, links such as `latest` left out), in the order of their names. Folders without a report
/// are passed over; a report that cannot be read is an error.
pub fn read_all(path: &Path) -> Result<Vec<Report>, ReportError> {
    if !path.is_dir() || path.join(FILE).exists() {
        return read(path).map(|report| vec![report]);
    }
    let mut entries: Vec<PathBuf> = fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(io_error(path))?;
    entries.sort();
    let mut reports = Vec::new();
    for entry in entries {
        let is_report = if entry.is_dir() {
            entry.join(FILE).exists() && !entry.is_symlink()
        } else {
            let of_ours = entry.file_name().is_some_and(|name| name == skipped::FILE);
            !of_ours && entry.extension().is_some_and(|extension| extension == "json")
        };
        if is_report {
            reports.push(read(&entry)?);
        }
    }
    if reports.is_empty() {
        // Says whether a history lies there, as for any folder without a report.
        return read(path).map(|report| vec![report]);
    }
    Ok(reports)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::fixture;
    use super::*;
    use crate::check::Verdict;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_folder_is_named_by_suite_server_and_time() {
        for (server, expected) in [
            ("redis:6.2", "role-swap-redis-6.2-20261122T130501Z"),
            ("/opt/my builds/valkey-server", "role-swap-valkey-server-20261122T130501Z"),
            ("./odd name*", "role-swap-odd-name--20261122T130501Z"),
        ] {
            assert_eq!(folder_name("role-swap", server, at(1_795_352_701)), expected);
        }
    }

    #[test]
    fn runs_of_one_second_get_folders_of_their_own() {
        let out = tempfile::tempdir().expect("a temporary folder");
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let out = out.path().join("deep/reports");
                std::thread::spawn(move || create_folder(&out, "a", "redis:6.2", at(0)).expect("a folder"))
            })
            .collect();
        let mut folders: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("a thread")).collect();
        folders.sort();
        folders.dedup();
        assert_eq!(folders.len(), 8);
        assert!(folders[0].ends_with("a-redis-6.2-19700101T000000Z"), "{folders:?}");
    }

    #[test]
    fn a_report_is_read_back_as_it_was_written() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let report = fixture::report("role-swap", Verdict::Fail);
        let path = write(folder.path(), &report).expect("written");
        assert_eq!(read(folder.path()).expect("by folder"), report);
        assert_eq!(read(&path).expect("by file"), report);
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1, "no temporary file is left");
    }

    #[test]
    fn what_is_no_report_is_refused_with_the_reason() {
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
            (endless.as_str(), "is not a report of slotquake: its plan has 4294967295 keys"),
            (&nobody, "its plan does not deal the slots: there are no shards"),
            (&halved, "its plan does not deal the slots: slots 8192-16383 are no shard's"),
            (&second, "its plan does not deal the slots: node-1 is the master of shard-2, of 1 shards"),
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
    fn a_folder_without_a_report_says_what_it_holds() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let error = |path: &Path| read_all(path).expect_err("nothing there").to_string();
        assert!(error(&folder.path().join("gone")).ends_with("no such file or folder"));
        assert!(error(folder.path()).ends_with("holds no report.json"));
        fs::write(folder.path().join(FILE_NAME), "").expect("written");
        assert!(error(folder.path()).contains("slotquake check"));
    }

    #[test]
    fn latest_is_replaced_and_not_counted_as_a_report() {
        let out = tempfile::tempdir().expect("a temporary folder");
        for suite in ["b", "a"] {
            let folder = create_folder(out.path(), suite, "redis:6.2", at(0)).expect("a folder");
            write(&folder, &fixture::report(suite, Verdict::Pass)).expect("written");
            mark_latest(out.path(), &folder).expect("linked");
            let latest = read(&out.path().join("latest")).expect("a report");
            assert_eq!(latest.header.plan.name, suite);
        }
        let names: Vec<_> =
            read_all(out.path()).expect("reports").into_iter().map(|report| report.header.plan.name).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(fs::read_dir(out.path()).expect("listed").count(), 3, "two folders and the link");
    }
}
