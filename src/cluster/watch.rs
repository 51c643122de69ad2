//! Watches the cluster: asks every node for its view at each [`POLL`], records changes, and wakes callers that wait for
//! a condition.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use redis::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::control::AskError;
use super::{Backend, Control, EndedProcess};
use crate::history::EventKind;
use crate::journal::Journal;
use crate::plan::Plan;
use crate::slot::{Deal, SLOTS};
use crate::spec::POLL;
use crate::topology::{Health, NodeLine, Role, View, parse_info, parse_nodes};
use crate::units::{NodeNo, ShardNo};
use crate::wire::text;

/// A master's numbers of full synchronisations, partial ones, and rejected partial ones.
type Syncs = (u64, u64, u64);

/// A node that takes longer than this to answer is silent.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);

/// For each node, the pause between two looks at a snapshot: a look takes longer the more views there are, and more views
/// wake who waits more often.
const LOOK: Duration = Duration::from_micros(50);

/// The latest answers of all nodes at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The views of the nodes that answered their last poll.
    pub views: BTreeMap<NodeNo, Arc<View>>,
    /// The last views of the other nodes, if they ever answered.
    pub stale: BTreeMap<NodeNo, Arc<View>>,
    /// The nodes that did not answer, with the reasons.
    pub silent: BTreeMap<NodeNo, String>,
    /// The latest lag of each replica, in bytes, and whether its link was up.
    pub lag: BTreeMap<NodeNo, (u64, bool)>,
    /// When the last completed poll of each node began.
    asked: BTreeMap<NodeNo, Instant>,
}

/// The watcher; it stops when this is dropped.
#[derive(Debug)]
pub struct Watch {
    state: Arc<Mutex<Snapshot>>,
    changes: watch::Receiver<u64>,
    nodes: usize,
    _tasks: JoinSet<()>,
}

impl Watch {
    /// Begins to watch.
    pub fn begin<B: Backend>(control: &Arc<Control<B>>, journal: &Arc<Journal>) -> Self {
        let state = Arc::new(Mutex::new(Snapshot::default()));
        let (changed, changes) = watch::channel(0);
        let changed = Arc::new(changed);
        let mut tasks = JoinSet::new();
        for node in control.nodes() {
            let poller = Poller {
                node,
                control: Arc::clone(control),
                journal: Arc::clone(journal),
                state: Arc::clone(&state),
                changed: Arc::clone(&changed),
                synced: None,
                process: None,
                ended: None,
                is_down: false,
                report: None,
                nodes: Default::default(),
            };
            tasks.spawn(poller.run());
        }
        Self { state, changes, nodes: control.backend().size(), _tasks: tasks }
    }

    /// The current snapshot.
    pub fn snapshot(&self) -> Snapshot {
        self.state.lock().expect("no holder panics").clone()
    }

    /// Waits until `condition` holds for a snapshot, at most `within`. The error is the last one of `condition`. Ignores
    /// snapshots with a part older than this call, because the state before a fault or a heal must not count as its
    /// result.
    pub async fn until<T>(
        &self,
        within: Duration,
        mut condition: impl FnMut(&Snapshot) -> Result<T, String>,
    ) -> Result<T, String> {
        let mut changes = self.changes.clone();
        let began = Instant::now();
        let deadline = tokio::time::Instant::now() + within;
        loop {
            changes.mark_unchanged();
            let now = self.snapshot();
            let fresh = now.asked.len() == self.nodes && now.asked.values().all(|&asked| asked >= began);
            let missing = match condition(&now) {
                Ok(value) if fresh => return Ok(value),
                Ok(_) => "not every node has been polled again".to_owned(),
                Err(missing) => missing,
            };
            if tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
                return Err(missing);
            }
            tokio::time::sleep(LOOK * self.nodes as u32).await;
        }
    }
}

impl Watch {
    /// Waits as [`Self::until`] for a condition that then holds in every snapshot for as long as `hold`. Returns how long
    /// it took until it began to hold. One snapshot of a cluster whose views change all the time proves nothing.
    pub async fn until_steady(
        &self,
        within: Duration,
        hold: Duration,
        condition: impl Fn(&Snapshot) -> Result<(), String>,
    ) -> Result<Duration, String> {
        let began = Instant::now();
        loop {
            self.until(within.saturating_sub(began.elapsed()), &condition).await?;
            let took = began.elapsed();
            match self.broken(hold, &condition).await {
                None => return Ok(took),
                Some(missing) if began.elapsed() >= within => return Err(missing),
                Some(_) => {}
            }
        }
    }

