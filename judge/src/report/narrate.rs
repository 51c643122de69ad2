//! Tells a run in words as it happens: phases, faults, waits, promotions.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::{Explained, Failover, FaultSpan, FaultTable, NodeTimeouts, ServerEnd, ServerTable};
use crate::history::{Event, EventKind, Exit, FaultEvent, StepProblem, hits_in_words};
use crate::plan::Plan;
use crate::server::Version;
use crate::slot::Deal;
use crate::suite::{Await, Condition, Probe, RoleIs, Step};
use crate::topology::{Health, Peer, Role, View};
use crate::units::{Bound, NodeNo, ShardNo};
use crate::words::{brief, count, first_line, list};

/// Turns the events of a run into lines of text. It remembers what the nodes reported, and tells only what changed.
pub struct Narrator {
    plan: Plan,
    deal: Deal,
    verbose: bool,
    phase: String,
    booted: bool,
    /// The last view of every node that answers.
    views: BTreeMap<NodeNo, View>,
    /// What each node last reported about itself, whether or not it answers now.
    selves: BTreeMap<NodeNo, Peer>,
    failed: BTreeSet<NodeNo>,
    faults: FaultTable,
    servers: ServerTable,
    timeouts: Option<NodeTimeouts>,
    /// The number of full resynchronisations of each master.
    full_syncs: BTreeMap<NodeNo, u64>,
    /// The failovers with the times that are known in the end; empty while a run goes on.
    failovers: Vec<Failover>,
}

/// A line, and its time if that is another than that of the event which shows it.
struct Told {
    at_ns: Option<u64>,
    line: String,
}

impl From<String> for Told {
    fn from(line: String) -> Self {
        Self { at_ns: None, line }
    }
}

impl Narrator {
    /// A narrator for a run of this plan. `verbose` adds proofs, silence and other details.
    pub fn new(plan: &Plan, verbose: bool) -> Self {
        Self {
            plan: plan.clone(),
            deal: plan.deal(),
            verbose,
            phase: "boot".to_owned(),
            booted: false,
            views: BTreeMap::new(),
            selves: BTreeMap::new(),
            failed: BTreeSet::new(),
            faults: FaultTable::default(),
            servers: ServerTable::new(plan),
            timeouts: None,
            full_syncs: BTreeMap::new(),
            failovers: Vec::new(),
        }
    }

    /// The same after the run: what the servers' logs tell of failovers has its time of there, not that of the view which showed
    /// it.
    #[must_use]
    pub fn knowing(mut self, failovers: Vec<Failover>) -> Self {
        self.failovers = failovers;
        self
    }

