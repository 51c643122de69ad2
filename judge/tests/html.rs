//! `report.html`: its contents, hostile texts and numbers in it, its size, and how it looks in a browser.

#[path = "support/views.rs"]
mod views;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use slotquake_judge::anatomy::{Line, LogEvent, Logs, What};
use slotquake_judge::facts::{Facts, Outage};
use slotquake_judge::history::{
    Event, EventKind, Explanation, FaultKind, FinalValue, Header, History, Host, NodeInfo, Op, OpParts, Outcome,
    SCHEMA_VERSION, StepProblem, key_name,
};
use slotquake_judge::plan::Plan;
use slotquake_judge::report::{Report, Summary, html};
use slotquake_judge::server::{Flavour, Server, Version};
use slotquake_judge::slot::Deal;
use slotquake_judge::suite::{self, ClientSet, OpKind};
use slotquake_judge::topology::{Health, View};
use slotquake_judge::units::{NodeNo, ShardNo, Speed};

const MS: u64 = 1_000_000;

/// node-1 is stopped at 5 s, suspected (PFAIL) at 10 s, flagged FAIL at 11 s and replaced by node-4 at 12 s. It starts
/// again at 15 s, and the run ends at 20 s.
fn history(every_us: u64) -> History {
    let text = suite::shipped().iter().find(|(name, _)| *name == "role-swap").expect("it is shipped").1;
    let plan = Plan::new(&suite::parse(text, Path::new("role-swap")).expect("it reads"), 7).expect("it plans");
    let nodes: Vec<NodeInfo> = plan
        .nodes
        .iter()
        .map(|node| NodeInfo {
            node: node.node,
            shard: node.shard,
            boots_as_master: node.replica_of.is_none(),
            addr: ([127, 1, 0, node.node.0 as u8], 6379).into(),
            id: format!("{:040x}", node.node.0),
            name: None,
        })
        .collect();
    let viewed = |observer: u16, view: &View| EventKind::Viewed { node: NodeNo(observer), view: view.clone() };
    let mut events = vec![(100, EventKind::Booted { nodes, took_ms: 100.0 })];
    let healthy = view(1, Health::Ok);
    events.extend((1..=6).map(|node| (150, viewed(node, &healthy))));
    events.extend([
        (1000, EventKind::Phase { name: "baseline".to_owned() }),
        (4900, EventKind::Phase { name: "master-down".to_owned() }),
        (
            5000,
            EventKind::FaultInjected {
                fault: 1,
                kind: FaultKind::Stop,
                target: "shard-1/master".to_owned(),
                node: NodeNo(1),
                shard: Some(plan.nodes[0].shard),
                was_master: true,
            },
        ),
        (5050, EventKind::FaultProven { fault: 1, in_effect: true, proof: "it is gone".to_owned() }),
        (5100, EventKind::Silent { node: NodeNo(1), reason: "refused".to_owned() }),
        (10_000, viewed(2, &view(1, Health::Pfail))),
    ]);
    events.extend((2..=6).map(|node| (11_000, viewed(node, &view(1, Health::Fail)))));
    events.extend((2..=6).map(|node| (12_000, viewed(node, &view(4, Health::Fail)))));
    events.extend([
        (15_000, EventKind::FaultHealed { fault: 1, by: "start".to_owned() }),
        (15_100, EventKind::HealProven { fault: 1, healed: true, proof: "it answers".to_owned() }),
    ]);
    events.extend((1..=6).map(|node| (15_200, viewed(node, &view(4, Health::Ok)))));
    events.extend((0..100).map(|poll| {
        let lag = EventKind::Lag { replica: NodeNo(5), master: NodeNo(2), bytes: poll * 15, link_up: true };
        (1000 + poll * 150, lag)
    }));
    events.push((19_000, EventKind::StepsEnded));
    events.push((20_000, EventKind::End));
    events.sort_by_key(|(at_ms, _)| *at_ms);
    let events = events.into_iter().map(|(at_ms, kind)| Event { at_ns: at_ms * MS, kind }).collect();
    let deal = Deal::even(3);
    let shards: Vec<ShardNo> = (0..600).map(|key| deal.shard_of_key(key_name(key).as_bytes())).collect();
    let ops =
        (0..18_000_000 / every_us).map(|number| op(number, 1_000 * MS + number * every_us * 1000, &shards)).collect();
    History {
        header: header(plan),
        ops,
        reasons: vec![Explanation::of_text("connection refused")],
        events,
        details: vec![],
        complete: true,
    }
}

/// The view of a node: the master of shard-1, and the flag of node-1.
fn view(master: u16, node_1: Health) -> View {
    let mut view = views::healthy();
    if master == 4 {
        view = views::taken_over(view, 1, 4, 7);
        view.current_epoch = 7;
    }
    views::flagged(view, 1, node_1)
}

