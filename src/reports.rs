//! Writes reports to disk: folders, `report.json`, pages, `latest`, `skipped.json`. [`crate::report`] reads them.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::history::{self, SCHEMA_VERSION};
use crate::report::{
    self, FILE_NAME, Report, ReportError, RunKey, SKIPPED_FILE, Skipped, SkippedFile, Standing, Summary, io_error,
    short_server, skipped,
};

/// The name of a run's folder: `role-swap-redis-6.2-20261122T130501Z`. The suite may be a variant of a matrix.
pub fn folder_name(suite: &str, server: &str, now: SystemTime) -> String {
    /// Names of files have 255 bytes at most.
    const MOST: usize = 100;
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '-' };
    let [suite, server] =
        [suite, &short_server(server)].map(|name| name.chars().take(MOST).map(plain).collect::<String>());
    let time = humantime::format_rfc3339_seconds(now).to_string().replace(['-', ':'], "");
    format!("{suite}-{server}-{time}")
}

/// Creates the folder of a run in `out`. Further runs that start in the same second, in this process or another,
/// get `-2`, `-3`, ... appended to the name.
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

/// Writes `report.json` into its folder atomically and returns its path.
pub fn write(folder: &Path, report: &Report) -> Result<PathBuf, ReportError> {
    let text = report::text(report).map_err(|error| io_error(&folder.join(FILE_NAME))(error.into()))?;
    write_whole(folder, FILE_NAME, &text)
}

/// Writes a page such as `report.html` or `index.html` into a folder atomically and returns its path.
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
        // Report the first error, not one from removing the incomplete file.
        let _ = fs::remove_file(&unfinished);
        return Err(io_error(&path)(error));
    }
    Ok(path)
}

/// Points the link `out/latest` at a folder in `out`. Replaces the link atomically.
pub fn mark_latest(out: &Path, folder: &Path) -> Result<(), ReportError> {
    let Some(name) = folder.file_name() else {
        return Ok(());
    };
    let latest = out.join("latest");
    // The folder's name makes this link unique among concurrent runs.
    let link = out.join(format!(".latest-{}", name.to_string_lossy()));
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(name, &link).map_err(io_error(&link))?;
    fs::rename(&link, &latest).map_err(|error| {
        let _ = fs::remove_file(&link);
        io_error(&latest)(error)
    })
}

/// Records in a folder of reports which runs were skipped this time. Keeps earlier records of other suites and
/// servers; removes those of runs in `ran`.
pub fn note_skipped(out: &Path, ran: &[RunKey], skipped: &[Skipped]) -> Result<(), ReportError> {
    let recorded = self::skipped(out)?;
    let is_replaced = |run: &RunKey| ran.contains(run) || skipped.iter().any(|each| each.run == *run);
    let kept = recorded.iter().filter(|each| !is_replaced(&each.run));
    let all: Vec<Skipped> = kept.chain(skipped).cloned().collect();
    if all == recorded {
        return Ok(());
    }
    if all.is_empty() {
        let file = out.join(SKIPPED_FILE);
        return fs::remove_file(&file).map_err(io_error(&file));
    }
    let document = SkippedFile { schema_version: SCHEMA_VERSION, skipped: all };
    let text = serde_json::to_string_pretty(&document).expect("texts can be written as JSON");
    write_page(out, SKIPPED_FILE, &format!("{text}\n")).map(|_| ())
}

/// Whether a folder is that of a run.
pub fn is_run(folder: &Path) -> bool {
    folder.join(FILE_NAME).exists() || history::file(folder).is_some()
}

/// The folders of runs directly in a folder, in the order of their names. Skips links such as `latest`.
pub fn folders(out: &Path) -> io::Result<Vec<PathBuf>> {
    let mut below = Vec::new();
    for entry in out.read_dir()? {
        let path = entry?.path();
        if !path.is_symlink() && is_run(&path) {
            below.push(path);
        }
    }
    below.sort();
    Ok(below)
}

