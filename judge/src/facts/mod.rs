//! Facts that are derived once from a history: phases, faults, failovers, reigns, outages, latencies, the ledger of writes and
//! the causes of losses. [`crate::check`] judges them and [`crate::report`] shows them. Neither derives a fact again.

mod cause;
mod clients;
mod failover;
mod fault_span;
mod handover;
mod harness;
mod kind;
mod lateness;
mod ledger;
mod losses;
mod outage;
mod overwritten;
mod ownership;
mod phase;
mod registers;
mod reign;
mod rules;
mod servers;
mod stats;
mod untold;
mod views;

pub use cause::{AckSide, Cause};
pub use clients::ClientSides;
pub use failover::{Failover, Logged};
pub use fault_span::{Ended, FaultSpan, FaultTable, Proof, fault_spans};
pub use harness::Cut;
pub use kind::{Account, Example, KeyOps, NOBODY, drawn, sent, who};
pub use lateness::Lateness;
pub use ledger::{Ledger, LostWrite, OverwrittenWrite, UnreadKey};
pub use losses::LossSpan;
pub use outage::{Outage, PATIENCE_NS, STALL_NS, Whose, outages};
pub use ownership::{Ownership, OwnershipChange};
pub use phase::{PhaseSpan, history_end_ns};
pub use registers::{Answerer, Answerers, KeyAnswerers, Registers};
pub use reign::{Reign, Reigns};
pub use rules::NodeTimeouts;
pub use servers::{Explained, ServerEnd, ServerTable, Servers, SettingChange};
pub use stats::{KeyShards, OpIndex, OpStats, Window};
pub use views::{Seen, Views};

use std::collections::BTreeMap;

use crate::history::{History, Op};
use crate::suite::{ClientSet, DataKind, OpKind};
use crate::units::ShardNo;

/// Everything that is derived from a history. All times are in nanoseconds from the start of the run.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The history.
    pub history: &'a History,
    /// The moment after the last event or operation.
    pub end_ns: u64,
    /// The operations by kind and shard.
    pub ops: OpIndex<'a>,
    /// The operations by key.
    pub registers: Registers,
    /// The views of each node over time.
    pub views: Views<'a>,
    /// The owners of each shard over time.
    pub ownership: Ownership,
    /// The masters of each shard over time, by views and by earlier acknowledgements.
    pub reigns: Reigns,
    /// All faults, in the order of injection.
    pub fault_spans: Vec<FaultSpan>,
    /// All failovers, in order of time.
    pub failovers: Vec<Failover>,
    /// All phases in order of time, including `boot`, `recovery` and `final`.
    pub phases: Vec<PhaseSpan>,
    /// From the first phase of the suite to the end of the steps; None if the run ended before.
    pub steps: Option<Window>,
    /// The clients by their side of the faults of links.
    pub clients: ClientSides,
    /// Every outage during the steps, by side of the clients if a fault tells them apart, stalls from [`STALL_NS`] on included, in order of time.
    pub outages: Vec<Outage>,
    /// The ledger of writes: acknowledged, lost, undecided.
    pub ledger: Ledger,
    /// What became of the writes of each kind of data beside registers, which `ledger` accounts for.
    pub accounts: BTreeMap<DataKind, Account>,
    /// Everything that was done with the keys of each kind of data beside registers, by key.
    pub kind_keys: BTreeMap<u32, KeyOps<'a>>,
    /// The values of `cluster-node-timeout` over time.
    pub node_timeouts: NodeTimeouts,
    /// How late the harness issued operations.
    pub lateness: Lateness,
    /// When the harness itself stood still.
    pub stalls: Vec<Window>,
    /// When a server waited for a processor, in order of time. They may overlap.
    pub starved: Vec<Window>,
    /// Why no time of the history can be trusted: a node did not live as fast as the harness. None if all did.
    pub wrong_speed: Option<String>,
    /// When TCP, which is not faster at speed, may still have kept nodes and clients from each other after a fault of
    /// links. Empty in real time.
    pub retransmitting: Vec<Window>,
    /// What ended the steps early; None if nothing did.
    pub cut: Option<Cut>,
    /// Why the first fault that slotquake could not undo was not undone; None if all were.
    pub stuck: Option<String>,
    /// The ends and restarts of servers; None if the history does not tell of their processes.
    pub servers: Option<Servers>,
}

