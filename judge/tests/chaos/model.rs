//! A cluster in memory: one second of it takes a microsecond. It knows processes, cuts, detection by a majority, elections
//! and asynchronous replication, and one bug at a time can be planted in it.

use std::collections::BTreeMap;
use std::time::Duration;

use slotquake_judge::chaos::{Claim, Failure, Move, Promise, Schedule};
use slotquake_judge::fault::ProcessEffect;
use slotquake_judge::suite::Step;
use slotquake_judge::target::{Member, Target};

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// There is none.
    None,
    /// A master drops what it acknowledged while its replica is away.
    DropsWrites,
    /// A resumed master stays master beside its successor.
    TwoMasters,
    /// A replica of a shard whose master is stopped is never promoted.
    NeverPromotes,
    /// A voter forgets its vote when it restarts during an election: two nodes have one epoch.
    ForgetsVote,
}

const TICK_MS: u64 = 100;

#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each may be so without the others")]
struct Node {
    down: bool,
    frozen: bool,
    cut: bool,
    /// It started while its master was away, and is not promoted until it has synchronised.
    stale: bool,
    silent_ms: u64,
}

impl Node {
    fn is_silent(&self) -> bool {
        self.down || self.frozen || self.cut
    }
}

struct Shard {
    master: usize,
    nodes: Vec<Node>,
    lost: bool,
    served_ms: u64,
    two_masters: bool,
}

/// What fails of what must hold, under a bug.
pub fn run(schedule: &Schedule, promises: &[Promise], bug: Bug) -> (Vec<Failure>, Vec<String>) {
    let mut model = Model::new(schedule, bug);
    let end = schedule.moves.iter().map(|each| each.end().0).max().unwrap_or_default()
        + schedule.rest.0
        + Duration::from_secs(1);
    let steps = end.as_millis() as u64 / TICK_MS;
    for tick in 0..=steps {
        model.tick(schedule, tick * TICK_MS);
    }
    let is_served = model.shards.iter().all(|shard| shard.served_ms + 2 * TICK_MS > steps * TICK_MS);
    let two_masters = model.shards.iter().any(|shard| shard.two_masters);
    let lost = model.shards.iter().any(|shard| shard.lost);
    let seen = [
        (Claim::AckedWrites, lost, "acked-writes"),
        (Claim::Whole, two_masters, "slot-coverage"),
        (Claim::ServesAgain, !is_served, "availability"),
        (Claim::Epochs, model.same_epoch, "epochs"),
    ];
    let must_hold = |claim| promises.iter().any(|promise| promise.claim == claim && promise.stand.must_hold());
    let failed = seen.into_iter().filter(|&(claim, is_seen, _)| is_seen && must_hold(claim));
    let failure =
        |(_, _, name): (Claim, bool, &str)| Failure { invariant: name.to_owned(), kind: String::new(), shard: None };
    (failed.map(failure).collect(), model.reached)
}

struct Model {
    shards: Vec<Shard>,
    bug: Bug,
    node_timeout_ms: u64,
    /// The moment of the last restart of a master.
    restarted_ms: Option<u64>,
    same_epoch: bool,
    reached: Vec<String>,
    hit: BTreeMap<usize, (usize, usize)>,
}

impl Model {
    fn new(schedule: &Schedule, bug: Bug) -> Self {
        let shard = || Shard {
            master: 0,
            nodes: vec![Node::default(); usize::from(schedule.replicas) + 1],
            lost: false,
            served_ms: 0,
            two_masters: false,
        };
        Self {
            shards: (0..schedule.masters).map(|_| shard()).collect(),
            bug,
            node_timeout_ms: schedule.node_timeout().as_millis() as u64,
            restarted_ms: None,
            same_epoch: false,
            reached: Vec::new(),
            hit: BTreeMap::new(),
        }
    }

    fn tick(&mut self, schedule: &Schedule, now_ms: u64) {
        for (index, each) in schedule.moves.iter().enumerate() {
            if each.at.0.as_millis() as u64 / TICK_MS * TICK_MS == now_ms {
                self.begin(index, each);
            }
            let is_told = each.until.is_some() && self.is_replaced(index);
            if each.undo.is_some() && (is_told || each.end().0.as_millis() as u64 / TICK_MS * TICK_MS == now_ms) {
                self.undo(index, each, now_ms);
            }
        }
        let alive = self.shards.iter().filter(|shard| !shard.nodes[shard.master].is_silent()).count();
        let has_majority = alive * 2 > self.shards.len();
        for number in 0..self.shards.len() {
            self.live(number, has_majority, now_ms);
        }
    }