/// These runs, and all others in the folder of reports: those of earlier commands, those without a report, and those that
/// were skipped.
pub fn with_earlier(runs: &[Summary], out: &Path) -> Result<Vec<Summary>, ReportError> {
    let mut all = runs.to_vec();
    for folder in folders(out).map_err(io_error(out))? {
        if all.iter().any(|run| run.report.as_ref().is_some_and(|known| known.file_name() == folder.file_name())) {
            continue;
        }
        all.push(match report::read(&folder) {
            Ok(report) => Summary::new(&report, &folder),
            Err(error) => {
                let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let why = match error {
                    ReportError::Unfinished(_) => "no report.json: the run was killed, or still goes on".to_owned(),
                    error => error.to_string(),
                };
                Summary::without_report(&name, "-", 0, Standing::Error(why), Some(&folder))
            }
        });
    }
    for each in skipped(out)? {
        let Skipped { run, reason } = each;
        let is_known = |known: &Summary| {
            matches!(known.standing, Standing::Skipped(_))
                && (known.variant() == run.suite && known.server == short_server(&run.server))
        };
        if !all.iter().any(is_known) {
            all.push(Summary::without_report(&run.suite, &run.server, 0, Standing::Skipped(reason), None));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::report::{parse, read, read_all};

    /// A report that an earlier version stored.
    fn report(suite: &str) -> Report {
        let text = include_bytes!("../reports/baseline/role-swap.json");
        let mut report = parse(text, "baseline").expect("a report");
        suite.clone_into(&mut report.header.plan.name);
        report
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn names_a_folder_by_suite_server_and_time() {
        for (server, expected) in [
            ("redis:6.2", "role-swap-redis-6.2-20261122T130501Z"),
            ("/opt/my builds/valkey-server", "role-swap-valkey-server-20261122T130501Z"),
            ("./odd name*", "role-swap-odd-name--20261122T130501Z"),
        ] {
            assert_eq!(folder_name("role-swap", server, at(1_795_352_701)), expected);
        }
    }

    #[test]
    fn concurrent_runs_get_different_folders() {
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
    fn reads_back_a_written_report() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let report = report("role-swap");
        let path = write(folder.path(), &report).expect("written");
        assert_eq!(read(folder.path()).expect("by folder"), report);
        assert_eq!(read(&path).expect("by file"), report);
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1, "no temporary file is left");
    }

    #[test]
    fn explains_a_folder_without_a_report() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let error = |path: &Path| read_all(path).expect_err("nothing there").to_string();
        assert!(error(&folder.path().join("gone")).ends_with("no such file or folder"));
        assert!(error(folder.path()).contains("has no reports (hint: "));
        fs::write(folder.path().join(history::FILE_NAME), "").expect("written");
        assert!(error(folder.path()).contains("slotquake check"));
    }

    #[test]
    fn replaces_latest_and_does_not_read_it_as_a_report() {
        let out = tempfile::tempdir().expect("a temporary folder");
        for suite in ["b", "a"] {
            let folder = create_folder(out.path(), suite, "redis:6.2", at(0)).expect("a folder");
            write(&folder, &report(suite)).expect("written");
            mark_latest(out.path(), &folder).expect("linked");
            let latest = read(&out.path().join("latest")).expect("a report");
            assert_eq!(latest.header.plan.name, suite);
        }
        let names: Vec<_> =
            read_all(out.path()).expect("reports").into_iter().map(|stored| stored.report.header.plan.name).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(fs::read_dir(out.path()).expect("listed").count(), 3, "two folders and the link");
    }

    fn key(suite: &str) -> RunKey {
        RunKey { suite: suite.to_owned(), server: "redis:6.2".to_owned() }
    }

    fn skip(suite: &str, reason: &str) -> Skipped {
        Skipped { run: key(suite), reason: reason.to_owned() }
    }

    #[test]
    fn keeps_only_the_latest_attempt_of_each_suite() {
        let out = tempfile::tempdir().expect("a temporary folder");
        let out = out.path();
        assert_eq!(skipped(out).expect("an empty list"), []);
        for (ran, now, expected) in [
            (vec![key("a")], vec![], vec![]),
            (
                vec![],
                vec![skip("ring", "no nft"), skip("halves", "no nft")],
                vec![skip("ring", "no nft"), skip("halves", "no nft")],
            ),
            (
                vec![key("a")],
                vec![skip("ring", "no namespaces")],
                vec![skip("halves", "no nft"), skip("ring", "no namespaces")],
            ),
            (vec![key("ring")], vec![], vec![skip("halves", "no nft")]),
            (vec![key("halves")], vec![], vec![]),
        ] {
            note_skipped(out, &ran, &now).expect("recorded");
            assert_eq!(skipped(out).expect("read"), expected);
        }
        assert_eq!(fs::read_dir(out).expect("listed").count(), 0, "an empty list leaves no file");
    }

    #[test]
    fn the_page_of_all_runs_knows_those_of_earlier_commands() {
        let out = tempfile::tempdir().expect("a temporary folder");
        let out = out.path();
        let run = |suite: &str| {
            let folder = create_folder(out, suite, "redis:6.2", at(0)).expect("a folder");
            write(&folder, &report(suite)).expect("written");
            folder
        };
        run("earlier");
        let now = Summary::new(&report("now"), &run("now"));
        fs::create_dir(out.join("killed")).expect("a folder");
        fs::write(out.join("killed").join(history::FILE_NAME), "").expect("written");
        note_skipped(out, &[], &[skip("ring", "no nft")]).expect("recorded");
        let all = with_earlier(&[now], out).expect("read");
        let told: Vec<(&str, &str)> = all.iter().map(|run| (run.suite.as_str(), run.standing.word())).collect();
        assert_eq!(told, [("now", "pass"), ("earlier", "pass"), ("killed", "error"), ("ring", "skipped")]);
    }

    #[test]
    fn rejects_an_unreadable_list_of_skipped_runs() {
        let out = tempfile::tempdir().expect("a temporary folder");
        for (text, expected) in [
            ("{", "is not a report of slotquake"),
            (
                r#"{"schema_version": 9, "skipped": []}"#,
                "has schema version 9, this slotquake reads 1 (hint: remove it",
            ),
        ] {
            fs::write(out.path().join(SKIPPED_FILE), text).expect("written");
            let error = skipped(out.path()).expect_err(text).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
