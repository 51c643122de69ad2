use proptest::prelude::*;

use super::*;
use crate::check::Verdict;
use crate::fault::{ClockChange, ClockOf};
use crate::history::{Event, EventKind, FaultKind, Hit, NodeInfo};
use crate::report::{Report, fixture};
use crate::suite::{CameBack, Change};

fn dissect(report: &Report, logs: &Logs) -> Vec<Anatomy> {
    super::dissect(&report.header, &report.events, &report.failovers, logs)
}

const IDS: [&str; 6] = ["1", "2", "3", "4", "5", "6"];

fn id(node: u16) -> String {
    IDS[usize::from(node) - 1].repeat(40)
}

/// A report of three shards. node-1 is killed at 4 s, and node-4 takes over. Reading the clocks takes 5 ms.
fn report() -> Report {
    let mut report = fixture::report("role-swap", Verdict::Pass);
    let info = |node: u16| NodeInfo {
        node: NodeNo(node),
        shard: ShardNo((node - 1) % 3 + 1),
        boots_as_master: node <= 3,
        addr: "127.0.0.1:6379".parse().expect("an address"),
        id: id(node),
        name: None,
    };
    let booted = EventKind::Booted { nodes: (1..=6).map(info).collect(), took_ms: 2000.0 };
    report.events.insert(1, Event { at_ns: 2, kind: booted });
    // The run began at 13:05:01 in UTC.
    let unix_us = (1_795_352_701_000 + 2005) * 1000;
    let clock = |node| EventKind::Clock { node: NodeNo(node), unix_us, sent_ns: 2_000_000_000 };
    report.events.splice(2..2, (1..=6).map(|node| Event { at_ns: 2_005_000_000, kind: clock(node) }));
    report.events.insert(8, Event { at_ns: 4_000_000_000, kind: killed(1, 1) });
    report
}

fn killed(fault: u32, node: u16) -> EventKind {
    EventKind::FaultInjected {
        fault,
        kind: FaultKind::Kill,
        target: format!("node-{node}"),
        node: NodeNo(node),
        shard: Some(ShardNo(1)),
        was_master: node <= 3,
    }
}

/// The logs of all nodes, from lines with times in milliseconds of the run.
fn logged(lines: &[(u16, i64, String)]) -> Logs {
    let mut logs = Logs::new();
    for node in 1..=6 {
        let starting = (node, 20, "oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo".to_owned());
        let mine = lines.iter().filter(|(of, ..)| *of == node);
        let parsed = [&starting].into_iter().chain(mine).map(|(_, at_ms, text)| {
            let (seconds, millis) = (1 + at_ms / 1000, at_ms % 1000);
            let line = format!("9:S 22 Nov 2026 22:05:{seconds:02}.{millis:03} # {text}");
            parse(&line).unwrap_or_else(|| panic!("{line}"))
        });
        logs.insert(NodeNo(node), parsed.collect());
    }
    logs
}

fn election(at_ms: i64, epoch: u64) -> Vec<(u16, i64, String)> {
    vec![
        (4, at_ms - 600, "Start of election delayed for 590 milliseconds (rank #0, offset 9).".to_owned()),
        (4, at_ms, format!("Starting a failover election for epoch {epoch}.")),
    ]
}

fn won(at_ms: i64, epoch: u64) -> Vec<(u16, i64, String)> {
    vec![
        (2, at_ms - 2, format!("Failover auth granted to {} for epoch {epoch}", id(4))),
        (3, at_ms - 1, format!("Failover auth granted to {} for epoch {epoch}", id(4))),
        (4, at_ms, "Failover election won: I'm the new master.".to_owned()),
    ]
}

fn failed() -> (u16, i64, String) {
    (2, 10_000, format!("Marking node {} as failing (quorum reached).", id(1)))
}