    /// Why the condition did not hold in some snapshot during that time; None if it always did.
    async fn broken(&self, hold: Duration, condition: impl Fn(&Snapshot) -> Result<(), String>) -> Option<String> {
        let mut changes = self.changes.clone();
        let until = tokio::time::Instant::now() + hold;
        loop {
            changes.mark_unchanged();
            if let Err(missing) = condition(&self.snapshot()) {
                return Some(missing);
            }
            if tokio::time::timeout_at(until, changes.changed()).await.is_err() {
                return None;
            }
        }
    }
}

/// The result of one poll of a node.
struct Answers {
    /// Where no flag has changed, times may be those of an earlier poll.
    lines: Arc<Vec<NodeLine>>,
    view: View,
    offset: Option<u64>,
    syncs: Option<Syncs>,
    process: Option<Process>,
}

/// The process of a server, as INFO describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    run_id: String,
    pid: u32,
    uptime_s: u64,
}

impl Process {
    fn of(info: &str) -> Option<Self> {
        let info = parse_info(info);
        Some(Self {
            run_id: (*info.get("run_id")?).to_owned(),
            pid: info.get("process_id")?.parse().ok()?,
            uptime_s: info.get("uptime_in_seconds")?.parse().ok()?,
        })
    }

    fn is(&self, other: &Self) -> bool {
        (&self.run_id, self.pid) == (&other.run_id, other.pid)
    }
}

struct Poller<B> {
    node: NodeNo,
    control: Arc<Control<B>>,
    journal: Arc<Journal>,
    state: Arc<Mutex<Snapshot>>,
    changed: Arc<watch::Sender<u64>>,
    /// The numbers that were last recorded.
    synced: Option<Syncs>,
    /// The process that answered last.
    process: Option<Process>,
    /// The process whose end was last recorded.
    ended: Option<EndedProcess>,
    /// Whether an end was recorded since the node last answered.
    is_down: bool,
    /// The crash report that was last recorded.
    report: Option<Vec<String>>,
    /// Its last CLUSTER NODES, as text and read.
    nodes: (String, Arc<Vec<NodeLine>>),
}

impl<B: Backend> Poller<B> {
    async fn run(mut self) {
        let mut ticks = tokio::time::interval(POLL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let asked = Instant::now();
            match self.poll().await {
                Ok(Answers { lines, view, offset, syncs, process }) => {
                    self.note_process(process).await;
                    self.note_unheard(&lines, &view);
                    let role = view.peers.get(&self.node).map(|peer| peer.role);
                    let master = match role {
                        Some(Role::ReplicaOf(master)) => Some(master),
                        _ => None,
                    };
                    if role == Some(Role::Master) {
                        self.note_syncs(syncs);
                    }
                    let link_up = view.link_up.unwrap_or(false);
                    self.note(view);
                    match (master, offset) {
                        (Some(master), Some(offset)) => self.compare(master, offset, link_up).await,
                        // The lag is from the time when it was a replica.
                        _ => drop(self.state.lock().expect("no holder panics").lag.remove(&self.node)),
                    }
                }
                Err(reason) => {
                    self.note_silence(reason);
                    self.note_end().await;
                }
            }
            self.state.lock().expect("no holder panics").asked.insert(self.node, asked);
            // Wake callers even without a change: offsets and deadlines advance.
            self.changed.send_modify(|count| *count += 1);
        }
    }

