//! Faults of links: a rule between two sides, or in a shape, is put in force, proven, watched and lifted. Each effect
//! has a file that proves it. Connections across the links prove that a fault is gone.

mod cut;
mod lossy;
mod narrow;
mod slow;

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
use crate::network::knock::{Heard, Knock, sample};
use crate::network::rules::{Effect, Rule};
use crate::network::shape::Pairs;
use crate::network::{Counts, NetworkError};
use crate::slot::Deal;
use crate::speed;
use crate::suite::Only;
use crate::topology::Health;
use crate::units::{NodeNo, Span, Speed};

/// The time limit for a connection. On one machine it takes no time, and the kernel sends a lost SYN again only
/// after a second.
const SILENCE: Duration = Duration::from_millis(250);

/// The time limit for a lossy or narrow link to drop its first packet.
const LOSS_PROVEN_WITHIN: Duration = Duration::from_secs(20);

/// The time limit for connections across links whose fault was lifted.
const OPEN_WITHIN: Duration = Duration::from_secs(5);

/// After what time TCP sends a packet again at the earliest (`TCP_RTO_MIN` of Linux), and a SYN (RFC 6298, section 2).
const RETRANSMISSION: Duration = Duration::from_millis(200);
const RETRANSMISSION_OF_SYN: Duration = Duration::from_secs(1);

/// The most connections to try across one fault.
const MOST_KNOCKS: usize = 40;

const POLL: Duration = Duration::from_millis(50);

/// Where to look for the effect of a rule in force.
struct Across<'a, B> {
    control: &'a Arc<Control<B>>,
    /// The name of the rule.
    rule: &'a str,
    /// Connections across its links.
    knocks: &'a [Knock],
}

impl<B: Backend> Across<'_, B> {
    /// The packets that the rule has counted.
    async fn counts(&self) -> Result<Counts, StepProblem> {
        self.control.backend().counts(self.rule).await.map_err(|error| harness(&error))
    }
}

/// Puts faults of links in force and lifts them. Remembers which are in force.
#[derive(Debug)]
pub struct LinkInjector<B> {
    control: Arc<Control<B>>,
    journal: Arc<Journal>,
    ids: Arc<FaultIds>,
    deal: Deal,
    clients: u16,
    in_force: Vec<Guard>,
    watching: Watching<B>,
    /// Whether the reader knows about retransmissions.
    has_noted: bool,
}

/// A fault that the history holds and that is not yet proven to be undone.
#[derive(Debug)]
struct Guard {
    fault: u32,
    name: String,
    kind: FaultKind,
    only: Only,
    pairs: Pairs<Ipv4Addr>,
    /// The links of the cluster bus that it hits.
    bus_links: Pairs<NodeNo>,
    /// Whether it answers connections with a reset.
    refuses: bool,
    /// The time limit for a connection once it is lifted.
    open_takes: Duration,
    /// The name of its rule.
    rule: String,
    is_healing: bool,
    /// Why no look at it succeeded while it was in force, if none did.
    unseen: Option<String>,
}

impl<B: Backend> LinkInjector<B> {
    /// An injector without faults in force.
    pub fn new(
        control: Arc<Control<B>>,
        journal: Arc<Journal>,
        ids: Arc<FaultIds>,
        (deal, clients): (Deal, u16),
    ) -> Self {
        let watching = Watching::begin(&control, &journal);
        Self { control, journal, ids, deal, clients, in_force: Vec::new(), watching, has_noted: false }
    }

    /// The faults in force, by name.
    pub fn in_force(&self) -> impl Iterator<Item = (&str, FaultKind)> {
        self.in_force.iter().map(|fault| (fault.name.as_str(), fault.kind))
    }

    /// The name of a fault in force that hits a link of that node.
    pub fn of_node(&self, node: NodeNo) -> Option<&str> {
        let ip = self.ip(Party::Node(node))?;
        let hits = |fault: &&Guard| fault.pairs.iter().any(|&(from, to)| from == ip || to == ip);
        self.in_force.iter().find(hits).map(|fault| fault.name.as_str())
    }

