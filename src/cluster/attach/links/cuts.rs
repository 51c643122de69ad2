//! Cuts links with the user's hooks.
//!
//! A cut drops packets where they arrive. The hook `cut` runs for each node that must no longer receive packets from
//! certain others, with `SLOTQUAKE_FROM` (their IPv4 addresses), `SLOTQUAKE_PORTS` (the TCP ports, at either end) and
//! `SLOTQUAKE_FAULT` (a name that is unique among the active cuts). Commas separate the items of lists. `heal` receives
//! exactly the same as the `cut` that it undoes. There are no counters to prove a cut, so `knock` receives a bash script
//! on its standard input and runs it on the node's host. The script tries connections across the cut, before and after
//! it, and prints the results.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Mutex;

use crate::cluster::attach::access::hooks::{Call, Emit, Hooks};
use crate::cluster::attach::error::AttachError;
use crate::cluster::attach::ledger::{Ledger, LedgerNode, NodeCut, joined};
use crate::network::NetworkError;
use crate::network::knock::{self, Heard, Knock};
use crate::network::rules::{Effect, Rule};
use crate::suite::Only;
use crate::units::NodeNo;

/// The time limit of a test connection between machines. A lost SYN is sent again only after a second, but waiting for
/// that would prolong every cut.
const SILENCE: Duration = Duration::from_millis(500);

/// The cuts of one run. Its ledger lists the active ones.
#[derive(Debug)]
pub(crate) struct Cuts {
    hooks: Arc<Hooks>,
    places: Vec<LedgerNode>,
    ledger: Ledger,
    one_at_a_time: Mutex<()>,
}

impl Cuts {
    /// The cuts in a ledger.
    pub fn new(hooks: Arc<Hooks>, ledger: Ledger) -> Self {
        Self { hooks, places: ledger.changes().places, ledger, one_at_a_time: Mutex::default() }
    }

    /// Cuts the links of a rule.
    pub async fn impose(&self, rule: Rule, emit: Emit<'_>) -> Result<(), NetworkError> {
        rule.validate()?;
        let node_cuts = node_cuts(&rule, &self.places)?;
        let _turn = self.one_at_a_time.lock().await;
        if self.ledger.changes().cuts.contains_key(&rule.name) {
            return Err(NetworkError::Duplicate(rule.name));
        }
        // Record the cut first, so that an interrupted run can still be undone.
        let (name, recorded) = (rule.name.clone(), node_cuts.clone());
        self.ledger.note(move |changes| drop(changes.cuts.insert(name, recorded))).await?;
        let done = join_all(node_cuts.iter().map(|node_cut| self.run("cut", &rule.name, node_cut, emit))).await;
        Ok(done.into_iter().collect::<Result<(), _>>()?)
    }

    /// Heals the links that the rule of that name cut. Links that cannot be healed stay in the ledger.
    pub async fn lift(&self, name: &str, emit: Emit<'_>) -> Result<(), NetworkError> {
        let _turn = self.one_at_a_time.lock().await;
        let Some(node_cuts) = self.ledger.changes().cuts.remove(name) else { return Ok(()) };
        let done = join_all(node_cuts.iter().map(|node_cut| self.run("heal", name, node_cut, emit))).await;
        let left = node_cuts.into_iter().zip(&done).filter(|(_, done)| done.is_err()).map(|(node_cut, _)| node_cut);
        let (name, left) = (name.to_owned(), left.collect::<Vec<_>>());
        self.ledger
            .forget(move |changes| {
                changes.cuts.insert(name, left);
                changes.cuts.retain(|_, left| !left.is_empty());
            })
            .await;
        Ok(done.into_iter().collect::<Result<(), _>>()?)
    }

    /// Heals all links. Returns those that cannot be healed, with hints.
    pub async fn clear(&self, emit: Emit<'_>) -> Vec<String> {
        let mut left = Vec::new();
        for name in self.ledger.changes().cuts.into_keys() {
            let Err(error) = self.lift(&name, emit).await else { continue };
            let node_cuts = self.ledger.changes().cuts.remove(&name).unwrap_or_default();
            let cut: Vec<String> = node_cuts.iter().map(|node_cut| node_cut.summary(&self.places)).collect();
            left.push(format!(
                "links may be cut: {}: {error} (hint: remove what the hook `cut` put there)",
                cut.join(" and ")
            ));
        }
        left
    }