    async fn poll(&mut self) -> Result<Answers, String> {
        let commands: [&[&str]; 5] = [
            &["CLUSTER", "NODES"],
            &["CLUSTER", "INFO"],
            &["INFO", "replication"],
            &["INFO", "stats"],
            &["INFO", "server"],
        ];
        let answers = self.control.ask_all(self.node, &commands, ANSWER_WITHIN).await.map_err(|error| match error {
            AskError::Connect(error) => error.to_string(),
            AskError::Command(error) => error.to_string(),
        })?;
        let [nodes, info, replication, stats, server] = answers.as_slice() else {
            return Err(format!("{} answers to 5 commands", answers.len()));
        };
        let (nodes, info, replication, stats) = (text(nodes), text(info), text(replication), text(stats));
        if !is_same_but_for_times(&self.nodes.0, &nodes) {
            let lines = parse_nodes(&nodes).map_err(|error| error.to_string())?;
            self.nodes = (nodes, Arc::new(lines));
        }
        let lines = Arc::clone(&self.nodes.1);
        let mut view = View::from_answers(&lines, &info, &replication, |line| self.number_of(line))
            .map_err(|error| error.to_string())?;
        for line in lines.iter() {
            if let Some(left) = self.control.roster().left_by(line)
                && let Some(peer) = self.number_of(line).and_then(|node| view.peers.get_mut(&node))
            {
                peer.left_addr = Some(left);
            }
        }
        let offset = parse_info(&replication).get("slave_repl_offset").and_then(|offset| offset.parse().ok());
        Ok(Answers { lines, view, offset, syncs: syncs(&stats), process: Process::of(&text(server)) })
    }

    fn number_of(&self, line: &NodeLine) -> Option<NodeNo> {
        if line.myself { Some(self.node) } else { self.control.roster().number_of(line) }
    }

    /// Records for each node that this node newly suspects when it last heard of it.
    fn note_unheard(&self, lines: &[NodeLine], view: &View) {
        let healthy = |node: NodeNo| {
            let state = self.state.lock().expect("no holder panics");
            let before = state.views.get(&self.node).or_else(|| state.stale.get(&self.node));
            before.is_some_and(|before| before.peers.get(&node).is_some_and(|peer| peer.health == Health::Ok))
        };
        for line in lines.iter().filter(|line| line.health != Health::Ok && !line.handshake) {
            let Some(of) = self.number_of(line).filter(|of| view.peers.contains_key(of) && healthy(*of)) else {
                continue;
            };
            let (ping_ms, pong_ms) = (line.ping_ms, line.pong_ms);
            self.journal.event(EventKind::Unheard { node: self.node, of, ping_ms, pong_ms });
        }
    }

    /// Records the first numbers too, because later ones are compared to them.
    fn note_syncs(&mut self, syncs: Option<Syncs>) {
        if let Some((full, partial, refused)) = syncs.filter(|_| syncs != self.synced) {
            self.synced = syncs;
            self.journal.event(EventKind::Synced { master: self.node, full, partial, refused });
        }
    }

    /// Records the process that answers, if it is another one than before. What became of the one before is recorded
    /// first.
    async fn note_process(&mut self, process: Option<Process>) {
        let Some(process) = process else { return };
        if self.process.as_ref().is_none_or(|known| !known.is(&process)) {
            if self.process.is_some() && !self.is_down {
                self.note_end().await;
                self.note_crash().await;
            }
            let Process { run_id, pid, uptime_s } = process.clone();
            self.journal.event(EventKind::ServerSeen { node: self.node, run_id, pid, uptime_s });
            self.process = Some(process);
        }
        self.is_down = false;
    }

    /// Records the end of the node's process, once.
    async fn note_end(&mut self) {
        let ended = self.control.backend().ended(self.node).await;
        let Some(ended) = ended.filter(|ended| self.ended.as_ref() != Some(ended)) else { return };
        self.journal.event(EventKind::ServerEnded { node: self.node, exit: ended.exit.clone() });
        (self.ended, self.is_down) = (Some(ended), true);
        self.note_crash().await;
    }

    /// Records the crash report of the log, unless it was there before.
    async fn note_crash(&mut self) {
        let report = self.control.backend().crash_report(self.node).await;
        if let Some(report) = report.filter(|report| self.report.as_ref() != Some(report)) {
            self.report = Some(report.clone());
            self.journal.event(EventKind::ServerCrashed { node: self.node, report });
        }
    }

    fn note(&self, view: View) {
        let mut state = self.state.lock().expect("no holder panics");
        let known = state.views.get(&self.node).is_some_and(|known| **known == view);
        if !known {
            state.silent.remove(&self.node);
            state.stale.remove(&self.node);
            state.views.insert(self.node, Arc::new(view.clone()));
        }
        drop(state);
        if !known {
            self.journal.event(EventKind::Viewed { node: self.node, view });
        }
    }