fn milestone(anatomy: &Anatomy, what: What) -> Option<(f64, Source)> {
    anatomy.milestones.iter().find(|found| found.what == what).map(|found| (found.after_ms, found.source))
}

#[test]
fn dissects_a_failover_by_its_logs() {
    let lines = [vec![failed()], election(10_700, 8)];
    let logs = logged(&[lines.concat(), won(11_300, 8)].concat());
    let [anatomy] = &dissect(&report(), &logs)[..] else { panic!("one failover") };
    assert_eq!(
        anatomy.sentence,
        "7.4 s from the stop of node-1 to the first write: 6.0 s detection, 0.7 s election delay, 0.6 s vote, 0.1 s until a client wrote"
    );
    for (what, expected) in [
        (What::Fail, Some((6000.0, Source::Log))),
        (What::Election, Some((6700.0, Source::Log))),
        (What::LastVote, Some((7299.0, Source::Log))),
        (What::Promotion, Some((7300.0, Source::Log))),
        (What::FirstWrite, Some((7420.0, Source::Workload))),
        (What::Agreement, None),
    ] {
        assert_eq!(milestone(anatomy, what), expected, "{what:?}");
    }
    let [election] = &anatomy.elections[..] else { panic!("one election") };
    assert_eq!((election.delay_ms, election.rank, election.granted.len()), (Some(590), Some(0), 2));
    assert_eq!(anatomy.log_error_ms, Some(5.0), "reading the clocks took 5 ms");
}

/// Its election is told by the votes for the id that it has, not for the one that it had at boot.
#[test]
fn knows_a_node_by_the_id_with_which_it_came_back() {
    let mut report = report();
    let found = CameBack {
        version: None,
        run_id: String::new(),
        keys: None,
        config: BTreeMap::new(),
        id: Some("f".repeat(40)),
        former_id: Some(id(4)),
        moved: None,
    };
    let kind = EventKind::CameBack { node: NodeNo(4), change: Change::default(), found, unlike: None };
    report.events.insert(8, Event { at_ns: 3_000_000_000, kind });
    let of_before = logged(&[vec![failed()], election(10_700, 8), won(11_300, 8)].concat());
    let renamed = |(node, at_ms, text): (u16, i64, String)| (node, at_ms, text.replace(&id(4), &"f".repeat(40)));
    let lines = [vec![failed()], election(10_700, 8), won(11_300, 8)].concat().into_iter().map(renamed);
    let granted = |logs: &Logs| dissect(&report, logs)[0].elections[0].granted.len();
    assert_eq!((granted(&logged(&lines.collect::<Vec<_>>())), granted(&of_before)), (2, 0));
}

#[test]
fn reports_why_an_election_was_lost() {
    let denied = (3, 5001, format!("Failover auth denied to {}: its master is up", id(4)));
    let lines = [vec![failed()], election(5000, 7), vec![denied], election(10_700, 8), won(11_300, 8)].concat();
    let anatomy = &dissect(&report(), &logged(&lines))[0];
    assert_eq!(anatomy.elections.iter().map(|one| one.won_ms.is_some()).collect::<Vec<_>>(), [false, true]);
    let expected = "; 2 elections: that of node-4 for epoch 7 was denied because its master is up";
    assert!(anatomy.sentence.ends_with(expected), "{}", anatomy.sentence);
}

#[test]
fn dissects_a_failover_by_polling_without_logs() {
    let anatomy = &dissect(&report(), &Logs::new())[0];
    assert_eq!(
        anatomy.sentence,
        "7.4 s from the stop of node-1 to the first write: 6.7 s detection, 0.7 s election, 60 ms until a client wrote"
    );
    assert_eq!(milestone(anatomy, What::Fail), Some((6710.0, Source::Poll)));
    assert_eq!(anatomy.elections.len(), 0);
}

