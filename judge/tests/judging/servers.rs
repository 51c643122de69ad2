//! Ends, restarts and directives of servers, with and without a fault that explains them.

use std::collections::BTreeMap;

use serde_json::json;
use slotquake_judge::check::Verdict::{Fail, Inconclusive, Pass};
use slotquake_judge::check::check;
use slotquake_judge::facts::Facts;
use slotquake_judge::history::{Event, EventKind, Exit, ExitSignal, FaultKind, History};
use slotquake_judge::report::Narrator;
use slotquake_judge::server::BackendKind;
use slotquake_judge::units::{NodeNo, ShardNo};

use crate::expect;
use crate::story::{Story, judged};

/// Every node is seen at 450 ms, and has its directives.
fn story() -> Story {
    (1..=6).fold(Story::new(), |story, node| seen(story, 450.0, node, "first")).phase(500.0, "a")
}

fn seen(story: Story, at_ms: f64, node: u16, run_id: &str) -> Story {
    let run_id = run_id.to_owned();
    story.event(at_ms, EventKind::ServerSeen { node: NodeNo(node), run_id, pid: 4711, uptime_s: 0 })
}

fn signalled(story: Story, at_ms: f64, node: u16, number: i32, name: &str) -> Story {
    let signal = Some(ExitSignal { number, name: name.to_owned() });
    let exit = Exit { how: format!("signal: {number} ({name})"), signal, status: None };
    story.event(at_ms, EventKind::ServerEnded { node: NodeNo(node), exit })
}

fn exited(story: Story, at_ms: f64, node: u16, status: i32) -> Story {
    let exit = Exit { how: format!("exit status: {status}"), signal: None, status: Some(status) };
    story.event(at_ms, EventKind::ServerEnded { node: NodeNo(node), exit })
}

fn reported(story: Story, at_ms: f64, node: u16) -> Story {
    let report =
        ["=== REDIS BUG REPORT START: Cut & paste starting from here ===", "crashed by signal: 11, si_code: 0"];
    let report = report.map(str::to_owned).to_vec();
    story.event(at_ms, EventKind::ServerCrashed { node: NodeNo(node), report })
}

fn fault(at_ms: f64, kind: FaultKind, node: u16) -> Story {
    story().fault(at_ms, kind, node, false)
}

/// A crash of `node-4` by signal 11, with its report.
fn crashed(story: Story) -> Story {
    reported(signalled(story, 2100.0, 4, 11, "SIGSEGV"), 2101.0, 4)
}

fn commanded(send: &str) -> Story {
    story().step(2000.0, json!({"command": {"send": send, "to": "node-4"}}), |story, step| {
        story.event(2000.0, EventKind::Commanded { step, node: NodeNo(4), reply: "the connection broke".to_owned() })
    })
}