    fn note_silence(&self, reason: String) {
        let mut state = self.state.lock().expect("no holder panics");
        if let Some(view) = state.views.remove(&self.node) {
            state.stale.insert(self.node, view);
        }
        state.lag.remove(&self.node);
        let known = state.silent.insert(self.node, reason.clone()).as_ref() == Some(&reason);
        drop(state);
        if !known {
            self.journal.event(EventKind::Silent { node: self.node, reason });
        }
    }

    /// Measures the lag of a replica. Asks the master after the replica, so the lag is never too small. Under load it
    /// includes the writes in between.
    async fn compare(&self, master: NodeNo, offset: u64, link_up: bool) {
        let Ok(answer) = self.control.ask(master, &["INFO", "replication"], ANSWER_WITHIN).await else {
            self.state.lock().expect("no holder panics").lag.remove(&self.node);
            return;
        };
        let Some(bytes) = master_offset(&answer).map(|master_offset| master_offset.saturating_sub(offset)) else {
            return;
        };
        self.state.lock().expect("no holder panics").lag.insert(self.node, (bytes, link_up));
        self.journal.event(EventKind::Lag { replica: self.node, master, bytes, link_up });
    }
}

/// Whether two answers to CLUSTER NODES differ at most in when PINGs were sent and PONGs were received, which change all
/// the time.
fn is_same_but_for_times(one: &str, other: &str) -> bool {
    let parts = |line| {
        let mut fields = str::splitn(line, 7, ' ');
        let first: [Option<&str>; 4] = std::array::from_fn(|_| fields.next());
        (first, fields.nth(2))
    };
    one.lines().count() == other.lines().count()
        && one.lines().zip(other.lines()).all(|(one, other)| parts(one) == parts(other))
}

fn syncs(stats: &str) -> Option<Syncs> {
    let stats = parse_info(stats);
    let number = |name: &str| stats.get(name)?.parse().ok();
    Some((number("sync_full")?, number("sync_partial_ok")?, number("sync_partial_err")?))
}

fn master_offset(answer: &Value) -> Option<u64> {
    let answer = text(answer);
    parse_info(&answer).get("master_repl_offset")?.parse().ok()
}

impl Snapshot {
    /// The owner of a slot: the claim with the highest configEpoch in the views of the nodes that answer, or in the last
    /// views if none answers.
    pub fn owner(&self, slot: u16) -> Option<NodeNo> {
        let views = if self.views.is_empty() { &self.stale } else { &self.views };
        views
            .values()
            .filter_map(|view| {
                let owner = view.owner(slot)?;
                Some((view.peers[&owner].epoch, owner))
            })
            .max()
            .map(|(_, owner)| owner)
    }

    /// The owner of the first slot of a shard. The slots of a shard change their owner together.
    pub fn master(&self, shard: ShardNo, deal: &Deal) -> Option<NodeNo> {
        deal.slots(shard).first().and_then(|&(first, _)| self.owner(first))
    }

    /// The replicas of a node, by its own view, or else by that of any node that answers.
    pub fn replicas(&self, master: NodeNo) -> Vec<NodeNo> {
        let view = self.views.get(&master).or_else(|| self.views.values().next()).or_else(|| self.stale.get(&master));
        view.map(|view| view.replicas_of(master).collect()).unwrap_or_default()
    }

    /// The shard that a node belongs to, as master or replica.
    pub fn shard_of(&self, node: NodeNo, deal: &Deal) -> Option<ShardNo> {
        deal.shards().find(|&shard| {
            self.master(shard, deal).is_some_and(|master| master == node || self.replicas(master).contains(&node))
        })
    }

    /// Whether every node answers, agrees with the others and reports a healthy cluster. The error says what is missing.
    pub fn whole(&self, nodes: usize, shards: u16) -> Result<(), String> {
        for node in (0..nodes).map(NodeNo::from_index) {
            let Some(view) = self.views.get(&node) else {
                let reason = self.silent.get(&node).map_or("not polled yet", String::as_str);
                return Err(format!("{node} does not answer: {reason}"));
            };
            view_is_whole(node, view, nodes, shards)?;
        }
        self.agreed()
    }