    /// Injects a fault between the nodes that its sides mean now, and proves it.
    pub async fn inject(&mut self, wanted: &LinksFault<'_>, now: &Snapshot) -> Result<(), StepProblem> {
        let nodes = self.control.backend().size();
        let whole = Whole { now, nodes, deal: &self.deal, clients: self.clients };
        let split =
            split(wanted, &whole).map_err(|problem| StepProblem::Suite(format!("{}: {problem}", wanted.kind)))?;
        let effect = effect(wanted.effect, speed::current());
        let fault = self.ids.next();
        let name = wanted.name.map_or_else(|| format!("{}-{fault}", wanted.kind), str::to_owned);
        let rule = self.rule(&name, &split, wanted.only, effect)?;
        let knocks = self.knocks(&rule.pairs, wanted.only);
        let backend = self.control.backend();
        let before = if backend.counts_packets() { None } else { Some(backend.knock(&knocks, SILENCE).await) };
        let is_on_bus = matches!(wanted.only, Only::All | Only::Bus);
        let bus_links = split.pairs.iter().filter_map(|pair| match pair {
            (Party::Node(from), Party::Node(to)) if is_on_bus => Some((*from, *to)),
            _ => None,
        });
        self.in_force.push(Guard {
            fault,
            name: name.clone(),
            kind: wanted.kind,
            only: wanted.only,
            pairs: rule.pairs.clone(),
            bus_links: bus_links.collect(),
            refuses: effect == Effect::Refuse,
            open_takes: match effect {
                // Packets that are still delayed take twice the latency.
                Effect::Slow { latency_us, .. } => {
                    speed::real_span(Duration::from_micros(latency_us.max(5000))).min(SILENCE)
                }
                Effect::Drop | Effect::Refuse | Effect::Lossy(_) | Effect::Narrow { .. } => SILENCE,
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
        self.note_retransmissions(wanted.effect);

        let (in_effect, proof) = self.prove(wanted, &rule_name, &knocks, before.as_deref()).await?;
        self.journal.event(EventKind::FaultProven { fault, in_effect, proof: proof.clone() });
        if in_effect {
            self.watching.watch(fault, Sign::Rule(rule_name));
            return Ok(());
        }
        Err(StepProblem::Harness(format!("{} is not in effect: {proof}", wanted.kind)))
    }

    /// Tells the reader, once a run, that TCP is not faster at speed.
    fn note_retransmissions(&mut self, effect: LinkEffect) {
        let drops = match effect {
            LinkEffect::Drop | LinkEffect::Lossy(_) | LinkEffect::Narrow(_) => true,
            LinkEffect::Refuse | LinkEffect::Slow { .. } => false,
        };
        let speed = speed::current();
        if !drops || speed.is_real() || std::mem::replace(&mut self.has_noted, true) {
            return;
        }
        let (least, most) = (speed::real_span(RETRANSMISSION), speed::real_span(RETRANSMISSION_OF_SYN));
        let text = format!(
            "at speed {speed}, TCP sends what this fault drops again only after {} or more, and a SYN after {}: service may \
             return later than in real time",
            Span(least),
            Span(most)
        );
        self.journal.event(EventKind::Note { text });
    }

    /// Whether a fault of that name is in force; `all` is every one.
    pub fn has(&self, name: &str) -> bool {
        self.in_force.iter().any(|fault| name == "all" || fault.name == name)
    }

    /// Lifts the fault of that name, or `all`, and proves that packets pass and that the bus links are connected again.
    /// Bus links that are not connected after `links_within` are recorded, and are no problem of the step: the network
    /// is whole, the nodes must reconnect, and invariants judge that.
    pub async fn heal(&mut self, name: &str, watch: &Watch, links_within: Duration) -> Result<(), StepProblem> {
        let named = |fault: &&Guard| name == "all" || fault.name == name;
        let wanted: Vec<u32> = self.in_force.iter().filter(named).map(|fault| fault.fault).collect();
        self.undo(&wanted, watch, links_within).await
    }

    /// Lifts every fault that is in force.
    pub async fn heal_all(&mut self, watch: &Watch, links_within: Duration) -> Result<(), StepProblem> {
        let all: Vec<u32> = self.in_force.iter().map(|fault| fault.fault).collect();
        self.undo(&all, watch, links_within).await
    }

    /// Continues where an interrupted call stopped.
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
                failed(number, format!("network fault \"{}\" is lifted, but {proof}", self.in_force[position].name));
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
            // What is still in force is lifted again when the steps are over.
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

    /// Connections across a fault: one for each of its pairs and ports. Between a client and a node, the client
    /// connects.
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
        &self,
        wanted: &LinksFault<'_>,
        rule: &str,
        knocks: &[Knock],
        before: Option<&[Heard]>,
    ) -> Result<(bool, String), StepProblem> {
        let across = Across { control: &self.control, rule, knocks };
        match wanted.effect {
            LinkEffect::Drop => cut::prove(&across, before, &Heard::Silence).await,
            LinkEffect::Refuse => cut::prove(&across, before, &Heard::Refused).await,
            LinkEffect::Lossy(percent) => lossy::prove(&across, percent).await,
            LinkEffect::Narrow(rate) => narrow::prove(&across, wanted.only, rate).await,
            LinkEffect::Slow { latency, jitter } => slow::prove(&across, latency, jitter).await,
        }
    }

    /// Whether connections across a lifted fault succeed, on links that no other fault hits.
    async fn prove_open(&self, position: usize) -> (bool, String) {
        let healed = &self.in_force[position];
        let others: Vec<&Guard> = self.others(position).collect();
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
                // On an open link, a server that does not run refuses.
                let passes = match heard {
                    Heard::Open => true,
                    Heard::Refused if !healed.refuses => true,
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

    /// The bus links of a fault that no other fault hits.
    fn free_bus_links(&self, position: usize) -> Pairs<NodeNo> {
        let others: Vec<&Guard> = self.others(position).collect();
        let is_free = |(from, to): &(NodeNo, NodeNo)| {
            !others
                .iter()
                .any(|other| other.bus_links.contains(&(*from, *to)) || other.bus_links.contains(&(*to, *from)))
        };
        self.in_force[position].bus_links.iter().copied().filter(is_free).collect()
    }

    /// The other faults in force, without those that are being lifted.
    fn others(&self, position: usize) -> impl Iterator<Item = &Guard> {
        let others = self.in_force.iter().enumerate().filter(move |(other, _)| *other != position);
        others.map(|(_, fault)| fault).filter(|fault| !fault.is_healing)
    }
}

/// The two sides that a fault means now.
fn split(wanted: &LinksFault<'_>, whole: &Whole<'_>) -> Result<Split, String> {
    match (wanted.between, wanted.shape) {
        (Some(sides), None) => whole.between(sides, wanted.one_way, wanted.only),
        (None, Some(_)) if wanted.one_way => Err("a shape cannot be one-way: it has no first side".to_owned()),
        (None, Some(shape)) => whole.shape(shape),
        (None, None) | (Some(_), Some(_)) => Err("it needs either `between` or `shape`".to_owned()),
    }
}

/// The effect of the rule for a fault. The kernel takes rates and delays in real time.
fn effect(wanted: LinkEffect, speed: Speed) -> Effect {
    let microseconds = |span: Span| u64::try_from((span.0 / speed.factor()).as_micros()).unwrap_or(u64::MAX);
    match wanted {
        LinkEffect::Drop => Effect::Drop,
        LinkEffect::Refuse => Effect::Refuse,
        LinkEffect::Lossy(percent) => Effect::Lossy(percent),
        LinkEffect::Narrow(rate) => {
            Effect::Narrow { bytes_per_second: rate.bytes_per_second.saturating_mul(speed.factor().into()) }
        }
        LinkEffect::Slow { latency, jitter } => {
            Effect::Slow { latency_us: microseconds(latency), jitter_us: microseconds(jitter), class: 0 }
        }
    }
}

/// Whether each link is connected of which both ends answer. A server reports a link as connected from its first
/// attempt on, so the peer must not be flagged `fail?` either; its first answer clears that flag. `fail` may stay for
/// two more node timeouts (cluster specification, "Failure detection").
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_delays_are_given_to_the_kernel_in_real_time() {
        let narrow = LinkEffect::Narrow("20kB/s".parse().expect("a rate"));
        let slow = LinkEffect::Slow { latency: Span::millis(100), jitter: Span::millis(20) };
        for (speed, bytes_per_second, latency_us, jitter_us) in
            [("1", 20_000, 100_000, 20_000), ("10", 200_000, 10_000, 2_000)]
        {
            let speed = speed.parse().expect("a speed");
            assert_eq!(effect(narrow, speed), Effect::Narrow { bytes_per_second });
            assert_eq!(effect(slow, speed), Effect::Slow { latency_us, jitter_us, class: 0 });
            assert_eq!(effect(LinkEffect::Drop, speed), Effect::Drop);
        }
    }
}
