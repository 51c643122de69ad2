//! What runs into a folder of reports could not be run, and why: `skipped.json` beside the reports. A
//! comparison needs it to tell a run that was skipped from one that is gone.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::RunKey;
use super::store::{ReportError, io_error, write_page};
use crate::history::SCHEMA_VERSION;

/// The file's name.
pub(super) const FILE: &str = "skipped.json";

/// A suite on a server that could not be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// What was to be run.
    #[serde(flatten)]
    pub run: RunKey,
    /// Why it was not.
    pub reason: String,
}

#[derive(Serialize, Deserialize)]
struct Document {
    schema_version: u32,
    skipped: Vec<Skipped>,
}

/// Notes in a folder of reports what was skipped this time. What was noted of other suites and servers
/// stays; what was run now is not skipped any more.
pub fn note_skipped(out: &Path, ran: &[RunKey], skipped: &[Skipped]) -> Result<(), ReportError> {
    let noted = self::skipped(out)?;
    let settled = |run: &RunKey| ran.contains(run) || skipped.iter().any(|each| each.run == *run);
    let kept = noted.iter().filter(|each| !settled(&each.run));
    let all: Vec<Skipped> = kept.chain(skipped).cloned().collect();
    if all == noted {
        return Ok(());
    }
    if all.is_empty() {
        let file = out.join(FILE);
        return fs::remove_file(&file).map_err(io_error(&file));
    }
    let document = Document { schema_version: SCHEMA_VERSION, skipped: all };
    let text = serde_json::to_string_pretty(&document).expect("texts can be written as JSON");
    write_page(out, FILE, &format!("{text}\n")).map(|_| ())
}

/// What was noted in a folder of reports; nothing where `path` is none.
pub fn skipped(path: &Path) -> Result<Vec<Skipped>, ReportError> {
    let file = path.join(FILE);
    let text = match fs::read(&file) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(io_error(&file)(error)),
    };
    let origin = file.display().to_string();
    let document: Document =
        serde_json::from_slice(&text).map_err(|error| ReportError::Foreign(origin.clone(), error.to_string()))?;
    if document.schema_version == SCHEMA_VERSION {
        return Ok(document.skipped);
    }
    let hint = "remove it: a new run writes it again".to_owned();
    Err(ReportError::Version { path: origin, found: document.schema_version.into(), hint })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(suite: &str) -> RunKey {
        RunKey { suite: suite.to_owned(), server: "redis:6.2".to_owned() }
    }

    fn skip(suite: &str, reason: &str) -> Skipped {
        Skipped { run: key(suite), reason: reason.to_owned() }
    }

    #[test]
    fn what_is_noted_is_the_last_attempt_at_each_suite() {
        let out = tempfile::tempdir().expect("a temporary folder");
        let out = out.path();
        assert_eq!(skipped(out).expect("nothing noted"), []);
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
            note_skipped(out, &ran, &now).expect("noted");
            assert_eq!(skipped(out).expect("read"), expected);
        }
        assert_eq!(fs::read_dir(out).expect("listed").count(), 0, "nothing is left to say");
    }

    #[test]
    fn a_note_that_cannot_be_read_is_an_error() {
        let out = tempfile::tempdir().expect("a temporary folder");
        for (text, expected) in [
            ("{", "is not a report of slotquake"),
            (
                r#"{"schema_version": 9, "skipped": []}"#,
                "has schema version 9, this slotquake reads 1 (hint: remove it",
            ),
        ] {
            fs::write(out.path().join(FILE), text).expect("written");
            let error = skipped(out.path()).expect_err(text).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
