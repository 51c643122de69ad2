//! Slow injections and heals, as with containers, hooks or a busy kernel. Times count only as far as they are certain.

use serde_json::json;
use slotquake_judge::check::Verdict::{Fail, Inconclusive, Pass};
use slotquake_judge::facts::{Facts, Window};
use slotquake_judge::fault::{ClockChange, ClockOf};
use slotquake_judge::history::{EventKind, FaultKind, Hit};
use slotquake_judge::units::{NodeNo, ShardNo};

use crate::expect;
use crate::network::stops_at;
use crate::story::What::Ok as Acked;
use crate::story::{Cut, Story, judged, ns};

const APPLIED: EventKind = EventKind::FaultApplied { fault: 1 };
const LIFTED: EventKind = EventKind::FaultLifted { fault: 1 };

#[test]
fn times_count_from_the_signal_or_the_last_rule() {
    let story = |story: Story| story.event(2600.0, APPLIED).heal(6000.0, 1).event(6200.0, LIFTED).ends(9000.0);
    let killed = story(Story::new().fault(2000.0, FaultKind::Kill, 1, true));
    let cut = story(Story::new().network_fault(2000.0, Cut::NODE_1));
    let untold = Story::new().network_fault(2000.0, Cut::NODE_1).heal(6000.0, 1).ends(9000.0);
    let window = |from, to| Window { from_ns: ns(from), to_ns: ns(to) };
    for (name, history, struck, took_effect, lost_effect) in [
        ("a process", killed, 2000.0, window(2000.0, 2600.0), window(6000.0, 6200.0)),
        ("the network", cut, 2600.0, window(2000.0, 2600.0), window(6000.0, 6200.0)),
        ("an older history", untold, 2000.0, window(2000.0, 2000.0), window(6000.0, 6000.0)),
    ] {
        let fault = &Facts::new(&history).fault_spans[0];
        assert_eq!(fault.struck_ns(), ns(struck), "{name}");
        assert_eq!((fault.took_effect(), fault.lost_effect()), (took_effect, Some(lost_effect)), "{name}");
        let failover = &Facts::new(&history).failovers[0];
        assert_eq!((failover.from_ns, failover.took_effect), (ns(struck), Some(took_effect)), "{name}");
    }
}

/// A wrong clock alone gives a shard no new master, so a failover counts from what ended the master.
#[test]
fn a_wrong_clock_is_no_failover() {
    let wrong = |node: u16, at_ms: f64, story: Story| {
        let injected = EventKind::ClockFaultInjected {
            fault: 7,
            name: "behind".to_owned(),
            kind: FaultKind::Clock,
            target: format!("node-{node}"),
            of: ClockOf::Wall,
            change: ClockChange::Jump("-1h".parse().expect("a jump")),
            hit: Hit { node: NodeNo(node), shard: Some(ShardNo(node)), was_master: true },
        };
        let story = story.event(at_ms, injected).event(at_ms + 1.0, EventKind::FaultApplied { fault: 7 });
        let proof = || "its clock".to_owned();
        story
            .event(at_ms + 2.0, EventKind::FaultProven { fault: 7, in_effect: true, proof: proof() })
            .event(8000.0, EventKind::FaultHealed { fault: 7, by: "heal".to_owned() })
            .event(8001.0, EventKind::FaultLifted { fault: 7 })
            .event(8002.0, EventKind::HealProven { fault: 7, healed: true, proof: proof() })
            .ends(9000.0)
    };
    let quiet = wrong(2, 2000.0, Story::new().phase(500.0, "a"));
    let facts = Facts::new(&quiet);
    assert!(facts.failovers.is_empty(), "{:?}", facts.failovers);
    let span = &facts.fault_spans[0];
    assert_eq!((span.what.as_str(), span.words().as_str()), ("behind (node-2 set back by 1h)", "clock behind"));
    assert!(span.effect.as_ref().is_some_and(|proof| proof.holds) && !span.heal_failed && !span.may_end_a_reign());
    // The clock of the master itself goes wrong, and then it is ended.
    let killed = wrong(1, 1500.0, Story::new().phase(500.0, "a").failover_of_node_1());
    let facts = Facts::new(&killed);
    let [failover] = facts.failovers.as_slice() else { panic!("{:?}", facts.failovers) };
    assert_eq!((failover.fault, failover.from_ns), (Some(1), ns(2000.0)), "{failover:?}");
}

