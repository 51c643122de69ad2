//! Faults of the network: imposed on the links between two sides, or in a shape; proven by what they
//! count and by connections tried across; lifted, and that proven too.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::FaultIds;
use super::sides::{Party, Split, Whole};
use super::watching::{Sign, Watching, with_unseen};
use crate::cluster::watch::{Snapshot, Watch};
use crate::cluster::{Backend, Control, ProcessState};
use crate::fault::{FaultKind, LinkEffect, LinksFault};
use crate::history::{EventKind, Hit, StepProblem};
use crate::journal::Journal;
use crate::network::knock::{Heard, Knock, round_trip, sample};
use crate::network::rules::{Effect, Rule};
use crate::network::shape::Pairs;
use crate::network::{Counts, NetworkError};
use crate::slot::Deal;
use crate::suite::Only;
use crate::topology::Health;
use crate::units::{NodeNo, Span};

/// A connection that is not made by now is not made: on one machine that takes no time, and a SYN
/// that was dropped is sent again after a second.
const SILENCE: Duration = Duration::from_millis(250);

/// How long a cut or a refusal may take to count a packet. The connections tried are counted too.
const CUT_PROVEN_WITHIN: Duration = Duration::from_secs(2);

/// How long a loss or a narrow link may take to drop its first packet.
const LOSS_PROVEN_WITHIN: Duration = Duration::from_secs(20);

/// A narrow link that the workload did not fill by now is filled by the harness.
const PUSH_AFTER: Duration = Duration::from_secs(1);

/// How long connections across a fault that was lifted may take to be made.
const OPEN_WITHIN: Duration = Duration::from_secs(5);

/// As many links of one fault are tried.
const MOST_KNOCKS: usize = 40;

const POLL: Duration = Duration::from_millis(50);

/// Imposes faults of the network and lifts them; remembers which are in force.
#[derive(Debug)]
pub struct NetworkInjector<B> {
    control: Arc<Control<B>>,
    journal: Arc<Journal>,
    ids: Arc<FaultIds>,
    deal: Deal,
    clients: u16,
    in_force: Vec<InForce>,
    watching: Watching<B>,
}

/// A fault that was announced in the history, and is not yet proven to be undone.
#[derive(Debug)]
struct InForce {
    fault: u32,
    name: String,
    kind: FaultKind,
    only: Only,
    pairs: Pairs<Ipv4Addr>,
    /// Links of the cluster bus that it hits.
    bus_links: Pairs<NodeNo>,
    /// Within what a connection is made once it is lifted.
    open_takes: Duration,
    /// The name of its rule.
    rule: String,
    is_healing: bool,
    /// Why nothing showed its effect while it was in force, if so.
    unseen: Option<String>,
}

impl<B: Backend> NetworkInjector<B> {
    /// An injector without faults in force, for a cluster whose slots are dealt so and a workload of so many
    /// clients.
    pub fn new(
        control: Arc<Control<B>>,
        journal: Arc<Journal>,
        ids: Arc<FaultIds>,
        (deal, clients): (Deal, u16),
    ) -> Self {
        let watching = Watching::begin(&control, &journal);
        Self { control, journal, ids, deal, clients, in_force: Vec::new(), watching }
    }

    /// The faults in force, by name.
    pub fn in_force(&self) -> impl Iterator<Item = (&str, FaultKind)> {
        self.in_force.iter().map(|fault| (fault.name.as_str(), fault.kind))
    }

