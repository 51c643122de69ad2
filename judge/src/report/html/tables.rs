//! The tables of a page: what the picture shows and what it cannot. Pure.

use super::anatomy::moment;
use super::lanes::{Lane, MarkKind};
use super::picture::in_words;
use super::series::{Grid, OpSeries};
use super::words::{at, count, figure, fixed, length, length_or_dash};
use crate::anatomy::Anatomy;
use crate::facts::{Facts, Ledger, Outage};
use crate::history::{EventKind, FinalValue, key_name};
use crate::report::narrate::Narrator;
use crate::report::run::{PhaseReport, Report};
use crate::slot::ranges;
use crate::units::NodeNo;

/// Longer tables are cut, and say so: what is left out stands in `report.json`.
const MOST_ROWS: usize = 1000;

/// A table.
#[derive(Default)]
pub struct Table {
    /// What it is about.
    pub caption: String,
    /// The heads of its columns.
    pub head: Vec<&'static str>,
    /// Its rows.
    pub rows: Vec<Vec<String>>,
    /// How many rows were left out.
    pub cut: usize,
    /// From which column on figures stand, which are aligned to the right.
    pub figures_from: usize,
}

impl Table {
    fn new(
        caption: &str,
        head: &[&'static str],
        figures_from: usize,
        rows: impl IntoIterator<Item = Vec<String>>,
    ) -> Self {
        let mut rows: Vec<_> = rows.into_iter().collect();
        let cut = rows.len().saturating_sub(MOST_ROWS);
        rows.truncate(MOST_ROWS);
        Self { caption: caption.to_owned(), head: head.to_vec(), rows, cut, figures_from }
    }
}

/// What befell each shard's master.
pub fn failovers(report: &Report) -> Table {
    let rows = report.failovers.iter().map(|failover| {
        vec![
            failover.shard.to_string(),
            match (failover.kind, failover.ordered_by) {
                (Some(kind), _) => kind.to_string(),
                (None, Some(_)) => "CLUSTER FAILOVER".to_owned(),
                (None, None) => "no fault".to_owned(),
            },
            failover.old_master.to_string(),
            failover.new_master.map_or_else(|| "nobody".to_owned(), |node| node.to_string()),
            at(failover.from_ns),
            length_or_dash(failover.fail_ms),
            length_or_dash(failover.promotion_ms),
            length_or_dash(failover.first_write_ms),
            failover.epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string()),
        ]
    });
    let head = ["shard", "fault", "from", "to", "at", "to FAIL", "to promotion", "to first write", "epoch"];
    Table::new("Failovers, each time counted from the fault or the order", &head, 4, rows)
}

/// A failover's milestones, elections, and what each node knew when.
pub fn anatomy(anatomy: &Anatomy) -> Vec<Table> {
    let milestones = anatomy.milestones.iter().enumerate().map(|(index, milestone)| {
        vec![
            milestone.what.words().to_owned(),
            format!("{}{}", milestone.source, milestone.node.map(|node| format!(" of {node}")).unwrap_or_default()),
            moment(milestone.after_ms),
            length(milestone.after_ms - anatomy.preceding_ms(index)),
            milestone
                .expected_ms
                .map_or_else(|| "-".to_owned(), |(from, to)| format!("{} to {}", length(from), length(to))),
            length_or_dash(milestone.bound_ms),
            if milestone.late() { "late" } else { "" }.to_owned(),
        ]
    });
    let head = ["milestone", "known from", "after", "took", "by the rules", "allowed until", ""];
    let milestones = Table::new("Milestones", &head, 2, milestones);
    let elections = anatomy.elections.iter().map(|election| {
        let granted = election.granted.iter().map(|(node, at_ms)| format!("{node} at {}", length(*at_ms)));
        let denied = election.denied.iter().map(|(node, reason)| format!("{node}: {reason}"));
        vec![
            election.candidate.to_string(),
            election.epoch.to_string(),
            election.rank.map_or_else(|| "-".to_owned(), |rank| rank.to_string()),
            length_or_dash(election.delay_ms.map(|delay_ms| delay_ms as f64)),
            length(election.began_ms),
            granted.collect::<Vec<_>>().join(", "),
            denied.collect::<Vec<_>>().join(", "),
            election.won_ms.map_or_else(|| "lost".to_owned(), |won_ms| format!("won at {}", length(won_ms))),
        ]
    });
    let head = ["candidate", "epoch", "rank", "delay", "asked at", "votes", "denied", ""];
    let elections = Table::new("Elections", &head, 9, elections);
    let at = |moment_ms: Option<f64>| moment_ms.map_or_else(|| "-".to_owned(), moment);
    let observers = anatomy.observers.iter().map(|(node, seen)| {
        let moments = [seen.pong_ms, seen.ping_ms, seen.pfail_ms, seen.fail_ms, seen.agreed_ms];
        [node.to_string()].into_iter().chain(moments.map(at)).collect()
    });
    let head = ["node", "last pong", "unanswered ping", "fail?", "fail", "knows the new master"];
    let observers = Table::new("What each node knew of the old master, and when", &head, 1, observers);
    [milestones, elections, observers].into_iter().filter(|table| !table.rows.is_empty()).collect()
}

/// Every outage.
pub fn outages(outages: &[Outage]) -> Table {
    let rows = outages.iter().map(|outage| {
        let ended = if outage.ended { "" } else { " or more" };
        vec![
            outage.shard.to_string(),
            outage.of.to_string(),
            at(outage.from_ns),
            at(outage.to_ns),
            format!("{}{ended}", length(outage.length_ms())),
            count(outage.unserved),
        ]
    });
    Table::new("Outages", &["shard", "of", "from", "to", "length", "not served"], 2, rows)
}