#[test]
fn reports_what_prevented_a_failover() {
    let mut report = report();
    let failover = &mut report.failovers[0];
    (failover.new_master, failover.promotion_ms, failover.first_write_ms) = (None, None, None);
    let blocked = "Currently unable to failover: Disconnected from master for longer than allowed.".to_owned();
    for (lines, second_kill, expected) in [
        (vec![failed(), (4, 10_100, blocked)], false, "FAIL after 6.0 s; node-4: Disconnected from master for longer"),
        (
            vec![failed()],
            true,
            "FAIL after 6.0 s, and no replica began an election (node-4 was also affected by a fault)",
        ),
        (vec![failed()], false, "FAIL after 6.0 s, and no replica began an election"),
        ([vec![failed()], election(10_700, 8)].concat(), false, "1 election: that of node-4 for epoch 8 got 0 votes"),
    ] {
        let mut report = report.clone();
        if second_kill {
            report.events.insert(9, Event { at_ns: 4_100_000_000, kind: killed(2, 4) });
        }
        let anatomy = &dissect(&report, &logged(&lines))[0];
        let begins =
            anatomy.sentence.starts_with("no replica took over within 16.0 s of the stop of node-1: FAIL after");
        assert!(begins && anatomy.sentence.contains(expected), "{expected}: {}", anatomy.sentence);
    }
}

#[test]
fn a_milestone_beyond_its_bound_is_late() {
    let mut report = report();
    assert!(!dissect(&report, &Logs::new())[0].milestones.iter().any(Milestone::late));
    report.failovers[0].promotion_ms = Some(14_000.0);
    let late: Vec<What> = dissect(&report, &Logs::new())[0]
        .milestones
        .iter()
        .filter(|milestone| milestone.late())
        .map(|milestone| milestone.what)
        .collect();
    assert_eq!(late, [What::Promotion]);
}

#[test]
fn nothing_is_late_without_a_majority() {
    let mut report = report();
    report.failovers[0].promotion_ms = Some(14_000.0);
    let mut later = report.clone();
    later.events.insert(9, Event { at_ns: 18_100_000_000, kind: killed(2, 2) });
    let anatomy = &dissect(&later, &Logs::new())[0];
    assert!(!anatomy.majority_lost, "it was killed after the promotion");
    report.events.insert(9, Event { at_ns: 4_000_000_001, kind: killed(2, 2) });
    let anatomy = &dissect(&report, &Logs::new())[0];
    assert!(anatomy.majority_lost && !anatomy.milestones.iter().any(Milestone::late));
    assert!(anatomy.sentence.ends_with("; the remaining masters were not a majority"), "{}", anatomy.sentence);
}

#[test]
fn nothing_is_late_with_a_wrong_clock() {
    let mut report = report();
    report.failovers[0].promotion_ms = Some(14_000.0);
    let wrong = EventKind::ClockFaultInjected {
        fault: 2,
        name: "behind".to_owned(),
        kind: FaultKind::Clock,
        target: "node-2".to_owned(),
        of: ClockOf::Wall,
        change: ClockChange::Jump("-1h".parse().expect("a jump")),
        hit: Hit { node: NodeNo(2), shard: Some(ShardNo(2)), was_master: true },
    };
    report.events.insert(9, Event { at_ns: 4_000_000_001, kind: wrong });
    let anatomy = &dissect(&report, &Logs::new())[0];
    assert!(!anatomy.majority_lost && !anatomy.milestones.iter().any(Milestone::late));
    assert!(anatomy.sentence.ends_with("; the clock of node-2 was wrong"), "{}", anatomy.sentence);
}

#[test]
fn a_failover_without_a_cause_has_no_anatomy() {
    let mut report = report();
    (report.failovers[0].fault, report.failovers[0].kind) = (None, None);
    assert_eq!(dissect(&report, &Logs::new()), []);
    report.events.clear();
    assert_eq!(dissect(&report, &Logs::new()), [], "the nodes are unknown");
}

