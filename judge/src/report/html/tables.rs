//! The tables of a page: the picture in numbers, and everything else in the report. Pure.

use std::collections::BTreeMap;

use super::lanes::{Lane, MarkKind};
use super::series::{Grid, OpSeries};
use super::table::Table;
use crate::facts::{Facts, Ledger, Outage, STALL_NS};
use crate::history::{EventKind, Exit, FinalValue, key_name};
use crate::report::narrate::Narrator;
use crate::report::run::{PhaseReport, Report};
use crate::slot::ranges;
use crate::units::NodeNo;
use crate::words::page::{at, count, counted, figure, fixed, length, length_or_dash};

/// The failovers with their times.
pub fn failovers(report: &Report) -> Table {
    let failovers = report.timed_failovers();
    let late_ms = failovers.iter().filter_map(|failover| failover.logged).map(|logged| logged.late_by_ms);
    let exactness = late_ms.max_by(f64::total_cmp).map_or_else(String::new, |late_ms| {
        format!("; times by log are up to {} late, by polling up to 100 ms", length(late_ms))
    });
    let with = |time: Option<f64>, by: &str| match time {
        Some(time) => format!("{} ({by})", length(time)),
        None => "-".to_owned(),
    };
    let rows = failovers.iter().map(|failover| {
        vec![
            failover.shard.to_string(),
            match (failover.kind, failover.ordered_by) {
                (Some(kind), _) => kind.to_string(),
                (None, Some(_)) => "CLUSTER FAILOVER".to_owned(),
                (None, None) => "no fault".to_owned(),
            },
            failover.old_master.to_string(),
            failover.new_master.map_or_else(|| "-".to_owned(), |node| node.to_string()),
            at(failover.from_ns),
            with(failover.fail_ms, failover.fail_by()),
            with(failover.promotion_ms, failover.promotion_by()),
            length_or_dash(failover.first_write_ms),
            failover.epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string()),
        ]
    });
    let head =
        ["shard", "cause", "old master", "new master", "at", "to FAIL", "to promotion", "to first write", "epoch"];
    let caption = format!("Failovers; times count from the fault or the CLUSTER FAILOVER{exactness}");
    Table::new(&caption, &head, 4, rows)
}

/// The outages from [`STALL_NS`] on.
pub fn outages(outages: &[Outage]) -> Table {
    let rows = outages.iter().filter(|outage| !is_short(outage)).map(|outage| {
        let ended = if outage.ended { "" } else { " or more" };
        vec![
            outage.shard.to_string(),
            outage.of.to_string(),
            outage.clients.to_string(),
            if outage.stall { "stall" } else { "outage" }.to_owned(),
            at(outage.from_ns),
            at(outage.to_ns),
            format!("{}{ended}", length(outage.length_ms())),
            count(outage.unserved),
        ]
    });
    let caption = if outages.iter().any(is_short) { "Outages from 100 ms on" } else { "Outages" };
    Table::new(caption, &["shard", "of", "clients", "kind", "from", "to", "length", "operations"], 4, rows)
}

/// What [`outages`] leaves out, counted; empty if it leaves out none.
pub fn short_outages(outages: &[Outage]) -> String {
    let short = outages.iter().filter(|outage| is_short(outage));
    let (gaps, unserved) = short.fold((0, 0), |(gaps, unserved), outage| (gaps + 1, unserved + outage.unserved));
    if gaps == 0 {
        return String::new();
    }
    let (gaps, unserved) = (counted(gaps, "gap"), counted(unserved, "operation"));
    format!("Shorter than 100 ms: {gaps}, with {unserved} not served. They are in report.json.")
}

fn is_short(outage: &Outage) -> bool {
    outage.length_ns() < STALL_NS
}

