//! Links that are cut by hooks of the user's.
//!
//! A packet is taken where it arrives: `cut` is run for each node that is not to hear certain others any more, with
//! `SLOTQUAKE_FROM` (their addresses of IPv4), `SLOTQUAKE_PORTS` (the TCP ports that it is about, at whichever end) and
//! `SLOTQUAKE_FAULT` (a name that no other cut in force has); lists are joined by commas. `heal` is told the same as the
//! `cut` that it undoes, to the letter. There are no counters here that would show packets being hit, so `knock` gets a
//! script for bash on its standard input, to be run in the node's place: it tries connections across, before the cut and
//! after it, and prints what they came to.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::error::AttachError;
use super::hooks::{Call, Hooks, Tell};
use super::ledger::Ledger;
use crate::history::NodeInfo;
use crate::network::NetworkError;
use crate::network::knock::{self, Heard, Knock};
use crate::network::rules::{Effect, Rule};
use crate::suite::Only;
use crate::units::NodeNo;

/// A connection between machines that is not made by now is not made. A SYN that was lost on its way is sent again only
/// after a second, but waiting for that would prolong every cut.
const SILENCE: Duration = Duration::from_millis(500);

/// A node, as those who cut its links know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub node: NodeInfo,
    pub bus_port: u16,
}

/// What a node is not to hear any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    pub node: NodeNo,
    pub from: BTreeSet<Ipv4Addr>,
    pub ports: BTreeSet<u16>,
}

impl Order {
    /// Whose links from whom, among these nodes.
    pub fn told(&self, places: &[Place]) -> String {
        let node = &places[self.node.index()].node;
        format!("{} ({}) from {}", node.node, node.addr.ip(), joined(&self.from))
    }
}

/// The cuts of one run. Those in force are in its ledger.
#[derive(Debug)]
pub(super) struct Cuts {
    hooks: Arc<Hooks>,
    places: Vec<Place>,
    ledger: Ledger,
    one_at_a_time: Mutex<()>,
}

impl Cuts {
    /// Those that are in a ledger.
    pub fn new(hooks: Arc<Hooks>, ledger: Ledger) -> Self {
        Self { hooks, places: ledger.changes().places, ledger, one_at_a_time: Mutex::default() }
    }

    /// Cuts the links of a rule.
    pub async fn impose(&self, rule: Rule, tell: Tell<'_>) -> Result<(), NetworkError> {
        rule.validate()?;
        let orders = orders(&rule, &self.places)?;
        let _turn = self.one_at_a_time.lock().await;
        if self.ledger.changes().cuts.contains_key(&rule.name) {
            return Err(NetworkError::Duplicate(rule.name));
        }
        // It is noted before it is done: whoever is cut short here has it lifted later.
        let (name, noted) = (rule.name.clone(), orders.clone());
        self.ledger.note(move |changes| drop(changes.cuts.insert(name, noted))).await?;
        let done = join_all(orders.iter().map(|order| self.run("cut", &rule.name, order, tell))).await;
        Ok(done.into_iter().collect::<Result<(), _>>()?)
    }

    /// Heals what the rule of that name has cut. What could not be healed stays in force.
    pub async fn lift(&self, name: &str, tell: Tell<'_>) -> Result<(), NetworkError> {
        let _turn = self.one_at_a_time.lock().await;
        let Some(orders) = self.ledger.changes().cuts.remove(name) else { return Ok(()) };
        let done = join_all(orders.iter().map(|order| self.run("heal", name, order, tell))).await;
        let left = orders.into_iter().zip(&done).filter(|(_, done)| done.is_err()).map(|(order, _)| order);
        let (name, left) = (name.to_owned(), left.collect::<Vec<_>>());
        self.ledger
            .forget(move |changes| {
                changes.cuts.insert(name, left);
                changes.cuts.retain(|_, left| !left.is_empty());
            })
            .await;
        Ok(done.into_iter().collect::<Result<(), _>>()?)
    }

