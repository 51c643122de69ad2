//! The ends and restarts of servers, and the directives that somebody changed, each with what explains it.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Event, EventKind, Exit, FaultEvent, History};
use crate::plan::Plan;
use crate::server::{BackendKind, RecordedBackend};
use crate::spec::FAILOVER_SETTINGS;
use crate::suite::{CommandLine, Step, is_plain};
use crate::target::Target;
use crate::units::NodeNo;

/// Subcommands of DEBUG that end or restart a server (`debug.c` of Redis 6.2 to Valkey 9.1).
const DEADLY: [&str; 6] = ["RESTART", "CRASH-AND-RECOVER", "SEGFAULT", "PANIC", "OOM", "ASSERT"];

/// What is known of the servers' processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Servers {
    /// The nodes whose process was seen.
    pub seen: BTreeSet<NodeNo>,
    /// Every end of a process, in the order in which they were noticed.
    pub ends: Vec<ServerEnd>,
    /// Directives that differ from the plan, or from before.
    pub changes: Vec<SettingChange>,
}

/// The end of a server's process. Times are in nanoseconds from the start of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerEnd {
    /// The node.
    pub node: NodeNo,
    /// When the end was noticed.
    pub at_ns: u64,
    /// When the next process of the node was seen; None if none was.
    pub restarted_ns: Option<u64>,
    /// How it ended; None if the backend cannot tell.
    pub exit: Option<Exit>,
    /// The first lines of its crash report; empty without one.
    pub report: Vec<String>,
    /// What of the plan ended it; None if nothing did.
    pub explained: Option<Explained>,
}

/// What of the plan ended a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Explained {
    /// A fault, in words: `kill of node-1`.
    Fault(String),
    /// A command that a step sent: `DEBUG SEGFAULT`.
    Command(String),
    /// A start that may fail.
    Start,
    /// The server ended itself while its disk was faulty; the fault in words: `disk full`. One that cannot save what it must
    /// does so.
    Disk(String),
}

/// A directive of a node that nothing in the plan changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingChange {
    /// The node.
    pub node: NodeNo,
    /// When the value was read, in nanoseconds from the start of the run.
    pub at_ns: u64,
    /// The directive.
    pub name: String,
    /// The value of the plan, or the one before.
    pub expected: String,
    /// The value.
    pub found: String,
}

/// The ends of servers, gathered from one event after the other.
#[derive(Debug)]
pub struct ServerTable {
    /// The commands of the plan by step.
    commands: BTreeMap<usize, CommandLine>,
    seen: BTreeSet<NodeNo>,
    ends: Vec<ServerEnd>,
    /// The end of each node that no restart followed yet, as a position in `ends`.
    open: BTreeMap<NodeNo, usize>,
    /// What may have ended a server, with the time of its begin. A command that is being sent may end any node.
    causes: Vec<(u64, Option<NodeNo>, Explained)>,
    /// The starts of the plan that may fail, by step, with the nodes that they name; None for one that the run resolves.
    may_fail: BTreeMap<usize, Vec<Option<NodeNo>>>,
    /// The nodes that such a start is starting.
    starting: Vec<Option<NodeNo>>,
    /// The nodes whose start failed, as its step allows, and that no later start brought back.
    refusing: BTreeSet<NodeNo>,
    /// The faults of disks in force. A server that cannot save what it must ends itself.
    disks: Vec<(u32, NodeNo, String)>,
}

impl ServerEnd {
    /// Whether the server crashed: by its signal, or by its crash report.
    pub fn is_crash(&self) -> bool {
        !self.report.is_empty() || self.exit.as_ref().is_some_and(Exit::is_crash)
    }

    /// What became of the server: `node-2 died of signal 11 (SIGSEGV)`, `node-2 was restarted`.
    pub fn words(&self) -> String {
        let node = self.node;
        match (&self.exit, self.restarted_ns) {
            (Some(exit), _) => format!("{node} {}", exit.words()),
            (None, Some(_)) if self.report.is_empty() => format!("{node} was restarted"),
            (None, Some(_)) => format!("{node} crashed and was restarted"),
            (None, None) => format!("{node} crashed"),
        }
    }
}