    /// Drops the cuts that could not be healed from the ledger, if connections come through both ways. This happens
    /// when a run was killed just before its hook cut, or just after its hook healed.
    pub async fn forget_healed(&self, emit: Emit<'_>) -> bool {
        let node_cuts: Vec<NodeCut> = self.ledger.changes().cuts.into_values().flatten().collect();
        let knocks: Vec<Knock> = node_cuts.iter().flat_map(|node_cut| across(node_cut, &self.places)).collect();
        let heard = self.knock(&knocks, SILENCE, emit).await;
        let is_whole = !knocks.is_empty() && heard.iter().all(|heard| *heard == Heard::Open);
        if is_whole {
            self.ledger.forget(|changes| changes.cuts.clear()).await;
        }
        is_whole
    }

    async fn run(
        &self,
        hook: &'static str,
        fault: &str,
        node_cut: &NodeCut,
        emit: Emit<'_>,
    ) -> Result<(), AttachError> {
        let environment = vec![
            ("SLOTQUAKE_FAULT", fault.to_owned()),
            ("SLOTQUAKE_FROM", joined(&node_cut.from)),
            ("SLOTQUAKE_PORTS", joined(&node_cut.ports)),
        ];
        self.hooks.act(Call { environment, ..Call::new(hook, &self.places[node_cut.node.index()].node) }, emit).await
    }

    /// Tries all connections at once, those from nodes by the hook `knock`.
    pub async fn knock(&self, knocks: &[Knock], within: Duration, emit: Emit<'_>) -> Vec<Heard> {
        let within = within.max(SILENCE);
        let from = |place: Option<usize>, own: Vec<Knock>| async move {
            let Some(at) = place else { return knock::knock_all(&own, within).await };
            let to: Vec<_> = own.iter().map(|knock| knock.to).collect();
            self.hooks.knock(&self.places[at].node, &to, within, emit).await
        };
        knock::by_place(knocks, |ip| place_of(ip, &self.places), from).await
    }
}

fn place_of(ip: Ipv4Addr, places: &[LedgerNode]) -> Option<usize> {
    places.iter().position(|place| place.node.addr.ip() == IpAddr::V4(ip))
}

/// The connections that a cut affects, from either end.
fn across(node_cut: &NodeCut, places: &[LedgerNode]) -> Vec<Knock> {
    let at = &places[node_cut.node.index()];
    let knocks = |from: Ipv4Addr, to: &LedgerNode| {
        let SocketAddr::V4(addr) = to.node.addr else { return Vec::new() };
        let ports = [addr.port(), to.bus_port].into_iter().filter(|port| node_cut.ports.contains(port));
        let knock = |port| Knock { from, to: SocketAddrV4::new(*addr.ip(), port), node: to.node.node };
        ports.map(knock).collect()
    };
    let there = |&from: &Ipv4Addr| knocks(from, at);
    let back = |&from: &Ipv4Addr| match (at.node.addr.ip(), place_of(from, places)) {
        (IpAddr::V4(ip), Some(to)) => knocks(ip, &places[to]),
        _ => Vec::new(),
    };
    node_cut.from.iter().flat_map(|from| [there(from), back(from)].concat()).collect()
}