    /// The events of a run as lines in order of time, in nanoseconds from the start of the run.
    pub fn tell_all<'e>(&mut self, events: impl IntoIterator<Item = &'e Event>) -> Vec<(u64, String)> {
        let mut all = Vec::new();
        for event in events {
            all.extend(self.told(event).into_iter().map(|told| (told.at_ns.unwrap_or(event.at_ns), told.line)));
        }
        all.sort_by_key(|(at_ns, _)| *at_ns);
        all
    }

    /// The same for servers of this version: the limits of waits that are `spec` are then known.
    #[must_use]
    pub fn on(mut self, version: Version) -> Self {
        self.timeouts = Some(NodeTimeouts::at_boot(&self.plan, version));
        self
    }

    /// The current phase of the run.
    pub fn phase(&self) -> &str {
        &self.phase
    }

    /// An event as lines without its time; most events give none or one.
    pub fn tell(&mut self, event: &Event) -> Vec<String> {
        self.told(event).into_iter().map(|told| told.line).collect()
    }

    fn told(&mut self, event: &Event) -> Vec<Told> {
        if let Some(timeouts) = &mut self.timeouts {
            timeouts.add(event);
        }
        let end = self.servers.add(event).and_then(|end| server_line(&event.kind, end));
        if let Some(end) = end {
            return vec![end.into()];
        }
        let span = self.faults.add(event);
        if let Some((fault, about)) = event.kind.of_fault() {
            let name = span.map_or_else(|| format!("fault {fault}"), FaultSpan::words);
            let healed = span.map_or_else(|| format!("fault {fault}"), |span| span.name.clone());
            return fault_line(about, &name, &healed, self.verbose).into_iter().map(Told::from).collect();
        }
        match &event.kind {
            EventKind::Viewed { node, view } => self.viewed(*node, view, event.at_ns),
            EventKind::Silent { node, reason } => {
                self.views.remove(node);
                if self.verbose { vec![format!("{node} does not answer: {reason}").into()] } else { Vec::new() }
            }
            kind => self.line(event.at_ns, kind).into_iter().map(Told::from).collect(),
        }
    }

    fn line(&mut self, at_ns: u64, kind: &EventKind) -> Option<String> {
        match kind {
            EventKind::Booted { nodes, took_ms } => {
                self.booted = true;
                let nodes = count(nodes.len() as u64, "node");
                Some(format!("cluster of {nodes} is ready after {}", brief(*took_ms)))
            }
            EventKind::Phase { name } => {
                self.phase.clone_from(name);
                Some(format!("phase {name}"))
            }
            EventKind::StepBegan { step } => self.step_began(*step, at_ns),
            EventKind::StepEnded { step, problem } => problem.as_ref().map(|problem| {
                let (StepProblem::Suite(text) | StepProblem::Unmet(text) | StepProblem::Harness(text)) = problem;
                format!("step {}: {text}", step + 1)
            }),
            EventKind::Commanded { node, reply, .. } => Some(format!("{node} answers {}", first_line(reply))),
            EventKind::Expected { node, reply, met: true, .. } => {
                Some(format!("{node} answers {}, as expected", first_line(reply)))
            }
            EventKind::Expected { node, expected, reply, met: false, .. } => {
                Some(format!("{node} answers {}; expected {expected}", first_line(reply)))
            }
            EventKind::Executed { program, expected, met, exit, stdout, stderr, took_ms, .. } => {
                let program = program.join(" ");
                let took = brief(*took_ms);
                let ended = Exit::in_words(exit.as_ref());
                let wanted = if *met { String::new() } else { format!("; expected {expected}") };
                let said = stdout.lines().last().or_else(|| stderr.lines().last());
                let said = said.map_or_else(String::new, |line| format!(": {}", first_line(&line)));
                Some(format!("`{program}` {ended} after {took}{wanted}{said}"))
            }
            EventKind::Awaited { step, condition, met, waited_ms, within_ms, last } => {
                let what = self.wait(*step).and_then(awaited).unwrap_or_else(|| condition.clone());
                Some(match met {
                    true => format!("waited {} for {what}", brief(*waited_ms)),
                    false => format!("timed out waiting for {what} (limit {}): {last}", brief(*within_ms)),
                })
            }
            EventKind::StepsEnded => Some("steps are over; undoing all faults".to_owned()),
            EventKind::Recovered { recovered: true, took_ms, .. } => {
                Some(format!("recovered after {}", brief(*took_ms)))
            }
            EventKind::Recovered { recovered: false, took_ms, last } => {
                Some(format!("not recovered after {}: {last}", brief(*took_ms)))
            }
            EventKind::Interrupted { by } => Some(format!("interrupted by {by}")),
            EventKind::LeftBehind { what } => Some(format!("left behind: {what}")),
            EventKind::Note { text } => Some(text.clone()),
            EventKind::Changed { node, change, done } => Some(match (self.verbose, done.is_empty()) {
                (true, false) => format!("{node} comes back {}: {done}", change.words()),
                (false, _) | (true, true) => format!("{node} comes back {}", change.words()),
            }),
            EventKind::AddressChanged { node, from, to } => Some(format!("{node} moves from {from} to {to}")),
            EventKind::CameBack { node, found, unlike, .. } => Some(match unlike {
                None => format!("{node} is back: {}", found.words()),
                Some(unlike) => format!("{node} did NOT come back as asked: {unlike}"),
            }),
            EventKind::StartFailed { node, change, exit, log, .. } => {
                let exit = exit.as_ref().map_or_else(|| "ended".to_owned(), Exit::words);
                let last = log.last().map_or_else(String::new, |line| format!(": {line}"));
                let with = if change.is_nothing() { String::new() } else { format!(" {}", change.words()) };
                Some(format!("{node} did not start{with}, as the step allows: it {exit}{last}"))
            }
            EventKind::Impossible { step, why } => Some(format!("step {} is left out: {why}", step + 1)),
            EventKind::LeftOut { step, nodes, others } => {
                let what = if *others { "leaves out" } else { "is not done for" };
                Some(format!("step {} {what} {}, which did not start", step + 1, list(nodes)))
            }
            EventKind::Corrupted { node, damaged, .. } => Some(format!("{node}: {}", damaged.words())),
            EventKind::PowerLost { node, unsynced, .. } => Some(format!("{node}: {}", unsynced.words())),
            EventKind::Hooked { hook, node, took_ms, output, .. } => {
                let is_routine = ["state", "knock"].contains(&hook.as_str());
                (self.verbose || !is_routine)
                    .then(|| format!("hook `{hook}` for {node} took {}{}", brief(*took_ms), printed(output)))
            }
            EventKind::SpeedProven { node, holds, proof } => match holds {
                true => self.verbose.then(|| format!("{node}: {proof}")),
                false => Some(format!("{node} does not live as fast as slotquake: {proof}")),
            },
            EventKind::Stalled { by_ms } => self.verbose.then(|| format!("the harness stalled for {}", brief(*by_ms))),
            EventKind::Starved { node, waited_ms, of_ms } => self
                .verbose
                .then(|| format!("{node} waited for a processor for {} of {}", brief(*waited_ms), brief(*of_ms))),
            EventKind::Synced { master, full, partial, .. } => self.synced(*master, *full, *partial),
            // Views, faults and servers have functions of their own; the rest is only for the report.
            EventKind::Viewed { .. }
            | EventKind::Silent { .. }
            | EventKind::FaultInjected { .. }
            | EventKind::NetworkFaultInjected { .. }
            | EventKind::ClockFaultInjected { .. }
            | EventKind::DiskFaultInjected { .. }
            | EventKind::DiskCounted { .. }
            | EventKind::FaultApplied { .. }
            | EventKind::FaultProven { .. }
            | EventKind::FaultEnded { .. }
            | EventKind::FaultHealed { .. }
            | EventKind::FaultLifted { .. }
            | EventKind::FaultPersists { .. }
            | EventKind::HealFailed { .. }
            | EventKind::HealProven { .. }
            | EventKind::Clock { .. }
            | EventKind::Unheard { .. }
            | EventKind::Config { .. }
            | EventKind::Lag { .. }
            | EventKind::Subscribed { .. }
            | EventKind::Delivered { .. }
            | EventKind::Unsubscribed { .. }
            | EventKind::Waited { .. }
            | EventKind::RedirectProbed { .. }
            | EventKind::ReplicaWriteProbed { .. }
            | EventKind::FinalRead { .. }
            | EventKind::ServerSeen { .. }
            | EventKind::ServerEnded { .. }
            | EventKind::ServerCrashed { .. }
            | EventKind::ServerConfig { .. }
            | EventKind::End => None,
        }
    }

    fn wait(&self, step: usize) -> Option<&Await> {
        let Step::Await(wait) = self.plan.steps.get(step)? else { return None };
        Some(wait)
    }

    fn step_began(&self, step: usize, at_ns: u64) -> Option<String> {
        match self.plan.steps.get(step)? {
            Step::Await(wait) => {
                let limit = match (wait.within, &self.timeouts) {
                    (Bound::Fixed(span), _) => format!("limit {}", brief(span.as_ms())),
                    (Bound::Spec, Some(timeouts)) => {
                        format!("limit {}", brief(timeouts.rules(at_ns).patience().as_secs_f64() * 1000.0))
                    }
                    (Bound::Spec, None) => "limit by the server's rules".to_owned(),
                };
                Some(format!("waiting for {} ({limit})", awaited(wait)?))
            }
            Step::Command(command) => Some(format!("sending `{}` to {}", command.send, command.to)),
            Step::Exec(exec) => Some(format!("running `{}` (limit {})", exec.run, brief(exec.within.as_ms()))),
            Step::Expect(expect) => match expect.probe().ok()? {
                Probe::Program(program, wanted, within) => Some(format!(
                    "running `{program}` until it has {} (limit {})",
                    wanted.words(),
                    brief(within.as_ms())
                )),
                // Its answer comes at once.
                Probe::Command(..) => None,
            },
            Step::When(when) => Some(format!("waiting for a log that tells of {} of {}", when.event, when.of)),
            Step::Settle(span) => self.verbose.then(|| format!("settling for {span}")),
            // The events of these steps tell enough.
            Step::Phase(_)
            | Step::Stop(_)
            | Step::Kill(_)
            | Step::PowerLoss(_)
            | Step::Start(_)
            | Step::Corrupt(_)
            | Step::Pause(_)
            | Step::Resume(_)
            | Step::Partition(_)
            | Step::Lossy(_)
            | Step::Narrow(_)
            | Step::Refuse(_)
            | Step::Slow(_)
            | Step::Clock(_)
            | Step::Disk(_)
            | Step::Heal(_)
            | Step::Random(_) => None,
        }
    }

    /// Full resyncs are always shown, partial ones only with `verbose`.
    fn synced(&mut self, master: NodeNo, full: u64, partial: u64) -> Option<String> {
        let before = self.full_syncs.insert(master, full).unwrap_or_default();
        // A replica that cannot load what it gets asks again and again.
        let is_told = full <= FULL_SYNCS_TOLD || full / FULL_SYNCS_TOLD > before / FULL_SYNCS_TOLD;
        if self.booted && full > before && (is_told || self.verbose) {
            Some(format!("{master} starts a full resync of a replica ({full} so far)"))
        } else {
            let counts = || format!("{}, {}", count(full, "full resync"), count(partial, "partial resync"));
            (self.booted && self.verbose).then(|| format!("{master}: {}", counts()))
        }
    }

    fn viewed(&mut self, node: NodeNo, view: &View, at_ns: u64) -> Vec<Told> {
        let mut news = Vec::new();
        if let Some(own) = view.peers.get(&node)
            && let Some(old) = self.selves.insert(node, own.clone())
        {
            news.extend(self.role_change(node, &old, own, at_ns));
        }
        let before = self.views.insert(node, view.clone());
        if before.is_some_and(|before| before.state_ok != view.state_ok) {
            let state = if view.state_ok { "ok" } else { "fail" };
            news.push(format!("{node} reports cluster_state:{state}").into());
        }
        news.extend(self.failures(node, at_ns));
        // While a cluster forms, every view differs from the one before.
        if self.booted { news } else { Vec::new() }
    }

    fn role_change(&self, node: NodeNo, old: &Peer, own: &Peer, at_ns: u64) -> Option<Told> {
        let (had, has) = (self.shards_of(old), self.shards_of(own));
        match own.role {
            Role::Master if has.difference(&had).next().is_some() => {
                let line = format!("{node} promoted to master of {} (epoch {})", list(&has), own.epoch);
                let logged = self.failovers.iter().filter(|each| each.logged.is_some_and(|logged| logged.promotion));
                let mut known = logged.filter(|each| each.new_master == Some(node) && each.epoch == Some(own.epoch));
                Some(match known.find_map(|each| just_before(each.promotion_ns(), at_ns)) {
                    Some(log_ns) => Told { at_ns: Some(log_ns), line: line + ", by its log" },
                    None => line.into(),
                })
            }
            Role::ReplicaOf(master) if old.role != own.role => {
                Some(format!("{node} is now a replica of {master}").into())
            }
            Role::Master | Role::ReplicaOf(_) | Role::ReplicaOfUnknown => None,
        }
    }

    /// The shards whose first slot a node owns.
    fn shards_of(&self, peer: &Peer) -> BTreeSet<ShardNo> {
        self.deal.shards().filter(|&shard| self.deal.is_owned_by(shard, &peer.slots)).collect()
    }

    /// The nodes that some node flags FAIL now and none did before, or the reverse.
    fn failures(&mut self, by: NodeNo, at_ns: u64) -> Vec<Told> {
        let now: BTreeSet<NodeNo> = self
            .views
            .values()
            .flat_map(|view| &view.peers)
            .filter(|(_, peer)| peer.health == Health::Fail)
            .map(|(&node, _)| node)
            .collect();
        let before = std::mem::replace(&mut self.failed, now.clone());
        let flagged = now.difference(&before).map(|&node| {
            let logged = self.failovers.iter().filter(|each| each.logged.is_some_and(|logged| logged.fail));
            let mut known = logged.filter(|each| each.old_master == node);
            match known.find_map(|each| just_before(each.fail_ns(), at_ns)) {
                Some(log_ns) => {
                    Told { at_ns: Some(log_ns), line: format!("{node} flagged FAIL, by the servers' logs") }
                }
                None => format!("{node} flagged FAIL, first seen at {by}").into(),
            }
        });
        let cleared = before.difference(&now).map(|node| format!("{node} is no longer flagged FAIL").into());
        flagged.chain(cleared).collect()
    }
}

