//! Suites against the committed baseline: no verdict and no safety figure may be worse than there. Times
//! are of another machine and are not judged.

use std::fs;

use crate::support::{Places, QUICK, command, conclusive, fetched, slotquake};
use serde_json::{Value, json};

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/reports/baseline");
const SERVER: &str = "redis:6.2";

fn compared(base: &str, new: &str) -> crate::support::Ended {
    slotquake(&["compare", base, new, "--allow-different", "--format", "json"])
}

#[test]
fn no_regression_against_the_baseline() {
    fetched(SERVER);
    let reports = tempfile::tempdir().expect("a temporary directory");
    let out = reports.path().to_str().expect("a plain path");
    let place = Places::take(1);
    let args = ["run", "formation", "role-swap", "--server", SERVER, "--jobs", "1", "--out", out, "--seed", "7"];
    let ran = conclusive(|| command(&[&args[..], &QUICK].concat()));
    drop(place);
    assert_eq!(ran.code(), Some(0), "{}", ran.whole());
    for suite in ["formation", "role-swap"] {
        let base = format!("{BASELINE}/{suite}.json");
        let done = compared(&base, out);
        assert_eq!(done.code(), Some(0), "{}", done.whole());
        let pair = done.json()["comparisons"][0]["pairs"][0].clone();
        assert_eq!((&pair["suite"], &pair["new_verdict"]), (&json!(suite), &json!("pass")), "{}", done.whole());
    }
}

#[test]
fn detects_a_loss_against_the_baseline() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut seen = 0;
    for entry in fs::read_dir(BASELINE).expect("the baseline is committed") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let base = path.to_str().expect("a plain path");
        assert_eq!(compared(base, base).code(), Some(0), "{base}");
        let mut report: Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
        assert_eq!((&report["verdict"], &report["ledger"]["lost"]), (&json!("pass"), &json!(0)), "{base}");
        report["ledger"]["lost"] = json!(1);
        let worse = folder.path().join("worse.json");
        fs::write(&worse, report.to_string()).expect("written");
        assert_eq!(compared(base, worse.to_str().expect("a plain path")).code(), Some(1), "{base}");
        seen += 1;
    }
    assert!(seen >= 6, "{seen} reports");
}
