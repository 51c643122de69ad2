//! The cases: a suite each, and what must be true of its history.

use slotquake::check::{Verdict, check};
use slotquake::facts::Facts;
use slotquake::history::{EventKind, Outcome, StepProblem};
use slotquake::units::{ClientNo, NodeNo, ShardNo};

use crate::stage::{Case, Told};

const SECOND: u64 = 1_000_000_000;

pub fn all() -> Vec<Case> {
    vec![
        Case {
            name: "a master cut off with half of the clients loses what it acknowledges",
            suite: MINORITY,
            judge: minority,
        },
        Case { name: "with WAIT nothing that was acknowledged is lost", suite: MINORITY_WAIT, judge: minority_wait },
        Case {
            name: "clients come back soon after a cut that outlasted their patience",
            suite: CLIENTS,
            judge: clients,
        },
        Case { name: "a cut of the bus leaves the data path alone", suite: BUS, judge: bus },
        Case { name: "a one-way cut is proven and healed", suite: ONE_WAY, judge: one_way },
        Case { name: "a refusal fails connections at once", suite: REFUSE, judge: refuse },
        Case { name: "a lossy bus is survived", suite: LOSSY, judge: |told| told.assert_sound() },
        Case { name: "a narrow link makes a replica fall behind", suite: NARROW, judge: narrow },
        Case { name: "a narrow link that nobody fills is filled", suite: NARROW_IDLE, judge: narrow_idle },
        Case { name: "a slow link is measured", suite: SLOW, judge: |told| told.assert_sound() },
        Case { name: "short cuts in a row promote nobody", suite: FLAPPING, judge: flapping },
        Case { name: "shapes come and go", suite: SHAPES, judge: shapes },
        Case { name: "faults overlap and are healed one by one", suite: OVERLAP, judge: overlap },
        Case { name: "what the steps leave in force is lifted at the end", suite: LEFT, judge: left },
        Case { name: "what a run that is cut short leaves in force is lifted too", suite: SHORT, judge: short },
        Case { name: "a name in force is not given twice", suite: TWICE, judge: twice },
        Case { name: "an unknown name is not healed", suite: UNKNOWN, judge: unknown },
        Case { name: "a fault of links keeps its nodes where they are", suite: ELSEWHERE, judge: elsewhere },
        Case { name: "nobody stands on both sides", suite: BOTH_SIDES, judge: both_sides },
        Case { name: "a master that does not notice its cut is caught by its writes", suite: UNAWARE, judge: unaware },
        Case { name: "a node that forgets its epoch is caught", suite: FORGETFUL, judge: forgetful },
    ]
}