/// All reads are served. Writes to shard-1 are refused from the fault to the promotion.
fn op(number: u64, at_ns: u64, shards: &[ShardNo]) -> Op {
    let kind = if number.is_multiple_of(2) { OpKind::Writes } else { OpKind::Reads };
    let key = (number / 2 % 600) as u32;
    let shard = shards[key as usize];
    let node = if shard == ShardNo(1) && at_ns >= 12_000 * MS { 4 } else { shard.0 };
    let is_down = (5_000 * MS..12_000 * MS).contains(&at_ns);
    let refused = is_down && kind == OpKind::Writes && shard == ShardNo(1);
    let parts = OpParts {
        due_ns: at_ns,
        invoke_ns: at_ns + 20_000,
        complete_ns: at_ns + 300_000 + number % 97 * 10_000,
        key,
        value: (number / 1200 + 1) as u32,
        client: (number % 4) as u16,
        node,
        kind,
        redirects: 0,
        outcome: if refused { Outcome::Fail(0) } else { Outcome::Ok },
    };
    parts.try_into().expect("it fits")
}

fn header(plan: Plan) -> Header {
    Header {
        schema_version: SCHEMA_VERSION,
        tool_version: "0.1.0".to_owned(),
        server: Server {
            asked: plan.server.clone(),
            version: Version { flavour: Flavour::Redis, major: 6, minor: 2, patch: 14 },
            path: "/cache/redis-server".into(),
            origin: "cache".to_owned(),
            library_path: None,
        },
        plan,
        other_servers: BTreeMap::new(),
        host: Host {
            os: "Linux 6.1".to_owned(),
            cores: 2,
            backend: slotquake_judge::server::BackendKind::Local.into(),
        },
        started_at: "2026-11-22T13:05:01Z".to_owned(),
        speed: Speed::REAL,
    }
}

fn page(history: &History) -> String {
    html::page(&Report::of(history), Some(&Facts::new(history)))
}

#[test]
fn shows_a_failover_in_words_picture_and_tables() {
    let history = history(5000);
    let page = page(&history);
    for expected in [
        "<b>role-swap</b> <span>on redis 6.2.14</span>",
        "shard-1: node-1 was stopped at 5.000 s; flagged FAIL after 6.000 s (by polling), node-4 promoted after 7.000 s (by polling)",
        // The lanes: each state once, and the flags of other nodes.
        "node-1: master, 1.000 s to 5.000 s",
        "node-1: down (was master), suspected (PFAIL) by 1 node, 10.000 s to 11.000 s",
        "node-1: down (was master), flagged FAIL by 5 nodes, 11.000 s to 15.100 s",
        "node-1: replica of node-4, 15.200 s to",
        "node-4: master, 12.000 s to",
        "stop node-1 (shard-1/master): from 5.000 s until 15.100 s",
        "phase baseline: 1.000 s to 4.900 s",
        "node-4 replaces node-1 as master of shard-1 (epoch 7) at 12.000 s, by polling",
        // Two undisturbed shards are one row.
        "shard-2, shard-3 together: undisturbed, every operation was served",
        "epoch 7, first seen at 12.000 s",
        ">writes: latency<",
        ">replica lag<",
        "class=\"outage\"",
        // The same in tables.
        "<caption>States of the nodes</caption>",
        "<td>down (was master), flagged FAIL by 5 nodes</td>",
        "<caption>Operations by time of issue, 1 s per row</caption>",
        "<td>connection refused</td>",
        "<th scope=\"row\">cluster-node-timeout</th>",
        "slotquake run role-swap --server redis:6.2 --seed 7</pre>",
    ] {
        assert!(page.contains(expected), "{expected} is not in the page");
    }
}

/// The logs of the nodes that tell of FAIL at 10.900 s and of the promotion at 11.800 s.
fn with_logs() -> (History, Logs) {
    let mut history = history(5000);
    let unix_ms = |at_ms: u64| 1_000_000_000 + at_ms;
    for node in 1..=6 {
        let kind = EventKind::Clock { node: NodeNo(node), unix_us: unix_ms(160) * 1000, sent_ns: 158 * MS };
        history.events.push(Event { at_ns: 160 * MS, kind });
    }
    history.events.sort_by_key(|event| event.at_ns);
    let line = |at_ms: u64, event| Line { local_ms: unix_ms(at_ms).cast_signed(), pid: 1, event };
    let old = format!("{:040x}", 1);
    let logs = [
        (NodeNo(2), vec![line(50, LogEvent::Starting), line(10_900, LogEvent::Quorum(old))]),
        (NodeNo(4), vec![line(50, LogEvent::Starting), line(11_700, LogEvent::Began(7)), line(11_800, LogEvent::Won)]),
    ];
    (history, logs.into())
}

