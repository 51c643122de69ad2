//! A builder of histories: a cluster of 3 masters and 3 replicas with `cluster-node-timeout 1000`. Times are in milliseconds from
//! the start of the run.

use std::collections::BTreeMap;

use serde_json::json;
use slotquake_judge::check::{Judgement, check};
use slotquake_judge::facts::Facts;
use slotquake_judge::history::{
    Event, EventKind, Explanation, FaultKind, FinalValue, Header, History, Hit, Host, NO_FREE_KEY, NodeInfo, Op,
    OpParts, Outcome, SCHEMA_VERSION, Side, key_name,
};
use slotquake_judge::plan::{Plan, PlannedNode};
use slotquake_judge::server::{Flavour, Version};
use slotquake_judge::slot::Deal;
use slotquake_judge::suite::{CameBack, Only, OpKind, Step};
use slotquake_judge::topology::{Health, Role, View};
use slotquake_judge::units::{ClientNo, NodeNo, ShardNo, Span, Speed};

pub use crate::views::{flagged, healthy, taken_over};

/// The builder of a history.
#[derive(Clone)]
pub struct Story {
    history: History,
    next_value: BTreeMap<u32, u32>,
    faults: u32,
    client: u16,
    read_back: BTreeMap<u32, FinalValue>,
}

pub fn ns(ms: f64) -> u64 {
    (ms * 1e6).round() as u64
}

/// The `n`th key of a shard, from 0.
pub fn key_of(shard: u16, n: usize) -> u32 {
    let deal = Deal::even(3);
    let of_shard = |key: &u32| deal.shard_of_key(key_name(*key).as_bytes()) == ShardNo(shard);
    (0..).filter(of_shard).nth(n).expect("every shard has keys without end")
}

impl Story {
    /// Boot until 500 ms, all views healthy.
    pub fn new() -> Self {
        let nodes: Vec<PlannedNode> = (1..=6)
            .map(|n| PlannedNode {
                node: NodeNo(n),
                shard: ShardNo((n - 1) % 3 + 1),
                replica_of: (n > 3).then(|| NodeNo(n - 3)),
                slots: if n <= 3 { Deal::even(3).slots(ShardNo(n)).to_vec() } else { Vec::new() },
            })
            .collect();
        let infos = nodes
            .iter()
            .map(|node| NodeInfo {
                node: node.node,
                shard: node.shard,
                boots_as_master: node.replica_of.is_none(),
                addr: format!("127.1.0.{}:6379", node.node.0).parse().unwrap(),
                id: format!("{:040x}", node.node.0),
                name: None,
            })
            .collect();
        let plan = Plan {
            name: "story".to_owned(),
            about: String::new(),
            seed: 1,
            server: "redis:6.2".to_owned(),
            nodes,
            config: BTreeMap::from([("cluster-node-timeout".to_owned(), "1000".into())]),
            workload: serde_json::from_value(json!({"keys": 600})).unwrap(),
            steps: Vec::new(),
            invariants: Vec::new(),
            recover_within: Span::secs(60),
            max_duration: Span::secs(600),
            if_impossible: slotquake_judge::suite::IfImpossible::End,
            speed: None,
            matrix: BTreeMap::new(),
        };
        let header = Header {
            schema_version: SCHEMA_VERSION,
            tool_version: "0.1.0".to_owned(),
            plan,
            server: serde_json::from_value(json!({
                "asked": "redis:6.2",
                "version": {"flavour": "redis", "major": 6, "minor": 2, "patch": 14},
                "path": "redis-server",
                "origin": "PATH",
            }))
            .unwrap(),
            other_servers: BTreeMap::new(),
            host: Host {
                os: "Linux".to_owned(),
                cores: 2,
                backend: slotquake_judge::server::BackendKind::Local.into(),
            },
            started_at: "2026-11-01T00:00:00Z".to_owned(),
            speed: Speed::REAL,
        };
        let history = History {
            header,
            ops: Vec::new(),
            reasons: Vec::new(),
            events: Vec::new(),
            details: Vec::new(),
            complete: false,
        };
        Self { history, next_value: BTreeMap::new(), faults: 0, client: 0, read_back: BTreeMap::new() }
            .event(0.0, EventKind::Phase { name: "boot".to_owned() })
            .views(100.0, 1..=6, &healthy())
            .event(400.0, EventKind::Booted { nodes: infos, took_ms: 400.0 })
            .config(410.0, 1000)
    }