#[test]
fn ends_without_a_fault_do_not_pass() {
    let killed = || signalled(fault(2000.0, FaultKind::Kill, 4), 2010.0, 4, 9, "SIGKILL");
    let restarted = || seen(killed().heal(3000.0, 1), 3050.0, 4, "second");
    let cut = story().cut_off_node_1(2000.0);
    expect(
        "servers",
        vec![
            ("nothing happened", story().ends(9000.0), Pass, "6 servers watched"),
            ("a kill", killed().heal(3000.0, 1).ends(9000.0), Pass, "6 servers watched, 1 end by the plan"),
            ("a kill and a start", restarted().ends(9000.0), Pass, "1 end by the plan"),
            ("a stop", exited(fault(2000.0, FaultKind::Stop, 4), 2100.0, 4, 0).ends(9000.0), Pass, "1 end by the plan"),
            (
                "a stop that only the restart shows",
                seen(fault(2000.0, FaultKind::Stop, 4).heal(3000.0, 1), 3050.0, 4, "second").ends(9000.0),
                Pass,
                "1 end by the plan",
            ),
            (
                "two kills",
                signalled(restarted().fault(5000.0, FaultKind::Kill, 4, false), 5010.0, 4, 9, "SIGKILL").ends(9000.0),
                Pass,
                "2 ends by the plan",
            ),
            (
                "a crash",
                crashed(story()).ends(9000.0),
                Fail,
                "node-4 died of signal 11 (SIGSEGV) at 2.100 s; no fault explains it",
            ),
            (
                "a crash of which only the log tells",
                seen(reported(story(), 2100.0, 4), 2101.0, 4, "second").ends(9000.0),
                Fail,
                "node-4 crashed and was restarted at 2.100 s, and another process answered at 2.101 s",
            ),
            ("an exit with an error", exited(story(), 2100.0, 4, 1).ends(9000.0), Fail, "node-4 exited with status 1"),
            (
                "a kill from outside",
                signalled(story(), 2100.0, 4, 9, "SIGKILL").ends(9000.0),
                Inconclusive,
                "node-4 died of signal 9 (SIGKILL) at 2.100 s; no fault explains it: somebody else did it",
            ),
            ("SHUTDOWN from outside", exited(story(), 2100.0, 4, 0).ends(9000.0), Inconclusive, "exited with status 0"),
            (
                "a restart from outside",
                seen(story(), 2100.0, 4, "second").ends(9000.0),
                Inconclusive,
                "node-4 was restarted at 2.100 s, and another process answered at 2.100 s; no fault explains it",
            ),
            (
                "a kill from outside after a kill",
                signalled(restarted(), 5010.0, 4, 9, "SIGKILL").ends(9000.0),
                Inconclusive,
                "node-4 died of signal 9 (SIGKILL) at 5.010 s",
            ),
            (
                "a restart from outside after a kill",
                seen(restarted(), 5010.0, 4, "third").ends(9000.0),
                Inconclusive,
                "node-4 was restarted at 5.010 s",
            ),
            (
                "a kill from outside while another node is down",
                signalled(killed(), 2500.0, 5, 9, "SIGKILL").ends(9000.0),
                Inconclusive,
                "node-5 died",
            ),
            (
                "a kill from outside while it is paused",
                signalled(fault(2000.0, FaultKind::Pause, 4), 2500.0, 4, 9, "SIGKILL").ends(9000.0),
                Inconclusive,
                "node-4 died",
            ),
            (
                "a kill from outside while it is cut off",
                signalled(cut, 2500.0, 1, 9, "SIGKILL").ends(9000.0),
                Inconclusive,
                "node-1 died",
            ),
            (
                "a crash while it is stopped",
                crashed(fault(2000.0, FaultKind::Stop, 4)).ends(9000.0),
                Fail,
                "stop of node-4 does not explain a crash",
            ),
            ("a crash that a step asked for", crashed(commanded("DEBUG SEGFAULT")).ends(9000.0), Pass, "1 end by the"),
            (
                "a crash of another node than the one asked",
                signalled(commanded("debug segfault"), 2100.0, 5, 11, "SIGSEGV").ends(9000.0),
                Fail,
                "node-5 died",
            ),
            ("a crash after a harmless command", crashed(commanded("DEBUG SLEEP 0")).ends(9000.0), Fail, "node-4 died"),
        ],
    );
    let evidence = judged(&crashed(story()).ends(9000.0), "servers").evidence;
    assert!(evidence.iter().any(|line| line.contains("crashed by signal: 11")), "{evidence:?}");
}

/// `node-4` has the first value after boot and the second at the end. A step may send the command.
fn settings(name: &str, values: [&str; 2], command: Option<&str>) -> History {
    let config = |story: Story, at_ms, value: &str| {
        let values = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        story.event(at_ms, EventKind::ServerConfig { node: NodeNo(4), values })
    };
    let story = config(command.map_or_else(story, commanded), 600.0, values[0]);
    config(story, 8000.0, values[1]).ends(9000.0)
}

#[test]
fn directives_that_no_step_set_do_not_pass() {
    let name = "cluster-replica-no-failover";
    let differs = |at: &str| format!("node-4 has `{name} yes` at {at}, not no, and no step set it; it decides whether");
    let (at_first, at_end) = (differs("0.600 s"), differs("8.000 s"));
    let set = "CONFIG SET cluster-slave-no-failover yes";
    expect(
        "servers",
        vec![
            ("as planned", settings(name, ["no", "no"], None), Pass, "6 servers watched"),
            ("changed before the first look", settings(name, ["yes", "yes"], None), Inconclusive, &at_first),
            ("changed later", settings(name, ["no", "yes"], None), Inconclusive, &at_end),
            ("changed by a step, by its older name", settings(name, ["no", "yes"], Some(set)), Pass, "6 servers"),
            (
                "another one changed by a step",
                settings(name, ["no", "yes"], Some("CONFIG SET a b")),
                Inconclusive,
                &at_end,
            ),
            ("of the plan", settings("cluster-node-timeout", ["1000", "1000"], None), Pass, "6 servers"),
            (
                "not of the plan",
                settings("cluster-node-timeout", ["500", "500"], None),
                Inconclusive,
                "`cluster-node-timeout 500` at 0.600 s, not 1000",
            ),
            ("without a default", settings("maxmemory-policy", ["noeviction", "noeviction"], None), Pass, "6 servers"),
        ],
    );
}