/// The moment by a log that a view shows, if it is of the same event: nodes that do not answer are polled later.
fn just_before(log_ns: Option<u64>, seen_ns: u64) -> Option<u64> {
    const LONGEST_NS: u64 = 5_000_000_000;
    log_ns.filter(|&log_ns| log_ns <= seen_ns && seen_ns - log_ns <= LONGEST_NS)
}

/// Of more full resynchronisations of one master than this, one line stands for as many.
const FULL_SYNCS_TOLD: u64 = 10;

/// What one event says about a fault. `name` is the fault in words, `healed` what undoing it is called with.
fn fault_line(about: FaultEvent<'_>, name: &str, healed: &str, verbose: bool) -> Option<String> {
    match about {
        FaultEvent::Injected { kind, target, node, shard, was_master } => {
            let role = if was_master { "master" } else { "replica" };
            let place = shard.map(|shard| format!(" ({role} of {shard})")).unwrap_or_default();
            let written = if *target == node.to_string() { String::new() } else { format!(" as {target}") };
            Some(format!("{kind} {node}{written}{place}"))
        }
        FaultEvent::NetworkInjected { kind, name, target, hits, .. } => {
            Some(format!("{kind} {name}: {target}; affects {}", list(hits.iter().map(|hit| hit.node))))
        }
        FaultEvent::ClockInjected { kind, name, target, of, change, hit } => {
            let written = if *target == hit.node.to_string() { String::new() } else { format!(" as {target}") };
            Some(format!("{kind} {name}: the {of} of {}{written} {change}", hit.node))
        }
        FaultEvent::DiskInjected { kind, name, target, change, hit } => {
            let written = if *target == hit.node.to_string() { String::new() } else { format!(" as {target}") };
            Some(format!("{kind} {name}: the disk of {}{written} {change}", hit.node))
        }
        FaultEvent::Counted { calls, said } => {
            let said = if verbose { format!("; the server says {said}") } else { String::new() };
            Some(format!("{name} has hit {}{said}", hits_in_words(calls)))
        }
        FaultEvent::Proven { in_effect: true, proof } | FaultEvent::HealProven { healed: true, proof } => {
            verbose.then(|| proof.to_owned())
        }
        FaultEvent::Proven { in_effect: false, proof } => Some(format!("{name} is NOT in effect: {proof}")),
        FaultEvent::HealProven { healed: false, proof } => Some(format!("{name} is NOT undone: {proof}")),
        FaultEvent::Ended { seen, .. } => Some(format!("{name} is NO LONGER in effect: {seen}")),
        FaultEvent::Healed { by } => Some(format!("{by} {healed}")),
        FaultEvent::HealFailed { reason } => Some(format!("{name} could not be undone: {reason}")),
        FaultEvent::Applied | FaultEvent::Lifted | FaultEvent::Persists => None,
    }
}