    pub fn event(mut self, at_ms: f64, kind: EventKind) -> Self {
        self.history.events.push(Event { at_ns: ns(at_ms), kind });
        self
    }

    /// Changes the events so far.
    pub fn change_events(&mut self, change: impl Fn(&mut EventKind)) {
        self.history.events.iter_mut().for_each(|event| change(&mut event.kind));
    }

    pub fn config(self, at_ms: f64, node_timeout_ms: u64) -> Self {
        let values = BTreeMap::from([("cluster-node-timeout".to_owned(), node_timeout_ms.to_string())]);
        self.event(at_ms, EventKind::Config { values })
    }

    pub fn invariant(mut self, invariant: serde_json::Value) -> Self {
        self.history.header.plan.invariants.push(serde_json::from_value(invariant).unwrap());
        self
    }

    /// A step that succeeds, with events during it.
    pub fn step(mut self, at_ms: f64, step: serde_json::Value, within: impl FnOnce(Self, usize) -> Self) -> Self {
        let number = self.history.header.plan.steps.len();
        self.history.header.plan.steps.push(serde_json::from_value::<Step>(step).unwrap());
        let began = self.event(at_ms, EventKind::StepBegan { step: number });
        within(began, number).event(at_ms, EventKind::StepEnded { step: number, problem: None })
    }

    pub fn phase(self, at_ms: f64, name: &str) -> Self {
        self.step(at_ms, json!({"phase": name}), |story, _| {
            story.event(at_ms, EventKind::Phase { name: name.to_owned() })
        })
    }

    /// A fault at a node, proven 50 ms later; the node does not answer.
    pub fn fault(self, at_ms: f64, kind: FaultKind, node: u16, was_master: bool) -> Self {
        self.fault_injected(at_ms, kind, node, was_master).proven(at_ms + 50.0, true).silent(at_ms + 100.0, node)
    }

    /// The injection of a fault alone, without a proof.
    pub fn fault_injected(mut self, at_ms: f64, kind: FaultKind, node: u16, was_master: bool) -> Self {
        self.faults += 1;
        let fault = self.faults;
        let (kind_word, node) = (kind.to_string(), NodeNo(node));
        let target = node.to_string();
        self.step(at_ms, json!({ kind_word: target }), |story, _| {
            let shard = Some(ShardNo((node.0 - 1) % 3 + 1));
            story.event(at_ms, EventKind::FaultInjected { fault, kind, target, node, shard, was_master })
        })
    }

    /// A network fault, proven 50 ms later; nodes 1 to 3 are masters.
    pub fn network_fault(self, at_ms: f64, cut: Cut) -> Self {
        self.cut(at_ms, cut, |node| node <= 3)
    }

    /// The same, with all hit nodes as masters.
    pub fn master_cut(self, at_ms: f64, cut: Cut) -> Self {
        self.cut(at_ms, cut, |_| true)
    }