#[test]
fn an_event_has_one_time_everywhere_that_of_the_log() {
    let (mut history, logs) = with_logs();
    history.header.plan.invariants = vec![
        serde_json::from_value(serde_json::json!({"failover-time": {"shard": "shard-1", "within": "spec"}})).unwrap(),
    ];
    let report = Report::with_logs(&history, &logs);
    let [failover] = report.failovers.as_slice() else { panic!("{:?}", report.failovers) };
    assert_eq!((failover.fail_ms, failover.promotion_ms), (Some(5900.0), Some(6800.0)));
    let logged = failover.logged.expect("it is told");
    assert_eq!((logged.fail, logged.promotion, logged.late_by_ms), (true, true, 2.0));
    let anatomy = &report.anatomy[0];
    assert_eq!((anatomy.at(What::Fail), anatomy.at(What::Promotion)), (failover.fail_ms, failover.promotion_ms));
    let judged = report.invariants.iter().find(|each| each.invariant == "failover-time").expect("it is judged");
    assert!((judged.figures["promotion_ms"] - 6800.0).abs() < f64::EPSILON, "{judged:?}");
    let seen = "shard-1: FAIL after 5.900 s of 11.100 s allowed; shard-1: promotion after 6.800 s of ";
    assert!(judged.seen.starts_with(seen), "{}", judged.seen);

    let facts = Facts::new(&history);
    // Of an earlier version, whose failovers are as polling showed them.
    let stored = Report { failovers: facts.failovers.clone(), ..report.clone() };
    assert_eq!(stored.timed_failovers(), report.failovers);
    for report in [&report, &stored] {
        let page = html::page(report, Some(&facts));
        for expected in [
            "flagged FAIL after 5.900 s (by log), node-4 promoted after 6.800 s (by log)",
            "node-1: down (was master), flagged FAIL by 1 node, 10.900 s to 11.000 s",
            "node-4: master, 11.800 s to",
            "node-4 replaces node-1 as master of shard-1 (epoch 7) at 11.800 s, by log",
            ">5.900 s (by log)</td>",
            ">6.800 s (by log)</td>",
            "times by log are up to 2.00 ms late",
            "node-1 flagged FAIL, by the servers&#39; logs",
            "node-4 promoted to master of shard-1 (epoch 7), by its log",
        ] {
            assert!(page.contains(expected), "{expected} is not in the page");
        }
        for other in
            ["promoted after 7.000 s", "FAIL after 6.000 s", "node-4: master, 12.000 s", "(epoch 7) at 12.000 s"]
        {
            assert!(!page.contains(other), "{other} is a second time for one event");
        }
        let course = Summary::new(report, Path::new("x")).course.expect("a course");
        let told = course.lines.iter().find(|(_, line)| line.contains("promoted")).expect("it is told");
        assert_eq!(told.0, 11_800 * MS);
    }
}

#[test]
fn a_late_answer_does_not_take_a_promotion_back() {
    let (mut history, logs) = with_logs();
    // The first answer of node-4 that shows its promotion, and those of the others, arrive 600 ms after the log's time.
    for event in &mut history.events {
        if matches!(event.kind, EventKind::Viewed { .. }) && (11_900 * MS..12_400 * MS).contains(&event.at_ns) {
            event.at_ns = 12_400 * MS;
        }
    }
    history.events.sort_by_key(|event| event.at_ns);
    let report = Report::with_logs(&history, &logs);
    let page = html::page(&report, Some(&Facts::new(&history)));
    assert!(page.contains("node-4: master, 11.800 s to"), "{page}");
    assert!(!page.contains("node-4: replica of node-1, 12."), "{page}");
}

#[test]
fn a_log_that_is_less_exact_than_polling_is_not_used() {
    let (mut history, logs) = with_logs();
    for event in &mut history.events {
        if let EventKind::Clock { sent_ns, .. } = &mut event.kind {
            *sent_ns = 0;
        }
    }
    let report = Report::with_logs(&history, &logs);
    assert_eq!((report.failovers[0].promotion_ms, report.failovers[0].logged), (Some(7000.0), None));
    assert_eq!(report.anatomy[0].at(What::Promotion), Some(7000.0));
}

