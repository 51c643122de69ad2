//! Suites in code on real clusters.

use std::net::{SocketAddr, TcpStream};
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

/// Whether a server listens there. Outside of the sandbox, a test can reach the addresses.
fn is_open(addr: SocketAddr) -> bool {
    TcpStream::connect_timeout(&addr, Duration::from_secs(2)).is_ok()
}

#[tokio::test]
async fn a_cluster_that_is_up_serves_an_ordinary_test() -> Result<(), Error> {
    let out = tempfile::tempdir().expect("a temporary directory");
    let cluster = quick(Suite::new("mine")).out(out.path()).up().await?;
    assert_eq!((cluster.addresses().len(), cluster.urls().len()), (6, 6));
    let client = redis::cluster::ClusterClient::new(cluster.urls()).expect("addresses");
    let mut connection = client.get_async_connection().await.expect("it is up");
    let _: () = redis::cmd("SET").arg("testkey").arg("1").query_async(&mut connection).await.expect("a write");
    assert_eq!(cluster.send("node-1", "GET testkey").await?, "1");

    let before = cluster.address("shard-1/master").await?;
    cluster.inject("kill: shard-1/master").await?;
    assert!(!is_open(before), "the fault is in effect when it returns");
    cluster.until("{ promoted: shard-1, within: 30s }").await?;
    let after = cluster.address("shard-1/master").await?;
    assert_eq!((before, after), (cluster.addresses()[0], cluster.addresses()[3]));
    let mut master = cluster.connection("shard-1/master").await?;
    let role: redis::Value = redis::cmd("ROLE").query_async(&mut master).await.expect("an answer");
    assert!(format!("{role:?}").contains("master"), "{role:?}");
    let status = cluster.status().await?;
    assert!(status.nodes[0].process.starts_with("gone"), "{status:?}");
    cluster.inject("start: node-1").await?;
    cluster.until("{ in-sync: node-1, within: 30s }").await?;

    for (problem, expected) in [
        (cluster.inject("kil: node-1").await, "`inject`: unknown step \"kil\""),
        (cluster.inject("kill: node-9").await, "node-9 does not exist"),
        (cluster.inject("partition: { between: [node-1, node-2] }").await, "Environment::enter"),
        (cluster.until("{ promoted: shard-9, within: 1s }").await, "shard-9 does not exist"),
        (cluster.until("{ cluster-fail: node-2, within: 100ms }").await, "was not met within 100ms"),
    ] {
        let problem = problem.expect_err(expected).to_string();
        assert!(problem.starts_with("suite \"mine\": ") && problem.contains(expected), "{expected:?} in {problem}");
    }
    let (addresses, folder) = (cluster.addresses().to_vec(), cluster.folder().to_owned());
    cluster.down()?;
    assert!(!addresses.into_iter().any(is_open), "every server is gone");
    assert!(folder.join("logs").is_dir(), "the logs stay");
    Ok(())
}

#[test]
fn a_cluster_ends_with_a_test_that_panics() {
    let out = tempfile::tempdir().expect("a temporary directory");
    let mut addresses = Vec::new();
    let panics = AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let cluster = quick(Suite::new("mine")).out(out.path()).up().await.expect("it comes up");
            addresses = cluster.addresses().to_vec();
            assert!(addresses.iter().all(|&addr| is_open(addr)));
            panic!("as a failing assertion does");
        });
    });
    let message = catch_unwind(panics).expect_err("it panics");
    assert_eq!(message.downcast_ref::<&str>(), Some(&"as a failing assertion does"));
    assert!(addresses.len() == 6 && !addresses.into_iter().any(is_open), "every server is gone");
}

#[tokio::test]
async fn explains_why_a_cluster_does_not_come_up() {
    let out = tempfile::tempdir().expect("a temporary directory");
    let refused = quick(Suite::new("mine")).config("maxmemory-policy", "never").out(out.path()).up().await;
    let error = refused.expect_err("the server does not start");
    assert!(matches!(error, Error::Run { .. }) && error.to_string().contains("maxmemory-policy"), "{error}");
    let error = quick(Suite::new("Mine")).up().await.expect_err("no name");
    assert!(matches!(error, Error::Suite(_)) && error.to_string().contains("is not a name"), "{error}");
    let error = quick(Suite::new("mine")).exec("./nowhere/check").up().await.expect_err("no program");
    assert!(error.to_string().contains("there is no program \"./nowhere/check\""), "{error}");
}