    /// Whether the cluster is whole, as [`Self::whole`], and every shard has the replicas of the plan.
    pub fn whole_as_planned(&self, plan: &Plan) -> Result<(), String> {
        self.whole(plan.nodes.len(), plan.shards())?;
        let deal = plan.deal();
        let replicas = deal.shards().map(|shard| {
            let master = self.master(shard, &deal);
            (shard, master.map_or(0, |master| self.replicas(master).len()))
        });
        plan.missing_replicas(&replicas.collect()).map_or(Ok(()), Err)
    }

    /// Whether all nodes that answer share one view of masters, replicas, slots and epochs, flag none of each other as
    /// failed, and know where each other is.
    pub fn agreed(&self) -> Result<(), String> {
        let mut views = self.views.iter();
        let Some((first, view)) = views.next() else { return Err("no node answers".to_owned()) };
        for (node, other) in views {
            if !other.agrees_with(view) {
                return Err(format!("{first} and {node} see different masters, replicas, slots or epochs"));
            }
        }
        for (node, view) in &self.views {
            let flagged =
                view.peers.iter().find(|(peer, state)| self.views.contains_key(peer) && state.health != Health::Ok);
            if let Some((peer, _)) = flagged {
                return Err(format!("{node} suspects {peer}, which answers"));
            }
            if let Some((peer, addr)) = left(view) {
                return Err(format!("{node} has {peer} at {addr}, which it left"));
            }
        }
        Ok(())
    }
}

fn view_is_whole(node: NodeNo, view: &View, nodes: usize, shards: u16) -> Result<(), String> {
    let wrong = |what: String| Err(format!("{node} reports {what}"));
    if !view.state_ok {
        return wrong("cluster_state:fail".to_owned());
    }
    if (view.slots_assigned, view.slots_ok) != (SLOTS, SLOTS) {
        return wrong(format!("{} slots assigned and {} ok of {SLOTS}", view.slots_assigned, view.slots_ok));
    }
    if usize::from(view.known_nodes) != nodes || view.peers.len() != nodes {
        return wrong(format!("{} known nodes of {nodes}", view.known_nodes));
    }
    if view.size != shards {
        return wrong(format!("{} masters with slots, not {shards}", view.size));
    }
    match view.peers.get(&node).map(|own| (own.role, own.slots.is_empty())) {
        Some((Role::Master, false)) => {}
        Some((Role::Master, true)) => return wrong("that it is a master without slots".to_owned()),
        Some(_) if view.link_up == Some(true) => {}
        Some(_) => return wrong("its replication link down".to_owned()),
        None => return wrong("a cluster without itself".to_owned()),
    }
    if let Some((peer, _)) = view.peers.iter().find(|(_, peer)| peer.health != Health::Ok) {
        return wrong(format!("{peer} as failing"));
    }
    match left(view) {
        Some((peer, addr)) => wrong(format!("{peer} at {addr}, which it left")),
        None => Ok(()),
    }
}

/// A node that a view has at an address that it left.
fn left(view: &View) -> Option<(NodeNo, SocketAddr)> {
    view.peers.iter().find_map(|(&peer, line)| Some((peer, line.left_addr?)))
}

#[cfg(test)]
mod tests {
    use super::is_same_but_for_times;

    #[test]
    fn only_times_may_differ() {
        let line = |flags: &str, ping: u64, epoch: u64, link: &str, slots: &str| {
            format!("{} 127.1.0.1:6379@16379 {flags} - {ping} {} {epoch} {link}{slots}\n", "1".repeat(40), ping + 7)
        };
        let one = line("master", 5, 1, "connected", " 0-5460") + &line("slave", 5, 1, "connected", "");
        let with = |first: String| first + &line("slave", 5, 1, "connected", "");
        assert!(is_same_but_for_times(&one, &with(line("master", 99, 1, "connected", " 0-5460"))));
        for other in [
            with(line("master,fail?", 5, 1, "connected", " 0-5460")),
            with(line("master", 5, 2, "connected", " 0-5460")),
            with(line("master", 5, 1, "disconnected", " 0-5460")),
            with(line("master", 5, 1, "connected", " 0-5461")),
            with(line("master", 5, 1, "connected", "")),
            line("master", 5, 1, "connected", " 0-5460"),
            one.replace("127.1.0.1:", "127.1.0.7:"),
            String::new(),
        ] {
            assert!(!is_same_but_for_times(&one, &other), "{other}");
        }
    }
}