    /// Heals everything. What could not be is told, with a way to do it by hand.
    pub async fn clear(&self, tell: Tell<'_>) -> Vec<String> {
        let mut left = Vec::new();
        for name in self.ledger.changes().cuts.into_keys() {
            let Err(error) = self.lift(&name, tell).await else { continue };
            let orders = self.ledger.changes().cuts.remove(&name).unwrap_or_default();
            let cut: Vec<String> = orders.iter().map(|order| order.told(&self.places)).collect();
            left.push(format!(
                "links may be cut, of {}: {error} (hint: remove what the hook `cut` put there)",
                cut.join(" and of ")
            ));
        }
        left
    }

    /// Forgets what could not be healed, if connections come through there, both ways. So it is where a hook had healed
    /// before, or had not yet cut, when its run was killed.
    pub async fn forget_healed(&self, tell: Tell<'_>) -> bool {
        let orders: Vec<Order> = self.ledger.changes().cuts.into_values().flatten().collect();
        let knocks: Vec<Knock> = orders.iter().flat_map(|order| across(order, &self.places)).collect();
        let heard = self.knock(&knocks, SILENCE, tell).await;
        let is_whole = !knocks.is_empty() && heard.iter().all(|heard| *heard == Heard::Open);
        if is_whole {
            self.ledger.forget(|changes| changes.cuts.clear()).await;
        }
        is_whole
    }

    async fn run(&self, hook: &'static str, fault: &str, order: &Order, tell: Tell<'_>) -> Result<(), AttachError> {
        let environment = vec![
            ("SLOTQUAKE_FAULT", fault.to_owned()),
            ("SLOTQUAKE_FROM", joined(&order.from)),
            ("SLOTQUAKE_PORTS", joined(&order.ports)),
        ];
        self.hooks.act(Call { environment, ..Call::new(hook, &self.places[order.node.index()].node) }, tell).await
    }

    /// Tries connections, from nodes' places by the hook, all at once.
    pub async fn knock(&self, knocks: &[Knock], within: Duration, tell: Tell<'_>) -> Vec<Heard> {
        let within = within.max(SILENCE);
        let from = |place: Option<usize>, own: Vec<Knock>| async move {
            let Some(at) = place else { return knock::knock_all(&own, within).await };
            let to: Vec<_> = own.iter().map(|knock| knock.to).collect();
            self.hooks.knock(&self.places[at].node, &to, within, tell).await
        };
        knock::by_place(knocks, |ip| place_of(ip, &self.places), from).await
    }
}

fn joined<T: ToString>(all: &BTreeSet<T>) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn place_of(ip: Ipv4Addr, places: &[Place]) -> Option<usize> {
    places.iter().position(|place| place.node.addr.ip() == IpAddr::V4(ip))
}

/// The connections that an order cuts, from either end.
fn across(order: &Order, places: &[Place]) -> Vec<Knock> {
    let at = &places[order.node.index()];
    let knocks = |from: Ipv4Addr, to: &Place| {
        let SocketAddr::V4(addr) = to.node.addr else { return Vec::new() };
        let ports = [addr.port(), to.bus_port].into_iter().filter(|port| order.ports.contains(port));
        let knock = |port| Knock { from, to: SocketAddrV4::new(*addr.ip(), port), node: to.node.node };
        ports.map(knock).collect()
    };
    let there = |&from: &Ipv4Addr| knocks(from, at);
    let back = |&from: &Ipv4Addr| match (at.node.addr.ip(), place_of(from, places)) {
        (IpAddr::V4(ip), Some(to)) => knocks(ip, &places[to]),
        _ => Vec::new(),
    };
    order.from.iter().flat_map(|from| [there(from), back(from)].concat()).collect()
}

