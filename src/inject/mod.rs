//! Faults as they are done: which nodes a target means now, how a fault is injected, watched and undone, and the proof
//! of each. A fault whose effect cannot be proven is recorded as unproven.
//!
//! A nature of faults has an injector of its own (`process`, `links`, `hosts`). It keeps a guard for each fault in force, and
//! heals by these guards.

mod changes;
mod clocks;
mod disks;
mod hosts;
mod links;
mod process;
mod resolve;
mod sides;
mod watching;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::cluster::watch::{Snapshot, Watch};
use crate::cluster::{Backend, Control};
use crate::fault::{Action, FaultKind, FaultStep};
use crate::history::StepProblem;
use crate::journal::Journal;
use crate::server::{Server, Version};
use crate::slot::Deal;
use crate::suite::{Address, Corrupt, Start};
use crate::target::Targets;
use crate::units::NodeNo;
use hosts::HostInjector;
use links::LinkInjector;
use process::ProcessInjector;

pub use resolve::resolve;

/// Injects faults into a cluster and undoes them.
#[derive(Debug)]
pub struct Injector<B> {
    processes: ProcessInjector<B>,
    links: LinkInjector<B>,
    hosts: HostInjector<B>,
}

impl<B: Backend> Injector<B> {
    /// An injector without faults in force, for a cluster with that deal of slots and a workload of so many clients.
    /// `servers` are those that a start may name. The seed decides what damage to a file hits.
    pub fn new(
        control: &Arc<Control<B>>,
        journal: &Arc<Journal>,
        deal: &Deal,
        clients: u16,
        servers: BTreeMap<String, Server>,
        seed: u64,
    ) -> Self {
        let ids = Arc::new(FaultIds::default());
        let (control, journal) = (|| Arc::clone(control), || Arc::clone(journal));
        Self {
            processes: ProcessInjector::new((control(), journal()), Arc::clone(&ids), deal.clone(), (servers, seed)),
            links: LinkInjector::new(control(), journal(), Arc::clone(&ids), (deal.clone(), clients)),
            hosts: HostInjector::new(control(), journal(), ids, deal.clone()),
        }
    }

    /// Injects a fault at the nodes that its targets or sides mean now, and proves it.
    pub async fn inject(&mut self, fault: &FaultStep<'_>, now: &Snapshot) -> Result<(), StepProblem> {
        if let Some(Some(name)) = fault.name()
            && self.named_faults().iter().any(|(other, _)| other == name)
        {
            return Err(StepProblem::Suite(format!(
                "{}: a fault named \"{name}\" is already active (hint: heal it first, or give this one another name)",
                fault.kind()
            )));
        }
        match fault {
            FaultStep::Process(kind, fault, targets) => self.processes.inject(*kind, *fault, targets, now).await,
            FaultStep::Links(fault) => self.links.inject(fault, now).await,
            FaultStep::Clock(fault) => self.hosts.inject_clock(fault, now).await,
            FaultStep::Disk(fault) => self.hosts.inject_disk(fault, now).await,
        }
    }

    /// Undoes, by that action, the faults of processes at the nodes that the targets mean now. Changes the nodes before, if
    /// the step that starts them does. A server that does not come up, where the step allows it, stays down.
    pub async fn undo(
        &mut self,
        (action, start): (Action, Option<&Start>),
        targets: &Targets,
        now: &Snapshot,
    ) -> Result<(), StepProblem> {
        if start.is_some_and(|start| start.change.address == Address::New) {
            for node in self.processes.nodes(targets, now)? {
                if let Some(name) = self.links.of_node(node) {
                    return Err(StepProblem::Suite(format!(
                        "{action}: {node} cannot come back at another address while fault \"{name}\" hits its links, since \
                         the fault would not hit them there (hint: `heal: {name}` first)"
                    )));
                }
            }
        }
        self.processes.undo_at((action, start), targets, now).await
    }

    /// Damages a file of each node that the targets mean now. Their servers are down.
    pub async fn corrupt(&mut self, wanted: &Corrupt, now: &Snapshot) -> Result<(), StepProblem> {
        self.processes.corrupt(wanted, now).await
    }

    /// The nodes that are down because their last start failed, as its step allows.
    pub fn left_down(&self) -> &BTreeSet<NodeNo> {
        self.processes.left_down()
    }

    /// The versions of the nodes that a start gave another server.
    pub fn versions(&self) -> &BTreeMap<NodeNo, Version> {
        self.processes.versions()
    }

    /// Undoes the fault of links or of a host of that name, or `all` of them. The nodes' bus links have `links_within` to
    /// connect again.
    pub async fn heal(&mut self, name: &str, watch: &Watch, links_within: Duration) -> Result<(), StepProblem> {
        if !self.links.has(name) && !self.hosts.has(name) {
            let faults = self.named_faults();
            let names: Vec<&str> = faults.iter().map(|(name, _)| name.as_str()).collect();
            return Err(StepProblem::Suite(match names.as_slice() {
                [] => "heal: no fault that `heal` undoes is active (hint: leave the step out)".to_owned(),
                names => format!("heal: no active fault named \"{name}\" (hint: `{}` or `all`)", names.join("`, `")),
            }));
        }
        // The hosts first: bus links connect again by their clocks, and not at all while a disk holds a server.
        let hosts = self.hosts.heal(name).await;
        let links = self.links.heal(name, watch, links_within).await;
        hosts.and(links)
    }

    /// Undoes every fault that is in force. Returns one problem for each nature of faults that has one.
    pub async fn heal_all(&mut self, watch: &Watch, links_within: Duration) -> Vec<StepProblem> {
        let (links, processes, hosts) =
            tokio::join!(self.links.heal_all(watch, links_within), self.processes.heal_all(), self.hosts.heal_all());
        [links, processes, hosts].into_iter().filter_map(Result::err).collect()
    }

    /// The faults of links and hosts in force, by name.
    pub fn named_faults(&self) -> Vec<(String, FaultKind)> {
        let links = self.links.in_force().map(|(name, kind)| (name.to_owned(), kind));
        links.chain(self.hosts.in_force()).collect()
    }
}

/// Numbers the faults of one run across all injectors.
#[derive(Debug, Default)]
struct FaultIds(AtomicU32);

impl FaultIds {
    /// The next number, from 1.
    fn next(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}