impl<'a> Facts<'a> {
    /// Derives the facts. Pure: the same history gives the same facts.
    pub fn new(history: &'a History) -> Self {
        let (ops, registers) = in_parallel(|| OpIndex::new(history), || Registers::new(history));
        Self::of(history, ops, registers)
    }

    /// The facts of a history whose operations are gathered by shard and by key.
    pub fn of(history: &'a History, ops: OpIndex<'a>, registers: Registers) -> Self {
        let end_ns = history_end_ns(history);
        let views = Views::new(history);
        let ownership = Ownership::new(history);
        let reigns = Reigns::new(&ownership, &ops);
        let fault_spans = fault_spans(history);
        let failovers =
            failover::Finder { history, ops: &ops, views: &views, ownership: &ownership, end_ns }.find(&fault_spans);
        let clients = ClientSides::new(history.header.plan.workload.clients, &fault_spans);
        let phases = phase::phases(history, end_ns);
        let steps = phase::steps_window(history, end_ns);
        let causes = cause::Causes::new(&reigns, &failovers, &fault_spans, history);
        let answerers = Answerers { reigns: &reigns, views: &views, shards: ops.key_shards() };
        let accounts_of_writes = ledger::Accounts {
            history,
            registers: &registers,
            answerers,
            causes: &causes,
            fault_spans: &fault_spans,
            phases: &phases,
        };
        let by_time = || {
            let outages = steps.map(|window| every_outage(&ops, &clients, &ownership, window)).unwrap_or_default();
            (outages, Lateness::new(&history.ops))
        };
        let ((outages, lateness), ledger) = in_parallel(by_time, || accounts_of_writes.ledger());
        let kind_keys = kind::gather(history);
        let accounts = kind::accounts(history, &kind_keys, answerers);
        Self {
            accounts,
            kind_keys,
            outages,
            clients,
            node_timeouts: NodeTimeouts::new(&history.header.plan, history.header.server.version, &history.events),
            lateness,
            stalls: harness::stalls(history),
            starved: harness::starved(history),
            wrong_speed: harness::wrong_speed(history),
            retransmitting: harness::retransmitting(history.header.speed, &fault_spans),
            cut: harness::cut(history),
            stuck: harness::stuck(&fault_spans),
            servers: servers::servers(history),
            history,
            end_ns,
            ops,
            registers,
            views,
            ownership,
            reigns,
            fault_spans,
            failovers,
            phases,
            steps,
            ledger,
        }
    }

    /// Who answered reads.
    pub fn answerers(&self) -> Answerers<'_> {
        Answerers { reigns: &self.reigns, views: &self.views, shards: self.ops.key_shards() }
    }

    /// The operations of a kind and shard that some clients issued in a window, in the order of their issue.
    pub fn issued(&self, of: OpKind, shard: ShardNo, clients: ClientSet, window: Window) -> Vec<&'a Op> {
        self.clients.of(clients, self.ops.issued(of, shard, window))
    }
}

/// Does two things at the same time.
///
/// # Panics
/// As they do.
pub(crate) fn in_parallel<A: Send, B: Send>(one: impl FnOnce() -> A + Send, other: impl FnOnce() -> B) -> (A, B) {
    std::thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        (one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), other)
    })
}

/// The outages of every shard in a window, in order of time.
fn every_outage(ops: &OpIndex<'_>, clients: &ClientSides, ownership: &Ownership, window: Window) -> Vec<Outage> {
    let mut all = Vec::new();
    for shard in ownership.shards() {
        for of in [OpKind::Reads, OpKind::Writes] {
            for &set in clients.sets() {
                let issued = clients.of(set, ops.issued(of, shard, window));
                let whose = Whose { of, shard, clients: set };
                all.extend(outages(&issued, whose, window, STALL_NS));
            }
        }
    }
    all.sort_by_key(|outage| (outage.from_ns, outage.shard, outage.of, outage.clients));
    all
}