    /// Imposes a fault on those whom it means now, and proves it.
    pub async fn inject(&mut self, wanted: &LinksFault<'_>, now: &Snapshot) -> Result<(), StepProblem> {
        let nodes = self.control.backend().size();
        let whole = Whole { now, nodes, deal: &self.deal, clients: self.clients };
        let split =
            split(wanted, &whole).map_err(|problem| StepProblem::Suite(format!("{}: {problem}", wanted.kind)))?;
        let effect = effect(wanted.effect);
        let fault = self.ids.next();
        let name = wanted.name.map_or_else(|| format!("{}-{fault}", wanted.kind), str::to_owned);
        if self.in_force.iter().any(|other| other.name == name) {
            return Err(StepProblem::Suite(format!(
                "{}: a network fault `{name}` is in force already (hint: heal it first, or give this one another name)",
                wanted.kind
            )));
        }
        let rule = self.rule(&name, &split, wanted.only, effect)?;
        let knocks = self.knocks(&rule.pairs, wanted.only);
        let backend = self.control.backend();
        let before = if backend.counts_packets() { None } else { Some(backend.knock(&knocks, SILENCE).await) };
        let is_on_bus = matches!(wanted.only, Only::All | Only::Bus);
        let bus_links = split.pairs.iter().filter_map(|pair| match pair {
            (Party::Node(from), Party::Node(to)) if is_on_bus => Some((*from, *to)),
            _ => None,
        });
        self.in_force.push(InForce {
            fault,
            name: name.clone(),
            kind: wanted.kind,
            only: wanted.only,
            pairs: rule.pairs.clone(),
            bus_links: bus_links.collect(),
            open_takes: match effect {
                // While it is delayed, it takes twice the latency.
                Effect::Slow { latency_us, .. } => Duration::from_micros(latency_us.max(5000)).min(SILENCE),
                _ => SILENCE,
            },
            rule: rule.name.clone(),
            is_healing: false,
            unseen: None,
        });
        self.journal.event(EventKind::NetworkFaultInjected {
            fault,
            name,
            kind: wanted.kind,
            target: wanted.to_string(),
            sides: split.sides.clone(),
            only: wanted.only,
            one_way: wanted.one_way,
            pairs: rule.pairs.len(),
            hits: split.hits.iter().map(|&node| self.hit(node, now)).collect(),
        });
        let rule_name = rule.name.clone();
        self.control.backend().impose(rule).await.map_err(|error| harness(&error))?;
        self.journal.event(EventKind::FaultApplied { fault });

        let (in_effect, proof) = self.prove(wanted, &knocks, before.as_deref()).await?;
        self.journal.event(EventKind::FaultProven { fault, in_effect, proof: proof.clone() });
        if in_effect {
            self.watching.watch(fault, Sign::Rule(rule_name));
            return Ok(());
        }
        Err(StepProblem::Harness(format!("{} is not in effect: {proof}", wanted.kind)))
    }

    /// Lifts the fault of that name, or `all`, and proves that packets pass again and that the nodes'
    /// bus links are connected again. That they are not by `links_within` is recorded, and no problem
    /// of the step: the network is whole, and the rest is for the nodes to do and for others to judge.
    pub async fn heal(&mut self, name: &str, watch: &Watch, links_within: Duration) -> Result<(), StepProblem> {
        let wanted: Vec<u32> =
            self.in_force.iter().filter(|fault| name == "all" || fault.name == name).map(|fault| fault.fault).collect();
        if wanted.is_empty() {
            let names: Vec<&str> = self.in_force.iter().map(|fault| fault.name.as_str()).collect();
            return Err(StepProblem::Suite(match names.as_slice() {
                [] => format!("heal: {name}: no network fault is in force (hint: leave the step out)"),
                names => {
                    format!("heal: no network fault `{name}` is in force (hint: `{}` or `all`)", names.join("`, `"))
                }
            }));
        }
        self.undo(&wanted, watch, links_within).await
    }

    /// Lifts every fault that is still in force.
    pub async fn heal_all(&mut self, watch: &Watch, links_within: Duration) -> Result<(), StepProblem> {
        let all: Vec<u32> = self.in_force.iter().map(|fault| fault.fault).collect();
        self.undo(&all, watch, links_within).await
    }