/// Statistics by phase, and of all steps together.
pub fn phases(report: &Report) -> Table {
    let row = |phase: &PhaseReport, of: &str, stats: &crate::facts::OpStats| {
        let mut cells = vec![
            phase.span.name.clone(),
            at(phase.span.window.from_ns),
            length(phase.span.window.length_ns() as f64 / 1e6),
            of.to_owned(),
        ];
        cells.extend([stats.issued, stats.ok, stats.failed, stats.unknown, stats.unsent].map(count));
        let times = [stats.p50_ms, stats.p99_ms, stats.max_ms];
        cells.extend(times.map(|ms| if stats.ok == 0 { "-".to_owned() } else { length(ms) }));
        cells.push(if stats.issued == 0 { "-".to_owned() } else { length(stats.late_p99_ms) });
        cells
    };
    let all = report.phases.iter().chain(&report.steps);
    let rows = all.flat_map(|phase| [row(phase, "reads", &phase.reads), row(phase, "writes", &phase.writes)]);
    let head = [
        "phase",
        "begins",
        "length",
        "of",
        "issued",
        "ok",
        "refused",
        "unknown",
        "not sent",
        "p50",
        "p99",
        "max",
        "issued late (p99)",
    ];
    let caption = "Phases; latencies of acknowledged operations count from their due times. `steps` is the window of invariants without a phase";
    Table::new(caption, &head, 4, rows)
}

/// The reasons for operations that were not served, by phase.
pub fn reasons(report: &Report) -> Table {
    let of_phase = |phase: &PhaseReport| {
        let name = phase.span.name.clone();
        let rows = [("reads", &phase.reads), ("writes", &phase.writes)].map(|(of, stats)| {
            let name = name.clone();
            let row = move |(reason, times): (&String, &u64)| {
                vec![name.clone(), of.to_owned(), reason.clone(), count(*times)]
            };
            stats.reasons.iter().map(row).collect::<Vec<_>>()
        });
        rows.into_iter().flatten().collect::<Vec<_>>()
    };
    Table::new(
        "Why operations were not served",
        &["phase", "of", "reason", "times"],
        3,
        report.phases.iter().flat_map(of_phase),
    )
}

/// The sums of the ledger.
pub fn ledger(ledger: &Ledger) -> Table {
    let rows = [
        ("acknowledged", ledger.acknowledged),
        ("lost: acknowledged, but not read back", ledger.lost),
        ("lost and overwritten: gone before the key was written again", ledger.overwritten),
        ("missed for a time by wrong reads of a master", ledger.hidden),
        ("overwritten before anybody read them where writes may have been lost", ledger.untold),
        ("undecided: lost, or overwritten by a late write of unknown outcome", ledger.undecided),
        ("outcome unknown, but applied", ledger.applied_unacknowledged),
        ("refused, but applied", ledger.refused_but_applied),
        ("keys with a value that the workload never wrote", ledger.foreign),
        ("keys read back", ledger.keys_read),
        ("keys with acknowledged writes that could not be read back", ledger.keys_unread),
    ];
    Table::new("Writes", &["", "number"], 1, rows.map(|(what, number)| vec![what.to_owned(), count(number)]))
}

/// The number of lost writes by cause, phase, shard and side.
pub fn losses(ledger: &Ledger) -> Table {
    let row = |by: &str, what: String, number: &u64| vec![by.to_owned(), what, count(*number)];
    let mut rows: Vec<_> =
        ledger.lost_by_cause.iter().map(|(cause, number)| row("cause", cause.to_string(), number)).collect();
    rows.extend(ledger.lost_by_phase.iter().map(|(phase, number)| row("phase", phase.clone(), number)));
    rows.extend(ledger.lost_by_shard.iter().map(|(shard, number)| row("shard", shard.to_string(), number)));
    rows.extend(ledger.lost_by_side.iter().map(|(side, number)| row("side of the cut", side.to_string(), number)));
    Table::new("Lost writes by cause, phase, shard and side", &["by", "", "lost"], 2, rows)
}