#[test]
fn one_colour_has_one_meaning() {
    let style = include_str!("../templates/style.css");
    // What is drawn in the picture and the anatomy, by the class of its own.
    let drawn = [
        "master",
        "replica",
        "down",
        "paused",
        "silent",
        "pfail",
        "failed",
        "fault",
        "refused",
        "unknown",
        "unsent",
        "late",
        "asks",
        "phase-bar",
        "heard",
        "pinged",
        "outage",
        "blip",
    ];
    for class in drawn {
        let rule = style.contains(&format!(".{class} {{ fill: var(--{class}); }}")) || class == "silent";
        assert!(rule, "{class} has a colour of its own");
    }
    let schemes: Vec<&str> = style.split(":root {").skip(1).take(2).collect();
    for scheme in schemes {
        let scheme = scheme.split('}').next().unwrap_or_default();
        let value = |name: &str| {
            let after = scheme.split(&format!("--{name}: ")).nth(1).unwrap_or_else(|| panic!("{name} in {scheme}"));
            after.split(';').next().unwrap_or_default()
        };
        let names = drawn.iter().copied().chain(["cut", "lossy", "writes", "reads", "lag", "promotion"]);
        let colours: BTreeMap<&str, &str> = names.map(|name| (name, value(name))).collect();
        for (name, colour) in &colours {
            let others: Vec<&&str> =
                colours.iter().filter(|(_, other)| *other == colour).map(|(other, _)| other).collect();
            assert_eq!(others, [name], "{colour}");
        }
    }
}

#[test]
fn a_suite_without_invariants_says_that_it_judges_nothing() {
    let text = "name: look\nabout: Only look.\nsteps:\n  - settle: 1s\n";
    let suite = suite::parse(text, Path::new("look.yaml")).expect("it reads");
    assert!(Plan::new(&suite, 7).expect("it plans").invariants.is_empty());
    let mut history = history(5000);
    history.header.plan.invariants.clear();
    let mut report = Report::of(&history);
    report.verdict = slotquake_judge::check::Verdict::Pass;
    report.invariants.retain(|each| each.verdict == report.verdict);
    let page = html::page(&report, None);
    assert!(page.contains("<h1>Passed: the suite has no invariants, so only the"), "{page}");
    let table = slotquake_judge::report::render(
        &[Summary::new(&report, Path::new("x"))],
        slotquake_judge::report::Style::default(),
    );
    assert!(table.contains("pass, no invariants"), "{table}");
}

#[test]
fn a_short_fault_has_its_name_beside_it() {
    let mut history = history(5000);
    for event in &mut history.events {
        match event.kind {
            EventKind::FaultHealed { .. } => event.at_ns = 5_300 * MS,
            EventKind::HealProven { .. } => event.at_ns = 5_400 * MS,
            _ => {}
        }
    }
    history.events.sort_by_key(|event| event.at_ns);
    assert!(page(&history).contains("text-anchor=\"start\">stop node-1 (shard-1/master)</text>"));
}

#[test]
fn what_is_not_held_is_marked_on_the_axis_and_the_axis_is_on_top() {
    let history = contradictory();
    let page = page(&history);
    let picture = page.split("<div class=\"picture\"").nth(1).expect("a picture");
    let rows: Vec<&str> = picture.split("<div class=\"row ").skip(1).collect();
    assert!(rows[0].starts_with("axis"), "{}", rows[0]);
    let marks = rows.iter().find(|row| row.contains("not held")).expect("a row");
    for expected in ["class=\"mark unheld\"", "stale-reads", "acked-writes"] {
        assert!(marks.contains(expected), "{expected} is not in {marks}");
    }
    assert!(page.find("class=\"legend\"") < page.find("<div class=\"picture\""), "the legend is above the picture");
    for link in ["../index.html", "report.json", "logs/"] {
        assert!(page.contains(&format!("href=\"{link}\"")), "{link}");
    }
}

#[test]
fn shows_the_verdict_and_all_evidence() {
    let mut history = history(5000);
    let keys = 0..600;
    let read = |key| EventKind::FinalRead { key, node: Some(NodeNo(4)), value: FinalValue::Missing };
    let end = history.events.pop().expect("it ends");
    history.events.extend(keys.map(|key| Event { at_ns: 19_500 * MS, kind: read(key) }));
    history.events.push(end);
    let report = Report::of(&history);
    let page = html::page(&report, Some(&Facts::new(&history)));
    assert!(report.ledger.lost > 0, "{:?}", report.ledger);
    let failed = report.invariants.iter().filter(|each| each.verdict == slotquake_judge::check::Verdict::Fail).count();
    assert!(page.contains(&format!("<h1>Failed: {failed} of {} invariants do not hold", report.invariants.len())));
    for judgement in &report.invariants {
        assert!(page.contains(&judgement.invariant), "{}", judgement.invariant);
        for line in &judgement.evidence {
            let escaped = line.replace('&', "&#38;").replace('<', "&#60;").replace('>', "&#62;").replace('\'', "&#39;");
            assert!(page.contains(&escaped), "{line}");
        }
    }
    assert!(page.contains("<caption>Lost writes, the first 20</caption>"));
}

/// A stored run with half of the clients cut off, whose suite measures losses.
#[test]
fn tells_losses_and_the_two_sides_of_a_cut() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stored/minority-partition-redis-6.2");
    let history = slotquake_judge::history::read(&folder).expect("a stored run");
    let stored = slotquake_judge::report::read(&folder).expect("its report, of an earlier version");
    for page in [page(&history), html::page(&stored, Some(&Facts::new(&history)))] {
        tells_losses_and_sides(&page);
    }
}