    fn cut(mut self, at_ms: f64, cut: Cut, is_master: impl Fn(u16) -> bool) -> Self {
        self.faults += 1;
        let fault = self.faults;
        let hits = |node: u16| Hit {
            node: NodeNo(node),
            shard: Some(ShardNo((node - 1) % 3 + 1)),
            was_master: is_master(node),
        };
        let side = |nodes: &[u16], clients: &[u16]| Side {
            nodes: nodes.iter().copied().map(NodeNo).collect(),
            clients: clients.iter().copied().map(ClientNo).collect(),
        };
        // Where all are hit, no side has a majority.
        let here = if cut.hits.len() == 6 { &cut.hits[..3] } else { cut.hits };
        let there: Vec<u16> = (1..=6).filter(|node| !here.contains(node)).collect();
        let injected = EventKind::NetworkFaultInjected {
            fault,
            name: format!("cut-{fault}"),
            kind: cut.kind,
            target: "one side | the other".to_owned(),
            sides: vec![side(here, cut.clients), side(&there, &[9])],
            only: cut.only,
            one_way: cut.one_way,
            pairs: 10,
            hits: cut.hits.iter().copied().map(hits).collect(),
        };
        let step = match cut.kind {
            FaultKind::Refuse => json!({"refuse": {"between": ["node-1", "others"]}}),
            FaultKind::Lossy => json!({"lossy": {"between": ["node-1", "others"], "percent": "50%"}}),
            FaultKind::Narrow => json!({"narrow": {"between": ["node-1", "others"], "rate": "20kB/s"}}),
            _ => json!({"partition": {"between": ["node-1", "others"]}}),
        };
        self.step(at_ms, step, |story, _| story.event(at_ms, injected))
            .event(at_ms + 50.0, EventKind::FaultProven { fault, in_effect: true, proof: "12 packets hit".to_owned() })
    }

    /// `node-1` and the first client cut off from everybody else.
    pub fn cut_off_node_1(self, at_ms: f64) -> Self {
        self.network_fault(at_ms, Cut::NODE_1)
    }

    /// So many clients write each key.
    pub fn writers(mut self, number: u16) -> Self {
        self.history.header.plan.workload.writers = number;
        self
    }

    /// The following operations are those of this client, numbered from 1.
    pub fn by_client(mut self, client: u16) -> Self {
        self.client = client - 1;
        self
    }

    pub fn proven(self, at_ms: f64, in_effect: bool) -> Self {
        let (fault, proof) = (self.faults, "process 4711 is gone".to_owned());
        self.event(at_ms, EventKind::FaultProven { fault, in_effect, proof })
    }

    pub fn silent(self, at_ms: f64, node: u16) -> Self {
        self.event(at_ms, EventKind::Silent { node: NodeNo(node), reason: "refused".to_owned() })
    }

    /// A fault is undone, and proven undone 50 ms later.
    pub fn heal(self, at_ms: f64, fault: u32) -> Self {
        self.event(at_ms, EventKind::FaultHealed { fault, by: "start".to_owned() })
            .event(at_ms + 50.0, EventKind::HealProven { fault, healed: true, proof: "PING is answered".to_owned() })
    }

    /// A node that is down is changed, as by a start with these settings.
    pub fn changed(self, at_ms: f64, node: u16, change: serde_json::Value) -> Self {
        let change = serde_json::from_value(change).unwrap();
        self.event(at_ms, EventKind::Changed { node: NodeNo(node), change, done: String::new() })
    }

    /// A node that was changed says what it is.
    pub fn came_back(
        self,
        at_ms: f64,
        node: u16,
        change: serde_json::Value,
        version: &str,
        config: &[(&str, &str)],
    ) -> Self {
        let found = CameBack {
            version: Version::numbered(Flavour::Valkey, version),
            run_id: "another".to_owned(),
            keys: Some(0),
            config: config.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            id: None,
            former_id: None,
            moved: None,
        };
        let change = serde_json::from_value(change).unwrap();
        self.event(at_ms, EventKind::CameBack { node: NodeNo(node), change, found, unlike: None })
    }

    pub fn view(self, at_ms: f64, node: u16, view: &View) -> Self {
        let mut view = view.clone();
        let own = &view.peers[&NodeNo(node)];
        view.link_up = (own.role != Role::Master).then_some(true);
        self.event(at_ms, EventKind::Viewed { node: NodeNo(node), view })
    }

