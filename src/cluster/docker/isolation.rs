//! Network faults without the sidecar image: the engine disconnects a node from the cluster's network.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use testcontainers::bollard::models::{EndpointSettings, NetworkConnectRequest, NetworkDisconnectRequest};
use testcontainers::bollard::query_parameters::InspectContainerOptions;

use super::Docker;
use super::nodes::Node;
use crate::cluster::containers::{DockerError, api};
use crate::network::NetworkError;
use crate::network::rules::{Effect, Only, Rule};

/// The disconnected nodes, by the names of the faults that require it.
pub(super) type Isolated = BTreeMap<String, usize>;

/// The address that a rule isolates from all others. None if the rule does anything else.
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
    /// Imposes a rule that isolates one node, by disconnecting it.
    pub(super) async fn isolate(&self, rule: Rule) -> Result<(), NetworkError> {
        rule.validate()?;
        let mut faults = self.isolated.lock().await;
        if faults.contains_key(&rule.name) {
            return Err(NetworkError::Duplicate(rule.name));
        }
        let nodes = self.nodes.iter().filter_map(|node| match node.addr().ip() {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        });
        let all = nodes.chain([self.subnet.gateway()]).collect();
        let index = isolated(&rule, &all).and_then(|ip| self.node_with(ip)).ok_or_else(|| {
            NetworkError::Container("without sidecars, a fault can only isolate one node from all others".to_owned())
        })?;
        let is_off = faults.values().any(|&node| node == index);
        // Record the cut first, so that an interrupted run can still be undone.
        faults.insert(rule.name, index);
        if is_off { Ok(()) } else { Ok(self.disconnect(&self.nodes[index]).await?) }
    }

    /// Lifts the rule of that name. The node stays disconnected if another rule requires it.
    pub(super) async fn end_isolation(&self, name: &str) -> Result<(), NetworkError> {
        let mut faults = self.isolated.lock().await;
        match faults.remove(name) {
            Some(index) if faults.values().all(|&node| node != index) => Ok(self.connect(&self.nodes[index]).await?),
            _ => Ok(()),
        }
    }

    /// Disconnects a node from the network.
    async fn disconnect(&self, node: &Node) -> Result<(), DockerError> {
        let request = NetworkDisconnectRequest { container: node.anchor(), force: Some(true) };
        let what = format!("disconnecting container {}", node.anchor());
        self.engine.client.disconnect_network(&self.network(), request).await.map_err(api(what))
    }

    /// Reconnects a node at the same address, if it is disconnected.
    async fn connect(&self, node: &Node) -> Result<(), DockerError> {
        // If the engine does not say, try: it refuses to connect a node twice.
        if let Ok((false, _)) = self.is_disconnected(node).await {
            return Ok(());
        }
        let endpoint = EndpointSettings { ipam_config: Some(node.address()), ..Default::default() };
        let request = NetworkConnectRequest { container: node.anchor(), endpoint_config: Some(endpoint) };
        let what = format!("connecting container {}", node.anchor());
        self.engine.client.connect_network(&self.network(), request).await.map_err(api(what))
    }

    /// Whether a node is on no network, with what the engine reports.
    pub(super) async fn is_disconnected(&self, node: &Node) -> Result<(bool, String), DockerError> {
        let inspected = self.engine.client.inspect_container(&node.anchor(), None::<InspectContainerOptions>).await;
        let found = inspected.map_err(api(format!("inspecting container {}", node.anchor())))?;
        let networks = found.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let names: Vec<String> = networks.into_keys().collect();
        Ok(match names.as_slice() {
            [] => (true, format!("the engine reports {} on no network", node.anchor())),
            names => (false, format!("the engine reports {} on {}", node.anchor(), names.join(", "))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::shape::between;
    use crate::units::Percent;

    #[test]
    fn only_a_full_cut_of_one_node_isolates_it() {
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