/// A suite that cuts a master off with half of the clients; what is added to its workload.
macro_rules! minority {
    ($workload:literal) => {
        concat!(
            "
workload: { rate: 400/s, reads: 20%, timeout: 2s",
            $workload,
            " }
steps:
  - settle: 1s
  - partition: { between: [[shard-1/master, half-clients], others], name: minority }
  - await: { promoted: shard-1, within: spec }
  - settle: 1s
  - heal: minority
  - await: { converged: all, within: spec }
  - settle: 3s
"
        )
    };
}

const MINORITY: &str = minority!("");

fn minority(told: &Told) {
    told.assert_sound();
    let (cut, healed) = (told.injected_ns()[0], told.healed_ns()[0]);
    assert!(told.hits()[0].iter().all(|hit| hit.node == NodeNo(1) && hit.was_master), "{:?}", told.hits());
    let sides = told.history.events.iter().find_map(|event| match &event.kind {
        EventKind::NetworkFaultInjected { sides, .. } => Some(sides),
        _ => None,
    });
    let sides = sides.expect("the fault was announced");
    assert_eq!((&sides[0].nodes[..], &sides[0].clients[..]), (&[NodeNo(1)][..], &[ClientNo(1), ClientNo(2)][..]));
    assert_eq!((sides[1].nodes.len(), &sides[1].clients[..]), (5, &[ClientNo(3), ClientNo(4)][..]));

    let cut_off: Vec<_> = told.acknowledged_by(1).filter(|op| (cut..healed).contains(&op.complete_ns())).collect();
    let far = cut_off.iter().filter(|op| op.client() >= 2 && op.invoke_ns() > told.proven_ns()[0]).count();
    assert_eq!(far, 0, "clients of the other side do not reach it");
    let last = cut_off.iter().map(|op| op.complete_ns() - cut).max().expect("it went on acknowledging");
    assert!((SECOND / 2..4 * SECOND).contains(&last), "it stopped after {last} ns");
    assert!(told.unserved("CLUSTERDOWN") > 0, "it refuses from then on");
    let ledger = Facts::new(&told.history).ledger;
    assert!(ledger.lost > 0, "{ledger:?}");
    assert!(ledger.examples.iter().all(|lost| lost.acked_by == Some(NodeNo(1)) && lost.shard == ShardNo(1)));
    let back = |client| {
        let served = told.acknowledged_by(4).filter(|op| op.client() == client && op.complete_ns() > healed);
        served.map(|op| op.complete_ns() - healed).min()
    };
    for client in 0..4 {
        assert!(back(client).is_some_and(|after| after < 5 * SECOND), "client {client}: {:?}", back(client));
    }
}

const MINORITY_WAIT: &str = minority!(", wait: { replicas: 1, timeout: 100ms }");

fn minority_wait(told: &Told) {
    told.assert_sound();
    let (cut, healed) = (told.injected_ns()[0], told.healed_ns()[0]);
    assert!(told.unserved("WAIT: 0 of 1 replicas within 100ms") > 0);
    let acknowledged = told.acknowledged_by(1).filter(|op| (told.proven_ns()[0]..healed).contains(&op.invoke_ns()));
    assert_eq!(acknowledged.count(), 0, "nothing counts as acknowledged that no replica has");
    let before: Vec<_> = told.writes().filter(|op| op.complete_ns() < cut).collect();
    assert!(before.len() > 200 && before.iter().all(|op| op.outcome() == Outcome::Ok));
    let ledger = Facts::new(&told.history).ledger;
    assert_eq!(ledger.lost, 0, "{ledger:?}");
}

const CLIENTS: &str = "
workload: { rate: 200/s, reads: 50%, read-from: master, timeout: 2s }
steps:
  - settle: 1s
  - partition: { between: [clients, shard-2/master], only: clients }
  - settle: 7s
  - heal: all
  - settle: 4s
";

fn clients(told: &Told) {
    told.assert_sound();
    let (proven, healed) = (told.proven_ns()[0], told.healed_ns()[0]);
    assert_eq!(told.hits()[0].iter().map(|hit| hit.node).collect::<Vec<_>>(), [NodeNo(2)]);
    assert!(!told.owned_slots(5), "the nodes notice nothing");
    let in_cut = told.acknowledged_by(2).filter(|op| op.invoke_ns() > proven && op.complete_ns() < healed);
    assert_eq!(in_cut.count(), 0);
    assert!(told.has_unknown() && told.unserved("no connection to") > 0);
    for client in 0..4 {
        let ops =
            told.history.ops.iter().filter(|op| op.client() == client && op.node() == 2 && op.complete_ns() > healed);
        let back = ops.filter(|op| op.outcome() == Outcome::Ok).map(|op| op.complete_ns() - healed).min();
        assert!(back.is_some_and(|after| after < 3 * SECOND), "client {client}: {back:?}");
    }
}

const BUS: &str = "
workload: { rate: 400/s, reads: 20%, timeout: 2s }
steps:
  - settle: 1s
  - partition: { between: [shard-1/master, others], only: bus }
  - await: { promoted: shard-1, within: spec }
  - settle: 1s
  - heal: all
  - await: { converged: all, within: spec }
  - settle: 1s
";

fn bus(told: &Told) {
    told.assert_sound();
    let cut = told.injected_ns()[0];
    let early = told.acknowledged_by(1).filter(|op| (cut..cut + SECOND / 2).contains(&op.complete_ns()));
    assert!(early.count() > 5, "clients still reach it");
    assert!(!told.has_unknown(), "no command is left without an answer");
    assert!(told.owned_slots(4));
}

const ONE_WAY: &str = "
workload: { rate: 200/s, timeout: 2s }
steps:
  - settle: 1s
  - partition: { between: [shard-1/master, others], one-way: true, name: mute }
  - await: { promoted: shard-1, within: spec }
  - settle: 1s
  - heal: mute
  - await: { converged: all, within: spec }
";

fn one_way(told: &Told) {
    told.assert_sound();
    assert!(told.owned_slots(4));
}

const REFUSE: &str = "
workload: { rate: 400/s, reads: 0%, timeout: 2s }
steps:
  - settle: 1s
  - refuse: { between: [clients, shard-1/master], only: clients }
  - settle: 2s
  - heal: all
  - settle: 1s
";

fn refuse(told: &Told) {
    told.assert_sound();
    let (proven, healed) = (told.proven_ns()[0], told.healed_ns()[0]);
    assert!(told.unserved("connection refused by") > 10);
    let in_cut = told.acknowledged_by(1).filter(|op| op.invoke_ns() > proven && op.complete_ns() < healed);
    assert_eq!(in_cut.count(), 0);
    assert!(told.acknowledged_by(1).any(|op| op.complete_ns() > healed));
    assert!(!told.owned_slots(4));
}

const LOSSY: &str = "
workload: { rate: 200/s }
steps:
  - settle: 1s
  - lossy: { between: [[shard-1, shard-2/master], others], percent: 10%, only: bus, name: weak }
  - settle: 3s
  - heal: weak
  - await: { converged: all, within: spec }
";

const NARROW: &str = "
workload: { rate: 400/s, reads: 0%, value-size: 1000, timeout: 2s }
steps:
  - settle: 1s
  - narrow: { between: [shard-1/master, shard-1/replica], rate: 20kB/s, only: replication }
  - settle: 4s
  - heal: all
  - await: { in-sync: node-4, within: spec }
";

fn narrow(told: &Told) {
    told.assert_sound();
    let (cut, healed) = (told.injected_ns()[0], told.healed_ns()[0]);
    assert!(told.lag(4, cut, healed) > 100_000, "{} bytes", told.lag(4, cut, healed));
    assert!(told.lag(5, cut, healed) < 50_000, "the others keep up");
    assert!(!told.owned_slots(4));
    let synced = told.times(|kind| matches!(kind, EventKind::Synced { full: 1, .. }));
    assert!(synced.len() >= 3, "each master synchronised its replica at boot");
}

const NARROW_IDLE: &str = "
workload: { rate: 10/s }
steps:
  - narrow: { between: [shard-1/master, shard-1/replica], rate: 50kB/s, only: replication }
  - heal: all
";

fn narrow_idle(told: &Told) {
    told.assert_sound();
    let mut proofs = told.history.events.iter().filter_map(|event| match &event.kind {
        EventKind::FaultProven { proof, .. } => Some(proof.as_str()),
        _ => None,
    });
    assert!(proofs.next_back().is_some_and(|proof| proof.ends_with("filled by the harness")));
}

pub const SLOW: &str = "
workload: { rate: 100/s }
steps:
  - slow: { between: [shard-1/master, others], latency: 100ms, jitter: 10ms }
  - settle: 1s
  - heal: all
";

/// Cuts take at least the 250 ms of their proof, and longer on a busy machine.
pub const FLAPPING: &str = "
workload: { rate: 200/s, timeout: 2s }
steps:
  - settle: 1s
  - partition: { between: [shard-1/master, others] }
  - settle: 100ms
  - heal: all
  - settle: 500ms
  - partition: { between: [shard-1/master, others] }
  - settle: 100ms
  - heal: all
  - settle: 500ms
  - partition: { between: [shard-1/master, others] }
  - settle: 100ms
  - heal: all
  - await: { converged: all, within: spec }
";

fn flapping(told: &Told) {
    told.assert_sound();
    for (cut, healed) in told.injected_ns().into_iter().zip(told.healed_ns()) {
        assert!(healed - cut < 4 * SECOND, "a cut of {} ns", healed - cut);
    }
    assert!(!told.owned_slots(4), "no promotion");
    assert!(told.epochs().len() <= 1, "no election: {:?}", told.epochs());
}

const SHAPES: &str = "
workload: { rate: 100/s, timeout: 2s }
steps:
  - settle: 500ms
  - partition: { shape: bridge }
  - settle: 2s
  - heal: all
  - await: { converged: all, within: spec }
  - partition: { shape: ring }
  - settle: 2s
  - heal: all
  - await: { converged: all, within: spec }
  - partition: { shape: halves }
  - await: { promoted: shard-1, within: spec }
  - heal: all
  - await: { converged: all, within: spec }
";

fn shapes(told: &Told) {
    told.assert_sound();
    let hits: Vec<Vec<u16>> = told.hits().iter().map(|hits| hits.iter().map(|hit| hit.node.0).collect()).collect();
    assert_eq!(hits, [vec![2, 3, 4, 5, 6], vec![1, 2, 3, 4, 5, 6], vec![1, 5, 6]]);
    assert!(told.owned_slots(4) && !told.owned_slots(5) && !told.owned_slots(6));
}

const OVERLAP: &str = "
workload: { rate: 100/s, timeout: 2s }
steps:
  - settle: 500ms
  - partition: { between: [node-4, others], name: replica }
  - partition: { between: [[node-4, node-5], [node-6]], name: replicas }
  - kill: node-5
  - heal: replica
  - heal: replicas
  - start: node-5
  - await: { converged: all, within: spec }
";

fn overlap(told: &Told) {
    assert_eq!(told.problems(), Vec::<&StepProblem>::new());
    let proofs = told.history.events.iter().filter_map(|event| match &event.kind {
        EventKind::HealProven { healed, proof, fault } => Some((*fault, *healed, proof.as_str())),
        _ => None,
    });
    let proofs: Vec<_> = proofs.collect();
    assert_eq!(proofs.iter().map(|proof| proof.0).collect::<Vec<_>>(), [1, 2, 3], "numbers are shared with kill");
    assert!(proofs.iter().all(|proof| proof.1), "{proofs:?}");
}

const LEFT: &str = "
workload: { rate: 100/s, timeout: 2s }
steps:
  - settle: 500ms
  - partition: { between: [minority, majority], name: first }
  - refuse: { between: [node-2, node-5], name: second }
";

fn left(told: &Told) {
    told.assert_sound();
    let ended = told.times(|kind| matches!(kind, EventKind::StepsEnded))[0];
    assert!(told.healed_ns().iter().all(|&healed| healed > ended));
}

const SHORT: &str = "
workload: { rate: 100/s, timeout: 2s }
max-duration: 1500ms
steps:
  - partition: { between: [minority, others] }
  - settle: 60s
";

fn short(told: &Told) {
    refused(told, "longer than max-duration");
    let healed = told.history.events.iter().filter_map(|event| match &event.kind {
        EventKind::HealProven { healed, .. } => Some(*healed),
        _ => None,
    });
    assert_eq!(healed.collect::<Vec<_>>(), [true]);
}

const TWICE: &str = "
workload: { rate: 100/s }
steps:
  - partition: { between: [node-1, node-4], name: again }
  - lossy: { between: [node-2, node-5], percent: 10%, name: again }
";

fn refused(told: &Told, expected: &str) {
    match told.problems()[..] {
        [StepProblem::Suite(problem)] => assert!(problem.contains(expected), "{problem}"),
        ref other => panic!("{other:?}"),
    }
}

fn twice(told: &Told) {
    refused(told, "a fault named \"again\" is already active");
    assert_eq!(told.injected_ns().len(), 1);
}

const UNKNOWN: &str = "
workload: { rate: 100/s }
steps:
  - partition: { between: [node-1, node-4], name: known }
  - heal: unknown
";

fn unknown(told: &Told) {
    refused(told, "no active fault named \"unknown\" (hint: `known` or `all`)");
}

const ELSEWHERE: &str = "
workload: { rate: 100/s }
steps:
  - partition: { between: [node-1, node-4], name: cut }
  - stop: [node-4, node-5]
  - start: { node: node-5, address: new }
  - start: { node: node-4, address: new }
";

fn elsewhere(told: &Told) {
    refused(told, "node-4 cannot come back at another address while fault \"cut\" hits its links");
    let moved = told.times(|kind| matches!(kind, EventKind::AddressChanged { node: NodeNo(5), .. }));
    assert_eq!(moved.len(), 1, "no link of node-5 is hit");
}

const BOTH_SIDES: &str = "
workload: { rate: 100/s }
steps:
  - partition: { between: [node-1, shard-1/master] }
";

fn both_sides(told: &Told) {
    refused(told, "[node-1] and [shard-1/master] both mean node-1 at this moment");
}

/// The invariants are judged over the history of a cluster that is really broken: each must fail, and
/// say what it saw.
fn assert_fails(told: &Told, controls: &[(&str, &str)]) {
    for (invariant, words) in controls {
        let mut history = told.history.clone();
        history.header.plan.invariants = vec![serde_json::from_str(invariant).expect("an invariant")];
        let judged = check(&Facts::new(&history)).remove(0);
        assert_eq!(judged.verdict, Verdict::Fail, "{invariant}: {judged:?}");
        let said = format!("{} {}", judged.seen, judged.evidence.join(" "));
        assert!(said.contains(words), "{invariant}: no `{words}` in {said}");
    }
}

/// The cut-off master alone has a node timeout of a minute: it goes on for as long as the cut lasts.
const UNAWARE: &str = "
workload: { rate: 400/s, reads: 20%, timeout: 2s, keys: 3000 }
steps:
  - command: { send: CONFIG SET cluster-node-timeout 60000, to: node-1 }
  - settle: 1s
  - partition: { between: [[node-1, half-clients], others], name: minority }
  - await: { promoted: shard-1, within: 15s }
  - settle: 5s
  - heal: minority
  - await: { converged: all, within: 20s }
  - settle: 1s
";

fn unaware(told: &Told) {
    told.assert_sound();
    assert_fails(
        told,
        &[
            (r#"{"write-cutoff": {"shard": "shard-1", "within": "3s"}}"#, "node-1, cut off at"),
            (r#"{"split-brain": {"shard": "shard-1", "may-last": "500ms"}}"#, "after the first write of node-4"),
            (r#"{"convergence": {"within": "1ms"}}"#, "after the end of fault"),
        ],
    );
}

const FORGETFUL: &str = "
workload: { rate: 100/s }
recover-within: 3s
steps:
  - settle: 1s
  - command: { send: CLUSTER RESET HARD, to: node-6 }
  - settle: 1s
";

fn forgetful(told: &Told) {
    assert_eq!(told.problems(), Vec::<&StepProblem>::new());
    assert_fails(told, &[(r#"{"epochs": {}}"#, "node-6")]);
}