    pub fn views(self, at_ms: f64, nodes: impl IntoIterator<Item = u16>, view: &View) -> Self {
        nodes.into_iter().fold(self, |story, node| story.view(at_ms, node, view))
    }

    pub fn lag(self, at_ms: f64, replica: u16, master: u16, bytes: u64, link_up: bool) -> Self {
        self.event(at_ms, EventKind::Lag { replica: NodeNo(replica), master: NodeNo(master), bytes, link_up })
    }

    /// `node-1` killed at 2 s, FAIL seen at 3.5 s, `node-4` promoted at 4.5 s, the others agree
    /// 100 ms later.
    pub fn failover_of_node_1(self) -> Self {
        let fail = flagged(healthy(), 1, Health::Fail);
        let after = flagged(taken_over(healthy(), 1, 4, 7), 1, Health::Fail);
        self.fault(2000.0, FaultKind::Kill, 1, true).views(3500.0, 2..=6, &fail).view(4500.0, 4, &after).views(
            4600.0,
            [2, 3, 5, 6],
            &after,
        )
    }

    /// The same, and `node-1` starts again at 6 s as a replica; all nodes agree at 6.3 s.
    pub fn node_1_back_as_replica(self) -> Self {
        self.heal(6000.0, 1).views(6300.0, 1..=6, &taken_over(healthy(), 1, 4, 7))
    }

    pub fn reason(&mut self, text: &str) -> u16 {
        let known = self.history.reasons.iter().position(|known| known.text == text);
        let position = known.unwrap_or_else(|| {
            self.history.reasons.push(Explanation::of_text(text));
            self.history.reasons.len() - 1
        });
        position as u16
    }

    fn op(mut self, kind: OpKind, key: u32, value: u32, (invoke, complete): (f64, f64), node: u16, what: What) -> Self {
        let outcome = match what {
            What::Ok => Outcome::Ok,
            What::Fail => Outcome::Fail(self.reason("refused")),
            What::Down => Outcome::Fail(self.reason("CLUSTERDOWN The cluster is down")),
            What::Unsent => Outcome::Unsent(self.reason(NO_FREE_KEY)),
            What::Info => Outcome::Info(self.reason("no answer within 5s")),
        };
        let (invoke_ns, complete_ns) = (ns(invoke), ns(complete));
        let due_ns = invoke_ns;
        let op = OpParts {
            due_ns,
            invoke_ns,
            complete_ns,
            key,
            value,
            client: self.client,
            node,
            kind,
            redirects: 0,
            outcome,
        };
        self.history.ops.push(op.try_into().expect("it fits"));
        self
    }

    /// A write with the next number of the key.
    pub fn write(mut self, key: u32, times: (f64, f64), node: u16, what: What) -> Self {
        let value = self.next_value.entry(key).or_insert(0);
        *value += 1;
        let value = *value;
        if what == What::Ok {
            self.read_back.insert(key, FinalValue::Number(value));
        }
        self.op(OpKind::Writes, key, value, times, node, what)
    }

    /// A write of which `value` is recorded: what it wrote, or what it returned.
    pub fn written(self, key: u32, value: u32, times: (f64, f64), what: What) -> Self {
        self.op(OpKind::Writes, key, value, times, 1, what)
    }

    /// A read that returns `value`.
    pub fn read(self, key: u32, value: u32, times: (f64, f64), what: What) -> Self {
        self.op(OpKind::Reads, key, value, times, 1, what)
    }

    /// A read that a node answered with `value`.
    pub fn read_from(self, node: u16, key: u32, value: u32, times: (f64, f64)) -> Self {
        self.op(OpKind::Reads, key, value, times, node, What::Ok)
    }

