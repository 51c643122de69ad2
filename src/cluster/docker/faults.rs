//! Network faults in force: the rules of each node, or, where the image of sidecars is missing, a node that was
//! taken off the cluster's network as a whole, by the engine's own means.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use testcontainers::bollard::models::{EndpointSettings, NetworkConnectRequest, NetworkDisconnectRequest};
use testcontainers::bollard::query_parameters::InspectContainerOptions;

use super::error::{DockerError, api};
use super::{Docker, Node};
use crate::network::NetworkError;
use crate::network::rules::{Effect, Hook, Only, Rule};

/// Network faults by name.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// How many there ever were.
    pub(super) imposed: u64,
    pub(super) in_force: BTreeMap<String, Fault>,
}

#[derive(Debug)]
pub(super) enum Fault {
    /// The rules of each node.
    Rules(Vec<(usize, Rule)>),
    /// A node is off the network.
    Isolation(usize),
}

impl Faults {
    /// The rules in force, and where.
    pub(super) fn rules(&self) -> impl Iterator<Item = &(usize, Rule)> {
        self.in_force.values().flat_map(|fault| match fault {
            Fault::Rules(placed) => placed.as_slice(),
            Fault::Isolation(_) => &[],
        })
    }

    /// Whether a node is off the network.
    pub(super) fn isolates(&self, index: usize) -> bool {
        self.in_force.values().any(|fault| matches!(fault, Fault::Isolation(node) if *node == index))
    }
}

/// The address that a rule cuts off from all of the others, if it does that and nothing else.
fn isolated(rule: &Rule, all: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    if rule.effect != Effect::Drop || rule.only != Only::All {
        return None;
    }
    let &(first, second) = rule.pairs.first()?;
    [first, second].into_iter().find(|&one| {
        let others = all.iter().filter(|&&other| other != one);
        rule.pairs == others.flat_map(|&other| [(one, other), (other, one)]).collect()
    })
}

impl Docker {
    /// The parts of a rule by the node that enforces each: what comes to it, and what goes from it to clients,
    /// for whom nobody else enforces anything.
    pub(super) fn placed(&self, rule: &Rule, number: u64) -> Vec<(usize, Rule)> {
        let mut placed = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let comes = rule.pairs.iter().copied().filter(|(_, to)| node.addr.ip() == IpAddr::V4(*to)).collect();
            let leaves = rule
                .pairs
                .iter()
                .copied()
                .filter(|(from, to)| node.addr.ip() == IpAddr::V4(*from) && self.node_with(*to).is_none())
                .collect();
            for (pairs, hook, name) in
                [(comes, Hook::Input, format!("f{number}")), (leaves, Hook::Output, format!("f{number}-out"))]
            {
                let part = Rule { name, pairs, hook, ..rule.clone() };
                if !part.pairs.is_empty() {
                    placed.push((index, part));
                }
            }
        }
        placed
    }

    /// A rule that is none but by a node's absence.
    pub(super) async fn isolate(&self, faults: &mut Faults, rule: Rule) -> Result<(), NetworkError> {
        let nodes = self.nodes.iter().filter_map(|node| match node.addr.ip() {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        });
        let all = nodes.chain([self.subnet.gateway()]).collect();
        let index = isolated(&rule, &all).and_then(|ip| self.node_with(ip)).ok_or_else(|| {
            NetworkError::Container("without sidecars only whole nodes can be cut off from everybody".to_owned())
        })?;
        let is_off = faults.isolates(index);
        // It is noted before it is done: whoever is cut short here has it lifted later.
        faults.in_force.insert(rule.name, Fault::Isolation(index));
        if is_off { Ok(()) } else { Ok(self.disconnect(&self.nodes[index]).await?) }
    }

    /// Takes a node's address away from it, and with it every way in and out.
    async fn disconnect(&self, node: &Node) -> Result<(), DockerError> {
        let request = NetworkDisconnectRequest { container: node.anchor.clone(), force: Some(true) };
        let what = format!("disconnecting container {}", node.anchor);
        self.engine.client.disconnect_network(&self.network(), request).await.map_err(api(what))
    }

    /// Gives it back, if it was taken.
    pub(super) async fn connect(&self, node: &Node) -> Result<(), DockerError> {
        if !self.is_disconnected(node).await.0 {
            return Ok(());
        }
        let endpoint = EndpointSettings { ipam_config: Some(node.address()), ..Default::default() };
        let request = NetworkConnectRequest { container: node.anchor.clone(), endpoint_config: Some(endpoint) };
        let what = format!("connecting container {}", node.anchor);
        self.engine.client.connect_network(&self.network(), request).await.map_err(api(what))
    }

    /// Whether a node is on no network at all, and what the engine says.
    pub(super) async fn is_disconnected(&self, node: &Node) -> (bool, String) {
        match self.engine.client.inspect_container(&node.anchor, None::<InspectContainerOptions>).await {
            Ok(found) => {
                let networks = found.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
                let names: Vec<String> = networks.into_keys().collect();
                match names.as_slice() {
                    [] => (true, format!("the engine says that {} is on no network", node.anchor)),
                    names => (false, format!("the engine says that {} is on {}", node.anchor, names.join(", "))),
                }
            }
            Err(error) => (false, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::shape::between;
    use crate::units::Percent;

    #[test]
    fn a_rule_isolates_if_it_cuts_one_off_from_all_others_both_ways() {
        let [a, b, c, client] = [1, 2, 3, 200].map(|last| Ipv4Addr::new(10, 0, 0, last));
        let all = BTreeSet::from([a, b, c, client]);
        for (pairs, only, effect, expected) in [
            (between(&[a], &[b, c, client], false), Only::All, Effect::Drop, Some(a)),
            (between(&[b, c, client], &[a], false), Only::All, Effect::Drop, Some(a)),
            (between(&[c], &[a, b, client], false), Only::All, Effect::Drop, Some(c)),
            (between(&[a], &[b, c, client], true), Only::All, Effect::Drop, None),
            (between(&[a], &[b, c], false), Only::All, Effect::Drop, None),
            (between(&[a, b], &[c, client], false), Only::All, Effect::Drop, None),
            (between(&[a], &[b, c, client], false), Only::Bus, Effect::Drop, None),
            (between(&[a], &[b, c, client], false), Only::All, Effect::Refuse, None),
            (between(&[a], &[b, c, client], false), Only::All, Effect::Lossy(Percent::new(50.0)), None),
        ] {
            let rule = Rule::new("cut", &pairs, only, &BTreeSet::new(), effect).unwrap();
            assert_eq!(isolated(&rule, &all), expected, "{rule:?}");
        }
    }
}