impl ServerTable {
    /// A table for a run of this plan, still without events.
    pub fn new(plan: &Plan) -> Self {
        let commands = plan.steps.iter().enumerate().filter_map(|(step, what)| match what {
            Step::Command(command) if ends_a_server(&command.send) => Some((step, command.send.clone())),
            _ => None,
        });
        let may_fail = plan.steps.iter().enumerate().filter_map(|(step, what)| {
            let start = what.start().filter(|start| !start.expect.is_up())?;
            let named = |target: &Target| match target {
                Target::Node(node) => Some(*node),
                Target::Member(..) | Target::Group(_) | Target::Clients(_) | Target::Others => None,
            };
            Some((step, start.node.0.iter().map(named).collect()))
        });
        Self {
            commands: commands.collect(),
            may_fail: may_fail.collect(),
            starting: Vec::new(),
            refusing: BTreeSet::new(),
            seen: BTreeSet::new(),
            ends: Vec::new(),
            open: BTreeMap::new(),
            causes: Vec::new(),
            disks: Vec::new(),
        }
    }

    /// Adds an event. Returns the end that the event begins or tells more about; None for any other event.
    pub fn add(&mut self, event: &Event) -> Option<&ServerEnd> {
        let at_ns = event.at_ns;
        if let Some((_, kind, hits)) = event.kind.injected().filter(|(_, kind, _)| kind.ends_process()) {
            let causes =
                hits.iter().map(|hit| (at_ns, Some(hit.node), Explained::Fault(kind.of(&hit.node.to_string()))));
            self.causes.extend(causes);
            return None;
        }
        if let Some((fault, kind, hits)) = event.kind.injected().filter(|(_, kind, _)| kind.hits_disk()) {
            let name = match event.kind.of_fault() {
                Some((_, FaultEvent::DiskInjected { name, .. })) => kind.of(name),
                _ => kind.to_string(),
            };
            self.disks.extend(hits.iter().map(|hit| (fault, hit.node, name.clone())));
            return None;
        }
        match &event.kind {
            EventKind::FaultLifted { fault } => {
                self.disks.retain(|(other, ..)| other != fault);
                None
            }
            EventKind::StepBegan { step } if let Some(send) = self.commands.get(step) => {
                self.causes.push((at_ns, None, Explained::Command(send.to_string())));
                None
            }
            EventKind::Commanded { step, node, .. } if let Some(send) = self.commands.get(step) => {
                let began = self.causes.iter().rev().find(|(_, of, _)| of.is_none());
                let since_ns = began.map_or(at_ns, |(since_ns, ..)| *since_ns);
                self.causes.push((since_ns, Some(*node), Explained::Command(send.to_string())));
                None
            }
            EventKind::StepBegan { step } if let Some(nodes) = self.may_fail.get(step) => {
                self.starting.clone_from(nodes);
                None
            }
            // From here on it is known which nodes got the command, and which did not start.
            EventKind::StepEnded { .. } => {
                self.causes.retain(|(_, of, _)| of.is_some());
                self.starting.clear();
                None
            }
            EventKind::StartFailed { node, .. } => {
                self.refusing.insert(*node);
                None
            }
            EventKind::ServerSeen { node, .. } => {
                self.refusing.remove(node);
                let is_first = self.seen.insert(*node);
                let position = match self.open.remove(node) {
                    Some(position) => position,
                    None if is_first => return None,
                    None => self.begin(*node, at_ns),
                };
                self.open.remove(node);
                self.ends[position].restarted_ns = Some(at_ns);
                self.ends.get(position)
            }
            EventKind::ServerEnded { node, exit } => {
                // The crash report may have come first. A second exit is that of another process.
                let known = self.open.get(node).copied().filter(|&known| self.ends[known].exit.is_none());
                let position = known.unwrap_or_else(|| self.begin(*node, at_ns));
                self.ends[position].exit = Some(exit.clone());
                self.ends.get(position)
            }
            EventKind::ServerCrashed { node, report } => {
                let known = self.open.get(node).copied().filter(|&known| self.ends[known].report.is_empty());
                let position = known.unwrap_or_else(|| self.begin(*node, at_ns));
                self.ends[position].report.clone_from(report);
                self.ends.get(position)
            }
            _ => None,
        }
    }

    fn begin(&mut self, node: NodeNo, at_ns: u64) -> usize {
        // What ended an earlier process of the node does not explain this end.
        let before_ns = self.ends.iter().rev().find(|end| end.node == node).map_or(0, |end| end.at_ns);
        let is_cause = |since_ns: u64, of: Option<NodeNo>| {
            since_ns >= before_ns && since_ns <= at_ns && of.is_none_or(|of| of == node)
        };
        let causes = self.causes.iter().rev();
        let explained =
            causes.clone().find(|(since_ns, of, _)| is_cause(*since_ns, *of)).map(|(_, _, why)| why.clone());
        // A node that was seen again has come up, and what ends it later is something else.
        let is_starting = self.starting.iter().any(|of| of.is_none_or(|of| of == node));
        let may_fail = self.refusing.contains(&node) || is_starting;
        let explained = explained.or_else(|| may_fail.then_some(Explained::Start));
        let disk = || self.disks.iter().find(|(_, of, _)| *of == node);
        let explained = explained.or_else(|| disk().map(|(.., words)| Explained::Disk(words.clone())));
        self.ends.push(ServerEnd { node, at_ns, restarted_ns: None, exit: None, report: Vec::new(), explained });
        self.open.insert(node, self.ends.len() - 1);
        self.ends.len() - 1
    }
}