    /// Writes to a shard from `from_ms` on, one every 10 ms. Each takes 1 ms.
    pub fn writes(self, shard: u16, from_ms: f64, to_ms: f64, node: u16, what: What) -> Self {
        let count = ((to_ms - from_ms) / 10.0).round() as u32;
        (0..count).fold(self, |story, n| {
            let at = from_ms + f64::from(n) * 10.0;
            story.write(key_of(shard, n as usize % 5), (at, at + 1.0), node, what)
        })
    }

    /// Makes the last operation late: it was due earlier than it was issued.
    pub fn issued_late(mut self, by_ms: f64) -> Self {
        let op = self.history.ops.last_mut().unwrap();
        let parts = op.parts();
        *op = OpParts { due_ns: parts.invoke_ns - ns(by_ms), ..parts }.try_into().expect("it fits");
        self
    }

    /// The run lived at a speed, which was shown of these nodes: whether it holds.
    pub fn at_speed(mut self, speed: &str, shown: impl IntoIterator<Item = (u16, bool)>) -> Self {
        self.history.header.speed = speed.parse().unwrap();
        shown.into_iter().fold(self, |story, (node, holds)| {
            let proof = "its clock is 2.000 s behind slotquake's".to_owned();
            story.event(450.0, EventKind::SpeedProven { node: NodeNo(node), holds, proof })
        })
    }

    /// The final value of a key, if it is not that of its last acknowledged write.
    pub fn holds(mut self, key: u32, value: FinalValue) -> Self {
        self.read_back.insert(key, value);
        self
    }

    /// The key is not read back.
    pub fn not_read_back(mut self, key: u32) -> Self {
        self.read_back.remove(&key);
        self
    }

    /// The steps end; the cluster recovers 100 ms later, and every key is read back 200 ms later.
    pub fn ends(self, at_ms: f64) -> History {
        let recovered = EventKind::Recovered { recovered: true, took_ms: 100.0, last: String::new() };
        self.ends_with(at_ms, Some(recovered))
    }

    pub fn ends_with(mut self, at_ms: f64, recovery: Option<EventKind>) -> History {
        let read_back = std::mem::take(&mut self.read_back);
        let mut story =
            self.event(at_ms, EventKind::StepsEnded).event(at_ms, EventKind::Phase { name: "recovery".to_owned() });
        if let Some(recovery) = recovery {
            story = story.event(at_ms + 100.0, recovery);
        }
        story = story.event(at_ms + 100.0, EventKind::Phase { name: "final".to_owned() });
        for (key, value) in read_back {
            story = story.event(at_ms + 200.0, EventKind::FinalRead { key, node: Some(NodeNo(1)), value });
        }
        let mut history = story.event(at_ms + 300.0, EventKind::End).history;
        history.complete = true;
        history.events.sort_by_key(|event| event.at_ns);
        history.ops.sort_by_key(Op::complete_ns);
        history
    }

    /// The harness is killed here.
    pub fn breaks_off(mut self) -> History {
        self.history.events.sort_by_key(|event| event.at_ns);
        self.history
    }
}

/// A network fault between `hits` with `clients`, and everybody else.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    pub kind: FaultKind,
    pub only: Only,
    pub hits: &'static [u16],
    pub clients: &'static [u16],
    /// Whether the nodes that are hit still hear the others.
    pub one_way: bool,
}

impl Cut {
    pub const NODE_1: Self =
        Self { kind: FaultKind::Partition, only: Only::All, hits: &[1], clients: &[1], one_way: false };
}

/// The outcome of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Ok,
    Fail,
    /// Refused by a node without a majority.
    Down,
    Info,
    /// Not sent: the client had no free key.
    Unsent,
}

/// The judgement of an invariant by its name.
pub fn judged(history: &History, invariant: &str) -> Judgement {
    let judgements = check(&Facts::new(history));
    let found: Vec<&Judgement> = judgements.iter().filter(|judgement| judgement.invariant == invariant).collect();
    match found[..] {
        [one] => one.clone(),
        _ => panic!("{} judgements of {invariant} in {judgements:#?}", found.len()),
    }
}