/// What a rule means for each node that hears less by it.
fn orders(rule: &Rule, places: &[Place]) -> Result<Vec<Order>, NetworkError> {
    let cannot = |what: &str| Err(NetworkError::Hook(format!("hooks cannot do this: {what}")));
    if rule.effect != Effect::Drop {
        return cannot("they cut links, and nothing less");
    }
    // What goes to clients is taken nowhere, but nothing is said where nothing is heard.
    let is_one_way = |(from, to): &&(Ipv4Addr, Ipv4Addr)| !rule.pairs.contains(&(*to, *from));
    if rule.pairs.iter().filter(is_one_way).any(|(_, to)| place_of(*to, places).is_none()) {
        return cannot("packets are taken where they arrive, and clients have no hooks");
    }
    let ports = |at: usize| {
        let Place { node, bus_port } = &places[at];
        match rule.only {
            Only::All => vec![node.addr.port(), *bus_port],
            Only::Bus => vec![*bus_port],
            Only::Clients | Only::Replication => vec![node.addr.port()],
        }
    };
    let orders = (0..places.len()).filter_map(|at| {
        let comes = rule.pairs.iter().filter(|(_, to)| place_of(*to, places) == Some(at));
        let from: BTreeSet<Ipv4Addr> = comes.map(|(from, _)| *from).collect();
        // A connection has a node's port at either end.
        let ends = from.iter().filter_map(|&ip| place_of(ip, places)).chain([at]);
        let ports = ends.flat_map(ports).collect();
        (!from.is_empty()).then_some(Order { node: NodeNo::from_index(at), from, ports })
    });
    Ok(orders.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::shape::{Pairs, between};
    use crate::units::{Percent, ShardNo};

    const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);

    fn ip(number: u16) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, number as u8)
    }

    /// Three nodes, of which the third has ports of its own.
    fn places() -> Vec<Place> {
        let place = |(number, port, bus_port): (u16, u16, u16)| Place {
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

    fn told(pairs: &Pairs<Ipv4Addr>, only: Only, effect: Effect) -> Result<Vec<String>, String> {
        let rule = Rule::new("cut", pairs, only, &BTreeSet::from([CLIENT]), effect).expect("a rule");
        let orders = orders(&rule, &places()).map_err(|error| error.to_string())?;
        let told = |order: &Order| format!("{} <- {} {}", order.node.0, joined(&order.from), joined(&order.ports));
        Ok(orders.iter().map(told).collect())
    }

    #[test]
    fn each_node_that_hears_less_is_told_from_whom_and_of_which_ports() {
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
            assert_eq!(told(pairs, only, Effect::Drop).unwrap(), expected, "{only:?}");
        }
    }

    #[test]
    fn a_cut_that_is_left_is_looked_for_from_both_ends() {
        let order = |from: &[Ipv4Addr], ports: &[u16]| Order {
            node: NodeNo(3),
            from: from.iter().copied().collect(),
            ports: ports.iter().copied().collect(),
        };
        for (order, expected) in [
            (
                order(&[ip(1)], &[6379, 7003, 7103, 16379]),
                &[
                    "10.0.0.1 -> 10.0.0.3:7003",
                    "10.0.0.1 -> 10.0.0.3:7103",
                    "10.0.0.3 -> 10.0.0.1:6379",
                    "10.0.0.3 -> 10.0.0.1:16379",
                ][..],
            ),
            (order(&[ip(2)], &[7103, 16379]), &["10.0.0.2 -> 10.0.0.3:7103", "10.0.0.3 -> 10.0.0.2:16379"]),
            (order(&[CLIENT], &[7003, 7103]), &["10.0.1.1 -> 10.0.0.3:7003", "10.0.1.1 -> 10.0.0.3:7103"]),
        ] {
            let knocks: Vec<String> = across(&order, &places()).iter().map(ToString::to_string).collect();
            assert_eq!(knocks, expected);
        }
    }

    #[test]
    fn what_hooks_cannot_do_is_refused() {
        let deaf = between(&[ip(1)], &[CLIENT], true);
        for (pairs, effect, expected) in [
            (deaf, Effect::Drop, "clients have no hooks"),
            (between(&[ip(1)], &[ip(2)], false), Effect::Lossy(Percent::new(50.0)), "nothing less"),
        ] {
            let message = told(&pairs, Only::All, effect).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