fn tells_losses_and_sides(page: &str) {
    for expected in [
        "<section class=\"verdict pass lossy\">",
        "<h1>Passed; 35 acknowledged writes were lost, which this suite measures and does not judge</h1>",
        "<title>35 acknowledged writes of shard-1 lost, acknowledged from 7.537 s to 8.810 s; cause: minority-side</title>",
        "longest; for clients that were cut off ",
        "<div class=\"group\">shard-2, clients that were cut off</div>",
        "<div class=\"group\">shard-2, other clients</div>",
        "<title>write outage on shard-2 by clients that were cut off: ",
        "<caption>Outages from 100 ms on</caption>",
        "<p class=\"muted\">Shorter than 100 ms: ",
    ] {
        assert!(page.contains(expected), "no `{expected}`");
    }
    assert!(!page.contains("<title>write outage on shard-2 by clients that were not cut off: 1"), "they were served");
}

#[test]
fn outages_that_are_all_short_are_counted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stored/minority-partition-redis-6.2");
    let mut stored = slotquake_judge::report::read(&folder).expect("a stored run");
    stored.outages.retain(|outage| outage.length_ms() < 100.0);
    let gaps = stored.outages.len();
    let page = html::page(&stored, None);
    assert!(gaps > 1 && page.contains(&format!("Shorter than 100 ms: {gaps} gaps, with ")), "{gaps} gaps");
    assert!(!page.contains("<caption>Outages"), "no outage has a row");
    stored.outages.clear();
    assert!(!html::page(&stored, None).contains("Shorter than 100 ms"), "there was none");
}

#[test]
fn a_report_without_its_history_has_no_operations() {
    let history = history(5000);
    let page = html::page(&Report::of(&history), None);
    assert!(page.contains("is not next to the report"));
    assert!(page.contains("node-1: down (was master), flagged FAIL by 5 nodes, 11.000 s to 15.100 s"));
    assert!(!page.contains(">writes: latency<"));
}

#[test]
fn hostile_names_and_numbers_do_no_harm() {
    let evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'`&{{7*7}}";
    let mut history = history(5000);
    history.header.plan.name = evil.to_owned();
    history.header.plan.about = evil.to_owned();
    history.header.plan.server = evil.to_owned();
    history.header.plan.config.insert(evil.to_owned(), evil.into());
    history.header.server.origin = evil.to_owned();
    history.header.started_at = evil.to_owned();
    history.reasons = vec![Explanation::of_text(evil)];
    for event in &mut history.events {
        if let EventKind::Phase { name } | EventKind::FaultInjected { target: name, .. } = &mut event.kind {
            evil.clone_into(name);
        }
    }
    history.events.push(Event { at_ns: 19_900 * MS, kind: EventKind::Note { text: evil.to_owned() } });
    let mut report = Report::of(&history);
    report.invariants[0].evidence.push(evil.to_owned());
    report.invariants[0].seen = evil.to_owned();
    report.invariants[0].figures.insert(evil.to_owned(), f64::MAX);
    report.duration_ms = f64::INFINITY;
    for phase in &mut report.phases {
        (phase.reads.issued, phase.reads.ok, phase.reads.p99_ms) = (u64::MAX, u64::MAX, f64::MAX);
    }
    report.outages = vec![Outage {
        clients: ClientSet::All,
        of: OpKind::Writes,
        shard: ShardNo(1),
        from_ns: 1,
        to_ns: u64::MAX,
        unserved: u64::MAX,
        ended: false,
        stall: false,
    }];
    report.failovers.iter_mut().for_each(|failover| failover.first_write_ms = Some(1e300));
    report.ledger.lost = u64::MAX;
    for history in [None, Some(&history)] {
        let page = html::page(&report, history.map(Facts::new).as_ref());
        assert!(page.contains("alert(1)"), "it is shown as text");
        assert_eq!(page.matches("<script").count(), 2, "the data and the page's own script");
        assert!(!page.contains("<img"));
        assert_eq!(page.matches("</body>").count(), 1);
    }

    let mut late = self::history(5000);
    for event in late.events.iter_mut().rev().take(8) {
        event.at_ns = u64::MAX;
    }
    let mut report = Report::of(&late);
    report.events.retain(|event| !matches!(event.kind, EventKind::Booted { .. }));
    for history in [None, Some(&late)] {
        assert!(html::page(&report, history.map(Facts::new).as_ref()).len() < 2_000_000);
    }
}

