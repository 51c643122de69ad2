//! Suites in code on real clusters.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use slotquake::check::Verdict;
use slotquake::report;
use slotquake::suite::OpKind;
use slotquake::testing::{Error, Suite};

fn quick(suite: Suite) -> Suite {
    suite.server("redis:6.2").config("cluster-node-timeout", 1000)
}

#[tokio::test]
async fn a_loaded_suite_runs_under_any_executor() -> Result<(), Error> {
    let out = tempfile::tempdir().expect("a temporary directory");
    let outcome = quick(Suite::load("role-swap")?).seed(7).out(out.path()).run().await?;
    outcome.assert_pass();
    assert_eq!(outcome.report().header.plan.seed, 7);
    assert_eq!(outcome.report().failovers.len(), 1);
    assert!(outcome.figures().promotion_ms.is_some_and(|ms| ms > 1000.0), "{outcome}");
    assert_eq!(outcome.judgements("promotions").count(), 2);
    assert!(outcome.folder().starts_with(out.path()) && outcome.folder().join("report.html").is_file());
    Ok(())
}

#[test]
fn a_failing_suite_panics_with_an_explanation() -> Result<(), Error> {
    let out = tempfile::tempdir().expect("a temporary directory");
    let outcome = quick(Suite::new("no-outage"))
        .phase("baseline")
        .settle("500ms")
        .phase("master-down")
        .kill("shard-1/master")
        .await_promoted("shard-1")
        .settle("500ms")
        .availability(OpKind::Writes, "shard-1", "100ms")
        .out(out.path())
        .run_blocking()?;
    assert_eq!(outcome.verdict(), Verdict::Fail, "{outcome}");
    let panic = catch_unwind(AssertUnwindSafe(|| outcome.assert_pass())).expect_err("it fails");
    let message = panic.downcast_ref::<String>().expect("a message");
    for expected in [
        "no-outage on redis:6.2",
        "FAIL  availability (of writes, shard shard-1, max-outage 100ms)",
        "kill node-1 as shard-1/master",
        "report  ",
        "again   slotquake run ./no-outage.yaml --server redis:6.2 --seed ",
    ] {
        assert!(message.contains(expected), "{expected:?} in:\n{message}");
    }
    Ok(())
}

#[test]
fn explains_why_a_suite_cannot_run() {
    let cut = Suite::load("halves").expect("a suite").run_blocking().expect_err("there is no sandbox here");
    assert!(matches!(cut, Error::Impossible { .. }), "{cut}");
    assert!(cut.to_string().contains("(hint: run it with `slotquake::cargo_test`"), "{cut}");
    let wrong = Suite::new("wrong").stop("node-7").run_blocking().expect_err("there is no such node");
    assert!(matches!(wrong, Error::Suite(_)) && wrong.to_string().contains("node-7"), "{wrong}");
    let gone = Suite::load("formation").expect("a suite").server("/nowhere/redis-server");
    let gone = gone.run_blocking().expect_err("there is no such server");
    assert!(matches!(gone, Error::Server(_)) && gone.to_string().contains("hint: "), "{gone}");
}

#[test]
fn reports_a_rejected_directive() {
    let out = tempfile::tempdir().expect("a temporary directory");
    let refused = quick(Suite::load("formation").expect("a suite")).config("maxmemory-policy", "never");
    let error = refused.out(out.path()).run_blocking().expect_err("the server does not start");
    assert!(matches!(error, Error::Run { .. }) && error.to_string().contains("maxmemory-policy"), "{error}");
}

#[tokio::test]
async fn dropping_a_run_ends_it_in_order() {
    let out = tempfile::tempdir().expect("a temporary directory");
    let endless = quick(Suite::new("endless")).phase("idle").settle("5m").slot_coverage().out(out.path());
    let waited = tokio::time::timeout(Duration::from_secs(5), endless.run()).await;
    assert!(waited.is_err(), "it goes on for five minutes");
    let patience = Instant::now() + Duration::from_secs(120);
    let report = loop {
        if let Ok(report) = report::read(&out.path().join("latest")) {
            break report;
        }
        assert!(Instant::now() < patience, "no report came");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(report.interrupted_by(), Some("its caller"));
}