/// Splits a rule into the cuts of the nodes that receive fewer packets by it.
fn node_cuts(rule: &Rule, places: &[LedgerNode]) -> Result<Vec<NodeCut>, NetworkError> {
    let cannot = |what: &str| Err(NetworkError::Hook(format!("hooks cannot do this: {what}")));
    if rule.effect != Effect::Drop {
        return cannot("they can only cut links");
    }
    // Nothing drops packets to clients, but a client that cannot reach a node gets no answer from it anyway.
    let is_one_way = |(from, to): &&(Ipv4Addr, Ipv4Addr)| !rule.pairs.contains(&(*to, *from));
    if rule.pairs.iter().filter(is_one_way).any(|(_, to)| place_of(*to, places).is_none()) {
        return cannot("a cut drops packets where they arrive, and clients have no hooks");
    }
    let ports = |at: usize| {
        let LedgerNode { node, bus_port } = &places[at];
        match rule.only {
            Only::All => vec![node.addr.port(), *bus_port],
            Only::Bus => vec![*bus_port],
            Only::Clients | Only::Replication => vec![node.addr.port()],
        }
    };
    let node_cuts = (0..places.len()).filter_map(|at| {
        let comes = rule.pairs.iter().filter(|(_, to)| place_of(*to, places) == Some(at));
        let from: BTreeSet<Ipv4Addr> = comes.map(|(from, _)| *from).collect();
        // A connection has a node's port at either end.
        let ends = from.iter().filter_map(|&ip| place_of(ip, places)).chain([at]);
        let ports = ends.flat_map(ports).collect();
        (!from.is_empty()).then_some(NodeCut { node: NodeNo::from_index(at), from, ports })
    });
    Ok(node_cuts.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::NodeInfo;
    use crate::network::shape::{Pairs, between};
    use crate::units::{Percent, ShardNo};

    const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);

    fn ip(number: u16) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, number as u8)
    }

    /// Three nodes. The third has different ports.
    fn places() -> Vec<LedgerNode> {
        let place = |(number, port, bus_port): (u16, u16, u16)| LedgerNode {
            node: NodeInfo {
                node: NodeNo(number),
                shard: ShardNo(number),
                boots_as_master: true,
                addr: (ip(number), port).into(),
                id: format!("{number:040}"),
                name: None,
            },
            bus_port,
        };
        [(1, 6379, 16379), (2, 6379, 16379), (3, 7003, 7103)].map(place).into()
    }

    fn summaries(pairs: &Pairs<Ipv4Addr>, only: Only, effect: Effect) -> Result<Vec<String>, String> {
        let rule = Rule::new("cut", pairs, only, &BTreeSet::from([CLIENT]), effect).expect("a rule");
        let node_cuts = node_cuts(&rule, &places()).map_err(|error| error.to_string())?;
        let summary = |node_cut: &NodeCut| {
            format!("{} <- {} {}", node_cut.node.0, joined(&node_cut.from), joined(&node_cut.ports))
        };
        Ok(node_cuts.iter().map(summary).collect())
    }

    #[test]
    fn lists_the_addresses_and_ports_that_each_node_is_cut_from() {
        let both = between(&[ip(1)], &[ip(2), ip(3)], false);
        let one_way = between(&[ip(1), ip(2)], &[ip(3)], true);
        let alone = between(&[ip(2)], &[ip(1), ip(3), CLIENT], false);
        for (pairs, only, expected) in [
            (
                &both,
                Only::All,
                &[
                    "1 <- 10.0.0.2,10.0.0.3 6379,7003,7103,16379",
                    "2 <- 10.0.0.1 6379,16379",
                    "3 <- 10.0.0.1 6379,7003,7103,16379",
                ][..],
            ),
            (&one_way, Only::Bus, &["3 <- 10.0.0.1,10.0.0.2 7103,16379"]),
            (&one_way, Only::Replication, &["3 <- 10.0.0.1,10.0.0.2 6379,7003"]),
            (&alone, Only::Clients, &["2 <- 10.0.1.1 6379"]),
            (
                &alone,
                Only::All,
                &[
                    "1 <- 10.0.0.2 6379,16379",
                    "2 <- 10.0.0.1,10.0.0.3,10.0.1.1 6379,7003,7103,16379",
                    "3 <- 10.0.0.2 6379,7003,7103,16379",
                ],
            ),
        ] {
            assert_eq!(summaries(pairs, only, Effect::Drop).unwrap(), expected, "{only:?}");
        }
    }

    #[test]
    fn tests_a_remaining_cut_from_both_ends() {
        let node_cut = |from: &[Ipv4Addr], ports: &[u16]| NodeCut {
            node: NodeNo(3),
            from: from.iter().copied().collect(),
            ports: ports.iter().copied().collect(),
        };
        for (node_cut, expected) in [
            (
                node_cut(&[ip(1)], &[6379, 7003, 7103, 16379]),
                &[
                    "10.0.0.1 -> 10.0.0.3:7003",
                    "10.0.0.1 -> 10.0.0.3:7103",
                    "10.0.0.3 -> 10.0.0.1:6379",
                    "10.0.0.3 -> 10.0.0.1:16379",
                ][..],
            ),
            (node_cut(&[ip(2)], &[7103, 16379]), &["10.0.0.2 -> 10.0.0.3:7103", "10.0.0.3 -> 10.0.0.2:16379"]),
            (node_cut(&[CLIENT], &[7003, 7103]), &["10.0.1.1 -> 10.0.0.3:7003", "10.0.1.1 -> 10.0.0.3:7103"]),
        ] {
            let knocks: Vec<String> = across(&node_cut, &places()).iter().map(ToString::to_string).collect();
            assert_eq!(knocks, expected);
        }
    }

    #[test]
    fn rejects_faults_that_hooks_cannot_inject() {
        let deaf = between(&[ip(1)], &[CLIENT], true);
        for (pairs, effect, expected) in [
            (deaf, Effect::Drop, "clients have no hooks"),
            (between(&[ip(1)], &[ip(2)], false), Effect::Lossy(Percent::new(50.0)), "can only cut links"),
        ] {
            let message = summaries(&pairs, Only::All, effect).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