#[test]
fn shows_the_anatomy_as_a_picture_and_as_tables() {
    let history = history(5000);
    let mut report = Report::of(&history).with_anatomy(&Logs::new());
    let page = html::page(&report, Some(&Facts::new(&history)));
    let section = page.split("<h2>").find(|section| section.starts_with("Failover anatomy")).expect("a section");
    for expected in [
        "Failover of shard-1: node-1 to node-4, epoch ",
        " from the stop of node-1 to the first write: 6.0 s detection, ",
        // As bars: measured, expected, and what the nodes knew.
        "<title>first PFAIL: at 5.000 s, 5.000 s after the milestone before it (poll of node-2)</title>",
        "<title>FAIL by quorum: expected between 5.000 s and 10.400 s by the server&#39;s rules</title>",
        "<title>node-2 suspects it (PFAIL) from 5.000 s on</title>",
        "From FAIL on, enlarged",
        // As tables.
        "<caption>Milestones</caption>",
        "<caption>What each node knew about the old master, and when</caption>",
    ] {
        assert!(section.contains(expected), "{expected}\n{section}");
    }
    assert_eq!(
        section.matches("class=\"expected\"").count(),
        1 + 5 + 4,
        "the legend, every row, and those from FAIL on"
    );

    let evil = "</title><script>alert(1)</script>";
    let anatomy = &mut report.anatomy[0];
    anatomy.sentence = evil.to_owned();
    for (far, drawn) in [(1e11, true), (1e300, false)] {
        report.anatomy[0].milestones[1].after_ms = far;
        let page = html::page(&report, Some(&Facts::new(&history)));
        assert!(!page.contains("<script>alert"), "a sentence is text");
        assert_eq!(page.contains("class=\"picture anatomy\""), drawn, "no axis spans {far} ms");
    }
}

#[test]
fn a_page_of_a_million_operations_stays_below_two_megabytes() {
    let history = history(18);
    assert_eq!(history.ops.len(), 1_000_000);
    let page = page(&history);
    assert!(page.len() < 2_000_000, "{} bytes", page.len());

    // The same number over an hour, with hundreds of changes in each lane and outages without number.
    let mut long = self::history(5000);
    let stretch = 180;
    for event in &mut long.events {
        event.at_ns *= stretch;
    }
    for op in &mut long.ops {
        let mut parts = op.parts();
        for ns in [&mut parts.due_ns, &mut parts.invoke_ns, &mut parts.complete_ns] {
            *ns *= stretch;
        }
        if parts.client == 2 {
            parts.outcome = Outcome::Info(0);
        }
        *op = parts.try_into().expect("it fits");
    }
    let last = long.events.len() - 2;
    let at_ns = long.events[last].at_ns;
    let flapping = (0..20_000).map(|number| {
        let health = if number % 2 == 0 { Health::Pfail } else { Health::Ok };
        let node = NodeNo((number % 3 + 2) as u16);
        Event { at_ns: at_ns + number, kind: EventKind::Viewed { node, view: view(4, health) } }
    });
    let flapping: Vec<Event> = flapping.collect();
    let end = long.events.split_off(last + 1);
    long.events.extend(flapping);
    long.events.extend(end);
    let size = self::page(&long).len();
    assert!(size < 2_000_000, "{size} bytes");
}

#[test]
fn a_page_of_many_invariants_and_long_texts_stays_below_two_megabytes() {
    let history = history(5000);
    let report = Report::of(&history);
    let mut many = report.clone();
    let passing = many.invariants[0].clone();
    many.invariants = vec![passing; 200_000];
    many.invariants[150_000].verdict = slotquake_judge::check::Verdict::Fail;
    many.invariants[150_000].seen = "the one that fails".to_owned();
    let mut evidence = report.clone();
    evidence.invariants[0].evidence = vec!["<a line>".to_owned(); 200_000];
    let mut long = report.clone();
    for invariant in &mut long.invariants {
        invariant.seen = "<&".repeat(200_000);
    }
    long.events = (0..2000).map(|_| Event { at_ns: MS, kind: EventKind::Note { text: "<".repeat(3000) } }).collect();
    let mut problems = report;
    let failed = |step| {
        let problem = Some(StepProblem::Suite("no such command".repeat(20)));
        Event { at_ns: MS, kind: EventKind::StepEnded { step, problem } }
    };
    problems.events.extend((0..20_000).map(failed));
    for (report, expected) in [
        (many, vec!["the one that fails", "more invariants that report.json has"]),
        (evidence, vec!["more lines in report.json"]),
        (long, vec!["more bytes)", "more rows"]),
        (problems, vec!["more warnings that report.json has"]),
    ] {
        let page = html::page(&report, None);
        assert!(page.len() < 2_000_000, "{} bytes", page.len());
        for text in expected {
            assert!(page.contains(text), "{text}");
        }
    }
}

