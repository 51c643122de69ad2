//! The causes of lost writes: the worked example, single cases, and random clusters with known losses.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;
use slotquake_judge::facts::{AckSide, Cause, Facts, Ledger};
use slotquake_judge::history::FinalValue::{Missing, Number};
use slotquake_judge::history::{FaultKind, History};
use slotquake_judge::suite::Only;
use slotquake_judge::units::ShardNo;

use crate::story::What::Ok as Acked;
use crate::story::{Cut, Story, healthy, judged, key_of, taken_over};

fn begun() -> Story {
    Story::new().phase(500.0, "a")
}

/// Write number `n` to shard 1 with its own key, acknowledged at `at` and lost.
fn gone(story: Story, n: usize, at: f64, node: u16) -> Story {
    story.write(key_of(1, n), (at - 1.0, at), node, Acked).holds(key_of(1, n), Missing)
}

fn promoted(story: Story, at: f64, node: u16, old: u16, epoch: u64) -> Story {
    story.view(at, node, &taken_over(healthy(), old, node, epoch))
}

/// The history of the worked example of [`Cause`].
fn worked_example(promotion: bool) -> History {
    let story = gone(gone(begun(), 0, 1000.0, 1).cut_off_node_1(2000.0), 1, 3000.0, 1);
    let story = if promotion { promoted(story, 4000.0, 4, 1, 7) } else { story };
    let story = gone(gone(story, 2, 5000.0, 1).heal(6000.0, 1), 3, 6010.0, 1);
    let story = if promotion { story } else { story.fault(7000.0, FaultKind::Kill, 1, true).heal(7500.0, 2) };
    story.ends(9000.0)
}

fn causes(ledger: &Ledger) -> Vec<Cause> {
    ledger.examples.iter().map(|lost| lost.cause).collect()
}

#[test]
fn the_worked_example_holds() {
    use Cause::{Failover, MinoritySide, Restart, StaleMaster};
    let with = Facts::new(&worked_example(true)).ledger;
    assert_eq!(causes(&with), [Failover, MinoritySide, MinoritySide, StaleMaster]);
    let sides: Vec<AckSide> = with.examples.iter().map(|lost| lost.side).collect();
    assert_eq!(sides, [AckSide::NoCut, AckSide::Minority, AckSide::Minority, AckSide::NoCut]);
    assert_eq!(with.lost_by_cause, BTreeMap::from([(MinoritySide, 2), (StaleMaster, 1), (Failover, 1)]));
    assert_eq!(with.lost_by_side, BTreeMap::from([(AckSide::Minority, 2), (AckSide::NoCut, 2)]));
    assert_eq!(with.lost_by_shard, BTreeMap::from([(ShardNo(1), 4)]));
    assert_eq!(with.lost_by_phase, BTreeMap::from([("a".to_owned(), 4)]));
    assert_eq!(causes(&Facts::new(&worked_example(false)).ledger), [Restart; 4]);
}