/// What a history tells of the servers; None if it does not tell of their processes, as those of earlier versions.
pub(super) fn servers(history: &History) -> Option<Servers> {
    let mut table = ServerTable::new(&history.header.plan);
    for event in &history.events {
        table.add(event);
    }
    (!table.seen.is_empty()).then(|| Servers { seen: table.seen, ends: table.ends, changes: changes(history) })
}

/// Whether a command ends the server that gets it.
fn ends_a_server(command: &CommandLine) -> bool {
    let word = |position: usize| command.0.get(position).map(|word| word.to_ascii_uppercase()).unwrap_or_default();
    word(0) == "SHUTDOWN" || (word(0) == "DEBUG" && DEADLY.contains(&word(1).as_str()))
}

/// The directives that differ from the plan at the first look, or from the first look at a later one, unless a step set
/// them: by CONFIG SET, or as what a start changed. A server of an attached cluster that the plan ended reads its configuration file again, so what somebody had set
/// before the run is gone: that is by the plan.
fn changes(history: &History) -> Vec<SettingChange> {
    let plan = &history.header.plan;
    let has_own_files = has_own_files(history);
    let mut ended: BTreeSet<NodeNo> = BTreeSet::new();
    let mut first: BTreeMap<NodeNo, BTreeMap<String, String>> = BTreeMap::new();
    let mut changes = Vec::new();
    for event in &history.events {
        if let EventKind::FaultInjected { kind, node, .. } = &event.kind
            && kind.ends_process()
        {
            ended.insert(*node);
        }
        if let EventKind::CameBack { node, change, found, .. } = &event.kind {
            let expected = first.entry(*node).or_default();
            if change.server.is_some() {
                // Each version has its own defaults.
                expected.retain(|name, _| planned(history, name).is_some());
            }
            expected.extend(found.config.clone());
            continue;
        }
        let EventKind::ServerConfig { node, values } = &event.kind else { continue };
        if has_own_files && ended.contains(node) {
            continue;
        }
        for (name, found) in values.iter().filter(|(name, _)| !a_step_sets(plan, name)) {
            let expected = match first.get(node) {
                Some(before) => before.get(name).cloned(),
                None => planned(history, name).filter(|planned| is_plain(planned)),
            };
            if let Some(expected) = expected.filter(|expected| !expected.eq_ignore_ascii_case(found)) {
                let (node, name, found) = (*node, name.clone(), found.clone());
                changes.push(SettingChange { node, at_ns: event.at_ns, name, expected, found });
            }
        }
        first.entry(*node).or_insert_with(|| values.clone());
    }
    changes
}

/// Whether the servers have configuration files of their own, and not those of the plan.
fn has_own_files(history: &History) -> bool {
    match history.header.host.backend {
        RecordedBackend::Known(BackendKind::Local | BackendKind::Docker) => false,
        RecordedBackend::Known(BackendKind::Attach) | RecordedBackend::Other(_) => true,
    }
}

/// The value that a directive has by the plan; None if the plan does not decide it.
fn planned(history: &History, name: &str) -> Option<String> {
    if has_own_files(history) {
        return None;
    }
    let config = &history.header.plan.config;
    // Servers accept the older name, too.
    let older = name.replace("replica", "slave");
    let stated = config.get(name).or_else(|| config.get(&older)).map(|value| value.0.trim_matches('"').to_owned());
    let default = || FAILOVER_SETTINGS.iter().find(|setting| setting.name == name)?.default.map(str::to_owned);
    stated.or_else(default)
}

fn a_step_sets(plan: &Plan, name: &str) -> bool {
    plan.steps.iter().any(|step| match step {
        Step::Command(command) => {
            let words = &command.send.0;
            let is = |position: usize, expected: &str| {
                words.get(position).is_some_and(|word: &String| word.eq_ignore_ascii_case(expected))
            };
            is(0, "CONFIG") && is(1, "SET") && words.iter().skip(2).step_by(2).any(|word| sets(word, name))
        }
        _ => false,
    })
}

fn sets(word: &str, name: &str) -> bool {
    word.to_ascii_lowercase().replace("slave", "replica") == name.replace("slave", "replica")
}
