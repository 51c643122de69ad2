//! What a history tells, derived once: phases, faults, failovers, reigns, outages, the ledger of writes and why some
//! are lost, latencies. [`crate::check`] judges these facts and [`crate::report`] shows them; nothing here passes a
//! verdict, and nothing there derives a fact again.

mod cause;
mod failover;
mod fault_span;
mod handover;
mod harness;
mod ledger;
mod outage;
mod overwritten;
mod ownership;
mod phase;
mod registers;
mod reign;
mod rules;
mod stats;
mod untold;
mod views;

pub use cause::{AckSide, Cause};
pub use failover::Failover;
pub use fault_span::{Ended, FaultSpan, Proof, fault_spans};
pub use harness::Cut;
pub use ledger::{Ledger, LostWrite, OverwrittenWrite, UnreadKey};
pub use outage::{HANG_NS, Outage};
pub use ownership::{Ownership, OwnershipChange};
pub use phase::{PhaseSpan, history_end_ns};
pub use registers::{Answerer, Answerers, Registers};
pub use reign::{Reign, Reigns};
pub use rules::NodeTimeouts;
pub use stats::{KeyShards, OpIndex, OpStats, Window};
pub use views::{Seen, Views};

use crate::history::History;
use crate::suite::OpKind;
use crate::units::ShardNo;

/// Everything that is derived from a history. Built once, then asked by every check and every view of the report.
#[derive(Debug)]
pub struct Facts<'a> {
    /// What they are derived from.
    pub history: &'a History,
    /// The moment just after everything that the history holds, in nanoseconds from the start of the run.
    pub end_ns: u64,
    /// The operations by kind and shard.
    pub ops: OpIndex<'a>,
    /// The operations by key.
    pub registers: Registers,
    /// What each node said of the cluster.
    pub views: Views<'a>,
    /// Who owned each shard's slots.
    pub ownership: Ownership,
    /// Who was master of each shard, as far as acknowledgements show it earlier than views.
    pub reigns: Reigns,
    /// Every fault, in the order of injection.
    pub fault_spans: Vec<FaultSpan>,
    /// Every failover, in order of time.
    pub failovers: Vec<Failover>,
    /// The phases, the harness's own included, in order of time.
    pub phases: Vec<PhaseSpan>,
    /// From the first of the suite's phases to the end of the steps; None when the run never got that far.
    pub steps: Option<Window>,
    /// Every outage during the steps, in order of time.
    pub outages: Vec<Outage>,
    /// What became of every write.
    pub ledger: Ledger,
    /// The live values of `cluster-node-timeout`.
    pub node_timeouts: NodeTimeouts,
    /// When the harness itself stood still.
    pub stalls: Vec<Window>,
    /// What ended the steps before their time.
    pub cut: Option<Cut>,
    /// The first of the faults that the harness could not undo, and why, in words.
    pub stuck: Option<String>,
}

impl<'a> Facts<'a> {
    /// Derives them. Pure: the same history gives the same facts.
    pub fn new(history: &'a History) -> Self {
        let end_ns = history_end_ns(history);
        let ops = OpIndex::new(history);
        let views = Views::new(history);
        let ownership = Ownership::new(history);
        let reigns = Reigns::new(&ownership, &ops);
        let fault_spans = fault_spans(history);
        let failovers =
            failover::Finder { history, ops: &ops, views: &views, ownership: &ownership, end_ns }.find(&fault_spans);
        let phases = phase::phases(history, end_ns);
        let steps = phase::steps_window(history, end_ns);
        let causes = cause::Causes::new(&reigns, &failovers, &fault_spans);
        let registers = Registers::new(history);
        let answerers = Answerers { reigns: &reigns, views: &views, shards: ops.key_shards() };
        let ledger = ledger::Accounts {
            history,
            registers: &registers,
            answerers,
            causes: &causes,
            fault_spans: &fault_spans,
            phases: &phases,
        }
        .ledger();
        Self {
            outages: steps.map(|window| every_outage(&ops, &ownership, window)).unwrap_or_default(),
            node_timeouts: NodeTimeouts::new(&history.header, &history.events),
            stalls: harness::stalls(history),
            cut: harness::cut(history),
            stuck: harness::stuck(history),
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

    /// The outages of one kind and shard among the operations issued in `window`, in order of time.
    pub fn outages(&self, of: OpKind, shard: ShardNo, window: Window) -> Vec<Outage> {
        if Some(window) == self.steps {
            let known = self.outages.iter().filter(|outage| outage.of == of && outage.shard == shard);
            return known.cloned().collect();
        }
        self.ops.outages(of, shard, window)
    }
}

/// The outages of every shard in a window, in order of time.
fn every_outage(ops: &OpIndex<'_>, ownership: &Ownership, window: Window) -> Vec<Outage> {
    let mut all = Vec::new();
    for shard in ownership.shards() {
        for of in [OpKind::Reads, OpKind::Writes] {
            all.extend(ops.outages(of, shard, window));
        }
    }
    all.sort_by_key(|outage| (outage.from_ns, outage.shard, outage.of));
    all
}