/// A history in which a client reads an old value, and another loses what was acknowledged.
fn contradictory() -> History {
    let mut history = history(5000);
    let invariants = [
        serde_json::json!({"linearizable": {"may-violate": "measured"}}),
        serde_json::json!({"stale-reads": {"max-age": "0s"}}),
        serde_json::json!({"acked-writes": {"may-lose": 0}}),
    ];
    history.header.plan.invariants =
        invariants.into_iter().map(|each| serde_json::from_value(each).expect("an invariant")).collect();
    // Each key is written and read once each 6 s: its third version is read as the first.
    for op in &mut history.ops {
        let is_stale = op.key() < 5 && op.kind() == OpKind::Reads && op.value() == 3;
        let value = if is_stale { 1 } else { op.value() };
        *op = OpParts { value, outcome: Outcome::Ok, ..op.parts() }.try_into().expect("it fits");
    }
    let end = history.events.pop().expect("it ends");
    history.events.extend((0..600).map(|key| {
        let value = if key == 0 { FinalValue::Number(2) } else { FinalValue::Number(3) };
        Event { at_ns: 19_500 * MS, kind: EventKind::FinalRead { key, node: Some(NodeNo(4)), value } }
    }));
    history.events.push(end);
    history
}

/// The drawings of an invariant on a page.
fn drawings<'a>(page: &'a str, invariant: &str) -> Vec<&'a str> {
    let section = page.split("<details class=\"invariant").find(|part| part.contains(&format!("<b>{invariant}")));
    let section = section.expect("it is on the page").split("</details>").next().unwrap_or_default();
    section.split("<figure").skip(1).map(|part| part.split("</figure>").next().unwrap_or_default()).collect()
}

/// The left edge and the width of each bar.
fn bars(drawing: &str) -> Vec<(f64, f64)> {
    let number = |rect: &str, name: &str| {
        let from = rect.split(&format!("{name}=\"")).nth(1)?;
        from.split('%').next()?.parse::<f64>().ok()
    };
    let rects = drawing.split("<rect").skip(1);
    rects.map(|rect| (number(rect, "x").expect("an edge"), number(rect, "width").expect("a width"))).collect()
}

#[test]
fn draws_operations_that_contradict_each_other() {
    let page = page(&contradictory());
    let drawn = drawings(&page, "linearizable");
    assert_eq!(drawn.len(), 3, "of 5 violations");
    assert!(page.contains("3 of 5 are drawn."));
    let first = drawn[0];
    for expected in [
        "key-0 was set to 2, which was acknowledged at",
        "client-2 asked",
        "and got 1 again, which is older and was written only once.",
        "client-1 <b>SET key-0 = 1</b><small>acknowledged by node-",
        "client-1 <b>SET key-0 = 2</b><small>acknowledged by node-",
        "client-2 <b>GET key-0 -&#62; 1</b><small>answered by node-",
    ] {
        assert!(first.contains(expected), "{expected} is not in {first}");
    }
    assert_eq!(first.matches("class=\"row reads contradicts\"").count(), 1);
    let bars = bars(first);
    assert_eq!(bars.len(), 3, "{first}");
    for pair in bars.windows(2) {
        assert!(pair[0].0 + pair[0].1 < pair[1].0, "each ended before the next was sent: {bars:?}");
    }
    assert_eq!(drawings(&page, "stale-reads").len(), 3);
    let lost = drawings(&page, "acked-writes");
    assert!(lost[0].contains("At the end of the run the key held 2, which is older."), "{}", lost[0]);
    assert!(lost[0].contains("in the end <b>GET key-0 -&#62; 2</b>"), "{}", lost[0]);
}

#[test]
fn an_operation_of_unknown_outcome_has_an_open_end() {
    let history = contradictory();
    let report = Report::of(&history);
    let mut judgement = report.invariants[0].clone();
    let write = judgement.witnesses[0].ops.iter_mut().find(|op| op.value == Some(2)).expect("a write");
    write.outcome = slotquake_judge::consistency::Effect::Possible;
    let page = html::page(&Report { invariants: vec![judgement], ..report }, None);
    let drawn = drawings(&page, "linearizable");
    let open = bars(drawn[0]).into_iter().filter(|(x, width)| (x + width - 100.0).abs() < 0.01).count();
    assert_eq!(open, 1, "{}", drawn[0]);
    assert!(drawn[0].contains("outcome unknown: it may take effect at any later time"), "{}", drawn[0]);
}