#[test]
fn a_slow_injection_leaves_failover_times_open() {
    let promotion = |bound: &str| json!({"failover-time": {"shard": "shard-1", "to": "promotion", "within": bound}});
    // `node-1` ends at 2 s or by 2.6 s; `node-4` is promoted at 4.5 s.
    let stopped =
        |bound| Story::new().invariant(promotion(bound)).phase(500.0, "a").failover_of_node_1().event(2600.0, APPLIED);
    // `node-1` is cut off at 2.6 s, or from 2 s on; `node-4` is promoted at 4.2 s.
    let cut = |bound| stops_at(promotion(bound), 3500.0).event(2600.0, APPLIED);
    expect(
        "failover-time",
        vec![
            ("signalled, in time in any case", stopped("2500ms").ends(9000.0), Pass, "promotion after 2.500 s"),
            (
                "signalled, in time if it took its time",
                stopped("2s").ends(9000.0),
                Inconclusive,
                "promotion after 2.500 s, but the injection of the fault took 600 ms",
            ),
            ("signalled, too late in any case", stopped("1899ms").ends(9000.0), Fail, "limit 1.899 s"),
            ("cut off, in time in any case", cut("2200ms").ends(9000.0), Pass, "promotion after 1.600 s"),
            (
                "cut off, in time if it was at once",
                cut("2199ms").ends(9000.0),
                Inconclusive,
                "promotion after 1.600 s, but the injection of the fault took 600 ms",
            ),
            ("cut off, too late in any case", cut("1599ms").ends(9000.0), Fail, "limit 1.599 s"),
        ],
    );
}

#[test]
fn writes_during_the_injection_do_not_count() {
    // The last write before 3.5 s is acknowledged at 3.491 s.
    let stops =
        |bound: &str| stops_at(json!({"write-cutoff": {"within": bound}}), 3500.0).event(3000.0, APPLIED).ends(9000.0);
    expect(
        "write-cutoff",
        vec![
            ("in time in any case", stops("1491ms"), Pass, "acknowledged 50 more writes, the last after 491 ms"),
            ("in time if it was late", stops("1490ms"), Inconclusive, "the injection of the fault took 1.000 s"),
            ("too late in any case", stops("490ms"), Fail, "the last after 491 ms"),
        ],
    );
    let figures = judged(&stops("2s"), "write-cutoff").figures;
    assert_eq!((figures["write_cutoff_ms"], figures["acknowledged_while_cut_off"]), (491.0, 50.0));
}

#[test]
fn heals_count_from_the_removal_of_the_last_rule() {
    // Healed at 6 s, whole by 6.2 s, agreed at 6.3 s.
    let convergence =
        |bound: &str| stops_at(json!({"convergence": {"within": bound}}), 3500.0).event(6200.0, LIFTED).ends(9000.0);
    // The same of a start.
    let agreement = |bound: &str| {
        let story = Story::new().invariant(json!({"agreement": {"within": bound}})).phase(500.0, "a");
        story.failover_of_node_1().node_1_back_as_replica().event(6200.0, LIFTED).ends(9000.0)
    };
    let rows = |of: &dyn Fn(&str) -> slotquake_judge::history::History| {
        vec![
            ("in time in any case", of("300ms"), Pass, "all nodes agreed 100 ms after"),
            ("in time if it was late", of("299ms"), Inconclusive, "undoing the fault took 200 ms"),
            ("too late in any case", of("99ms"), Fail, "all nodes agreed 100 ms after"),
        ]
    };
    expect("convergence", rows(&convergence));
    expect("agreement", rows(&agreement));
    // Healed at 4 s, whole by 4.6 s, at 0 bytes at 5 s.
    let back = |bound: &str| {
        let settings = json!({"at": "end", "max-bytes": 0, "back-within": bound});
        let cut = Cut { kind: FaultKind::Narrow, ..Cut::NODE_1 };
        let story = Story::new().invariant(json!({ "replica-lag": settings })).phase(500.0, "a");
        let story = story.network_fault(2000.0, cut).heal(4000.0, 1).event(4600.0, LIFTED);
        let all = |story: Story, at| {
            [(4, 1), (5, 2), (6, 3)]
                .into_iter()
                .fold(story, |story, (replica, master)| story.lag(at, replica, master, 0, true))
        };
        all(all(story.writes(1, 600.0, 900.0, 1, Acked), 5000.0), 9150.0).ends(9000.0)
    };
    expect(
        "replica-lag",
        vec![
            ("in time in any case", back("1s"), Pass, "at most 0 bytes behind"),
            ("in time if it was late", back("999ms"), Inconclusive, "node-4: undoing the fault took 600 ms"),
            ("too late in any case", back("399ms"), Fail, "caught up only 400 ms after the last heal"),
        ],
    );
}