    fn begin(&mut self, index: usize, each: &Move) {
        let Some((shard, member)) = each.targets().iter().find_map(|target| match target {
            Target::Member(_, member) => each.shards().first().map(|shard| (usize::from(shard.0) - 1, *member)),
            _ => None,
        }) else {
            return;
        };
        let owner = &mut self.shards[shard];
        let node = match member {
            Member::Replica | Member::Replicas => (0..owner.nodes.len()).find(|&node| node != owner.master),
            _ => Some(owner.master),
        };
        let Some(node) = node else { return };
        if let Step::Command(_) = each.step {
            // An order that waits for the replica loses nothing.
            if !owner.nodes[owner.master].is_silent() && !owner.nodes[node].is_silent() {
                owner.master = node;
                self.reached.push("manual".to_owned());
            }
            return;
        }
        let Some(kind) = each.kind() else { return };
        let effect = each.step.fault().and_then(|fault| fault.action()).and_then(|(action, _)| action.leaves());
        match effect {
            Some(ProcessEffect::Gone) if each.leaves_the_master() => {
                owner.nodes.iter_mut().for_each(|node| node.down = true);
            }
            Some(ProcessEffect::Gone) => owner.nodes[node].down = true,
            Some(ProcessEffect::Frozen) => owner.nodes[node].frozen = true,
            None if each.step.fault().is_some_and(|fault| fault.cuts_bus()) => owner.nodes[node].cut = true,
            None => return,
        }
        self.reached.push(format!("{kind} {}", if node == owner.master { "master" } else { "replica" }));
        self.hit.insert(index, (shard, node));
    }

    /// Whether the node that a move hit is a master no more, though it was hit as one.
    fn is_replaced(&self, index: usize) -> bool {
        let replaced =
            |&(shard, node): &(usize, usize)| self.reached.contains(&format!("promoted {shard} over {node}"));
        self.hit.get(&index).is_some_and(replaced)
    }

    fn undo(&mut self, index: usize, undo: &Move, now_ms: u64) {
        let Some((shard, node)) = self.hit.remove(&index) else { return };
        let owner = &mut self.shards[shard];
        let was_frozen = owner.nodes[node].frozen;
        let was_down = owner.nodes[node].down;
        let is_alone = owner.nodes[owner.master].is_silent() && owner.master != node;
        for (other, state) in owner.nodes.iter_mut().enumerate() {
            if (other == node && !undo.leaves_the_master()) || (undo.leaves_the_master() && other != node) {
                *state = Node { stale: state.down && (is_alone || undo.leaves_the_master()), ..Node::default() };
            }
        }
        if was_down && owner.master == node && !undo.leaves_the_master() {
            self.restarted_ms = Some(now_ms);
        }
        if was_frozen
            && owner.master != node
            && owner.nodes.len() > 1
            && self.bug == Bug::TwoMasters
            && self.reached.contains(&format!("promoted {shard} over {node}"))
        {
            owner.two_masters = true;
        }
    }

    fn live(&mut self, number: usize, has_majority: bool, now_ms: u64) {
        let (node_timeout_ms, bug, restarted_ms) = (self.node_timeout_ms, self.bug, self.restarted_ms);
        let shard = &mut self.shards[number];
        for node in &mut shard.nodes {
            node.silent_ms = if node.is_silent() { node.silent_ms + TICK_MS } else { 0 };
        }
        let master = shard.master;
        if !shard.nodes[master].is_silent() {
            shard.nodes.iter_mut().for_each(|node| node.stale = false);
            shard.served_ms = now_ms;
            let away = shard.nodes.iter().enumerate().any(|(node, state)| node != master && state.is_silent());
            shard.lost |= bug == Bug::DropsWrites && away;
            return;
        }
        let is_failed = shard.nodes[master].silent_ms > node_timeout_ms * 3 / 2;
        let heir = (0..shard.nodes.len())
            .find(|&node| node != master && !shard.nodes[node].is_silent() && !shard.nodes[node].stale);
        if let Some(heir) =
            heir.filter(|_| is_failed && has_majority && (bug != Bug::NeverPromotes || !shard.nodes[master].down))
        {
            self.reached.push(format!("promoted {number} over {master}"));
            self.reached.push("promoted".to_owned());
            // What was not replicated yet is gone.
            shard.lost = true;
            shard.master = heir;
            let near = restarted_ms.is_some_and(|at| now_ms.abs_diff(at) < 2000);
            self.same_epoch |= bug == Bug::ForgetsVote && near;
        }
    }
}