proptest! {
    /// For all logs, times are finite and not before the fault, and votes belong to the candidate that
    /// requested them.
    #[test]
    fn is_consistent_for_all_logs(
        lines in prop::collection::vec((1_u16..=6, 0_i64..40_000, 0_usize..9, 1_u16..=6, 0_u64..12), 0..60),
    ) {
        let text = |kind: usize, of: u16, number: u64| match kind {
            0 => "Redis is starting oO0".to_owned(),
            1 => "Manual failover user request accepted.".to_owned(),
            2 => format!("NODE {} () possibly failing.", id(of)),
            3 => format!("FAIL message received from {} about {}", id(of), id(1)),
            4 => format!("Start of election delayed for {number} milliseconds (rank #{number}, offset 1)."),
            5 => format!("Starting a failover election for epoch {number}."),
            6 => format!("Failover auth granted to {} for epoch {number}", id(of)),
            7 => format!("Failover auth denied to {}: {number}", id(of)),
            _ => "Failover election won: I'm the new master.".to_owned(),
        };
        let lines: Vec<_> = lines.into_iter().map(|(on, at, kind, of, n)| (on, at, text(kind, of, n))).collect();
        let anatomy = &dissect(&report(), &logged(&lines))[0];
        prop_assert!(!anatomy.sentence.is_empty());
        for milestone in &anatomy.milestones {
            prop_assert!(milestone.after_ms.is_finite() && milestone.after_ms >= 0.0, "{milestone:?}");
        }
        for election in &anatomy.elections {
            prop_assert_eq!(election.candidate, NodeNo(4), "the only other node of the shard");
            let promotion_ms = 7360.0 + anatomy.log_error_ms.expect("the logs were read");
            prop_assert!(election.began_ms <= promotion_ms, "{election:?}");
        }
    }
}

/// node-4 takes over from node-1 at 4 s by CLUSTER FAILOVER.
fn ordered() -> Report {
    let mut report = report();
    report.events.retain(|event| event.kind.injected().is_none());
    let failover = &mut report.failovers[0];
    (failover.fault, failover.kind, failover.ordered_by) = (None, None, Some(0));
    (failover.fail_ms, failover.promotion_ms, failover.first_write_ms) = (None, Some(93.0), Some(116.0));
    report
}

#[test]
fn dissects_a_manual_failover() {
    let lines = vec![
        (4, 4001, "Manual failover user request accepted.".to_owned()),
        (1, 4003, format!("Manual failover requested by replica {}.", id(4))),
        (4, 4005, "Received replication offset for paused master manual failover: 20442".to_owned()),
        (4, 4009, "All master replication stream processed, manual failover can start.".to_owned()),
        (4, 4010, "Start of election delayed for 0 milliseconds (rank #0, offset 20442).".to_owned()),
        (4, 4010, "Starting a failover election for epoch 8.".to_owned()),
    ];
    let granted = (1, 4011, format!("Failover auth granted to {} for epoch 8", id(4)));
    let anatomy = &dissect(&ordered(), &logged(&[lines, won(4012, 8), vec![granted]].concat()))[0];
    assert_eq!(
        anatomy.sentence,
        "0.1 s from CLUSTER FAILOVER to the first write: 3 ms until clients were paused, 6 ms catching up, 3 ms vote, 0.1 s until a client wrote"
    );
    let found: Vec<(What, f64)> = anatomy.milestones.iter().map(|found| (found.what, found.after_ms)).collect();
    assert_eq!(
        found,
        [
            (What::Accepted, 1.0),
            (What::Paused, 3.0),
            (What::Offset, 5.0),
            (What::CaughtUp, 9.0),
            (What::Election, 10.0),
            (What::LastVote, 11.0),
            (What::Promotion, 12.0),
            (What::FirstWrite, 116.0),
        ]
    );
    assert_eq!(anatomy.elections[0].granted.len(), 3, "the old master votes, too");
}

