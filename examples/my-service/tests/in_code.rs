//! Suites in Rust, beside other tests.

use std::time::Duration;

use my_service::NODE_TIMEOUT_MS;
use slotquake::check::Verdict;
use slotquake::suite::OpKind;
use slotquake::testing::{Error, Suite};

#[test]
fn a_shipped_suite_passes_with_our_node_timeout() -> Result<(), Error> {
    let outcome = Suite::load("role-swap")?.config("cluster-node-timeout", NODE_TIMEOUT_MS).run_blocking()?;
    outcome.assert_pass();
    Ok(())
}

#[test]
fn writes_are_back_in_time_after_a_crash_and_none_is_lost() -> Result<(), Error> {
    let outcome = Suite::new("crash")
        .about("A master crashes; its replica takes over.")
        .server("redis:6.2")
        .config("cluster-node-timeout", NODE_TIMEOUT_MS)
        .phase("baseline")
        .settle(Duration::from_secs(1))
        .phase("master-down")
        .kill("shard-1/master")
        .await_promoted("shard-1")
        .settle(Duration::from_secs(1))
        .slot_coverage()
        .failover_time("shard-1", "spec")
        .availability(OpKind::Writes, "others", "1s")
        .invariant("acked-writes: { may-lose: measured }")
        .run_blocking()?;
    outcome.assert_pass();
    // The report has more than invariants can judge.
    let promoted_ms = outcome.figures().promotion_ms.expect("a promotion");
    assert!(promoted_ms >= NODE_TIMEOUT_MS as f64, "a master is not given up before the node timeout: {promoted_ms} ms");
    assert_eq!(outcome.judgements("failover-time").map(|judgement| judgement.verdict).max(), Some(Verdict::Pass));
    Ok(())
}