/// Statistics by phase, and of the steps together.
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
    let caption = "Phases; latency of acknowledged operations from when they were due. `steps` is the time that invariants look at";
    Table::new(caption, &head, 4, rows)
}

/// Why operations were not served, by phase.
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

/// The ledger's sums.
pub fn ledger(ledger: &Ledger) -> Table {
    let rows = [
        ("acknowledged", ledger.acknowledged),
        ("lost: acknowledged and gone", ledger.lost),
        ("lost and overwritten: gone before the key was written again", ledger.overwritten),
        ("missed for a time by wrong reads of a master", ledger.hidden),
        ("overwritten before anybody read them where writes may have been lost", ledger.untold),
        ("undecided: acknowledged, not to be told whether lost or overwritten late", ledger.undecided),
        ("of unknown outcome, and found to have taken effect", ledger.applied_unacknowledged),
        ("refused, and found all the same", ledger.refused_but_applied),
        ("keys that held what nobody wrote", ledger.foreign),
        ("keys read back", ledger.keys_read),
        ("keys with acknowledged writes that could not be read back", ledger.keys_unread),
    ];
    Table::new("Writes", &["", "number"], 1, rows.map(|(what, number)| vec![what.to_owned(), count(number)]))
}

/// The lost writes, divided in four ways.
pub fn losses(ledger: &Ledger) -> Table {
    let row = |by: &str, what: String, number: &u64| vec![by.to_owned(), what, count(*number)];
    let mut rows: Vec<_> =
        ledger.lost_by_cause.iter().map(|(cause, number)| row("cause", cause.to_string(), number)).collect();
    rows.extend(ledger.lost_by_phase.iter().map(|(phase, number)| row("phase", phase.clone(), number)));
    rows.extend(ledger.lost_by_shard.iter().map(|(shard, number)| row("shard", shard.to_string(), number)));
    rows.extend(ledger.lost_by_side.iter().map(|(side, number)| row("side of the cut", side.to_string(), number)));
    Table::new("Lost writes by cause, phase, shard and side", &["by", "", "lost"], 2, rows)
}

/// The first lost writes.
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

/// The lanes.
pub fn lanes(lanes: &[Lane]) -> Table {
    let rows = lanes.iter().flat_map(|lane| {
        lane.stretches.iter().map(|stretch| {
            let (from, to) = (at(stretch.window.from_ns), at(stretch.window.to_ns));
            vec![lane.node.to_string(), from, to, in_words(&stretch.state)]
        })
    });
    Table::new("What each node was", &["node", "from", "to", "state"], 9, rows)
}

/// What happened, in words.
pub fn events(facts: &Facts<'_>, report: &Report) -> Table {
    let history = facts.history;
    let mut narrator = Narrator::new(&history.header.plan, true);
    let mut rows: Vec<(u64, String)> = Vec::new();
    for event in &report.events {
        rows.extend(narrator.tell(event).into_iter().map(|line| (event.at_ns, line)));
    }
    for mark in super::lanes::marks(facts) {
        if let MarkKind::Epoch(epoch) = mark.kind {
            rows.push((mark.at_ns, format!("epoch {epoch} is seen")));
        }
    }
    rows.sort_by_key(|(at_ns, _)| *at_ns);
    Table::new("What happened", &["at", "what"], 9, rows.into_iter().map(|(at_ns, line)| vec![at(at_ns), line]))
}

/// Throughput and latency in numbers, in wider buckets than the picture's; empty ones are left out.
pub fn operations(all: &[OpSeries], grid: &Grid) -> Table {
    let rows = all.iter().flat_map(|series| {
        series.buckets.iter().enumerate().filter(|(_, bucket)| bucket.total() > 0).map(|(index, bucket)| {
            let latency = |of: fn(&super::series::Latency) -> f64| length_or_dash(bucket.latency.as_ref().map(of));
            vec![
                series.shard.to_string(),
                series.kind.to_string(),
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
    let caption = format!("Operations by the moment of their issue, each row {} s", figure(grid.width_s()));
    Table::new(&caption, &["shard", "of", "from", "ok", "refused", "unknown", "not sent", "p50", "p99", "max"], 2, rows)
}

/// The plan's configuration and workload.
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
        Table::new("Nodes at boot", &["node", "shard", "role", "slots", "address", "id", "called"], 9, nodes),
        Table::new("Server directives", &["directive", "value"], 9, config),
        Table::new("Workload", &["setting", "value"], 9, settings),
    ]
}

/// What ran, and where.
pub fn versions(report: &Report) -> Table {
    let header = &report.header;
    let rows = [
        ("slotquake", format!("{} (schema {})", header.tool_version, header.schema_version)),
        ("server", header.server.version.to_string()),
        ("asked for", header.server.asked.clone()),
        ("binary", header.server.path.display().to_string()),
        ("from", header.server.origin.clone()),
        ("system", format!("{}, {} cores", header.host.os, header.host.cores)),
        ("backend", header.host.backend.clone()),
        ("started", header.started_at.clone()),
        ("took", length(report.duration_ms)),
        ("seed", header.plan.seed.to_string()),
    ];
    Table::new("Versions and place", &["", ""], 9, rows.map(|(what, text)| vec![what.to_owned(), text]))
}