/// The line of a crash report that says why: a signal, or what the server gives up for, which stands in a frame of its own.
fn crash_cause(report: &[String]) -> &str {
    let panic = report.iter().find(|line| line.contains("# Guru Meditation: "));
    let first = || report.iter().find(|line| !line.starts_with("==="));
    panic.or_else(first).map_or("", String::as_str)
}

/// The end of a server that the plan does not explain, and every crash report.
fn server_line(kind: &EventKind, end: &ServerEnd) -> Option<String> {
    let is_known = end.exit.is_some() || !end.report.is_empty();
    let is_planned = match &end.explained {
        Some(Explained::Fault(_) | Explained::Start) => !end.is_crash(),
        Some(Explained::Command(_)) => true,
        Some(Explained::Disk(_)) | None => false,
    };
    match kind {
        EventKind::ServerCrashed { node, report } => {
            Some(format!("{node} wrote a crash report: {}", crash_cause(report)))
        }
        _ if is_planned => None,
        // A step starts it again; nothing else has to.
        EventKind::ServerSeen { .. } if matches!(end.explained, Some(Explained::Disk(_))) => None,
        EventKind::ServerSeen { node, pid, .. } if is_known => {
            Some(format!("{node} answers again, as process {pid}, and no step started it"))
        }
        _ => Some(match &end.explained {
            Some(Explained::Disk(fault)) if !end.is_crash() => format!("{}; {fault} was in force", end.words()),
            Some(Explained::Disk(_) | Explained::Fault(_) | Explained::Command(_) | Explained::Start) | None => {
                format!("{}; no fault explains it", end.words())
            }
        }),
    }
}