/// Examples of lost writes.
pub fn lost_writes(ledger: &Ledger) -> Table {
    let rows = ledger.examples.iter().map(|lost| {
        vec![
            key_name(lost.key),
            lost.shard.to_string(),
            lost.value.to_string(),
            at(lost.invoke_ns),
            at(lost.acked_ns),
            lost.acked_by.map_or_else(|| "-".to_owned(), |node| node.to_string()),
            match &lost.read_back {
                FinalValue::Number(number) => number.to_string(),
                FinalValue::Numbers(numbers) => crate::words::list(numbers),
                FinalValue::Missing => "nothing".to_owned(),
                FinalValue::Foreign(text) => format!("`{text}`"),
                FinalValue::Unreadable(reason) => format!("unreadable: {reason}"),
            },
            lost.phase.clone(),
            lost.side.to_string(),
            lost.cause.to_string(),
        ]
    });
    let head = ["key", "shard", "value", "issued", "acknowledged", "by", "read back", "phase", "side", "cause"];
    Table::new(&format!("Lost writes, the first {}", ledger.examples.len()), &head, 10, rows)
}

/// The states of the nodes over time.
pub fn lanes(lanes: &[Lane]) -> Table {
    let rows = lanes.iter().flat_map(|lane| {
        lane.stretches.iter().map(|stretch| {
            let (from, to) = (at(stretch.window.from_ns), at(stretch.window.to_ns));
            vec![lane.node.to_string(), from, to, stretch.state.in_words()]
        })
    });
    Table::new("States of the nodes", &["node", "from", "to", "state"], 9, rows)
}

/// The events of the run in words.
pub fn events(facts: &Facts<'_>, report: &Report) -> Table {
    let history = facts.history;
    let narrator = Narrator::new(&history.header.plan, true).on(history.header.server.version);
    let mut rows = narrator.knowing(report.timed_failovers()).tell_all(&report.events);
    for mark in super::lanes::marks(facts, &report.timed_failovers()) {
        if let MarkKind::Epoch(epoch) = mark.kind {
            rows.push((mark.at_ns, format!("epoch {epoch} first seen")));
        }
    }
    rows.sort_by_key(|(at_ns, _)| *at_ns);
    Table::new("Events", &["at", "event"], 9, rows.into_iter().map(|(at_ns, line)| vec![at(at_ns), line]))
}

/// Throughput and latency in wider buckets than in the picture. Empty buckets are left out.
pub fn operations(all: &[OpSeries], grid: &Grid) -> Table {
    let rows = all.iter().flat_map(|series| {
        series.buckets.iter().enumerate().filter(|(_, bucket)| bucket.total() > 0).map(|(index, bucket)| {
            let latency = |of: fn(&super::series::Latency) -> f64| length_or_dash(bucket.latency.as_ref().map(of));
            vec![
                series.shard.to_string(),
                series.kind.to_string(),
                series.clients.to_string(),
                format!("{} s", fixed(grid.edge_s(index), 1)),
                count(bucket.ok),
                count(bucket.failed),
                count(bucket.unknown),
                count(bucket.unsent),
                latency(|latency| latency.p50_ms),
                latency(|latency| latency.p99_ms),
                latency(|latency| latency.max_ms),
            ]
        })
    });
    let caption = format!("Operations by time of issue, {} s per row", figure(grid.width_s()));
    Table::new(
        &caption,
        &["shard", "of", "clients", "from", "ok", "refused", "unknown", "not sent", "p50", "p99", "max"],
        3,
        rows,
    )
}

