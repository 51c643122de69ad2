//! Losses of power, and how far back they reach.

use serde_json::json;
use slotquake_judge::check::Verdict::{Fail, Pass};
use slotquake_judge::facts::{Cause, Facts};
use slotquake_judge::history::FinalValue::{Missing, Number};
use slotquake_judge::history::{FaultKind, History};

use crate::expect;
use crate::story::What::Ok as Acked;
use crate::story::{Story, judged, key_of};

/// `node-1` acknowledges a write at each of these moments, and the fault hits it at 3 s. It is started at 5 s. The writes from
/// that number on are gone.
fn lost(kind: FaultKind, acked: &[f64], from: usize, may_lose: u64) -> History {
    let mut story = Story::new().invariant(json!({"acked-writes": {"may-lose": may_lose}})).phase(500.0, "a");
    for (n, at) in acked.iter().enumerate() {
        story = story.write(key_of(1, n), (at - 1.0, *at), 1, Acked);
    }
    story = story.fault(3000.0, kind, 1, true).fault(3000.0, kind, 4, false).heal(5000.0, 1).heal(5000.0, 2);
    for n in 0..acked.len() {
        story = story.holds(key_of(1, n), if n < from { Number(1) } else { Missing });
    }
    story.ends(9000.0)
}

#[test]
fn a_loss_of_power_loses_by_a_restart_and_reaches_back() {
    const ACKED: [f64; 4] = [1500.0, 2100.0, 2500.0, 2990.0];
    let ledger = |history: &History| Facts::new(history).ledger;
    for (kind, from, reach_ms) in [
        (FaultKind::PowerLoss, 4, 0),
        (FaultKind::PowerLoss, 3, 10),
        (FaultKind::PowerLoss, 1, 900),
        (FaultKind::PowerLoss, 0, 1500),
        (FaultKind::Kill, 1, 900),
    ] {
        let ledger = ledger(&lost(kind, &ACKED, from, 0));
        assert_eq!(ledger.lost, 4 - from as u64, "{kind}, {from}");
        assert!(ledger.examples.iter().all(|lost| lost.cause == Cause::Restart), "{:?}", ledger.examples);
        assert_eq!(ledger.restart_reach_ns, reach_ms * 1_000_000, "{kind}, {from}");
    }
    let reach = "the oldest that a restart lost was acknowledged 900 ms before its server ended";
    expect(
        "acked-writes",
        vec![
            ("nothing", lost(FaultKind::PowerLoss, &ACKED, 4, 0), Pass, "4 writes acknowledged: 0 lost"),
            ("a second", lost(FaultKind::PowerLoss, &ACKED, 1, 0), Fail, reach),
            ("as many as may be", lost(FaultKind::PowerLoss, &ACKED, 1, 3), Pass, reach),
            ("one more than may be", lost(FaultKind::PowerLoss, &ACKED, 1, 2), Fail, reach),
        ],
    );
    let figure = |kind| judged(&lost(kind, &ACKED, 1, 3), "acked-writes").figures.get("restart_reach_ms").copied();
    assert_eq!((figure(FaultKind::PowerLoss), figure(FaultKind::Kill)), (Some(900.0), None));
}

/// A power loss is a fault of the process like a kill: the servers' ends are by the plan, and its proof is demanded.
#[test]
fn a_loss_of_power_must_be_proven() {
    let hit = |proven: bool| {
        let story = Story::new().phase(500.0, "a").fault_injected(2000.0, FaultKind::PowerLoss, 1, true);
        story.proven(2050.0, proven).silent(2100.0, 1).heal(3000.0, 1).ends(9000.0)
    };
    assert_eq!(judged(&hit(true), "faults").verdict, Pass);
    let unproven = judged(&hit(false), "faults");
    assert!(unproven.seen.contains("fault 1 (power-loss node-1) was not in effect"), "{unproven:?}");
}