/// A name, a history with lost writes, and their causes in the order of issue.
type CauseRow = (&'static str, Story, Vec<Cause>);

#[test]
fn each_cause_follows_its_rule() {
    use Cause::{DataLost, Failover, MinoritySide, Restart, StaleMaster, Unknown};
    let restarted = |story: Story, fault, at, change| {
        story.fault(at, FaultKind::Kill, 1, true).heal(at + 500.0, fault).changed(at + 500.0, 1, change)
    };
    let lost = || json!({"data": "lost"});
    let cut = |kind, only| Cut { kind, only, ..Cut::NODE_1 };
    let under = |cut| gone(promoted(begun().network_fault(2000.0, cut), 4000.0, 4, 1, 7), 0, 5000.0, 1);
    let killed = |story: Story, at| story.fault(at, FaultKind::Kill, 1, true);
    let rows: Vec<CauseRow> = vec![
        ("nothing ever happened", gone(begun(), 0, 1000.0, 1), vec![Unknown]),
        (
            "by a node that never owned the shard",
            promoted(killed(gone(begun(), 0, 1000.0, 2), 2000.0), 4000.0, 4, 1, 7),
            vec![Unknown],
        ),
        ("of all traffic", under(Cut::NODE_1), vec![MinoritySide]),
        ("of the bus alone", under(cut(FaultKind::Partition, Only::Bus)), vec![MinoritySide]),
        ("refused", under(cut(FaultKind::Refuse, Only::All)), vec![MinoritySide]),
        ("of clients alone cuts nobody off", under(cut(FaultKind::Partition, Only::Clients)), vec![StaleMaster]),
        (
            "of replication alone cuts nobody off",
            under(cut(FaultKind::Partition, Only::Replication)),
            vec![StaleMaster],
        ),
        ("a lossy link cuts nobody off", under(cut(FaultKind::Lossy, Only::All)), vec![StaleMaster]),
        (
            "acknowledged in the cut, and promoted only after it was lifted",
            promoted(gone(begun().cut_off_node_1(2000.0), 0, 3000.0, 1).heal(4000.0, 1), 4500.0, 4, 1, 7),
            vec![MinoritySide],
        ),
        (
            "acknowledged in the cut, in which it is killed too",
            promoted(killed(gone(begun().cut_off_node_1(2000.0), 0, 3000.0, 1), 3500.0), 4000.0, 4, 1, 7)
                .heal(6000.0, 1),
            vec![MinoritySide],
        ),
        (
            "acknowledged in a short cut, and long after it another fault",
            promoted(
                killed(gone(begun().cut_off_node_1(2000.0), 0, 2400.0, 1).heal(2500.0, 1), 6000.0),
                7500.0,
                4,
                1,
                7,
            ),
            vec![Failover],
        ),
        (
            "the last moment of the cut, and the first after it",
            gone(gone(promoted(begun().cut_off_node_1(2000.0), 4000.0, 4, 1, 7), 0, 5999.0, 1), 1, 6000.0, 1)
                .heal(6000.0, 1),
            vec![MinoritySide, StaleMaster],
        ),
        (
            "the last moment before the cut, and its first",
            promoted(gone(gone(begun(), 0, 1999.0, 1), 1, 2000.0, 1).cut_off_node_1(2000.0), 4000.0, 4, 1, 7),
            vec![Failover, MinoritySide],
        ),
        (
            "another node was cut off",
            promoted(
                killed(gone(begun().network_fault(600.0, Cut { hits: &[2], ..Cut::NODE_1 }), 0, 1000.0, 1), 2000.0),
                4000.0,
                4,
                1,
                7,
            ),
            vec![Failover],
        ),
        (
            "woken from a pause",
            gone(
                promoted(begun().fault(2000.0, FaultKind::Pause, 1, true), 4000.0, 4, 1, 7).heal(5000.0, 1),
                0,
                5010.0,
                1,
            ),
            vec![StaleMaster],
        ),
        (
            "just before the promotion, and just after",
            promoted(gone(gone(killed(begun(), 2000.0), 0, 3999.0, 1), 1, 4001.0, 1), 4000.0, 4, 1, 7),
            vec![Failover, StaleMaster],
        ),
        (
            "a promotion shows by the first write that the new master acknowledges",
            promoted(
                gone(killed(begun(), 2000.0), 0, 3950.0, 1).write(key_of(1, 9), (3900.0, 3940.0), 4, Acked),
                4000.0,
                4,
                1,
                7,
            ),
            vec![StaleMaster],
        ),
        ("a promotion that was ordered", promoted(gone(begun(), 0, 1000.0, 1), 4000.0, 4, 1, 7), vec![Failover]),
        (
            "stopped and started, with nobody promoted",
            gone(begun(), 0, 1000.0, 1).fault(2000.0, FaultKind::Stop, 1, true).heal(2500.0, 1),
            vec![Restart],
        ),
        (
            "after the start it cannot be the restart's doing",
            gone(begun().fault(2000.0, FaultKind::Stop, 1, true).heal(2500.0, 1), 0, 3000.0, 1),
            vec![Unknown],
        ),
        (
            "a replica's restart loses nothing",
            gone(begun(), 0, 1000.0, 1).fault(2000.0, FaultKind::Stop, 4, false).heal(2500.0, 1),
            vec![Unknown],
        ),
        (
            "a pause ends no process",
            gone(begun(), 0, 1000.0, 1).fault(2000.0, FaultKind::Pause, 1, true).heal(2500.0, 1),
            vec![Unknown],
        ),
        (
            "a promotion and a restart: either",
            promoted(
                killed(gone(begun(), 0, 1000.0, 1).fault(2000.0, FaultKind::Stop, 1, true).heal(2500.0, 1), 4000.0),
                6000.0,
                4,
                1,
                7,
            ),
            vec![Unknown],
        ),
        (
            "started again without nodes.conf, too",
            restarted(gone(begun(), 0, 1000.0, 1), 1, 2000.0, json!({"data": "all-lost"})),
            vec![DataLost],
        ),
        (
            "started again at another address",
            restarted(gone(begun(), 0, 1000.0, 1), 1, 2000.0, json!({"address": "new"})),
            vec![Restart],
        ),
        ("started again without its data", restarted(gone(begun(), 0, 1000.0, 1), 1, 2000.0, lost()), vec![DataLost]),
        (
            "started again with another server, on its data",
            restarted(gone(begun(), 0, 1000.0, 1), 1, 2000.0, json!({"server": "redis:7.0"})),
            vec![Restart],
        ),
        ("after the start without its data", gone(restarted(begun(), 1, 2000.0, lost()), 0, 3000.0, 1), vec![Unknown]),
        (
            "a restart with its data, and one without",
            restarted(restarted(gone(begun(), 0, 1000.0, 1), 1, 2000.0, json!({})), 2, 4000.0, lost()),
            vec![Unknown],
        ),
        (
            "another node was started without its data",
            gone(begun(), 0, 1000.0, 1).fault(2000.0, FaultKind::Kill, 1, true).heal(2500.0, 1).changed(
                2500.0,
                4,
                lost(),
            ),
            vec![Restart],
        ),
        (
            "the replica lost its data and was promoted",
            promoted(
                killed(
                    gone(begun(), 0, 1000.0, 1)
                        .lag(2500.0, 4, 1, 0, true)
                        .fault(2600.0, FaultKind::Kill, 4, false)
                        .heal(2700.0, 1)
                        .changed(2700.0, 4, lost()),
                    3000.0,
                ),
                5000.0,
                4,
                1,
                7,
            ),
            vec![Failover],
        ),
        (
            "the replica had it, lost nothing, and was promoted",
            promoted(killed(gone(begun(), 0, 1000.0, 1).lag(2500.0, 4, 1, 0, true), 3000.0), 5000.0, 4, 1, 7),
            vec![Unknown],
        ),
        (
            "the old master started again as a replica is no restart of the shard",
            gone(begun(), 0, 1000.0, 1).failover_of_node_1().node_1_back_as_replica(),
            vec![Failover],
        ),
    ];
    for (name, story, expected) in rows {
        let ledger = Facts::new(&story.ends(9000.0)).ledger;
        assert_eq!(causes(&ledger), expected, "{name}");
        assert_eq!(ledger.lost_by_cause.values().sum::<u64>(), ledger.lost, "{name}");
    }
}

#[test]
fn evidence_names_cause_key_times_and_node() {
    let mut history = worked_example(true);
    history.header.plan.invariants =
        vec![serde_json::from_value(json!({"acked-writes": {"may-lose": "measured"}})).unwrap()];
    let judgement = judged(&history, "acked-writes");
    let split = "lost by cause: 2 minority-side, 1 stale-master, 1 failover; by phase: 4 a; by shard: 4 shard-1; by side: 2 minority, 2 no-cut";
    assert!(judgement.seen.contains(split), "{}", judgement.seen);
    let key = format!("key-{}", key_of(1, 1));
    let line = format!(
        "{key} of shard-1: 1 was issued at 2.999 s and acknowledged by node-1, cut off in the minority at 3.000 s in phase a, and the key was missing in the end (minority-side)"
    );
    assert!(judgement.evidence.contains(&line), "{:#?}", judgement.evidence);
    for (figure, expected) in [
        ("lost_minority_side", 2.0),
        ("lost_stale_master", 1.0),
        ("lost_failover", 1.0),
        ("lost_restart", 0.0),
        ("lost_unknown", 0.0),
    ] {
        assert_eq!(judgement.figures[figure], expected, "{figure}");
    }
}

#[test]
fn reads_the_ledger_of_an_older_report() {
    let mut old = serde_json::to_value(Facts::new(&worked_example(true)).ledger).unwrap();
    let fields = old.as_object_mut().unwrap();
    fields.retain(|name, _| !name.starts_with("lost_by"));
    for example in fields["examples"].as_array_mut().unwrap() {
        example.as_object_mut().unwrap().retain(|name, _| !["cause", "side", "phase"].contains(&name.as_str()));
    }
    let read: Ledger = serde_json::from_value(old).unwrap();
    assert_eq!((read.lost, read.lost_by_cause.len(), read.examples[0].cause), (4, 0, Cause::Unknown));
    let now = Facts::new(&worked_example(true)).ledger;
    let again: Ledger = serde_json::from_str(&serde_json::to_string(&now).unwrap()).unwrap();
    assert_eq!(again, now);
}

/// The number of writes that are acknowledged in a part of an incident, and how many of them reach the other node or the disk
/// in time, in their order.
type Writes = (usize, usize);

/// An incident on shard 1, and the writes during it.
#[derive(Debug, Clone, Copy)]
enum Incident {
    /// The master is cut off for long, and the replica is promoted. Writes before the cut, on the minority
    /// side before and after the promotion, and after the cut is lifted until the master learns.
    LongCut { before: Writes, until_promotion: usize, after_it: usize, after_heal: usize },
    /// The master is cut off for a short time. Replication catches up afterwards.
    ShortCut { during: usize },
    /// The master is paused until the replica is promoted, and then acknowledges queued writes.
    Pause { before: Writes, woken: usize },
    /// The master is killed, the replica is promoted, the master comes back as a replica.
    Kill { before: Writes },
    /// The master is killed and started again at once, without the writes that had not reached its disk.
    Restart { before: Writes },
}

fn incidents() -> impl Strategy<Value = Vec<Incident>> {
    let writes = || (0..4usize, 0..4usize);
    let incident = prop_oneof![
        (writes(), 0..3usize, 0..3usize, 0..3usize).prop_map(|(before, until_promotion, after_it, after_heal)| {
            Incident::LongCut { before, until_promotion, after_it, after_heal }
        }),
        (0..3usize).prop_map(|during| Incident::ShortCut { during }),
        (writes(), 0..3usize).prop_map(|(before, woken)| Incident::Pause { before, woken }),
        writes().prop_map(|before| Incident::Kill { before }),
        writes().prop_map(|before| Incident::Restart { before }),
    ];
    prop::collection::vec(incident, 1..5)
}

/// A cluster with the writes to its shard 1. Every write has its own key, so a key is missing at the end if and only if its write
/// was lost.
struct Told {
    story: Option<Story>,
    now: f64,
    master: u16,
    epoch: u64,
    faults: u32,
    /// Each write, and the cause of its loss.
    writes: Vec<(u32, f64, Option<Cause>)>,
    /// The times of promotions, and of restarts without one.
    promotions: Vec<f64>,
    restarts: Vec<f64>,
}

impl Told {
    fn then(&mut self, tell: impl FnOnce(Story) -> Story) {
        self.story = self.story.take().map(tell);
    }

    /// Writes that the node acknowledges. The first `kept` survive the incident, the rest is lost by `cause`.
    fn write(&mut self, node: u16, (count, kept): Writes, cause: Cause) {
        for n in 0..count {
            let key = key_of(1, self.writes.len());
            self.now += 10.0;
            let at = self.now;
            self.then(|story| story.write(key, (at - 1.0, at), node, Acked));
            self.writes.push((key, at, (n >= kept).then_some(cause)));
        }
    }

    fn wait(&mut self, ms: f64) -> f64 {
        self.now += ms;
        self.now
    }

    fn promote(&mut self) -> u16 {
        let (old, at) = (self.master, self.wait(2000.0));
        self.master = 5 - old;
        self.epoch += 1;
        let (new, epoch) = (self.master, self.epoch);
        let view = if new == 4 {
            taken_over(healthy(), 1, 4, epoch)
        } else {
            taken_over(taken_over(healthy(), 1, 4, epoch), 4, 1, epoch)
        };
        self.then(|story| story.view(at, new, &view));
        self.promotions.push(at);
        old
    }

    /// The old master learns of the new one.
    fn demote(&mut self, old: u16) {
        let at = self.wait(100.0);
        let (new, epoch) = (self.master, self.epoch);
        let view = if new == 4 {
            taken_over(healthy(), 1, 4, epoch)
        } else {
            taken_over(taken_over(healthy(), 1, 4, epoch), 4, 1, epoch)
        };
        self.then(|story| story.view(at, old, &view));
    }

    fn fault(&mut self, kind: FaultKind) {
        let (node, at) = (self.master, self.wait(100.0));
        self.faults += 1;
        self.then(|story| match kind {
            FaultKind::Partition if node == 1 => story.master_cut(at, Cut::NODE_1),
            FaultKind::Partition => story.master_cut(at, Cut { hits: &[4], ..Cut::NODE_1 }),
            kind => story.fault(at, kind, node, true),
        });
        self.now += 100.0;
    }

    fn heal(&mut self) {
        let (fault, at) = (self.faults, self.wait(100.0));
        self.then(|story| story.heal(at, fault));
        self.now += 1.0;
    }

    fn befall(&mut self, incident: Incident) {
        use Cause::{Failover, MinoritySide, Restart, StaleMaster};
        let master = self.master;
        match incident {
            Incident::LongCut { before, until_promotion, after_it, after_heal } => {
                self.write(master, before, Failover);
                self.fault(FaultKind::Partition);
                self.write(master, (until_promotion, 0), MinoritySide);
                let old = self.promote();
                self.write(old, (after_it, 0), MinoritySide);
                self.heal();
                self.write(old, (after_heal, 0), StaleMaster);
                self.demote(old);
            }
            Incident::ShortCut { during } => {
                self.fault(FaultKind::Partition);
                self.write(master, (during, during), MinoritySide);
                self.heal();
            }
            Incident::Pause { before, woken } => {
                self.write(master, before, Failover);
                self.fault(FaultKind::Pause);
                let old = self.promote();
                self.heal();
                self.write(old, (woken, 0), StaleMaster);
                self.demote(old);
            }
            Incident::Kill { before } => {
                self.write(master, before, Failover);
                self.fault(FaultKind::Kill);
                let old = self.promote();
                self.heal();
                self.demote(old);
            }
            Incident::Restart { before } => {
                self.write(master, before, Restart);
                self.fault(FaultKind::Kill);
                self.heal();
                self.restarts.push(self.now);
            }
        }
        // What is there now reaches the other node and both disks.
        self.wait(3000.0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_never_names_a_wrong_cause(incidents in incidents()) {
        let mut told = Told {
            story: Some(begun()), now: 1000.0, master: 1, epoch: 6, faults: 0,
            writes: Vec::new(), promotions: Vec::new(), restarts: Vec::new(),
        };
        for &incident in &incidents {
            told.befall(incident);
        }
        let mut story = told.story.take().unwrap();
        for &(key, _, lost_by) in &told.writes {
            story = story.holds(key, if lost_by.is_some() { Missing } else { Number(1) });
        }
        let history = story.ends(told.now + 1000.0);
        let ledger = Facts::new(&history).ledger;
        let truth: Vec<_> = told.writes.iter().filter_map(|&(key, at, cause)| Some((key, at, cause?))).collect();
        prop_assert_eq!(ledger.lost, truth.len() as u64);
        for (lost, (key, at, truth)) in ledger.examples.iter().zip(truth) {
            prop_assert_eq!(lost.key, key);
            let later = |moments: &[f64]| moments.iter().any(|&moment| moment > at);
            let either = later(&told.promotions) && later(&told.restarts);
            let owned = matches!(truth, Cause::Failover | Cause::Restart);
            let expected = if owned && either { Cause::Unknown } else { truth };
            prop_assert_eq!(lost.cause, expected, "acknowledged at {}, {:?}", at, incidents);
        }
    }
}