#[test]
fn directives_that_a_start_changes_are_planned() {
    let name = "cluster-replica-no-failover";
    let config = |story: Story, at_ms, name: &str, value: &str| {
        let values = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        story.event(at_ms, EventKind::ServerConfig { node: NodeNo(4), values })
    };
    let started = |name: &str, values: [&str; 2], change: serde_json::Value, found: &[(&str, &str)]| {
        let story = config(story(), 600.0, name, values[0]).changed(3000.0, 4, change.clone());
        config(story.came_back(3100.0, 4, change, "9.1.2", found), 8000.0, name, values[1]).ends(9000.0)
    };
    let yes = || serde_json::json!({"config": {name: "yes"}});
    let server = || serde_json::json!({"server": "valkey:9.1"});
    let policy = "maxmemory-policy";
    expect(
        "servers",
        vec![
            ("changed by a start", started(name, ["no", "yes"], yes(), &[(name, "yes")]), Pass, "6 servers"),
            (
                "changed by a start, and back by nobody",
                started(name, ["no", "no"], yes(), &[(name, "yes")]),
                Inconclusive,
                "node-4 has `cluster-replica-no-failover no` at 8.000 s, not yes",
            ),
            (
                "another version has the same default",
                started(name, ["no", "yes"], server(), &[]),
                Inconclusive,
                "node-4 has `cluster-replica-no-failover yes` at 8.000 s, not no",
            ),
            (
                "another version has another default",
                started(policy, ["noeviction", "allkeys-lru"], server(), &[]),
                Pass,
                "6 servers",
            ),
            (
                "the same version has the same default",
                started(policy, ["noeviction", "allkeys-lru"], serde_json::json!({"data": "lost"}), &[]),
                Inconclusive,
                "node-4 has `maxmemory-policy allkeys-lru`",
            ),
        ],
    );
}

#[test]
fn histories_of_before_have_no_such_check() {
    let history = fault_without_servers();
    assert_eq!(Facts::new(&history).servers, None);
    assert!(check(&Facts::new(&history)).iter().all(|judgement| judgement.invariant != "servers"));
}

fn fault_without_servers() -> History {
    Story::new().phase(500.0, "a").fault(2000.0, FaultKind::Kill, 4, false).heal(3000.0, 1).ends(9000.0)
}

/// The lines about `node-4` that are no faults.
fn told(history: &History) -> Vec<String> {
    let mut narrator = Narrator::new(&history.header.plan, false);
    let lines: Vec<String> = history.events.iter().flat_map(|event| narrator.tell(event)).collect();
    let is_of_servers =
        |line: &String| ["died", "restarted", "answers again", "crash"].iter().any(|word| line.contains(word));
    lines.into_iter().filter(is_of_servers).collect()
}

#[test]
fn the_story_has_what_no_fault_explains() {
    let killed = signalled(fault(2000.0, FaultKind::Kill, 4), 2010.0, 4, 9, "SIGKILL").heal(3000.0, 1);
    for (history, expected) in [
        (seen(killed, 3050.0, 4, "second"), &[][..]),
        (seen(story(), 2100.0, 4, "second"), &["node-4 was restarted; no fault explains it"]),
        (
            seen(crashed(story()), 2200.0, 4, "second"),
            &[
                "node-4 died of signal 11 (SIGSEGV); no fault explains it",
                "node-4 wrote a crash report: crashed by signal: 11, si_code: 0",
                "node-4 answers again, as process 4711, and no step started it",
            ],
        ),
    ] {
        assert_eq!(told(&history.ends(9000.0)), expected);
    }
}

/// What a server gives up for stands below a frame, after the time of the line.
#[test]
fn the_story_says_why_a_server_gave_up() {
    let report = [
        "=== VALKEY BUG REPORT START: Cut & paste starting from here ===",
        "11:S 28 Nov 2026 16:12:22.480 # ------------------------------------------------",
        "11:S 28 Nov 2026 16:12:22.480 # !!! Software Failure. Press left mouse button to continue",
        "11:S 28 Nov 2026 16:12:22.480 # Guru Meditation: Replica was unable to write command to disk. #server.c:4529",
    ];
    let report = report.map(str::to_owned).to_vec();
    let history = story().event(2101.0, EventKind::ServerCrashed { node: NodeNo(4), report }).ends(9000.0);
    let told = told(&history);
    let [line] = told.as_slice() else { panic!("{told:?}") };
    assert!(
        line.contains("wrote a crash report: 11:S 28 Nov 2026 16:12:22.480 # Guru Meditation: Replica was"),
        "{line}"
    );
}

/// A server of an attached cluster reads its own file again when a step starts it.
#[test]
fn a_directive_that_a_planned_restart_resets_is_explained() {
    let run = |ends: bool, backend: BackendKind| {
        let mut history = settings("maxmemory-policy", ["allkeys-lru", "noeviction"], None);
        history.header.host.backend = backend.into();
        let config =
            |event: &Event| matches!(event.kind, EventKind::ServerConfig { .. }) && event.at_ns > 7_000_000_000;
        let position = history.events.iter().position(config).expect("the later look");
        if ends {
            let kind = EventKind::FaultInjected {
                fault: 1,
                kind: FaultKind::Stop,
                target: "node-4".to_owned(),
                node: NodeNo(4),
                shard: Some(ShardNo(1)),
                was_master: false,
            };
            history.events.insert(position, Event { at_ns: 7_000_000_000, kind });
        }
        history
    };
    let differs = "node-4 has `maxmemory-policy noeviction`";
    expect(
        "servers",
        vec![
            ("restarted by a step", run(true, BackendKind::Attach), Pass, "6 servers"),
            ("not restarted", run(false, BackendKind::Attach), Inconclusive, differs),
            ("a cluster of our own", run(true, BackendKind::Local), Inconclusive, differs),
        ],
    );
}