#[test]
fn reports_a_promotion_without_votes() {
    let taken = (4, 4001, "Taking over the master (user request).".to_owned());
    let anatomy = &dissect(&ordered(), &logged(&[taken]))[0];
    assert_eq!(
        anatomy.sentence,
        "0.1 s from CLUSTER FAILOVER to the first write: 1 ms promotion, 0.1 s until a client wrote"
    );
    let mut report = report();
    let failover = &mut report.failovers[0];
    (failover.new_master, failover.promotion_ms, failover.first_write_ms) = (None, None, None);
    let anatomy = &dissect(&report, &logged(&[failed(), won(10_001, 8).remove(2)]))[0];
    assert!(anatomy.sentence.ends_with("but requested no votes since the fault"), "{}", anatomy.sentence);
}

#[test]
fn converts_the_last_pong_by_the_clock_of_its_node() {
    let mut report = report();
    let unheard = |node: u16, ping_ms: u64, pong_ms: u64| {
        let zero_ms = 1_795_352_701_000;
        let (ping_ms, pong_ms) = (zero_ms + ping_ms, zero_ms + pong_ms);
        Event { at_ns: 9_500_000_000, kind: EventKind::Unheard { node: NodeNo(node), of: NodeNo(1), ping_ms, pong_ms } }
    };
    let at = report.events.len() - 1;
    report.events.splice(at..at, [unheard(2, 4400, 3900), unheard(3, 4100, 3100), unheard(4, 4200, 3950)]);
    let anatomy = &dissect(&report, &logged(&[failed()]))[0];
    assert_eq!(milestone(anatomy, What::LastPong), Some((-50.0, Source::Nodes)));
    let observer = anatomy.observers[&NodeNo(2)];
    assert_eq!((observer.pong_ms, observer.ping_ms, observer.fail_ms), (Some(-100.0), Some(400.0), Some(6000.0)));
}

#[test]
fn compares_milestones_with_the_rules_of_the_server() {
    let lines = |rank: u32| {
        let mut lines = [vec![failed()], election(10_700, 8), won(11_300, 8)].concat();
        lines[1].2 = lines[1].2.replace("#0", &format!("#{rank}"));
        logged(&lines)
    };
    for (flavour, major, minor, rank, expected) in [
        ("redis", 6, 2, 0, (6500.0, 7200.0)),
        ("redis", 8, 2, 2, (8500.0, 9200.0)),
        ("valkey", 8, 1, 0, (6500.0, 7200.0)),
        ("valkey", 9, 0, 0, (6167.0, 6533.0)),
        ("valkey", 9, 1, 0, (6000.0, 6200.0)),
        ("valkey", 9, 1, 1, (6500.0, 6867.0)),
    ] {
        let mut report = report();
        let version = serde_json::json!({"flavour": flavour, "major": major, "minor": minor, "patch": 0});
        report.header.server.version = serde_json::from_value(version).expect("a version");
        let anatomy = &dissect(&report, &lines(rank))[0];
        let began = anatomy.milestones.iter().find(|found| found.what == What::Election).expect("it began");
        let (from, to) = began.expected_ms.expect("there is a rule");
        assert_eq!((from.round(), to.round()), expected, "{flavour} {major}.{minor}, rank {rank}");
    }
    let [first, second] = [10_700, 31_900].map(|at_ms| election(at_ms, 8));
    let mut report = report();
    let failover = &mut report.failovers[0];
    failover.until_ns = 60_000_000_000;
    (failover.promotion_ms, failover.first_write_ms) = (Some(28_000.0), Some(28_100.0));
    let anatomy = &dissect(&report, &logged(&[vec![failed()], first, second, won(31_950, 8)].concat()))[0];
    let began = anatomy.milestones.iter().find(|found| found.what == What::Election).expect("it began");
    assert_eq!(began.expected_ms, Some((27_000.0, 27_900.0)), "20 s after the first election, plus the delay");
}