    /// Takes up where an earlier call was cut short.
    async fn undo(&mut self, wanted: &[u32], watch: &Watch, links_within: Duration) -> Result<(), StepProblem> {
        let mut problems = Vec::new();
        let mut failed = |fault: u32, reason: String| {
            self.journal.event(EventKind::HealFailed { fault, reason: reason.clone() });
            problems.push(reason);
        };
        for fault in self.in_force.iter_mut().filter(|fault| wanted.contains(&fault.fault)) {
            if !fault.is_healing {
                fault.unseen = self.watching.release(fault.fault).await;
                self.journal.event(EventKind::FaultHealed { fault: fault.fault, by: "heal".to_owned() });
                fault.is_healing = true;
            }
            match self.control.backend().lift(&fault.rule).await {
                Ok(()) => _ = self.journal.event(EventKind::FaultLifted { fault: fault.fault }),
                Err(error) => failed(fault.fault, error.to_string()),
            }
        }
        for &number in wanted {
            let Some(position) = self.in_force.iter().position(|fault| fault.fault == number) else { continue };
            let (is_open, mut proof) = self.prove_open(position).await;
            if !is_open {
                failed(number, format!("`{}` is lifted, and yet {proof}", self.in_force[position].name));
            }
            let mut healed = is_open;
            let links = self.free_bus_links(position);
            if !links.is_empty() {
                let connected = watch.until(links_within, |now| connected(&links, now)).await;
                healed &= connected.is_ok();
                proof = match connected {
                    Ok(()) => format!("{proof}; bus links are connected"),
                    Err(missing) => format!("{proof}; within {}, {missing}", Span(links_within)),
                };
            }
            let proof = with_unseen(proof, self.in_force[position].unseen.as_deref());
            self.journal.event(EventKind::HealProven { fault: number, healed, proof });
            // What could not be lifted is tried again when the steps are over.
            if is_open {
                self.in_force.remove(position);
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(StepProblem::Harness(problems.join("; "))) }
    }

    fn rule(&self, name: &str, split: &Split, only: Only, effect: Effect) -> Result<Rule, StepProblem> {
        let mut clients = BTreeSet::new();
        let mut pairs = Pairs::new();
        for &(from, to) in &split.pairs {
            let is_of_client = [from, to].iter().any(|party| matches!(party, Party::Client(_)));
            if is_of_client && matches!(only, Only::Bus | Only::Replication) {
                continue;
            }
            let [from, to] = [from, to].map(|party| match (party, self.ip(party)) {
                (Party::Client(_), Some(ip)) => {
                    clients.insert(ip);
                    Some(ip)
                }
                (_, ip) => ip,
            });
            let no_address =
                || "nodes and clients have no addresses of their own here, so no link can be cut".to_owned();
            pairs.insert(from.zip(to).ok_or_else(no_address).map_err(StepProblem::Harness)?);
        }
        // Runs side by side share the network; each cluster has its own second octet.
        let octet = self.ip(Party::Node(NodeNo(1))).map_or(0, |ip| ip.octets()[1]);
        Rule::new(format!("net{octet}-{name}"), &pairs, only, &clients, effect)
            .map_err(|error| StepProblem::Suite(error.to_string()))
    }

    fn ip(&self, party: Party) -> Option<Ipv4Addr> {
        let ip = match party {
            Party::Node(node) => Some(self.control.backend().announced(node).ip()),
            Party::Client(client) => self.control.backend().client_ip(client),
        };
        match ip {
            Some(IpAddr::V4(ip)) => Some(ip),
            _ => None,
        }
    }

    fn hit(&self, node: NodeNo, now: &Snapshot) -> Hit {
        let shard = now.shard_of(node, &self.deal);
        Hit { node, shard, was_master: shard.is_some_and(|shard| now.master(shard, &self.deal) == Some(node)) }
    }

    /// Connections across a fault: one for each of its pairs and ports, from a client to a node where
    /// one of both is a client.
    fn knocks(&self, pairs: &Pairs<Ipv4Addr>, only: Only) -> Vec<Knock> {
        let at = |ip: Ipv4Addr| {
            self.control.nodes().find_map(|node| match self.control.backend().announced(node) {
                SocketAddr::V4(addr) if *addr.ip() == ip => Some((node, addr.port())),
                _ => None,
            })
        };
        let knocks: BTreeSet<Knock> = pairs
            .iter()
            .filter_map(|&(from, to)| {
                let (from, to, (node, data)) = match at(to) {
                    Some(node) => (from, to, node),
                    None => (to, from, at(from)?),
                };
                if !self.control.backend().can_knock_from(from) {
                    return None;
                }
                let bus = self.control.backend().bus_port(node);
                let ports = match only {
                    Only::Bus => vec![bus],
                    Only::All if at(from).is_some() => vec![data, bus],
                    Only::All | Only::Clients | Only::Replication => vec![data],
                };
                Some(ports.into_iter().map(move |port| Knock { from, to: SocketAddrV4::new(to, port), node }))
            })
            .flatten()
            .collect();
        sample(&knocks.into_iter().collect::<Vec<_>>(), MOST_KNOCKS)
    }

    async fn prove(
        &mut self,
        wanted: &LinksFault<'_>,
        knocks: &[Knock],
        before: Option<&[Heard]>,
    ) -> Result<(bool, String), StepProblem> {
        match effect(wanted.effect) {
            Effect::Drop => self.prove_cut(knocks, before, &Heard::Silence).await,
            Effect::Refuse => self.prove_cut(knocks, before, &Heard::Refused).await,
            Effect::Lossy(percent) => self.prove_lossy(knocks, percent.fraction() >= 1.0).await,
            Effect::Narrow { bytes_per_second } => self.prove_narrow(knocks, wanted.only, bytes_per_second).await,
            Effect::Slow { latency_us, jitter_us, .. } => {
                let [latency, jitter] = [latency_us, jitter_us].map(Duration::from_micros);
                self.prove_slow(knocks, latency, jitter).await
            }
        }
    }

    async fn prove_cut(
        &mut self,
        knocks: &[Knock],
        before: Option<&[Heard]>,
        expected: &Heard,
    ) -> Result<(bool, String), StepProblem> {
        let heard = self.control.backend().knock(knocks, SILENCE).await;
        let rule = &self.in_force.last().expect("it was just imposed").rule;
        let (shows, seen) = match (self.control.backend().isolation(rule).await, before) {
            (Some(Ok(isolation)), _) => isolation,
            (Some(Err(error)), _) => (false, error.to_string()),
            (None, Some(before)) => was_open(knocks, before),
            (None, None) => self.hits_packets().await?,
        };
        let across = match knocks.iter().zip(&heard).find(|(_, heard)| *heard != expected) {
            Some((knock, heard)) => Err(format!("a connection {knock} {heard}")),
            None if knocks.is_empty() => Err("no connection could be tried across".to_owned()),
            None => Ok(format!("each of {} connections across {expected}, such as {}", knocks.len(), knocks[0])),
        };
        let in_effect = across.is_ok() && shows;
        let across = across.unwrap_or_else(|seen| seen);
        Ok((in_effect, format!("{across}; {seen}")))
    }

    async fn hits_packets(&self) -> Result<(bool, String), StepProblem> {
        let deadline = Instant::now() + CUT_PROVEN_WITHIN;
        loop {
            let hit = self.counts().await?.hit.packets;
            if hit > 0 || Instant::now() > deadline {
                return Ok((hit > 0, format!("{hit} packets hit")));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Connections are tried until one packet was lost and one got through.
    async fn prove_lossy(&mut self, knocks: &[Knock], loses_all: bool) -> Result<(bool, String), StepProblem> {
        let deadline = Instant::now() + LOSS_PROVEN_WITHIN;
        loop {
            let Counts { seen, hit } = self.counts().await?;
            let in_effect = hit.packets > 0 && (loses_all || seen.packets > hit.packets);
            if in_effect || Instant::now() > deadline {
                return Ok((in_effect, format!("{} of {} packets lost", hit.packets, seen.packets)));
            }
            self.control.backend().knock(knocks, POLL).await;
        }
    }

    /// Its bucket must run over, which the harness sees to if the workload does not. Not on the bus,
    /// where a node would not take it.
    async fn prove_narrow(
        &mut self,
        knocks: &[Knock],
        only: Only,
        bytes_per_second: u64,
    ) -> Result<(bool, String), StepProblem> {
        let began = Instant::now();
        let mut filling: Option<tokio::task::JoinHandle<_>> = None;
        let result = loop {
            let Counts { seen, hit } = self.counts().await?;
            if hit.packets > 0 || began.elapsed() > LOSS_PROVEN_WITHIN {
                let by = if filling.is_some() { ", filled by the harness" } else { "" };
                let seen = format!("{} of {} bytes held up{by}", hit.bytes, seen.bytes);
                break (hit.packets > 0, seen);
            }
            if filling.is_none()
                && began.elapsed() > PUSH_AFTER
                && only != Only::Bus
                && let Some(&knock) = knocks.first()
            {
                // A second's worth and 64 KiB are in the bucket, and it is filled up meanwhile.
                let control = Arc::clone(&self.control);
                let bytes = bytes_per_second * 4 + 1_000_000;
                filling = Some(tokio::spawn(async move { control.backend().fill(knock, bytes).await }));
            }
            tokio::time::sleep(POLL).await;
        };
        if let Some(filling) = filling {
            filling.abort();
        }
        Ok(result)
    }

    /// PING and its answer are delayed once each. The first node that answers at all is measured.
    async fn prove_slow(
        &mut self,
        knocks: &[Knock],
        latency: Duration,
        jitter: Duration,
    ) -> Result<(bool, String), StepProblem> {
        let at_least = (latency.saturating_sub(jitter) * 2).max(Duration::from_micros(1));
        let mut measured = Err("no connection could be tried across".to_owned());
        for knock in
            knocks.iter().filter(|knock| self.control.backend().announced(knock.node).port() == knock.to.port())
        {
            measured = round_trip(knock, (latency + jitter) * 4 + Duration::from_secs(1)).await;
            if measured.is_ok() {
                break;
            }
        }
        let hit = self.counts().await?.hit.packets;
        let in_effect = hit > 0 && measured.as_ref().is_ok_and(|took| *took >= at_least);
        let measured = measured.map_or_else(|error| error, |took| format!("PING is answered after {took:.1?}"));
        Ok((in_effect, format!("{measured}; {hit} packets delayed")))
    }

    /// What the newest fault has counted.
    async fn counts(&self) -> Result<Counts, StepProblem> {
        let fault = self.in_force.last().expect("it was just imposed");
        self.control.backend().counts(&fault.rule).await.map_err(|error| harness(&error))
    }

    /// Whether connections can be made across a fault that was lifted, where no other one hits them.
    async fn prove_open(&self, position: usize) -> (bool, String) {
        let healed = &self.in_force[position];
        let others: Vec<&InForce> = self.others(position).collect();
        let is_free = |(from, to): &(Ipv4Addr, Ipv4Addr)| {
            !others.iter().any(|other| other.pairs.contains(&(*from, *to)) || other.pairs.contains(&(*to, *from)))
        };
        let free: Pairs<Ipv4Addr> = healed.pairs.iter().copied().filter(is_free).collect();
        let knocks = self.knocks(&free, healed.only);
        if knocks.is_empty() {
            return (true, "its rule is gone; every link of it is hit by another fault".to_owned());
        }
        let deadline = Instant::now() + OPEN_WITHIN;
        loop {
            let heard = self.control.backend().knock(&knocks, healed.open_takes).await;
            let mut shut = None;
            for (knock, heard) in knocks.iter().zip(heard) {
                // Behind an open link a server that is not running refuses.
                let passes = match heard {
                    Heard::Open => true,
                    Heard::Refused if healed.kind != FaultKind::Refuse => true,
                    Heard::Refused => {
                        matches!(self.control.backend().state(knock.node).await, ProcessState::Gone { .. })
                    }
                    Heard::Silence | Heard::Other(_) => false,
                };
                if !passes {
                    shut = Some(format!("a connection {knock} {heard}"));
                }
            }
            match shut {
                None => return (true, format!("each of {} connections across is made again", knocks.len())),
                Some(shut) if Instant::now() > deadline => return (false, shut),
                Some(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Its bus links that no other fault hits.
    fn free_bus_links(&self, position: usize) -> Pairs<NodeNo> {
        let others: Vec<&InForce> = self.others(position).collect();
        let is_free = |(from, to): &(NodeNo, NodeNo)| {
            !others
                .iter()
                .any(|other| other.bus_links.contains(&(*from, *to)) || other.bus_links.contains(&(*to, *from)))
        };
        self.in_force[position].bus_links.iter().copied().filter(is_free).collect()
    }

    /// The faults that are in force beside one, those excepted that are being lifted too.
    fn others(&self, position: usize) -> impl Iterator<Item = &InForce> {
        let others = self.in_force.iter().enumerate().filter(move |(other, _)| *other != position);
        others.map(|(_, fault)| fault).filter(|fault| !fault.is_healing)
    }
}

/// Whom a fault means now.
fn split(wanted: &LinksFault<'_>, whole: &Whole<'_>) -> Result<Split, String> {
    match (wanted.between, wanted.shape) {
        (Some(sides), None) => whole.between(sides, wanted.one_way, wanted.only),
        (None, Some(_)) if wanted.one_way => Err("a shape has no first side, so it cannot be one-way".to_owned()),
        (None, Some(shape)) => whole.shape(shape),
        (None, None) | (Some(_), Some(_)) => Err("it needs either `between` or `shape`".to_owned()),
    }
}

/// What the rules of a fault do.
fn effect(wanted: LinkEffect) -> Effect {
    let microseconds = |span: Span| u64::try_from(span.0.as_micros()).unwrap_or(u64::MAX);
    match wanted {
        LinkEffect::Drop => Effect::Drop,
        LinkEffect::Refuse => Effect::Refuse,
        LinkEffect::Lossy(percent) => Effect::Lossy(percent),
        LinkEffect::Narrow(rate) => Effect::Narrow { bytes_per_second: rate.bytes_per_second },
        LinkEffect::Slow { latency, jitter } => {
            Effect::Slow { latency_us: microseconds(latency), jitter_us: microseconds(jitter), class: 0 }
        }
    }
}

/// Whether something was heard on each connection before a cut, so that silence after it is the cut's doing.
fn was_open(knocks: &[Knock], before: &[Heard]) -> (bool, String) {
    match knocks.iter().zip(before).find(|(_, heard)| !matches!(heard, Heard::Open | Heard::Refused)) {
        Some((knock, heard)) => (false, format!("before the cut, too, a connection {knock} {heard}")),
        None => (true, "none of them was before the cut".to_owned()),
    }
}

/// Whether those of the links are connected of which both ends answer. A server calls a link connected
/// from its first attempt on, so the peer must not be flagged `fail?` either, which its first answer
/// ends; `fail` may stay for two node timeouts more, by the rules.
fn connected(links: &Pairs<NodeNo>, now: &Snapshot) -> Result<(), String> {
    for (from, to) in links {
        let (Some(view), true) = (now.views.get(from), now.views.contains_key(to)) else { continue };
        match view.peers.get(to) {
            Some(peer) if !peer.link_connected => {
                return Err(format!("the bus link from {from} to {to} is not connected"));
            }
            Some(peer) if peer.health == Health::Pfail => {
                return Err(format!("{from} has had no answer from {to} over the bus"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn harness(error: &NetworkError) -> StepProblem {
    StepProblem::Harness(error.to_string())
}
