//! The output of `--format json`: one document with every run, or with every comparison.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::compare::{Compared, Comparison};
use super::figures::Figures;
use super::summary::{Recorded, Standing, Summary};
use crate::anatomy::Anatomy;
use crate::check::Judgement;
use crate::history::SCHEMA_VERSION;
use crate::server::Version;
use crate::units::Speed;

/// The version of the document of `compare --format json`. Version 1 had one comparison, under `comparison`.
const COMPARE_VERSION: u32 = 2;

/// What `slotquake run --format json` and `slotquake check --format json` print.
#[derive(Serialize, JsonSchema)]
pub(super) struct Document<'a> {
    /// The version of this format.
    schema_version: u32,
    /// The exit code of the command.
    exit_code: u8,
    /// The runs, in the order in which they were asked for.
    runs: Vec<Run<'a>>,
}

/// A run.
#[derive(Serialize, JsonSchema)]
struct Run<'a> {
    /// The name of the suite.
    suite: &'a str,
    /// The server as requested, in short.
    server: &'a str,
    /// The settings that `--matrix` varied, by path.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    matrix: &'a BTreeMap<String, String>,
    /// The version that the server reported; null if it never ran.
    version: Option<Version>,
    /// The seed of the run.
    seed: u64,
    /// How fast the run lived; missing at the real speed.
    #[serde(skip_serializing_if = "Speed::is_real")]
    speed: Speed,
    /// What became of it.
    #[schemars(extend("enum" = ["pass", "inconclusive", "fail", "error", "skipped"]))]
    verdict: &'static str,
    /// For `error`: why there is no report.
    message: Option<&'a str>,
    /// For `skipped`: why it was not run, with a hint.
    reason: Option<&'a str>,
    /// More than 1 if the runs before were inconclusive and were repeated.
    tries: u16,
    /// The figures; null without a report.
    figures: Option<&'a Figures>,
    /// The judgements of all invariants.
    invariants: &'a [Judgement],
    /// Where the time of each failover went.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    anatomy: &'a [Anatomy],
    /// The report's folder.
    report: Option<String>,
    /// Of `slotquake check`: the judgement in the report.
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
            matrix: &run.matrix,
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

/// What `slotquake compare --format json` prints.
#[derive(Serialize, JsonSchema)]
pub(super) struct ComparisonDocument<'a> {
    /// The version of this format.
    schema_version: u32,
    /// The exit code of the command.
    exit_code: u8,
    /// The base, as the user named it.
    base: &'a str,
    /// Each other side, compared with the base.
    comparisons: Vec<ComparedSide<'a>>,
}

/// A side, compared with the base.
#[derive(Serialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "four answers about one comparison")]
struct ComparedSide<'a> {
    /// The side, as the user named it.
    new: &'a str,
    /// Whether a verdict is worse than in the base.
    worse: bool,
    /// Whether a verdict or a figure is worse, or something of the base is missing.
    regressed: bool,
    /// Whether anything changed beyond chance, for better or worse.
    changed: bool,
    /// Whether a suite of the base was skipped.
    undecided: bool,
    #[serde(flatten)]
    comparison: &'a Comparison,
}

/// The comparisons of all sides with the base, and the exit code, as one JSON document.
pub fn comparison_document(base: &str, sides: &[Compared], exit_code: u8) -> String {
    fn side(Compared { name, comparison }: &Compared) -> ComparedSide<'_> {
        ComparedSide {
            new: name,
            worse: comparison.worse(),
            regressed: comparison.regressed(),
            changed: comparison.changed(),
            undecided: comparison.undecided(),
            comparison,
        }
    }
    let comparisons = sides.iter().map(side).collect();
    let document = ComparisonDocument { schema_version: COMPARE_VERSION, exit_code, base, comparisons };
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