/// Steps, nodes, server directives and workload of the plan.
pub fn configuration(report: &Report) -> Vec<Table> {
    let plan = &report.header.plan;
    let config = plan.config.iter().map(|(name, value)| vec![name.clone(), value.to_string()]);
    let workload = serde_json::to_value(&plan.workload).unwrap_or_default();
    let settings = workload
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| vec![name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)]);
    let steps = plan.steps.iter().enumerate().map(|(index, step)| {
        let step = serde_json::to_value(step).unwrap_or_default();
        let (name, value) = step.as_object().and_then(|map| map.iter().next()).map_or_else(
            || (step.to_string(), String::new()),
            |(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
        );
        vec![(index + 1).to_string(), name, value]
    });
    let booted = report.events.iter().find_map(|event| match &event.kind {
        EventKind::Booted { nodes, .. } => Some(nodes),
        _ => None,
    });
    let known = |node: NodeNo| booted.into_iter().flatten().find(|info| info.node == node);
    let nodes = plan.nodes.iter().map(|node| {
        let info = known(node.node);
        vec![
            node.node.to_string(),
            node.shard.to_string(),
            node.replica_of.map_or_else(|| "master".to_owned(), |master| format!("replica of {master}")),
            ranges(&node.slots),
            info.map_or_else(String::new, |info| info.addr.to_string()),
            info.map_or_else(String::new, |info| info.id.clone()),
            info.and_then(|info| info.name.clone()).unwrap_or_default(),
        ]
    });
    vec![
        Table::new("Steps", &["", "step", "settings"], 9, steps),
        Table::new("Nodes at boot", &["node", "shard", "role", "slots", "address", "id", "name"], 9, nodes),
        Table::new("Server directives", &["directive", "value"], 9, config),
        Table::new("Workload", &["setting", "value"], 9, settings),
    ]
}

/// What was done to a node while it was down.
fn while_down(done: Option<Vec<String>>) -> String {
    done.unwrap_or_default().into_iter().filter(|done| !done.is_empty()).collect::<Vec<_>>().join("; ")
}

/// The nodes that came back different from before, and those that did not start.
pub fn changed(report: &Report) -> Table {
    let mut down: BTreeMap<NodeNo, Vec<String>> = BTreeMap::new();
    let mut rows = Vec::new();
    for event in &report.events {
        match &event.kind {
            EventKind::Changed { node, done, .. } => down.entry(*node).or_default().push(done.clone()),
            EventKind::Corrupted { node, damaged, .. } => down.entry(*node).or_default().push(damaged.words()),
            EventKind::PowerLost { node, unsynced, .. } => down.entry(*node).or_default().push(unsynced.words()),
            EventKind::StartFailed { node, change, exit, log, .. } => {
                let done = while_down(down.remove(node));
                let last = log.last().cloned().unwrap_or_default();
                let exit = exit.as_ref().map_or_else(|| "ended".to_owned(), Exit::words);
                let came = format!("it {exit}, which its step allows");
                rows.push(vec![at(event.at_ns), node.to_string(), change.words(), done, last, came]);
            }
            EventKind::CameBack { node, change, found, unlike } => {
                let done = while_down(down.remove(node));
                let found = found.words();
                let unlike = unlike.clone().unwrap_or_else(|| "as asked".to_owned());
                rows.push(vec![at(event.at_ns), node.to_string(), change.words(), done, found, unlike]);
            }
            _ => {}
        }
    }
    let head = ["at", "node", "started", "while it was down", "then it reported, or logged last", "so it came back"];
    Table::new("Servers that came back different", &head, 9, rows)
}

/// The versions, the machine, and the seed.
pub fn versions(report: &Report) -> Table {
    let header = &report.header;
    let others = header.other_servers.values().map(|server| ("started later", server.version.to_string()));
    let mut rows = vec![
        ("slotquake", format!("{} (schema {})", header.tool_version, header.schema_version)),
        ("server", header.server.version.to_string()),
        ("requested", header.server.asked.clone()),
        ("binary", header.server.path.display().to_string()),
        ("source", header.server.origin.clone()),
        ("system", format!("{}, {} cores", header.host.os, header.host.cores)),
        ("backend", header.host.backend.to_string()),
        ("started", header.started_at.clone()),
        ("duration", length(report.duration_ms)),
        ("seed", header.plan.seed.to_string()),
    ];
    if !header.speed.is_real() {
        rows.insert(rows.len() - 1, ("speed", format!("{} (all times are the cluster's)", header.speed)));
    }
    let rows = rows.into_iter().chain(others);
    Table::new("Versions and machine", &["", ""], 9, rows.map(|(what, text)| vec![what.to_owned(), text]))
}