/// What a wait is for: `shard-1 to get a new master`. None where its condition is invalid.
fn awaited(wait: &Await) -> Option<String> {
    Some(match wait.condition().ok()? {
        Condition::Promoted(shard) => format!("{shard} to get a new master"),
        Condition::Failed(nodes) => format!("{nodes} to be flagged FAIL"),
        Condition::InSync(nodes) => format!("{nodes} to be in sync"),
        Condition::ClusterState { of, ok: true } => format!("{of} to report cluster_state:ok"),
        Condition::ClusterState { of, ok: false } => format!("{of} to report cluster_state:fail"),
        Condition::Role(node, RoleIs::Master) => format!("{node} to be a master"),
        Condition::Role(node, RoleIs::Replica) => format!("{node} to be a replica"),
        Condition::Role(node, RoleIs::ReplicaOf(master)) => format!("{node} to be a replica of {master}"),
        Condition::Converged(nodes) => format!("{nodes} to agree"),
    })
}

/// The output of a hook on one line.
fn printed(output: &str) -> String {
    if output.is_empty() { String::new() } else { format!(" and printed {}", first_line(output)) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::history::{FaultKind, Hit};
    use crate::plan::{Plan, PlannedNode};
    use crate::suite::WorkloadSpec;
    use crate::units::Span;

    use super::*;

    fn plan() -> Plan {
        let node = |number, shard: u16, replica_of: Option<u16>| PlannedNode {
            node: NodeNo(number),
            shard: ShardNo(shard),
            replica_of: replica_of.map(NodeNo),
            slots: if replica_of.is_none() { Deal::even(3).slots(ShardNo(shard)).to_vec() } else { Vec::new() },
        };
        Plan {
            name: "role-swap".to_owned(),
            about: String::new(),
            seed: 7,
            server: "redis:6.2".to_owned(),
            nodes: vec![node(1, 1, None), node(2, 2, None), node(3, 3, None), node(4, 1, Some(1))],
            config: BTreeMap::new(),
            workload: WorkloadSpec::default(),
            steps: vec![
                Step::Settle(Span::secs(2)),
                serde_json::from_str(r#"{"await": {"promoted": "shard-1", "within": "15s"}}"#).expect("a step"),
            ],
            invariants: Vec::new(),
            recover_within: Span::secs(60),
            max_duration: Span::secs(600),
            if_impossible: crate::suite::IfImpossible::End,
            speed: None,
            matrix: BTreeMap::new(),
        }
    }

    /// A view of nodes 1 and 4, of which `master` owns the slots of shard 1.
    fn view(master: u16, node_1: Health) -> View {
        let peer = |node: u16| Peer {
            role: if node == master { Role::Master } else { Role::ReplicaOf(NodeNo(master)) },
            health: if node == 1 { node_1 } else { Health::Ok },
            epoch: 8,
            link_connected: true,
            left_addr: None,
            slots: if node == master { vec![(0, 5460)] } else { Vec::new() },
        };
        View {
            peers: [1, 4].map(|node| (NodeNo(node), peer(node))).into(),
            strangers: Vec::new(),
            state_ok: true,
            slots_assigned: 16384,
            slots_ok: 16384,
            slots_pfail: 0,
            slots_fail: 0,
            known_nodes: 2,
            size: 1,
            current_epoch: 8,
            link_up: None,
        }
    }

    fn told(events: Vec<EventKind>) -> Vec<String> {
        let mut narrator = Narrator::new(&plan(), false);
        events.into_iter().flat_map(|kind| narrator.tell(&Event { at_ns: 0, kind })).collect()
    }

    #[test]
    fn tells_a_failover() {
        let viewed = |node: u16, view: View| EventKind::Viewed { node: NodeNo(node), view };
        let lines = told(vec![
            viewed(4, view(4, Health::Ok)),
            viewed(1, view(1, Health::Ok)),
            viewed(4, view(1, Health::Ok)),
            EventKind::Booted { nodes: Vec::new(), took_ms: 2040.0 },
            EventKind::Phase { name: "master-down".to_owned() },
            EventKind::StepBegan { step: 0 },
            EventKind::FaultInjected {
                fault: 1,
                kind: FaultKind::Stop,
                target: "shard-1/master".to_owned(),
                node: NodeNo(1),
                shard: Some(ShardNo(1)),
                was_master: true,
            },
            EventKind::FaultProven { fault: 1, in_effect: true, proof: "gone".to_owned() },
            EventKind::Silent { node: NodeNo(1), reason: "refused".to_owned() },
            EventKind::StepBegan { step: 1 },
            viewed(4, view(1, Health::Fail)),
            viewed(4, view(4, Health::Fail)),
            EventKind::FaultHealed { fault: 1, by: "start".to_owned() },
            viewed(4, view(4, Health::Ok)),
            viewed(1, view(4, Health::Ok)),
            EventKind::Recovered { recovered: false, took_ms: 60_000.0, last: "node-1 lags".to_owned() },
            EventKind::End,
        ]);
        assert_eq!(
            lines,
            [
                "cluster of 0 nodes is ready after 2.0 s",
                "phase master-down",
                "stop node-1 as shard-1/master (master of shard-1)",
                "waiting for shard-1 to get a new master (limit 15.0 s)",
                "node-1 flagged FAIL, first seen at node-4",
                "node-4 promoted to master of shard-1 (epoch 8)",
                "start node-1",
                "node-1 is no longer flagged FAIL",
                "node-1 is now a replica of node-4",
                "not recovered after 60.0 s: node-1 lags",
            ]
        );
    }

    #[test]
    fn waits_show_what_they_wait_for_and_the_limit() {
        let step = |text: &str| -> Step { serde_json::from_str(text).expect("a step") };
        let version = serde_json::json!({"flavour": "redis", "major": 6, "minor": 2, "patch": 14});
        let version: Version = serde_json::from_value(version).expect("a version");
        let mut plan = plan();
        plan.config.insert("cluster-node-timeout".to_owned(), "1000".into());
        for (wait, known, expected) in [
            (r#"{"promoted": "shard-1", "within": "13500ms"}"#, true, "shard-1 to get a new master (limit 13.5 s)"),
            (r#"{"promoted": "shard-1", "within": "spec"}"#, true, "shard-1 to get a new master (limit 28.3 s)"),
            (
                r#"{"promoted": "shard-1", "within": "spec"}"#,
                false,
                "shard-1 to get a new master (limit by the server's rules)",
            ),
            (r#"{"failed": "node-1", "within": "9s"}"#, true, "node-1 to be flagged FAIL (limit 9.0 s)"),
            (r#"{"in-sync": ["node-4"], "within": "9s"}"#, true, "node-4 to be in sync (limit 9.0 s)"),
            (
                r#"{"cluster-fail": "node-2", "within": "9s"}"#,
                true,
                "node-2 to report cluster_state:fail (limit 9.0 s)",
            ),
            (
                r#"{"role": "node-1", "is": "replica-of node-4", "within": "9s"}"#,
                true,
                "node-1 to be a replica of node-4 (limit 9.0 s)",
            ),
        ] {
            plan.steps = vec![step(&format!(r#"{{"await": {wait}}}"#))];
            let narrator = Narrator::new(&plan, false);
            let mut narrator = if known { narrator.on(version) } else { narrator };
            let lines = narrator.tell(&Event { at_ns: 0, kind: EventKind::StepBegan { step: 0 } });
            assert_eq!(lines, [format!("waiting for {expected}")]);
        }
    }

    #[test]
    fn tells_the_end_of_a_wait() {
        let awaited = |met| EventKind::Awaited {
            step: 1,
            condition: "promoted: shard-1".to_owned(),
            met,
            waited_ms: 3210.0,
            within_ms: 15_000.0,
            last: "shard-1 still belongs to node-1".to_owned(),
        };
        assert_eq!(
            told(vec![awaited(true), awaited(false)]),
            [
                "waited 3.2 s for shard-1 to get a new master",
                "timed out waiting for shard-1 to get a new master (limit 15.0 s): shard-1 still belongs to node-1",
            ]
        );
    }

    #[test]
    fn names_network_faults() {
        let injected = EventKind::NetworkFaultInjected {
            fault: 1,
            name: "cut".to_owned(),
            kind: FaultKind::Partition,
            target: "node-1 | others".to_owned(),
            sides: Vec::new(),
            only: crate::suite::Only::All,
            one_way: false,
            pairs: 10,
            hits: vec![Hit { node: NodeNo(1), shard: Some(ShardNo(1)), was_master: true }],
        };
        let synced = |full| EventKind::Synced { master: NodeNo(4), full, partial: 0, refused: 0 };
        let lines = told(vec![
            synced(1),
            EventKind::Booted { nodes: Vec::new(), took_ms: 2040.0 },
            injected,
            EventKind::FaultProven { fault: 1, in_effect: false, proof: "no packet was hit".to_owned() },
            EventKind::FaultHealed { fault: 1, by: "heal".to_owned() },
            EventKind::HealProven { fault: 1, healed: false, proof: "the probe timed out".to_owned() },
            synced(1),
            synced(2),
        ]);
        assert_eq!(
            lines[1..],
            [
                "partition cut: node-1 | others; affects node-1",
                "partition cut is NOT in effect: no packet was hit",
                "heal cut",
                "partition cut is NOT undone: the probe timed out",
                "node-4 starts a full resync of a replica (2 so far)",
            ]
        );
    }

    #[test]
    fn tells_problems_without_verbose() {
        let lines = told(vec![
            EventKind::FaultInjected {
                fault: 1,
                kind: FaultKind::Pause,
                target: "node-1".to_owned(),
                node: NodeNo(1),
                shard: None,
                was_master: false,
            },
            EventKind::FaultProven { fault: 1, in_effect: false, proof: "node-1 answers PING".to_owned() },
            EventKind::HealProven { fault: 1, healed: false, proof: "process 1 is stopped".to_owned() },
            EventKind::StepEnded { step: 0, problem: Some(StepProblem::Suite("node-1 is dead".to_owned())) },
            EventKind::Stalled { by_ms: 900.0 },
        ]);
        assert_eq!(
            lines,
            [
                "pause node-1",
                "pause of node-1 is NOT in effect: node-1 answers PING",
                "pause of node-1 is NOT undone: process 1 is stopped",
                "step 1: node-1 is dead",
            ]
        );
    }
}
