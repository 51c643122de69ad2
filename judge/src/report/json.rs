//! The output of `--format json`: one document with every run.

use serde::Serialize;

use super::figures::Figures;
use super::summary::{Recorded, Standing, Summary};
use crate::anatomy::Anatomy;
use crate::check::Judgement;
use crate::history::SCHEMA_VERSION;
use crate::server::Version;
use crate::units::Speed;

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    exit_code: u8,
    runs: Vec<Run<'a>>,
}

#[derive(Serialize)]
struct Run<'a> {
    suite: &'a str,
    server: &'a str,
    version: Option<Version>,
    seed: u64,
    #[serde(skip_serializing_if = "Speed::is_real")]
    speed: Speed,
    /// `pass`, `inconclusive`, `fail`, `error` or `skipped`.
    verdict: &'static str,
    /// For `error`: why there is no report.
    message: Option<&'a str>,
    /// For `skipped`: why it was not run, with a hint.
    reason: Option<&'a str>,
    /// More than 1 if the runs before were inconclusive and were repeated.
    tries: u16,
    figures: Option<&'a Figures>,
    invariants: &'a [Judgement],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    anatomy: &'a [Anatomy],
    /// The report's folder.
    report: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded: Option<&'a Recorded>,
}

/// The runs and the exit code as one JSON document.
pub fn document(runs: &[Summary], exit_code: u8) -> String {
    let runs = runs
        .iter()
        .map(|run| Run {
            suite: &run.suite,
            server: &run.server,
            version: run.version,
            seed: run.seed,
            speed: run.speed,
            verdict: run.standing.word(),
            message: match &run.standing {
                Standing::Error(message) => Some(message),
                Standing::Judged(_) | Standing::Skipped(_) => None,
            },
            reason: match &run.standing {
                Standing::Skipped(reason) => Some(reason),
                Standing::Judged(_) | Standing::Error(_) => None,
            },
            tries: run.tries,
            figures: run.figures.as_ref(),
            invariants: &run.invariants,
            anatomy: &run.anatomy,
            report: run.report.as_ref().map(|path| path.display().to_string()),
            recorded: run.recorded.as_ref(),
        })
        .collect();
    let document = Document { schema_version: SCHEMA_VERSION, exit_code, runs };
    serde_json::to_string_pretty(&document).expect("a document of texts and finite numbers")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::super::fixture;
    use super::*;
    use crate::check::Verdict;

    #[test]
    fn contains_every_run() {
        let failed = Summary::new(&fixture::report("role-swap", Verdict::Fail), Path::new("reports/x"));
        let broken = Summary::without_report("formation", "/a/b", 7, Standing::Error("no cluster".to_owned()), None);
        let skipped = Standing::Skipped("nft is not installed".to_owned());
        let skipped = Summary::without_report("halves", "redis:6.2", 7, skipped, None);
        let document: Value = serde_json::from_str(&document(&[failed, broken, skipped], 1)).expect("JSON");
        for (pointer, expected) in [
            ("/exit_code", json!(1)),
            ("/runs/0/verdict", json!("fail")),
            ("/runs/0/message", json!(null)),
            ("/runs/0/report", json!("reports/x")),
            ("/runs/0/figures/first_write_ms", json!(7420.0)),
            ("/runs/0/figures/write_outage/length_ms", json!(7490.0)),
            ("/runs/0/invariants/0/invariant", json!("acked-writes")),
            ("/runs/0/invariants/0/verdict", json!("fail")),
            ("/runs/1/server", json!("b")),
            ("/runs/1/verdict", json!("error")),
            ("/runs/1/message", json!("no cluster")),
            ("/runs/1/reason", json!(null)),
            ("/runs/1/figures", json!(null)),
            ("/runs/2/verdict", json!("skipped")),
            ("/runs/2/message", json!(null)),
            ("/runs/2/reason", json!("nft is not installed")),
            ("/runs/2/report", json!(null)),
        ] {
            assert_eq!(document.pointer(pointer), Some(&expected), "{pointer}");
        }
    }
}