#[test]
fn drawings_are_bounded_and_escaped() {
    let evil = "</title><script>alert(1)</script>\"'&";
    let history = contradictory();
    let report = Report::of(&history);
    let text = serde_json::to_string(&report).expect("it is data");
    assert_eq!(serde_json::from_str::<Report>(&text).expect("it reads"), report);

    let mut hostile = report.clone();
    let mut judgement = hostile.invariants[0].clone();
    let witness = &mut judgement.witnesses[0];
    witness.key = evil.repeat(500);
    witness.why = evil.repeat(500);
    witness.ops[0].invoke_ns = u64::MAX;
    witness.ops[1].complete_ns = 0;
    witness.ops = witness.ops.repeat(100);
    judgement.witnesses = vec![judgement.witnesses[0].clone(); 50];
    judgement.witnesses_left = u64::MAX;
    hostile.invariants = vec![judgement; 40];
    let page = html::page(&hostile, None);
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    assert_eq!(page.matches("<figure").count(), 12, "of a page");
    assert_eq!(page.matches("<script").count(), 2, "the data and the page's own script");
    assert!(page.contains("are drawn."));

    let mut earlier: serde_json::Value = serde_json::from_str(&text).expect("it reads");
    for judgement in earlier["invariants"].as_array_mut().expect("a list") {
        let fields = judgement.as_object_mut().expect("fields");
        fields.remove("witnesses");
        fields.remove("witnesses_left");
    }
    let earlier: Report = serde_json::from_value(earlier).expect("a report of an earlier version reads");
    let page = html::page(&earlier, None);
    assert!(!page.contains("<figure") && page.contains("linearizable"));
}

/// Lets a test end early where there is no browser, but not where everything must be there.
fn browser() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name))).find(|file| file.is_file());
    if found.is_none() {
        let required = std::env::var("SLOTQUAKE_REQUIRE_ALL").is_ok_and(|value| value == "1");
        assert!(!required, "SLOTQUAKE_REQUIRE_ALL is set, but there is no chromium");
        eprintln!("skipped: there is no chromium on PATH");
    }
    found
}

/// Opens a file in a browser of its own; gives what it says on stdout.
fn open(browser: &Path, folder: &Path, file: &Path, args: &[&str]) -> String {
    let mut command = Command::new(browser);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]);
    command.arg(format!("--user-data-dir={}", folder.join("profile").display())).args(args);
    command.arg(format!("file://{}", file.display()));
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the browser starts");
    let mut out = child.stdout.take().expect("it is piped");
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let _ = std::io::Read::read_to_string(&mut out, &mut text);
        let _ = sender.send(text);
    });
    let said = receiver.recv_timeout(Duration::from_secs(120));
    if said.is_err() {
        let _ = child.kill();
    }
    let _ = child.wait();
    said.expect("the browser ends within two minutes")
}

#[test]
fn a_browser_shows_the_page_and_runs_its_script() {
    let Some(browser) = browser() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let history = history(5000);
    // Asked of the page itself: how far it is too wide, whether its script ran, and what it shows at
    // a point of the picture.
    let question = "<script>addEventListener('load', function () {
        var rows = document.querySelectorAll('.row.writes'), box = rows[0].querySelector('.plot').getBoundingClientRect();
        var at = { bubbles: true, clientX: box.left + box.width / 2, clientY: box.top + 5 };
        rows[0].querySelector('.plot').dispatchEvent(new PointerEvent('pointermove', at));
        var wide = document.documentElement.scrollWidth - innerWidth;
        document.title = 'wide ' + wide + ' titles ' + document.querySelectorAll('.shape > title').length
            + ' named ' + Array.from(document.querySelectorAll('.row.lane svg.within > text')).some(function (text) { return getComputedStyle(text).visibility === 'visible'; })
            + ' tip ' + document.getElementById('tip').textContent.replace(/\\n/g, ' / ');
    });</script></body>";
    let file = folder.path().join("report.html");
    std::fs::write(&file, page(&history).replace("</body>", question)).expect("written");
    // Where somebody wants to look at the pictures, they are kept.
    let kept = std::env::var_os("SLOTQUAKE_SCREENSHOTS").map(PathBuf::from);
    let shots = kept.unwrap_or_else(|| folder.path().to_owned());
    for (name, args) in [
        ("light", &["--window-size=1280,1800"][..]),
        ("dark", &["--window-size=1280,1800", "--blink-settings=preferredColorScheme=0"]),
        ("phone", &["--window-size=500,2600"]),
    ] {
        let dom = open(&browser, folder.path(), &file, &[args, &["--dump-dom"]].concat());
        let title = dom.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next()).unwrap_or_default();
        assert!(title.starts_with("wide 0 titles 0 named true tip "), "{name}: {title}");
        // Half way, at 10.55 s, writes of shard-1 are refused.
        assert!(title.contains("s · writes/s / 0 ok, ") && title.contains(" refused"), "{name}: {title}");
        let shot = shots.join(format!("{name}.png"));
        open(&browser, folder.path(), &file, &[args, &[&format!("--screenshot={}", shot.display())]].concat());
        let picture = std::fs::read(&shot).expect("a screenshot");
        assert!(picture.starts_with(b"\x89PNG") && picture.len() > 20_000, "{name}: {} bytes", picture.len());
    }
}
